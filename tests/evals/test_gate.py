"""The gate: what it lets through, what it stops, and what it says when it cannot know."""

from __future__ import annotations

import numpy as np
import pytest

from evals import estimate
from evals.criteria import Pair, measure, sample
from evals.gate import Validity, decide
from evals.grades import Band
from factory.recipe import Gate

PEOPLE = Gate(evidence="people", min_overlap=0)
CHECKS = Gate(evidence="checks")
AGREED = Validity(alpha=0.8, overlap=30)


def band(good: object) -> Band:
    return "good" if good else "average"


def pairs(candidate: list[Band], production: list[Band], **strata: str) -> list[Pair]:
    return [Pair((c, p), strata=strata) for c, p in zip(candidate, production, strict=True)]


def many(good: int, poor: int, n: int = 200) -> list[Band]:
    return ["good"] * good + ["poor"] * poor + ["average"] * (n - good - poor)


def test_a_clearly_better_version_is_promoted() -> None:
    found = decide(CHECKS, pairs(many(190, 2), many(20, 150)), AGREED)
    assert found.decision == "PROMOTE" and found.labels == 200 and found.labels_needed is None
    assert [c.verdict for c in found.criteria] == ["holds"] * 4


def test_a_clearly_worse_version_is_rejected_and_says_why() -> None:
    found = decide(CHECKS, pairs(many(100, 60), many(190, 2)), AGREED)
    assert found.decision == "REJECT" and "good against production" in found.why


def test_a_bad_first_version_fails_the_floors() -> None:
    found = decide(CHECKS, [Pair((c, None)) for c in many(10, 180)], AGREED, compared=False)
    assert found.decision == "REJECT" and len(found.criteria) == 2


def test_more_good_does_not_pay_for_more_poor() -> None:
    found = decide(CHECKS, pairs(many(170, 30), many(150, 0)), AGREED)
    assert found.decision == "REJECT" and found.why.startswith("poor against production")


@pytest.mark.parametrize("plan", [CHECKS, PEOPLE])
def test_a_handful_of_labels_is_inconclusive_with_a_number(plan: Gate) -> None:
    more = [Pair((None, None))] * (60 if plan is PEOPLE else 0)
    found = decide(plan, [*pairs(many(5, 0, 5), many(3, 1, 5)), *more], AGREED)
    assert (found.decision, found.labels_needed) == ("INCONCLUSIVE", 35) and "label 35 more" in found.why


def test_between_the_bounds_it_asks_for_labels() -> None:
    drawn = [(True, False)] * 8 + [(False, True)] * 8 + [(True, True)] * 22 + [(False, False)] * 7
    rest = [Pair((None, None))] * 400
    found = decide(PEOPLE, [*(Pair((band(c), band(p))) for c, p in drawn), *rest], AGREED)
    assert found.decision == "INCONCLUSIVE" and found.labels_needed and found.labels_needed <= 400
    assert found.labels_needed and f"label {found.labels_needed} more" in found.why


@pytest.mark.parametrize(("good", "poor", "lies"), [(150, 50, "poor lies"), (100, 50, "good and poor lie")])
def test_on_the_limit_no_number_of_labels_is_asked_for(good: int, poor: int, lies: str) -> None:
    """Half must be good and less than a quarter poor: shares that lie right there are told from it by no sample."""
    found = decide(CHECKS, [Pair((c, None)) for c in many(good, poor)], AGREED, compared=False)
    assert found.decision == "INCONCLUSIVE" and found.labels_needed is None
    assert f"{lies} on the limit, and more than 100,000 eval rows would be needed" in found.why


@pytest.mark.parametrize(
    ("validity", "why"),
    [
        (Validity(alpha=0.1, overlap=30), "alpha"),
        (Validity(alpha=None, overlap=30), "cannot be measured"),
        (Validity(alpha=0.9, overlap=3), "graded by two people"),
        (Validity(alpha=0.9, overlap=30, abstentions=0.05), "abstained"),
        (Validity(alpha=0.9, overlap=30, unqualified=["eve"]), "eve"),
    ],
)
def test_numbers_do_not_count_before_validity(validity: Validity, why: str) -> None:
    plan = Gate(evidence="people", min_overlap=10)
    found = decide(plan, pairs(many(190, 2), many(20, 150)), validity)
    assert found.decision == "INCONCLUSIVE" and why in found.why


def test_one_confirmed_harmful_output_rejects() -> None:
    found = decide(PEOPLE, pairs(many(190, 2), many(20, 150)), Validity(alpha=0.9, overlap=30, harmful=["Kill it."]))
    assert found.decision == "REJECT" and "Kill it." in found.why


def test_harm_in_one_stratum_rejects_though_the_whole_is_fine() -> None:
    plan = Gate(strata=["kind"], margin_poor=0.2)
    fine = pairs(many(280, 0, 300), many(280, 0, 300), kind="mail")
    harmed = pairs(many(5, 0, 30), many(28, 0, 30), kind="chat")
    found = decide(plan, fine + harmed, AGREED)
    assert found.decision == "REJECT" and "kind is chat" in found.why
    assert decide(Gate(margin_poor=0.2), fine + harmed, AGREED).decision == "PROMOTE"


def test_the_plan_is_logged_with_its_hash() -> None:
    one, other = (decide(plan, [], AGREED) for plan in (CHECKS, Gate(margin_good=0.2)))
    assert one.plan["margin_good"] == 0.1 and one.plan_hash != other.plan_hash


def test_labels_needed_stays_within_the_pairs_that_are_left() -> None:
    """A point from the margin, with every pair labelled, no number helps; it once asked for 18,412 more."""
    drawn = [(True, False)] * 10 + [(False, True)] * 19 + [(True, True)] * 71
    found = decide(PEOPLE, [Pair((band(c), band(p))) for c, p in drawn], AGREED)
    assert (
        found.decision == "INCONCLUSIVE" and found.labels_needed is None and "no pairs are left to label" in found.why
    )


def test_the_plans_confidence_says_how_many_labels_are_needed() -> None:
    drawn = [Pair((band(i % 5), band((i + 1) % 5))) for i in range(60)] + [Pair((None, None))] * 900
    needed = [decide(Gate(evidence="people", confidence=c), drawn, AGREED).labels_needed for c in (0.8, 0.95, 0.99)]
    assert needed == sorted(n or 0 for n in needed) and len({*needed}) == 3


def test_equal_texts_are_a_known_zero_and_differing_pairs_count_for_their_share() -> None:
    """Half of the items are answered alike: a difference of 20 points among the others is one of 10 over all."""
    drawn = [Pair((band(i % 5 != 0), "good")) for i in range(100)]
    found = decide(PEOPLE, [*drawn, *[Pair((None, None), equal=True)] * 100], AGREED)
    good = next(c for c in found.criteria if c.name == "good against production").estimate
    assert good.value == pytest.approx(-0.1) and (found.labels, found.differ, found.items) == (100, 100, 200)


def test_only_the_pairs_up_to_the_first_unfinished_one_count() -> None:
    """Labels that came out of turn are not a random sample: whoever is quick, or an easy item, would choose it."""
    drawn = [Pair(("good", "good"), place=i) for i in range(50)]
    later = [Pair(("poor", "good"), place=i) for i in range(60, 160)]
    assert sample(PEOPLE, [*later, Pair((None, None), place=55.0), *drawn], True).graded == 50


def test_abstentions_count_at_their_worst_and_too_many_are_inconclusive() -> None:
    """The pairs that nobody can judge may be just those where the candidate is worse."""
    graded = [Pair((band(i % 2), band((i + 1) % 2))) for i in range(96)]
    lost = [Pair((None, None), asked=True)] * 4
    plan = PEOPLE.model_copy(update={"margin_good": 0.4, "margin_poor": 0.2, "min_good": 0.2})
    known, bounded = decide(plan, graded, AGREED), decide(plan, [*graded, *lost], AGREED)
    low = [next(c for c in v.criteria if c.name == "good against production").estimate.low for v in (known, bounded)]
    assert known.decision == bounded.decision == "PROMOTE" and 0.03 < low[0] - low[1] < 0.09
    found = decide(plan, [*graded, *lost, *lost], AGREED)
    assert found.decision == "INCONCLUSIVE" and "could not judge 8 of 104 pairs" in found.why


def test_an_even_split_is_a_half_and_more_votes_move_nothing() -> None:
    """Two votes that differ count a half each way; the worse of two made a false difference of 20 points."""
    once = [Pair((["good" if i % 2 else "poor"], ["good" if i % 2 else "poor"])) for i in range(60)]
    twice = [Pair((p.trusted[0], ["good", "poor"])) for p in once]
    values = [
        next(c for c in decide(PEOPLE, drawn, AGREED).criteria if c.name == "good against production").estimate.value
        for drawn in (once, twice)
    ]
    assert values == [0.0, 0.0]


def test_raters_errors_do_not_hide_a_loss() -> None:
    """Ten points worse in truth; raters who err in 15 % of votes see seven. At most 5 % + 1.4 of 500 may pass."""
    rng, passed = np.random.default_rng(8), [0, 0]
    for _ in range(500):
        truth = rng.random((160, 2)) < (0.6, 0.7)
        votes = truth ^ (rng.random((160, 2)) < 0.15)
        drawn = [Pair((band(c), band(p))) for c, p in votes]
        for i, seen in enumerate(({}, {"good": 0.7})):
            criteria = decide(PEOPLE, drawn, Validity(alpha=0.8, overlap=30, seen=seen)).criteria
            passed[i] += next(c for c in criteria if c.name == "good against production").verdict == "holds"
    assert passed[1] / 500 <= 0.064 < passed[0] / 500, passed


def test_reject_shares_its_error_among_all_criteria() -> None:
    """A version just on four limits at once: were each tested at 5 %, one in seven would be rejected by chance."""
    rng, rejected = np.random.default_rng(6), 0
    plan = Gate(min_good=0.6, max_poor=0.2, margin_good=0.1, margin_poor=0.05)
    for _ in range(400):
        new = rng.choice(["good", "average", "poor"], 150, p=[0.6, 0.2, 0.2]).tolist()
        old = rng.choice(["good", "average", "poor"], 150, p=[0.7, 0.15, 0.15]).tolist()
        rejected += decide(plan, pairs(new, old), AGREED).decision == "REJECT"
    assert rejected / 400 <= 0.064


def test_small_losses_cannot_add_up_past_the_anchor() -> None:
    against = pairs(many(120, 0), many(126, 0))
    assert decide(CHECKS, against, AGREED).decision == "PROMOTE"
    found = decide(CHECKS, against, AGREED, anchor=pairs(many(120, 0), many(170, 0)))
    assert found.decision == "REJECT" and found.why.startswith("good against the anchor")


def test_a_look_after_every_label_promotes_a_worse_version_no_more_often_than_the_plan_says() -> None:
    """Worse by just the margin, 160 pairs, looked at 31 times: at most 5 % + 1.4 may ever pass, as may fail."""
    rng, passed, failed = np.random.default_rng(3), 0, 0
    for _ in range(1000):
        d = rng.choice([1.0, 0.0, -1.0], 160, p=[0.1, 0.7, 0.2])
        looks = [estimate.sampled(d[:n], [1 / n] * n, 160, (0.95, 0.95)) for n in range(40, 161, 4)]
        passed += any(e.low > -0.1 for e in looks)
        failed += any(e.high < -0.1 for e in looks)
    assert passed / 1000 <= 0.064 and failed / 1000 <= 0.064


def test_the_power_of_looking_at_any_time_against_other_ways() -> None:
    """Brownian paths with the drift at which the fixed-sample test has 90 %: what the README says of the choice."""
    rng, t = np.random.default_rng(0), np.arange(1, 11) / 10
    paths = np.cumsum(rng.normal(size=(50_000, 10)), axis=1) / 10**0.5
    ten = np.quantile(paths.max(axis=1), 0.95)
    drawn = paths + (1.6449 + 1.2816) * t
    mixtures = [np.sqrt((t + r) * (np.log((t + r) / r) + 2 * np.log(10))) for r in (0.05, 0.1, 0.2, 0.5, 1)]
    fixed, ours, planned = (drawn[:, -1] > 1.6449).mean(), (drawn > 1.96).any(1).mean(), (drawn > ten).any(1).mean()
    assert [fixed, ours, planned] == pytest.approx([0.90, 0.85, 0.89], abs=0.01)
    assert max((drawn > m).any(axis=1).mean() for m in mixtures) == pytest.approx(0.64, abs=0.01)


def test_draws_by_known_chances_stay_unbiased() -> None:
    """Pairs on which the candidate is worse are drawn three times as heavy: weighed back, the difference is right."""
    rng, found = np.random.default_rng(4), []
    for _ in range(300):
        heavy = rng.random(200) < 0.3
        every = [
            Pair(("poor" if h else "good", "good"), place=rng.exponential() / w, weight=w)
            for h, w in zip(heavy, np.where(heavy, 1.5, 0.5), strict=True)
        ]
        every.sort(key=lambda p: p.place)
        unseen = [Pair((None, None), place=p.place, weight=p.weight) for p in every[80:]]
        s = sample(PEOPLE, [*every[:80], *unseen], True)
        assert s.graded == 80
        found.append(measure(PEOPLE, s, "good", True, "above").value + heavy.mean())
    assert abs(np.mean(found)) < 0.01


def simulated(rng: np.random.Generator, candidate: float, labels: int, items: int = 300) -> list[Pair]:
    """Items graded by a judge who is 85 % right and 15 % lenient to the candidate; `labels` of them by people too."""
    hard = rng.normal(size=items) * 0.5**0.5
    from scipy.special import ndtri

    truth = [hard + rng.normal(size=items) * 0.5**0.5 < ndtri(p) for p in (candidate, 0.7)]
    said = [t ^ (rng.random(items) > 0.85) for t in truth]
    said[0] |= rng.random(items) < 0.15
    return [
        Pair(
            (band(truth[0][i]), band(truth[1][i])) if i < labels else (None, None),
            (band(said[0][i]), band(said[1][i])),
        )
        for i in range(items)
    ]


def test_a_lenient_judge_does_not_get_a_worse_version_through() -> None:
    """10 points worse at a margin of 10: at most 7 % of 2,000 experiments may pass; by the judge alone most would."""
    rng = np.random.default_rng(11)
    passed = alone = 0
    for _ in range(2000):
        drawn = simulated(rng, 0.6, 100)
        verdict = decide(PEOPLE, drawn, AGREED)
        passed += next(c for c in verdict.criteria if c.name == "good against production").verdict == "holds"
        d = [(p.judge[0] == "good") - (p.judge[1] == "good") for p in drawn]
        alone += np.mean(d) - 1.645 * np.std(d) / len(d) ** 0.5 > -0.1
    assert passed / 2000 <= 0.07
    assert alone / 2000 > 0.5


def test_a_judge_that_abstains_on_bad_answers_does_not_tilt_the_estimate() -> None:
    """It abstains where the candidate is bad, in half of the cases; labelled or not, that counts as no difference."""
    rng, found = np.random.default_rng(5), []
    for _ in range(400):
        drawn = [
            Pair(p.trusted, (None, None) if p.judge[0] != "good" and rng.random() < 0.5 else p.judge)
            for p in simulated(rng, 0.7, 100)
        ]
        verdict = decide(PEOPLE, drawn, AGREED)
        found.append(next(c for c in verdict.criteria if c.name == "good against production").estimate)
    assert abs(np.mean([e.value for e in found])) < 0.01
    assert np.mean([e.low > 0 for e in found]) <= 0.08
