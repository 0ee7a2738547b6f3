"""`factory train`: build the data, train the adapter, answer the eval rows, grade them, register the version."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from evals import rubric as rubrics
from evals.scorecard import Scorecard, grade_answers
from factory import answers
from factory import recipe as recipes
from factory.base.build import Base, load_model, load_tokenizer, prepare
from factory.data.build import Built, build
from factory.data.rows import Row
from factory.errors import FactoryError, InputError
from factory.home import digest, home, shown, write_json
from factory.recipe import Recipe
from factory.registry import aliases, store
from factory.terminal import err, out, percent, progress_bar, table
from factory.train import curves, sft
from factory.train.tokens import encode


def train(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Train every task named, one base loaded once, and show each against the base."""
    wanted = read_recipes(arguments["task"], changes)
    console = out(quiet)
    versions = []
    loaded: dict[str, tuple[Base, Any, Any]] = {}
    for recipe in wanted:
        if recipe.base not in loaded:
            base = prepare(recipe.base)
            loaded[recipe.base] = (base, load_model(base), load_tokenizer(base))
        result = train_one(recipe, *loaded[recipe.base])
        versions.append(result)
        console.print(_table(result))
        console.print(f"\n{result['version']} is in the registry. Next:")
        console.print(f"  factory promote version={recipe.task}@v{result['ordinal']} && factory serve\n")
    return {"versions": [{k: v for k, v in result.items() if k != "base_scorecard"} for result in versions]}


def read_recipes(names: str, changes: dict[str, str]) -> list[Recipe]:
    """The recipes of `summary`, `summary,identity` or `all`, with the errors of all of them at once."""
    tasks = recipes.tasks() if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
    problems, found = [], []
    for task in dict.fromkeys(tasks):
        try:
            found.append(recipes.load(task, changes))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*dict.fromkeys(problems))
    return found


def train_one(recipe: Recipe, base: Base, model: Any, tokenizer: Any) -> dict[str, Any]:
    """One task from its rows to a registered, graded version; returns what `--json` shows of it."""
    rubric = rubrics.load(recipe.rubric)
    built = build(recipe, tokenizer)
    if recipe.kind == "classification" and not recipe.labels:
        recipe = recipe.model_copy(update={"labels": built.manifest["labels"]})
    err.print(
        f"[bold]{recipe.task}[/] over {base.name}: {len(built.train)} rows to learn from, {len(built.eval)} to grade on"
    )
    trained, remarks = _fit(recipe, base, model, tokenizer, built)
    for remark in remarks:
        err.print(f"[yellow]{recipe.task}: {remark}[/]")
    prompted = [row.with_system(recipe.system_prompt()) for row in built.eval]
    with progress_bar() as bar:
        before = grade_answers(rubric, built.eval, base_answers(recipe, base, model, tokenizer, prompted, bar))
        with answers.adapted(model, trained.adapter) as adapted:
            after = grade_answers(rubric, built.eval, _answers(recipe, adapted, tokenizer, prompted, bar, "adapter"))
    version = store.add(trained.adapter, store.facts_of(recipe, base))
    store.note(version, "scorecard", after.to_json())
    store.note(version, "base_scorecard", before.to_json())
    store.note(version, "recipe", recipe.model_dump(mode="json"))
    store.note(version, "data", built.manifest)
    store.note(version, "run", {"folder": str(trained.run), "remarks": remarks, "stopped": trained.stopped})
    entry = aliases.register(version)
    return {
        "task": recipe.task,
        "version": version.name,
        "ordinal": entry.ordinal,
        "base": base.name,
        "fingerprint": base.fingerprint,
        "seconds": round(trained.seconds, 2),
        "train_tokens": trained.train_tokens,
        "tokens_per_second": round(trained.train_tokens / max(trained.seconds, 1e-9)),
        "eval_loss": None if math.isnan(trained.eval_loss) else round(trained.eval_loss, 5),
        "run": str(trained.run),
        "remarks": remarks,
        "scorecard": _brief(after),
        "base_scorecard": _brief(before),
    }


def base_answers(recipe: Recipe, base: Base, model: Any, tokenizer: Any, rows: Sequence[Row], bar: Any) -> list[str]:
    """The base's own answers to prompted rows, kept in the home: they never change."""
    asked = [[list(row.turns) for row in rows], recipe.decoding.model_dump(), recipe.labels, base.fingerprint]
    path = home("answers", f"{digest(asked)}.json")
    if not path.is_file():
        write_json(path, _answers(recipe, model, tokenizer, rows, bar, "base"))
    return list(json.loads(path.read_text()))


def _fit(recipe: Recipe, base: Base, model: Any, tokenizer: Any, built: Built) -> tuple[sft.Trained, list[str]]:
    """Train in a folder named after everything that decides the result, so that an interrupted run is found again."""
    prompt = recipe.system_prompt()
    learn, held_out = (
        [encode(tokenizer, row.with_system(prompt), recipe.train.max_length) for row in rows]
        for rows in (built.train, built.eval)
    )
    inputs = digest([recipe.hash(), base.fingerprint, [e.input_ids for e in (*learn, *held_out)]])
    run = home("runs", f"{recipe.task}-{inputs[:12]}")
    with progress_bar() as bar:
        line = bar.add_task(f"train {recipe.task}", total=None, text="")

        def show(record: dict[str, Any]) -> None:
            rate = record["tokens"] / max(bar.tasks[line].elapsed or 0, 1e-9)
            loss = (
                f"loss {record['loss']:.3f}  {rate:,.0f} tokens/s"
                if "loss" in record
                else bar.tasks[line].fields["text"]
            )
            bar.update(line, total=record["total"], completed=record["step"], text=loss)

        try:
            trained = sft.train(recipe, base, model, tokenizer, learn, held_out, run, show)
        except FactoryError as error:
            raise type(error)(f"{recipe.task}: {error}") from None
    curves.plot(run, f"{recipe.task} over {base.name}")
    remarks = curves.warnings(curves.read(run))
    err.print(
        f"trained in {trained.seconds:.0f} s, {trained.train_tokens / trained.seconds:,.0f} tokens/s"
        f"{', stopped early' if trained.stopped else ''}; curves: {shown(run / 'curves.png')}"
    )
    return trained, remarks


def _answers(recipe: Recipe, model: Any, tokenizer: Any, rows: Sequence[Row], bar: Any, who: str) -> list[str]:
    line = bar.add_task(f"answers of the {who}", total=len(rows), text="")
    return answers.answer(
        model, tokenizer, rows, recipe.decoding, recipe.labels, lambda done: bar.update(line, completed=done)
    )


def _brief(card: Scorecard) -> dict[str, Any]:
    """The scorecard without its item lists, as `--json` and the tables show it."""
    return {k: v for k, v in card.to_json().items() if k not in ("worst", "strata")}


def _table(result: dict[str, Any]) -> Any:
    before, after = result["base_scorecard"], result["scorecard"]
    rows = [[name, percent(before.get(name)), percent(after.get(name))] for name in ("good", "average", "poor")]
    rows += [
        [f"  {name}: good", percent(before["dimensions"].get(name, {}).get("good")), percent(card.get("good"))]
        for name, card in after["dimensions"].items()
    ]
    if after.get("labels"):
        rows.append(["accuracy", *(percent(card["labels"]["accuracy"]) for card in (before, after))])
    return table(f"{result['task']}, {after['n']} eval rows", ["", result["base"], f"v{result['ordinal']}"], rows)
