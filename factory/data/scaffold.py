"""A new task's folder that already trains: recipe, prompt, example rows, and a README that says what to change.

What a task of one kind starts with are the files of `starters/<kind>/`, in which TASK stands for its name.
"""

import re
from pathlib import Path

from factory.errors import InputError, Problem
from factory.home import project, shown, write_folder
from factory.strict import nearest

STARTERS = Path(__file__).with_name("starters")
KINDS = sorted(folder.name for folder in STARTERS.iterdir())


def new(task: str, kind: str) -> Path:
    """Make `adapters/<task>` for a task of `kind`; returns the folder. InputError: a bad name, an unknown kind, or the
    task is there already."""
    folder = project() / "adapters" / task
    problems = []
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", task):
        problems.append(Problem(f"{task!r}: small letters, digits and dashes, a letter first", key="task"))
    elif folder.exists():
        problems.append(Problem("is there already; choose another name", shown(folder), key="task"))
    if kind not in KINDS:
        problems.append(Problem(f"no kind {kind!r}{nearest(kind, KINDS)}", key="kind"))
    if problems:
        raise InputError(*problems)

    def fill(to: Path) -> None:
        for file in (STARTERS / kind).iterdir():
            text = file.read_text(encoding="utf-8")
            named = text if file.suffix == ".jsonl" else text.replace("TASK", task)
            (to / file.name).write_text(named, encoding="utf-8")

    return write_folder(folder, fill)
