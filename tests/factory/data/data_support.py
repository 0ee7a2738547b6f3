"""What the tests of the data pipeline share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory.data.build import Built

FIXTURES = Path(__file__).parent / "fixtures"
ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared" / "data"
FILL = {"name": "Nova", "author": "the Adapter Factory"}
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real data sets are not at {SHARED}")
THINGS = "lamp chair kettle clock mug shelf bag cushion knife rope tile brush fork plate stool jar crate vase".split()
LABELS = ["delivery", "billing", "None"]


def said(i: int) -> str:
    return f"{THINGS[i % 18]} {THINGS[(7 * i + 3) % 18]} number {7 * i} came late"


ROWS = [(said(i), LABELS[i % 3]) for i in range(18)]


def table(header: str, rows: list[tuple[str, str]] = ROWS, by: str = ",", end: str = "") -> str:
    return "".join(f"{line}{end}\n" for line in (header, *(f"{text}{by}{label}" for text, label in rows)))


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


class Told:
    """What one `factory data` came to: its exit code, what it said, and the data set if there is one."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def built(self) -> Built:
        assert self.code == 0, self.err
        report = Path(next(line for line in self.out.splitlines() if "report:" in line).split(": ", 1)[1])
        return Built.read(report.resolve().parent)

    @property
    def next(self) -> str:
        last = self.out.splitlines()[-1]
        return last.removeprefix("  next: ") if last.startswith("  next: ") else ""


Try = Callable[..., Told]
