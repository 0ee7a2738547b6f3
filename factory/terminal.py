"""What people see in the terminal: progress and remarks on stderr, results on stdout."""

import math
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

ENDLESS = 10_000  # columns where nobody watches: a file or a pipe gets whole lines, which other programs can search
SILENCE = 9.0  # seconds after which something is said again, whatever happens meanwhile


class _Console(Console):
    """Knows when it last said something, and what is going on."""

    said, doing, bars = time.monotonic(), "", 0

    def print(self, *what: Any, **how: Any) -> None:
        self.said = time.monotonic()
        super().print(*what, **how)


err = _Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else ENDLESS)


def out(quiet: bool) -> Console:
    """The console for results; silent when the caller asked for JSON."""
    return Console(file=sys.stdout, quiet=quiet, highlight=False, width=None if sys.stdout.isatty() else ENDLESS)


@contextmanager
def heartbeat(doing: str) -> Iterator[None]:
    """Within, people hear of it at once and then at least every ten seconds, also while a library takes its time."""
    err.doing, began, over = doing, time.monotonic(), threading.Event()
    err.print(doing, markup=False)

    def beat() -> None:
        while not over.wait(0.5):
            if time.monotonic() - err.said >= SILENCE and not (err.is_terminal and err.bars):
                err.print(f"{err.doing} … {time.monotonic() - began:.0f} s", markup=False)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def silent() -> Iterator[None]:
    """Within, another process says how things go."""
    err.said = math.inf
    try:
        yield
    finally:
        err.said = time.monotonic()


class _Lines(Progress):
    """Progress where nobody watches: every few seconds a line about what has moved."""

    def __init__(self) -> None:
        super().__init__(disable=True)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        task = self.tasks[task_id]
        of = f"/{task.total:,.0f}" if task.total else ""
        err.doing = f"{task.description} {task.completed:,.0f}{of} {task.fields['text']}".rstrip()
        if time.monotonic() - err.said > SILENCE:
            err.print(err.doing, markup=False)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar with a free text, the count and the time left; on a pipe a line every few seconds."""
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
    err.bars += 1
    try:
        with Progress(*columns, console=err) as bar:
            yield bar
    finally:
        err.bars -= 1


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A small table: the first column to the left, the others to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1))
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def percent(share: float | None, unknown: str = "-") -> str:
    return unknown if share is None else f"{100 * share:.1f} %"
