"""The two-sided EWMA chart of a stream, with a stated run length between false alarms."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from attrs import field, frozen

from model_perf import _validation as check
from model_perf.drift._ewma_run_length import as_weight, ewma_width
from model_perf.drift._samples import Floats
from model_perf.drift._stream import Detector, Direction, as_mean, as_sd, standardised, standardised_value

_LONGEST_BLOCK = 4096
_LARGEST_POWER = 280.0
"""Of 10, in a block: a deviate of 1000 times it is still a float."""


def _run_length(value: float) -> float:
    return check.as_float(value, "run_length", low=2.0, high=1e9)


def _scaled(value: float) -> float:
    return check.as_float(value, "scaled")


@frozen(kw_only=True)
class EwmaDetector(Detector):
    """Averages deviates from *mean* with weights that decay, and compares the average with limits on either side [1].

    The limits are the ones that independent normal values leave once in *run_length* values. An average of many values
    depends little on their distribution: for errors of 0 and 1 take a *weight* of .05 or less. A *mean* that is off
    itself counts as a shift: take it from as many values as there are.

    Parameters
    ----------
    mean, sd : float
        Of the reference, in the unit of the values; sd positive.
    weight : float, default 0.1
        Of the newest value, within [0.001, 1). Small weights find small shifts soonest.
    run_length : float, default 10000
        Mean number of values until a false alarm, from 2 to 1e9.
    n, n_missing, last_id, detected_at, direction
        See `update`; a new detector leaves them out, and *scaled* too.

    Raises
    ------
    InvalidInputError
        An argument outside its range.

    References
    ----------
    [1] Lucas, J. M. & Saccucci, M. S. (1990). Exponentially weighted moving average control schemes: properties and
        enhancements. Technometrics 32, 1-12: equations 1 and 3, with the limits of a series that has run for long.

    Examples
    --------
    >>> detector = EwmaDetector(mean=0.0, sd=1.0, weight=0.1, run_length=500)
    >>> round(detector.limit, 3)  # 2.814 sqrt(.1 / 1.9), table 3 of [1]
    0.646
    >>> detector.update_many([1.0] * 20).detected_at  # 1 - .9^10 = .651
    9
    """

    STATE = Detector.STATE | {"scaled"}

    mean: float = field(converter=as_mean)
    sd: float = field(converter=as_sd)
    weight: float = field(default=0.1, converter=as_weight)
    run_length: float = field(default=10_000.0, converter=_run_length)
    scaled: float = field(default=0.0, converter=_scaled)

    @property
    def limit(self) -> float:
        """What the average's size must exceed, in sd."""
        return ewma_width(self.run_length, self.weight) * math.sqrt(self.weight / (2.0 - self.weight))

    @property
    def average(self) -> float:
        """The average of the deviates, in sd."""
        _, fall = _powers(self.weight)
        return self.scaled * float(fall[self.n % (fall.size - 1)])

    def _step(self, value: float) -> tuple[dict[str, Any], Direction | None]:
        deviate = standardised_value(value, self.mean, self.sd)
        rise, fall = _powers(self.weight)
        t = self.n % (fall.size - 1) + 1
        scaled = self.scaled + deviate * float(rise[t])
        average = scaled * float(fall[t])
        limit = self.limit
        direction: Direction | None = "up" if average > limit else "down" if average < -limit else None
        return {"scaled": average if t == fall.size - 1 else scaled}, direction

    def _steps(self, values: Floats) -> tuple[dict[str, Any], int | None, Direction | None]:
        rise, fall = _powers(self.weight)
        length = fall.size - 1
        hit: int | None = None
        direction: Direction | None = None
        limit = math.inf if self.drift_detected else self.limit
        scaled, start = self.scaled, 0
        while start < values.size:
            t = (self.n + start) % length + 1
            end = min(start + length + 1 - t, values.size)
            sums = standardised(values[start:end], self.mean, self.sd)
            sums *= rise[t : t + sums.size]
            sums[0] += scaled
            np.add.accumulate(sums, out=sums)
            averages = sums * fall[t : t + sums.size]
            if hit is None and (float(averages.max()) > limit or float(averages.min()) < -limit):
                first = int((np.abs(averages) > limit).argmax())
                hit, direction = start + first, "up" if averages[first] > 0.0 else "down"
            scaled = float((averages if t + sums.size > length else sums)[-1])
            start = end
        return {"scaled": scaled}, hit, direction

    def _restarted(self) -> dict[str, Any]:
        return {"scaled": 0.0}


@lru_cache(maxsize=64)
def _powers(weight: float) -> tuple[Floats, Floats]:
    """weight (1 - weight)^-t and (1 - weight)^t, for t from 0 to the length of a block.

    average_t = (1 - weight)^t (average_0 + sum of weight (1 - weight)^-s z_s): a cumulative sum, which takes no loop.
    Its summands grow, so that the newest, which count most, are those that it holds most exactly. After each block it
    begins again, before the powers leave what a float can hold.
    """
    length = min(_LONGEST_BLOCK, int(_LARGEST_POWER / -math.log10(1.0 - weight)))
    fall = np.power(1.0 - weight, np.arange(length + 1))
    return weight / fall, fall
