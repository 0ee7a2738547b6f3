"""`factory train sweep=…`: variants of one task side by side over one base; the best by rubric score is registered.

Variants are scored on the tune rows. The eval rows are looked at once, by the winner that is registered.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from evals import rubric as rubrics
from evals.scorecard import grade_answers
from factory import answers
from factory import recipe as recipes
from factory.base.build import prepare as prepare_base
from factory.base.loaded import Loaded, loaded
from factory.errors import FactoryError, InputError
from factory.home import digest, home, shown
from factory.pipeline.data import dataset
from factory.pipeline.grade import gradable
from factory.pipeline.prepare import Prepared, prepare
from factory.pipeline.train import Made, graded, one_at_a_time, registered
from factory.recipe import Recipe
from factory.terminal import err, out, progress_bar, table
from factory.train.fused import Failed, Job, progress
from factory.train.fused import sweep as halving
from factory.train.trained import Trained
from factory.verbs.fan import PART, Device, Lost, Worker, decoded, encoded, spread


def sweep(
    wanted: Sequence[Recipe], grid: str, changes: dict[str, str], on: Sequence[Device], quiet: bool
) -> tuple[Made, list[dict[str, Any]]]:
    """Train every variant of the one task wanted, the worse half stopping at each rung; the best graded, and all.
    On several devices the variants of each rung are spread over them.

    Errors: more than one task; a key that does not belong to `lora` or `train` (variants share a base and its rows); a
    value that the recipe refuses; a rubric that nothing but people or a judge can decide; no variant that came through.
    """
    recipe, choices, variants = _variants(wanted, grid, changes)
    gradable(recipe)
    tuned = len(dataset(recipe).tune)
    if not tuned:
        raise InputError(
            f"sweep: {recipe.task} has no rows to tune on, and a choice by the eval rows would spoil them as an exam: "
            "give it more training rows, or a larger data.tune_share"
        )
    if len(on) > 1:
        prepare_base(recipe.base)  # once, before many ask for it
        standings = halving.halve(list(variants), partial(_spread, recipe, changes, choices, on))
    else:
        base = loaded(recipe.base)
        jobs = _jobs(variants, base)
        with one_at_a_time(jobs), progress_bar() as bar:
            standings = halving.sweep(jobs, base.base, base.model, progress=progress.lines(bar))
    folder = home("runs", f"{recipe.task}-sweep-{digest([variant.hash() for variant in variants.values()])[:12]}")
    plot = halving.write(standings, folder)
    console, rows = out(quiet), halving.rows(standings)
    console.print(table(f"{recipe.task}, {len(rows)} variants, scored on {tuned} tune rows", *_table(rows)))
    err.print(f"the course of every variant: {shown(plot)}")
    best = standings[0]
    if best.result is None or isinstance(best.result, Failed):
        raise FactoryError("\n".join(f"{row['name']}: {row['failed']}" for row in rows))
    winner = prepare(variants[best.name], loaded(recipe.base))
    console.print(f"best: [bold]{best.name}[/]")
    return graded(registered(winner, best.result)), rows


def _jobs(variants: dict[str, Recipe], on: Loaded) -> list[Job]:
    """A job for each variant, which scores it on the rows kept for tuning."""
    prepared = {name: prepare(variant, on) for name, variant in variants.items()}
    return [replace(one.job, name=name, score=partial(_score, one)) for name, one in prepared.items()]


def _spread(
    recipe: Recipe,
    changes: dict[str, str],
    choices: dict[str, dict[str, str]],
    on: Sequence[Device],
    names: Sequence[str],
    rung: float,
) -> list[tuple[Trained | Failed, float | None]]:
    """`climb` of the halving with the variants dealt out to devices, a process on each. They go on from the checkpoints
    in the home, so a variant need not come back to the device where it was before."""
    parts = [part for number in range(len(on)) if (part := names[number :: len(on)])]
    spec = {"task": recipe.task, "changes": changes, "until": rung}
    works = [[json.dumps(spec | {"variants": {name: choices[name] for name in part}})] for part in parts]
    found: dict[str, tuple[Trained | Failed, float | None]] = {}
    for part, result in zip(parts, spread(works, on, Worker(PART.format("sweep"))), strict=True):
        for name in part:
            if isinstance(result, Lost):
                found[name] = Failed(name, result.why, 0, home("runs")), None
                continue
            found[name] = decoded(name, result[name]), result[name]["score"]
    return [found[name] for name in names]


def child(asked: dict[str, Any]) -> dict[str, Any]:
    """A worker's part of a rung, in a process of its own: what came of each variant."""
    variants = {
        name: recipes.load(asked["task"], asked["changes"] | choice) for name, choice in asked["variants"].items()
    }
    (base,) = {recipe.base for recipe in variants.values()}
    on = loaded(base)
    jobs = _jobs(variants, on)
    with one_at_a_time(jobs), progress_bar() as bar:
        climbed = halving.climb(jobs, on.base, on.model, asked["until"], progress.lines(bar))
    return {job.name: encoded(one) | {"score": score} for job, (one, score) in zip(jobs, climbed, strict=True)}


def _variants(
    wanted: Sequence[Recipe], grid: str, changes: dict[str, str]
) -> tuple[Recipe, dict[str, dict[str, str]], dict[str, Recipe]]:
    """The task's recipe; by the name of each variant what it changes, and its recipe."""
    if len(wanted) != 1:
        raise InputError(f"sweep: varies one task at a time, not {', '.join(recipe.task for recipe in wanted)}")
    (recipe,) = wanted
    problems: list[Any] = []
    if not any(dimension.checks for dimension in rubrics.load(recipe.rubric).dimensions):
        problems.append(f"sweep: no check decides anything in rubrics/{recipe.rubric}.yaml, so variants cannot be told")
    choices, variants = {}, {}
    for choice in halving.grid(grid):
        if foreign := [key for key in choice if not key.startswith(("lora.", "train."))]:
            problems.append(f"sweep: {', '.join(foreign)}: only keys of lora and train can be varied over one base")
            break
        try:
            name = halving.name_of(recipe, choice)
            choices[name], variants[name] = choice, recipes.load(recipe.task, {**changes, **choice})
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*dict.fromkeys(problems))
    return recipe, choices, variants


def _score(one: Prepared, adapter: Path) -> float:
    """The rubric score of an adapter on the tune rows: good counts 1, average ½, poor 0. For `Job.score`."""
    recipe, rows = one.recipe, one.built.tune
    asked = [row.with_system(recipe.system_prompt()) for row in rows]
    with answers.adapted(one.on.model, adapter) as model:
        said = answers.answer(model, one.on.tokenizer, asked, recipe.decoding, recipe.labels)
    card = grade_answers(rubrics.load(recipe.rubric), rows, said)
    if card.good is None or card.average is None:
        raise FactoryError(f"{recipe.task}: no check measured an answer, so variants cannot be compared")
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
