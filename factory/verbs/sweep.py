"""`factory train sweep=…`: variants of one task side by side over one base; the best by rubric score is registered.

Variants are scored on the tune rows. The eval rows are looked at once, by the winner that is registered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals import rubric as rubrics
from evals.scorecard import grade_answers
from factory import answers
from factory import recipe as recipes
from factory.data.build import Built
from factory.errors import FactoryError, InputError
from factory.home import digest, home, shown
from factory.recipe import Recipe
from factory.terminal import err, out, progress_bar, table
from factory.train.fused import Failed, board
from factory.train.fused import sweep as halving
from factory.verbs.answering import Loaded, loaded
from factory.verbs.train import finish, one_at_a_time, prepare


def sweep(wanted: Sequence[Recipe], grid: str, changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Train every variant of the one task wanted, the worse half stopping at each rung; `sweep` in the result is all.

    Errors: more than one task; a key that does not belong to `lora` or `train` (variants share a base and its rows); a
    value that the recipe refuses; a rubric that nothing but people or a judge can decide; no variant that came through.
    """
    recipe, variants = _variants(wanted, grid, changes)
    on = loaded(recipe.base)
    prepared = [prepare(variant, on) for variant in variants.values()]
    tuned = len(prepared[0][1].tune)
    if not tuned:
        raise InputError(
            f"sweep: {recipe.task} has no rows to tune on, and a choice by the eval rows would spoil them as an exam: "
            "give it more training rows, or a larger data.tune_share"
        )
    jobs = [
        replace(job, name=name, score=_Score(variant, built, on))
        for name, (variant, built, job) in zip(variants, prepared, strict=True)
    ]
    with one_at_a_time(jobs), progress_bar() as bar:
        standings = halving.sweep(jobs, on.base, on.model, progress=board.lines(bar))
    folder = home("runs", f"{recipe.task}-sweep-{digest([str(job.run) for job in jobs])[:12]}")
    plot = halving.write(standings, folder)
    console, rows = out(quiet), halving.rows(standings)
    console.print(table(f"{recipe.task}, {len(rows)} variants, scored on {tuned} tune rows", *_table(rows)))
    err.print(f"the course of every variant: {shown(plot)}")
    best = standings[0]
    if best.result is None or isinstance(best.result, Failed):
        raise FactoryError("\n".join(f"{row['name']}: {row['failed']}" for row in rows))
    winner, built, _ = prepared[list(variants).index(best.name)]
    console.print(f"best: [bold]{best.name}[/]")
    return {"versions": [finish(winner, built, on, best.result, quiet)], "sweep": rows}


def _variants(wanted: Sequence[Recipe], grid: str, changes: dict[str, str]) -> tuple[Recipe, dict[str, Recipe]]:
    if len(wanted) != 1:
        raise InputError(f"sweep: varies one task at a time, not {', '.join(recipe.task for recipe in wanted)}")
    (recipe,) = wanted
    problems: list[Any] = []
    if not any(dimension.checks for dimension in rubrics.load(recipe.rubric).dimensions):
        problems.append(f"sweep: no check decides anything in rubrics/{recipe.rubric}.yaml, so variants cannot be told")
    variants = {}
    for choice in halving.grid(grid):
        if foreign := [key for key in choice if not key.startswith(("lora.", "train."))]:
            problems.append(f"sweep: {', '.join(foreign)}: only keys of lora and train can be varied over one base")
            break
        try:
            variants[halving.name_of(recipe, choice)] = recipes.load(recipe.task, {**changes, **choice})
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*dict.fromkeys(problems))
    return recipe, variants


class _Score:
    """The rubric score of an adapter on the tune rows: good counts 1, average ½, poor 0. For `Job.score`."""

    def __init__(self, recipe: Recipe, built: Built, on: Loaded) -> None:
        self.recipe, self.rows, self.on = recipe, built.tune, on
        self.rubric = rubrics.load(recipe.rubric)

    def __call__(self, adapter: Path) -> float:
        asked = [row.with_system(self.recipe.system_prompt()) for row in self.rows]
        with answers.adapted(self.on.model, adapter) as model:
            said = answers.answer(model, self.on.tokenizer, asked, self.recipe.decoding, self.recipe.labels)
        card = grade_answers(self.rubric, self.rows, said)
        if card.good is None or card.average is None:
            raise FactoryError(f"{self.recipe.task}: no check measured an answer, so variants cannot be compared")
        return card.good + card.average / 2


def _table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows for the terminal; the last column says why a variant failed or how far it went."""
    made = []
    for row in rows:
        scores = [f"{score:.3f}" for _, score in row["scores"]]
        loss = row.get("eval_loss")
        end = row.get("failed") or row.get("stopped") or ""
        made.append(
            [row["name"], " ".join(scores), "" if loss is None else f"{loss:.3f}", str(row.get("steps", "")), end]
        )
    return ["variant", "score at each rung", "eval loss", "steps", ""], made
