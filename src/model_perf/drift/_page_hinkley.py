"""The Page-Hinkley test: the mean of a stream has moved from that of a reference."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from model_perf.drift import _two_sided_sums as two_sided
from model_perf.drift._cusum import cusum_run_length
from model_perf.drift._samples import Floats
from model_perf.drift._stream import Detector, Direction, as_mean, as_positive, as_sd, standardised_value


def _delta(value: float) -> float:
    return as_positive(value, "delta", high=10.0)


def _threshold(value: float) -> float:
    return as_positive(value, "threshold")


@frozen(kw_only=True)
class PageHinkley(Detector):
    """Compares the cumulative sum of deviates with its own extremes, both ways [1, 2].

    With z = (value - mean) / sd and m_T = sum (z_t - delta), an alarm is raised upwards once m_T - min m_t exceeds
    *threshold*, and downwards likewise. The mean is the reference's: one that follows the stream, as in [2], takes a
    slow degradation for normal. The sums are then those of `CusumDetector` with k = *delta*; here the threshold is
    given and the run length follows, there the other way round. A small *delta* finds small shifts and, since it
    averages over more values, depends less on their distribution.

    Parameters
    ----------
    mean, sd : float
        Of the reference, in the unit of the values; sd positive.
    delta : float, default 0.1
        Shift that is tolerated, in sd; within (0, 10].
    threshold : float, default 50
        In sd; positive.
    n, n_missing, last_id, detected_at, direction
        See `update`; a new detector leaves them out, and *walk* too.

    Raises
    ------
    InvalidInputError
        An argument outside its range.

    References
    ----------
    [1] Page, E. S. (1954). Continuous inspection schemes. Biometrika 41, 100-115, section 4.
    [2] Gama, J., Sebastião, R. & Rodrigues, P. P. (2013). On evaluating stream learning algorithms. Machine Learning
        90, 317-346: section 5.1, PH_T = m_T - M_T.

    Examples
    --------
    Errors of 10% as in the reference, then of 20%:

    >>> detector = PageHinkley(mean=0.1, sd=0.3).update_many([0] * 9 + [1])
    >>> detector.update_many(([0] * 4 + [1]) * 100).direction
    'up'
    """

    STATE = Detector.STATE | {"walk"}

    mean: float = field(converter=as_mean)
    sd: float = field(converter=as_sd)
    delta: float = field(default=0.1, converter=_delta)
    threshold: float = field(default=50.0, converter=_threshold)
    walk: two_sided.Walk = field(default=two_sided.START, converter=two_sided.as_walk)

    @property
    def run_length(self) -> float:
        """Mean number of independent normal values until a false alarm [Siegmund 1985, equation 2.56]."""
        return 0.5 * cusum_run_length(self.threshold, self.delta)

    @property
    def sums(self) -> tuple[float, float]:
        """How far the cumulative sums are above their minimum and below their maximum, in sd."""
        return two_sided.sums(self.walk, self.delta, self.n)

    def _step(self, value: float) -> tuple[dict[str, Any], Direction | None]:
        deviate = standardised_value(value, self.mean, self.sd)
        walk, upward, downward = two_sided.step(self.walk, deviate, self.delta, self.n)
        limit = self.threshold
        return {"walk": walk}, "up" if upward > limit else "down" if downward > limit else None

    def _steps(self, values: Floats) -> tuple[dict[str, Any], int | None, Direction | None]:
        limit = None if self.drift_detected else self.threshold
        walk, hit, direction = two_sided.steps(
            self.walk, values, self.mean, self.sd, k=self.delta, n=self.n, limit=limit
        )
        return {"walk": walk}, hit, direction

    def _restarted(self) -> dict[str, Any]:
        return {"walk": two_sided.restart(self.delta, self.n)}
