"""The factory's engine in a process of its own, as `factory train` runs it: one task or many over one base.

python -m bench.ours BASE OUT SETTINGS TASK…    adapters in OUT/<task>/adapter
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factory.train.tokens import IGNORE, Example, encode


def main(name: str, out: Path, settings: dict[str, Any], folders: list[Path]) -> None:
    from bench import rows
    from factory.base.build import load_model, load_tokenizer, prepare
    from factory.recipe import Recipe
    from factory.train.fused import Failed, Job, train_many

    base = prepare(name)
    model, tokenizer = load_model(base), load_tokenizer(base)
    jobs = []
    for folder in folders:
        seed = int(folder.name.split("-")[0])
        train = {key: settings[key] for key in ("epochs", "batch", "lr", "max_length")} | {"patience": 0, "seed": seed}
        recipe = Recipe.model_validate(
            {"task": folder.name, "kind": "general", "folder": folder, "train": train}
            | {"lora": {"r": settings["r"], "alpha": 2 * settings["r"]}}
        )
        examples = [encode(tokenizer, row, settings["max_length"]) for row in rows.read(folder / "train.jsonl")]
        jobs.append(Job(folder.name, recipe, examples, [], out / folder.name))
    began = time.monotonic()
    for result in train_many(jobs, base, model):
        if isinstance(result, Failed):
            sys.exit(f"{result.name}: {result.why}")
    print(json.dumps({"train_runtime": round(time.monotonic() - began, 3)}))


def held_out_loss(model: Any, adapter: Path, examples: Sequence[Example]) -> float:
    """Mean loss over the learned tokens, sequence by sequence through transformers: one ruler for every trainer."""
    import torch

    from factory.answers import adapted

    total, count = 0.0, 0
    with adapted(model, adapter) as peft, torch.no_grad():
        peft.eval()
        for example in examples:
            learned = sum(label != IGNORE for label in example.labels[1:])
            ids, labels = (torch.tensor([part], device=model.device) for part in (example.input_ids, example.labels))
            total += peft(input_ids=ids, labels=labels, use_cache=False).loss.item() * learned
            count += learned
    return total / count if count else math.nan


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), [Path(p) for p in sys.argv[4:]])
