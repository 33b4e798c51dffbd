"""Mann-Kendall: does a series rise or fall more often than chance would have it?"""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf._floats import Floats
from model_perf.errors import TooFewObservationsError
from model_perf.stats._pairwise_slopes import PairwiseSlopes
from model_perf.stats._series import Series, Times, as_series

MAX_AUTOCORRELATION = 0.95
_ROUNDING = 1e-12


@frozen(kw_only=True)
class MannKendall:
    """`statistic` (Kendall's S) with its `variance`, the continuity-corrected `z`, the two-sided `pvalue`, tau-b."""

    statistic: int
    variance: float
    z: float
    pvalue: float
    tau: float


def mann_kendall(times: Times, values: ArrayLike, *, variance_factor: float = 1.0) -> MannKendall:
    """Test for a monotone trend.

    Parameters
    ----------
    times : sequence of aware datetime, array of datetime64 (UTC), or array of float (days), shape (n,)
        Any order, any spacing; values of one time are not compared with each other.
    values : array of float, shape (n,)
        Finite.
    variance_factor : float, default 1
        By how much serial correlation inflates the variance of S (`autocorrelation_factor`); 1 for independent
        values.

    Returns
    -------
    MannKendall
        statistic, variance, z, pvalue (two-sided, normal approximation), tau (tau-b). Values or times that are all
        equal show no trend: statistic 0, pvalue 1, tau 0.

    Raises
    ------
    TooFewObservationsError
        n < 2.
    InvalidInputError
        Values that are not finite numbers, naive times, different lengths.

    References
    ----------
    [1] Mann, H. B. (1945). Nonparametric tests against trend. Econometrica 13, 245-259.
    [2] Kendall, M. G. (1975). Rank Correlation Methods, 4th ed., ch. 4: the variance of S when both have ties.

    Examples
    --------
    >>> result = mann_kendall([0.0, 1.0, 2.0, 3.0, 4.0], [5.0, 4.0, 3.0, 2.0, 1.0])
    >>> result.statistic, round(result.variance, 2), result.tau
    (-10, 16.67, -1.0)
    """
    check.as_float(variance_factor, "variance_factor", low=1.0)
    series = as_series(times, values)
    if series.values.size < 2:
        raise TooFewObservationsError("values", f"has {series.values.size} entries; a trend needs two at least")
    statistic = PairwiseSlopes(series.times, series.values).statistic
    return mann_kendall_of(series, statistic, variance_factor)


def mann_kendall_of(series: Series, statistic: int, variance_factor: float) -> MannKendall:
    """The test from S, however it was counted."""
    ties = _Ties.of(series)
    variance = ties.variance() * variance_factor
    z = math.copysign(max(0, abs(statistic) - 1), statistic) / math.sqrt(variance) if variance > 0.0 else 0.0
    return MannKendall(
        statistic=statistic,
        variance=variance,
        z=z,
        pvalue=math.erfc(abs(z) / math.sqrt(2.0)),
        tau=ties.tau_b(statistic),
    )


def autocorrelation_factor(autocorrelation: float, n: int) -> float:
    """Inflation of the variance of S by first-order autocorrelation: 1 + 2 sum over k of (1 - k/n) r^k.

    In closed form; the sum is Yue and Wang's (2004, Water Resources Management 18, 201-218, equation 13).
    """
    r = autocorrelation
    return 1.0 + 2.0 * r / (1.0 - r) * (1.0 - (1.0 - r**n) / (n * (1.0 - r)))


def residual_autocorrelation(residuals: Floats, *, fitted: int, scale: float) -> float:
    """Lag-1 autocorrelation of residuals, corrected for the bias of few points, within [0, 0.95].

    (n r + fitted) / (n - 4), where `fitted` is the number of fitted parameters: a fit takes out what looks like
    slow change, and with it autocorrelation. Residuals that are mere rounding of values as large as `scale` have
    none: a series that lies on a line must not be taken for a correlated one.
    """
    n = residuals.size
    largest = float(np.max(np.abs(residuals)))
    if largest <= _ROUNDING * scale:
        return 0.0
    e = residuals / largest
    r = float(e[1:] @ e[:-1]) / float(e @ e)
    return min(MAX_AUTOCORRELATION, max(0.0, (n * r + fitted) / (n - 4)))


def kendall_variance(series: Series) -> float:
    """Variance of S under independence, with ties in times and values."""
    return _Ties.of(series).variance()


@frozen(kw_only=True, eq=False)
class _Ties:
    """How many times, and how many values, are the same; single ones are left out."""

    n: int
    times: Floats
    values: Floats

    @classmethod
    def of(cls, series: Series) -> _Ties:
        return cls(n=series.values.size, times=_tie_sizes(series.times), values=_tie_sizes(np.sort(series.values)))

    def variance(self) -> float:
        """Kendall's [2]; the last two terms need ties in both."""
        n, t, u = float(self.n), self.times, self.values
        variance = (n * (n - 1) * (2 * n + 5) - _cubic(t) - _cubic(u)) / 18.0
        if t.size and u.size:
            variance += _pairs(t) * _pairs(u) * 2.0 / (n * (n - 1))
            triples = float(np.sum(t * (t - 1) * (t - 2)) * np.sum(u * (u - 1) * (u - 2)))
            variance += triples / (9 * n * (n - 1) * (n - 2)) if triples else 0.0
        # All values equal: rounding must not leave a variance that is not there.
        return variance if variance > 1e-9 * n**3 else 0.0

    def tau_b(self, statistic: int) -> float:
        pairs = self.n * (self.n - 1) / 2
        untied = (pairs - _pairs(self.times)) * (pairs - _pairs(self.values))
        return statistic / math.sqrt(untied) if untied > 0.0 else 0.0


def _cubic(sizes: Floats) -> float:
    return float(np.sum(sizes * (sizes - 1) * (2 * sizes + 5))) if sizes.size else 0.0


def _pairs(sizes: Floats) -> float:
    return float(np.sum(sizes * (sizes - 1))) / 2 if sizes.size else 0.0


def _tie_sizes(ascending: Floats) -> Floats:
    differs = ascending[1:] != ascending[:-1]
    if differs.all():
        return ascending[:0]
    starts = np.flatnonzero(np.concatenate(([True], differs, [True])))
    sizes = (starts[1:] - starts[:-1]).astype(np.float64)
    return sizes[sizes > 1.0]
