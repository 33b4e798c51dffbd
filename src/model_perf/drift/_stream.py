"""What all detectors of a stream share: counting, missing values, replays, the alarm, and the JSON form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from attrs import asdict, evolve, fields, frozen
from numpy.typing import ArrayLike, NDArray

from model_perf import _validation as check
from model_perf.drift._samples import Floats, as_numbers
from model_perf.errors import InvalidInputError, SchemaError

Direction: TypeAlias = Literal["up", "down"]
Ids: TypeAlias = NDArray[np.int64]

LARGEST_DEVIATE = 1000.0
"""Deviates are cut here: one value of 1e17 would leave no digits for what follows it in the same sum."""

_VERSION = 1


@frozen(kw_only=True)
class Detector:
    """A value that watches a stream; each update gives a new one and leaves the old one as it is.

    Missing values (NaN) are counted and change nothing else. A value whose id is not above the last id is a replay and
    changes nothing at all: number the values of a stream in rising order, and a batch can be sent again without harm.
    The alarm stays until `restart`; values go on being taken in meanwhile.

    Attributes
    ----------
    n, n_missing : int
        Values taken in, and NaN skipped.
    last_id : int or None
        The largest id so far.
    detected_at : int or None
        Index of the value that raised the alarm among all values of the stream from its first, 0, missing ones
        included and replays left out.
    direction : {"up", "down"} or None
        Where the level went, by the alarm.
    """

    STATE: ClassVar[frozenset[str]] = frozenset({"n", "n_missing", "last_id", "detected_at", "direction"})
    """What values change; the other attributes are settings."""

    n: int = 0
    n_missing: int = 0
    last_id: int | None = None
    detected_at: int | None = None
    direction: Direction | None = None

    @property
    def drift_detected(self) -> bool:
        """Whether an alarm was raised since the start, or the last `restart`."""
        return self.detected_at is not None

    def update(self, value: float, id: int | None = None) -> Self:  # noqa: A002 - the word users know
        """The detector after one more value.

        Parameters
        ----------
        value : float
            NaN where it is missing.
        id : int, optional
            Its number in the stream; not above the last id: a replay. Without it the value counts as new.

        Raises
        ------
        InvalidInputError
            An infinite *value*, or one that the detector's arguments rule out.
        """
        number = _as_value(value)
        last = self.last_id
        if id is not None:
            number_of = check.as_int(id, "id", low=-check.INT8_MAX)
            if last is not None and number_of <= last:
                return self
            last = number_of
        if number != number:
            return evolve(self, n_missing=self.n_missing + 1, last_id=last)
        changes, direction = self._step(number)
        if direction is not None and self.detected_at is None:
            changes |= {"detected_at": self.n + self.n_missing, "direction": direction}
        return evolve(self, n=self.n + 1, last_id=last, **changes)

    def update_many(self, values: ArrayLike, ids: ArrayLike | None = None) -> Self:
        """The detector after *values*, in time order: the one that `update` would give one by one, to the last bit.

        Parameters
        ----------
        values : array of float, shape (n,)
            NaN where one is missing.
        ids : array of int, shape (n,), optional
            Their numbers in the stream; those not above all before them are replays.

        Raises
        ------
        InvalidInputError
            Infinite values, or such as the detector's arguments rule out; nothing is taken in.
        """
        floats = as_numbers(values, "values").astype(np.float64, copy=False)
        is_finite = np.isfinite(floats)
        is_complete = bool(is_finite.all())
        if not is_complete and np.isinf(floats).any():
            index = int(np.isinf(floats).argmax())
            raise InvalidInputError("values", f"holds {floats[index]} at index {index}; leave it out or give NaN")
        last = self.last_id
        if ids is not None and floats.size:
            is_new, last = _new_ids(ids, floats.size, last)
            if not is_new.all():
                floats, is_finite = floats[is_new], is_finite[is_new]
        places = None if is_complete else np.flatnonzero(is_finite)
        taken = floats if places is None else floats[places]
        changes, hit, direction = self._steps(taken) if taken.size else ({}, None, None)
        if hit is not None and self.detected_at is None:
            place = hit if places is None else int(places[hit])
            changes |= {"detected_at": self.n + self.n_missing + place, "direction": direction}
        n_missing = self.n_missing + floats.size - taken.size
        return evolve(self, n=self.n + int(taken.size), n_missing=n_missing, last_id=last, **changes)

    def restart(self) -> Self:
        """The detector to go on with once somebody has dealt with the alarm: counts, ids and settings are kept."""
        return evolve(self, detected_at=None, direction=None, **self._restarted())

    def to_dict(self) -> dict[str, object]:
        """The JSON object that `from_dict` reads."""
        return {"v": _VERSION, "detector": type(self).__name__, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The detector that `to_dict` wrote.

        Raises
        ------
        SchemaError
            A newer version of model_perf wrote it, or another detector.
        """
        if data["v"] != _VERSION:
            raise SchemaError(
                f"the detector's state has version {data['v']} and this model_perf reads version {_VERSION}; "
                "upgrade model_perf, or start a new detector (replace() of a stream that is kept)"
            )
        if data["detector"] != cls.__name__:
            raise SchemaError(f"the state is that of {data['detector']}; read it with {data['detector']}.from_dict")
        return cls(**{each.name: data[each.name] for each in fields(cls)})

    def _step(self, value: float) -> tuple[dict[str, Any], Direction | None]:
        """The attributes that one finite value changes, and the direction of an alarm."""
        raise NotImplementedError

    def _steps(self, values: Floats) -> tuple[dict[str, Any], int | None, Direction | None]:
        """The same for one finite value at least, with the index of the first that raises an alarm.

        Where an alarm stands already, a later one need not be looked for.
        """
        raise NotImplementedError

    def _restarted(self) -> dict[str, Any]:
        """The attributes that a restart changes."""
        raise NotImplementedError


def standardised(values: Floats, mean: float, sd: float) -> Floats:
    """The deviates of *values*, cut."""
    with np.errstate(over="ignore"):  # infinite deviates are cut like all large ones
        deviates = values - mean
        deviates /= sd
    return np.clip(deviates, -LARGEST_DEVIATE, LARGEST_DEVIATE, out=deviates)


def standardised_value(value: float, mean: float, sd: float) -> float:
    """The same of one value."""
    return min(max((value - mean) / sd, -LARGEST_DEVIATE), LARGEST_DEVIATE)


def as_mean(value: float) -> float:
    return check.as_float(value, "mean")


def as_sd(value: float) -> float:
    return as_positive(value, "sd")


def as_positive(value: float, argument: str, *, high: float = math.inf) -> float:
    """A finite number above 0, up to *high*."""
    number = check.as_float(value, argument, high=high)
    if not number > 0.0:
        raise InvalidInputError(argument, f"{number} is not positive")
    return number


def _as_value(value: float) -> float:
    if type(value) is not float:
        if isinstance(value, bool | np.bool_):
            return float(value)
        if isinstance(value, float | np.floating) and math.isnan(value):
            return math.nan
        return check.as_float(value, "value")
    if math.isinf(value):
        raise InvalidInputError("value", f"{value} is infinite; leave it out or give NaN")
    return value


def _new_ids(ids: ArrayLike, size: int, last: int | None) -> tuple[NDArray[np.bool_], int]:
    """Which ids are above all before them, *last* included, and the largest."""
    numbers = as_numbers(ids, "ids")
    if numbers.size != size:
        raise InvalidInputError("ids", f"has {numbers.size} entries and values has {size}; give one id per value")
    if numbers.dtype.kind not in "iu" or int(numbers.max()) > check.INT8_MAX:
        raise InvalidInputError("ids", f"holds {numbers.dtype}; give whole numbers of at most 64 bits, signed")
    before = np.empty(size + 1, dtype=np.int64)
    before[0] = -check.INT8_MAX - 1 if last is None else last
    before[1:] = numbers
    np.maximum.accumulate(before, out=before)
    return numbers > before[:-1], int(before[-1])
