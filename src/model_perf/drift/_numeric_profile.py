"""A numeric column as counts on the knots of a reference: what its distribution is compared by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from model_perf.drift._arrays import pack, unpack
from model_perf.drift._columns import Kind, Numbers
from model_perf.drift._knots import CHUNK_ROWS, Knots, ranks, same_knots
from model_perf.drift._moments import Moments
from model_perf.drift._stretches import Counts, Stretches, count_stretches
from model_perf.errors import InvalidInputError


@frozen(kw_only=True, eq=False)
class NumericProfile:
    """How many values lie where; no value of the data is kept but the knots.

    Attributes
    ----------
    kind : "numeric", "datetime" or None
        Datetimes are counted in microseconds since 1970 (UTC). None where nothing is there to tell the kind by.
    n, missing : int
        Values, and rows without one.
    knots : Knots or None
        None where the reference has no value.
    below, at_most : array of int, shape (k,)
        Values < and <= each knot.
    minimum, maximum : float or int or None
    n_finite : int
        Values that are not infinite, of which the moments are.
    mean, m2 : float
        Mean and sum of squared deviations.
    has_zone : bool or None
        Whether datetimes have a zone; None of other values.
    stretches : Stretches or None
        Of time-ordered rows, where this is a reference.
    """

    kind: Kind | None
    n: int
    missing: int
    knots: Knots | None
    below: Counts
    at_most: Counts
    minimum: float | int | None
    maximum: float | int | None
    n_finite: int
    mean: float
    m2: float
    has_zone: bool | None = None
    stretches: Stretches | None = None

    @property
    def bins(self) -> Counts:
        """Values per bin, shape (B,)."""
        if self.knots is None:
            return np.zeros(1, np.int64)
        positions, is_at = self.knots.cuts // 2, self.knots.cuts % 2 == 1
        left_of = np.where(is_at, self.at_most[positions], self.below[positions])
        return np.diff(left_of, prepend=0, append=self.n)

    @property
    def n_out_of_range(self) -> int:
        """Values beyond the reference's quantiles 0.1% and 99.9%."""
        if self.knots is None:
            return 0
        return int(self.below[self.knots.low] + self.n - self.at_most[self.knots.high])

    @property
    def variance(self) -> float | None:
        """Of the finite values; None below two, or where it is beyond the largest float."""
        return self.m2 / (self.n_finite - 1) if self.n_finite > 1 and math.isfinite(self.m2) else None

    def is_on(self, knots: Knots | None) -> bool:
        """Whether it is counted on these knots."""
        return same_knots(self.knots, knots)

    def __add__(self, other: NumericProfile) -> NumericProfile:
        """The profile of both data together; exact, since both are counted on the same knots."""
        if self.kind != other.kind or not self.is_on(other.knots):
            raise InvalidInputError("other", "is counted on other knots; profile it with the same reference")
        zones = {self.has_zone, other.has_zone} - {None}
        if len(zones) > 1:
            raise InvalidInputError("other", "has times with a zone where this has none, or the reverse")
        n, distance = self.n_finite + other.n_finite, other.mean - self.mean
        share = other.n_finite / n if n else 0.0
        return evolve(
            self,
            n=self.n + other.n,
            missing=self.missing + other.missing,
            below=self.below + other.below,
            at_most=self.at_most + other.at_most,
            minimum=_extreme(min, self.minimum, other.minimum),
            maximum=_extreme(max, self.maximum, other.maximum),
            n_finite=n,
            mean=self.mean + distance * share,
            m2=self.m2 + other.m2 + distance * distance * share * self.n_finite,
            has_zone=zones.pop() if zones else None,
            stretches=None,  # where those of the other rows belong in time is not known
        )

    def to_dict(self) -> dict[str, object]:
        """The JSON object that `from_dict` reads."""
        knots = self.knots
        return {
            "kind": self.kind,
            "n": self.n,
            "missing": self.missing,
            "knots": None if knots is None else pack(knots.values),
            "cuts": None if knots is None else pack(knots.cuts),
            "range": None if knots is None else [knots.low, knots.high],
            "is_complete": knots is not None and knots.is_complete,
            "below": pack(self.below),
            "at_most": pack(self.at_most),
            "minimum": _as_json(self.minimum),
            "maximum": _as_json(self.maximum),
            "n_finite": self.n_finite,
            "mean": _as_json(self.mean),
            "m2": _as_json(self.m2),
            "has_zone": self.has_zone,
            "stretches": None if self.stretches is None else self.stretches.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NumericProfile:
        """The profile that `to_dict` wrote."""
        knots = None
        if data["knots"] is not None:
            low, high = data["range"]
            knots = Knots(
                values=unpack(data["knots"]),
                cuts=unpack(data["cuts"]),
                low=low,
                high=high,
                is_complete=data["is_complete"],
            )
        return cls(
            kind=data["kind"],
            n=data["n"],
            missing=data["missing"],
            knots=knots,
            below=unpack(data["below"]),
            at_most=unpack(data["at_most"]),
            minimum=_from_json(data["minimum"]),
            maximum=_from_json(data["maximum"]),
            n_finite=data["n_finite"],
            mean=float(data["mean"]),
            m2=float(data["m2"]),
            has_zone=data.get("has_zone"),
            stretches=None if data["stretches"] is None else Stretches.from_dict(data["stretches"]),
        )


def count_numbers(values: Numbers, kind: Kind | None, missing: int, knots: Knots | None) -> NumericProfile:
    """The profile of values on knots; sorts a stretch at a time."""
    size = 0 if knots is None else knots.values.size
    below, at_most = np.zeros(size, np.int64), np.zeros(size, np.int64)
    finite = Moments()
    minimum: float | int | None = None
    maximum: float | int | None = None
    for begin in range(0, values.size, CHUNK_ROWS):
        part = np.sort(values[begin : begin + CHUNK_ROWS])
        if knots is not None:
            below += ranks(part, knots.values, "left")
            at_most += ranks(part, knots.values, "right")
        finite = finite.add(part)
        minimum = _extreme(min, minimum, part[0].item())
        maximum = _extreme(max, maximum, part[-1].item())
    return NumericProfile(
        kind=kind,
        n=values.size,
        missing=missing,
        knots=knots,
        below=below,
        at_most=at_most,
        minimum=minimum,
        maximum=maximum,
        n_finite=finite.n,
        mean=finite.mean,
        m2=finite.m2,
    )


def stretches_of_numbers(values: Numbers, stretch: NDArray[np.intp], missing: Counts, knots: Knots | None) -> Stretches:
    """Counts of each stretch of rows; *stretch* is the one that each value lies in."""
    n_stretches = len(missing)
    if knots is None:
        nothing = np.zeros(n_stretches, np.int64)
        return Stretches(cells=nothing[:, np.newaxis], missing=missing, out_of_range=nothing)
    at = knots.values
    positions = np.searchsorted(at, values, side="left")
    is_at = at[np.minimum(positions, at.size - 1)] == values
    bins = np.searchsorted(knots.cuts, 2 * positions + is_at, side="left")
    is_out = (values < at[knots.low]) | (values > at[knots.high])
    return Stretches(
        cells=count_stretches(bins, knots.n_bins, stretch, n_stretches),
        missing=missing,
        out_of_range=np.bincount(stretch[is_out], minlength=n_stretches).astype(np.int64),
    )


def _extreme(
    choose: Callable[[float | int, float | int], float | int], a: float | int | None, b: float | int | None
) -> float | int | None:
    if a is None or b is None:
        return b if a is None else a
    return choose(a, b)


def _as_json(value: float | int | None) -> float | int | str | None:
    """JSON has neither infinity nor NaN."""
    return value if value is None or isinstance(value, int) or math.isfinite(value) else repr(value)


def _from_json(value: float | int | str | None) -> float | int | None:
    return float(value) if isinstance(value, str) else value
