"""How the cost of training grows with the number of adapters, their rank and the length of rows: in this process."""

import tempfile
import time
from pathlib import Path
from typing import Any

from bench.gpu import BATCH, adapter_recipe, random_rows
from factory.base.build import Base, load_model
from factory.train.fused import Job, train_many

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


def measure(base: Base, model: Any, *, adapters: int = 4, rank: int = 16, length: int = 128) -> float:
    """Tokens per second of `adapters` small-batch runs over rows of random tokens, the last quarter of each learned."""
    rows = random_rows(model.config.get_text_config().vocab_size, STEPS * BATCH, length, length)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = adapter_recipe(folder, rank, length)
        jobs = [Job(str(i), recipe, rows, [], folder / str(i)) for i in range(adapters)]
        began = time.perf_counter()
        train_many(jobs, base, model)
        return adapters * STEPS * BATCH * length / (time.perf_counter() - began)
