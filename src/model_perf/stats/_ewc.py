"""The mean of a series whose values follow each other: equally weighted cosines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import frozen

from model_perf.aggregates import Aggregates
from model_perf.errors import TooFewObservationsError

MIN_SLOTS = 8


@frozen(kw_only=True)
class LongRunMean:
    """A mean with a standard error that allows for dependence in time.

    Attributes
    ----------
    mean, standard_error : float
    df : int
        Cosines: the standard error's degrees of freedom.
    n_slots, n : int
        Slots with observations, and observations.
    """

    mean: float
    standard_error: float
    df: int
    n_slots: int
    n: int


def equally_weighted_cosines(slots: Sequence[Aggregates]) -> LongRunMean:
    """Estimate the standard error of a mean from slots of consecutive observations.

    The deviations of the slots from the mean, each weighted with its observations, are projected on the first nu
    cosines; the squares of the projections estimate the variance in the long run, with nu degrees of freedom [1]. With
    m slots nu = .4 m^(2/3).

    Parameters
    ----------
    slots : sequence of Aggregates
        In time order; empty ones are left out.

    Raises
    ------
    TooFewObservationsError
        Fewer than 8 slots with observations.

    References
    ----------
    [1] Lazarus, E., Lewis, D. J., Stock, J. H. & Watson, M. W. (2018). HAR inference: recommendations for practice.
        Journal of Business & Economic Statistics 36, 541-559: equation 10, and the rule for nu in section 1.

    Examples
    --------
    >>> slots = [Aggregates.from_values([x, x + 1.0]) for x in (0, 2, 1, 3, 2, 0, 1, 3)]
    >>> result = equally_weighted_cosines(slots)
    >>> result.mean, result.df, round(result.standard_error, 3)
    (2.0, 1, 0.24)
    """
    occupied = [slot for slot in slots if slot.n]
    m = len(occupied)
    if m < MIN_SLOTS:
        raise TooFewObservationsError("slots", f"has {m} with observations; {MIN_SLOTS} are needed")
    sizes = np.array([float(slot.n) for slot in occupied])
    whole = Aggregates.merged(occupied)
    scores = sizes * np.array([slot.mean - whole.mean for slot in occupied])
    df = max(1, math.floor(0.4 * m ** (2.0 / 3.0)))
    places = (np.arange(m) + 0.5) / m
    cosines = math.sqrt(2.0) * np.cos(np.pi * np.outer(np.arange(1, df + 1), places))
    variance = float(np.mean((cosines @ scores) ** 2)) / whole.n**2
    return LongRunMean(mean=whole.mean, standard_error=math.sqrt(variance), df=df, n_slots=m, n=whole.n)
