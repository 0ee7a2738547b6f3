from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_support import FILL

from factory.recipe import Data, Recipe

sys.path.insert(0, str(Path(__file__).parents[2]))  # for `fakes`

Make = Callable[..., Recipe]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Recipes in a folder of their own, with a home of their own."""
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    folder = tmp_path / "task"
    folder.mkdir()

    def recipe(kind: str = "general", labels: list[str] | None = None, max_length: int = 1024, **data: Any) -> Recipe:
        settings = {"fill": FILL, **data}
        return Recipe.model_validate(
            {
                "task": "trial",
                "kind": kind,
                "labels": labels or [],
                "folder": folder,
                "data": Data.model_validate(settings),
                "train": {"max_length": max_length},
            }
        )

    return recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "task"
