"""What people's and the judge's grades say about a difference between two versions, and how surely.

Per item, D is the candidate's grade minus the production version's by people (1, 0 or -1 for "is good"), J the same by
the judge. The judge is cheap and biased, people are right and few. The combined estimate (prediction-powered inference,
Angelopoulos et al., Science 2023, with the power tuning of arXiv 2311.01453) takes the judge on all items and corrects
it by what it got wrong where people graded too: unbiased whatever the judge does, and tighter the better it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from pydantic import BaseModel

CONFIDENCE = 0.95


class Estimate(BaseModel):
    """A mean with one-sided bounds: the truth is above `low`, and below `high`, each with the confidence asked for.

    `n` items were graded by what is trusted, `more` by the judge alone; `effective_n` is how many trusted grades
    would have told as much; `weight` is lambda, the trust in the judge.
    """

    value: float
    low: float
    high: float
    n: int
    more: int = 0
    effective_n: float | None = None
    weight: float | None = None


def bounds(d: Any, confidence: float = CONFIDENCE) -> tuple[Any, Any, Any, Any]:
    """Mean of `d` over the last axis, its standard error, and the one-sided t bounds. Shapes (..., n) -> (...)."""
    d = np.asarray(d, float)
    return _bounds(d.mean(axis=-1), _floored(d) / d.shape[-1], d.shape[-1], confidence)


def combined_bounds(d: Any, j: Any, more: Any, confidence: float = CONFIDENCE) -> tuple[Any, Any, Any, Any, Any]:
    """The combined estimate: `d` by people and `j` by the judge on the same n items, `more` by the judge on N others.

    Returns mean, standard error, low, high, lambda. Shapes (..., n), (..., n), (..., N) -> (...).
    lambda minimises the variance, cov(D, J) / ((1 + n/N) var(J)), clipped to [0, 1];
    SE^2 = var(D - lambda J) / n + lambda^2 var(J) / N; bounds with t(n - 1).
    """
    d, j, more = (np.asarray(x, float) for x in (d, j, more))
    n, extra = d.shape[-1], more.shape[-1]
    pooled = np.var(np.concatenate([j, more], axis=-1), axis=-1, ddof=1)
    covariance = ((d - d.mean(-1, keepdims=True)) * (j - j.mean(-1, keepdims=True))).sum(-1) / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.clip(np.where(pooled > 0, covariance / ((1 + n / extra) * pooled), 0.0), 0.0, 1.0)
    mean = d.mean(-1) + weight * (more.mean(-1) - j.mean(-1))
    variance = _floored(d - weight[..., None] * j) / n + weight**2 * np.var(more, axis=-1, ddof=1) / extra
    return (*_bounds(mean, variance, n, confidence), weight)


def people(d: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The mean of trusted grades alone."""
    mean, _, low, high = bounds(d, confidence)
    return Estimate(**_rounded(value=mean, low=low, high=high), n=len(d))


def combined(d: Sequence[float], j: Sequence[float], more: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """People and judge together. Needs at least two items graded by the judge alone, else people alone decide."""
    if len(more) < 2:
        return people(d, confidence)
    mean, se, low, high, weight = combined_bounds(d, j, more, confidence)
    _, alone, _, _ = bounds(d, confidence)
    effective = len(d) * float(alone / se) ** 2
    return Estimate(
        **_rounded(value=mean, low=low, high=high, weight=weight, effective_n=effective), n=len(d), more=len(more)
    )


def paired(better: int, worse: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Difference of two paired proportions by Tango's score bounds (Statistics in Medicine 17, 1998).

    Of n items the candidate is good and the other not in `better`, the other way round in `worse`. Unlike a t interval
    it does not collapse to a point where the two never differ.
    """
    low, high = _tango(better, worse, n, confidence), -_tango(worse, better, n, confidence)
    return Estimate(**_rounded(value=(better - worse) / n, low=low, high=high), n=n)


def proportion(k: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """A share of n items with one-sided Wilson bounds."""
    from scipy.stats import binomtest

    found = binomtest(k, n).proportion_ci(confidence_level=2 * confidence - 1, method="wilson")
    return Estimate(**_rounded(value=k / n, low=found.low, high=found.high), n=n)


def mcnemar(better: int, worse: int) -> float:
    """The exact two-sided p-value of McNemar's test: could the disagreements be even by chance?"""
    from statsmodels.stats.contingency_tables import mcnemar as test

    return float(test([[0, better], [worse, 0]], exact=True).pvalue)


def labels_needed(
    d: Sequence[float], threshold: float, j: Sequence[float] = (), more: Sequence[float] = (), limit: int = 100_000
) -> int:
    """How many more trusted labels would settle on which side of `threshold` the mean lies, if it stays as it is.

    The bound must clear the threshold with 80 % power, so the distance has to be (t + 0.84) standard errors. Where the
    judge has graded other items, labels come out of those. `limit` stands for "not with this difference".
    """
    estimate = combined(d, j, more) if len(more) > 1 else people(d)
    weight, n = estimate.weight or 0.0, len(d)
    distance = abs(estimate.value - threshold)
    residual = float(_floored(np.asarray(d, float) - weight * np.asarray(j, float) if weight else np.asarray(d, float)))
    judged = float(np.var(np.asarray(more, float), ddof=1)) if weight else 0.0

    def settled(labels: int) -> bool:
        alone = max(2, n + len(more) - labels)
        se = (residual / labels + weight**2 * judged / alone) ** 0.5
        return distance >= (_t(labels - 1, CONFIDENCE) + 0.8416) * se

    low, high = n, n
    while not settled(high):
        high *= 2
        if high > limit:
            return limit
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle + 1, high)
    return max(1, high - n)


def flip_rate(first: Sequence[str], second: Sequence[str]) -> float | None:
    """The share of pairs where a judge asked in the other order no longer prefers the same answer."""
    return sum(a != b for a, b in zip(first, second, strict=True)) / len(first) if first else None


def length_effect(judge: Sequence[float], trusted: Sequence[float], words: Sequence[int]) -> Estimate | None:
    """How much more lenient the judge gets per doubling of an output's length.

    Slope of (judge - trusted grade, each 0 poor, 0.5 average, 1 good) on log2(words), least squares, two-sided 95 %.
    """
    from scipy.stats import linregress

    x, y = np.log2(np.maximum(1, np.asarray(words, float))), np.asarray(judge, float) - np.asarray(trusted, float)
    if len(x) < 10 or np.ptp(x) == 0:
        return None
    fit = linregress(x, y)
    half = _t(len(x) - 2, 0.975) * fit.stderr
    return Estimate(**_rounded(value=fit.slope, low=fit.slope - half, high=fit.slope + half), n=len(x))


def _floored(d: np.ndarray) -> np.ndarray:
    """Variance over the last axis, at least that of one item better and one worse (2/n).

    Without the floor 40 items that do not differ would claim certainty; Agresti and Min (2005) add the same pair.
    """
    return np.maximum(np.var(d, axis=-1, ddof=1), 2 / d.shape[-1])


def _bounds(mean: Any, variance: Any, n: int, confidence: float) -> tuple[Any, Any, Any, Any]:
    se = np.sqrt(variance)
    t = _t(n - 1, confidence)
    return mean, se, mean - t * se, mean + t * se


@cache
def _t(degrees: int, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, confidence))


def _tango(b: int, c: int, n: int, confidence: float) -> float:
    """The lower score bound of (b - c) / n: the difference at which the score statistic equals z."""
    from scipy.optimize import brentq
    from scipy.special import ndtri

    z = float(ndtri(confidence))

    def score(delta: float) -> float:
        # q: the restricted maximum-likelihood estimate of P(worse) at this difference.
        linear = -b - c + (2 * n - b + c) * delta
        q = ((max(0.0, linear**2 + 8 * n * c * delta * (1 - delta))) ** 0.5 - linear) / (4 * n)
        variance = n * (2 * q + delta * (1 - delta))
        return (b - c - n * delta) / variance**0.5 - z if variance > 0 else -z

    edge = -1 + 1e-9
    value = (b - c) / n
    return float(brentq(score, edge, value, xtol=1e-6)) if score(edge) > 0 else -1.0


def _rounded(**values: Any) -> dict[str, Any]:
    return {name: round(float(value), 4) for name, value in values.items()}
