"""May this version go to production? PROMOTE, REJECT or INCONCLUSIVE, by a plan that was fixed beforehand.

Each criterion is a difference or a share with one-sided bounds held against a threshold: it *holds* when the bound is
on the right side, *fails* when the other bound is on the wrong side, and is *open* between. All must hold for PROMOTE,
so no correction for their number is needed (intersection-union); one that fails is enough for REJECT; else
INCONCLUSIVE, with the number of labels that would settle it. Both rates are needed: a version can be good more often
and poor more often too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from evals import estimate
from evals.estimate import Estimate
from evals.grades import Band
from factory.home import digest
from factory.recipe import Gate

Decision = Literal["PROMOTE", "REJECT", "INCONCLUSIVE"]
MOST = 100_000  # labels that anybody may be asked for; what needs more lies on its limit, as far as one can tell


@dataclass(frozen=True)
class Pair:
    """One item with the composite of the candidate and of production; None where it was not graded.

    `trusted` is what decides (checks, or people as the plan says), `judge` what only helps.
    """

    trusted: tuple[Band | None, Band | None]
    judge: tuple[Band | None, Band | None] = (None, None)
    strata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Validity:
    """What must be in order before any number counts. None means that it was not measured or does not apply."""

    abstentions: float | None = None
    alpha: float | None = None
    overlap: int = 0
    unqualified: Sequence[str] = ()
    harmful: Sequence[str] = ()


class Criterion(BaseModel):
    """`value` with its bounds must lie above (or below) `threshold`."""

    name: str
    estimate: Estimate
    must_be: Literal["above", "below"]
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


class Verdict(BaseModel):
    """The gate's answer with everything it rests on. `labels_needed` is None when more labels would change nothing.

    `mcnemar` is the p-value of a difference in good rates where checks decide: what a significance test would say.
    """

    decision: Decision
    why: str
    labels_needed: int | None = None
    labels: int
    mcnemar: float | None = None
    criteria: list[Criterion] = []
    plan: dict[str, Any]
    plan_hash: str


def decide(plan: Gate, pairs: Sequence[Pair], validity: Validity, compared: bool = True) -> Verdict:
    """The verdict on a candidate. `compared` is False where there is no production version: only the floors count."""
    labelled = [p for p in pairs if p.trusted[0] and (p.trusted[1] or not compared)]
    kind = "eval rows" if plan.evidence == "checks" else "items"

    def verdict(decision: Decision, why: str, needed: int | None = None, criteria: Sequence[Criterion] = ()) -> Verdict:
        plan_json = plan.model_dump(mode="json")
        return Verdict(
            decision=decision,
            why=why,
            labels_needed=needed,
            labels=len(labelled),
            mcnemar=_mcnemar(labelled) if plan.evidence == "checks" and compared and labelled else None,
            criteria=[*criteria],
            plan=plan_json,
            plan_hash=digest(plan_json),
        )

    if validity.harmful:
        return verdict(
            "REJECT", f"{len(validity.harmful)} harmful outputs, confirmed by people: {validity.harmful[0]!r}"
        )
    if len(labelled) < plan.min_labels:
        missing = plan.min_labels - len(labelled)
        return verdict(
            "INCONCLUSIVE",
            f"{len(labelled)} graded {kind}, at least {plan.min_labels} needed: label {missing} more",
            missing,
        )
    if trouble := _invalid(plan, validity):
        return verdict("INCONCLUSIVE", trouble)

    rows = _criteria(plan, pairs, labelled, compared)
    criteria = [c for c, _ in rows]
    failed = [c for c in criteria if c.verdict == "fails"]
    if failed:
        return verdict("REJECT", "; ".join(c.says() for c in failed), criteria=criteria)
    if all(c.verdict == "holds" for c in criteria):
        return verdict("PROMOTE", "; ".join(c.says() for c in criteria), criteria=criteria)
    needed = {c.name: needed() for c, needed in rows if c.verdict == "open"}
    why = "; ".join(c.says() for c in criteria if c.verdict == "open")
    if on_limit := [name for name, labels in needed.items() if labels >= MOST]:
        lies = f"{' and '.join(on_limit)} {'lies' if len(on_limit) == 1 else 'lie'} on the limit"
        why = f"{why}: {lies}, and more than {MOST:,} {kind} would be needed to settle it"
        return verdict("INCONCLUSIVE", why, None, criteria)
    most = max(needed.values())
    return verdict("INCONCLUSIVE", f"{why}: label {most} more {kind} to settle it", most, criteria)


def _invalid(plan: Gate, v: Validity) -> str:
    if v.abstentions is not None and v.abstentions > plan.max_abstentions:
        allowed = f"at most {plan.max_abstentions:.1%} allowed: take another judge, or none (gate.judge=)"
        return f"the judge abstained on {v.abstentions:.1%}, {allowed}"
    if plan.evidence == "checks":
        return ""
    if v.unqualified:
        return f"grades by people who are not qualified: {', '.join(v.unqualified)}"
    if v.overlap < plan.min_overlap:
        return f"{v.overlap} outputs graded by two people, {plan.min_overlap} needed to know how far they agree"
    if v.alpha is None or v.alpha < plan.min_alpha:
        said = "cannot be measured" if v.alpha is None else f"is {v.alpha:.2f}"
        return f"the agreement of people (alpha) {said}, at least {plan.min_alpha:.2f} needed: sharpen the rubric first"
    return ""


def _criteria(
    plan: Gate, pairs: Sequence[Pair], labelled: Sequence[Pair], compared: bool
) -> list[tuple[Criterion, Callable[[], int]]]:
    """The plan's criteria, each with a function that says how many labels more would settle it."""
    unlabelled = [p for p in pairs if not (p.trusted[0] and (p.trusted[1] or not compared))]
    rest = unlabelled if any(p.judge[0] for p in pairs) else []
    found: list[tuple[Criterion, Callable[[], int]]] = []

    def add(name: str, band: Band, versus: bool, must_be: Literal["above", "below"], threshold: float) -> None:
        d, j, more = (_values(ps, band, versus, who) for ps, who in ((labelled, 0), (labelled, 1), (rest, 1)))
        e = _estimate(plan, d, j, more, versus)
        found.append(
            (_judged(name, e, must_be, threshold), lambda: estimate.labels_needed(d, threshold, j, more, MOST))
        )

    add("good", "good", False, "above", plan.min_good)
    add("poor", "poor", False, "below", plan.max_poor)
    if not compared:
        return found
    add("good against production", "good", True, "above", -plan.margin_good)
    add("poor against production", "poor", True, "below", plan.margin_poor)
    strata = sorted({(key, p.strata[key]) for p in labelled for key in plan.strata if key in p.strata})
    for key, value in strata:
        d = _values([p for p in labelled if p.strata.get(key) == value], "good", True, 0)
        confidence = 1 - (1 - plan.confidence) / len(strata)  # Bonferroni: any one of them can reject
        e = estimate.paired(d.count(1), d.count(-1), len(d), confidence)
        row = _judged(f"good against production where {key} is {value}", e, "above", -plan.margin_good)
        if row.verdict == "fails":  # a stratum is too small to prove anything but harm
            found.append((row, lambda: 0))
    return found


def _mcnemar(labelled: Sequence[Pair]) -> float:
    d = _values(labelled, "good", True, 0)
    return round(estimate.mcnemar(d.count(1), d.count(-1)), 4)


def _judged(name: str, e: Estimate, must_be: Literal["above", "below"], threshold: float) -> Criterion:
    holds = e.low > threshold if must_be == "above" else e.high < threshold
    fails = e.high < threshold if must_be == "above" else e.low > threshold
    verdict: Literal["holds", "fails", "open"] = "holds" if holds else "fails" if fails else "open"
    return Criterion(name=name, estimate=e, must_be=must_be, threshold=threshold, verdict=verdict)


def _values(pairs: Sequence[Pair], band: Band, versus: bool, who: int) -> list[int]:
    """1, 0 or -1 per item: whether the candidate is in the band, less whether production is.

    Where the judge abstained it counts as seeing no difference, on the labelled items and on the others alike: the
    combined estimate stays right for any such rule.
    """
    graded = [p.judge if who else p.trusted for p in pairs]
    return [(c == band) - (versus and b == band) if c and (b or not versus) else 0 for c, b in graded]


def _estimate(plan: Gate, d: list[int], j: list[int], more: list[int], versus: bool) -> Estimate:
    if plan.evidence == "people":
        return estimate.combined(d, j, more, plan.confidence)
    if versus:
        return estimate.paired(d.count(1), d.count(-1), len(d), plan.confidence)
    return estimate.proportion(sum(d), len(d), plan.confidence)
