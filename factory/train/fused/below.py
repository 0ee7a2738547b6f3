"""What lies below all adapters says the same of a sequence in every epoch: it is read once, and its states are kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import torch

from factory.train.fused.forward import hidden
from factory.train.fused.group import Group
from factory.train.fused.packing import PackedBatch, size
from factory.train.fused.replaced import replaced
from factory.train.fused.run import Job
from factory.train.lora import untouched

KEPT_BYTES = 512 * 2**20  # of states; sets that need more are read anew each time


class Below:
    """The lower layers of a base for jobs that all leave them as they are, and whose rows come again."""

    def __init__(self, model: Any, jobs: Sequence[Job], group: Group) -> None:
        self.model = model
        depth = min(untouched(job.recipe.lora, model) for job in jobs)
        again = [job for job in jobs if not job.rollouts and (job.recipe.train.epochs > 1 or job.method.refers)]
        rows = [example for job in again for example in job.train]
        needed = size(rows) * model.config.get_text_config().hidden_size * model.dtype.itemsize
        # In a group all must go through the layers together; what is dropped at random is not the same again.
        dropped = any(isinstance(module, torch.nn.Dropout) and module.p for module in model.modules())
        may = depth and rows and needed <= KEPT_BYTES and group.size == 1 and not dropped
        self.layers = list(getattr(model.base_model, "layers", []))[:depth] if may else []
        self.rows = {id(example): example for example in rows}
        self.states: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # [tokens, H] of a beginning, and what follows

    @contextmanager
    def known(self, row: PackedBatch) -> Iterator[None]:
        """Within, the row goes through the layers above alone, with the states of sequences that were read before; only
        the others of it are read. The states of those that come again are kept."""
        if not self.layers or not any(id(example) in self.states for example, *_ in row.parts):
            with self._seen(row):
                yield
            return
        new = [i for i, (example, *_) in enumerate(row.parts) if id(example) not in self.states]
        read = self._read(row, new) if new else {}
        parts = [read[i] if i in read else self._states(*part) for i, part in enumerate(row.parts)]
        states = torch.cat(parts)[None]
        with replaced((layer, lambda *_, **__: states) for layer in self.layers):
            yield

    @torch.no_grad()
    def _read(self, row: PackedBatch, which: list[int]) -> dict[int, torch.Tensor]:
        """What the lower layers make of these sequences of a row, behind their prefixes; by their number in it."""
        numbers, some = _only(row, which)
        above = self.model.base_model.layers[len(self.layers) :]
        with replaced((layer, lambda states, *_, **__: states) for layer in above), self._seen(some) as seen:
            hidden(self.model, some)
        return dict(zip(numbers, seen[0][0].split(some.bounds.diff().tolist()), strict=True))

    @contextmanager
    def _seen(self, row: PackedBatch) -> Iterator[list[torch.Tensor]]:
        """Within, what comes out of the lower layers is noted; at the end the states of sequences that come again are
        kept."""
        seen: list[torch.Tensor] = []
        hook = self.layers and self.layers[-1].register_forward_hook(lambda module, given, out: seen.append(out))
        try:
            yield seen
        finally:
            if hook:
                hook.remove()
        if seen and isinstance(seen[0], torch.Tensor):
            self._keep(row, seen[0][0].detach())

    def _states(self, example: Any, begin: int, end: int) -> torch.Tensor:
        beginning, rest = self.states[id(example)]
        if end <= len(beginning):
            return beginning[begin:end]
        if begin >= len(beginning):
            return rest[begin - len(beginning) : end - len(beginning)]
        return torch.cat([beginning[begin:], rest[: end - len(beginning)]])

    def _keep(self, row: PackedBatch, states: torch.Tensor) -> None:
        """`states` [N, H] of the whole row. What stands in it once for several sequences is kept once for them."""
        beginnings: dict[tuple[int, int], torch.Tensor] = {(0, 0): states[:0].clone()}
        bounds = row.bounds.tolist()
        for (example, begin, end), place, prefix in zip(row.parts, bounds, row.prefixes, strict=False):
            if id(example) not in self.rows or (begin == 0 and end < len(example.input_ids)):
                continue  # it does not come again, or is the beginning itself
            if prefix not in beginnings:
                beginnings[prefix] = states[slice(*prefix)].clone()
            self.states[id(example)] = beginnings[prefix], states[place : place + end - begin].clone()


def _only(row: PackedBatch, which: list[int]) -> tuple[list[int], PackedBatch]:
    """The sequences of these numbers and their prefixes: all their numbers, and a row of them, without labels."""
    spans = [*pairwise(row.bounds.tolist())]
    numbers = sorted({*which} | {spans.index(row.prefixes[i]) for i in which if row.prefixes[i] != (0, 0)})
    starts = [0, *accumulate(spans[i][1] - spans[i][0] for i in numbers)]
    moved = {spans[i]: span for i, span in zip(numbers, pairwise(starts), strict=True)}
    tokens = torch.cat([torch.arange(*spans[i]) for i in numbers]).to(row.ids.device)
    some = replace(
        row,
        ids=row.ids[:, tokens],
        positions=row.positions[:, tokens],
        bounds=torch.tensor(starts, dtype=row.bounds.dtype, device=row.bounds.device),
        prefixes=[moved.get(row.prefixes[i], (0, 0)) for i in numbers],
        parts=[row.parts[i] for i in numbers],
    )
    return numbers, some
