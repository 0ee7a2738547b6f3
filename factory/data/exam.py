"""On which rows a version was graded: noted with it, so that an old score is not taken for one on the rows of today."""

import os
from pathlib import Path
from typing import Any

from factory.data.build import eval_files
from factory.data.read import find, fingerprint
from factory.errors import FactoryError
from factory.home import project
from factory.recipe import Recipe, tasks


def exam(recipe: Recipe) -> dict[str, Any]:
    """The files that the eval rows of a recipe come from, by their bytes. `own` is False where rows are set aside."""
    files = eval_files(recipe)
    spec = files or recipe.data.train
    return {"own": bool(files), "spec": spec, "files": _sums(spec, recipe.folder)}


def edited(task: str, noted: dict[str, Any] | None) -> str:
    """What has changed since `exam` was noted with a version; empty if nothing has, or if nothing is known."""
    if not noted or task not in tasks():
        return ""
    folder = project() / "adapters" / task
    if not noted["own"] and (folder / "eval.jsonl").is_file():
        return "eval.jsonl is new"
    try:
        now = _sums(noted["spec"], folder)
    except FactoryError:  # gone, or named from another working folder
        now = {name: fingerprint(str(folder / name)) for name in noted["files"] if (folder / name).is_file()}
    other = sorted({name for name, _ in now.items() ^ noted["files"].items()})
    return f"{', '.join(other)} changed since" if other else ""


def _sums(spec: str | list[str], folder: Path) -> dict[str, str]:
    names = find(spec, folder, "data.eval")
    return {(name if name.startswith("hub:") else os.path.relpath(name, folder)): fingerprint(name) for name in names}
