"""From grades to a scorecard: shares of good, average and poor, each with the interval it is known to.

Intervals are Wilson's for a share of n independent items, two-sided 95 % (Wilson 1927; scipy's `proportion_ci`). What
no grader measured is absent: a dimension without a grade is listed under `not_measured`, and an item whose dimensions
are not all measured has no composite, even where one is poor already: else the poor ones alone would count.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from evals import estimate, fields
from evals.checks import named
from evals.grades import BANDS, Band, Grade
from evals.rubric import Dimension, Rubric
from factory.chat import run_alone
from factory.data.rows import Row

WORST_SHOWN = 10
STRATA = ("kind", "unseen", "topic", "tables", "language", "db", "about")


@dataclass(frozen=True)
class Graded:
    """One output with what its graders said; `grades` holds the measured dimensions only."""

    row: Row
    output: str
    grades: dict[str, Grade]


class Shares(BaseModel):
    """Shares of n items, 0 to 1; None where nothing was measured. `intervals` holds (low, high) for each share."""

    n: int
    good: float | None = None
    average: float | None = None
    poor: float | None = None
    intervals: dict[str, tuple[float, float]] = {}


class Worst(BaseModel):
    """An item that came out badly, with the evidence."""

    source: str
    output: str
    composite: Band
    faults: dict[str, dict[str, Any]]


class Scorecard(Shares):
    """The grades of one set of answers. Serialise with `to_json`: what is None is left out."""

    rubric: str
    rubric_hash: str
    rows: int
    dimensions: dict[str, Shares] = {}
    not_measured: list[str] = []
    strata: dict[str, dict[str, Shares]] = {}
    labels: dict[str, Any] | None = None
    figures: dict[str, float] | None = None
    fields: dict[str, Any] | None = None
    worst: list[Worst] = []

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)

    def brief(self) -> dict[str, Any]:
        """The same without its item lists, as `--json` and the tables show it."""
        return {k: v for k, v in self.to_json().items() if k not in ("worst", "strata")}


def grade_answers(rubric: Rubric, rows: Sequence[Row], outputs: Sequence[str]) -> Scorecard:
    """Grade `outputs`, one for each row, by the rubric's deterministic checks."""
    return scorecard(rubric, by_checks(rubric, rows, outputs))


def by_checks(rubric: Rubric, rows: Sequence[Row], outputs: Sequence[str]) -> list[Graded]:
    """What the checks say about each output, for the dimensions that checks may decide."""
    checks = [named(name) for dimension in rubric.dimensions for name in dimension.checks]
    each = zip(rows, outputs, strict=True)
    said = iter(_said([check(row, output, rubric.limits) for row, output in each for check in checks]))
    graded = []
    for row, output in zip(rows, outputs, strict=True):
        grades = {}
        for dimension in rubric.dimensions:
            found = [grade for _ in dimension.checks if (grade := next(said))]
            if found:
                grades[dimension.name] = _worst_of(dimension, found)
        graded.append(Graded(row, output, grades))
    return graded


def scorecard(rubric: Rubric, graded: Sequence[Graded]) -> Scorecard:
    """Shares for the composite, per dimension and per stratum; the confusion of labels; the worst items."""
    measured = [d.name for d in rubric.dimensions if any(d.name in g.grades for g in graded)]
    bands = [composite(rubric, g.grades, measured) for g in graded]
    dimensions = {
        d.name: shares(d.band(g.grades[d.name].level) for g in graded if d.name in g.grades)
        for d in rubric.dimensions
        if d.name in measured
    }
    whole, nested = shares(b for b in bands if b), any("fields" in d.checks for d in rubric.dimensions)
    return Scorecard(
        **whole.model_dump(),
        rubric=rubric.name,
        rubric_hash=rubric.hash(),
        rows=len(graded),
        dimensions=dimensions,
        not_measured=[d.name for d in rubric.dimensions if d.name not in measured],
        strata=_strata(graded, bands),
        labels=_labels(graded),
        figures=_figures(graded),
        fields=fields.table((g.row.answer, g.output) for g in graded) if nested else None,
        worst=_worst_items(rubric, graded, bands),
    )


def composite(rubric: Rubric, grades: Mapping[str, Grade], measured: Iterable[str]) -> Band | None:
    """The composite over the dimensions `measured` in this set; None where one of them is missing."""
    bands = {name: rubric.dimension(name).band(grades[name].level) for name in measured if name in grades}
    return rubric.compose(bands) if bands and all(name in grades for name in measured) else None


def shares(bands: Iterable[Band]) -> Shares:
    """Counts as shares with Wilson intervals; without a single grade there are no shares."""
    counts = Counter(bands)
    n = counts.total()
    if not n:
        return Shares(n=0)
    found = {band: estimate.proportion(counts[band], n, 0.975) for band in BANDS}
    intervals = {band: (max(0.0, e.low), min(1.0, e.high)) for band, e in found.items()}
    return Shares(n=n, intervals=intervals, **{band: e.value for band, e in found.items()})


def _said(calls: Sequence[Any]) -> list[Grade | None]:
    """What checks said; those that are coroutines are waited for side by side, in a loop of their own."""
    waiting = [call for call in calls if asyncio.iscoroutine(call)]

    async def together() -> list[Grade | None]:
        return [*await asyncio.gather(*waiting)]

    if not waiting:
        return list(calls)
    found = iter(run_alone(together()))
    return [next(found) if asyncio.iscoroutine(call) else call for call in calls]


def _worst_of(dimension: Dimension, grades: list[Grade]) -> Grade:
    """The worst verdict of several checks, at this dimension's level, with the reasons of all at that level."""
    band = min((g.level for g in grades), key=lambda level: BANDS.index(level))
    same = [g for g in grades if g.level == band]
    why = "; ".join(dict.fromkeys(g.why for g in same if g.why))
    evidence = list(dict.fromkeys(e for g in same for e in g.evidence))
    figures = {name: share for g in grades for name, share in g.figures.items()}
    return Grade(dimension.level(band), why, evidence, figures)  # type: ignore[arg-type]


def _strata(graded: Sequence[Graded], bands: Sequence[Band | None]) -> dict[str, dict[str, Shares]]:
    """Shares for each value of each stratum key that tells rows apart."""
    found: dict[str, dict[str, Shares]] = {}
    for key in STRATA:
        values = [str(g.row.meta[key]) if key in g.row.meta else None for g in graded]
        if len(set(values)) > 1:
            found[key] = {
                value: shares(b for b, v in zip(bands, values, strict=True) if b and v == value)
                for value in sorted({v for v in values if v is not None})
            }
    return found


def _figures(graded: Sequence[Graded]) -> dict[str, float] | None:
    """The mean of each figure over the rows for which a check gave it."""
    found: dict[str, list[float]] = {}
    for grade in (grade for g in graded for grade in g.grades.values()):
        for name, share in grade.figures.items():
            found.setdefault(name, []).append(share)
    return {name: round(sum(of) / len(of), 4) for name, of in found.items()} or None


def _labels(graded: Sequence[Graded]) -> dict[str, Any] | None:
    """Accuracy, macro-F1 and the confusion of gold against answered labels; None where rows have no labels.

    An answer that is no label counts as wrong, in the confusion under "(no label)".
    """
    pairs = [(str(g.row.meta["label"]), g.output.strip()) for g in graded if "label" in g.row.meta]
    if not pairs:
        return None
    from sklearn.metrics import f1_score

    known = sorted({gold for gold, _ in pairs})
    gold = [g for g, _ in pairs]
    said = [s if s in known else "(no label)" for _, s in pairs]
    confusion = sorted(Counter(zip(gold, said, strict=True)).items())
    return {
        "accuracy": round(sum(n for (g, s), n in confusion if g == s) / len(pairs), 4),
        "macro_f1": round(float(f1_score(gold, said, labels=known, average="macro", zero_division=0)), 4),
        "confusion": {name: {s: n for (g, s), n in confusion if g == name} for name in known},
    }


def _worst_items(rubric: Rubric, graded: Sequence[Graded], bands: Sequence[Band | None]) -> list[Worst]:
    """The poorest items first; among equals the order of the rows."""
    found = []
    for g, band in zip(graded, bands, strict=True):
        if band and band != "good":
            faults: dict[str, dict[str, Any]] = {
                name: {"level": grade.level, "why": grade.why, "evidence": grade.evidence}
                for name, grade in g.grades.items()
                if rubric.dimension(name).band(grade.level) != "good"
            }
            poor = sum(rubric.dimension(name).band(fault["level"]) == "poor" for name, fault in faults.items())
            found.append((-poor, -len(faults), g, band, faults))
    found.sort(key=lambda bad: bad[:2])
    return [Worst(source=g.row.source, output=g.output, composite=b, faults=f) for _, _, g, b, f in found[:WORST_SHOWN]]
