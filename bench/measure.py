"""How things are compared: both sides take turns, and the median over the pairs counts.

So a machine that warms up or slows down does not decide.
"""

import contextlib
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import TypeVar

from factory.base.known import Base
from factory.home import home

T = TypeVar("T")


async def in_turn(one: Callable[[], Awaitable[T]], other: Callable[[], Awaitable[T]], rounds: int) -> list[tuple[T, T]]:
    """Both measurements, `rounds` times, and each first in every other round."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            second = await other()
            pairs.append((await one(), second))
        else:
            pairs.append((await one(), await other()))
    return pairs


def ratio(pairs: Iterable[tuple[float, float]], digits: int = 3) -> float:
    """The second as a share of the first: the median over the pairs."""
    return round(median(ours / reference for reference, ours in pairs), digits)


def memory(pid: int) -> int:
    """Bytes of a process and all its children, what they share counted once (proportional set size)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    own = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    threads = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    return own + sum(memory(child) for child in children)


@contextlib.contextmanager
def own_home(base: Base | None = None, at: Path | None = None) -> Iterator[Path]:
    """FACTORY_HOME is an empty folder for a while, or the one `at` a place where it stays, so that nothing of a
    measurement touches the project's own; a quantised base is linked into it."""
    before = os.environ.get("FACTORY_HOME")
    with contextlib.nullcontext(at) if at else tempfile.TemporaryDirectory(prefix="factory-bench-") as folder:
        os.environ["FACTORY_HOME"] = str(folder)
        if base and not (link := home("bases", base.folder.name)).exists():
            with contextlib.suppress(FileExistsError):  # another process was faster
                link.symlink_to(base.folder.resolve())
        try:
            yield Path(folder)
        finally:
            os.environ.pop("FACTORY_HOME") if before is None else os.environ.update(FACTORY_HOME=before)
