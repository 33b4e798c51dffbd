"""Shares: Fisher's exact test, and what a share in the reference lets one expect of the next rows."""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen

from model_perf import _validation as check
from model_perf.errors import InvalidInputError

_LARGEST_N = 2**31
_TINY = float(np.finfo(np.float64).tiny)


@frozen(kw_only=True)
class ShareTest:
    """The share of rows with some property in two samples.

    Attributes
    ----------
    share_reference, share_current : float
    effect_size : float
        share_current - share_reference.
    pvalue : float
        Never 0.
    n_reference, n_current : int
        Rows.
    """

    share_reference: float
    share_current: float
    effect_size: float
    pvalue: float
    n_reference: int
    n_current: int


def fisher_exact(count_reference: int, n_reference: int, count_current: int, n_current: int) -> ShareTest:
    """Compare two shares by Fisher's exact test, two-sided, as for missing values.

    The p-value adds up all tables with the same margins that are no more probable than this one
    (`scipy.stats.fisher_exact`).

    Parameters
    ----------
    count_reference, n_reference, count_current, n_current : int
        Rows with the property and rows in all, of both samples.

    Returns
    -------
    ShareTest

    Raises
    ------
    InvalidInputError
        Counts that are not whole numbers from 0 to n, n < 1.

    References
    ----------
    [1] Fisher, R. A. (1935). The Design of Experiments, ch. 2.

    Examples
    --------
    Fisher's lady names 3 of 4 cups right: p = 34/70 [1]. One missing value of 50 against none of 5,000 is no
    certainty either:

    >>> round(fisher_exact(3, 4, 1, 4).pvalue, 4), round(fisher_exact(0, 5000, 1, 50).pvalue, 4)
    (0.4857, 0.0099)
    """
    r, n = _as_share(count_reference, n_reference, "reference")
    k, m = _as_share(count_current, n_current, "current")
    return _result(r, n, k, m, fisher_pvalue(r, n, k, m))


def predictive_share(
    count_reference: int, n_reference: int, count_current: int, n_current: int, *, n_limits: int = 1
) -> ShareTest:
    """Test whether a share is larger than the reference lets one expect, as for values out of range or unseen.

    The p-value is P(X >= k) of the beta-binomial BetaBin(m; r + L, n + 1 - r - L), with r of n rows in the reference, k
    of m in the current sample and L = *n_limits*. With one limit that is BetaBin(m; r + 1, n - r):

    - Out of range on one side, beyond an order statistic of the reference with r values strictly beyond it: the exact
      distribution for continuous values [1]. On both sides at once, L = 2: the share outside is made up of r + 2 of
      the n + 1 spacings, and with L = 1 unchanged samples would be flagged too often.
    - A share of a property that was fixed beforehand: conservative, as the upper limit of Clopper and Pearson.
    - Unseen categories, with r those seen just once: the share of rows in categories that a sample of n lacks is about
      r/n [2]. That is an approximation: of unchanged samples up to 7% have p <= .05 with a current sample of a tenth,
      up to 17% with one as large as the reference where a thousand equally common categories are nearly all seen.
      `check_data_drift` asks another way, which keeps to its size.

    Parameters
    ----------
    count_reference, n_reference, count_current, n_current : int
        Rows with the property and rows in all, of both samples.
    n_limits : int, default 1
        How many limits were taken from the reference's own values.

    Returns
    -------
    ShareTest
        One-sided: small where the current share is large.

    Raises
    ------
    InvalidInputError
        Counts that are not whole numbers from 0 to n, n < 1, n_limits < 1.

    References
    ----------
    [1] Wilks, S. S. (1942). Statistical prediction with special reference to the problem of tolerance limits. Annals of
        Mathematical Statistics 13, 400-409.
    [2] Good, I. J. (1953). The population frequencies of species and the estimation of population parameters.
        Biometrika 40, 237-264.

    Examples
    --------
    That the next value exceeds all n before it has probability 1/(n + 1) [1]:

    >>> round(predictive_share(0, 99, 1, 1).pvalue, 12)
    0.01
    """
    check.as_int(n_limits, "n_limits", low=1)
    r, n = _as_share(count_reference, n_reference, "reference")
    k, m = _as_share(count_current, n_current, "current")
    return _result(r, n, k, m, predictive_pvalue(r, n, m, k, n_limits=n_limits))


def predictive_pvalue(r: int, n: int, m: int, k: int, *, n_limits: int) -> float:
    """Of shares that have been checked."""
    return beta_binomial_tail(k, m, r + n_limits, n + 1 - r - n_limits)


def fisher_pvalue(r: int, n: int, k: int, m: int) -> float:
    """Two-sided, of shares that have been checked."""
    from scipy.stats import fisher_exact as scipy_fisher_exact

    return min(1.0, max(float(scipy_fisher_exact([[r, n - r], [k, m - k]])[1]), _TINY))


def beta_binomial_tail(k: int, m: int, a: int, b: int) -> float:
    """P(X >= k) of BetaBin(m; a, b) for whole a >= 1 and any b; 1 where b < 1, where all of the mass is at m.

    By order statistics it is P(J < a) of the hypergeometric J: of the highest a - 1 + k of all a + b - 1 + m values
    fewer than a belong to the reference. All terms are positive, each follows from the one before, and only the first
    takes logarithms: 1e-7 of itself is right at n = m = 1e7, in small tails too. `scipy.stats.betabinom.sf` takes what
    is below k from 1, and has neither digits nor speed there.
    """
    if k <= 0 or b < 1:
        return 1.0
    n, draws = a + b - 1, a - 1 + k
    if (a - 1) * (n + m) <= draws * n:
        return min(1.0, max(_sum_down(a - 1, n, m, draws), _TINY))
    return min(1.0, max(1.0 - _sum_up(a, n, m, draws), _TINY))


def _sum_down(start: int, n: int, m: int, draws: int) -> float:
    """P(J <= start), for a start at or below the mean: terms fall from the first on."""
    j = np.arange(start, max(0, draws - m, start - _terms(draws)), -1, dtype=np.float64)
    return _first(start, n, m, draws) * _series(j * (m - draws + j) / ((n - j + 1.0) * (draws - j + 1.0)))


def _sum_up(start: int, n: int, m: int, draws: int) -> float:
    """P(J >= start), for a start above the mean."""
    if start > min(n, draws):
        return 0.0
    j = np.arange(start, min(n, draws, start + _terms(draws)), dtype=np.float64)
    return _first(start, n, m, draws) * _series((n - j) * (draws - j) / ((j + 1.0) * (m - draws + j + 1.0)))


def _terms(draws: int) -> int:
    """Eighty standard deviations, which are at most sqrt(draws) / 2: what follows is nothing beside the first."""
    return 100 + 40 * math.isqrt(draws)


def _series(ratios: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return 1.0 + float(np.sum(np.cumprod(ratios)))


def _first(j: int, n: int, m: int, draws: int) -> float:
    """P(J = j): j of *draws* from n + m belong to the n."""
    return math.exp(_log_choose(n, j) + _log_choose(m, draws - j) - _log_choose(n + m, draws))


def _log_choose(n: int, k: int) -> float:
    from scipy.special import betaln

    return -math.log1p(n) - float(betaln(n - k + 1.0, k + 1.0))


def _as_share(count: int, n: int, sample: str) -> tuple[int, int]:
    total = check.as_int(n, f"n_{sample}", low=1, high=_LARGEST_N)
    rows = check.as_int(count, f"count_{sample}")
    if rows > total:
        raise InvalidInputError(f"count_{sample}", f"{rows} is more than the {total} rows")
    return rows, total


def _result(r: int, n: int, k: int, m: int, pvalue: float) -> ShareTest:
    return ShareTest(
        share_reference=r / n,
        share_current=k / m,
        effect_size=k / m - r / n,
        pvalue=pvalue,
        n_reference=n,
        n_current=m,
    )
