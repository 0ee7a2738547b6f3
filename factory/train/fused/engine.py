"""Train many adapters at once: rows of many tasks through one base, each adapter stepping on its own schedule."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from factory.base.build import Base
from factory.errors import InputError
from factory.precision import precision
from factory.shares import free, trim
from factory.train.fused.group import ALONE, Group
from factory.train.fused.packing import size, supervised
from factory.train.fused.passes import Passes
from factory.train.fused.precision import computing_in
from factory.train.fused.run import Failed, Job, Run, finished
from factory.train.fused.saving import SECONDS, Saver
from factory.train.kernels import check_kernels, use_liger
from factory.train.lora import unlike, untrainable
from factory.train.memory import ADAPTER
from factory.train.methods import Totals
from factory.train.tokens import Example
from factory.train.trackers import missing
from factory.train.trained import Trained

TRIM = 2.5  # seconds after which what rows freed goes back to the machine, where that is not done by itself
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
    group: Group = ALONE,
) -> list[Trained | Failed]:
    """Train every job's adapter over the loaded base; results in the jobs' order, each in its `run/adapter`.

    `budget` is the most tokens of one row, found from free memory if not given; a row that does not fit in memory all
    the same is halved. `until` pauses each run after that share of its steps; calling again with more goes on. Each is
    checkpointed every `checkpoint_seconds`, more seldom where that would cost much (`saving`). Jobs
    that an earlier call finished are not trained again, interrupted ones go on from their last checkpoint. In a `group`
    all its processes make the same call, with `run` folders of their own that hold the same, and get the same results.
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
        same = [job for job in jobs if precision(job.recipe.train.precision).dtype == dtype]
        results |= {job.name: known for job in same if (known := finished(job, base)) is not None}
        if left := [job for job in same if job.name not in results]:
            with computing_in(model, dtype), _prepared(model):
                passes = Passes(model, base, left, group)
                results |= Engine(passes, left, budget, until, checkpoint_seconds, progress).train()
    return [results[job.name] for job in jobs]


def _check(jobs: Sequence[Job], model: Any) -> None:
    for job in jobs:
        check_kernels(job.recipe)
    problems = [
        f"{job.name}: no row has a trainable token left (are the answers empty, or is train.max_length="
        f"{job.recipe.train.max_length} shorter than the prompts?)"
        for job in jobs
        if not supervised(job.train)
    ]
    problems += [f"{job.name}: {fault}" for job in jobs for fault in untrainable(model, job.recipe.lora)]
    problems += [
        f"{job.name}: {fault}" for job in jobs if job.parent for fault in unlike(job.parent, job.recipe.lora, model)
    ]
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
    """The loop over rows for jobs of one precision: who joins, whose sequences are next, who steps, who is done."""

    def __init__(
        self,
        passes: Passes,
        jobs: Sequence[Job],
        budget: int | None,
        until: float,
        checkpoint_seconds: float,
        progress: Progress,
    ) -> None:
        self.passes, self.model, self.base, self.until = passes, passes.model, passes.base, until
        self.progress = progress
        self.saver = Saver(checkpoint_seconds)
        self.waiting = sorted(jobs, key=lambda job: size(job.train) * job.recipe.train.epochs)  # the longest runs first
        self.running: list[Run] = []
        self.results: dict[str, Trained | Failed] = {}
        self.tokens = 0
        self.started = self.counted = time.monotonic()
        first = Run(self.waiting.pop(), self.base, self.model)
        ranks = sum(job.recipe.lora.r for job in self.waiting) / first.job.recipe.lora.r
        passes.plan = passes.measure(first, first.adapter.weights.numel() * ADAPTER * ranks)
        passes.budget = budget or passes.plan.tokens
        progress(ALL, {"plan": passes.plan.says()})
        self._join(first)

    def train(self) -> dict[str, Trained | Failed]:
        trimmed = time.monotonic()
        try:
            while self.waiting or self.running:
                if self.model.device.type == "cpu" and time.monotonic() - trimmed > TRIM:
                    trim()
                    trimmed = time.monotonic()
                self._admit()
                if not self.running:
                    continue
                if any(self._roll(run) for run in [*self.running]):
                    continue
                segments = self._next_row()
                for run, _ in segments:
                    run.totals = run.totals or Totals.of(run.batch, self.passes.baseline(run, run.batch))
                if not self.passes.forward_backward(segments):
                    for run, _ in segments:
                        run.begin_step()
                    continue
                self._account(segments)
                self._step([run for run, _ in segments if not run.waiting])
                self.saver.offer(self.running)
            return self.results
        finally:
            for run in self.running:
                run.reporter.end()
            self.saver.close()

    def _admit(self) -> None:
        """Let waiting jobs join while the row has room for their batches and the memory for their states."""
        group, share = self.passes.group, self.passes.share
        room = self.passes.budget * group.size
        while self.waiting and (
            not self.running
            or (
                sum(run.row_tokens if share else run.tokens_per_step for run in self.running) < room
                and -group.most(-free(self.model.device)) > 64 * self.running[-1].adapter.weights.numel()
            )
        ):
            self._join(Run(self.waiting.pop(), self.base, self.model))

    def _join(self, run: Run) -> None:
        if run.job.method.refers and run.references is None:  # before its first step it is what it is compared with
            run.references = self.passes.references(run, [*run.job.train, *run.job.eval])
        if run.job.teacher:
            run.taught = run.job.teacher([*run.job.train, *run.job.eval])
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

    def _roll(self, run: Run) -> bool:
        """Draw the answers that a run's step is to learn from, where its method draws and has not. True if there was
        nothing to learn from them: the step is over."""
        if not run.job.rollouts or run.rolled:
            return False
        if run.step == 0 and run.job.eval:  # where it starts may be the best
            self.progress(run.job.name, run.judge(self.passes.eval_loss(run)))
        self.passes.roll(run)
        if run.waiting:
            return False
        self._step([run])
        return True

    def _next_row(self) -> list[tuple[Run, list[Example]]]:
        """Parts (run, sequences) of the next row; whoever has most left to do goes first, so that all end together."""
        runs = sorted(self.running, key=lambda run: -run.tokens_left)
        chosen = self.passes.next(runs, [run.waiting for run in runs])
        return [(run, examples) for run, examples in zip(runs, chosen, strict=True) if examples]

    def _step(self, complete: Sequence[Run]) -> None:
        """Optimizer steps of the runs whose whole batch has gone through; one look at the device for all of them."""
        total = self.passes.group.sum
        found = [torch.cat([total(run.told), total(run.adapter.grads).norm()[None]]) for run in complete]
        figures = torch.cat(found).tolist() if found else []
        for run in complete:
            told = [figures.pop(0) for _ in range(len(run.told))]
            norm = figures.pop(0)
            if not (math.isfinite(told[0]) and math.isfinite(norm)):
                self._fail(run, "loss" if not math.isfinite(told[0]) else "gradient")
                continue
            if fault := run.job.method.fault(told):
                self._end(run, f"{fault} (step {run.step + 1})")
                continue
            self.progress(run.job.name, run.finish_step(told, norm))
            if run.job.eval and run.schedule.evaluates_after(run.step):
                eval_loss = self.passes.eval_loss(run)
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
        self._end(run, why)

    def _end(self, run: Run, why: str) -> None:
        self._remove(run)
        run.checkpoint.unlink(missing_ok=True)
        self.results[run.job.name] = Failed(run.job.name, why, run.step, run.job.run)

    def _account(self, segments: Sequence[tuple[Run, list[Example]]]) -> None:
        """Give every run of the row its share of the time since the last row, and tell how it goes on the whole."""
        now = time.monotonic()
        seconds, self.counted = now - self.counted, now
        tokens = sum(size(examples) for _, examples in segments)
        for run, examples in segments:
            run.seconds += seconds * size(examples) / tokens
        self.tokens += tokens
        rate = self.tokens / (time.monotonic() - self.started)
        state = {"running": len(self.running), "waiting": len(self.waiting), "budget": self.passes.budget}
        state["packing"] = self.passes.packing  # type: ignore[assignment]
        self.progress(ALL, {"tokens": self.tokens, "tokens_per_second": rate, "row": self.passes.row, **state})
