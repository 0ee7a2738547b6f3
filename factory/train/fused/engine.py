"""Train many adapters at once: rows of many tasks through one base, each adapter stepping on its own schedule."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from factory.base.build import Base
from factory.errors import FactoryError, InputError
from factory.precision import precision
from factory.shares import free, give_back, trim
from factory.train.fused import memory
from factory.train.fused.attention import can_share, packed_attention
from factory.train.fused.forward import losses
from factory.train.fused.layers import Layers
from factory.train.fused.precision import computing_in
from factory.train.fused.rows import learned, pack, probe, share_out, size
from factory.train.fused.run import Failed, Job, Run, finished
from factory.train.fused.saving import SECONDS, Saver
from factory.train.kernels import check_kernels, use_liger
from factory.train.lora import untrainable
from factory.train.memory import ADAPTER
from factory.train.tokens import Example
from factory.train.trackers import missing
from factory.train.trained import Trained

PROBE = 256  # tokens of the row whose kept memory is measured
LEAST = 16  # and of the shortest that is tried where memory is short
TRIM = 8  # rows after which what they freed goes back to the machine, where that is not done by itself
ALL = ""  # the name under which progress is told of all adapters together

Progress = Callable[[str, dict[str, Any]], None]


def train_many(
    jobs: Sequence[Job],
    base: Base,
    model: Any,
    *,
    budget: int | None = None,
    until: float = 1.0,
    checkpoint_seconds: float = SECONDS,
    progress: Progress = lambda name, record: None,
) -> list[Trained | Failed]:
    """Train every job's adapter over the loaded base; results in the jobs' order, each in its `run/adapter`.

    `budget` is the most tokens of one row, found from free memory if not given; a row that does not fit in memory all
    the same is halved. `until` pauses each run after that share of its steps; calling again with more goes on. Each is
    checkpointed every `checkpoint_seconds`, more seldom where that would cost much (`saving`). Jobs
    that an earlier call finished are not trained again, interrupted ones go on from their last checkpoint.
    `progress(name, record)` gets every step and eval of an adapter, and with name "" the state of the whole.

    Errors: a job without a token to learn, or whose tracker is not installed, before anything is trained; one sequence
    alone too long for the memory. A job whose loss or gradient is not finite is `Failed` in the results and costs the
    others nothing.
    """
    _check(jobs, model)
    if any(job.recipe.train.use_liger_kernel for job in jobs):
        use_liger(model)
    results: dict[str, Trained | Failed] = {}
    for dtype in (torch.bfloat16, torch.float32):
        group = [job for job in jobs if precision(job.recipe.train.precision).dtype == dtype]
        for job in group:
            if (known := finished(job, base)) is not None:
                results[job.name] = known
        group = [job for job in group if job.name not in results]
        if group:
            with computing_in(model, dtype), _prepared(model):
                engine = Engine(model, base, group, budget, until, checkpoint_seconds, progress)
                results |= engine.train()
    return [results[job.name] for job in jobs]


def _check(jobs: Sequence[Job], model: Any) -> None:
    for job in jobs:
        check_kernels(job.recipe)
    problems = [
        f"{job.name}: no row has a trainable token left (are the answers empty, or is train.max_length="
        f"{job.recipe.train.max_length} shorter than the prompts?)"
        for job in jobs
        if not learned(job.train)
    ]
    problems += [f"{job.name}: {fault}" for job in jobs for fault in untrainable(model, job.recipe.lora)]
    problems += [
        f"train.report_to={job.recipe.train.report_to} needs a package that is not here: pip install {package}"
        for job in jobs
        if (package := missing(job.recipe.train.report_to))
    ]
    if len({job.name for job in jobs}) < len(jobs):
        problems.append("two jobs have the same name")
    if len({job.recipe.train.use_liger_kernel for job in jobs}) > 1:
        problems.append("train.use_liger_kernel must be the same for all that train together: they share the base")
    if problems:
        raise InputError(*dict.fromkeys(problems))


@contextmanager
def _prepared(model: Any) -> Iterator[None]:
    """The model in training mode, its gradient checkpointing off; both as they were at the end."""
    training = model.training
    model.train()
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()
        model.train(training)


class Engine:
    """The loop over rows for jobs of one precision."""

    def __init__(
        self,
        model: Any,
        base: Base,
        jobs: Sequence[Job],
        budget: int | None,
        until: float,
        checkpoint_seconds: float,
        progress: Progress,
    ) -> None:
        self.model, self.base, self.until, self.progress = model, base, until, progress
        self.saver = Saver(checkpoint_seconds)
        self.layers = Layers(model)
        self.longest = max(len(e.input_ids) for job in jobs for e in (*job.train, *job.eval))
        # What stands in a row once for many sequences would be dropped alike for all of them.
        self.share = can_share(model, self.longest) and not any(job.recipe.lora.dropout for job in jobs)
        self.waiting = sorted(jobs, key=lambda job: size(job.train) * job.recipe.train.epochs)  # the longest runs first
        self.running: list[Run] = []
        self.results: dict[str, Trained | Failed] = {}
        self.tokens = self.row = 0
        self.packing = 0.0
        self.started = self.counted = time.monotonic()
        first = Run(self.waiting.pop(), base, model)
        ranks = sum(job.recipe.lora.r for job in self.waiting) / first.job.recipe.lora.r
        self.plan = self._measure(
            first,
            {job.recipe.train.gradient_checkpointing for job in jobs},
            first.adapter.weights.numel() * ADAPTER * ranks,
        )
        self.budget = budget or self.plan.tokens
        progress(ALL, {"plan": self.plan.says()})
        self._join(first)

    def train(self) -> dict[str, Trained | Failed]:
        rows = 0
        try:
            while self.waiting or self.running:
                rows += 1
                if rows % TRIM == 0 and self.model.device.type == "cpu":
                    trim()
                self._admit()
                if not self.running:
                    continue
                parts = self._next_row()
                if not self._carry(parts):
                    self._shrink([example for _, examples in parts for example in examples])
                    for run, _ in parts:
                        run.begin_step()
                    continue
                self._account(parts)
                self._step([run for run, _ in parts if not run.waiting])
                self.saver.offer(self.running)
            return self.results
        finally:
            for run in self.running:
                run.reporter.end()
            self.saver.close()

    def _admit(self) -> None:
        """Let waiting jobs join while the row has room for their batches and the memory for their states."""
        while self.waiting and (
            not self.running
            or (
                sum(run.row_tokens if self.share else run.tokens_per_step for run in self.running) < self.budget
                and free(self.model.device) > 64 * self.running[-1].adapter.weights.numel()
            )
        ):
            self._join(Run(self.waiting.pop(), self.base, self.model))

    def _join(self, run: Run) -> None:
        self.running.append(run)
        self._leave(run)

    def _leave(self, run: Run) -> None:
        """Take a run out if it is done, or as far as it is to go for now."""
        paused = run.step >= math.ceil(self.until * run.schedule.steps)
        if not (run.done or paused):
            return
        self._remove(run)
        if run.done:
            self.results[run.job.name] = run.finish()
        else:
            run.snapshot()()
            self.results[run.job.name] = run.result()

    def _remove(self, run: Run) -> None:
        """Take it out of the rows; nothing of it is being written any more."""
        self.running.remove(run)
        self.saver.settle(run)
        run.reporter.end()
        if run.reporter.said:
            self.progress(run.job.name, {"step": run.step, "remark": run.reporter.said})

    def _next_row(self) -> list[tuple[Run, list[Example]]]:
        """Parts (run, sequences) of the next row; whoever has most left to do goes first, so that all end together."""
        runs = sorted(self.running, key=lambda run: -run.tokens_left)
        beginnings = [run.beginning for run in runs] if self.share else []
        chosen = share_out([run.waiting for run in runs], self.budget, beginnings)
        return [(run, examples) for run, examples in zip(runs, chosen, strict=True) if examples]

    def _carry(self, parts: Sequence[tuple[Run, list[Example]]]) -> bool:
        """Forward and backward of one row: adds to the gradients and losses of its runs. False: no memory for it."""
        began = time.monotonic()
        row = pack([(examples, run.weight) for run, examples in parts], self.model.device, self.share)
        self.row = row.tokens
        self.packing += time.monotonic() - began
        self._recompute(row.tokens > self.plan.recompute_from)
        dropouts = [run.dropout(examples) for run, examples in parts]
        adapters = [run.adapter for run, _ in parts]
        with self.layers.carrying(adapters, row.slices, dropouts), packed_attention(self.model):
            try:
                total, each = losses(self.model, row)
                total.backward()
            except Exception as error:
                if not memory.is_out_of_memory(error):
                    raise
                return False
        sums = torch.zeros(len(parts), device=each.device).index_add_(0, row.owners, each * row.weights)
        for (run, examples), loss in zip(parts, sums, strict=True):
            run.loss = run.loss + loss
            carried = {id(example) for example in examples}
            run.waiting = [example for example in run.waiting if id(example) not in carried]
        return True

    def _recompute(self, wanted: bool) -> None:
        if wanted and not self.model.is_gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        elif not wanted and self.model.is_gradient_checkpointing:
            self.model.gradient_checkpointing_disable()

    def _step(self, complete: Sequence[Run]) -> None:
        """Optimizer steps of the runs whose whole batch has been carried; one look at the device for all of them."""
        figures = [torch.stack([run.loss, run.adapter.grads.norm()]) for run in complete]
        for run, (loss, norm) in zip(complete, torch.stack(figures).tolist() if figures else [], strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._fail(run, "loss" if not math.isfinite(loss) else "gradient")
                continue
            self.progress(run.job.name, run.finish_step(loss, norm))
            if run.job.eval and run.schedule.evaluates_after(run.step):
                eval_loss = self._evaluate(run)
                if not math.isfinite(eval_loss):
                    self._fail(run, "eval loss")
                    continue
                self.progress(run.job.name, run.judge(eval_loss))
            self._leave(run)

    def _fail(self, run: Run, what: str) -> None:
        why = (
            f"the {what} is not finite at step {run.step + 1}: lower train.lr (it is {run.schedule.rate:g}), or look "
            f"for broken rows; the steps until then are in {run.metrics}"
        )
        self._remove(run)
        run.checkpoint.unlink(missing_ok=True)
        self.results[run.job.name] = Failed(run.job.name, why, run.step, run.job.run)

    @torch.no_grad()
    def _evaluate(self, run: Run) -> float:
        """The mean loss over all learned tokens of the held-out rows."""
        rest, total = list(run.job.eval), 0.0
        weight = 1 / max(1, learned(rest))
        while rest:
            (examples,) = share_out([rest], self.budget, [run.beginning] if self.share else [])
            row = pack([(examples, weight)], self.model.device, self.share)
            with self.layers.carrying([run.adapter], row.slices), packed_attention(self.model):
                try:
                    loss = losses(self.model, row)[0].item()
                except Exception as error:
                    if not memory.is_out_of_memory(error):
                        raise
                    loss = None
            if loss is None:
                self._shrink(examples)
                continue
            total += loss
            carried = {id(example) for example in examples}
            rest = [example for example in rest if id(example) not in carried]
        return total

    def _shrink(self, examples: Sequence[Example]) -> None:
        """After a row of these sequences did not fit in memory: rows of half its length from here on."""
        if len(examples) == 1:
            raise FactoryError(
                f"one sequence of {size(examples)} tokens does not fit in memory: set "
                "train.gradient_checkpointing=true, or a smaller train.max_length"
            )
        give_back()
        self.budget = min(self.budget, size(examples)) // 2

    def _account(self, parts: Sequence[tuple[Run, list[Example]]]) -> None:
        """Give every run of the row its share of the time since the last row, and tell how it goes on the whole."""
        now = time.monotonic()
        seconds, self.counted = now - self.counted, now
        tokens = sum(size(examples) for _, examples in parts)
        for run, examples in parts:
            run.seconds += seconds * size(examples) / tokens
        self.tokens += tokens
        rate = self.tokens / (time.monotonic() - self.started)
        state = {"running": len(self.running), "waiting": len(self.waiting), "budget": self.budget}
        state["packing"] = self.packing  # type: ignore[assignment]
        self.progress(ALL, {"tokens": self.tokens, "tokens_per_second": rate, "row": self.row, **state})

    def _measure(self, run: Run, wanted: set[bool | str], states: float) -> memory.Plan:
        """How rows are made, from what one of PROBE tokens keeps: of fewer where not even those fit in memory."""
        length = PROBE
        while True:
            row = pack([(probe(run.job.train, length), 1.0)], self.model.device)
            with self.layers.carrying([run.adapter], row.slices), packed_attention(self.model):
                try:
                    kept = memory.kept_bytes(self.model, lambda: losses(self.model, row))  # noqa: B023
                    return memory.plan(self.model, kept / row.tokens, self.longest, wanted, states)
                except Exception as error:
                    if not memory.is_out_of_memory(error):
                        raise
            if length <= LEAST:
                raise FactoryError(
                    f"base {self.base.label} leaves no memory to train in: end what else is on the device "
                    "(nvidia-smi tells), or take a smaller base"
                )
            length //= 4
            give_back()
