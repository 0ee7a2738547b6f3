"""What people see in the terminal: progress and remarks on stderr, results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

ENDLESS = 10_000  # columns where nobody watches: a file or a pipe gets whole lines, which other programs can search
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else ENDLESS)


def out(quiet: bool) -> Console:
    """The console for results; silent when the caller asked for JSON."""
    return Console(file=sys.stdout, quiet=quiet, highlight=False, width=None if sys.stdout.isatty() else ENDLESS)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar with a free text, the count and the time left; on a pipe one line at the end of each task of work."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
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
