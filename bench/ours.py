"""The factory's engine in a process of its own, as `factory train` runs it: one task or many over one base.

python -m bench.ours BASE OUT SETTINGS TASK…    adapters in OUT/<task>/adapter

With a `stage` in the settings the tasks learn by that method, on the pairs or questions that `preference` writes. When
each step was over lies in OUT/<task>/steps.json, adapters of `marks` steps in OUT/<task>/checkpoint-<steps>.
"""

import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from factory.train.tokens import encode


def main(name: str, out: Path, settings: dict[str, Any], folders: list[Path]) -> None:
    from factory.base.build import load_model, prepare
    from factory.base.loaded import held
    from factory.train.fused import Failed, train_many

    base = prepare(name)
    on = held(base)
    model = load_model(base)
    jobs = [_job(on, folder, out / folder.name, settings) for folder in folders]
    began = time.monotonic()
    ends: dict[str, list[float]] = {job.name: [] for job in jobs}

    def progress(task: str, record: dict[str, Any]) -> None:
        if "loss" in record:
            ends[task].append(time.monotonic() - began)

    for mark in settings.get("marks") or [0]:
        until = (mark - 0.5) / settings["steps"] if mark else 1.0  # a share is rounded up to a whole step
        for result in train_many(jobs, base, model, until=until, progress=progress):
            if isinstance(result, Failed):
                sys.exit(f"{result.name}: {result.why}")
            if mark:
                shutil.copytree(result.adapter, result.run / f"checkpoint-{mark}")
    for job in jobs:
        (job.run / "steps.json").write_text(json.dumps(ends[job.name]))
    print(json.dumps({"train_runtime": round(time.monotonic() - began, 3)}))


def _job(on: Any, folder: Path, run: Path, settings: dict[str, Any]) -> Any:
    from bench import rows
    from factory.data.rows import Row
    from factory.pipeline.rewards import Rollouts
    from factory.recipe import Recipe
    from factory.train.fused import Job
    from factory.train.methods import Grpo

    train = {key: settings[key] for key in ("epochs", "batch", "lr", "max_length")} | {"patience": 0}
    values = {"task": folder.name, "kind": "general", "folder": folder, "rubric": settings.get("rubric", "")}
    values |= {"train": train | {"seed": int(folder.name.split("-")[0])}, "stages": [settings.get("stage", "sft")]}
    values |= {"lora": {"r": settings["r"], "alpha": 2 * settings["r"]}}
    recipe = Recipe.model_validate(values | {"decoding": {"max_tokens": settings.get("max_tokens", 16)}})
    method: Any = recipe.stages[0]
    most, tokenizer = settings["max_length"], on.tokenizer
    parent = Path(settings["parent"]) if "parent" in settings else None
    job = Job(folder.name, recipe, [], [], run, method=method, parent=parent)
    path = folder / f"{method.rows}.jsonl"
    if isinstance(method, Grpo):
        rollouts = Rollouts(recipe, method, on)
        asked = [replace(row, meta={"label": row.answer}) for row in rows.read(path)]
        return replace(job, train=rollouts.prompts(asked), rollouts=rollouts)
    if method.rows == "train":
        return replace(job, train=[encode(tokenizer, row, most) for row in rows.read(path)])
    sides = [
        replace(encode(tokenizer, Row((*pair["prompt"], *pair[side])), most), group=group, reward=reward)
        for group, pair in enumerate(map(json.loads, path.read_text().splitlines()))
        for side, reward in (("chosen", 1.0), ("rejected", -1.0))
    ]
    return replace(job, train=sides)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), [Path(p) for p in sys.argv[4:]])
