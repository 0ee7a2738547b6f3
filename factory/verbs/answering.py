"""Answers of the base or of a version for grading: many from an engine, few from models loaded once per process."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from factory import answers
from factory.base.build import Base, base_of, load_model, load_tokenizer, prepare
from factory.data.build import Built, build
from factory.data.rows import Row
from factory.data.steps import Replier
from factory.errors import FactoryError, InputError
from factory.home import digest, home, locked, write_json
from factory.recipe import Recipe
from factory.registry.store import Facts, Version
from factory.shares import give_back
from factory.terminal import err, progress_bar
from factory.verbs import engine_answers
from serve.engine import EngineError

Answerer = Callable[[Sequence[Row]], list[str]]
# Rows from which an engine answers. It takes half a minute or more to start. Over the tiny base, on two cores that were
# busy otherwise too, it then summed up 15 texts a second and this process 9 to 12; labels were faster in this process.
# On a GPU it was not measured.
MANY = 2000


@dataclass(frozen=True)
class Loaded:
    """A base with its 4-bit model and tokenizer in memory."""

    base: Base
    model: Any
    tokenizer: Any


HELD: dict[tuple[str, str], Loaded] = {}  # by name and fingerprint


@functools.cache
def loaded(name: str) -> Loaded:
    """The base by name, loaded at most once: `auto` is the very object that its own name gives."""
    return _held(prepare(name))


def _held(base: Base) -> Loaded:
    key = base.name, base.fingerprint
    if key not in HELD:
        HELD[key] = Loaded(base, load_model(base), load_tokenizer(base))
    return HELD[key]


def forget() -> None:
    """Give the memory of the loaded models back to the machine, where another process wants it."""
    loaded.cache_clear()
    HELD.clear()
    give_back()


T = TypeVar("T")


def every(recipes: Sequence[Recipe], do: Callable[[Recipe], T]) -> tuple[list[T], FactoryError | None]:
    """What `do` makes of each recipe, and one error that names every task that failed, each with its own reasons."""
    found: list[T] = []
    failed: list[tuple[str, FactoryError]] = []
    for recipe in recipes:
        try:
            found.append(do(recipe))
        except FactoryError as error:
            failed.append((recipe.task, error))
    if len(recipes) == 1 and failed:
        return found, failed[0][1]
    told = [f"{task}: {line}" for task, error in failed for line in str(error).splitlines()]
    if not failed:
        return found, None
    wrong = all(isinstance(error, InputError) for _, error in failed)
    return found, InputError(*told) if wrong else FactoryError("\n".join(told))


def dataset(recipe: Recipe) -> Built:
    """The task's data set over its base, with the base's own replies among the general rows."""
    base = prepare(recipe.base)

    with progress_bar() as bar:
        line = bar.add_task(f"data {recipe.task}", total=None, text="")

        def reply(rows: list[Row], most: int) -> list[str | None]:
            on = loaded(recipe.base)
            told = bar.add_task(f"{base.label} answers for {recipe.task}", total=len(rows), text="")
            said = answers.complete(
                on.model, on.tokenizer, rows, most, progress=lambda done: bar.update(told, completed=done, text="")
            )
            return [text if ended else None for text, ended in said]

        return build(
            recipe,
            load_tokenizer(base),
            base=Replier(base.fingerprint, reply),
            progress=lambda step, rows: bar.update(line, completed=rows, text=step),
        )


def of_version(version: Version) -> Answerer:
    """Answers as the server gives them: the version's prompt, its decoding, its labels; greedy."""

    def answer(rows: Sequence[Row]) -> list[str]:
        base = base_of(version.facts.base, version.facts.fingerprint)
        return _kept(base, version, rows, version.facts)

    return answer


def of_base(recipe: Recipe, base: Base) -> Answerer:
    """The base's own answers with the task's prompt, decoding and labels."""
    return lambda rows: _kept(base, None, rows, recipe)


def base_name(recipe: Recipe, base: Base) -> str:
    """What the base is called among the graded: another name when what it is asked with changes its answers."""
    asked = [base.fingerprint, recipe.system_prompt(), recipe.decoding.model_dump(), recipe.labels]
    return f"{base.name}+{recipe.task}@{digest(asked)[:12]}"


def _kept(base: Base, version: Version | None, rows: Sequence[Row], how: Facts | Recipe) -> list[str]:
    """Greedy answers never change, so each is given once: a file for everything that decides them but the turns."""
    prompt = how.system_prompt() if isinstance(how, Recipe) else how.prompt
    asked = {digest([*(row := one.with_system(prompt)).turns]): row for one in rows}
    decides = [base.fingerprint, version.sha if version else "", how.decoding.model_dump(), how.labels]
    path = home("answers", f"{digest(decides)}.json")

    def known() -> dict[str, str]:
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    before = known()
    if new := {key: row for key, row in asked.items() if key not in before}:
        said = dict(zip(new, _answers(base, version, [*new.values()], how), strict=True))
        with locked(path):
            before = known() | said
            write_json(path, before)
    return [before[digest([*one.with_system(prompt).turns])] for one in rows]


def _answers(base: Base, version: Version | None, asked: Sequence[Row], how: Facts | Recipe) -> list[str]:
    """Answers of a version, or of the base alone: many from an engine, few (or without one) from this process."""
    who = version.short if version else base.label
    with progress_bar() as bar:
        line = bar.add_task(f"answers of {who}", total=len(asked), text="")
        if len(asked) >= MANY:
            try:
                return engine_answers.answer(
                    base,
                    version,
                    asked,
                    how.decoding,
                    how.labels,
                    lambda done, text: bar.update(line, completed=done, text=text),
                )
            except EngineError as error:
                why = str(error).splitlines()[0]
                err.print(f"{who} answers in this process, which takes longer: {why}", markup=False)
        on = _held(base)
        with answers.adapted(on.model, version.folder) if version else nullcontext(on.model) as model:
            return answers.answer(
                model,
                on.tokenizer,
                asked,
                how.decoding,
                how.labels,
                lambda done: bar.update(line, completed=done, text=""),
            )
