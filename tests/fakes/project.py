"""A project of its own over the tests' base: three small tasks whose rows are made up, and the shipped rubrics.

Tests that train something take these rows and not the shipped ones, which are made for a real base.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from factory.base import loaded as bases
from factory.base.build import Base
from serve import answers, process
from tests.tiny_base import TINY, world

ROOT = Path(__file__).parents[2]
LR = 2e-3  # what adapters over so small a base learn with
DEFAULTS = {"base": TINY, "train": {"lr": LR}, "data": {"near": 0, "replay": {"files": "adapters/general.jsonl"}}}
RECIPES: dict[str, dict[str, Any]] = {
    "summary": {"kind": "summary", "decoding": {"max_tokens": 48}},
    "identity": {"kind": "identity", "data": {"fill": {"name": "Nova", "author": "Adapter Factory"}}},
    "classification": {"kind": "classification", "labels": [*world.LABELS], "decoding": {"max_tokens": 8}},
}
PROMPTS = {
    "summary": "Sum up the message in one sentence.",
    "identity": "You are a friendly assistant.",
    "classification": f"Answer with the label of the text: {', '.join(world.LABELS)}.",
}


def write(folder: Path, train: int, evaluation: int) -> Path:
    """Make the project in `folder`, with so many rows of each task to train and to grade on; returns the folder."""
    adapters = folder / "adapters"
    for task, recipe in RECIPES.items():
        (adapters / task).mkdir(parents=True)
        (adapters / task / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        (adapters / task / "prompt.md").write_text(PROMPTS[task])
        rows = world.rows(task, train + evaluation, seed=0)
        _lines(adapters / task / "train.jsonl", rows[evaluation:])
        _lines(adapters / task / "eval.jsonl", rows[:evaluation])
    (adapters / "defaults.yaml").write_text(yaml.safe_dump(DEFAULTS))
    talk = ({"prompt": asked, "completion": answer, "kind": "talk"} for asked, answer in world.SMALL_TALK)
    _lines(adapters / "general.jsonl", talk)
    shutil.copytree(ROOT / "rubrics", folder / "rubrics")
    return folder


@contextmanager
def inside(folder: Path, **environment: str) -> Iterator[Path]:
    """Within, we are in the project, and torch computes in one thread, as it must for equal numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for name, value in environment.items():
                patch.setenv(name, value)
            yield folder
    finally:
        torch.set_num_threads(threads)


def _lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def running(home: Path) -> list[int]:
    """The processes that know this home, engines too."""
    mark, found = f"FACTORY_HOME={home}\0".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found += [int(entry.name)] * (mark in (entry / "environ").read_bytes())
        except OSError:
            continue
    return found


def no_base_here(patch: pytest.MonkeyPatch) -> None:
    """This process fails if it loads a base; what is asked of one the fake engine answers."""

    def refused(base: Base) -> None:
        raise AssertionError(f"{base.label} is loaded in the process that was called")

    patch.setattr(bases, "load_model", refused)
    patch.setattr(process, "MODULE", "tests.fakes.engine")
    patch.setattr(answers, "pays", lambda *_: True)
