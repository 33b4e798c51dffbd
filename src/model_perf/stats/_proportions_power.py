"""How many observations a comparison of two proportions takes, and what a given number can find."""

from __future__ import annotations

import math

from model_perf import _validation as check
from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats._mean_difference import lower_tail, upper_quantile
from model_perf.stats._power import as_power, crossing


def proportions_power(p_a: float, p_b: float, n_a: float, n_b: float, *, alpha: float = 0.05) -> float:
    """The probability that the two-sided pooled z test at level *alpha* finds a difference of proportions.

    Parameters
    ----------
    p_a, p_b : float
        The proportions, within (0, 1).
    n_a, n_b : float
        Observations, at least 1. The normal distribution is meant to hold: 5 events and 5 non-events in each.

    References
    ----------
    [1] Fleiss, J. L., Levin, B. & Paik, M. C. (2003). Statistical Methods for Rates and Proportions, 3rd ed., section
        4.2: pooled variance where nothing differs, separate ones where something does.

    Examples
    --------
    >>> round(proportions_power(0.50, 0.75, 50, 50), 2)  # R: power.prop.test(n=50, p1=.50, p2=.75), 0.740
    0.74
    """
    check.as_open_fraction(alpha, "alpha")
    shares = check.as_open_fraction(p_a, "p_a"), check.as_open_fraction(p_b, "p_b")
    return _power(*shares, check.as_float(n_a, "n_a", low=1.0), check.as_float(n_b, "n_b", low=1.0), alpha)


def proportions_sample_size(
    p_a: float, p_b: float, *, power: float = 0.8, alpha: float = 0.05, ratio: float = 1.0
) -> float:
    """Observations of a that find a difference with the given power, *ratio* times as many of b; round it up.

    Examples
    --------
    >>> round(proportions_sample_size(0.50, 0.75, power=0.9), 1)  # R: power.prop.test(p1=.50, p2=.75, power=.90)
    76.7
    """
    as_power(power, alpha)
    a, b = check.as_open_fraction(p_a, "p_a"), check.as_open_fraction(p_b, "p_b")
    if a == b:
        raise InvalidInputError("p_b", f"{b} is p_a too, a difference that no number of observations finds")
    factor = check.as_float(ratio, "ratio", low=1e-6, high=1e6)
    return crossing(lambda n: _power(a, b, n, factor * n, alpha), power, 1e-9, 1e40)


def proportions_detectable_effect(
    p_a: float, n_a: float, n_b: float, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """The rise above *p_a* that is found with the given power; of a fall, ask about 1 - p_a.

    Raises
    ------
    TooFewObservationsError
        Not even a rise to 1 would be found.

    Examples
    --------
    >>> round(0.5 + proportions_detectable_effect(0.5, 50, 50, power=0.9), 4)  # R: power.prop.test(50, .5, power=.9)
    0.8026
    """
    as_power(power, alpha)
    share = check.as_open_fraction(p_a, "p_a")
    sizes = check.as_float(n_a, "n_a", low=1.0), check.as_float(n_b, "n_b", low=1.0)
    if _power(share, 1.0, *sizes, alpha) < power:
        raise TooFewObservationsError("n_a", f"{n_a:g} and {n_b:g} in b do not find a rise from {share:g} to 1")
    return crossing(lambda rise: _power(share, share + rise, *sizes, alpha), power, 0.0, 1.0 - share)


def _power(a: float, b: float, n_a: float, n_b: float, alpha: float) -> float:
    pooled = (n_a * a + n_b * b) / (n_a + n_b)
    reach = upper_quantile(alpha / 2.0, None) * math.sqrt(max(0.0, pooled * (1.0 - pooled)) * (1.0 / n_a + 1.0 / n_b))
    error = math.sqrt(a * (1.0 - a) / n_a + max(0.0, b * (1.0 - b)) / n_b)
    return sum(lower_tail((side * (b - a) - reach) / error, None) for side in (1.0, -1.0))
