"""`factory bench`: everything that this project claims to be faster at, measured in one run on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from factory.errors import InputError
from factory.home import home, shown, write_json
from factory.strict import nearest
from factory.terminal import err, out, table


def bench(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Run the parts named by `only`, or all; the result lies in the home as JSON, with a plot of the training part."""
    wanted = [part.strip() for part in arguments.get("only", ",".join(PARTS)).split(",")]
    for part in wanted:
        if part not in PARTS:
            raise InputError(f"only={part}: no such part of the benchmark{nearest(part, PARTS)}")
    minutes = _minutes(arguments.get("soak", "0"))
    experiments = arguments.get("experiments", "1000")
    if not experiments.isdigit() or not int(experiments):
        raise InputError(f"experiments={experiments}: must be a whole number above 0")
    console = out(quiet)
    result: dict[str, Any] = {}
    for part in wanted:
        err.print(f"[bold]{part}[/]")
        if part == "gate":
            found = _gate(int(experiments))
        else:
            found = {part: _serving(minutes) if part == "serving" else PARTS[part]()}
        result |= found
        figures = found if part == "gate" else found[part]
        rows = [[key, f"{value:,.3g}" if isinstance(value, float) else str(value)] for key, value in flat(figures)]
        console.print(table(part, ["", ""], rows))
    if "peers" in arguments:
        result["peers"] = _peers(arguments["peers"])
    if "training" in result:
        from factory.train.bench.compare import plot

        plot(result["training"], home("bench.png"))
    write_json(home("bench.json"), result)
    err.print(f"kept in {shown(home('bench.json'))}")
    return result


def flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested figures as dotted keys; lists are left to the JSON."""
    found: list[tuple[str, Any]] = []
    for key, inner in value.items():
        if isinstance(inner, dict):
            found += flat(inner, f"{prefix}{key}.")
        elif not isinstance(inner, list | tuple):
            found.append((prefix + key, inner))
    return found


def _training() -> dict[str, Any]:
    from factory.train.bench import compare

    return compare.run(progress=lambda line: err.print(line))


def _serving(soak_minutes: float = 0) -> dict[str, Any]:
    from serve import bench as serving

    return serving.run(soak_minutes=soak_minutes, progress=lambda line: err.print(line))


def _data() -> dict[str, Any]:
    from factory.data import bench as data

    return data.run()


def _grading() -> dict[str, Any]:
    from evals import bench as grading

    return grading.run()


def _answers() -> dict[str, Any]:
    """From how many rows on an engine pays for grading here, for `SPEEDS` in factory/pays.py: each way
    answers the same rows, of summary (free text) and of classification (labels)."""
    from factory import answers, recipe
    from factory.base.loaded import loaded
    from factory.data.build import build
    from serve.answers import by_engine

    found: dict[str, Any] = {}
    for task, count in (("summary", 128), ("classification", 256)):
        how, on = recipe.load(task), loaded(recipe.load(task).base)
        rows = [row.with_system(how.system_prompt()) for row in build(how, on.tokenizer).train[:count]]

        def here(some: list[Any]) -> object:
            return answers.answer(on.model, on.tokenizer, some, how.decoding, how.labels)  # noqa: B023

        def engine(some: list[Any]) -> object:
            return by_engine(on.base, None, some, how.decoding, how.labels)  # noqa: B023

        here(rows[:4])
        apart, start, all_ = _seconds(here, rows), _seconds(engine, rows[:1]), _seconds(engine, rows)
        each, each_engine = apart / len(rows), (all_ - start) / (len(rows) - 1)
        most = how.decoding.max_tokens
        found[task] = {
            "start": start, "here": most / each, "engine": most / each_engine,
            "rows_from_which_it_pays": start / (each - each_engine) if each > each_engine else None,
        }  # fmt: skip
    return found


def _seconds(do: Callable[[list[Any]], object], rows: list[Any]) -> float:
    began = time.monotonic()
    do(rows)
    return time.monotonic() - began


def _gate(experiments: int = 1000) -> dict[str, Any]:
    from evals import experiments as simulated

    return simulated.run(experiments, progress=lambda line: err.print(line, highlight=False, soft_wrap=True))


def _pages() -> dict[str, Any]:
    from serve.pages import bench as pages

    return pages.run()


def _gpu() -> dict[str, Any]:
    from factory.train.bench import gpu

    return gpu.run(progress=lambda line: err.print(line))


def _memory() -> dict[str, Any]:
    """What a training needs on a GPU, computed: rows of so many tokens, adapters, with and without recomputing."""
    from factory.train.bench.gpu import COMMON, SHAPES
    from factory.train.memory import Shape, on_gpu

    found: dict[str, Any] = {}
    for name, shape in SHAPES.items():
        for tokens, adapters in ((1024, 1), (1024, 8), (4096, 1), (4096, 8)):
            kept, anew = (
                on_gpu(Shape.of(COMMON | shape), tokens=tokens, adapters=adapters, recompute=recompute)["total"] / 1e9
                for recompute in (False, True)
            )
            row = {"gb": round(kept, 1), "gb_recomputing": round(anew, 1)}
            found[f"{name}, {tokens} tokens, {adapters} adapter{'s' if adapters > 1 else ''}"] = row
    return found


def _minutes(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"soak={text}: minutes, as a number") from None


def _peers(name: str) -> dict[str, Any]:
    if name != "llamafactory":
        raise InputError(f"peers={name}: only llamafactory can be compared with")
    from factory.train.bench import peers

    return peers.run(progress=lambda line: err.print(line))


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "training": _training,
    "serving": _serving,
    "data": _data,
    "grading": _grading,
    "answers": _answers,
    "pages": _pages,
    "gate": _gate,
    "gpu": _gpu,
    "memory": _memory,
}
