"""The cumulative sum chart: small persistent shifts, found by adding up what single evaluations cannot show."""

from __future__ import annotations

import math
from datetime import datetime
from functools import lru_cache

from attrs import frozen

from model_perf.drift._whitening import NOTHING, LagMoments, standardised_residual
from model_perf.errors import InvalidInputError

_OVERSHOOT = 1.166
"""Twice the mean overshoot of a normal random walk over a barrier, 0.583 [Siegmund 1985, p. 27]."""


def cusum_step(value: float, deviate: float, k: float) -> float:
    """The upward sum after one more *deviate*: max(0, value + deviate - k) [Page 1954]."""
    return max(0.0, value + deviate - k)


def cusum_run_length(h: float, k: float, shift: float = 0.0) -> float:
    """Mean number of standard normal observations until the upward sum exceeds *h*.

    Parameters
    ----------
    h, k : float
        Limit and reference value, in standard deviations.
    shift : float
        Mean of the observations, in standard deviations.

    References
    ----------
    [1] Siegmund, D. (1985). Sequential Analysis, equation 2.56 and section X.2: within 1% without change and 3% at two
        standard deviations, for k = .5 and h from 4 to 8 (tests).

    Examples
    --------
    >>> round(cusum_run_length(5, 0.5))  # exact: 931, twice the two-sided 465 of Montgomery's table
    938
    """
    b = h + _OVERSHOOT
    drift = shift - k
    if abs(drift) < 1e-9:
        return b * b
    exponent = min(-2.0 * drift * b, 700.0)
    return (math.exp(exponent) - exponent - 1.0) / (2.0 * drift * drift)


@lru_cache(maxsize=1024)
def cusum_limit(run_length: float, k: float) -> float:
    """The limit h whose chart raises one false alarm per *run_length* observations: `cusum_run_length` inverted.

    Raises
    ------
    InvalidInputError
        *run_length* below 2, or *k* not positive.

    Examples
    --------
    >>> [round(cusum_limit(1000 * m, 0.5), 2) for m in (1, 2, 4, 8)]  # exact: 5.07, 5.76, 6.45, 7.14
    [5.06, 5.75, 6.44, 7.13]
    """
    if not run_length >= 2.0:
        raise InvalidInputError("run_length", f"{run_length} is below 2")
    if not k > 0.0:
        raise InvalidInputError("k", f"{k} is not positive")
    low, high = 0.0, 700.0 / (2.0 * k) - _OVERSHOOT
    while high - low > 1e-9:
        middle = 0.5 * (low + high)
        if cusum_run_length(middle, k) < run_length:
            low = middle
        else:
            high = middle
    return high


@frozen
class SelfStartingCusum:
    """An upward chart that learns level, spread and autocorrelation while the baseline grows, and no longer.

    A chart that goes on learning takes a slow degradation for the normal state: the demo's model, whose error had
    doubled for three months, was never found by one.

    Attributes
    ----------
    learned : LagMoments
        What residuals are taken from.
    previous : float or None
        The last value, unless it was flagged.
    value : float
        The sum, in standard deviations.
    since : datetime or None
        Start of the first window after the sum's last zero: the estimated time of the change.

    References
    ----------
    [1] Hawkins, D. M. & Olwell, D. H. (1998). Cumulative Sum Charts and Charting for Quality Improvement, ch. 7.
    """

    learned: LagMoments = NOTHING
    previous: float | None = None
    value: float = 0.0
    since: datetime | None = None

    def deviate(self, value: float, phi: float, *, minimum: int, weight: float, floor: float) -> float | None:
        """The residual that the sum adds; None before *minimum* evaluations."""
        # n pairs are n + 1 evaluations.
        if self.learned.n + 1 < minimum:
            return None
        return standardised_residual(self.learned, value, self.previous, phi, weight=weight, floor=floor)

    def moved(self, deviate: float, k: float, *, limit: float, window_start: datetime) -> SelfStartingCusum:
        """The chart after one more deviate; the sum stops at twice the limit, so that a recovery shows in time."""
        value = min(cusum_step(self.value, deviate, k), 2.0 * limit)
        since = None if value == 0.0 else self.since or window_start
        return SelfStartingCusum(self.learned, self.previous, value, since)

    def learnt(self, value: float) -> SelfStartingCusum:
        """The chart with *value* taken into its estimates."""
        learned = self.learned if self.previous is None else self.learned.add(value, self.previous)
        return SelfStartingCusum(learned, value, self.value, self.since)

    def passed(self, value: float | None) -> SelfStartingCusum:
        """The chart after an evaluation that teaches it nothing; None where the next must not build on it either."""
        return SelfStartingCusum(self.learned, value, self.value, self.since)

    def restarted(self) -> SelfStartingCusum:
        """The chart with its sum at zero and its estimates kept."""
        return SelfStartingCusum(self.learned)
