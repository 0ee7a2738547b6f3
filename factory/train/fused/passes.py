"""Forward and backward passes of packed batches: how long these may be, and what to do where one does not fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch

from factory.base.build import Base
from factory.errors import FactoryError
from factory.shares import give_back
from factory.train.fused import memory
from factory.train.fused.attention import can_share, packed_attention
from factory.train.fused.dropout import Dropout
from factory.train.fused.forward import losses
from factory.train.fused.group import Group
from factory.train.fused.layers import Layers
from factory.train.fused.packing import PackedBatch, pack, probe, share_out, size, supervised
from factory.train.fused.run import Job, Run
from factory.train.tokens import Example

PROBE = 256  # tokens of the row whose kept memory is measured
LEAST = 16  # and of the shortest that is tried where memory is short

T = TypeVar("T")


class Passes:
    """Carries rows of these jobs. `share` says whether beginnings stand in a row once, `plan` how rows are made,
    `budget` is the most tokens of one; `row` and `packing` are the tokens of the last and the seconds spent on packing.
    """

    def __init__(self, model: Any, base: Base, jobs: Sequence[Job], group: Group) -> None:
        self.model, self.base, self.group = model, base, group
        self.layers = Layers(model)
        self.longest = max(len(e.input_ids) for job in jobs for e in (*job.train, *job.eval))
        # What stands in a row once for many sequences would be dropped alike for all of them.
        self.share = can_share(model, self.longest) and not any(job.recipe.lora.dropout for job in jobs)
        self.recomputing: set[bool | str] = {job.recipe.train.gradient_checkpointing for job in jobs}
        self.plan = memory.Plan(0, 0.0, 0.0)  # until it is measured
        self.budget = self.row = 0
        self.packing = 0.0

    def measure(self, run: Run, states: float) -> memory.Plan:
        """The plan, from what a row of PROBE tokens keeps, of fewer where not even those fit in memory. `states` are
        the bytes of the adapters that are yet to join. FactoryError if there is no memory at all."""
        length = PROBE
        while length >= LEAST:
            row = pack([(probe(run.job.train, length), 1.0)], self.model.device)
            kept = self._tried([run], row, lambda: memory.kept_bytes(self.model, lambda: losses(self.model, row)))  # noqa: B023
            if kept is not None:
                plan = memory.plan(self.model, kept / row.tokens, self.longest, self.recomputing, states)
                tokens, recompute_from = (-self.group.most(-value) for value in (plan.tokens, plan.recompute_from))
                return replace(plan, tokens=int(tokens), recompute_from=recompute_from)
            length //= 4
            give_back()
        raise FactoryError(
            f"base {self.base.label} leaves no memory to train in: end what else is on the device (nvidia-smi tells), "
            "take a smaller base, or divide it over several GPUs (devices=2)"
        )

    def next(self, runs: Sequence[Run], batches: Sequence[Sequence[Example]]) -> list[list[Example]]:
        """Which sequences of each run's batch go into the next row; the first run has the right of way."""
        beginnings = [run.beginning for run in runs] if self.share else []
        return share_out(batches, self.budget * self.group.size, beginnings)

    def forward_backward(self, segments: Sequence[tuple[Run, list[Example]]]) -> bool:
        """Forward and backward of one row: adds to the gradients and losses of its runs. False if there was no memory
        for it: rows are half as long from here on, and what the runs have of this step is to be done again."""
        mine = [(run, examples, run.weight) for run, segment in segments if (examples := self.group.part(segment))]
        mine = mine or [
            (run, segment[:1], 0.0) for run, segment in segments[:1]
        ]  # all must go through the layers together
        began = time.monotonic()
        row = pack([(examples, weight) for _, examples, weight in mine], self.model.device, self.share)
        self.row = sum(size(segment) for _, segment in segments) if self.group.size > 1 else row.tokens
        self.packing += time.monotonic() - began
        self._recompute(self.group.most(row.tokens) > self.plan.recompute_from)
        dropouts = [run.dropout(examples) for run, examples, _ in mine]

        def forward_backward() -> torch.Tensor:
            total, each = losses(self.model, row)
            total.backward()
            return each

        runs = [run for run, *_ in mine]
        if (each := self._tried(runs, row, forward_backward, dropouts)) is None:
            self._shrink([example for _, segment in segments for example in segment])
            return False
        sums = torch.zeros(len(mine), device=each.device).index_add_(0, row.owners, each * row.weights)
        for run, loss in zip(runs, sums, strict=True):
            run.loss = run.loss + loss
        for run, segment in segments:
            run.waiting = _without(run.waiting, segment)
        return True

    @torch.no_grad()
    def eval_loss(self, run: Run) -> float:
        """The mean loss over all learned tokens of the held-out rows."""
        rest, total = list(run.job.eval), 0.0
        weight = 1 / max(1, supervised(rest))
        while rest:
            (segment,) = self.next([run], [rest])
            row = pack([(self.group.part(segment) or segment[:1], weight)], self.model.device, self.share)
            loss = self._tried([run], row, lambda: losses(self.model, row)[0].item())  # noqa: B023
            if loss is None:
                self._shrink(segment)
                continue
            total += loss if self.group.part(segment) else 0.0
            rest = _without(rest, segment)
        return self.group.sum(torch.tensor(total, device=self.model.device)).item() if self.group.size > 1 else total

    def _tried(
        self, runs: Sequence[Run], row: PackedBatch, do: Callable[[], T], dropouts: Sequence[Dropout | None] = ()
    ) -> T | None:
        """What `do` makes of a row with the runs' adapters on it; None if there was no memory for it."""
        adapters = [run.adapter for run in runs]
        with self.layers.adapted(adapters, row.slices, dropouts), packed_attention(self.model):
            try:
                return do()
            except Exception as error:
                if not memory.is_out_of_memory(error) or self.group.size > 1:  # the others would wait for ever
                    raise
                return None

    def _recompute(self, wanted: bool) -> None:
        if wanted and not self.model.is_gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        elif not wanted and self.model.is_gradient_checkpointing:
            self.model.gradient_checkpointing_disable()

    def _shrink(self, examples: Sequence[Example]) -> None:
        """After a row of these sequences did not fit in memory: rows of half its length from here on."""
        if len(examples) == 1:
            raise FactoryError(
                f"one sequence of {size(examples)} tokens does not fit in memory: set "
                "train.gradient_checkpointing=true, or a smaller train.max_length"
            )
        give_back()
        self.budget = min(self.budget, size(examples)) // 2


def _without(examples: Sequence[Example], carried: Sequence[Example]) -> list[Example]:
    gone = {id(example) for example in carried}
    return [example for example in examples if id(example) not in gone]
