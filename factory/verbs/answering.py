"""Answers of the base or of a version for grading, from models that are loaded once per process."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from factory import answers
from factory.base.build import Base, load_model, load_tokenizer, prepare
from factory.data.build import Built, build
from factory.data.rows import Row
from factory.data.steps import Replier
from factory.errors import FactoryError
from factory.home import digest, home, write_json
from factory.recipe import Recipe
from factory.registry.store import Facts, Version
from factory.terminal import progress_bar

Answerer = Callable[[Sequence[Row]], list[str]]


@dataclass(frozen=True)
class Loaded:
    """A base with its 4-bit model and tokenizer in memory."""

    base: Base
    model: Any
    tokenizer: Any


@functools.cache
def loaded(name: str) -> Loaded:
    """The base by name, loaded at most once: `auto` is the very object that its own name gives."""
    base = prepare(name)
    return loaded(base.name) if base.name != name else Loaded(base, load_model(base), load_tokenizer(base))


def dataset(recipe: Recipe) -> Built:
    """The task's data set over its base, with the base's own replies among the general rows."""
    base = prepare(recipe.base)

    def reply(rows: list[Row]) -> list[str]:
        on = loaded(recipe.base)
        return answers.answer(on.model, on.tokenizer, rows, recipe.decoding)

    with progress_bar() as bar:
        line = bar.add_task(f"data {recipe.task}", total=None, text="")
        return build(
            recipe,
            load_tokenizer(base),
            base=Replier(base.fingerprint, reply),
            progress=lambda step, rows: bar.update(line, completed=rows, text=step),
        )


def of_version(version: Version) -> Answerer:
    """Answers as the server gives them: the version's prompt, its decoding, its labels; greedy."""

    def answer(rows: Sequence[Row]) -> list[str]:
        on = loaded(version.facts.base)
        if on.base.fingerprint != version.facts.fingerprint:
            raise FactoryError(f"{version.name} was trained on another build of {on.base.name}: train it again")
        with answers.adapted(on.model, version.folder) as model:
            return _answers(model, on.tokenizer, rows, version.facts, version.name)

    return answer


def of_base(recipe: Recipe, name: str) -> Answerer:
    """The base's own answers with the task's prompt, decoding and labels. They never change, so they are kept."""

    def answer(rows: Sequence[Row]) -> list[str]:
        on = loaded(name)
        prompted = [row.with_system(recipe.system_prompt()) for row in rows]
        asked = [[list(row.turns) for row in prompted], recipe.decoding.model_dump(), recipe.labels]
        path = home("answers", f"{digest([*asked, on.base.fingerprint])}.json")
        if not path.is_file():
            write_json(path, _answers(on.model, on.tokenizer, rows, recipe, on.base.name))
        return list(json.loads(path.read_text()))

    return answer


def _answers(model: Any, tokenizer: Any, rows: Sequence[Row], how: Facts | Recipe, who: str) -> list[str]:
    prompt = how.system_prompt() if isinstance(how, Recipe) else how.prompt
    with progress_bar() as bar:
        line = bar.add_task(f"answers of {who}", total=len(rows), text="")
        return answers.answer(
            model,
            tokenizer,
            [row.with_system(prompt) for row in rows],
            how.decoding,
            how.labels,
            lambda done: bar.update(line, completed=done),
        )
