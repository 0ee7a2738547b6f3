"""How the cost of training grows with the number of adapters, their rank and the length of rows: in this process."""

import random
import tempfile
import time
from pathlib import Path
from typing import Any

from factory.base.build import Base, load_model
from factory.recipe import Recipe
from factory.train.fused import Job, train_many
from factory.train.tokens import IGNORE, Example

STEPS = 6
AXES: dict[str, list[int]] = {"adapters": [1, 2, 4, 8, 16], "rank": [4, 16, 64], "length": [32, 128, 512]}


def run(base: Base) -> dict[str, list[dict[str, float]]]:
    """Tokens per second along each axis, the others held at 4 adapters of rank 16 with rows of 128 tokens."""
    model = load_model(base)
    measure(base, model, adapters=1)
    return {
        axis: [{"at": value, "tokens_per_second": round(measure(base, model, **{axis: value}))} for value in values]
        for axis, values in AXES.items()
    }


def measure(base: Base, model: Any, *, adapters: int = 4, rank: int = 16, length: int = 128, batch: int = 4) -> float:
    """Tokens per second of `adapters` small-batch runs over rows of random tokens, the last quarter of each learned."""
    draw = random.Random(0)
    vocabulary = model.config.get_text_config().vocab_size
    rows = []
    for _ in range(STEPS * batch):
        ids = [draw.randrange(3, vocabulary) for _ in range(length)]
        rows.append(Example(ids, [IGNORE] * (length - length // 4) + ids[length - length // 4 :]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train = {"batch": batch, "epochs": 1, "patience": 0, "lr": 1e-4, "max_length": max(16, length)}
        lora = {"r": rank, "alpha": 2 * rank}
        recipe = Recipe.model_validate(
            {"task": "bench", "kind": "general", "folder": folder, "lora": lora, "train": train}
        )
        jobs = [Job(str(i), recipe, rows, [], folder / str(i)) for i in range(adapters)]
        began = time.perf_counter()
        train_many(jobs, base, model)
        return adapters * STEPS * batch * length / (time.perf_counter() - began)
