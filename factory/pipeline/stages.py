"""What each stage of a recipe learns from, with which settings, and from which version it starts."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals import preferences, tables, verdicts
from evals import rubric as rubrics
from factory.base.build import Base
from factory.base.loaded import Loaded
from factory.data.build import Built, eval_files
from factory.data.read import find
from factory.data.rows import Row
from factory.decoding import Decoding
from factory.errors import InputError
from factory.home import home, project, write_file
from factory.pipeline.data import dataset, labelled
from factory.recipe import Data, Recipe, Train
from factory.registry import aliases
from factory.registry.store import Version
from factory.train.methods import Drawing, Generate, Method, Pretrain, Recover, Reward, Settings, Supervised
from factory.train.methods.reward import MARGINS, asked
from factory.train.tokens import IGNORE, Example, encode_all, encode_whole

RATINGS = "ratings"  # as data.pairs: what people rated
DRAWN = "drawn"  # as a stage's data: what a generation before it drew
ENDLESS = 10**9  # tokens of a text: it is cut later
OF_MACHINE = {"precision", "gradient_checkpointing", "use_liger_kernel", "report_to"}  # keys of train


def learns_from_draws(stages: Sequence[Settings], number: int) -> bool:
    """Whether the stage waits for a generation before it. InputError: it asks for one that is not there."""
    method, before = stages[number], any(isinstance(stage, Generate) for stage in stages[:number])
    able, named = not isinstance(method, Drawing) and method.rows in ("train", "pairs"), DRAWN in _list(method.data)
    if named and not (before and able):
        why = "nothing is drawn before it: put generate there" if able else "what is drawn are rows and pairs"
        raise InputError(f"stages.{number}.{method.name}.data: {why}")
    return before and able and (named or not method.data)


def present(recipe: Recipe) -> None:
    """InputError: a file that one of the recipe's stages learns from is not there."""
    for number, method in enumerate(recipe.stages):
        files = _files(recipe, method)
        if files != RATINGS and not learns_from_draws(recipe.stages, number):
            find(files, recipe.folder, f"data.{method.rows}")


def _files(recipe: Recipe, method: Settings) -> str | list[str]:
    usual = recipe.data.replay.files if isinstance(method, Recover) else getattr(recipe.data, method.rows)
    files: str | list[str] = method.data or usual
    return files


def staged(recipe: Recipe, method: Settings, base: Base, drawn: Path | None = None) -> Recipe:
    """The recipe as the stage trains it: its own files, learning rate, epochs and batch. `drawn` is the folder of a
    generation that it learns from."""
    train: dict[str, Any] = {}
    if isinstance(method, Method):
        own = {key: getattr(method, key) for key in ("epochs", "batch")}
        train = {key: value for key, value in own.items() if value is not None}
        if method.lr != "auto" or method.share != 1:
            train["lr"] = base.lr * method.share if method.lr == "auto" else method.lr
    files = _files(recipe, method)
    if drawn:
        path = str(drawn / f"{method.rows}.jsonl")
        files = [path if name == DRAWN else name for name in _list(method.data or DRAWN)]
    data: dict[str, Any] = {"train": files}
    if method.rows != "train" or drawn:
        data |= {"format": "", "columns": {}, "weights": {}, "undesirable": method.rows == "thumbs"}
        data["whole"] = method.rows == "texts"
    if method.rows != "train":
        data["tune"] = []  # those of the recipe are rows, not pairs, thumbs or texts
    if method.rows != "train" or isinstance(method, Drawing):
        share = method.replay if isinstance(method, Pretrain) else 0
        data["replay"] = recipe.data.replay.model_copy(update={"share": share})
    before = recipe
    if isinstance(method, Recover):  # the same for every task
        plain = Train.model_validate(recipe.train.model_dump(include=OF_MACHINE))
        before = recipe.model_copy(update={"train": plain, "data": Data()})
    sections = {"train": before.train.model_copy(update=train), "data": before.data.model_copy(update=data)}
    return recipe.model_copy(update={**sections, "stages": []})


def _texts(recipe: Recipe, changed: Recipe, everyones: bool) -> Built:
    """The texts that a stage learns from, as rows of no task's form; or, of no task's own, those that are `everyones`.
    The task's eval rows stay what they are."""
    general = {"kind": "general", "labels": [], "system": "", "data": changed.data.model_copy(update={"require": ""})}
    said = Decoding(max_tokens=recipe.data.replay.max_tokens)
    update = general | {"decoding": said, "train": changed.train.model_copy(update={"max_length": ENDLESS})}
    if everyones:
        update |= {"task": "recover", "folder": project() / "adapters"}
    own = dataset(recipe).eval
    return replace(dataset(changed.model_copy(update=update), [] if everyones else own), eval=own)


def rows_of(recipe: Recipe, method: Settings, base: Base, drawn: Path | None = None) -> tuple[Recipe, Built, list[str]]:
    """The recipe as the stage trains it, the data set that it learns from, and what there is to say of it."""
    changed, said = staged(recipe, method, base, drawn), []
    if changed.data.train == RATINGS:
        path, told = _ratings(recipe)
        changed = changed.model_copy(update={"data": changed.data.model_copy(update={"train": path})})
        said.append(told)
    if changed.data == recipe.data:
        return changed, dataset(changed), said
    try:
        if method.rows == "texts":
            named = labelled(changed, dataset(recipe))
            return named, _texts(recipe, changed, isinstance(method, Recover)), said
        return changed, dataset(changed, None if eval_files(recipe) else dataset(recipe).eval), said
    except InputError as error:
        key = f"data.{method.rows}"
        raise InputError(*(replace(p, key=p.key.replace("data.train", key)) for p in error.problems)) from None


def examples_of(method: Method, on: Loaded, rows: Sequence[Row], most: int) -> list[Example]:
    """The rows as the method takes them: prompts are in place, sequences that do not end within `most` are left out.

    Pairs become two neighbours; thumbs are followed by the answer before, under their own question (KTO's baseline).
    InputError: a row that is no pair, or has no thumb.
    """

    def encoded(some: Sequence[Row]) -> list[Example]:
        return encode_all(on.tokenizer, some, most, on.base.fingerprint)

    if method.rows == "train":
        return encoded(rows)
    if method.rows == "texts":
        return encode_whole(on.tokenizer, rows, most)
    key = {"pairs": "rejected", "thumbs": "desirable"}[method.rows]
    if wrong := next((row for row in rows if key not in row.meta), None):
        want = "a chosen and a rejected answer" if key == "rejected" else "a yes or no"
        raise InputError(f"{wrong.file}:{wrong.line}: data.{method.rows}: every row must have {want}")
    ends = on.tokenizer.eos_token_id
    made: list[Example] = []
    if method.rows == "pairs":
        others = [Row(tuple(row.meta["rejected"])) for row in rows]
        others = [other.with_system(_system(row)) for row, other in zip(rows, others, strict=True)]
        both = [(row, other) for row, other in zip(rows, others, strict=True) if row.turns == other.turns]
        sides = zip(encoded([row for row, _ in both]), encoded([other for _, other in both]), strict=True)
        for group, (chosen, rejected) in enumerate(sides):
            if chosen.input_ids[-1] == ends == rejected.input_ids[-1]:
                made += [replace(chosen, group=group), replace(rejected, group=group, reward=-1.0)]
        if isinstance(method, Reward):
            margins = [MARGINS.get(str(row.meta.get("from")), 0.0) for row, _ in both]
            made = [replace(e, reward=1 + margins[e.group or 0]) if e.reward > 0 else e for e in made]
            made = [asked(example, on.tokenizer) for example in made]
        return made
    found = encoded(rows)
    for group, (row, example) in enumerate(zip(rows, found, strict=True)):
        other = found[group - 1]
        prompt, answer = example.labels.count(IGNORE), other.input_ids[other.labels.count(IGNORE) :]
        beside = Example([*example.input_ids[:prompt], *answer], [IGNORE] * prompt + answer, group, 0.0)
        made += [replace(example, group=group, reward=1.0 if row.meta["desirable"] else -1.0), beside]
    return made


def parent_of(recipe: Recipe, method: Settings, base: Base) -> Version | None:
    """The version that a recipe's first stage starts from, or a later one that names its own: none for supervised
    learning, else what is in production. InputError: there is none, or it is over another base."""
    if not method.parent and isinstance(method, Supervised):
        return None
    name = method.parent or "prod"
    try:
        version = aliases.resolve(name if "@" in name else f"{recipe.task}@{name}")
    except InputError as error:
        if method.parent:
            raise
        raise InputError(
            f"stages: {method.name} learns on from a version, and {error}; or begin with supervised fine-tuning "
            f"(stages=sft,{method.name}), or name a version (stages=[{{{method.name}: {{parent: v1}}}}])"
        ) from None
    if version.facts.fingerprint != base.fingerprint:
        raise InputError(f"stages: {version.short} is over base {version.facts.base}, not over {base.label}: set base=")
    return version


def _list(files: str | list[str]) -> list[str]:
    return [files] if isinstance(files, str) else files


def _system(row: Row) -> str:
    return next((m["content"] for m in row.messages if m["role"] == "system"), "")


def _ratings(recipe: Recipe) -> tuple[str, str]:
    """A file of what the lead's page exports as pairs, and how many of what kind. Rows of the gate are left out."""
    engine, rubric = tables.open_database(), rubrics.load(recipe.rubric)
    found = list(preferences.export(engine, recipe.task, rubric, recipe.gate.share))
    if not found:
        raise InputError(
            f"data.pairs=ratings: nobody has yet preferred an answer of {recipe.task} outside of the gate's rows: "
            "compare answers on the rating page (factory rate), or lower gate.share, which keeps eval rows for the gate"
        )
    path = home("pairs", f"{recipe.task}.jsonl")
    write_file(path, "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in found))
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(pair["from"] for pair in found).most_common())
    alpha = verdicts.agreement(engine, rubric).get("composite")
    agreed = f"; raters agree with alpha {alpha.value:.2f}" if alpha and alpha.value is not None else ""
    return str(path), f"{len(found)} pairs from ratings: {kinds}{agreed}"
