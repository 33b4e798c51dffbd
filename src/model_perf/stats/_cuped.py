"""CUPED: what was known before the assignment is taken out of the variance of the outcome."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from attrs import evolve

from model_perf import _validation as check
from model_perf.aggregates import Aggregates, Covariate
from model_perf.errors import InvalidInputError, TooFewObservationsError

_ROUNDING = 4.0 * np.finfo(np.float64).eps


def cuped_theta(*arms: Aggregates) -> float:
    """The coefficient by which the covariate is taken out: within arms, cross moments over squares [1].

    Within arms, since a difference between the arms' covariates is chance, and one between their outcomes is the
    effect: mixing both in would take a part of the effect out. 0.0 where the covariate does not vary, or by no more
    than rounding: the standard error of its mean is then below the mean's last digit.

    Parameters
    ----------
    *arms : Aggregates
        With their covariate.

    Raises
    ------
    TooFewObservationsError
        No observation in any arm.
    InvalidInputError
        Observations without a covariate.

    References
    ----------
    [1] Deng, A., Xu, Y., Kohavi, R. & Walker, T. (2013). Improving the sensitivity of online controlled experiments by
        utilizing pre-experiment data. WSDM '13, 123-132: section 3.2.

    Examples
    --------
    >>> a = Aggregates.from_values([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    >>> cuped_theta(a)
    2.0
    """
    n = sum(arm.n for arm in arms)
    if not n:
        raise TooFewObservationsError("arms", "have no observations; give one at least")
    covariates = [_covariate(arm, "arms") for arm in arms if arm.n]
    squares = sum(each.m2 for each in covariates)
    if math.sqrt(squares) / n <= _ROUNDING * max(abs(each.mean) for each in covariates):
        return 0.0
    return sum(each.cross for each in covariates) / squares


def adjusted(slots: Iterable[Aggregates], theta: float, center: float) -> list[Aggregates]:
    """The moments of x - theta (y - center), y being the covariate, for each of *slots*.

    Every test of means takes them as it takes others. m3 is not known of them and is that of x.

    Parameters
    ----------
    slots : iterable of Aggregates
        With their covariate; empty ones stay.
    theta : float
        As from `cuped_theta`, and the same for all slots of both arms.
    center : float
        What the covariate is compared with, its mean in both arms together, say; moves both arms alike.
    """
    slope, origin = check.as_float(theta, "theta"), check.as_float(center, "center")
    return [_adjusted(slot, slope, origin) if slot.n else slot for slot in slots]


def _adjusted(slot: Aggregates, theta: float, center: float) -> Aggregates:
    y = _covariate(slot, "slots")
    squares = slot.m2 - 2.0 * theta * y.cross + theta * theta * y.m2
    return evolve(slot, mean=slot.mean - theta * (y.mean - center), m2=max(0.0, squares), covariate=None)


def _covariate(moments: Aggregates, argument: str) -> Covariate:
    if moments.covariate is None:
        raise InvalidInputError(argument, "have no covariate; give one with every observation")
    return moments.covariate
