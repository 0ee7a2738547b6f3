"""What people see in the terminal: progress and remarks on stderr, results on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

ENDLESS = 10_000  # columns where nobody watches: a file or a pipe gets whole lines, which other programs can search
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else ENDLESS)


def out(quiet: bool) -> Console:
    """The console for results; silent when the caller asked for JSON."""
    return Console(file=sys.stdout, quiet=quiet, highlight=False, width=None if sys.stdout.isatty() else ENDLESS)


class _Lines(Progress):
    """Progress where nobody watches: every half minute a line about what has moved."""

    SECONDS = 30.0

    def __init__(self) -> None:
        super().__init__(disable=True)
        self.said = time.monotonic()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        if time.monotonic() - self.said > self.SECONDS:
            self.said = time.monotonic()
            task = self.tasks[task_id]
            of = f"/{task.total:,.0f}" if task.total else ""
            err.print(f"{task.description} {task.completed:,.0f}{of} {task.fields['text']}".rstrip(), markup=False)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar with a free text, the count and the time left; on a pipe a line every half minute."""
    if not err.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=err) as bar:
        yield bar


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A small table: the first column to the left, the others to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1))
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
