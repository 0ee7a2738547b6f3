from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from data_support import FILL, ROOT, Told, Try

from factory import cli
from factory.base.build import Base
from factory.recipe import Data, Recipe
from tests.tiny_base import TINY

sys.path.insert(0, str(ROOT / "tests"))  # for `fakes`

Make = Callable[..., Recipe]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Recipes in a folder of their own, with a home of their own."""
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    folder = tmp_path / "task"
    folder.mkdir()

    def recipe(kind: str = "general", labels: list[str] | None = None, max_length: int = 1024, **data: Any) -> Recipe:
        settings = {"fill": FILL, "tune_share": 0, **data}
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


@pytest.fixture
def own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own with the shipped defaults, general rows and rubrics, over the tests' base, as the working
    folder."""
    root = tmp_path / "project"
    shutil.copytree(ROOT / "rubrics", root / "rubrics")
    (root / "adapters").mkdir()
    shutil.copy(ROOT / "adapters" / "general.jsonl", root / "adapters")
    defaults = yaml.safe_load((ROOT / "adapters" / "defaults.yaml").read_text())
    (root / "adapters" / "defaults.yaml").write_text(yaml.safe_dump(defaults | {"base": TINY}))
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def attempt(base: Base, own_project: Path, capsys: pytest.CaptureFixture[str]) -> Try:
    """A new task of its kind on the file that is given, without an eval file unless `exam` gives one."""
    folder = own_project / "adapters" / "x"

    def go(name: str, content: str | bytes, *words: str, kind: str = "classification", exam: str = "") -> Told:
        if not folder.exists():
            assert cli.main(["new", "task=x", f"kind={kind}"]) == 0
        (folder / "eval.jsonl").unlink(missing_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        if exam:
            (folder / "exam.jsonl").write_text(exam)
            words = (*words, "data.eval=exam.jsonl")
        capsys.readouterr()
        code = cli.main(["data", "task=x", f"data.train={name}", "data.replay.share=0", *words])
        return Told(code, *capsys.readouterr())

    return go
