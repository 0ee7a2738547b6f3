"""The tasks of the comparison: as many as asked for, cut from the project's own, each with rows and seed of its own."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory import recipe as recipes
from factory.data.build import build
from factory.data.rows import Row
from factory.data.steps import Replier

SILENT = Replier("silent", lambda rows, most: [""] * len(rows))  # rows that ask for the base's own words are left out


@dataclass(frozen=True)
class Task:
    """A task on disk: `train.jsonl` and `eval.jsonl` as TRL's conversational prompt and completion."""

    name: str
    folder: Path
    seed: int


def write(count: int, rows: int, tokenizer: Any, folder: Path) -> list[Task]:
    """Write `count` tasks of `rows` training rows; task i takes the project's i-th task, over and over."""
    sources = []
    for name in recipes.tasks():
        recipe = recipes.load(name)
        built = build(recipe, tokenizer, base=SILENT)
        prompt = recipe.system_prompt()
        train, held_out = ([r.with_system(prompt) for r in part] for part in (built.train, built.tune))
        sources.append((name, train, held_out))
    tasks = []
    for i in range(count):
        name, train, held_out = sources[i % len(sources)]
        task = Task(f"{i}-{name}", folder / f"{i}-{name}", i)
        draw = random.Random(i)
        for file, part, size in (("train", train, rows), ("eval", held_out, 60)):
            save(task.folder / f"{file}.jsonl", draw.sample(part, min(size, len(part))))
        tasks.append(task)
    return tasks


def read(path: Path) -> list[Row]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Row((*row["prompt"], *row["completion"])) for row in map(json.loads, lines)]


def save(path: Path, rows: list[Row]) -> None:
    """Write rows as `read` reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = [{"prompt": [*row.turns], "completion": [row.messages[-1]]} for row in rows]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), encoding="utf-8")
