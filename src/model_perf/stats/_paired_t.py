"""Student's t for pairs: is the mean difference zero?"""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf._floats import Floats, as_floats
from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._samples import as_aggregates

_ROUNDING = 4.0 * np.finfo(np.float64).eps


@frozen(kw_only=True)
class PairedT:
    """The mean of b - a, tested against 0.

    Attributes
    ----------
    effect : float
        Mean of b - a, in units of the values.
    confidence_interval : ConfidenceInterval
    statistic : float or None
        None where all differences are equal: t is then undefined.
    pvalue : float
        Two-sided; that of the sign test where t is undefined.
    df : int
        n - 1.
    n : int
        Pairs.
    """

    effect: float
    confidence_interval: ConfidenceInterval
    statistic: float | None
    pvalue: float
    df: int
    n: int


def paired_t(values_a: ArrayLike, values_b: ArrayLike, *, alpha: float = 0.05) -> PairedT:
    """Compare paired values by their mean difference.

    Where all differences are equal up to rounding they have no variance to measure the mean by. The sign test still
    has an answer: p = 2^(1-n) when they are not zero, 1 when they are; the interval is then that one difference.

    Parameters
    ----------
    values_a, values_b : array of float, shape (n,)
        Finite; the i-th of both belong together.
    alpha : float, default 0.05
        The interval's confidence level is 1 - alpha.

    Raises
    ------
    TooFewObservationsError
        n < 2.
    InvalidInputError
        Values that are not finite numbers, different lengths.

    References
    ----------
    [1] Student (1908). The probable error of a mean. Biometrika 6, 1-25.

    Examples
    --------
    Student's table of additional hours of sleep [1, p. 20] (mean difference 1.58, t = 4.06):

    >>> dextro = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    >>> laevo = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    >>> result = paired_t(dextro, laevo)
    >>> round(result.effect, 2), round(result.statistic, 2), round(result.pvalue, 4)
    (1.58, 4.06, 0.0028)
    """
    check.as_open_fraction(alpha, "alpha")
    a, b = as_pairs(values_a, values_b)
    if a.size < 2:
        raise TooFewObservationsError("values_a", f"has {a.size} entries; a variance needs two pairs")
    return paired_t_of(a, b, alpha)


def paired_t_of_differences(differences: Aggregates | ArrayLike, *, alpha: float = 0.05) -> PairedT:
    """The same from the differences b - a, or from the moments that were kept of them.

    Parameters
    ----------
    differences : Aggregates, or array of float, shape (n,)
    alpha : float, default 0.05

    Raises
    ------
    TooFewObservationsError
        n < 2.

    Examples
    --------
    Student's differences, as above, kept in two parts:

    >>> kept = Aggregates.from_values([1.2, 2.4, 1.3, 1.3, 0.0]) + Aggregates.from_values([1.0, 1.8, 0.8, 4.6, 1.4])
    >>> round(paired_t_of_differences(kept).statistic, 2)
    4.06
    """
    check.as_open_fraction(alpha, "alpha")
    kept = as_aggregates(differences, "differences")
    sd = math.sqrt(kept.variance)
    if sd <= _ROUNDING * abs(kept.mean):
        return _all_equal(kept.mean, kept.n)
    return _by_t(kept.mean, sd, kept.n, alpha)


def as_pairs(values_a: ArrayLike, values_b: ArrayLike) -> tuple[Floats, Floats]:
    a, b = as_floats(values_a, "values_a"), as_floats(values_b, "values_b")
    if a.size != b.size:
        raise InvalidInputError("values_b", f"has {b.size} entries and values_a has {a.size}; give pairs")
    return a, b


def rounding_of(a: Floats, b: Floats) -> float:
    """The spread of their differences that rounding alone may be the reason for."""
    return float(_ROUNDING * max(np.max(np.abs(a)), np.max(np.abs(b))))


def paired_t_of(a: Floats, b: Floats, alpha: float) -> PairedT:
    """The test on pairs that have been checked."""
    differences = b - a
    sd = float(differences.std(ddof=1))
    if sd <= rounding_of(a, b):
        return _all_equal(float(np.median(differences)), a.size)
    return _by_t(float(differences.mean()), sd, a.size, alpha)


def _by_t(effect: float, sd: float, n: int, alpha: float) -> PairedT:
    from scipy.special import stdtr, stdtrit

    standard_error = sd / np.sqrt(n)
    statistic = float(effect / standard_error)
    reach = float(stdtrit(n - 1, 1.0 - alpha / 2.0) * standard_error)
    return PairedT(
        effect=effect,
        confidence_interval=ConfidenceInterval(low=effect - reach, high=effect + reach),
        statistic=statistic,
        pvalue=float(2.0 * stdtr(n - 1, -abs(statistic))),
        df=n - 1,
        n=n,
    )


def _all_equal(difference: float, n: int) -> PairedT:
    return PairedT(
        effect=difference,
        confidence_interval=ConfidenceInterval(low=difference, high=difference),
        statistic=None,
        pvalue=1.0 if difference == 0.0 else 2.0 ** (1 - n),
        df=n - 1,
        n=n,
    )
