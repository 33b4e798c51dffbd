"""What a test of a difference of means answers, from its effect, its standard error and the law of their ratio."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

from attrs import frozen

from model_perf import _validation as check
from model_perf.stats._confidence_interval import ConfidenceInterval

Alternative: TypeAlias = Literal["two-sided", "less", "greater"]
"""What is claimed of the effect: not zero, below zero, above zero."""


@frozen(kw_only=True)
class MeanDifference:
    """The mean of b minus that of a, tested against 0.

    Attributes
    ----------
    effect, standard_error : float
        In units of the values.
    confidence_interval : ConfidenceInterval
        One of its ends is infinite where the alternative has one side.
    statistic : float or None
        effect / standard_error; None where the standard error is 0, and both samples say the same throughout.
    pvalue : float
    df : float or None
        Degrees of freedom of t; None where the normal distribution is meant.
    n_a, n_b : int
    """

    effect: float
    standard_error: float
    confidence_interval: ConfidenceInterval
    statistic: float | None
    pvalue: float
    df: float | None
    n_a: int
    n_b: int


def as_alternative(value: str) -> Alternative:
    check.as_choice(value, "alternative", get_args(Alternative))
    return value  # type: ignore[return-value]


def mean_difference(
    effect: float,
    standard_error: float,
    *,
    df: float | None,
    alpha: float,
    alternative: Alternative,
    n_a: int,
    n_b: int,
) -> MeanDifference:
    """Interval and p of *effect* by t with *df* degrees, by the normal distribution without.

    Without a standard error nothing is known of the effect but its value: p is 1 where it is 0, and also where it is
    not, since two constants are no evidence of a distribution.
    """
    statistic = effect / standard_error if standard_error > 0.0 else None
    tail = alpha / 2.0 if alternative == "two-sided" else alpha
    reach = upper_quantile(tail, df) * standard_error
    return MeanDifference(
        effect=effect,
        standard_error=standard_error,
        confidence_interval=ConfidenceInterval(
            low=-math.inf if alternative == "less" else effect - reach,
            high=math.inf if alternative == "greater" else effect + reach,
        ),
        statistic=statistic,
        pvalue=1.0 if statistic is None else pvalue_of(statistic, df, alternative),
        df=df,
        n_a=n_a,
        n_b=n_b,
    )


def pvalue_of(statistic: float, df: float | None, alternative: Alternative) -> float:
    """The probability of a statistic at least as far out."""
    if alternative == "two-sided":
        return 2.0 * lower_tail(-abs(statistic), df)
    return lower_tail(statistic if alternative == "less" else -statistic, df)


def lower_tail(statistic: float, df: float | None) -> float:
    from scipy.special import ndtr, stdtr

    return float(ndtr(statistic) if df is None else stdtr(df, statistic))


def upper_quantile(tail: float, df: float | None) -> float:
    """The value that t, or the normal deviate, exceeds with probability *tail*."""
    from scipy.special import ndtri, stdtrit

    return -float(ndtri(tail) if df is None else stdtrit(df, tail))
