"""The exponentially weighted moving average, for display beside the values; verdicts are made by the CUSUM."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from model_perf.errors import InvalidInputError


@frozen(kw_only=True)
class EwmaChart:
    """The averages and their limits, in the unit of the values.

    Attributes
    ----------
    average : tuple of float
        One per value.
    lower, upper : float
        The same for all, as for a series that has run for long.
    """

    average: tuple[float, ...]
    lower: float
    upper: float

    @property
    def first_outside(self) -> int | None:
        """Index of the first average beyond a limit."""
        return next((i for i, each in enumerate(self.average) if not self.lower <= each <= self.upper), None)


def ewma(values: Sequence[float], *, center: float, sd: float, weight: float = 0.1, width: float = 2.814) -> EwmaChart:
    """Smooth *values* and draw the limits within which the average of an unchanged series stays.

    Parameters
    ----------
    values : sequence of float
        In time order, finite.
    center, sd : float
        Mean and standard deviation of an unchanged series, in the unit of the values; sd positive.
    weight : float, default 0.1
        Of the newest value, within (0, 1].
    width : float, default 2.814
        Of the limits, in standard deviations of the average. With the default weight an unchanged series of
        independent values leaves the limits once in 500 values, one that is off by one sd after 10.3.

    Raises
    ------
    InvalidInputError
        *sd* or *width* not positive, *weight* outside (0, 1].

    References
    ----------
    [1] Lucas, J. M. & Saccucci, M. S. (1990). Exponentially weighted moving average control schemes: properties and
        enhancements. Technometrics 32, 1-12: equation 3 for the limits, table 3 for the run lengths.

    Examples
    --------
    >>> ewma([1.0, 1.0], center=0.0, sd=1.0, weight=0.5).average
    (0.5, 0.75)
    """
    for argument, number in (("sd", sd), ("width", width)):
        if not 0.0 < number < math.inf:
            raise InvalidInputError(argument, f"{number} is not positive and finite")
    if not 0.0 < weight <= 1.0:
        raise InvalidInputError("weight", f"{weight} is outside (0, 1]")
    reach = width * sd * math.sqrt(weight / (2.0 - weight))
    average = []
    current = center
    for value in values:
        current += weight * (value - current)
        average.append(current)
    return EwmaChart(average=tuple(average), lower=center - reach, upper=center + reach)
