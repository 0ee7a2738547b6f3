"""Adapters that have learned something, for tests in which random weights would answer too much by chance.

Random adapters write gibberish, where the two best tokens are often as likely as each other and the last bit decides.
So each learns a few rows of a small task by heart: of these it is sure, and they are what it is asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory import recipe as recipes
from factory.base.build import Base, load_model, load_tokenizer
from factory.data.build import build
from factory.data.rows import Row
from factory.registry import aliases, store
from factory.registry.store import Version
from factory.train.fused.engine import train_many
from factory.train.fused.run import Failed, Job
from factory.train.tokens import encode
from tests.fakes import project

TASKS = ("summary", "identity", "classification")
ROWS, EPOCHS = 24, 24


def train(base: Base, folder: Path, prefix: str) -> dict[str, tuple[Version, list[Row]]]:
    """Each task, learned for a moment over `base` and registered as `<prefix><task>`, with the rows learned."""
    tokenizer = load_tokenizer(base)
    changes = {"base": base.name, "train.epochs": str(EPOCHS), "train.batch": "8", "train.evals": "1"}
    own = {"identity": {"lora.layers": "0.5"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.write(folder / "project", train=2 * ROWS, evaluation=4))
        built = [
            (recipe, build(recipe, tokenizer).train)
            for recipe in (recipes.load(task, changes | own.get(task, {})) for task in TASKS)
        ]
    found, jobs = {}, []
    for recipe, learned in built:
        task, rows = recipe.task, [row for row in learned if not row.meta.get("replay")][:ROWS]
        prompt = recipe.system_prompt()
        learn = [encode(tokenizer, row.with_system(prompt), recipe.train.max_length) for row in rows]
        jobs.append(Job(task, recipe, learn, [], folder / task))
        found[task] = (recipe, rows)
    made: dict[str, Any] = {}
    for job, result in zip(jobs, train_many(jobs, base, load_model(base)), strict=True):
        assert not isinstance(result, Failed), result
        recipe, rows = found[job.name]
        facts = store.facts_of(recipe, base).model_copy(update={"task": prefix + job.name})
        version = store.add(result.adapter, facts)
        aliases.register(version)
        made[job.name] = (version, rows)
    return made
