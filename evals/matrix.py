"""Did anything else get worse? A version is scored on the other tasks' rows and on ordinary requests too.

In production an adapter is asked only for its own task, so nothing here stops it; but one that answers everything with
a summary has learned less about summaries than it seems, and shows here first. Rubrics that need a judge or people are
left out: the matrix is made of checks, each version against the base.
"""

import json
from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from evals import estimate
from evals.answers import Answer
from evals.estimate import Estimate
from evals.rubric import Rubric, load
from evals.scorecard import Shares, by_checks, composite, shares
from factory.data.rows import Row
from factory.errors import InputError, Problem
from factory.home import project, shown

GENERAL = "general"


class Cell(BaseModel):
    """A version on one task: its shares, the base's, and the difference of the good shares (one-sided 95 % bounds)."""

    task: str
    own: bool
    version: Shares
    base: Shares
    good: Estimate

    @property
    def worse(self) -> bool:
        """Whether the version is worse than the base for sure."""
        return self.good.high < 0


def matrix(own: str, version: Answer, base: Answer, tasks: Mapping[str, tuple[Rubric, Sequence[Row]]]) -> list[Cell]:
    """Score a version of the task `own` on every task's rows. On `general` the base's answers are the reference."""
    checked = {task: set_ for task, set_ in tasks.items() if set_[0].decided_by("checks") and set_[1]}
    said, before = _answers(version, checked), _answers(base, checked)
    cells = []
    for task, (rubric, rows) in checked.items():
        if task == GENERAL:
            rows = [row.with_answer(text) for row, text in zip(rows, before[task], strict=True)]
        graded = [by_checks(rubric, rows, outputs) for outputs in (said[task], before[task])]
        measured = {d for set_ in graded for g in set_ for d in g.grades}
        pairs = [[composite(rubric, g.grades, measured) for g in set_] for set_ in graded]
        both = [(a, b) for a, b in zip(*pairs, strict=True) if a and b]
        if not both:
            continue
        better, worse = (sum(a == "good" and b != "good" for a, b in p) for p in (both, [(b, a) for a, b in both]))
        cells.append(
            Cell(
                task=task,
                own=task == own,
                version=shares(a for a, _ in both),
                base=shares(b for _, b in both),
                good=estimate.paired(better, worse, len(both)),
            )
        )
    return cells


def _answers(answer: Answer, tasks: Mapping[str, tuple[Rubric, Sequence[Row]]]) -> dict[str, list[str]]:
    """Answers by task, all asked for at once, which is faster."""
    said = iter(answer([row for _, rows in tasks.values() for row in rows]))
    return {task: [next(said) for _ in rows] for task, (_, rows) in tasks.items()}


def general() -> tuple[Rubric, list[Row]]:
    """The rubric and the requests (`rubrics/general.jsonl`) that show whether ordinary answers changed."""
    path = project() / "rubrics" / "general.jsonl"
    if not path.is_file():
        why = "is missing: the requests that show whether ordinary answers changed; take it from the checkout"
        raise InputError(Problem(why, shown(path)))
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        try:
            record = json.loads(line)
            rows.append(Row(({"role": "user", "content": record["prompt"]},), {"kind": record["kind"]}))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(Problem(f"not a request: {error!r}", shown(path), number)) from None
    return load(GENERAL), rows
