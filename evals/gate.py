"""May this version go to production? PROMOTE, REJECT or INCONCLUSIVE, by a plan that was fixed beforehand.

Each criterion is a difference or a share with one-sided bounds held against a threshold: it *holds* when the bound is
on the right side, *fails* when the other bound is on the wrong side, and is *open* between. All must hold for PROMOTE,
so no correction for their number is needed (intersection-union). One that fails is enough for REJECT, so there the
error is shared out among all of them (Bonferroni). Else INCONCLUSIVE, with the number of labels that would settle it.

Where people decide the unit is the pair: an item with the outputs of both versions. How pairs are drawn, what is done
about those that are equal or that nobody can judge, and about raters' errors, stands in `evals/README.md`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel

from evals.criteria import MOST, Criterion, Needed, Pair, Sample, asked, checked, mcnemar, sample
from evals.grades import Band
from factory.home import digest
from factory.recipe import Gate

Decision = Literal["PROMOTE", "REJECT", "INCONCLUSIVE"]


@dataclass(frozen=True)
class Validity:
    """What must be in order before any number counts. None means that it was not measured or does not apply.

    `harmful` outputs are confirmed, by the lead or by two people; `doubtful` ones were called so by one person. `seen`
    is what raters' errors leave of a true difference, by band.
    """

    abstentions: float | None = None
    alpha: float | None = None
    overlap: int = 0
    unqualified: Sequence[str] = ()
    harmful: Sequence[str] = ()
    doubtful: int = 0
    seen: Mapping[Band, float] = field(default_factory=dict)


class Verdict(BaseModel):
    """The gate's answer with everything it rests on. `labels_needed` is None when more labels would change nothing.

    Labels are counted in items (pairs): `labels` were used of `differ` that could be, of `items` in all. `looks` says
    how often the gate looked at this comparison, `terms` what it was decided under (`evals.frozen`). `mcnemar` is the
    p-value of a difference in good rates where checks decide: what a significance test would say. `seen`: what raters'
    errors left to be seen of a true difference, and was put back. `weighed`: drawn by the judge's uncertainty.
    """

    decision: Decision
    why: str
    labels_needed: int | None = None
    labels: int
    differ: int = 0
    items: int = 0
    missing: int = 0
    looks: int = 1
    seen: dict[Band, float] = {}
    weighed: bool = False
    terms: dict[str, Any] = {}
    mcnemar: float | None = None
    criteria: list[Criterion] = []
    sentence: str = ""
    plan: dict[str, Any]
    plan_hash: str


def decide(
    plan: Gate, pairs: Sequence[Pair], validity: Validity, compared: bool = True, anchor: Sequence[Pair] = ()
) -> Verdict:
    """The verdict on a candidate. `compared` is False where there is no production version: only the floors count.

    `anchor`: the same items against the anchor, where that is another version than production.
    """
    people = plan.evidence == "people"
    draw: Callable[..., Sample] = partial(sample, plan, seen=validity.seen) if people else checked
    fixed = [draw(anchor, compared=True)] if anchor else []
    sets = [draw(pairs, compared=compared), *(s for s in fixed if people or s.every)]
    labels, kind = sets[0].graded, "eval rows" if not people else "pairs" if compared else "items"

    def verdict(decision: Decision, why: str, needed: int | None = None, criteria: Sequence[Criterion] = ()) -> Verdict:
        plan_json = plan.model_dump(mode="json")
        return Verdict(
            decision=decision,
            why=why,
            labels_needed=needed,
            labels=labels,
            differ=len(sets[0].every) if people else len(pairs),
            items=len(pairs),
            missing=len(sets[0].drawn) - labels,
            seen=dict(validity.seen) if people and compared else {},
            weighed=len({p.weight for p in sets[0].every}) > 1,
            mcnemar=mcnemar(sets[0].drawn) if not people and compared and labels else None,
            criteria=[*criteria],
            plan=plan_json,
            plan_hash=digest(plan_json),
        )

    if validity.harmful:
        return verdict(
            "REJECT", f"{len(validity.harmful)} harmful outputs, confirmed by people: {validity.harmful[0]!r}"
        )
    if short := _short(plan, sets, kind):
        return verdict("INCONCLUSIVE", *short)
    if trouble := _invalid(plan, validity, sets):
        return verdict("INCONCLUSIVE", trouble)

    rows = asked(plan, sets, compared)
    criteria = [c for c, _ in rows]
    failed = [c for c in criteria if c.verdict == "fails"]
    if failed:
        return verdict("REJECT", "; ".join(c.says() for c in failed), criteria=criteria)
    if all(c.verdict == "holds" for c in criteria):
        return verdict("PROMOTE", "; ".join(c.says() for c in criteria), criteria=criteria)
    why, most = _left_open(rows, sets[0] if people else None, kind)
    return verdict("INCONCLUSIVE", why, most, criteria)


def _left_open(rows: Sequence[tuple[Criterion, Needed]], people: Sample | None, kind: str) -> tuple[str, int | None]:
    """Why criteria are open, and how many labels more would settle them; None where none would."""
    needed = {c.name: needed() for c, needed in rows if c.verdict == "open"}
    why = "; ".join(c.says() for c, _ in rows if c.verdict == "open")
    if never := [name for name, labels in needed.items() if labels is None or labels >= MOST]:
        lies = f"{' and '.join(never)} {'lies' if len(never) == 1 else 'lie'} on the limit"
        rest = f"more than {MOST:,} eval rows would be needed to settle it"
        if people:
            left = f"the {people.left} {kind} left are too few" if people.left else f"no {kind} are left to label"
            rest = f"{left}: more eval rows, or another version"
        return f"{why}: {lies}, and {rest}", None
    most = max(labels or 0 for labels in needed.values())
    return f"{why}: {'label' if people else 'write'} {most:,} more {kind} to settle it", most


def _short(plan: Gate, sets: Sequence[Sample], kind: str) -> tuple[str, int | None] | None:
    """Why there are too few labels to begin with, and how many are missing."""
    if plan.evidence == "checks":
        missing = plan.min_labels - sets[0].graded
        told = f"{sets[0].graded} graded {kind}, at least {plan.min_labels} needed: label {missing} more"
        return (told, missing) if missing > 0 else None
    for s, of in zip(sets, ("", " against the anchor"), strict=False):
        wanted = min(plan.min_labels, s.most)
        missing = wanted - s.graded
        if missing > s.left:
            return f"{s.graded} graded {kind}{of}, {wanted} needed, and only {s.left} left to label", None
        if missing > 0:
            return f"{s.graded} graded {kind}{of}, at least {wanted} needed: label {missing} more", missing
    return None


def _invalid(plan: Gate, v: Validity, sets: Sequence[Sample]) -> str:
    if v.abstentions is not None and v.abstentions > plan.max_abstentions:
        allowed = f"at most {plan.max_abstentions:.1%} allowed: take another judge, or none (gate.judge=)"
        return f"the judge abstained on {v.abstentions:.1%}, {allowed}"
    if plan.evidence == "checks":
        return ""
    for s in sets:
        missing = len(s.drawn) - s.graded
        if missing > plan.max_missing * len(s.drawn):
            told = f"people could not judge {missing} of {len(s.drawn)} pairs, at most {plan.max_missing:.0%} allowed"
            return f"{told}: which side they would have favoured is not known; say in the rubric how to judge these"
    if v.unqualified:
        return f"grades by people who are not qualified: {', '.join(v.unqualified)}"
    if v.doubtful:
        return f"{v.doubtful} outputs were called harmful by one person: a lead has to settle them"
    if not sets[0].drawn:
        return ""
    if v.overlap < plan.min_overlap:
        return f"{v.overlap} outputs graded by two people, {plan.min_overlap} needed to know how far they agree"
    if v.alpha is None or v.alpha < plan.min_alpha:
        said = "cannot be measured" if v.alpha is None else f"is {v.alpha:.2f}"
        return f"the agreement of people (alpha) {said}, at least {plan.min_alpha:.2f} needed: sharpen the rubric first"
    return ""


def sentence(v: Verdict, candidate: str, against: str, by: str) -> str:
    """What was compared, by whom, on how many pairs, how often it was looked at, and what would change the verdict.

    Two more sentences, where it applies: what raters' errors hide, and how many labels the judge saved.
    """
    times = "once" if v.looks == 1 else f"{v.looks} times"
    on = f"{v.labels} of {v.differ} eval rows"
    if v.plan["evidence"] == "people":
        every = v.labels == v.differ
        on = f"{'all' if every else f'{v.labels} of the'} {v.differ} pairs that differ"
        beside = [
            *(["first those that the judge is least sure of"] if v.weighed and not every else []),
            *([f"{v.items - v.differ} more are answered alike"] if v.items > v.differ else []),
            *([f"{v.missing} could not be judged"] if v.missing else []),
        ]
        on += f" ({', '.join(beside)})" if beside else ""
    if v.decision == "PROMOTE":
        change = "a confirmed harmful output, another plan or another version in production would change the verdict"
    elif v.decision == "REJECT":
        change = "only another version would change the verdict"
    elif v.labels_needed:
        change = f"about {v.labels_needed} labels more would settle it"
    elif v.criteria:
        change = "only more eval rows or another version would change the verdict"
    else:
        change = "more labels alone would not change the verdict: first mend what the gate names"
    told = f"{candidate} was held against {against} by {by} on {on} and looked at {times}; {change}."
    return told + _hidden(v) + _saved(v)


def _hidden(v: Verdict) -> str:
    hidden = {band: round(100 * (1 - v.seen[band])) for band in ("good", "poor") if v.seen.get(band, 1.0) < 0.995}
    if not hidden or not v.criteria:
        return ""
    much = " and ".join(f"{share} % in {band}" for band, share in hidden.items())
    so = "(by how far two agree on one output); the differences given make up for it"
    return f" Raters' errors hide a part of each difference, {much} {so}."


def _saved(v: Verdict) -> str:
    """Against a simple random sample without a judge; by the difference for which the judge did least."""
    worth = [e.effective_n for c in v.criteria if "against" in c.name and (e := c.estimate).effective_n]
    if not worth:
        return ""
    saved = round(min(worth)) - v.labels
    told = f"told as much as {v.labels + saved} drawn at random and without it: {saved} saved"
    return f" With the judge {v.labels} labels {told if saved > 0 else 'told no more than as many without it'}."
