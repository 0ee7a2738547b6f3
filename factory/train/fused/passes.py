"""Forward and backward passes of packed batches: how long these may be, and what to do where one does not fit."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch

from factory.base.build import Base
from factory.errors import FactoryError
from factory.shares import give_back
from factory.train.fused import memory
from factory.train.fused.attention import can_share, packed_attention
from factory.train.fused.below import Below
from factory.train.fused.dropout import Dropout
from factory.train.fused.forward import supervised_log_probs
from factory.train.fused.group import Group
from factory.train.fused.layers import Layers
from factory.train.fused.packing import PackedBatch, pack, probe, share_out, size, supervised
from factory.train.fused.run import Job, Run
from factory.train.methods import Totals
from factory.train.methods.draws import divergence
from factory.train.methods.reward import log_odds
from factory.train.tokens import Example, grouped

PROBE = 256  # tokens of the row whose kept memory is measured
LEAST = 16  # and of the shortest that is tried where memory is short
ASKED = 2  # tokens behind an answer that a reward model is asked about

T = TypeVar("T")


class Passes:
    """Passes of these jobs' rows. `share` says whether beginnings stand in a row once, `plan` how rows are made,
    `budget` is the most tokens of one; `row` and `packing` are the tokens of the last and the seconds spent on packing.
    """

    def __init__(self, model: Any, base: Base, jobs: Sequence[Job], group: Group) -> None:
        self.model, self.base, self.group = model, base, group
        self.layers, self.below = Layers(model), Below(model, jobs, group)
        self.longest = max(
            len(e.input_ids) + (job.rollouts.most + ASKED if job.rollouts else 0)
            for job in jobs
            for e in (*job.train, *job.eval)
        )
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
            row = pack([probe(run.job.train, length)], self.model.device)
            forward = partial(supervised_log_probs, self.model, row)
            kept = self._tried([run], row, partial(memory.kept_bytes, self.model, forward))
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
        mine = [(run, examples) for run, segment in segments if (examples := self.group.part(segment))]
        idle = not mine  # then only to go through the layers together with the other processes
        mine = mine or [(run, segment[:1]) for run, segment in segments[:1]]
        began = time.monotonic()
        row = pack([examples for _, examples in mine], self.model.device, self.share)
        self.row = sum(size(segment) for _, segment in segments) if self.group.size > 1 else row.tokens
        self.packing += time.monotonic() - began
        self._recompute(self.group.most(row.tokens) > self.plan.recompute_from)

        def forward_backward() -> list[torch.Tensor]:
            ofs = row.of.split(row.counts)
            taught = [run.taught_of(examples, of) for (run, examples), of in zip(mine, ofs, strict=True)]
            logps = supervised_log_probs(self.model, row, taught)
            if idle:
                (logps.sum() * 0).backward()
                return []
            each = zip(mine, logps.split(row.counts), ofs, strict=True)
            found = [run.losses(examples, logps, of) for (run, examples), logps, of in each]
            torch.stack([loss for loss, *_ in found]).sum().backward()
            return [torch.stack(told).detach() for told in found]

        dropouts = [run.dropout(examples) for run, examples in mine]
        found = self._tried([run for run, _ in mine], row, forward_backward, dropouts)
        if found is None:
            self._shrink([example for _, segment in segments for example in segment])
            return False
        for (run, _), told in zip(mine, found, strict=False):
            run.told = run.told + told
        for run, segment in segments:
            run.waiting = _without(run.waiting, segment)
        return True

    def roll(self, run: Run) -> None:
        """Have the run answer its step's questions; the answers are its batch. How far it has moved from its parent is
        told of the first answer to each question, of all where that has a price."""
        method: Any = run.job.method
        self._recompute(False)  # a layer that recomputes keeps no cache
        with self.layers.answering(run.adapter):
            score = partial(self.scores, run) if run.job.reward else None
            drawn, told = run.job.rollouts(self.model, run.batch, run.step, run.job.run, score)
        compared = drawn if method.beta else drawn[:: method.group]
        with run.adapter.being(run.origin):
            before = self.log_probs(run, compared)
        if method.beta:
            drawn = [replace(one, parent=logps.tolist()) for one, logps in zip(drawn, before, strict=True)]
        moved = torch.cat(before) - torch.tensor([logp for one in compared for logp in one.drawn])
        run.rolled = told | {"kl": divergence(moved).mean().item()}
        run.batch, run.batch_tokens = drawn, size(drawn)
        run.waiting = [example for example in drawn if example.reward or method.beta]
        run.totals = Totals.of(drawn, longest=run.job.rollouts.most, learned=supervised(run.waiting))

    def eval_loss(self, run: Run) -> float:
        """The loss of the held-out rows as one step; of a method that draws, what their gold reward lacks of 1."""
        examples = run.job.eval
        if run.job.rollouts:
            self._recompute(False)
            with self.layers.answering(run.adapter):
                return float(1 - run.job.rollouts.gold(self.model, examples))
        totals = Totals.of(examples, self.baseline(run, examples))
        total = torch.zeros((), device=self.model.device)
        for mine, logps, of in self._forward(run, [example for example in examples if example.reward]):
            total += run.losses(mine, logps, of, totals)[0]
        return self.group.sum(total).item()

    def log_probs(self, run: Run, examples: Sequence[Example]) -> tuple[torch.Tensor, ...]:
        """The log-probabilities of each example's supervised tokens as the adapter is now, on the CPU."""
        counts = [supervised([example]) for example in examples]
        found = torch.zeros(sum(counts), device=self.model.device)
        places = {id(e): part for e, part in zip(examples, found.split(counts), strict=True)}
        for mine, logps, of in self._forward(run, examples):
            which, lengths = of.unique_consecutive(return_counts=True)
            for number, part in zip(which.tolist(), logps.split(lengths.tolist()), strict=True):
                places[id(mine[number])].copy_(part)
        parts: tuple[torch.Tensor, ...] = self.group.sum(found).cpu().split(counts)
        return parts

    def scores(self, run: Run, examples: Sequence[Example]) -> list[float]:
        """Those of the reward model that pays the run: a second adapter over the base, in the first one's place."""
        assert run.reward is not None
        with run.adapter.being(run.reward):
            return [float(score) for score in log_odds(torch.cat(self.log_probs(run, examples)))]

    def references(self, run: Run, examples: Sequence[Example]) -> torch.Tensor:
        """The log-probability of each example's answer as the adapter is now, [n] on the CPU."""
        return torch.stack([logps.sum() for logps in self.log_probs(run, examples)])

    def baseline(self, run: Run, examples: Sequence[Example]) -> float:
        """How far the adapter moved from where it began, by the examples that are only measured; 0 without any."""
        measured = [example for example in examples if not example.reward]
        if not measured:
            return 0.0
        return max(0.0, (self.references(run, measured) - run.references_of(measured)).mean().item())

    @torch.no_grad()
    def _forward(
        self, run: Run, examples: Sequence[Example]
    ) -> Iterator[tuple[list[Example], torch.Tensor, torch.Tensor]]:
        """What this process has of each row in turn: examples, and `logps` and `of` as `Seen` has them."""
        rest = list(examples)
        while rest:
            (segment,) = self.next([run], [rest])
            mine = self.group.part(segment)
            row = pack([mine or segment[:1]], self.model.device, self.share)
            taught = [run.taught_of(mine or segment[:1], row.of)]
            logps = self._tried([run], row, partial(supervised_log_probs, self.model, row, taught))
            if logps is None:
                self._shrink(segment)
                continue
            rest = _without(rest, segment)
            if mine:
                yield mine, logps, row.of

    def _tried(
        self, runs: Sequence[Run], row: PackedBatch, do: Callable[[], T], dropouts: Sequence[Dropout | None] = ()
    ) -> T | None:
        """What `do` makes of a row with the runs' adapters on it; None if there was no memory for it."""
        adapters = [run.adapter for run in runs]
        added = self.layers.adapted(adapters, row.slices, dropouts)
        try:
            with added, packed_attention(self.model), self.below.known(row):
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
        if len(grouped(examples)) == 1:
            raise FactoryError(
                f"one {'sequence' if len(examples) == 1 else 'group'} of {size(examples)} tokens does not fit in "
                "memory: set train.gradient_checkpointing=true, or a smaller train.max_length"
            )
        give_back()
        self.budget = min(self.budget, size(examples)) // 2


def _without(examples: Sequence[Example], carried: Sequence[Example]) -> list[Example]:
    gone = {id(example) for example in carried}
    return [example for example in examples if id(example) not in gone]
