"""From how many rows on an engine pays for grading on this machine."""

import time
from collections.abc import Callable
from typing import Any


def run() -> dict[str, Any]:
    """From how many rows on an engine pays for grading here, for `SPEEDS` in serve/answers.py: each way
    answers the same rows, of summary (free text) and of classification (labels)."""
    from factory import answers, recipe
    from factory.base.loaded import loaded
    from factory.data.build import build
    from serve.answers import by_engine

    found: dict[str, Any] = {}
    for task, count in (("summary", 256), ("classification", 512)):
        how, on = recipe.load(task), loaded(recipe.load(task).base)
        rows = [row.with_system(how.system_prompt()) for row in build(how, on.tokenizer).train[:count]]

        def here(some: list[Any]) -> object:
            return answers.answer(on.model, on.tokenizer, some, how.decoding, how.labels)  # noqa: B023

        def engine(some: list[Any]) -> object:
            return by_engine(on.base, None, some, how.decoding, how.labels)  # noqa: B023

        here(rows[:4])
        apart, start, all_ = _seconds(here, rows), _seconds(engine, rows[:1]), _seconds(engine, rows)
        each, by_it = apart / len(rows), max(all_ - start, 1e-3) / (len(rows) - 1)  # starts differ by seconds
        most = how.decoding.max_tokens
        found[task] = {
            "start": start, "here": most / each, "engine": most / by_it,
            "rows_from_which_it_pays": start / (each - by_it) if each > by_it else None,
        }  # fmt: skip
    return found


def _seconds(do: Callable[[list[Any]], object], rows: list[Any]) -> float:
    began = time.monotonic()
    do(rows)
    return time.monotonic() - began
