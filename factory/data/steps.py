"""What every step works with, and the chain that counts and times them."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from factory.data.rows import Dropped, Row, clip
from factory.decoding import Forms
from factory.recipe import Recipe

Progress = Callable[[str, int], None]  # step, rows it has let through so far


def quiet(step: str, rows: int) -> None:
    """No progress shown."""


@dataclass(frozen=True)
class Replier:
    """The base, to answer in its own words: `name` is its fingerprint, `answer` takes conversations without their
    answers and how many tokens each may have; one that was not at its end there is empty."""

    name: str
    answer: Callable[[list[Row], int], list[str]]


@dataclass
class Work:
    """The data set in the making. Steps take `recipe` and `tokenizer` from it and leave what they found in it."""

    recipe: Recipe
    tokenizer: Any
    prompt: str = ""
    labels: frozenset[str] = frozenset()
    progress: Progress = quiet
    base: Replier | None = None
    evals: dict[str, list[Row]] = field(default_factory=dict)
    split: list[Row] = field(default_factory=list)
    tune: list[Row] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    closest: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settle: list[str] = field(default_factory=list)  # what settles some of the notes, the last one first
    longest: int = 0  # tokens of the longest row that did not fit into train.max_length
    questions: set[bytes] = field(default_factory=set)  # hashes of the questions of all training rows
    usage: dict[str, Any] = field(default_factory=dict)
    controlled: int = 0  # rows with control tokens in what users wrote

    @cached_property
    def forms(self) -> Forms:
        """The forms that answers are held to, where the recipe gives one."""
        return Forms(self.recipe.decoding)

    def misshapen(self, row: Row) -> str:
        """A reason where the answer is not of the form, and could never be given."""
        if not (key := self.recipe.decoding.held):
            return ""
        form = self.forms.of(row.with_system(self.prompt).turns)
        return (
            f"the answer is not of the form that decoding.{key} asks for" if form and not form.lets(row.answer) else ""
        )

    def drop(self, row: Row, step: str, reason: str) -> None:
        text = "\n".join(f"{m['role']}: {m['content'][:2000]}" for m in row.messages)
        self.dropped.append(Dropped(row.file, row.line, step, reason, clip(text)))

    def note(self, what: str, settle: str) -> None:
        self.notes.append(what)
        self.settle.insert(0, settle)

    def rename(self, since: int, step: str) -> None:
        """Count what was dropped from number `since` on under `step`: eval and general rows are no training rows."""
        self.dropped[since:] = [replace(row, step=step) for row in self.dropped[since:]]


Step = Callable[[Iterable[Row], Work], Iterator[Row]]


@dataclass
class Count:
    """One step of the funnel: the rows it let through, and the seconds it took by itself."""

    step: str
    kept: int = 0
    seconds: float = 0.0


def chain(rows: Iterable[Row], steps: dict[str, Step], work: Work) -> tuple[Iterator[Row], list[Count]]:
    """The rows through all steps, lazily, and the funnel from reading on, complete once the rows are consumed."""
    counts = [Count("read")]
    clock = [0.0]  # seconds spent in the steps before: what a step waits for is not its own time
    rows = _timed(iter(rows), counts[0], clock, work.progress)
    for name, step in steps.items():
        counts.append(Count(name))
        rows = _timed(step(rows, work), counts[-1], clock, work.progress)
    return iter(rows), counts


def _timed(rows: Iterator[Row], count: Count, clock: list[float], progress: Progress) -> Iterator[Row]:
    while True:
        began, before = time.perf_counter(), clock[0]
        row = next(rows, None)
        spent = time.perf_counter() - began
        count.seconds += spent - (clock[0] - before)
        clock[0] = before + spent
        if row is None:
            return
        count.kept += 1
        if count.kept % 1000 == 0:
            progress(count.step, count.kept)
        yield row
