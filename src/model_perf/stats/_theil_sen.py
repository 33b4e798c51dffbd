"""Theil-Sen: the median of the slopes between all pairs of points."""

from __future__ import annotations

import math
from functools import lru_cache

from attrs import frozen
from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf.errors import TooFewObservationsError
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._mann_kendall import kendall_variance
from model_perf.stats._pairwise_slopes import PairwiseSlopes
from model_perf.stats._series import Series, Times, as_series, median


@frozen(kw_only=True)
class TheilSen:
    """`slope` per day, `intercept` at the earliest time, and the slope's `confidence_interval` or None."""

    slope: float
    intercept: float
    confidence_interval: ConfidenceInterval | None


def theil_sen(times: Times, values: ArrayLike, *, alpha: float = 0.05, variance_factor: float = 1.0) -> TheilSen:
    """Fit a line that an outlier cannot turn.

    Parameters
    ----------
    times : sequence of aware datetime, array of datetime64 (UTC), or array of float (days), shape (n,)
        Any order, any spacing; pairs of one time have no slope and are left out.
    values : array of float, shape (n,)
        Finite.
    alpha : float, default 0.05
        The interval's confidence level is 1 - alpha.
    variance_factor : float, default 1
        By how much serial correlation inflates the variance of Kendall's S, from which the interval follows.

    Returns
    -------
    TheilSen
        slope, in units of `values` per day; intercept, the line's value at the earliest time (median of values
        minus slope times median time); confidence_interval, None where so few points bound the slope on no side.

    Raises
    ------
    TooFewObservationsError
        Fewer than two different times.
    InvalidInputError
        Values that are not finite numbers, naive times, different lengths.

    References
    ----------
    [1] Sen, P. K. (1968). Estimates of the regression coefficient based on Kendall's tau. JASA 63, 1379-1389.
    [2] Conover, W. J. (1999). Practical Nonparametric Statistics, 3rd ed., section 5.5: the intercept.

    Examples
    --------
    >>> fit = theil_sen([0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 5.0, 7.0, 1000.0])
    >>> fit.slope, fit.intercept
    (2.0, 1.0)
    """
    check.as_open_fraction(alpha, "alpha")
    check.as_float(variance_factor, "variance_factor", low=1.0)
    series = as_series(times, values)
    if series.span == 0.0:
        raise TooFewObservationsError("times", "holds fewer than two different times; a slope needs two")
    slopes = PairwiseSlopes(series.times, series.values)
    slope = slopes.median()
    return TheilSen(
        slope=slope,
        intercept=intercept(series, slope),
        confidence_interval=slope_interval(slopes, kendall_variance(series) * variance_factor, alpha),
    )


def intercept(series: Series, slope: float) -> float:
    """The line's value at the earliest time."""
    return median(series.values) - slope * median(series.times)


def slope_interval(slopes: PairwiseSlopes, variance: float, alpha: float) -> ConfidenceInterval | None:
    """Sen's interval: the slopes whose ranks are as far from the middle as S may be from 0.

    None where the ranks lie beyond the outermost slopes: the interval is then the whole line.
    """
    reach = normal_quantile(1.0 - alpha / 2.0) * math.sqrt(variance)
    low, high = round((slopes.n_pairs - reach) / 2.0) - 1, round((slopes.n_pairs + reach) / 2.0)
    if low < 0 or high >= slopes.n_pairs:
        return None
    first, last = slopes.order_statistics([low, high])
    return ConfidenceInterval(low=first, high=last)


@lru_cache(maxsize=64)
def normal_quantile(probability: float) -> float:
    """Inverse of the standard normal distribution function."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)
