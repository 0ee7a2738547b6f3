"""The three views of the same outputs, side by side and never mixed up: by checks, by checks and judge, by people.

Where check and judge both speak the worse of the two counts, because a fault that a check found is a fact. Where a
judge abstained, the dimension is not measured, whatever a check found: else the items that count would be the poor
ones. People's grades stand by themselves; only what people may not decide is filled in by the checks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

from pydantic import BaseModel

from evals import criteria, estimate
from evals.criteria import Pair, Sample
from evals.estimate import Estimate
from evals.grades import Band, Grade, Grades
from evals.rubric import Rubric
from evals.scorecard import Graded, Scorecard, by_checks, composite, scorecard
from evals.units import Unit
from factory.data.rows import Row
from factory.recipe import Gate

View = Literal["checks", "judge", "people"]
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
    """All views of some versions' answers to the same rows: the candidate, production, the anchor.

    `judged` and `people` are grades by output and dimension; `asked` the dimensions a judge was asked about, None
    without a judge. `units`: what people said item by item, which is what the gate goes by.
    """

    def __init__(
        self,
        rubric: Rubric,
        rows: Sequence[Row],
        versions: Sequence[Answered],
        judged: Grades,
        asked: Sequence[str] | None,
        people: Grades,
        units: Mapping[str, Unit],
    ) -> None:
        self.rubric, self.rows, self.versions, self.units = rubric, rows, versions, units
        self.graded: dict[View, list[list[Graded]]] = {"checks": [by_checks(rubric, rows, v.texts) for v in versions]}
        if asked is not None:
            self.graded["judge"] = self._joined(
                versions, lambda checks, o: _worse(rubric, checks, judged.get(o, {}), asked)
            )
        if people:
            self.graded["people"] = self._joined(versions, lambda checks, o: _people(rubric, checks, people.get(o, {})))

    @cached_property
    def bands(self) -> dict[View, list[list[Band | None]]]:
        """The composites, for each view version by version."""
        return {view: self._composites(sets) for view, sets in self.graded.items()}

    def card(self, view: View, version: int = 0) -> Scorecard:
        """The scorecard of the candidate (0) or of production (1); empty where the view has nothing."""
        return scorecard(self.rubric, self.graded[view][version] if view in self.graded else [])

    def pairs(self, evidence: View, other: int = 1) -> list[Pair]:
        """For the gate: per row the candidate and version `other`, by what decides and, if people do, by the judge."""
        compared = len(self.versions) > other
        strata = [{k: str(v) for k, v in r.meta.items() if isinstance(v, str | bool | int)} for r in self.rows]
        if evidence != "people":
            return [Pair(each, strata=s) for each, s in zip(self._columns(evidence, other), strata, strict=True)]
        checks = self.graded["checks"]
        alone = {d.name for d in self.rubric.dimensions if "people" not in d.graders}
        wanted = {*self.rubric.decided_by("people"), *(n for by in checks for g in by for n in g.grades if n in alone)}
        found = []
        for i, (judge, row) in enumerate(zip(self._columns("judge", other), self.rows, strict=True)):
            unit = self.units.get(row.key(), Unit(math.inf, 1.0))
            sides = [
                self._votes(unit, checks[v][i].grades, self.versions[v].ids[i], wanted) if v < len(checks) else None
                for v in (0, other)
            ]
            same = compared and self.versions[0].ids[i] == self.versions[other].ids[i]
            trusted = (None, None) if same else (sides[0], sides[1])
            found.append(Pair(trusted, judge, strata[i], same, unit.place, unit.weight, unit.asked))
        return found

    def _votes(self, unit: Unit, checks: Mapping[str, Grade], output: str, wanted: set[str]) -> list[Band] | None:
        """The composite of each vote on an output; None where one cannot be told."""
        bands = [composite(self.rubric, _people(self.rubric, checks, v), wanted) for v in unit.votes.get(output, ())]
        known = [band for band in bands if band]
        return known if known and len(known) == len(bands) else None

    def numbers(self, plan: Gate, sample: Sample | None) -> dict[str, Numbers]:
        """Good and poor rates of the candidate and their differences, with bounds, by every view.

        By people, and by people and judge, as the gate has it from `sample`: floors over what changed, differences over
        all items.
        """
        found: dict[str, Numbers] = {}
        for versus in (False, True) if len(self.versions) > 1 else (False,):
            for band in cast("tuple[Band, ...]", ("good", "poor")):
                known = {
                    view: [v for v in self._values(view, band, versus) if v is not None]
                    for view in self.bands
                    if view != "people"
                }
                numbers = Numbers(**{view: estimate.people(each) for view, each in known.items() if len(each) > 2})
                if sample and sample.graded > 2:
                    below: criteria.Side = "above" if band == "good" else "below"
                    numbers.people = criteria.measure(plan, sample, band, versus, below, judge=False)
                    if "judge" in self.bands:
                        numbers.combined = criteria.measure(plan, sample, band, versus, below)
                found[f"{band} against production" if versus else band] = numbers
        return found

    def _values(self, view: View, band: Band, versus: bool) -> list[int | None]:
        return [
            None if c is None or (versus and p is None) else (c == band) - (versus and p == band)
            for c, p in self._columns(view)
        ]

    def _columns(self, view: View, other: int = 1) -> list[tuple[Band | None, Band | None]]:
        sets = (self.bands.get(view) if view in self.graded else None) or [[None] * len(self.rows)]
        return [(sets[0][i], sets[other][i] if len(sets) > other else None) for i in range(len(self.rows))]

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
            if d.name in judge or d.name not in asked:
                found[d.name] = worst
    return found


def _people(rubric: Rubric, checks: Mapping[str, Grade], people: Mapping[str, Grade]) -> dict[str, Grade]:
    if not people:
        return {}
    alone = {d.name for d in rubric.dimensions if "people" not in d.graders}
    return {**people, **{name: g for name, g in checks.items() if name in alone}}
