"""Bounds that hold as often as they say, simulated: 2,000 experiments each, seeds fixed, a nominal 5 % within 3-7 %."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from evals import estimate

EXPERIMENTS = 2000
HONEST = (0.03, 0.07)


def simulate(rng: np.random.Generator, items: int, candidate: float, production: float, lenient: float) -> tuple:
    """D and J of `items` items: hard ones are hard for both versions; the judge is 85 % right and lenient to one."""
    shape = (EXPERIMENTS, items)
    hard = rng.normal(size=shape) * 0.5**0.5

    def good(p: float) -> np.ndarray:
        return hard + rng.normal(size=shape) * 0.5**0.5 < norm.ppf(p)

    def judged(truth: np.ndarray, bias: float) -> np.ndarray:
        said = truth ^ (rng.random(shape) > 0.85)
        return said | (rng.random(shape) < bias)

    c, p = good(candidate), good(production)
    return c * 1.0 - p, judged(c, lenient) * 1.0 - judged(p, 0.0)


def with_judge(d: np.ndarray, j: np.ndarray, labels: int) -> list[estimate.Estimate]:
    """The first `labels` items of each experiment are graded by people too, and looked at once."""
    shares, confidences = [1 / labels] * labels, (0.9, 0.9)  # of the last look alone: 95 %
    return [estimate.sampled(x[:labels], shares, labels, confidences, y[:labels], y) for x, y in zip(d, j, strict=True)]


@pytest.mark.parametrize("labels", [40, 80, 150])
@pytest.mark.parametrize(("candidate", "lenient"), [(0.6, 0.15), (0.7, 0.0), (0.7, 0.15), (0.75, 0.15)])
def test_the_bounds_of_people_and_judge_cover(labels: int, candidate: float, lenient: float) -> None:
    d, j = simulate(np.random.default_rng(labels), 400, candidate, 0.7, lenient)
    truth, found = candidate - 0.7, with_judge(d, j, labels)
    assert HONEST[0] <= np.mean([e.low > truth for e in found]) <= HONEST[1]
    assert HONEST[0] <= np.mean([e.high < truth for e in found]) <= HONEST[1]
    assert all(0 <= (e.weight or 0) <= 1 for e in found)


def test_the_judge_makes_the_bound_tighter_and_people_alone_are_unbiased() -> None:
    d, j = simulate(np.random.default_rng(3), 400, 0.7, 0.7, 0.15)
    found = with_judge(d, j, 80)
    alone_mean, alone_se, *_ = estimate.bounds(d[:, :80])
    assert np.mean([e.se or 0 for e in found]) < 0.93 * alone_se.mean()
    assert np.mean([e.effective_n or 0 for e in found]) > 90
    assert abs(np.mean([e.value for e in found])) < 0.005 and abs(alone_mean.mean()) < 0.005
    assert abs(j.mean()) > 0.03, "the judge alone is biased, or this test shows nothing"


def test_a_useless_judge_gets_no_weight() -> None:
    rng = np.random.default_rng(4)
    d, j = rng.choice([-1, 0, 1], (1, 60)), rng.choice([-1, 0, 1], (1, 360))
    assert (with_judge(d, j, 60)[0].weight or 0) < 0.2
    assert with_judge(d, 0 * j, 60)[0].weight == 0


@pytest.mark.parametrize(
    ("better", "worse", "n"), [(0.1, 0.2, 60), (0.05, 0.15, 100), (0.02, 0.12, 150), (0.1, 0.1, 60), (0.2, 0.05, 40)]
)
def test_the_paired_bounds_cover(better: float, worse: float, n: int) -> None:
    counts = np.random.default_rng(n).multinomial(n, [better, worse, 1 - better - worse], EXPERIMENTS)
    known: dict[tuple[int, int], estimate.Estimate] = {}
    found = [known.setdefault((b, c), estimate.paired(b, c, n)) for b, c, _ in counts.tolist()]
    truth = better - worse
    for missed in (np.mean([e.low > truth for e in found]), np.mean([e.high < truth for e in found])):
        assert HONEST[0] - 0.005 <= missed <= HONEST[1]


def test_tango_published_value() -> None:
    """Tango (1998): without a discordant pair the interval is ± z² / (n + z²), for n = 44 and 95 % ± 0.0803."""
    found = estimate.paired(0, 0, 44, 0.975)
    assert (found.low, found.high) == pytest.approx((-0.0803, 0.0803), abs=1e-4)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n))))
def test_paired_bounds_are_ordered_and_symmetric(case: tuple[int, int, int]) -> None:
    n, better, worse = case
    if better + worse > n:
        return
    one, other = estimate.paired(better, worse, n), estimate.paired(worse, better, n)
    assert -1 <= one.low <= one.value <= one.high <= 1
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-3)


def test_versions_that_never_differ_are_not_known_without_doubt() -> None:
    assert estimate.people([0] * 40).low < -0.04
    assert estimate.paired(0, 0, 40).low < -0.05
    assert estimate.sampled([0] * 40, [1 / 40] * 40, 40, (0.9, 0.9), [0] * 40, [0] * 140).low < -0.04


def test_shares_and_mcnemar() -> None:
    assert estimate.proportion(0, 20).low == 0 and estimate.proportion(20, 20).high == 1
    assert estimate.mcnemar(10, 10) == 1
    assert estimate.mcnemar(8, 0) == pytest.approx(2 * 0.5**8)


def test_the_number_of_labels_asked_for_settles_it_four_times_in_five() -> None:
    """Draw 60 labels, ask how many more, draw those: the bound clears the threshold in about 80 % of experiments."""
    rng = np.random.default_rng(7)
    p, threshold = [0.15, 0.65, 0.2], -0.1
    needed = estimate.rows_needed(np.repeat([1, 0, -1], [9, 39, 12]), threshold)  # the shares themselves, 60 labels
    drawn = rng.choice([1, 0, -1], (EXPERIMENTS, 60 + needed), p=p)
    settled = (estimate.bounds(drawn)[2] > threshold).mean()
    assert 0.75 <= settled <= 0.87, (needed, settled)


def test_a_difference_on_the_threshold_never_settles() -> None:
    assert estimate.rows_needed([1] * 10 + [0] * 10 + [-1] * 10, 0.0, limit=5000) == 5000
    assert estimate.labels_needed(0.0, 0.1, 30, 5000, 0.0, 0.95) is None


def test_length_effect_and_flips() -> None:
    rng = np.random.default_rng(2)
    words = rng.integers(5, 80, 300)
    trusted = rng.choice([0, 0.5, 1], 300)
    found = estimate.length_effect(trusted + 0.1 * np.log2(words) + rng.normal(0, 0.1, 300), trusted, words)
    assert found is not None and found.low < 0.1 < found.high and found.low > 0
    assert estimate.length_effect([1], [1], [5]) is None
