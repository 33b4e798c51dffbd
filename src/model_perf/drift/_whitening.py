"""Evaluations of one model follow on each other: what the last one says of the next, and what is left then."""

from __future__ import annotations

import math

from attrs import frozen

from model_perf.drift._student import normal_deviate

_MIN_PAIRS = 5
"""Fewer pairs give no autocorrelation: the bias correction divides by n - 4."""


@frozen
class LagMoments:
    """Count, means and centred second moments of pairs (evaluation, the one before it).

    References
    ----------
    [1] Welford, B. P. (1962). Note on a method for calculating corrected sums of squares and products.
        Technometrics 4, 419-420.
    """

    n: int = 0
    mean: float = 0.0
    previous_mean: float = 0.0
    m2: float = 0.0
    cross: float = 0.0
    previous_m2: float = 0.0

    def add(self, value: float, previous: float) -> LagMoments:
        n = self.n + 1
        shift, previous_shift = value - self.mean, previous - self.previous_mean
        weight = self.n / n
        return LagMoments(
            n,
            self.mean + shift / n,
            self.previous_mean + previous_shift / n,
            self.m2 + weight * shift * shift,
            self.cross + weight * shift * previous_shift,
            self.previous_m2 + weight * previous_shift * previous_shift,
        )

    def to_list(self) -> list[float]:
        return [self.n, self.mean, self.previous_mean, self.m2, self.cross, self.previous_m2]

    def autocorrelation(self, maximum: float) -> float:
        """The lag-1 autocorrelation, corrected for its bias in short series, within [0, maximum].

        References
        ----------
        [1] Marriott, F. H. C. & Pope, J. A. (1954). Bias in the estimation of autocorrelations. Biometrika 41,
            390-402: E(r) = phi - (1 + 4 phi)/n, solved for phi.
        """
        if self.n < _MIN_PAIRS:
            return 0.0
        scale = math.sqrt(self.m2) * math.sqrt(self.previous_m2)
        r = max(-1.0, min(1.0, self.cross / scale)) if scale > 0.0 else 0.0
        return max(0.0, min(maximum, (self.n * r + 1.0) / (self.n - 4)))


NOTHING = LagMoments()


def standardised_residual(
    moments: LagMoments, value: float, previous: float | None, phi: float, *, weight: float, floor: float
) -> float:
    """How unexpected *value* is after *previous*, as a normal deviate (positive = above the expectation).

    In an unchanged series the residuals are nearly independent and standard normal, although level, spread and
    autocorrelation are only estimated: each is a prediction error divided by its own standard error.

    Parameters
    ----------
    moments : LagMoments
        Of earlier pairs; 6 at least.
    value : float
    previous : float or None
        None where the one before is not usable; then the residual is taken from the mean alone.
    phi : float
        The autocorrelation to allow for, within [0, 1).
    weight : float
        Variance of this evaluation over that of the earlier ones (1, or more when its sample is smaller).
    floor : float
        Smallest standard deviation believed, positive.

    References
    ----------
    [1] Hawkins, D. M. (1987). Self-starting CUSUM charts for location and scale. The Statistician 36, 299-315.
    [2] Brown, R. L., Durbin, J. & Evans, J. M. (1975). Techniques for testing the constancy of regression
        relationships over time. JRSS B 37, 149-192, equation 2 (the leverage of *previous*).
    """
    n = moments.n
    least = floor * floor
    if previous is None:
        variance = moments.m2 / (n - 1)
        error, df, leverage = value - moments.mean, n - 1, 0.0
    else:
        variance = (moments.m2 - 2.0 * phi * moments.cross + phi * phi * moments.previous_m2) / (n - 2)
        distance = previous - moments.previous_mean
        error, df = value - moments.mean - phi * distance, n - 2
        leverage = distance * distance / max(moments.previous_m2, n * least)
    standard_error = math.sqrt(max(variance, least) * (weight + 1.0 / n + leverage))
    return normal_deviate(error / standard_error, df)
