"""What people's and the judge's grades say about a difference between two versions, and how surely.

Per item, D is the candidate's grade minus the production version's by people (1, 0 or -1 for "is good"), J the same by
the judge. The judge is cheap and biased, people are right and few. The combined estimate (prediction-powered inference,
Angelopoulos et al., Science 2023, with the power tuning of arXiv 2311.01453) takes the judge on all items and corrects
it by what it got wrong where people graded too: unbiased whatever the judge does, and tighter the better it is. How it
is worked out stands at `sampled`.
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

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
    se: float | None = Field(None, exclude=True)


def bounds(d: Any, confidence: float = CONFIDENCE) -> tuple[Any, Any, Any, Any]:
    """Mean of `d` over the last axis, its standard error, and the one-sided t bounds. Shapes (..., n) -> (...)."""
    d = np.asarray(d, float)
    n, mean = d.shape[-1], d.mean(axis=-1)
    se = np.sqrt(_floored(d) / n)
    reach = _t(n - 1, confidence) * se
    return mean, se, mean - reach, mean + reach


def people(d: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The mean of trusted grades alone."""
    mean, _, low, high = bounds(d, confidence)
    return Estimate(**_rounded(value=mean, low=low, high=high), n=len(d))


def paired(better: int, worse: int, n: int, confidence: float = CONFIDENCE, upper: float | None = None) -> Estimate:
    """Difference of two paired proportions by Tango's score bounds (Statistics in Medicine 17, 1998).

    Of n items the candidate is good and the other not in `better`, the other way round in `worse`. Unlike a t interval
    it does not collapse to a point where the two never differ.
    """
    low, high = _tango(better, worse, n, confidence), -_tango(worse, better, n, upper or confidence)
    return Estimate(**_rounded(value=(better - worse) / n, low=low, high=high), n=n)


def proportion(k: int, n: int, confidence: float = CONFIDENCE, upper: float | None = None) -> Estimate:
    """A share of n items with one-sided Wilson bounds; `upper` is the confidence of the upper one where it differs."""
    from scipy.stats import binomtest

    low, high = (
        binomtest(k, n).proportion_ci(confidence_level=2 * c - 1, method="wilson")
        for c in (confidence, upper or confidence)
    )
    return Estimate(**_rounded(value=k / n, low=low.low, high=high.high), n=n)


def mcnemar(better: int, worse: int) -> float:
    """The exact two-sided p-value of McNemar's test: could the disagreements be even by chance?"""
    from statsmodels.stats.contingency_tables import mcnemar as test

    return float(test([[0, better], [worse, 0]], exact=True).pvalue)


def sampled(
    d: Sequence[float],
    shares: Sequence[float],
    most: int,
    confidences: tuple[float, float],
    j: Sequence[float] = (),
    every: Sequence[float] = (),
) -> Estimate:
    """The mean over a population of which items were drawn one after the other, with bounds that hold at every look.

    `d` are the trusted values of the n drawn so far, `shares` their weights (1/n each, or by inverse probability; they
    sum to 1), `j` what the judge says of the same items and `every` of all items of the population (empty: no judge).
    theta = lambda mean(every) + sum shares (d - lambda j) with lambda = cov(d, j) / var(every), clipped to [0, 1]
    (active inference, Zrnic and Candes, ICML 2024; with equal shares the prediction-powered estimate).
    The bounds have the shape of O'Brien and Fleming (1979) without a number of looks: a Brownian motion stays below a
    constant c up to time 1 with probability 1 - 2 (1 - Phi(c)), so z = Phi^-1(1 - alpha/2) / sqrt(t) holds at all looks
    together up to `most` labels; t is the share known by now of what `most` labels will tell, n / `most` without a
    judge (Scharfstein, Tsiatis and Robins 1997). `confidences` are those of the lower and of the upper bound.
    No finite-population correction: graders err, so having asked about every item does not make a mean certain.
    """
    from scipy.special import ndtr, ndtri, stdtrit

    x, w = np.asarray(d, float), np.asarray(shares, float)
    n, weight, judged, twice = len(x), 0.0, 0.0, 0.0
    residual = x
    mean = float(w @ x)
    if len(every) and (spread := float(np.var(every))) > 0:
        y = np.asarray(j, float)
        weight = float(np.clip(w @ ((x - mean) * (y - w @ y)) / spread, 0, 1))
        residual = x - weight * y
        mean = weight * float(np.mean(every)) + float(w @ residual)
        judged = weight**2 * spread / len(every)
        twice = 2 * weight * float(w @ ((y - w @ y) * (residual - w @ residual))) / len(every)
    worth = 1 / float(w @ w)
    alone = max(float(w**2 @ (residual - w @ residual) ** 2) * n / max(1, n - 1), 2 / worth**2)
    se = max(alone + judged + twice, 0.25 * alone) ** 0.5
    plain = max(float(w @ (x - w @ x) ** 2) * n / max(1, n - 1), 2 / worth)  # variance of one trusted value
    known = min(1.0, plain / most / se**2)

    def reach(confidence: float) -> float:
        z = float(ndtri((1 + confidence) / 2)) / known**0.5
        return -float(stdtrit(max(1.0, worth - 1), max(ndtr(-z), 1e-300)) * se)

    low, high = (reach(c) for c in confidences)
    return Estimate(
        value=mean,
        low=mean - low,
        high=mean + high,
        n=n,
        more=len(every) - n if len(every) else 0,
        effective_n=round(plain / se**2, 1) if len(every) else None,
        weight=round(weight, 4) if len(every) else None,
        se=se,
    )


def labels_needed(value: float, se: float, n: int, most: int, threshold: float, confidence: float) -> int | None:
    """How many more labels would settle on which side of `threshold` the mean lies, if it stays where it is.

    The bound of `sampled` must clear the threshold with 80 % power. None: not even all `most` would.
    """
    from scipy.special import ndtri

    z, distance = float(ndtri((1 + confidence) / 2)), abs(value - threshold)
    for labels in range(n + 1, most + 1):
        if distance >= (z * (most / labels) ** 0.5 + 0.8416) * se * (n / labels) ** 0.5:
            return labels - n
    return None


def rows_needed(d: Sequence[float], threshold: float, confidence: float = CONFIDENCE, limit: int = 100_000) -> int:
    """How many more rows would settle it where checks decide, by the t bounds with 80 % power; at most `limit`."""
    n, distance, variance = len(d), abs(float(np.mean(d)) - threshold), float(_floored(np.asarray(d, float)))

    def settled(more: int) -> bool:
        return bool(distance >= (_t(n + more - 1, confidence) + 0.8416) * (variance / (n + more)) ** 0.5)

    return bisect_left(range(1, limit), True, key=settled) + 1


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
    return np.asarray(np.maximum(np.var(d, axis=-1, ddof=1), 2 / d.shape[-1]))


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
