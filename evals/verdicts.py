"""What the ratings amount to: derived whenever asked, never stored as truth.

Per output and dimension the lead's adjudication counts; without one, the median of the people's levels, the lower of
the two middle ones when they are split. Repeats and gold are no votes: they measure the raters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Engine

from evals import tables as t
from evals.agreement import Agreement, alpha_interval, cohen
from evals.grades import Grade
from evals.rubric import Rubric
from evals.voids import TAKEN_BACK

Levels = dict[str, str]


@dataclass(frozen=True)
class Said:
    """One standing rating: who said what about an output. `grades` is empty for an abstention."""

    output: str
    rater: str
    kind: str
    grades: Mapping[str, Mapping[str, Any]]
    created: float


@dataclass
class Verdict:
    """What people make of one output: a grade per dimension, and where they disagree by how many levels."""

    grades: dict[str, Grade] = field(default_factory=dict)
    spread: dict[str, int] = field(default_factory=dict)
    adjudicated: bool = False
    raters: set[str] = field(default_factory=set)

    @property
    def levels(self) -> Levels:
        return {name: grade.level for name, grade in self.grades.items()}


class Consistency(BaseModel):
    """How a rater does: finished, abstained, agreement with gold and with themselves (shares of dimensions)."""

    rater: str
    done: int
    abstained: int
    gold: float | None = None
    gold_n: int = 0
    self_agreement: float | None = None
    repeats: int = 0


def standing(engine: Engine, rubric_hash: str) -> list[Said]:
    """The ratings by people that stand: the last line of each assignment, unless it takes the grade back."""
    r, a = t.ratings.c, t.assignments.c
    query = (
        sa.select(r.id, r.assignment, r.output, r.rater, r.action, r.grades, r.created, a.kind)
        .join(t.assignments, a.id == r.assignment)
        .where(r.rubric == rubric_hash)
        .order_by(r.id)
    )
    with t.reading(engine) as c:
        last = {row.assignment: row for row in c.execute(query)}
    return [Said(w.output, w.rater, w.kind, w.grades, w.created) for w in last.values() if w.action not in TAKEN_BACK]


def verdicts(engine: Engine, rubric: Rubric) -> dict[str, Verdict]:
    """Output id to what people make of it."""
    found: dict[str, Verdict] = defaultdict(Verdict)
    votes: dict[str, dict[str, list[Grade]]] = defaultdict(lambda: defaultdict(list))
    order = {d.name: d.names() for d in rubric.dimensions}
    for said in standing(engine, rubric.hash()):
        if said.kind != "plain" or not said.grades:
            continue
        found[said.output].raters.add(said.rater)
        for name, grade in said.grades.items():
            votes[said.output][name].append(_grade(grade))
    for output, dimensions in votes.items():
        for name, grades in dimensions.items():
            grades.sort(key=lambda g, levels=order[name]: levels.index(g.level))  # type: ignore[misc]
            found[output].grades[name] = grades[(len(grades) - 1) // 2]
            lowest, highest = (order[name].index(g.level) for g in (grades[0], grades[-1]))
            found[output].spread[name] = highest - lowest
    a = t.adjudications.c
    with t.reading(engine) as c:
        query = sa.select(a.output, a.grades, a.reason).where(a.rubric == rubric.hash()).order_by(a.id)
        for output, settled, reason in c.execute(query):
            found[output].adjudicated = True
            found[output].grades |= {name: _grade({"reason": reason} | grade) for name, grade in settled.items()}
    return dict(found)


def disputes(engine: Engine, rubric: Rubric) -> list[str]:
    """Outputs that people graded differently and nobody has settled, the widest apart first."""
    open_ = [(o, v) for o, v in verdicts(engine, rubric).items() if not v.adjudicated and any(v.spread.values())]
    return [o for o, v in sorted(open_, key=lambda pair: (-max(pair[1].spread.values()), pair[0]))]


def agreement(engine: Engine, rubric: Rubric) -> dict[str, Agreement]:
    """Ordinal alpha of people per dimension and for the composite ("composite"), over outputs graded by two or more."""
    table: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for said in standing(engine, rubric.hash()):
        if said.kind != "plain" or not said.grades:
            continue
        bands = {}
        for name, grade in said.grades.items():
            dimension = rubric.dimension(name)
            table[name][said.rater, said.output] = dimension.names().index(grade["level"])
            bands[name] = dimension.band(grade["level"])
        table["composite"][said.rater, said.output] = ("poor", "average", "good").index(rubric.compose(bands))
    return {name: alpha_interval(_matrix(values)) for name, values in table.items()}


def consistency(engine: Engine, rubric: Rubric, gold: Mapping[str, Mapping[str, str]]) -> list[Consistency]:
    """Per rater: gold results and agreement with their own earlier grades on repeats."""
    said = standing(engine, rubric.hash())
    own = {(s.rater, s.output): s.grades for s in said if s.kind == "plain"}
    found = []
    for rater in sorted({s.rater for s in said}):
        mine = [s for s in said if s.rater == rater]
        right = [
            s.grades[name]["level"] == level
            for s in mine
            if s.kind == "gold" and s.grades
            for name, level in gold.get(s.output, {}).items()
            if name in s.grades
        ]
        same = [
            grade["level"] == own[rater, s.output][name]["level"]
            for s in mine
            if s.kind == "repeat" and own.get((rater, s.output))
            for name, grade in s.grades.items()
        ]
        found.append(
            Consistency(
                rater=rater,
                done=len(mine),
                abstained=sum(not s.grades for s in mine),
                gold=_share(right),
                gold_n=len(right),
                self_agreement=_share(same),
                repeats=sum(s.kind == "repeat" for s in mine),
            )
        )
    return found


def against_people(
    rubric: Rubric, people: Mapping[str, Levels], judge: Mapping[str, Levels]
) -> dict[str, tuple[Agreement, list[list[int]]]]:
    """Per dimension: kappa of judge and people (linear weights) over the outputs both graded, and the confusion."""
    from evals.agreement import confusion

    found = {}
    for d in rubric.dimensions:
        both = [o for o in people if d.name in people[o] and d.name in judge.get(o, {})]
        truth, said = ([d.names().index(who[o][d.name]) for o in both] for who in (people, judge))
        if both:
            levels = len(d.levels)
            found[d.name] = cohen(truth, said, levels, "linear"), confusion(truth, said, levels)
    return found


def _grade(said: Mapping[str, Any]) -> Grade:
    return Grade(said["level"], said.get("reason", ""), [*said.get("evidence", [])])


def _matrix(values: Mapping[tuple[str, str], int]) -> Sequence[Sequence[int | None]]:
    """Raters x outputs with None where a rater did not grade."""
    raters, outputs = (sorted({key[i] for key in values}) for i in (0, 1))
    return [[values.get((rater, output)) for output in outputs] for rater in raters]


def _share(hits: Iterable[bool]) -> float | None:
    hits = list(hits)
    return round(sum(hits) / len(hits), 4) if hits else None
