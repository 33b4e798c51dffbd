"""The mean of a series whose values follow each other: equally weighted cosines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import frozen

from model_perf import _validation as check
from model_perf.aggregates import Aggregates
from model_perf.errors import TooFewObservationsError
from model_perf.stats._mean_difference import Alternative, MeanDifference, as_alternative, mean_difference

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
    m slots nu = .4 m^(2/3). A slot stands where its observations stand among all: slots of equal length may hold few
    and many, as traffic grows or nights are quiet.

    Make the slots long against the dependence. Of AR(1) series without a mean, at 5%, 5% to 6% are told from 0 where
    phi is .8 from one observation to the next, ten to a slot, and 6% to 7% at .95; where it is .8 from one slot to
    the next, 9% to 14%. A slot with a tenth of all observations or more costs, too: half of them in one, 8% to 11%.

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
        Journal of Business & Economic Statistics 36, 541-559: p. 545, and equation 4 for nu.

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
    df = math.floor(0.4 * m ** (2.0 / 3.0) + 1e-9)  # 40 of 1000 slots, not 39.99
    places = (np.cumsum(sizes) - 0.5 * sizes) / whole.n
    cosines = math.sqrt(2.0) * np.cos(np.pi * np.outer(np.arange(1, df + 1), places))
    variance = float(np.mean((cosines @ scores) ** 2)) / whole.n**2
    return LongRunMean(mean=whole.mean, standard_error=math.sqrt(variance), df=df, n_slots=m, n=whole.n)


def ewc_t_test(
    slots: Sequence[Aggregates], *, alpha: float = 0.05, alternative: Alternative = "two-sided"
) -> MeanDifference:
    """Compare such a mean of differences b - a with 0, once: at a size that was fixed before.

    Parameters
    ----------
    slots : sequence of Aggregates
        Of differences between pairs, as for `equally_weighted_cosines`.
    alpha : float, default 0.05
        The interval's confidence level is 1 - alpha.
    alternative : {"two-sided", "less", "greater"}
        What is claimed of the mean difference.

    Examples
    --------
    >>> slots = [Aggregates.from_values([x, x + 1.0]) for x in (0, 2, 1, 3, 2, 0, 1, 3)]
    >>> result = ewc_t_test(slots)
    >>> result.effect, round(result.statistic, 2), round(result.pvalue, 3)
    (2.0, 8.32, 0.076)
    """
    check.as_open_fraction(alpha, "alpha")
    found = equally_weighted_cosines(slots)
    return mean_difference(
        found.mean,
        found.standard_error,
        df=found.df,
        alpha=alpha,
        alternative=as_alternative(alternative),
        n_a=found.n,
        n_b=found.n,
    )
