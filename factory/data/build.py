"""From a recipe to a data set that can be trusted: read, filtered, deduplicated, decontaminated, mixed, and stored.

    home("data", <hash>)/  train.jsonl  tune.jsonl  eval.jsonl  dropped.jsonl  manifest.json

The hash is over everything that decides the result: the bytes of all files, the recipe's data section, the tokenizer
and the eval rows of all tasks. If nothing changed, the data set is there already and is only read.
"""

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from factory.data.decontaminate import decontaminate
from factory.data.dedup import exact, near, semantic
from factory.data.filters import count_tokens, rules
from factory.data.labels import labels, settled
from factory.data.load import Read, load
from factory.data.manifest import manifest
from factory.data.mix import mix, own_words, split, tune
from factory.data.quality import quality
from factory.data.read import find, fingerprint, records
from factory.data.rows import Dropped, Row, one_line
from factory.data.steps import Progress, Replier, Step, Work, chain, quiet
from factory.decoding import FORMS
from factory.errors import FactoryError, InputError
from factory.home import digest, home, left_behind, locked, project, write_file, write_folder
from factory.kinds import KINDS
from factory.recipe import Recipe, tasks
from factory.recipe import load as load_recipe

VERSION = 5  # of the steps: raise it when the same input gives another result

STEPS: dict[str, Step] = {
    step.__name__.replace("_", " "): step
    for step in (labels, rules, exact, near, semantic, split, decontaminate, quality, own_words, tune, mix)
}


@dataclass(frozen=True)
class Built:
    """A data set that passed every step, in its folder of the store."""

    train: list[Row]
    tune: list[Row]
    eval: list[Row]
    folder: Path
    manifest: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open a stored data set. FactoryError: it is damaged."""
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            train, tuning, evals = (_rows(folder / f"{part}.jsonl") for part in ("train", "tune", "eval"))
            return cls(train, tuning, evals, folder, manifest)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FactoryError(f"the data set {folder} is damaged ({error}): delete the folder and run again") from None

    def dropped(self) -> list[Dropped]:
        with open(self.folder / "dropped.jsonl", encoding="utf-8") as lines:
            return [Dropped(**json.loads(line)) for line in lines]


def build(
    recipe: Recipe,
    tokenizer: Any,
    *,
    other_evals: dict[str, list[Row]] | None = None,
    base: Replier | None = None,
    progress: Progress = quiet,
) -> Built:
    """The data set of `recipe`, from the store where nothing changed.

    `tokenizer` is the base's; `other_evals` are the eval rows of the other tasks, read from their recipes where not
    given; `base` writes the replies of the general rows, which are the file's own without it. Errors: InputError with
    all problems of a file; nothing is stored then.
    """
    notes: list[str] = []
    others = evals_of_others(recipe, notes) if other_evals is None else other_evals
    key = _key(recipe, tokenizer, others, base.name if base else "")
    folder = home("data", key)
    with locked(folder):
        for left in left_behind(folder):
            shutil.rmtree(left, ignore_errors=True)
        if not folder.exists():
            listed = frozenset(recipe.labels)
            work = Work(recipe, tokenizer, recipe.system_prompt(), listed, progress, base, dict(others), notes=notes)
            train, evals, told = run(work)
            told = {"hash": key, "task": recipe.task, "version": VERSION, "made": time.time(), **told}

            def fill(to: Path) -> None:
                for part, rows in (("train", train), ("tune", work.tune), ("eval", evals)):
                    _write_lines(to / f"{part}.jsonl", (row.as_json() for row in rows))
                _write_lines(to / "dropped.jsonl", map(asdict, work.dropped))
                _write_lines(to / "manifest.json", [told])

            write_folder(folder, fill)
    if latest(recipe.task) != folder:
        write_file(home("latest", recipe.task), key)
    return Built.read(folder)


def run(work: Work) -> tuple[list[Row], list[Row], dict[str, Any]]:
    """All steps on the recipe's files: training rows, eval rows, and what the manifest says of them."""
    recipe = work.recipe
    if recipe.data.reasoning and (KINDS[recipe.kind].labels or recipe.decoding.held):
        why = "answers that are held to labels or to a form have no room for thoughts: leave it out"
        raise InputError(why, key="data.reasoning")
    read: list[Read] = []
    if files := eval_files(recipe):
        loaded = load(files, recipe.data, recipe.folder, "data.eval", work.dropped, read)
        work.evals = {**work.evals, recipe.task: list(_sound(loaded, work))}
        work.rename(0, "eval")
        if not work.evals[recipe.task]:
            raise InputError("no eval row is left; see its labels and answers", file=", ".join(files), key="data.eval")
    if recipe.data.tune:
        since = len(work.dropped)
        loaded = load(recipe.data.tune, recipe.data, recipe.folder, "data.tune", work.dropped, read)
        work.tune = list(own_words(_sound(loaded, work), work))
        work.evals["tuning"] = work.tune  # no training row may hold what is chosen by either
        work.rename(since, "eval")
    eval_read, read = read, []
    rows = load(recipe.data.train, recipe.data, recipe.folder, "data.train", work.dropped, read)
    kept, funnel = chain(rows, steps_of(recipe, split_off=recipe.task not in work.evals), work)
    train = list(kept)
    if not train:
        reasons = Counter(f"{d.step}: {d.reason.split(':')[0]}" for d in work.dropped).most_common(3)
        why = "; ".join(f"{n} {reason}" for reason, n in reasons)
        raise InputError(f"no row is left to train on ({why})", key="data.train")
    since = len(work.dropped)
    evals = list(own_words(work.evals[recipe.task], work))
    work.rename(since, "eval")
    return train, evals, manifest(work, train, evals, read, eval_read, funnel)


def steps_of(recipe: Recipe, split_off: bool) -> dict[str, Step]:
    """The steps that the recipe asks for, in order."""
    data = recipe.data
    off = {
        "labels": not KINDS[recipe.kind].labels,
        "near": not data.near,
        "semantic": not data.encoder,
        "split": not split_off,
        "tune": bool(data.tune) or not data.tune_share,
        "quality": data.quality is None,
    }
    return {name: step for name, step in STEPS.items() if not off.get(name)}


def eval_files(recipe: Recipe) -> list[str]:
    """The eval files that the recipe names, or `eval.jsonl` beside it; none means that rows are split off. Texts have
    none of their own."""
    if recipe.data.whole:
        return []
    if named := recipe.data.eval:
        return [named] if isinstance(named, str) else list(named)
    return ["eval.jsonl"] if (recipe.folder / "eval.jsonl").is_file() else []


def files_of(recipe: Recipe) -> dict[str, list[str]]:
    """The files that a data set is made of, by their key under `data`. InputError: one is not there."""
    data = recipe.data
    specs = {"train": data.train, "eval": eval_files(recipe), "replay.files": data.replay.files}
    if data.tune:
        specs["tune"] = data.tune
    return {key: find(spec, recipe.folder, f"data.{key}") for key, spec in specs.items()}


def evals_of_others(recipe: Recipe, notes: list[str]) -> dict[str, list[Row]]:
    """The eval rows of every other task of the project: from its eval files, else as last split off. With them go the
    requests that show what an adapter made its base forget (`rubrics/general.jsonl`)."""
    found: dict[str, list[Row]] = {}
    general = project() / "rubrics" / "general.jsonl"
    if general.is_file():
        asked = ((record, (record.value or {}).get("prompt")) for record in records(str(general)))
        found["general"] = [
            Row(({"role": "user", "content": prompt},), {}, record.file, record.line)
            for record, prompt in asked
            if isinstance(prompt, str)
        ]
    for task in tasks():
        if task == recipe.task:
            continue
        try:
            other = load_recipe(task)
            files = eval_files(other)
            if files:
                found[task] = list(load(files, other.data, other.folder, "data.eval", [], []))
            elif folder := latest(task):
                found[task] = Built.read(folder).eval
            else:
                notes.append(f"not checked against {task}: it has no eval rows before its data set is built")
        except FactoryError as error:
            notes.append(f"not checked against the eval rows of {task}: {str(error).splitlines()[0]}")
    return found


def latest(task: str) -> Path | None:
    """The folder of the data set that was last asked for of `task`."""
    try:
        folder = home("data", home("latest", task).read_text())
    except FileNotFoundError:
        return None
    return folder if folder.is_dir() else None


def _sound(rows: Iterable[Row], work: Work) -> Iterable[Row]:
    """Eval rows stay as they are: only those without an answer, or with a label outside the set, cannot be graded."""
    if KINDS[work.recipe.kind].labels:
        rows = settled(rows, work, "data.eval")
    held, how = [], work.recipe.decoding
    for row in rows:
        if not row.answer.strip():
            work.drop(row, "eval", "the answer is empty")
        elif work.labels and row.answer not in work.labels:
            work.drop(row, "eval", f"the label is outside the set: {one_line(row.answer, 60)}")
        elif not how.grammar and (reason := work.misshapen(row)):  # a grammar may lack what was asked all the same
            work.drop(row, "eval", reason)
        else:
            held.append(row)
    for row, fault in count_tokens(held, work.tokenizer, work.prompt):
        if fault:
            work.drop(row, "eval", fault)
        else:
            yield row


def _key(recipe: Recipe, tokenizer: Any, others: dict[str, list[Row]], base: str) -> str:
    data = recipe.data
    files = {
        key: [[os.path.relpath(name, recipe.folder), fingerprint(name)] for name in names]  # the project may be moved
        for key, names in files_of(recipe).items()
    }
    unset = {key for key in ("tune", "undesirable", "whole") if not getattr(data, key)}  # as before there were any
    kept_out = {"synth", "pairs", "thumbs", "texts"} | unset
    fast = getattr(tokenizer, "backend_tokenizer", None)
    schemas = {path.name: fingerprint(str(path)) for path in sorted(recipe.folder.glob("schemas/*.yaml"))}
    spelling = [fast.to_str() if fast else tokenizer.get_vocab(), getattr(tokenizer, "chat_template", None)]
    return digest(
        {
            "version": VERSION,
            "task": [recipe.task, recipe.kind, recipe.labels, recipe.system_prompt()],
            "data": data.model_dump(mode="json", exclude=kept_out),
            "limits": [recipe.train.max_length, recipe.train.seed],
            "files": files,
            "tokenizer": digest(spelling),
            "base": base,
            "answers": recipe.decoding.max_tokens,
            **({"schemas": schemas} if schemas else {}),
            **({"form": form} if (form := recipe.decoding.model_dump(include={*FORMS})) else {}),
            "others": {task: digest([row.key() for row in rows]) for task, rows in others.items()},
        }
    )


def _rows(path: Path) -> list[Row]:
    with open(path, encoding="utf-8") as lines:
        return [Row.of(json.loads(line)) for line in lines]


def _write_lines(path: Path, values: Iterable[Any]) -> None:
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n" for value in values)
