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
from model_perf.stats._delong import _components
from model_perf.stats._mean_difference import Alternative, as_alternative, upper_quantile


@frozen(kw_only=True)
class MannWhitney:
    """How often b is larger.

    Attributes
    ----------
    effect : float
        P(b > a) + P(b = a) / 2, within [0, 1]; 0.5 = neither is larger.
    confidence_interval : ConfidenceInterval
        Of the effect, by DeLong's variance on the logit, so that it stays within [0, 1].
    statistic : float
        U of b: pairs in which b is larger, ties count half.
    pvalue : float
    n_a, n_b : int
    """

    effect: float
    confidence_interval: ConfidenceInterval
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
    [2] Newcombe, R. G. (2006). Confidence intervals for an effect size measure based on the Mann-Whitney statistic.
        Part 2. Statistics in Medicine 25, 559-573.

    Examples
    --------
    >>> result = mann_whitney([1, 2, 3, 4], [3, 5, 6, 7, 8])
    >>> result.statistic, result.effect
    (18.5, 0.925)
    """
    from scipy.stats import mannwhitneyu

    check.as_open_fraction(alpha, "alpha")
    as_alternative(alternative)
    x, y = as_floats(a, "a"), as_floats(b, "b")
    for argument, values in (("a", x), ("b", y)):
        if values.size < 2:
            raise TooFewObservationsError(argument, f"has {values.size} entries; two are needed")
    result = mannwhitneyu(y, x, alternative=alternative)
    of_b, of_a = _components(y, x)
    effect = float(of_b.mean())
    error = math.sqrt(float(np.var(of_b, ddof=1)) / y.size + float(np.var(of_a, ddof=1)) / x.size)
    return MannWhitney(
        effect=effect,
        confidence_interval=_interval(effect, error, x.size + y.size, alpha, alternative),
        statistic=float(result.statistic),
        pvalue=float(result.pvalue),
        n_a=x.size,
        n_b=y.size,
    )


def _interval(effect: float, error: float, n: int, alpha: float, alternative: Alternative) -> ConfidenceInterval:
    """Separated samples have no variance; their effect is taken for half a pair short of the end."""
    inside = min(max(effect, 0.5 / n), 1.0 - 0.5 / n)
    tail = alpha / 2.0 if alternative == "two-sided" else alpha
    scale = inside * (1.0 - inside)
    reach = upper_quantile(tail, None) * max(error, scale / math.sqrt(n)) / scale
    logit = math.log(inside / (1.0 - inside))
    low, high = (1.0 / (1.0 + math.exp(-(logit + side))) for side in (-reach, reach))
    return ConfidenceInterval(
        low=0.0 if alternative == "less" else min(low, effect),
        high=1.0 if alternative == "greater" else max(high, effect),
    )
