"""`factory bench only=ways`: the usual ways from a base to a domain, and what each does to ordinary requests.

Three ways over one base: the task's rows alone, raw texts of its domain before, and these with general rows; and one
for what 4 bits cost, the recovery adapter before the rows, whose perplexities are told. Each is held against the base
on all of `rubrics/general.jsonl`, and graded on the task. An untuned base is `base=`; `task=` is summary, whose
messages are the texts, unless `data.texts=` names others. What was trained stays in the home's `ways/`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from bench.gain import good, trained
from bench.measure import own_home
from evals import matrix
from factory import recipe as recipes
from factory.base.build import prepare
from factory.home import home, write_file
from factory.pipeline.data import dataset
from factory.registry import store
from serve.answers import of_base, of_version

NONE = {"data.replay.share": "0"}
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "rows": ("sft", NONE),
    "texts, rows": ("[{pretrain: {replay: 0}}, sft]", NONE),
    "texts with general rows, rows": ("[{pretrain: {replay: 0.1}}, sft]", {}),
    "recovery, rows": ("recover,sft", NONE),
}


def run(
    task: str = "",
    changes: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure; returns the `ways` part of the benchmark's JSON: of the task and of the requests how many answers are
    good, and how many more or fewer than the base's, with two one-sided 95 % bounds."""
    task, changes, place = task or "summary", dict(changes or {}), home("ways")
    base = prepare(recipes.load(task, changes).base)
    found: dict[str, Any] = {}
    with own_home(base, place):
        if "data.texts" not in changes:
            texts = [str(row.turns[-1]["content"]) for row in dataset(recipes.load(task, changes)).train]
            changes["data.texts"] = str(place / "texts.jsonl")
            write_file(place / "texts.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts))
        for way, (stages, own) in WAYS.items():
            first, last = trained(task, {**changes, **own}, stages)
            recipe = last.recipe
            (cell,) = matrix.matrix(
                "", of_version(last.version), of_base(recipe, base), {matrix.GENERAL: matrix.general()}
            )
            found[way] = {
                "task_good": good(last),
                "general_good": cell.version.good,
                "base_good": cell.base.good,
                "change": cell.good.value,
                "low": cell.good.low,
                "high": cell.good.high,
                "n": cell.good.n,
            }
            if perplexity := store.noted(first.version.sha, "run").get("perplexity"):
                found[way]["perplexity"] = perplexity
            progress(f"{way}: {task} {found[way]['task_good']:.1%} good, general {cell.good.value:+.1%}")
    return {**found, "task": task, "base": base.label}
