"""The three views of the same outputs, side by side and never mixed up: by checks, by checks and judge, by people.

Where check and judge both speak the worse of the two counts, because a fault that a check found is a fact. Where a
judge abstained, the dimension is not measured, unless a check already found the worst. People's grades stand by
themselves; only what people may not decide is filled in by the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from evals import estimate
from evals.estimate import Estimate
from evals.gate import Pair
from evals.grades import Band, Grade
from evals.rubric import Rubric
from evals.scorecard import Graded, Scorecard, by_checks, composite, scorecard
from factory.data.rows import Row

View = Literal["checks", "judge", "people"]
Grades = Mapping[str, Mapping[str, Grade]]
Join = Callable[[Mapping[str, Grade], str], dict[str, Grade]]


@dataclass(frozen=True)
class Answered:
    """A version's answers to the rows, and the ids of those outputs in the ratings database."""

    name: str
    texts: Sequence[str]
    ids: Sequence[str]


class Numbers(BaseModel):
    """One number by each view, and by people and judge together; None where there is nothing to go on."""

    checks: Estimate | None = None
    judge: Estimate | None = None
    people: Estimate | None = None
    combined: Estimate | None = None


class Views:
    """All views of one or two versions' answers to the same rows; the candidate first.

    `judged` and `people` are grades by output and dimension; `asked` the dimensions a judge was asked about, None
    without a judge.
    """

    def __init__(
        self,
        rubric: Rubric,
        rows: Sequence[Row],
        versions: Sequence[Answered],
        judged: Grades,
        asked: Sequence[str] | None,
        people: Grades,
    ) -> None:
        self.rubric, self.rows = rubric, rows
        self.graded: dict[View, list[list[Graded]]] = {"checks": [by_checks(rubric, rows, v.texts) for v in versions]}
        if asked is not None:
            self.graded["judge"] = self._joined(
                versions, lambda checks, o: _worse(rubric, checks, judged.get(o, {}), asked)
            )
        if people:
            self.graded["people"] = self._joined(versions, lambda checks, o: _people(rubric, checks, people.get(o, {})))
        self.bands = {view: self._composites(sets) for view, sets in self.graded.items()}

    def card(self, view: View, version: int = 0) -> Scorecard:
        """The scorecard of the candidate (0) or of production (1); empty where the view has nothing."""
        return scorecard(self.rubric, self.graded[view][version] if view in self.graded else [])

    def pairs(self, evidence: View) -> list[Pair]:
        """For the gate: per row the composites of both versions by what decides and, if people do, by the judge."""
        trusted = self._columns(evidence)
        judge = self._columns("judge") if evidence == "people" else [(None, None)] * len(self.rows)
        strata = [{k: str(v) for k, v in r.meta.items() if isinstance(v, str | bool | int)} for r in self.rows]
        return [Pair(*each) for each in zip(trusted, judge, strata, strict=True)]

    def numbers(self, compared: bool) -> dict[str, Numbers]:
        """Good and poor rates of the candidate and their differences, with bounds, by every view."""
        found = {}
        for versus in (False, True) if compared else (False,):
            for band in ("good", "poor"):
                name = f"{band} against production" if versus else band
                found[name] = self._number({view: self._values(view, band, versus) for view in self.bands})
        return found

    def _number(self, values: Mapping[View, Sequence[int | None]]) -> Numbers:
        known = {view: [v for v in each if v is not None] for view, each in values.items()}
        found = Numbers(**{view: estimate.people(each) for view, each in known.items() if len(each) > 2})
        if "judge" in values and len(known.get("people", ())) > 2:
            both = list(zip(values["people"], values["judge"], strict=True))
            d, j = ([pair[i] or 0 for pair in both if pair[0] is not None] for i in (0, 1))
            found.combined = estimate.combined(d, j, [j or 0 for p, j in both if p is None])
        return found

    def _values(self, view: View, band: Band, versus: bool) -> list[int | None]:
        return [
            None if c is None or (versus and p is None) else (c == band) - (versus and p == band)
            for c, p in self._columns(view)
        ]

    def _columns(self, view: View) -> list[tuple[Band | None, Band | None]]:
        sets = self.bands.get(view) or [[None] * len(self.rows)]
        return [(sets[0][i], sets[1][i] if len(sets) > 1 else None) for i in range(len(self.rows))]

    def _joined(self, versions: Sequence[Answered], join: Join) -> list[list[Graded]]:
        """The checks' grades of every output, each joined with what others said about it."""
        return [
            [Graded(g.row, g.output, join(g.grades, o)) for g, o in zip(graded, v.ids, strict=True)]
            for graded, v in zip(self.graded["checks"], versions, strict=True)
        ]

    def _composites(self, sets: Sequence[Sequence[Graded]]) -> list[list[Band | None]]:
        measured = [d.name for d in self.rubric.dimensions if any(d.name in g.grades for set_ in sets for g in set_)]
        return [[composite(self.rubric, g.grades, measured) for g in set_] for set_ in sets]


def _worse(
    rubric: Rubric, checks: Mapping[str, Grade], judge: Mapping[str, Grade], asked: Sequence[str]
) -> dict[str, Grade]:
    found = {}
    for d in rubric.dimensions:
        both = [g[d.name] for g in (checks, judge) if d.name in g]
        if both:
            worst = both[0] if d.names().index(both[0].level) <= d.names().index(both[-1].level) else both[-1]
            if d.name in judge or d.name not in asked or d.band(worst.level) == "poor":
                found[d.name] = worst
    return found


def _people(rubric: Rubric, checks: Mapping[str, Grade], people: Mapping[str, Grade]) -> dict[str, Grade]:
    if not people:
        return {}
    alone = {d.name for d in rubric.dimensions if "people" not in d.graders}
    return {**people, **{name: g for name, g in checks.items() if name in alone}}
