"""The standard error of a mean whose observations come several to a unit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import frozen

from model_perf.aggregates import Aggregates
from model_perf.errors import TooFewObservationsError


@frozen(kw_only=True)
class ClusteredMean:
    """A mean with a standard error that allows for units with several observations.

    Attributes
    ----------
    mean, standard_error : float
    df : int
        Groups of units - 1.
    n : int
        Observations.
    """

    mean: float
    standard_error: float
    df: int
    n: int


def clustered_mean(slots: Sequence[Aggregates]) -> ClusteredMean:
    """Estimate the mean of all observations, and its standard error from what varies between groups of units.

    A group holds all observations of its units, so that groups are independent whatever happens inside. The mean is a
    ratio, of the sums over the numbers of observations; its variance is that of the linearised groups, times G/(G - 1)
    for G groups [1].

    Parameters
    ----------
    slots : sequence of Aggregates
        One per unit, or per group of units; empty ones are left out.

    Raises
    ------
    TooFewObservationsError
        Fewer than two groups.

    References
    ----------
    [1] Deng, A., Knoblich, U. & Lu, J. (2018). Applying the delta method in metric analytics. KDD '18, 233-242,
        equation 3.

    Examples
    --------
    Three units with 2, 1 and 3 observations:

    >>> slots = [Aggregates.from_values(x) for x in ([1.0, 3.0], [2.0], [4.0, 4.0, 5.0])]
    >>> result = clustered_mean(slots)
    >>> round(result.mean, 3), round(result.standard_error, 3), result.df
    (3.167, 0.891, 2)
    """
    occupied = [slot for slot in slots if slot.n]
    groups = len(occupied)
    if groups < 2:
        raise TooFewObservationsError("slots", f"has {groups} groups of units; two are needed")
    whole = Aggregates.merged(occupied)
    scores = np.array([slot.n * (slot.mean - whole.mean) for slot in occupied])
    variance = groups / (groups - 1.0) * float(scores @ scores) / whole.n**2
    return ClusteredMean(mean=whole.mean, standard_error=math.sqrt(variance), df=groups - 1, n=whole.n)
