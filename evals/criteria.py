"""The pairs of a comparison, which of them count by now, and the criteria that the gate holds against its plan.

How people's labels are drawn and what that means for the estimates stands in `evals/README.md`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel

from evals import estimate
from evals.estimate import Estimate
from evals.grades import Band
from factory.recipe import Gate

MOST = 100_000  # rows that anybody may be asked for; what needs more lies on its limit, as far as one can tell
Votes = Band | Sequence[Band] | None
Needed = Callable[[], int | None]
Side = Literal["above", "below"]


@dataclass(frozen=True)
class Pair:
    """One item with the composite of the candidate and of the other version; None where it was not graded.

    `trusted` is what decides (by checks, or by people with a band for each vote), `judge` what only helps. `equal`: the
    texts are the same. `place` and `weight` are the pair's in the random order; `asked`: people are through with it.
    """

    trusted: tuple[Votes, Votes]
    judge: tuple[Band | None, Band | None] = (None, None)
    strata: Mapping[str, str] = field(default_factory=dict)
    equal: bool = False
    place: float = 0.0
    weight: float = 1.0
    asked: bool = False


class Criterion(BaseModel):
    """`value` with its bounds must lie above (or below) `threshold`."""

    name: str
    estimate: Estimate
    must_be: Side
    threshold: float
    verdict: Literal["holds", "fails", "open"]

    def says(self) -> str:
        """Such as `good against production -2.0 % (surely above -6.1 %, must be above -10.0 %)`."""
        e, above = self.estimate, self.must_be == "above"
        sign = "+" if "against" in self.name else ""
        value, low, high, threshold = (f"{100 * v:{sign}.1f} %" for v in (e.value, e.low, e.high, self.threshold))
        surely = f"surely above {low}" if above == (self.verdict == "holds") else f"surely below {high}"
        known = f"between {low} and {high}" if self.verdict == "open" else surely
        return f"{self.name} {value} ({known}, must be {self.must_be} {threshold})"


@dataclass(frozen=True)
class Sample:
    """The pairs of one comparison: `drawn` are those that count by now, `left` how many could still be labelled.

    `scale` is the share of items that can differ, and `most` the number of pairs at which looking ends. `seen`: how
    much of a true difference in a band raters' errors leave to be seen; 1 where it is not said.
    """

    every: Sequence[Pair]
    drawn: Sequence[Pair]
    shares: Sequence[float]
    scale: float
    most: int
    compared: bool
    seen: Mapping[Band, float] = field(default_factory=dict)

    @property
    def graded(self) -> int:
        return sum(complete(p, self.compared) for p in self.drawn)

    @property
    def left(self) -> int:
        return self.most - len(self.drawn)


def sample(plan: Gate, pairs: Sequence[Pair], compared: bool, seen: Mapping[Band, float] | None = None) -> Sample:
    """The pairs that differ, and of them the first in the random order up to the first that is not finished."""
    every = sorted((p for p in pairs if not (compared and p.equal)), key=lambda p: p.place)
    most = min(len(every), plan.labels or len(every))
    done = 0
    while done < most and (complete(every[done], compared) or every[done].asked):
        done += 1
    drawn = every[:done]
    if len({p.weight for p in drawn}) > 1 and done < len(every):
        # Rank conditioning (Duffield, Lund and Thorup 2007): given the next place, each is in with a known chance.
        inverse = [1 / -math.expm1(-p.weight * every[done].place) for p in drawn]
    else:
        inverse = [1.0] * done
    total = sum(inverse)
    scale = len(every) / len(pairs) if compared and pairs else 1.0
    return Sample(every, drawn, [i / total for i in inverse], scale, most, compared, seen or {})


def checked(pairs: Sequence[Pair], compared: bool) -> Sample:
    """The pairs that checks graded: all there is to draw."""
    every = [p for p in pairs if complete(p, compared)]
    return Sample(every, every, [1.0] * len(every), 1.0, len(every), compared)


def asked(plan: Gate, sets: Sequence[Sample], compared: bool) -> list[tuple[Criterion, Needed]]:
    """The plan's criteria, each with a function that says how many labels (or rows) more would settle it. `sets`: the
    comparison with production, and with the anchor if there is one."""
    whole, found = sets[0], list[tuple[Criterion, Needed]]()
    known = {(key, p.strata[key]) for p in whole.drawn for key in plan.strata if key in p.strata}
    strata = sorted(known) if compared else []  # each is too small to prove anything but harm
    against = list(zip(sets, ("production", "the anchor"), strict=False)) if compared else []
    upper = 1 - (1 - plan.confidence) / (2 + 2 * len(against) + len(strata))

    def add(name: str, s: Sample, band: Band, versus: bool, must_be: Side, limit: float, harm: bool = False) -> None:
        given = (plan, s, band, versus, must_be, upper)
        e = measure(*given) if plan.evidence == "people" else _of_rows(*given)
        row = _judged(name, e, must_be, limit, 1.0 if versus or not compared else s.scale)
        if row.verdict == "fails" or not harm:
            found.append((row, lambda: _needed(plan, s, e, band, versus, limit)))

    if whole.every:
        add("good", whole, "good", False, "above", plan.min_good)
        add("poor", whole, "poor", False, "below", plan.max_poor)
    for s, other in against:
        add(f"good against {other}", s, "good", True, "above", -plan.margin_good)
        add(f"poor against {other}", s, "poor", True, "below", plan.margin_poor)
    for key, value in strata:
        of = [p for p in whole.every if p.strata.get(key) == value]
        drawn = [(p, w) for p, w in zip(whole.drawn, whole.shares, strict=True) if p.strata.get(key) == value]
        total = sum(w for _, w in drawn)
        part = Sample(of, [p for p, _ in drawn], [w / total for _, w in drawn], 1.0, len(of), True, whole.seen)
        add(f"good against production where {key} is {value}", part, "good", True, "above", -plan.margin_good, True)
    return found


def _needed(plan: Gate, s: Sample, e: Estimate, band: Band, versus: bool, limit: float) -> int | None:
    if plan.evidence == "people":
        return estimate.labels_needed(e.value, e.se or 0.0, e.n, s.most, limit, plan.confidence)
    d = [_value(p.trusted, band, versus) for p in s.drawn]
    return estimate.rows_needed(d, limit, plan.confidence, MOST)


def measure(
    plan: Gate, s: Sample, band: Band, versus: bool, must_be: Side, upper: float = 0.0, judge: bool = True
) -> Estimate:
    """A share or a difference over all items from the pairs drawn; `upper` is the confidence of the bound that rejects.

    Pairs without a grade are in the one bound at their worst and in the other at their best. A difference is the true
    one: what raters' errors hide of it is put back.
    """
    lowest, scale = (-1.0, s.scale) if versus else (0.0, 1.0)
    if not s.drawn:
        return Estimate(value=0.0, low=lowest * scale, high=scale, n=0)
    seen = s.seen.get(band, 1.0) if versus else 1.0
    upper = upper or plan.confidence
    confidences = (plan.confidence, upper) if must_be == "above" else (upper, plan.confidence)
    every = [_value(p.judge, band, versus) for p in s.every] if judge and any(p.judge[0] for p in s.every) else []
    j = every[: len(s.drawn)]  # the drawn pairs are the first ones

    trusted = [_value(p.trusted, band, versus) if complete(p, s.compared) else None for p in s.drawn]

    def of(missing: float) -> Estimate:
        d = [missing if value is None else value for value in trusted]
        return estimate.sampled(d, s.shares, s.most, confidences, j, every)

    middle = of(0.0 if versus else 0.5)
    low, high = (of(lowest).low, of(1.0).high) if None in trusted else (middle.low, middle.high)
    found = {"value": middle.value, "low": low, "high": high}
    scaled = {name: round(min(max(value / seen, lowest), 1.0) * scale, 4) for name, value in found.items()}
    return middle.model_copy(update={**scaled, "se": (middle.se or 0.0) * scale / seen})


def _of_rows(plan: Gate, s: Sample, band: Band, versus: bool, must_be: Side, upper: float) -> Estimate:
    """The same where checks graded every row: one look, so Wilson's and Tango's bounds."""
    d = [_value(p.trusted, band, versus) for p in s.drawn]
    low, high = (plan.confidence, upper) if must_be == "above" else (upper, plan.confidence)
    if versus:
        return estimate.paired(d.count(1), d.count(-1), len(d), low, high)
    return estimate.proportion(round(sum(d)), len(d), low, high)


def mcnemar(labelled: Sequence[Pair]) -> float:
    d = [_value(p.trusted, "good", True) for p in labelled]
    return round(estimate.mcnemar(d.count(1), d.count(-1)), 4)


def _judged(name: str, e: Estimate, must_be: Side, threshold: float, part: float) -> Criterion:
    """`part` is the share of items that the estimate speaks of: to fail, the others must not be able to mend it."""
    holds = e.low > threshold if must_be == "above" else e.high < threshold
    fails = e.high * part + 1 - part < threshold if must_be == "above" else e.low * part > threshold
    verdict: Literal["holds", "fails", "open"] = "holds" if holds else "fails" if fails else "open"
    return Criterion(name=name, estimate=e, must_be=must_be, threshold=threshold, verdict=verdict)


def complete(p: Pair, compared: bool) -> bool:
    return bool(p.trusted[0]) and (bool(p.trusted[1]) or not compared)


def _value(said: tuple[Votes, Votes], band: Band, versus: bool) -> float:
    """How far the candidate is in the band (0 to 1), less how far the other is.

    Where a judge abstained it counts as seeing no difference, on the labelled items and on the others alike: the
    estimate stays right for any such rule.
    """
    if not said[0] or (versus and not said[1]):
        return 0.0
    return _share(said[0], band) - (_share(said[1], band) if versus else 0.0)


def _share(said: Votes, band: Band) -> float:
    if isinstance(said, str) or not said:
        return float(said == band)
    return said.count(band) / len(said)
