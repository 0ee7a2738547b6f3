"""How far graders agree: Krippendorff's alpha, Cohen's kappa, Fleiss' kappa (statsmodels), bootstrap intervals.

Alpha (Krippendorff 2011, "Computing Krippendorff's alpha-reliability") is 1 - observed / expected disagreement over
pairs of values in the same unit. It takes any number of raters and missing values, and weighs a miss by two levels more
than a miss by one. What cannot be measured (nobody rated twice, only one level ever used) is None, never 0 or 1.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel

Metric = Literal["nominal", "ordinal"]
RESAMPLES = 1000
FEWEST = 5  # units of either kind, graded twice, below which all levels tell more than "is it this one?"
SEED = 20240731


class Agreement(BaseModel):
    """A coefficient, its 95 % percentile-bootstrap interval over units, and the number of units it rests on."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int


def alpha(ratings: Sequence[Sequence[float | None]], metric: Metric = "ordinal") -> float | None:
    """Krippendorff's alpha of `ratings`, raters x units, None where a rater did not rate a unit."""
    values, counts = _counts(ratings)
    found = _alpha(_coincidences(counts).sum(axis=0)[None], values, metric)[0]
    return None if np.isnan(found) else float(found)


def alpha_interval(ratings: Sequence[Sequence[float | None]]) -> Agreement:
    """Ordinal alpha with its interval: units are drawn again with replacement, all their ratings together."""
    values, counts = _counts(ratings)
    units = _coincidences(counts)
    paired = int((counts.sum(axis=1) >= 2).sum())
    whole = _alpha(units.sum(axis=0)[None], values, "ordinal")[0]
    if np.isnan(whole):
        return Agreement(value=None, n=paired)
    weights = np.random.default_rng(SEED).multinomial(len(units), np.full(len(units), 1 / len(units)), RESAMPLES)
    drawn = _alpha(np.einsum("bu,ucd->bcd", weights, units), values, "ordinal")
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Agreement(value=round(float(whole), 4), low=round(float(low), 4), high=round(float(high), 4), n=paired)


def attenuation(ratings: Sequence[Sequence[float | None]], value: float) -> float:
    """The part of a true difference in the share of `value` that is left to be seen when raters err, 0.5 to 1.

    Errors that strike both sides alike leave J = sensitivity + specificity - 1 of a difference of two shares (Rogan and
    Gladen 1978). Two raters who err independently of each other agree on "is it `value`?" with a kappa of J², where it
    is seen about as often as it is true; so J is the root of alpha. Errors that raters share cannot be seen this way.
    """
    is_it = [[None if v is None else float(v == value) for v in row] for row in ratings]
    twice = [said for unit in zip(*is_it, strict=True) if len(said := [v for v in unit if v is not None]) > 1]
    rare = min(sum(kind in said for said in twice) for kind in (0.0, 1.0)) < FEWEST
    found = alpha(ratings) if rare else alpha(is_it, "nominal")
    return 1.0 if found is None else float(np.clip(found, 0.25, 1)) ** 0.5


def cohen(
    left: Sequence[int], right: Sequence[int], levels: int, weights: Literal["linear", "quadratic"] | None = None
) -> Agreement:
    """Cohen's kappa of two graders over the same items; levels are 0..levels-1, `weights` by their distance.

    The interval draws the confusion table again from its own shares, all draws at once: statsmodels takes 0.7 s.
    """
    table = np.array(confusion(left, right, levels), float)
    n = int(table.sum())
    apart = np.abs(np.subtract.outer(np.arange(levels), np.arange(levels)))
    cost = {None: (apart > 0).astype(float), "linear": apart, "quadratic": apart**2}[weights]
    if not n or np.isnan(value := _kappa(table[None], cost)[0]):
        return Agreement(value=None, n=n)
    drawn = np.random.default_rng(SEED).multinomial(n, (table / n).ravel(), RESAMPLES)
    low, high = np.nanpercentile(_kappa(drawn.reshape(-1, levels, levels), cost), [2.5, 97.5])
    return Agreement(value=round(float(value), 4), low=round(float(low), 4), high=round(float(high), 4), n=n)


def _kappa(tables: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """1 - observed / expected cost of B confusion tables (B x levels x levels); NaN where only one level was used."""
    shares = tables / tables.sum(axis=(1, 2), keepdims=True)
    chance = shares.sum(axis=2)[:, :, None] * shares.sum(axis=1)[:, None, :]
    observed, expected = ((t * cost).sum(axis=(1, 2)) for t in (shares, chance))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - observed / expected, np.nan)


def fleiss(counts: Sequence[Sequence[int]]) -> float | None:
    """Fleiss' kappa of a units x levels table of counts, the same number of ratings in every unit."""
    from statsmodels.stats.inter_rater import fleiss_kappa

    table = np.asarray(counts, float)
    if not table.size or (table.sum(axis=0) > 0).sum() < 2 or table.sum(axis=1).min() < 2:
        return None
    return float(fleiss_kappa(table))


def confusion(truth: Sequence[int], said: Sequence[int], levels: int) -> list[list[int]]:
    """Counts with the truth in rows and what was said in columns."""
    table = np.zeros((levels, levels), int)
    np.add.at(table, (np.asarray(truth, int), np.asarray(said, int)), 1)
    return [[int(n) for n in row] for row in table]


def _counts(ratings: Sequence[Sequence[float | None]]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values, and units x values: how often each unit got each value."""
    table = np.array([[np.nan if v is None else float(v) for v in row] for row in ratings], float)
    values = np.unique(table[~np.isnan(table)])
    return values, np.stack([(table == v).sum(axis=0) for v in values], axis=1) if len(values) else np.zeros((1, 0))


def _coincidences(counts: np.ndarray) -> np.ndarray:
    """Units x values x values: ordered pairs of values within a unit, each unit's pairs weighed by 1 / (m - 1)."""
    m = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(counts.shape[1])
    return np.asarray(pairs / np.where(m > 1, m - 1, np.inf)[:, None, None])


def _alpha(coincidences: np.ndarray, values: np.ndarray, metric: Metric) -> np.ndarray:
    """Alpha of each of B coincidence matrices (B x values x values); NaN where nothing can disagree."""
    totals = coincidences.sum(axis=2)
    n = totals.sum(axis=1)
    if metric == "ordinal":  # squared differences of midranks, which depend on how often each value occurs
        below = np.cumsum(totals, axis=1) - totals / 2
        distance = (below[:, :, None] - below[:, None, :]) ** 2
    else:
        distance = (values[:, None] != values).astype(float)[None]
    observed = (coincidences * distance).sum(axis=(1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * distance).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - (n - 1) * observed / expected, np.nan)
