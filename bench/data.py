"""`factory bench only=data`: how long 100,000 rows take through every step that needs no model, and in how much memory.

Rows of 80 words, 60 in the question and 20 in the answer, drawn from a vocabulary of 20,000 by Zipf's law; one in a
hundred is copied exactly, one in a hundred nearly, and one in a thousand holds an eval row.
"""

import json
import os
import random
import resource
import string
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from factory.recipe import Recipe

ROWS, EVALS, QUESTION, ANSWER = 100_000, 1_000, 60, 20
SECONDS, PEAK_MB = 120, 2_000  # what it must stay below on two cores


def run() -> dict[str, Any]:
    """Measure in a process of its own, so that the peak of memory is that of the data alone."""
    from factory.base.build import load_tokenizer, prepare

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, load_tokenizer(prepare("auto"))).result()


def measure(tokenizer: Any, rows: int = ROWS) -> dict[str, Any]:
    """Build the data set in a folder of its own.

    `peak_mb` is the process's peak resident memory. `share` is of the seconds; where `seconds` is far above
    `cpu_seconds`, other work kept the machine busy.
    """
    from factory.data.build import run as build
    from factory.data.steps import Work

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, rows)
        recipe = Recipe.model_validate({"task": "bench", "kind": "general", "folder": folder})
        work = Work(recipe, tokenizer, "Answer the question.")
        began, cpu = time.perf_counter(), time.process_time()
        train, _, manifest = build(work)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    steps = {step["step"]: step["seconds"] for step in manifest["funnel"]}
    # ru_maxrss counts kibibytes on Linux and bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return {
        "rows": rows,
        "words_per_row": QUESTION + ANSWER,
        "kept": len(train),
        "dropped": {step: sum(why.values()) for step, why in manifest["reasons"].items()},
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "rows_per_second": round(rows / seconds),
        "share": {step: round(spent / seconds, 4) for step, spent in steps.items()},
        "peak_mb": round(peak),
        "cores": os.cpu_count(),
        "target": {"seconds": SECONDS, "peak_mb": PEAK_MB},
        "met": seconds < SECONDS and peak < PEAK_MB,
    }


def write(folder: Path, rows: int) -> None:
    """`train.jsonl` and `eval.jsonl`, the same for every run."""
    draw = random.Random(0)
    vocabulary = ["".join(draw.choices(string.ascii_lowercase, k=draw.randint(2, 9))) for _ in range(20_000)]
    weights = list(accumulate(1 / (i + 1) for i in range(len(vocabulary))))

    def text(n: int) -> list[str]:
        return draw.choices(vocabulary, cum_weights=weights, k=n)

    def line(question: list[str], answer: list[str]) -> str:
        return json.dumps({"prompt": " ".join(question), "completion": " ".join(answer)}) + "\n"

    evals = [text(QUESTION) for _ in range(EVALS)]
    with open(folder / "eval.jsonl", "w") as out:
        out.writelines(line(question, text(ANSWER)) for question in evals)
    last = text(QUESTION), text(ANSWER)
    with open(folder / "train.jsonl", "w") as out:
        for i in range(rows):
            question, answer = text(QUESTION), text(ANSWER)
            if i % 100 == 1:
                question, answer = last
            elif i % 100 == 2:
                question, answer = [*last[0][:30], *text(1), *last[0][31:]], last[1]
            elif i % 1000 == 3:
                question = [*evals[i % EVALS][:50], *question[50:]]
            out.write(line(question, answer))
            last = question, answer
