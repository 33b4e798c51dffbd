"""Welch's t: do two independent samples have the same mean?"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf.aggregates import Aggregates
from model_perf.stats._mean_difference import Alternative, MeanDifference, as_alternative, mean_difference
from model_perf.stats._samples import as_aggregates


def welch_t_test(
    a: Aggregates | ArrayLike,
    b: Aggregates | ArrayLike,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> MeanDifference:
    """Compare two means whose variances may differ, once: at a size that was fixed before.

    Parameters
    ----------
    a, b : Aggregates, or array of float, shape (n,), (m,)
        Independent observations.
    alpha : float, default 0.05
        The interval's confidence level is 1 - alpha.
    alternative : {"two-sided", "less", "greater"}
        What is claimed of mean(b) - mean(a).

    Raises
    ------
    TooFewObservationsError
        Below two observations in a sample.

    References
    ----------
    [1] Welch, B. L. (1947). The generalization of 'Student's' problem when several different population variances are
        involved. Biometrika 34, 28-35.

    Examples
    --------
    >>> result = welch_t_test([27.5, 21.0, 19.0, 23.6, 17.0, 17.9], [27.1, 22.0, 20.8, 23.4, 23.4, 23.5])
    >>> round(result.effect, 2), round(result.df, 2), round(result.pvalue, 3)
    (2.37, 7.64, 0.235)
    """
    check.as_open_fraction(alpha, "alpha")
    left, right = as_aggregates(a, "a"), as_aggregates(b, "b")
    return mean_difference(
        right.mean - left.mean,
        math.hypot(left.standard_error, right.standard_error),
        df=welch_df((left.variance / left.n, left.n - 1), (right.variance / right.n, right.n - 1)),
        alpha=alpha,
        alternative=as_alternative(alternative),
        n_a=left.n,
        n_b=right.n,
    )


def welch_df(*parts: tuple[float, float]) -> float:
    """Degrees of freedom of a sum of squared standard errors, each with its own, by Satterthwaite."""
    total = sum(variance for variance, _ in parts)
    if total == 0.0:
        return sum(df for _, df in parts)
    return 1.0 / sum((variance / total) ** 2 / df for variance, df in parts if variance > 0.0)
