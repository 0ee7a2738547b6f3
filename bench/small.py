"""Trainings of made-up rows, for what depends on their number and size and not on what they say."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from factory.recipe import Recipe
from factory.train.fused import Job
from factory.train.tokens import IGNORE, Example


def rows(vocabulary: int, lengths: Sequence[int], draw: random.Random) -> list[Example]:
    """Rows of random tokens, the last quarter of each learned."""
    made = []
    for length in lengths:
        ids = [draw.randrange(3, vocabulary) for _ in range(length)]
        made.append(Example(ids, [IGNORE] * (length - length // 4) + ids[length - length // 4 :]))
    return made


def jobs(folder: Path, examples: list[Example], adapters: int, *, rank: int, batch: int, length: int) -> list[Job]:
    """As many adapters, each over the same rows in small batches."""
    train = {"batch": batch, "epochs": 1, "patience": 0, "lr": 1e-4, "max_length": max(16, length)}
    given = {"task": "bench", "kind": "general", "folder": folder, "lora": {"r": rank, "alpha": 2 * rank}}
    recipe = Recipe.model_validate({**given, "train": train})
    return [Job(str(i), recipe, examples, [], folder / str(i)) for i in range(adapters)]
