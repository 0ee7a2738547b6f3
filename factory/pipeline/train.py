"""Recipes to graded versions: rows as tokens, adapters trained together, each registered and held to the gate."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals import rubric as rubrics
from evals.run import Report
from evals.scorecard import Scorecard, grade_answers
from factory import probe
from factory.base.build import Base
from factory.base.loaded import Loaded, loaded
from factory.data.build import files_of
from factory.data.rows import Row
from factory.errors import FactoryError
from factory.home import home, locked, shown
from factory.pipeline import recovery
from factory.pipeline.data import every
from factory.pipeline.grade import gate_of, gradable, grade
from factory.pipeline.prepare import Later, Prepared, prepare
from factory.pipeline.reward import judge
from factory.pipeline.stages import learns_from_draws, parent_of, present
from factory.precision import precision
from factory.recipe import Recipe
from factory.registry import aliases, store
from factory.registry.store import Version
from factory.terminal import err, progress_bar
from factory.train import curves
from factory.train.fused import Failed, Job, progress, train_many
from factory.train.methods import Generate, Reward
from factory.train.trained import Trained
from serve.answers import of_base, of_version


class SomeFailed(FactoryError):
    """Some adapters failed. `result` is what `--json` shows all the same: the versions that were made, and the rest."""

    def __init__(self, made: list[dict[str, Any]], failed: list[Failed]) -> None:
        self.result = {
            "versions": made,
            "failed": [{"task": f.name, "why": f.why, "step": f.step, "run": str(f.run)} for f in failed],
        }
        super().__init__("\n".join(f"{f.name}: {f.why} (step {f.step}; {shown(f.run)})" for f in failed))


@dataclass(frozen=True)
class Registered:
    """A version that was trained and registered, and the `rows` that it can be graded on."""

    recipe: Recipe
    base: Base
    trained: Trained
    remarks: list[str]
    version: Version
    ordinal: int
    rows: Sequence[Row]
    stage: str
    parent: Version | None


@dataclass(frozen=True)
class Made(Registered):
    """One that was graded too; `before` is the base's scorecard on the same rows."""

    before: Scorecard
    report: Report

    def to_json(self) -> dict[str, Any]:
        loss = self.trained.eval_loss
        return {
            "task": self.recipe.task,
            "version": self.version.name,
            "ordinal": self.ordinal,
            "base": self.base.label,
            "fingerprint": self.base.fingerprint,
            "seconds": round(self.trained.seconds, 2),
            "train_tokens": self.trained.train_tokens,
            "tokens_per_second": round(self.trained.rate),
            "eval_loss": None if math.isnan(loss) else round(loss, 5),
            "run": str(self.trained.run),
            "remarks": self.remarks,
            **({"stage": self.stage, "parent": self.parent.name if self.parent else ""} if self.stage else {}),
            "scorecard": self.report.scorecard.brief(),
            "gate": gate_of(self.report),
        }


def fit(on: Loaded, jobs: Sequence[Job]) -> list[Trained | Failed]:
    """What comes of jobs over one base, trained in this process."""
    with progress_bar() as bar:
        return train_many(jobs, on.base, on.model, progress=progress.lines(bar))


def train(recipes: Sequence[Recipe], fitted: Callable[..., list[Trained | Failed]] = fit) -> Iterator[Made | Failed]:
    """Every recipe's versions, each graded as soon as it is registered."""
    for one in register(recipes, fitted):
        yield one if isinstance(one, Failed) else graded(one)


def register(
    recipes: Sequence[Recipe], fitted: Callable[..., list[Trained | Failed]] = fit
) -> Iterator[Registered | Failed]:
    """Train every recipe, all that share a base at once, as `fitted` does it; of several stages first the first of all,
    each a version that the next starts from. Errors: before anything is trained, all of all recipes."""

    def ready_to(recipe: Recipe) -> list[Prepared | Later]:
        gradable(recipe)
        if not recipe.stages:
            files_of(recipe)  # both before the base, which takes its time
            return [prepare(recipe, loaded(recipe.base))]
        present(recipe)
        on = loaded(recipe.base)
        made: list[Prepared | Later] = []
        for number, method in enumerate(recipe.stages):
            parent = parent_of(recipe, method, on.base) if number == 0 or method.parent else None
            if isinstance(method, Generate):
                made.append(Later(recipe, on, method, parent))
            elif learns_from_draws(recipe.stages, number):
                draws = [stage for stage in recipe.stages[:number] if isinstance(stage, Generate)]
                made.append(Later(recipe, on, method, parent, draws[-1]))
            else:
                earlier = [one.job for one in made if isinstance(one, Prepared)]
                made.append(prepare(recipe, on, method, earlier=earlier).after(parent))
        return made

    ready, error = every(recipes, ready_to)
    if error:
        raise error
    last: dict[str, Version] = {}
    drawn: dict[str, Path] = {}
    models: dict[str, Path] = {}
    lost: set[str] = set()
    for depth in range(max(map(len, ready))):
        due: list[Prepared] = []
        for one in [of[depth] for of in ready if depth < len(of) and of[0].recipe.task not in lost]:
            task, parent = one.recipe.task, one.parent or last.get(one.recipe.task)
            try:
                now = one.due(parent, drawn, models) if isinstance(one, Later) else one
            except FactoryError as fault:
                lost.add(task)
                yield Failed(task, str(fault), 0, home("runs"))
                continue
            if parent:
                last[task] = parent  # where it goes on, if nothing new comes of this stage
            if now:
                due.append(now.after(parent, models.get(task)))
        for result in _together(due, fitted):
            if isinstance(result, Failed):
                lost.add(result.name)
            else:
                last[result.recipe.task] = result.version
            yield result
        models |= {one.recipe.task: one.job.run / "adapter" for one in due if isinstance(one.job.method, Reward)}


def _together(
    ready: Sequence[Prepared], fitted: Callable[..., list[Trained | Failed]]
) -> Iterator[Registered | Failed]:
    for name in dict.fromkeys(one.on.base.name for one in ready):  # a base may be written in many ways
        group = [one for one in ready if one.on.base.name == name]
        jobs = [one.job for one in group]
        with one_at_a_time(jobs):
            once = {job.run: job for job in jobs}
            made = dict(zip(once, fitted(loaded(name), [*once.values()]), strict=True))
        for one in group:
            result = made[one.job.run]
            if isinstance(result, Failed):
                yield replace(result, name=one.job.name)
            elif isinstance(method := one.job.method, Reward):
                try:
                    judge(one.recipe, method, one.on, result.adapter, one.built.tune)
                except FactoryError as fault:
                    yield Failed(one.recipe.task, str(fault), result.steps, result.run)
            else:
                yield registered(one, result)


@contextmanager
def one_at_a_time(jobs: Sequence[Job]) -> Iterator[None]:
    """The jobs' runs are this process's alone: a second, identical training waits and takes what the first made."""
    with ExitStack() as held:
        for run in sorted({job.run for job in jobs}):
            said = f"{run.name} is being trained by another process: waiting for what it makes"
            held.enter_context(locked(run, functools.partial(err.print, said, markup=False)))
        yield


def registered(one: Prepared, trained: Trained) -> Registered:
    """Register a trained adapter; what is known of it is noted beside the version."""
    recipe, on, rows = one.recipe, one.on, one.built.eval
    curves.plot(trained.run, f"{recipe.task} over {on.base.label}")
    err.print(
        f"{recipe.task}: trained in {trained.seconds:.0f} s, {trained.rate:,.0f} tokens/s"
        f"{', stopped early' if trained.stopped else ''}; curves: {shown(trained.run / 'curves.png')}"
    )
    version = store.add(trained.adapter, store.facts_of(recipe, on.base))
    remarks = curves.warnings(curves.read(trained.run))
    if one.watch and one.parent and (fell := curves.fell(one.watch(one.parent), one.watch(version))):
        remarks.append(fell)
        version = one.parent
    perplexity = recovery.perplexity(on, one.job, trained.adapter) if one.job.teacher else {}
    if perplexity:
        told = ", ".join(f"{value:.3f} {of}" for of, value in perplexity.items())
        err.print(f"{recipe.task}: perplexity of {len(one.job.eval)} held-out texts: {told}", markup=False)
    if one.parent and version.sha == one.parent.sha:
        remarks.append("nothing that it learned is kept: this is the version that it started from")
    elif one.parent:
        asked = [row.with_system(recipe.system_prompt()) for row in rows]
        remarks += curves.drift(*(of_version(which)(asked) for which in (one.parent, version)))
    for remark in remarks:
        err.print(f"[yellow]{recipe.task}: {remark}[/]")
    if not one.parent or version.sha != one.parent.sha:
        _note(one, version, trained, remarks, perplexity)
    probe.remember(version, trained.probe or probe.of_version(version, on.model, on.tokenizer))
    ordinal = aliases.register(version).ordinal
    return Registered(recipe, on.base, trained, remarks, version, ordinal, rows, one.stage, one.parent)


def graded(one: Registered) -> Made:
    """Grade it beside the base; what is found is noted beside the version."""
    recipe, rows = one.recipe, one.rows
    before = grade_answers(rubrics.load(recipe.rubric), rows, of_base(recipe, one.base)(rows))
    store.note(one.version, "base_scorecard", before.to_json())
    return Made(**vars(one), before=before, report=grade(recipe, one.version, rows))


def _note(one: Prepared, version: Version, trained: Trained, remarks: list[str], perplexity: dict[str, float]) -> None:
    """Write beside a version what it was made of."""
    store.note(version, "recipe", one.recipe.model_dump(mode="json"))
    store.note(version, "data", one.built.manifest)
    run: dict[str, Any] = {"folder": str(trained.run), "remarks": remarks, "stopped": trained.stopped}
    run["precision"] = precision(one.recipe.train.precision).name
    if perplexity:
        run["perplexity"] = perplexity
    if one.stage:
        parent = one.parent.sha if one.parent else ""
        run |= {"stage": one.stage, "method": one.job.method.model_dump(), "parent": parent}
    store.note(version, "run", run)
