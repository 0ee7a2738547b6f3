"""Agreement: against published values, against the definition counted out pair by pair, and where nothing is known."""

from __future__ import annotations

import random
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.agreement import Metric, alpha, alpha_interval, attenuation, cohen, confusion, fleiss

N = None
# Published worked examples, raters x units: the Wikipedia article's, and Krippendorff (2011) p. 8 ("C data" in irr).
WIKIPEDIA = [
    [N, N, N, N, N, 3, 4, 1, 2, 1, 1, 3, 3, N, 3],
    [1, N, 2, 1, 3, 3, 4, 3, N, N, N, N, N, N, N],
    [N, N, 2, 1, 3, 4, 4, N, 2, 1, 1, 3, 3, N, 4],
]
C_DATA = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]


@pytest.mark.parametrize(
    ("data", "metric", "published", "digits"),
    [
        (WIKIPEDIA, "nominal", 0.691358, 6),
        (C_DATA, "nominal", 0.743, 3),
        (C_DATA, "ordinal", 0.815, 3),
    ],
)
def test_published_values(data: list[list[float | None]], metric: Metric, published: float, digits: int) -> None:
    found = alpha(data, metric)
    assert found is not None and round(found, digits) == published


def by_definition(data: list[list[int | None]], metric: str) -> float | None:
    """1 - mean disagreement of pairs within units over that of all pairs, distances counted out by their formula."""
    units = [[row[u] for row in data if row[u] is not None] for u in range(len(data[0]))]
    units = [u for u in units if len(u) > 1]
    values = [v for u in units for v in u]
    if len(values) < 2:
        return None

    def distance(a: int, b: int) -> float:
        if metric == "nominal":
            return float(a != b)
        low, high = min(a, b), max(a, b)
        between = sum(low <= v <= high for v in values) - (values.count(a) + values.count(b)) / 2
        return 0.0 if a == b else between**2

    observed = sum(distance(a, b) / (len(u) - 1) for u in units for a, b in permutations(u, 2)) / len(values)
    expected = sum(distance(a, b) for a, b in permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - observed / expected if expected else None


@pytest.mark.parametrize("metric", ["nominal", "ordinal"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_equals_the_definition(metric: Metric, data: st.DataObject) -> None:
    units = data.draw(st.integers(1, 8))
    cell = st.one_of(st.none(), st.integers(0, 3))
    table = data.draw(st.lists(st.lists(cell, min_size=units, max_size=units), min_size=2, max_size=4))
    expected = by_definition(table, metric)
    found = alpha(table, metric)
    assert found is None if expected is None else found == pytest.approx(expected)


@given(st.lists(st.integers(0, 2), min_size=2, max_size=20).filter(lambda v: len(set(v)) > 1), st.integers(2, 4))
def test_raters_who_agree_have_alpha_one(values: list[int], raters: int) -> None:
    assert alpha([values] * raters) == pytest.approx(1)


def test_what_cannot_be_measured_is_none() -> None:
    assert alpha([[1, 2, N], [N, N, 3]]) is None, "no unit was rated twice"
    assert alpha([[1, 1], [1, 1]]) is None, "only one level was ever used"
    assert alpha([[N], [N]]) is None
    assert alpha_interval([[1, 2, N], [N, N, 3]]).value is None
    assert cohen([], [], 3).value is None and cohen([2, 2], [2, 2], 3).value is None
    assert fleiss([[2, 0], [2, 0]]) is None


def test_the_interval_covers_the_truth_of_a_simulated_rater_pair() -> None:
    """Two raters who see the true level with 85 %, else a random one: the interval holds alpha of a huge sample."""
    rng = random.Random(5)

    def pair(n: int) -> list[list[float | None]]:
        truth = [rng.choice([0, 1, 1, 2, 2, 2]) for _ in range(n)]
        return [[v if rng.random() < 0.85 else rng.randrange(3) for v in truth] for _ in range(2)]

    whole = alpha(pair(200_000))
    found = [alpha_interval(pair(100)) for _ in range(100)]
    assert whole is not None
    misses = sum(not (f.low <= whole <= f.high) for f in found if f.low is not None and f.high is not None)
    assert misses <= 12, misses


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_kappa_equals_scikit_learn(weights: str | None) -> None:
    from sklearn.metrics import cohen_kappa_score

    rng = random.Random(1)
    left = [rng.randrange(3) for _ in range(80)]
    right = [v if rng.random() < 0.7 else rng.randrange(3) for v in left]
    found = cohen(left, right, 3, weights)  # type: ignore[arg-type]
    assert found.value == pytest.approx(cohen_kappa_score(left, right, weights=weights), abs=1e-4)
    assert found.low is not None and found.high is not None and found.low < found.value < found.high  # type: ignore[operator]
    table = confusion(left, right, 3)
    assert sum(map(sum, table)) == 80 and sum(table[i][i] for i in range(3)) == sum(map(int.__eq__, left, right))


def test_fleiss_published_value() -> None:
    """Fleiss (1971), as on Wikipedia: 14 raters, 10 subjects, 5 categories, kappa 0.210."""
    table = [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]]
    table += [[7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
    found = fleiss(table)
    assert found is not None and round(found, 3) == 0.210


@pytest.mark.parametrize("error", [0.0, 0.05, 0.1, 0.2])
def test_what_raters_errors_hide_of_a_difference_shows_in_how_far_they_agree(error: float) -> None:
    """A rater who takes good for not good, and the other way round, in a share e leaves 1 - 2e of any difference."""
    rng = random.Random(7)
    truth = [rng.random() < 0.6 for _ in range(4000)]
    votes = [[2 * (good != (rng.random() < error)) for good in truth] for _ in range(2)]
    assert attenuation(votes, 2) == pytest.approx(1 - 2 * error, abs=0.03)


def test_where_a_level_is_rare_all_levels_say_what_is_hidden() -> None:
    votes = [[*rater * 10, 5] for rater in ([0, 1, 2, 2, 1, 2], [1, 1, 2, 2, 1, 2])]
    assert attenuation(votes, 5) == pytest.approx((alpha(votes) or 0) ** 0.5)
    assert attenuation([[2, 2, 2], [2, 2, N]], 2) == 1.0, "nothing is known, and nothing varies"
