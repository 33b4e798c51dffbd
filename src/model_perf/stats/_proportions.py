"""Two independent proportions: the z test, with the score interval of their difference."""

from __future__ import annotations

import math
from functools import partial

from model_perf import _validation as check
from model_perf.errors import InvalidInputError
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._mean_difference import (
    Alternative,
    MeanDifference,
    as_alternative,
    lower_tail,
    pvalue_of,
    upper_quantile,
)
from model_perf.stats._score_interval import score_bound


def proportions_z_test(
    successes_a: int,
    n_a: int,
    successes_b: int,
    n_b: int,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> MeanDifference:
    """Compare two proportions by the pooled z, and bound their difference by Miettinen and Nurminen's score interval.

    The interval holds where Wald's fails: near 0 and 1, and at none or all of n, where it has a width all the same.

    Parameters
    ----------
    successes_a, n_a, successes_b, n_b : int
        Counts of independent observations, n >= 1.
    alpha : float, default 0.05
    alternative : {"two-sided", "less", "greater"}
        What is claimed of p_b - p_a.

    Returns
    -------
    MeanDifference
        effect = p_b - p_a; the standard error is the pooled one, of no difference.

    References
    ----------
    [1] Miettinen, O. & Nurminen, M. (1985). Comparative analysis of two rates. Statistics in Medicine 4, 213-226:
        equations 8 and 9.

    Examples
    --------
    >>> result = proportions_z_test(412, 5000, 470, 5100)
    >>> round(result.statistic, 3), round(result.pvalue, 4)
    (1.737, 0.0825)
    """
    check.as_open_fraction(alpha, "alpha")
    counts = _as_counts(successes_a, n_a, successes_b, n_b)
    x, n, y, m = counts
    alternative = as_alternative(alternative)
    effect, pooled = y / m - x / n, (x + y) / (n + m)
    error = math.sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m))
    statistic = effect / error if error > 0.0 else None
    tail = alpha / 2.0 if alternative == "two-sided" else alpha
    low, high = (
        score_bound(partial(score_statistic, counts), effect, end, upper_quantile(tail, None)) for end in (-1.0, 1.0)
    )
    return MeanDifference(
        effect=effect,
        standard_error=error,
        confidence_interval=ConfidenceInterval(
            low=-1.0 if alternative == "less" else low,
            high=1.0 if alternative == "greater" else high,
        ),
        statistic=statistic,
        pvalue=1.0 if statistic is None else pvalue_of(statistic, None, alternative),
        df=None,
        n_a=n,
        n_b=m,
    )


def score_statistic(counts: tuple[int, int, int, int], difference: float) -> float:
    """The deviate of the observed difference from *difference*, by the variance that goes with the latter [1]."""
    x, n, y, m = counts
    p = _restricted(counts, difference)
    q = min(max(p + difference, 0.0), 1.0)
    variance = (p * (1.0 - p) / n + q * (1.0 - q) / m) * (n + m) / (n + m - 1.0)
    distance = y / m - x / n - difference
    if variance <= 0.0:
        return 0.0 if abs(distance) < 1e-15 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def non_inferior_pvalue(counts: tuple[int, int, int, int], margin: float) -> float:
    """Of p_b <= p_a - margin."""
    return lower_tail(-score_statistic(counts, -margin), None)


def _restricted(counts: tuple[int, int, int, int], difference: float) -> float:
    """The most likely p_a among those with p_b = p_a + difference: a root of a cubic, in closed form."""
    x, n, y, m = counts
    total = n + m
    if difference == 0.0:
        return (x + y) / total
    # (n + m) p^3 + b p^2 + c p + d = 0, the derivative of the likelihood over its denominators.
    a = float(total)
    b = (2.0 * n + m) * difference - total - x - y
    c = x * (1.0 - 2.0 * difference) + y - m * difference - n * difference * (1.0 - difference)
    d = x * difference * (1.0 - difference)
    v = (b / (3.0 * a)) ** 3 - b * c / (6.0 * a * a) + d / (2.0 * a)
    u = math.copysign(math.sqrt(max(0.0, (b / (3.0 * a)) ** 2 - c / (3.0 * a))), v or 1.0)
    if u == 0.0:
        return min(max(-b / (3.0 * a), 0.0), 1.0)
    angle = (math.pi + math.acos(min(1.0, max(-1.0, v / u**3)))) / 3.0
    return min(max(2.0 * u * math.cos(angle) - b / (3.0 * a), max(0.0, -difference)), min(1.0, 1.0 - difference))


def _as_counts(x: int, n: int, y: int, m: int) -> tuple[int, int, int, int]:
    size_a, size_b = check.as_int(n, "n_a", low=1), check.as_int(m, "n_b", low=1)
    count_a, count_b = check.as_int(x, "successes_a"), check.as_int(y, "successes_b")
    for argument, count, size in (("successes_a", count_a, size_a), ("successes_b", count_b, size_b)):
        if count > size:
            raise InvalidInputError(argument, f"{count} is more than the {size} observations")
    return count_a, size_a, count_b, size_b
