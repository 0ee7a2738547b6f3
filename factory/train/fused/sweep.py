"""Variants of one task trained together; at each rung the better half by rubric score goes on (successive halving).

Jamieson and Talwalkar, arXiv 1502.07943. All variants follow their full schedules, and a variant that goes on goes on
from its checkpoint: stopping the others changes nothing in it. Needs `score` in every job.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.base.build import Base
from factory.errors import InputError
from factory.home import write_json
from factory.recipe import Recipe
from factory.train.fused.engine import Progress, train_many
from factory.train.fused.run import Failed, Job
from factory.train.trained import Trained

RUNGS = (0.25, 0.5, 1.0)  # shares of the steps after which the variants are compared


@dataclass
class Standing:
    """How far a variant came. `scores` are (steps, score) at each rung it reached; `result` is its last one."""

    name: str
    scores: list[tuple[int, float]] = field(default_factory=list)
    result: Trained | Failed | None = None

    @property
    def rank(self) -> tuple[int, float, float]:
        """What standings are ordered by: rungs reached, then the last score, then the lower eval loss."""
        loss = self.result.eval_loss if isinstance(self.result, Trained) else math.inf
        return (
            len(self.scores),
            self.scores[-1][1] if self.scores else -math.inf,
            -math.inf if math.isnan(loss) else -loss,
        )


def grid(text: str) -> list[dict[str, str]]:
    """`lora.r:8,16 train.lr:1e-4,3e-4` to all combinations, as changes to a recipe."""
    axes = []
    for word in text.split():
        key, colon, values = word.partition(":")
        if not colon or not key or not all(values.split(",")):
            raise InputError(f"sweep: {word!r} is not key:value,value (as in sweep='lora.r:8,16 train.lr:1e-4,3e-4')")
        axes.append([(key, value) for value in dict.fromkeys(values.split(","))])
    if len({axis[0][0] for axis in axes}) < len(axes):
        raise InputError("sweep: a key is given twice")
    return [dict(choice) for choice in itertools.product(*axes)]


def name_of(recipe: Recipe, changes: dict[str, str]) -> str:
    """The name of a variant: `summary lora.r=8 train.lr=1e-4`."""
    return " ".join([recipe.task, *(f"{key}={value}" for key, value in changes.items())])


def sweep(
    jobs: Sequence[Job], base: Base, model: Any, progress: Progress = lambda name, record: None
) -> list[Standing]:
    """Train the variants over one base, the worse half stopping at every rung; the best first.

    A variant that fails stands last, with its reason. The winner is `standings[0].result`, trained to its end.
    """
    named = {job.name: job for job in jobs}
    return halve(list(named), lambda names, rung: climb([named[n] for n in names], base, model, rung, progress))


def climb(
    jobs: Sequence[Job], base: Base, model: Any, rung: float, progress: Progress = lambda name, record: None
) -> list[tuple[Trained | Failed, float | None]]:
    """Train the variants to a rung; what came of each, and its score."""
    found: list[tuple[Trained | Failed, float | None]] = []
    for job, result in zip(jobs, train_many(jobs, base, model, until=rung, progress=progress), strict=True):
        score = job.score(result.adapter) if isinstance(result, Trained) and job.score is not None else None
        if isinstance(result, Trained) and score is not None:
            progress(job.name, {"step": result.steps, "score": score})
        found.append((result, score))
    return found


def halve(
    names: Sequence[str],
    climb: Callable[[Sequence[str], float], Sequence[tuple[Trained | Failed, float | None]]],
) -> list[Standing]:
    """Successive halving, wherever the variants are trained: `climb` takes those that are left to the next rung."""
    standings = {name: Standing(name) for name in names}
    alive = list(names)
    for at, rung in enumerate(RUNGS):
        for name, (result, score) in zip(alive, climb(alive, rung), strict=True):
            standings[name].result = result
            if isinstance(result, Trained) and score is not None:
                standings[name].scores.append((result.steps, score))
        ranked = sorted(alive, key=lambda name: standings[name].rank, reverse=True)
        survivors = [name for name in ranked if isinstance(standings[name].result, Trained)]
        alive = survivors[: math.ceil(len(alive) / 2)] if at < len(RUNGS) - 1 else survivors
        if not alive:
            break
    return sorted(standings.values(), key=lambda standing: standing.rank, reverse=True)


def rows(standings: Sequence[Standing]) -> list[dict[str, Any]]:
    """The table of a sweep: one row a variant, the best first, as `--json` and sweep.json show it."""
    made = []
    for standing in standings:
        result = standing.result
        row: dict[str, Any] = {"name": standing.name, "scores": standing.scores}
        if isinstance(result, Trained):
            row |= {"score": standing.scores[-1][1] if standing.scores else None, "steps": result.steps}
            row |= {"eval_loss": None if math.isnan(result.eval_loss) else round(result.eval_loss, 5)}
            row |= {"seconds": round(result.seconds, 2), "stopped": result.stopped, "run": str(result.run)}
        elif isinstance(result, Failed):
            row |= {"score": None, "steps": result.step, "failed": result.why, "run": str(result.run)}
        made.append(row)
    return made


def write(standings: Sequence[Standing], folder: Path) -> Path:
    """`sweep.json` and `sweep.png`: the score of every variant over its steps; returns the plot."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "sweep.json", rows(standings))
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    for standing in standings:
        if standing.scores:
            axis.plot(*zip(*standing.scores, strict=True), "o-", label=standing.name, linewidth=1.2, markersize=4)
    axis.set_xlabel("step")
    axis.set_ylabel("rubric score on the tune rows")
    axis.legend(fontsize="small")
    path = folder / "sweep.png"
    figure.savefig(path, dpi=110)
    return path
