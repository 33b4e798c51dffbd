"""Kolmogorov-Smirnov: the largest gap between two distribution functions."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from model_perf import _validation as check
from model_perf.drift._samples import Values, as_sorted_samples
from model_perf.drift._smirnov_distribution import smirnov_pvalue
from model_perf.stats._confidence_interval import ConfidenceInterval

Counts = NDArray[np.int64]

_ROWS_PER_KNOT = 64
_FEW = 4096  # up to here every value is looked up; beyond, only where the knots leave room for a larger gap


@frozen(kw_only=True)
class KolmogorovSmirnov:
    """The largest gap between the distribution functions of two samples.

    Attributes
    ----------
    statistic : float
        D, between 0 and 1.
    statistic_high : float
        The same where all values are known; what D may be at most where some are.
    location : float
        The value at or just below which the gap is found.
    sign : int
        +1: the reference's function lies above, so that current values are larger; -1: below; 0: there is no gap.
    pvalue : float
        Two-sided, of `statistic`; never 0.
    confidence_interval : ConfidenceInterval
        Of the distance between the distributions themselves.
    n_reference, n_current : int
        Values that are not missing.
    """

    statistic: float
    statistic_high: float
    location: float
    sign: int
    pvalue: float
    confidence_interval: ConfidenceInterval
    n_reference: int
    n_current: int


def kolmogorov_smirnov(reference: ArrayLike, current: ArrayLike, *, alpha: float = 0.05) -> KolmogorovSmirnov:
    """Compare two samples by the largest gap between their distribution functions.

    The p-value is exact while n m <= 300,000 [1] and within 5% beyond; with ties both are conservative. The
    interval is that of Dvoretzky, Kiefer and Wolfowitz with Massart's constant [2], half of alpha for each sample.

    Parameters
    ----------
    reference, current : array of float, shape (n,), (m,)
        The same unit in both. NaN is left out; infinities are ranked as the largest and least values.
    alpha : float, default 0.05
        The interval's confidence level is 1 - alpha.

    Returns
    -------
    KolmogorovSmirnov

    Raises
    ------
    TooFewObservationsError
        One of both holds no number.
    InvalidInputError
        Values that are not numbers.

    References
    ----------
    [1] Hodges, J. L. (1958). The significance probability of the Smirnov two-sample test. Arkiv för Matematik 3,
        469-486.
    [2] Massart, P. (1990). The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality. Annals of Probability
        18, 1269-1283.

    Examples
    --------
    D = 1 of 4 against 4 has 2 of the 70 orders, p = 2/70 [1]:

    >>> result = kolmogorov_smirnov([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0])
    >>> result.statistic, round(result.pvalue, 4), result.sign
    (1.0, 0.0286, 1)
    """
    check.as_open_fraction(alpha, "alpha")
    a, b = as_sorted_samples(reference, current)
    return kolmogorov_smirnov_of(a, b, alpha)


def kolmogorov_smirnov_of(reference: Values, current: Values, alpha: float) -> KolmogorovSmirnov:
    """The test on sorted samples without NaN, one type for both.

    Both functions are compared at the values of the smaller sample, on either side of each: no other place has a
    larger gap. Of a million values one in 64 is looked up first, and only where that leaves room the others.
    """
    n, m = reference.size, current.size
    few, many, sign = (reference, current, 1) if n <= m else (current, reference, -1)
    knots = few if few.size <= _FEW else few[::_ROWS_PER_KNOT]
    gaps = _gaps(few, many, knots)
    if few.size > _FEW:
        gaps = _gaps(few, many, _refined(few, gaps))
    return _result(gaps, gaps.largest, sign, (n, m), alpha)


def kolmogorov_smirnov_of_knots(
    knots: Values, below: Counts, at_most: Counts, n: int, current: Values, alpha: float
) -> KolmogorovSmirnov:
    """The test against a reference of which the distribution function is known at some values only.

    Parameters
    ----------
    knots : array of float, shape (K,)
        Strictly increasing, K >= 1.
    below, at_most : array of int, shape (K,)
        How many reference values are < and <= each knot.
    n : int
        Reference values in all.
    current : array of float, shape (m,)
        Ascending, without NaN, in the knots' type; m >= 1.
    alpha : float
        The interval's confidence level is 1 - alpha.

    Returns
    -------
    KolmogorovSmirnov
        `statistic` is the largest gap at the knots, `statistic_high` what it may be between them; they are equal
        where the knots are all different values of the reference. The p-value is that of the lower end; the interval
        reaches from below the lower to above the higher.
    """
    return kolmogorov_smirnov_of_counts(knots, (below, at_most, n), (*_ranks(current, knots), current.size), alpha)


def kolmogorov_smirnov_of_counts(
    knots: Values, reference: tuple[Counts, Counts, int], current: tuple[Counts, Counts, int], alpha: float
) -> KolmogorovSmirnov:
    """The same where of the current values, too, only their numbers below, at or below each knot and in all are known.

    Nothing is lost by that where the knots are all different values of the reference.
    """
    gaps = _Gaps.of(knots, *reference, *current)
    return _result(gaps, max(gaps.largest, int(gaps.room.max())), 1, (reference[2], current[2]), alpha)


@frozen(kw_only=True, eq=False)
class _Gaps:
    """Differences n m (F - G) of two distribution functions, whole numbers.

    `just_below` and `at` the knots, of shape (K,); `room`, of shape (K + 1,), is what |n m (F - G)| may be before,
    between and after them.
    """

    knots: Values
    just_below: Counts
    at: Counts
    room: Counts

    @classmethod
    def of(
        cls,
        knots: Values,
        below: Counts,
        at_most: Counts,
        n: int,
        other_below: Counts,
        other_at_most: Counts,
        m: int,
    ) -> _Gaps:
        # Both functions only rise: between two knots each lies between its values at them.
        low, other_low = np.append(0, at_most) * m, np.append(0, other_at_most) * n
        high, other_high = np.append(below, n) * m, np.append(other_below, m) * n
        return cls(
            knots=knots,
            just_below=below * m - other_below * n,
            at=at_most * m - other_at_most * n,
            room=np.maximum(high - other_low, other_high - low),
        )

    @property
    def largest(self) -> int:
        return max(int(np.abs(self.just_below).max()), int(np.abs(self.at).max()))


def _gaps(few: Values, many: Values, knots: Values) -> _Gaps:
    knots = knots[np.append(True, knots[1:] != knots[:-1])]
    return _Gaps.of(knots, *_ranks(few, knots), few.size, *_ranks(many, knots), many.size)


def _ranks(ascending: Values, knots: Values) -> tuple[Counts, Counts]:
    below, at_most = (np.searchsorted(ascending, knots, side=side) for side in ("left", "right"))
    return below.astype(np.int64), at_most.astype(np.int64)


def _refined(few: Values, gaps: _Gaps) -> Values:
    """The knots, and the values wherever between them a larger gap may be."""
    below, at_most = _ranks(few, gaps.knots)
    starts, ends = np.append(0, at_most), np.append(below, few.size)
    look = np.zeros(few.size + 1, dtype=np.int64)
    wide = gaps.room > gaps.largest
    np.add.at(look, starts[wide], 1)
    np.add.at(look, ends[wide], -1)
    chosen = np.cumsum(look[:-1]) > 0
    chosen[below] = True
    return few[chosen]


def _result(gaps: _Gaps, high: int, sign: int, sizes: tuple[int, int], alpha: float) -> KolmogorovSmirnov:
    n, m = sizes
    largest = gaps.largest
    differences = np.concatenate([gaps.at, gaps.just_below])
    place = int(np.abs(differences).argmax())
    reach = sum(np.sqrt(np.log(4.0 / alpha) / (2.0 * size)) for size in sizes)
    statistic, statistic_high = largest / (n * m), high / (n * m)
    return KolmogorovSmirnov(
        statistic=statistic,
        statistic_high=statistic_high,
        location=gaps.knots[place % gaps.knots.size].item(),
        sign=sign * int(np.sign(differences[place])),
        pvalue=smirnov_pvalue(largest, n, m),
        confidence_interval=ConfidenceInterval(
            low=max(0.0, float(statistic - reach)), high=min(1.0, float(statistic_high + reach))
        ),
        n_reference=n,
        n_current=m,
    )
