"""How large a share must become until its check finds that: what "ok" was able to see."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

from model_perf.drift._answers import MIN_POWER, Answer
from model_perf.drift._data_report import CheckName
from model_perf.drift._shares import beta_binomial_tail, fisher_pvalue, predictive_pvalue

_Tail = Callable[[int], float]
_FEW = 4
"""Rows between the limits at half of the level and at all of it, up to which Fisher's own sum is taken."""


def detectable_change(answer: Answer, level: float, threshold: float) -> float | None:
    """The smallest rise of a share that its test finds in four windows of five; None where it finds none.

    The window's rows that the test needs at least, by the test itself, and the share that puts as many there as often
    (the lower limit of Clopper and Pearson, read the other way round). Of rows in time order it is an approximation:
    clumps are taken for rows, and the share must be beyond the spread of the reference's stretches, too.

    Parameters
    ----------
    answer : Answer
        Of "missing" or "out_of_range".
    level : float
        Of p, for one check.
    threshold : float
        Of the effect.
    """
    from scipy.special import betaincinv

    if answer.count_reference is None:
        return None
    r, n, m = clumps(answer)
    share = answer.count_reference / answer.n_reference
    k = _critical_count(answer.name, r, n, m, level, _fewest(share, m, threshold))
    if k is None:
        return None
    found = float(betaincinv(k, m - k + 1.0, MIN_POWER))
    if answer.n_stretches:
        found = max(found, _beyond_the_spread(answer, share, level))
    return min(1.0, found) - share


def finds_a_fall(answer: Answer, level: float, threshold: float) -> bool:
    """Whether a window without any missing value would be found."""
    r, n, m = clumps(answer)
    return answer.name == "missing" and r / n >= threshold and fisher_pvalue(r, n, 0, m) <= level


def clumps(answer: Answer) -> tuple[int, int, int]:
    """Counts and rows of the reference, rows of the window: in clumps, as the p-value of rare rows has them."""
    r, size = (answer.count_reference or 0) / answer.dispersion, answer.dispersion
    n, m = (max(1, round(count / size)) for count in (answer.n_reference, answer.n_current))
    return min(n, round(r) if answer.name == "missing" else math.ceil(r)), n, m


def _fewest(share: float, m: int, threshold: float) -> int:
    """Rows of the window from which the effect matters."""
    k = max(1, math.ceil((share + threshold) * m) - 1)
    while k / m - share < threshold or k / m <= share:
        k += 1
    return k


@lru_cache(maxsize=4096)
def _critical_count(name: CheckName, r: int, n: int, m: int, level: float, fewest: int) -> int | None:
    """The window's rows from which on p is at the level at most."""
    if name == "out_of_range":
        return _first(partial(predictive_pvalue, r, n, m, n_limits=2), level, fewest, m)
    one_sided = partial(_upper_half, r, n, m)
    low, high = (_first(one_sided, part, fewest, m) for part in (level, level / 2.0))
    if low is None or (high is not None and high - low > _FEW):
        return high
    return next((k for k in range(low, m + 1) if fisher_pvalue(r, n, k, m) <= level), None)


def _upper_half(r: int, n: int, m: int, k: int) -> float:
    """Fisher's test, one-sided."""
    return beta_binomial_tail(k, m, r + 1, n - r)


def _first(tail: _Tail, level: float, fewest: int, most: int) -> int | None:
    """The first count whose tail is at the level at most, by doubling steps and halving what is between."""
    low, high, step = fewest - 1, fewest, 1
    while high <= most and tail(high) > level:
        low, high, step = high, (min(most, high + step) if high < most else most + 1), 2 * step
    if high > most:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tail(middle) <= level else (middle, high)
    return high


def _beyond_the_spread(answer: Answer, share: float, level: float) -> float:
    """By the arcsine of the share's root, whose variance is about 1/(4 n), and t of the reference's stretches."""
    from scipy.special import ndtri, stdtrit

    reach = float(ndtri(MIN_POWER) + stdtrit(answer.n_stretches - 1, 1.0 - level / 2.0))
    angle = math.asin(math.sqrt(share)) + reach / (2.0 * math.sqrt(answer.n_effective))
    return 1.0 if angle >= math.pi / 2.0 else math.sin(angle) ** 2
