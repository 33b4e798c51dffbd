"""CUPED: what was known before the assignment is taken out of the variance of the outcome."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError


def cuped_theta(*arms: Aggregates) -> float:
    """The coefficient by which the covariate is taken out: within arms, cross moments over squares [1].

    Within arms, since a difference between the arms' covariates is chance, and one between their outcomes is the
    effect: mixing both in would take a part of the effect out. 0.0 where the covariate does not vary.

    Parameters
    ----------
    *arms : Aggregates
        With their covariate.

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
    covariates = [arm.covariate for arm in arms if arm.n]
    if not covariates or None in covariates:
        raise InvalidInputError("arms", "have no covariate; give one with every observation")
    squares = sum(each.m2 for each in covariates if each is not None)
    return sum(each.cross for each in covariates if each is not None) / squares if squares > 0.0 else 0.0


def adjusted(slots: Iterable[Aggregates], theta: float, center: float) -> list[Aggregates]:
    """The moments of x - theta (y - center), y being the covariate, for each of *slots*.

    Every test of means takes them as it takes others. m3 is not known of them and is that of x.
    """
    return [_adjusted(slot, theta, center) if slot.n else slot for slot in slots]


def _adjusted(slot: Aggregates, theta: float, center: float) -> Aggregates:
    y = slot.covariate
    if y is None:
        raise InvalidInputError("slots", "have no covariate; give one with every observation")
    squares = slot.m2 - 2.0 * theta * y.cross + theta * theta * y.m2
    return evolve(slot, mean=slot.mean - theta * (y.mean - center), m2=max(0.0, squares), covariate=None)
