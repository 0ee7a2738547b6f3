"""What the ratings amount to: derived whenever asked, never stored as truth.

Per output and dimension the lead's adjudication counts; without one, the median of the people's levels. An even split
between two levels goes to the one between them, or to one of the two by a hash of the output: never to the worse for
being worse, or an output would lose by being looked at again. Repeats and gold are no votes: they measure the raters.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from evals import tables as t
from evals.agreement import Agreement, alpha_interval
from evals.grades import Grade
from evals.rubric import Dimension, Rubric
from evals.voids import TAKEN_BACK
from factory.home import digest


@dataclass(frozen=True)
class Rating:
    """One standing rating: who said what about an output. `grades` is empty for an abstention."""

    output: str
    rater: str
    kind: str
    grades: Mapping[str, Mapping[str, Any]]
    created: float
    assignment: str = ""


@dataclass
class Consensus:
    """What people make of one output: a grade per dimension, and where they disagree by how many levels.

    `votes` are the single ones, by assignment; `harm` counts the people who called it worst on a dimension with a veto.
    """

    grades: dict[str, Grade] = field(default_factory=dict)
    spread: dict[str, int] = field(default_factory=dict)
    adjudicated: bool = False
    raters: set[str] = field(default_factory=set)
    votes: dict[str, dict[str, Grade]] = field(default_factory=dict)
    harm: int = 0

    @property
    def levels(self) -> dict[str, str]:
        return {name: grade.level for name, grade in self.grades.items()}


def standing(engine: Engine, rubric_hash: str, batch: str = "", rater: str = "") -> list[Rating]:
    """The ratings by people that stand (in a batch, by a rater): the last line of each assignment, unless it takes the
    grade back."""
    r, a = t.ratings.c, t.assignments.c
    query = (
        sa.select(r.id, r.assignment, r.output, r.rater, r.action, r.grades, r.created, a.kind)
        .join(t.assignments, a.id == r.assignment)
        .where(r.rubric == rubric_hash, *([a.batch == batch] if batch else []), *([r.rater == rater] if rater else []))
        .order_by(r.id)
    )
    last = {row.assignment: row for row in t.rows(engine, query)}
    return [
        Rating(w.output, w.rater, w.kind, w.grades, w.created, w.assignment)
        for w in last.values()
        if w.action not in TAKEN_BACK
    ]


def verdicts(
    engine: Engine, rubric: Rubric, batch: str = "", ratings: Sequence[Rating] | None = None
) -> dict[str, Consensus]:
    """Output id to what people make of it; with `batch` by its votes alone (`ratings` if they are read)."""
    found: dict[str, Consensus] = defaultdict(Consensus)
    worst = {d.name: d.names()[0] for d in rubric.dimensions if d.veto}
    for said in standing(engine, rubric.hash(), batch) if ratings is None else ratings:
        if said.kind == "plain" and said.grades:
            verdict = found[said.output]
            verdict.votes[said.assignment] = {name: _grade(grade) for name, grade in said.grades.items()}
            verdict.harm += said.rater not in verdict.raters and any(
                said.grades.get(name, {}).get("level") == level for name, level in worst.items()
            )
            verdict.raters.add(said.rater)
    for output, verdict in found.items():
        for d in rubric.dimensions:
            grades = [vote[d.name] for vote in verdict.votes.values() if d.name in vote]
            if grades:
                grades.sort(key=lambda g, levels=d.names(): levels.index(g.level))  # type: ignore[misc]
                verdict.grades[d.name] = _middle(d, grades, output)
                lowest, highest = (d.names().index(g.level) for g in (grades[0], grades[-1]))
                verdict.spread[d.name] = highest - lowest
    a = t.adjudications.c
    query = sa.select(a.output, a.grades, a.reason).where(a.rubric == rubric.hash()).order_by(a.id)
    for output, settled, reason in t.rows(engine, query):
        if not batch or output in found:
            found[output].adjudicated = True
            found[output].grades |= {name: _grade({"reason": reason} | grade) for name, grade in settled.items()}
    return dict(found)


def _middle(d: Dimension, grades: Sequence[Grade], output: str) -> Grade:
    """The median of sorted grades; of an even split the level between, or one of the two by hash."""
    low, high = grades[(len(grades) - 1) // 2], grades[len(grades) // 2]
    between = d.names().index(low.level) + d.names().index(high.level)
    if between % 2:
        return (low, high)[int(digest([output, d.name])[:8], 16) % 2]
    level = d.names()[between // 2]
    return next((g for g in grades if g.level == level), Grade(level, low.why, low.evidence))


def disputes(engine: Engine, rubric: Rubric) -> list[str]:
    """Outputs that people graded differently, or one alone called harmful, and nobody settled; widest apart first."""
    open_ = [
        (o, v)
        for o, v in verdicts(engine, rubric).items()
        if not v.adjudicated and (any(v.spread.values()) or v.harm == 1)
    ]
    return [o for o, v in sorted(open_, key=lambda pair: (-max(pair[1].spread.values()), pair[0]))]


def agreement(engine: Engine, rubric: Rubric, batch: str = "") -> dict[str, Agreement]:
    """Ordinal alpha of people per dimension and for the composite ("composite"), over outputs graded by two or more.

    `batch`: in that batch alone. Two teams, or two tasks under one rubric, may agree differently.
    """
    found = agreed(rubric, standing(engine, rubric.hash(), batch))
    return {name: alpha_interval(values) for name, values in found.items()}


def agreed(rubric: Rubric, ratings: Sequence[Rating]) -> dict[str, Sequence[Sequence[int | None]]]:
    """What `agreement` is worked out from: raters x outputs, per dimension and for the composite."""
    table: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    several = {o for o, n in Counter(s.output for s in ratings if s.kind == "plain" and s.grades).items() if n > 1}
    for said in ratings:
        if said.output not in several or said.kind != "plain" or not said.grades:
            continue
        bands = {}
        for name, grade in said.grades.items():
            dimension = rubric.dimension(name)
            table[name][said.rater, said.output] = dimension.names().index(grade["level"])
            bands[name] = dimension.band(grade["level"])
        table["composite"][said.rater, said.output] = ("poor", "average", "good").index(rubric.compose(bands))
    found: dict[str, Sequence[Sequence[int | None]]] = {}
    for name, values in table.items():
        raters, outputs = (sorted({key[i] for key in values}) for i in (0, 1))
        found[name] = [[values.get((rater, output)) for output in outputs] for rater in raters]
    return found


def again(mine: Sequence[Rating]) -> list[bool]:
    """For each grade that a rater gave on a second look, whether it was that of the first."""
    first = {s.output: s.grades for s in mine if s.kind == "plain"}
    return [
        grade["level"] == first[s.output][name]["level"]
        for s in mine
        if s.kind == "repeat"
        for name, grade in s.grades.items()
        if name in first.get(s.output, {})
    ]


def _grade(said: Mapping[str, Any]) -> Grade:
    return Grade(said["level"], said.get("reason", ""), [*said.get("evidence", [])])
