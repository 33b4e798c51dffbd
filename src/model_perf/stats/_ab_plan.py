"""How many observations an A/B test takes that may be looked at at any time, and what a given number can find."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from attrs import frozen

from model_perf import _validation as check
from model_perf._floats import Floats
from model_perf.errors import InvalidInputError
from model_perf.stats._confidence_sequence import sequence_multipliers

_LOOKS = 80
_FIRST = 0.02
"""Looks between this share of the planned size and all of it; more of them change the power by less than .003."""
_GRID = 801


@frozen(kw_only=True)
class ABTestPlan:
    """What a test can find.

    Attributes
    ----------
    planned_n : int
        Observations of both models together, or pairs.
    minimum_detectable_effect : float
        The difference that is found by then with probability `power`, in the unit of the standard deviation.
    power : float
    fixed_n : int
        What a test takes that is looked at once, at its end.
    days : float or None
        At the given traffic.
    """

    planned_n: int
    minimum_detectable_effect: float
    power: float
    fixed_n: int
    days: float | None = None


def plan_ab_test(
    standard_deviation: float,
    *,
    minimum_detectable_effect: float | None = None,
    planned_n: int | None = None,
    traffic_split: float = 0.5,
    paired: bool = False,
    alpha: float = 0.05,
    power: float = 0.8,
    observations_per_day: float | None = None,
) -> ABTestPlan:
    """Say how large a test must be for an effect, or which effect it finds at a size.

    To look at any time costs about 1.7 times the observations of a fixed test at 80% power; a larger effect than the
    planned one ends the test sooner.

    Parameters
    ----------
    standard_deviation : float
        Of one observation (of a proportion p, sqrt(p (1 - p))); of a paired test, of one difference. With several rows
        per unit count units.
    minimum_detectable_effect, planned_n
        One of both: the difference that matters, or the observations that there will be.
    traffic_split : float
        Share of model_b.
    observations_per_day : float, optional
        Of both models together; gives the days.

    Raises
    ------
    InvalidInputError
        Neither or both of effect and size, numbers that are not positive.

    Examples
    --------
    >>> plan = plan_ab_test(1.0, minimum_detectable_effect=0.1, observations_per_day=500)
    >>> plan.fixed_n, round(plan.planned_n / plan.fixed_n, 1), round(plan.days)
    (3140, 1.7, 11)
    """
    sd = _positive(standard_deviation, "standard_deviation")
    split = check.as_open_fraction(traffic_split, "traffic_split")
    check.as_open_fraction(alpha, "alpha")
    check.as_float(check.as_open_fraction(power, "power"), "power", low=alpha)
    if (minimum_detectable_effect is None) == (planned_n is None):
        raise InvalidInputError("planned_n", "give either it or minimum_detectable_effect")
    share = 1.0 if paired else split * (1.0 - split)
    theta = sequential_drift(alpha, power)
    if planned_n is None:
        effect = _positive(minimum_detectable_effect, "minimum_detectable_effect")
        size = math.ceil((theta * sd / effect) ** 2 / share)
    else:
        size = check.as_int(planned_n, "planned_n", low=2)
        effect = theta * sd / math.sqrt(size * share)
    per_day = None if observations_per_day is None else _positive(observations_per_day, "observations_per_day")
    return ABTestPlan(
        planned_n=size,
        minimum_detectable_effect=effect,
        power=power,
        fixed_n=math.ceil((_fixed_drift(alpha, power) * sd / effect) ** 2 / share),
        days=None if per_day is None else size / per_day,
    )


@lru_cache(maxsize=64)
def sequential_drift(alpha: float, power: float) -> float:
    """The effect over its standard error at the planned size that a sequence finds by then with the given power."""
    low, high = 0.0, 40.0
    while high - low > 1e-4:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if crossing_probability(middle, alpha) < power else (low, middle)
    return 0.5 * (low + high)


def crossing_probability(drift: float, alpha: float) -> float:
    """The probability that a sequence excludes 0 by the planned size, by integration from look to look.

    Armitage, P., McPherson, C. K. & Rowe, B. C. (1969). Repeated significance tests on accumulating data. Journal of
    the Royal Statistical Society A 132, 235-244: the recursion of section 2, here on the boundary of the sequence.
    """
    times = np.geomspace(_FIRST, 1.0, _LOOKS)
    planned = 10**6
    bounds = sequence_multipliers(times * planned, planned_n=planned, alpha=alpha) * np.sqrt(times)
    grid = np.linspace(-bounds[0], bounds[0], _GRID)
    inside = _normal(grid - drift * times[0], times[0])
    for k in range(1, _LOOKS):
        step = times[k] - times[k - 1]
        reached = np.linspace(-bounds[k], bounds[k], _GRID)
        weights = inside * (grid[1] - grid[0])
        inside = _normal(reached[:, None] - grid - drift * step, step) @ weights
        grid = reached
    return 1.0 - float(inside.sum() * (grid[1] - grid[0]))


def _normal(distance: Floats, variance: float) -> Floats:
    return np.asarray(np.exp(-0.5 * distance**2 / variance) / math.sqrt(2.0 * math.pi * variance))


def _fixed_drift(alpha: float, power: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(power) - ndtri(alpha / 2.0))


def _positive(value: float | None, argument: str) -> float:
    number = check.as_float(value, argument)  # type: ignore[arg-type]
    if not number > 0.0:
        raise InvalidInputError(argument, f"{number} is not positive")
    return number
