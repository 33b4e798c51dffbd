"""The two-sided CUSUM of a stream: small lasting shifts either way, with a stated run length between false alarms."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from model_perf import _validation as check
from model_perf.drift import _two_sided_sums as two_sided
from model_perf.drift._cusum import cusum_limit
from model_perf.drift._samples import Floats
from model_perf.drift._stream import Detector, Direction, as_mean, as_positive, as_sd, standardised_value


def _k(value: float) -> float:
    return as_positive(value, "k", high=10.0)


def _run_length(value: float) -> float:
    return check.as_float(value, "run_length", low=2.0)


@frozen(kw_only=True)
class CusumDetector(Detector):
    """Sums what exceeds *mean* by more than *k* sd upwards, and what falls short of it downwards [1].

    The limit is the one that independent normal values exceed once in *run_length* values: half of the false alarms
    are given to either side [2]. Skewed values, such as errors of 0 and 1, exceed it more often, and less so with a
    small *k*. A *mean* that is off itself counts as a shift: take it from as many values as there are.

    Parameters
    ----------
    mean, sd : float
        Of the reference, in the unit of the values; sd positive.
    k : float, default 0.5
        Half of the shift that is to be found soonest, in sd; within (0, 10].
    run_length : float, default 10000
        Mean number of values until a false alarm, >= 2.
    n, n_missing, last_id, detected_at, direction
        See `update`; a new detector leaves them out, and *walk* too.

    Raises
    ------
    InvalidInputError
        An argument outside its range.

    References
    ----------
    [1] Page, E. S. (1954). Continuous inspection schemes. Biometrika 41, 100-115: section 2, and 4.2 for two sides.
    [2] Siegmund, D. (1985). Sequential Analysis, equation 2.56; Lucas, J. M. & Crosier, R. B. (1982). Fast initial
        response for CUSUM quality-control schemes. Technometrics 24, 199-205, equation 4: 1/L = 1/L_up + 1/L_down.

    Examples
    --------
    >>> detector = CusumDetector(mean=0.0, sd=1.0, run_length=465)
    >>> round(detector.limit, 2)  # Montgomery's table: h = 5 for 465
    4.99
    >>> detector = detector.update_many([0.3, -0.4, 2.0, 2.5, 1.8, 2.2])
    >>> detector.detected_at, detector.direction
    (5, 'up')
    """

    STATE = Detector.STATE | {"walk"}

    mean: float = field(converter=as_mean)
    sd: float = field(converter=as_sd)
    k: float = field(default=0.5, converter=_k)
    run_length: float = field(default=10_000.0, converter=_run_length)
    walk: two_sided.Walk = field(default=two_sided.START, converter=two_sided.as_walk)

    @property
    def limit(self) -> float:
        """What a sum must exceed, in sd."""
        return cusum_limit(2.0 * self.run_length, self.k)

    @property
    def sums(self) -> tuple[float, float]:
        """The upward and the downward sum, in sd."""
        return two_sided.sums(self.walk, self.k, self.n)

    def _step(self, value: float) -> tuple[dict[str, Any], Direction | None]:
        deviate = standardised_value(value, self.mean, self.sd)
        walk, upward, downward = two_sided.step(self.walk, deviate, self.k, self.n)
        limit = self.limit
        return {"walk": walk}, "up" if upward > limit else "down" if downward > limit else None

    def _steps(self, values: Floats) -> tuple[dict[str, Any], int | None, Direction | None]:
        limit = None if self.drift_detected else self.limit
        walk, hit, direction = two_sided.steps(self.walk, values, self.mean, self.sd, k=self.k, n=self.n, limit=limit)
        return {"walk": walk}, hit, direction

    def _restarted(self) -> dict[str, Any]:
        return {"walk": two_sided.restart(self.k, self.n)}
