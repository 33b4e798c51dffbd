"""Pearson's chi-squared and G: are two rows of counts drawn from one distribution?"""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf.drift._bins import pool_groups, smaller_share, sum_groups
from model_perf.drift._samples import Floats, as_counts

_TINY = float(np.finfo(np.float64).tiny)


@frozen(kw_only=True)
class ChiSquared:
    """Two rows of counts, tested against one distribution for both.

    Attributes
    ----------
    statistic, pvalue : float or None
        None where fewer than two cells are left: so little has no answer. The p-value is never 0.
    df : int
        Cells - 1.
    effect_size : float or None
        Cramér's V with Bergsma's correction, between 0 and 1. It depends on the ratio of both sizes too.
    n_cells : int
        Cells that were compared, the pool included.
    n_pooled : int
        Cells with rows that went into the pool.
    n_reference, n_current : int
        Rows.
    """

    statistic: float | None
    pvalue: float | None
    df: int
    effect_size: float | None
    n_cells: int
    n_pooled: int
    n_reference: int
    n_current: int

    @property
    def too_sparse(self) -> bool:
        """Fewer than two cells hold enough to be compared."""
        return self.statistic is None


def chi_squared(reference: ArrayLike, current: ArrayLike, *, min_expected: float = 5.0) -> ChiSquared:
    """Compare two rows of counts by Pearson's chi-squared; the reference is a sample as well [1].

    Cells in which the smaller sample expects fewer than *min_expected* rows are pooled, and a pool that stays too small
    joins the smallest other cell. Which these are is seen from the rows of both together only: cells chosen by what the
    reference holds make false alarms certain.

    Parameters
    ----------
    reference, current : array of int, shape (B,)
        Rows in each cell.
    min_expected : float, default 5
        0 pools nothing.

    Returns
    -------
    ChiSquared

    Raises
    ------
    TooFewObservationsError
        One of both counts no row.
    InvalidInputError
        Negative or fractional counts, different numbers of cells.

    References
    ----------
    [1] Pearson, K. (1911). On the probability that two independent distributions of frequency are really samples from
        the same population. Biometrika 8, 250-254.
    [2] Bergsma, W. (2013). A bias-correction for Cramér's V and Tschuprow's T. Journal of the Korean Statistical
        Society 42, 323-328.

    Examples
    --------
    Party identification of 1,557 women and 1,200 men, chi-squared = 30.07 on 2 degrees of freedom (Agresti 2007, An
    Introduction to Categorical Data Analysis, table 2.5):

    >>> result = chi_squared([762, 327, 468], [484, 239, 477])
    >>> round(result.statistic, 2), result.df
    (30.07, 2)
    """
    a, b, pooled = _pooled(reference, current, min_expected)
    return chi_squared_of(a, b, pooled)


def g_test(reference: ArrayLike, current: ArrayLike, *, min_expected: float = 5.0) -> ChiSquared:
    """Compare two rows of counts by the likelihood ratio G, on the cells that `chi_squared` compares.

    Verdicts do not use it: with few rows per cell it finds differences in unchanged counts more often than it says.

    Parameters
    ----------
    reference, current : array of int, shape (B,)
        Rows in each cell.
    min_expected : float, default 5
        0 pools nothing.

    Returns
    -------
    ChiSquared
        `statistic` is G; the effect is that of Pearson's chi-squared.

    Raises
    ------
    TooFewObservationsError
        One of both counts no row.
    InvalidInputError
        Negative or fractional counts, different numbers of cells.

    References
    ----------
    [1] Agresti, A. (2007). An Introduction to Categorical Data Analysis, 2nd ed., equation 2.8 and table 2.5.

    Examples
    --------
    The same table has G² = 30.02 [1]:

    >>> round(g_test([762, 327, 468], [484, 239, 477]).statistic, 2)
    30.02
    """
    a, b, pooled = _pooled(reference, current, min_expected)
    return _result(a, b, pooled, likelihood_ratio=True)


def chi_squared_of(reference: Floats, current: Floats, n_pooled: int = 0) -> ChiSquared:
    """Pearson's test on cells that have been checked and pooled."""
    return _result(reference, current, n_pooled, likelihood_ratio=False)


def bias_corrected_cramers_v(statistic: float, n: float, n_cells: int) -> float:
    """Cramér's V of a table of two rows, without what independent rows would show [Bergsma 2013]."""
    freedom = n_cells - 1
    excess = max(0.0, statistic / n - freedom / (n - 1.0))
    rows, cells = 2.0 - 1.0 / (n - 1.0), n_cells - freedom**2 / (n - 1.0)
    smaller = min(rows, cells) - 1.0
    return math.sqrt(min(1.0, excess / smaller)) if smaller > 0.0 else 0.0


def _pooled(reference: ArrayLike, current: ArrayLike, min_expected: float) -> tuple[Floats, Floats, int]:
    check.as_float(min_expected, "min_expected", low=0.0)
    a, b = as_counts(reference, current)
    occupied = a + b > 0.0
    a, b = a[occupied], b[occupied]
    combined, share = a + b, smaller_share(a, b)
    groups = pool_groups(combined, share, min_expected)
    n_pooled = int(np.count_nonzero(combined * share < min_expected))
    return sum_groups(a, groups), sum_groups(b, groups), n_pooled


def _result(reference: Floats, current: Floats, n_pooled: int, *, likelihood_ratio: bool) -> ChiSquared:
    n, m = float(reference.sum()), float(current.sum())
    occupied = reference + current > 0.0
    reference, current = reference[occupied], current[occupied]
    n_cells = int(reference.size)
    statistic = pvalue = effect = None
    if n_cells > 1:
        from scipy.special import chdtrc

        pearson = _pearson(reference, current, n, m)
        statistic = _likelihood_ratio(reference, current, n, m) if likelihood_ratio else pearson
        pvalue = max(float(chdtrc(n_cells - 1, statistic)), _TINY)
        effect = bias_corrected_cramers_v(pearson, n + m, n_cells)
    return ChiSquared(
        statistic=statistic,
        pvalue=pvalue,
        df=n_cells - 1,
        effect_size=effect,
        n_cells=n_cells,
        n_pooled=n_pooled,
        n_reference=int(n),
        n_current=int(m),
    )


def _pearson(reference: Floats, current: Floats, n: float, m: float) -> float:
    """n m sum (a/n - b/m)² / (a + b), in which equal shares give 0."""
    return float(np.sum((reference * m - current * n) ** 2 / (reference + current)) / (n * m))


def _likelihood_ratio(reference: Floats, current: Floats, n: float, m: float) -> float:
    from scipy.special import xlogy

    total = reference + current
    first = xlogy(reference, reference / (total * (n / (n + m))))
    second = xlogy(current, current / (total * (m / (n + m))))
    return max(0.0, 2.0 * float(np.sum(first + second)))
