"""McNemar's test: do two models err on different items equally often?"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from model_perf import _validation as check
from model_perf._floats import as_floats
from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._mean_difference import upper_quantile
from model_perf.stats._score_interval import score_bound

_ROUNDING = 1e-3
"""Of counts out of moments, beyond which they are no counts."""


@frozen(kw_only=True)
class McNemar:
    """Items of which one model was right and the other wrong.

    Attributes
    ----------
    effect : float
        Share of items right in b minus that in a.
    confidence_interval : ConfidenceInterval
        Of the effect, by Tango's score.
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
    [2] Tango, T. (1998). Equivalence test and confidence interval for the difference in proportions for the
        paired-sample design. Statistics in Medicine 17, 891-908.
    [3] Fagerland, M. W., Lydersen, S. & Laake, P. (2013). The McNemar test for binary matched-pairs data. BMC Medical
        Research Methodology 13, 91: mid-p.
    [4] Fagerland, M. W., Lydersen, S. & Laake, P. (2014). Recommended tests and confidence intervals for paired
        binomial proportions. Statistics in Medicine 33, 2850-2875.

    Examples
    --------
    Airways of 21 children before and after a transplantation: 1 reacted before and after, 1 before only, 7 after only
    [4]; after less before lies within .026 and .517.

    >>> result = mcnemar([1] * 2 + [0] * 19, [1] + [0] + [1] * 7 + [0] * 12)
    >>> round(result.confidence_interval.low, 3), round(result.confidence_interval.high, 3)
    (0.026, 0.517)
    """
    a, b = _as_outcomes(correct_a, "correct_a"), _as_outcomes(correct_b, "correct_b")
    if a.size != b.size:
        raise InvalidInputError("correct_b", f"has {b.size} entries and correct_a has {a.size}; give one per item")
    only_a, only_b = int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a))
    return mcnemar_of(only_a, only_b, n=a.size, alpha=alpha)


def mcnemar_of_differences(differences: Aggregates, *, alpha: float = 0.05) -> McNemar:
    """The same from the moments of b - a in {-1, 0, 1}, exactly: b + c = m2 + n mean^2, b - c = n mean.

    Parameters
    ----------
    differences : Aggregates
    alpha : float, default 0.05

    Raises
    ------
    InvalidInputError
        Moments that no differences of -1, 0 and 1 have, no item.

    Examples
    --------
    >>> kept = Aggregates.from_values([1] * 7 + [-1] + [0] * 13)
    >>> mcnemar_of_differences(kept) == mcnemar([1] * 2 + [0] * 19, [1] + [0] + [1] * 7 + [0] * 12)
    True
    """
    either, more = differences.m2 + differences.n * differences.mean**2, differences.n * differences.mean
    counts = round((either - more) / 2.0), round((either + more) / 2.0)
    missed = max(abs(sum(counts) - either), abs(counts[1] - counts[0] - more))
    if missed > _ROUNDING or min(counts) < 0 or sum(counts) > differences.n:
        raise InvalidInputError("differences", "are not moments of -1, 0 and 1; give b - a of outcomes of 0 and 1")
    return mcnemar_of(*counts, n=differences.n, alpha=alpha)


def mcnemar_of(only_a: int, only_b: int, *, n: int, alpha: float = 0.05) -> McNemar:
    """The same from counts."""
    from scipy.special import bdtr, gammaln

    check.as_open_fraction(alpha, "alpha")
    check.as_int(n, "n", low=1)
    either, fewer, effect = only_a + only_b, min(only_a, only_b), (only_b - only_a) / n
    exact = min(1.0, 2.0 * float(bdtr(fewer, either, 0.5))) if either else 1.0
    point = math.exp(gammaln(either + 1) - gammaln(fewer + 1) - gammaln(either - fewer + 1) - either * math.log(2.0))
    score, z = partial(_score, only_a, only_b, n), upper_quantile(alpha / 2.0, None)
    return McNemar(
        effect=effect,
        confidence_interval=ConfidenceInterval(
            low=score_bound(score, effect, -1.0, z), high=score_bound(score, effect, 1.0, z)
        ),
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


def _score(only_a: int, only_b: int, n: int, difference: float) -> float:
    """The deviate of the observed difference from *difference*, by the likeliest shares that have the latter [2]."""
    linear = (2.0 * n - only_b + only_a) * difference - only_a - only_b
    root = math.sqrt(max(0.0, linear**2 + 8.0 * n * only_a * difference * (1.0 - difference)))
    share_of_a = (root - linear) / (4.0 * n)
    variance = n * (2.0 * share_of_a + difference * (1.0 - difference))
    distance = only_b - only_a - n * difference
    if variance <= 0.0:
        return 0.0 if abs(distance) < 1e-9 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)
