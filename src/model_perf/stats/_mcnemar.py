"""McNemar's test: do two models err on different items equally often?"""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from model_perf import _validation as check
from model_perf._floats import as_floats
from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._mean_difference import upper_quantile


@frozen(kw_only=True)
class McNemar:
    """Items of which one model was right and the other wrong.

    Attributes
    ----------
    effect : float
        Share of items right in b minus that in a.
    confidence_interval : ConfidenceInterval
        Of the effect, by Newcombe's method 10.
    pvalue : float
        Mid-p: as often below alpha as alpha says, on average over the counts.
    exact_pvalue : float
        By the binomial distribution; never below alpha more often than alpha says, and mostly much less.
    only_a, only_b : int
        Items that only a, only b got right.
    n : int
        Items.
    """

    effect: float
    confidence_interval: ConfidenceInterval
    pvalue: float
    exact_pvalue: float
    only_a: int
    only_b: int
    n: int


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike, *, alpha: float = 0.05) -> McNemar:
    """Compare how often two models were right on the same items.

    Parameters
    ----------
    correct_a, correct_b : array of bool, shape (n,)
        Whether each model got each item right.
    alpha : float, default 0.05
        The interval's confidence level is 1 - alpha.

    Raises
    ------
    InvalidInputError
        Values that are not 0 or 1, different lengths, no item.

    References
    ----------
    [1] McNemar, Q. (1947). Note on the sampling error of the difference between correlated proportions or percentages.
        Psychometrika 12, 153-157.
    [2] Newcombe, R. G. (1998). Improved confidence intervals for the difference between binomial proportions based on
        paired data. Statistics in Medicine 17, 2635-2650: method 10, table III.
    [3] Fagerland, M. W., Lydersen, S. & Laake, P. (2013). The McNemar test for binary matched-pairs data. BMC Medical
        Research Methodology 13, 91: mid-p.

    Examples
    --------
    Of 50 pairs 36 positive on both, 12 and 2 on one side only, none on neither [2, table III]:

    >>> result = mcnemar([1] * 48 + [0] * 2, [1] * 36 + [0] * 12 + [1] * 2)
    >>> -round(result.confidence_interval.high, 4), -round(result.confidence_interval.low, 4)
    (0.0569, 0.3404)
    """
    a, b = _as_outcomes(correct_a, "correct_a"), _as_outcomes(correct_b, "correct_b")
    if a.size != b.size:
        raise InvalidInputError("correct_b", f"has {b.size} entries and correct_a has {a.size}; give one per item")
    only_a, only_b, both = (int(np.count_nonzero(each)) for each in (a & ~b, b & ~a, a & b))
    return mcnemar_of(only_a, only_b, n_both=both, n=a.size, alpha=alpha)


def mcnemar_of_differences(differences: Aggregates, *, n_both: int | None = None, alpha: float = 0.05) -> McNemar:
    """The same from the moments of b - a in {-1, 0, 1}, exactly: b + c = m2 + n mean^2, b - c = n mean.

    Parameters
    ----------
    differences : Aggregates
    n_both : int, optional
        Items that both got right. The interval needs it; without, half of those on which both agree.
    """
    either = round(differences.m2 + differences.n * differences.mean**2)
    only_b = round((either + differences.n * differences.mean) / 2.0)
    agreed = differences.n - either
    both = agreed // 2 if n_both is None else check.as_int(n_both, "n_both", high=max(0, agreed))
    return mcnemar_of(either - only_b, only_b, n_both=both, n=differences.n, alpha=alpha)


def mcnemar_of(only_a: int, only_b: int, *, n_both: int, n: int, alpha: float = 0.05) -> McNemar:
    """The same from counts."""
    from scipy.special import bdtr, gammaln

    check.as_open_fraction(alpha, "alpha")
    check.as_int(n, "n", low=1)
    either, fewer = only_a + only_b, min(only_a, only_b)
    exact = min(1.0, 2.0 * float(bdtr(fewer, either, 0.5))) if either else 1.0
    point = math.exp(gammaln(either + 1) - gammaln(fewer + 1) - gammaln(either - fewer + 1) - either * math.log(2.0))
    return McNemar(
        effect=(only_b - only_a) / n,
        confidence_interval=_newcombe(only_a, only_b, n_both, n, alpha),
        pvalue=1.0 if only_a == only_b else min(1.0, max(0.0, exact - point)),
        exact_pvalue=exact,
        only_a=only_a,
        only_b=only_b,
        n=n,
    )


def _as_outcomes(values: ArrayLike, argument: str) -> NDArray[np.bool_]:
    array = np.asarray(values)
    numbers = as_floats(array.view(np.uint8) if array.dtype == bool else array, argument)
    bad = (numbers != 0.0) & (numbers != 1.0)
    if bad.any():
        place = int(bad.argmax())
        raise InvalidInputError(argument, f"holds {numbers[place]:g} at position {place}; give 0 and 1, or booleans")
    if not numbers.size:
        raise InvalidInputError(argument, "has no item")
    return np.asarray(numbers == 1.0, dtype=np.bool_)


def _newcombe(only_a: int, only_b: int, n_both: int, n: int, alpha: float) -> ConfidenceInterval:
    """Wilson's intervals of both shares, joined with their correlation."""
    z = upper_quantile(alpha / 2.0, None)
    neither = n - n_both - only_a - only_b
    a, b = (n_both + only_a) / n, (n_both + only_b) / n
    (low_a, high_a), (low_b, high_b) = _wilson(a, n, z), _wilson(b, n, z)
    phi = _correlation(n_both, only_a, only_b, neither, n)
    down = (b - low_b) ** 2 - 2.0 * phi * (b - low_b) * (high_a - a) + (high_a - a) ** 2
    up = (high_b - b) ** 2 - 2.0 * phi * (high_b - b) * (a - low_a) + (a - low_a) ** 2
    return ConfidenceInterval(low=b - a - math.sqrt(max(0.0, down)), high=b - a + math.sqrt(max(0.0, up)))


def _correlation(both: int, only_a: int, only_b: int, neither: int, n: int) -> float:
    """Phi of the fourfold table, its numerator moved towards 0 by n/2 where it is positive [2]."""
    product = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if not product:
        return 0.0
    numerator = float(both * neither - only_a * only_b)
    if numerator > 0.0:
        numerator = max(numerator - n / 2.0, 0.0)
    return numerator / math.sqrt(product)


def _wilson(p: float, n: int, z: float) -> tuple[float, float]:
    middle, reach = 2.0 * n * p + z * z, z * math.sqrt(z * z + 4.0 * n * p * (1.0 - p))
    return (middle - reach) / (2.0 * (n + z * z)), (middle + reach) / (2.0 * (n + z * z))
