"""How many observations a comparison of two means takes, and what a given number can find."""

from __future__ import annotations

import math
from collections.abc import Callable

from model_perf import _validation as check
from model_perf.errors import InvalidInputError


def t_test_power(effect_size: float, n_a: float, n_b: float, *, alpha: float = 0.05) -> float:
    """The probability that a two-sided t-test at level *alpha* finds a difference.

    Parameters
    ----------
    effect_size : float
        Difference of the means in standard deviations.
    n_a, n_b : float
        Observations, above 1.

    References
    ----------
    [1] Cohen, J. (1988). Statistical Power Analysis for the Behavioral Sciences, 2nd ed., section 2.3: noncentral t.

    Examples
    --------
    >>> round(t_test_power(0.5, 64, 64), 2)  # Cohen's table 2.3.5: 64 each for .80
    0.8
    """
    from scipy.special import nctdtr, stdtrit

    check.as_open_fraction(alpha, "alpha")
    a, b = (_above_one(n, argument) for n, argument in ((n_a, "n_a"), (n_b, "n_b")))
    df = a + b - 2.0
    shift = abs(check.as_float(effect_size, "effect_size")) / math.sqrt(1.0 / a + 1.0 / b)
    critical = float(stdtrit(df, 1.0 - alpha / 2.0))
    if shift > 37.0:  # beyond which the noncentral t of scipy underflows; the power is 1 - 1e-200 there
        return 1.0
    return min(1.0, float(1.0 - nctdtr(df, shift, critical) + nctdtr(df, shift, -critical)))


def t_test_sample_size(effect_size: float, *, power: float = 0.8, alpha: float = 0.05, ratio: float = 1.0) -> float:
    """Observations of a that find a difference with the given power, *ratio* times as many of b; round it up.

    Examples
    --------
    >>> round(t_test_sample_size(0.2), 1)
    393.4
    """
    as_power(power, alpha)
    size = abs(check.as_float(effect_size, "effect_size"))
    if size == 0.0:
        raise InvalidInputError("effect_size", "is 0, which no number of observations finds")
    factor = check.as_float(ratio, "ratio", low=1e-6, high=1e6)
    low = 1.0 + max(1.0, 1.0 / factor) * 1e-3
    return crossing(lambda n: t_test_power(size, n, max(1.0 + 1e-9, factor * n), alpha=alpha), power, low, 1e15)


def t_test_detectable_effect(n_a: float, n_b: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """The difference, in standard deviations, that is found with the given power.

    Examples
    --------
    >>> round(t_test_detectable_effect(500, 500), 4)
    0.1774
    """
    as_power(power, alpha)
    return crossing(lambda effect: t_test_power(effect, n_a, n_b, alpha=alpha), power, 0.0, 1e6)


def crossing(power_of: Callable[[float], float], power: float, low: float, high: float) -> float:
    """Where a rising power crosses, by bisection of the logarithm once the scale is found."""
    for _ in range(400):
        middle = math.sqrt(low * high) if low > 0.0 and high / low > 4.0 else 0.5 * (low + high)
        if power_of(middle) < power:
            low = middle
        else:
            high = middle
        if high - low <= 1e-12 * high:
            break
    return 0.5 * (low + high)


def as_power(power: float, alpha: float) -> None:
    check.as_open_fraction(alpha, "alpha")
    check.as_float(check.as_open_fraction(power, "power"), "power", low=alpha)


def _above_one(n: float, argument: str) -> float:
    number = check.as_float(n, argument)
    if not number > 1.0:
        raise InvalidInputError(argument, f"{number} leaves no degree of freedom; give more than 1")
    return number
