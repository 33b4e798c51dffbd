"""The most likely point at which a series changed its level."""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from model_perf import _validation as check
from model_perf._floats import Floats
from model_perf.errors import TooFewObservationsError
from model_perf.stats._mann_kendall import autocorrelation_factor, residual_autocorrelation
from model_perf.stats._series import Series, Times, as_series, median

MIN_POINTS = 8
_MIN_SEGMENT = 2
_FITTED = 3  # two levels and the place of the step


@frozen(kw_only=True)
class ChangePoint:
    """Where the level most likely changed; positions are those of the arguments, as given.

    Attributes
    ----------
    index : int
        The first observation after the change.
    low, high : int
        Ends of the confidence interval of `index`, in time order.
    effect : float
        Median after minus median before, in units of the values.
    pvalue : float
        Of a change at any time (Pettitt).
    significant : bool
        pvalue <= alpha. Where it is False, `index` says only where a change would have been if there was one.
    """

    index: int
    low: int
    high: int
    effect: float
    pvalue: float
    significant: bool


def change_point(times: Times, values: ArrayLike, *, alpha: float = 0.05) -> ChangePoint | None:
    """Find the most likely single change of level, how sure its place is, and whether there was one.

    The place minimises the squared error of two levels fitted to the ranks, with two points at least on either
    side. The p-value is Pettitt's, widened for autocorrelation of the ranks about those levels; the interval inverts
    the likelihood ratio. A steady trend changes the level too and is significant here as well; ask `trend` first.

    Parameters
    ----------
    times : sequence of aware datetime, array of datetime64 (UTC), or array of float (days), shape (n,)
        Give their order; their spacing does not matter here.
    values : array of float, shape (n,)
        Finite.
    alpha : float, default 0.05
        Level of the test; the interval's confidence level is 1 - alpha.

    Returns
    -------
    ChangePoint or None
        None where all values are equal: nothing has changed anywhere.

    Raises
    ------
    TooFewObservationsError
        n < 8. (No step at all reaches p = 0.05 below n = 11.)

    References
    ----------
    [1] Pettitt, A. N. (1979). A non-parametric approach to the change-point problem. Applied Statistics 28, 126-135.
    [2] Eo, Y. and Morley, J. (2015). Likelihood-ratio-based confidence sets for the timing of structural breaks.
        Quantitative Economics 6, 463-497: the limit (1 - exp(-x/2))^2.

    Examples
    --------
    >>> days = list(range(20))
    >>> found = change_point(days, [1.0, 1.2, 0.9, 1.1] * 3 + [6.0, 6.2, 5.9, 6.1] * 2)
    >>> found.index, found.low, found.high, found.significant
    (12, 11, 12, True)
    """
    check.as_open_fraction(alpha, "alpha")
    series = as_series(times, values)
    if series.values.size < MIN_POINTS:
        raise TooFewObservationsError("values", f"has {series.values.size} entries; {MIN_POINTS} are needed")
    return change_point_of(series, alpha)


def change_point_of(series: Series, alpha: float) -> ChangePoint | None:
    """The same for a series that has been checked."""
    ranks = _centred_ranks(series.values)
    if not ranks.any():
        return None
    n = ranks.size
    partial = np.cumsum(ranks)[:-1]
    before = np.arange(1.0, n)
    gain = partial**2 * n / (before * (n - before))  # what a step there takes off the squared error
    allowed = slice(_MIN_SEGMENT - 1, n - _MIN_SEGMENT)
    split = int(np.argmax(gain[allowed])) + _MIN_SEGMENT
    residuals = _residuals(ranks, split, float(partial[split - 1]))
    autocorrelation = residual_autocorrelation(residuals, fitted=_FITTED, scale=float(n))
    factor = autocorrelation_factor(autocorrelation, n)
    low, high = _interval(gain, split, float(residuals @ residuals) / (n - 2) * factor, alpha)
    pvalue = _pettitt_pvalue(2.0 * float(np.max(np.abs(partial))), n, factor)
    return ChangePoint(
        index=int(series.order[split]),
        low=int(series.order[low]),
        high=int(series.order[high]),
        effect=median(series.values[split:]) - median(series.values[:split]),
        pvalue=pvalue,
        significant=pvalue <= alpha,
    )


def _centred_ranks(values: Floats) -> Floats:
    ascending = np.sort(values)
    places = np.searchsorted(ascending, values, side="left") + np.searchsorted(ascending, values, side="right")
    return (places - values.size) / 2.0


def _residuals(ranks: Floats, split: int, total: float) -> Floats:
    """About the two levels; the centred ranks before the split sum to `total`, so those after it to -`total`."""
    residuals = ranks.copy()
    residuals[:split] -= total / split
    residuals[split:] += total / (ranks.size - split)
    return residuals


def _pettitt_pvalue(statistic: float, n: int, factor: float) -> float:
    return min(1.0, 2.0 * math.exp(-6.0 * statistic**2 / ((n**3 + n**2) * factor)))


def _interval(gain: Floats, split: int, variance: float, alpha: float) -> tuple[int, int]:
    """First and last split that the likelihood ratio does not reject."""
    critical = -2.0 * math.log1p(-math.sqrt(1.0 - alpha))
    kept: NDArray[np.intp] = np.flatnonzero(gain >= gain[split - 1] - critical * variance)
    return min(split, int(kept[0]) + 1), max(split, int(kept[-1]) + 1)
