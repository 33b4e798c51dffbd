"""The Mann-Whitney test: is a value of b larger than one of a as often as smaller?"""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf._floats import as_floats
from model_perf.errors import TooFewObservationsError
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._mean_difference import Alternative, as_alternative, upper_quantile
from model_perf.stats._pairwise_sums import PairwiseSums
from model_perf.stats._placements import placements
from model_perf.stats._rank_sums import rank_sum_quantile
from model_perf.stats._score_interval import score_bound


@frozen(kw_only=True)
class MannWhitney:
    """How often b is larger.

    Attributes
    ----------
    effect : float
        P(b > a) + P(b = a) / 2, within [0, 1]; 0.5 = neither is larger.
    confidence_interval : ConfidenceInterval
        Of the effect, by Newcombe's method 5 [3], widened by DeLong's variance where that is larger, as of samples
        whose spreads differ; of samples that are apart by the largest variance that there is.
    shift : float
        Hodges and Lehmann's estimate of how much larger b is, in units of the values: the median of b - a of all pairs.
    shift_interval : ConfidenceInterval
        Of the shift, where that is all by which the distributions differ; exact up to 2,500 pairs, and without ends
        where all of them together could not leave alpha outside.
    statistic : float
        U of b: pairs in which b is larger, ties count half.
    pvalue : float
    n_a, n_b : int
    """

    effect: float
    confidence_interval: ConfidenceInterval
    shift: float
    shift_interval: ConfidenceInterval
    statistic: float
    pvalue: float
    n_a: int
    n_b: int


def mann_whitney(
    a: ArrayLike, b: ArrayLike, *, alpha: float = 0.05, alternative: Alternative = "two-sided"
) -> MannWhitney:
    """Compare two independent samples by ranks.

    The p-value is for equal distributions: where their spreads differ, equal medians can be told apart too often. The
    interval of the effect allows for that.

    Parameters
    ----------
    a, b : array of float, shape (n,), (m,)
        Two values each at least.

    References
    ----------
    [1] Mann, H. B. & Whitney, D. R. (1947). On a test of whether one of two random variables is stochastically larger
        than the other. Annals of Mathematical Statistics 18, 50-60.
    [2] Hollander, M., Wolfe, D. A. & Chicken, E. (2014). Nonparametric Statistical Methods, 3rd ed., 4.1 to 4.3.
    [3] Newcombe, R. G. (2006). Confidence intervals for an effect size measure based on the Mann-Whitney statistic.
        Part 2. Statistics in Medicine 25, 559-573.

    Examples
    --------
    Permeability of a membrane at 12 to 26 weeks and at term [2, example 4.1]:

    >>> early, term = [1.15, 0.88, 0.90, 0.74, 1.21], [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    >>> result = mann_whitney(early, term, alternative="greater")
    >>> result.statistic, round(result.pvalue, 3), round(result.shift, 3)
    (35.0, 0.127, 0.305)
    """
    from scipy.stats import mannwhitneyu

    check.as_open_fraction(alpha, "alpha")
    as_alternative(alternative)
    x, y = as_floats(a, "a"), as_floats(b, "b")
    for argument, values in (("a", x), ("b", y)):
        if values.size < 2:
            raise TooFewObservationsError(argument, f"has {values.size} entries; two are needed")
    result = mannwhitneyu(y, x, alternative=alternative)
    of_b, of_a = placements(y, x)
    effect = float(of_b.mean())
    measured = float(np.var(of_b, ddof=1)) / y.size + float(np.var(of_a, ddof=1)) / x.size
    tail = alpha / 2.0 if alternative == "two-sided" else alpha
    differences = PairwiseSums(np.sort(-x), np.sort(y))
    return MannWhitney(
        effect=effect,
        confidence_interval=_interval(effect, measured, x.size, y.size, tail, alternative),
        shift=differences.median(),
        shift_interval=differences.interval(rank_sum_quantile(tail, x.size, y.size), alternative),
        statistic=float(result.statistic),
        pvalue=float(result.pvalue),
        n_a=x.size,
        n_b=y.size,
    )


def _interval(
    effect: float, measured: float, n: int, m: int, tail: float, alternative: Alternative
) -> ConfidenceInterval:
    """Where the effect is so many standard errors away from what was observed, of the variance that goes with it."""
    widening = max(1.0, measured / _variance(effect, n, m)) if 0.0 < effect < 1.0 else 0.0

    def score(supposed: float) -> float:
        variance = widening * _variance(supposed, n, m) if widening else supposed * (1.0 - supposed) / min(n, m)
        if variance <= 0.0:
            return 0.0 if supposed == effect else math.inf
        return (effect - supposed) / math.sqrt(variance)

    z = upper_quantile(tail, None)
    return ConfidenceInterval(
        low=0.0 if alternative == "less" else score_bound(score, effect, 0.0, z),
        high=1.0 if alternative == "greater" else score_bound(score, effect, 1.0, z),
    )


def _variance(effect: float, n: int, m: int) -> float:
    """Hanley and McNeil's, of exponential distributions, with the mean of both sizes in the place of each [3]."""
    pairs = 0.5 * (n + m) - 1.0
    shared = (1.0 - effect) / (2.0 - effect) + effect / (1.0 + effect)
    return effect * (1.0 - effect) * (1.0 + pairs * shared) / (n * m)
