"""What lies below all adapters says the same of a sequence in every epoch: it is read once, and its states are kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from factory.train.fused.group import Group
from factory.train.fused.packing import PackedBatch, size
from factory.train.fused.replaced import replaced
from factory.train.fused.run import Job
from factory.train.lora import untouched

KEPT_BYTES = 512 * 2**20  # of states; sets that need more are read anew each time


class Below:
    """The lower layers of a base for jobs that all leave them as they are, and whose rows come again."""

    def __init__(self, model: Any, jobs: Sequence[Job], group: Group) -> None:
        depth = min(untouched(job.recipe.lora, model) for job in jobs)
        again = [job for job in jobs if not job.rollouts and (job.recipe.train.epochs > 1 or job.method.refers)]
        rows = [example for job in again for example in job.train]
        needed = size(rows) * model.config.get_text_config().hidden_size * model.dtype.itemsize
        # In a group all must go through the layers together; what is dropped at random is not the same again.
        dropped = any(isinstance(module, torch.nn.Dropout) and module.p for module in model.modules())
        may = depth and needed <= KEPT_BYTES and group.size == 1 and not dropped
        self.layers = list(getattr(model.base_model, "layers", []))[:depth] if may else []
        self.rows = {id(example): example for example in rows}
        self.states: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # [tokens, H] of a beginning, and what follows

    @contextmanager
    def known(self, row: PackedBatch) -> Iterator[None]:
        """Within, a row of sequences that were all read before goes through the layers above alone; of others their
        states are kept."""
        parts = [part for part in row.parts if part[1] < part[2]]
        if not self.layers or any(id(example) not in self.rows for example, _, _ in parts):
            yield
        elif all(id(example) in self.states for example, _, _ in parts):
            states = torch.cat([self._states(*part) for part in parts])[None]
            with replaced((layer, lambda *_, **__: states) for layer in self.layers):
                yield
        else:
            seen: list[torch.Tensor] = []
            hook = self.layers[-1].register_forward_hook(lambda module, given, out: seen.append(out))
            try:
                yield
            finally:
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
            if begin == 0 and end < len(example.input_ids):
                continue  # the beginning itself
            if prefix not in beginnings:
                beginnings[prefix] = states[slice(*prefix)].clone()
            self.states[id(example)] = beginnings[prefix], states[place : place + end - begin].clone()
