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
from model_perf.drift._stretches import Counts, Stretches, count_stretches
from model_perf.errors import InvalidInputError

N_KNOTS = 2048
N_BINS = 10
RANGE_TAIL = 0.001
CHUNK_ROWS = 1 << 18
"""Rows that are sorted at once; what a profile needs of memory beside its data."""


@frozen(kw_only=True, eq=False)
class Knots:
    """Where the reference is counted: quantiles of it, or all of its values where they are few.

    Attributes
    ----------
    values : array, shape (k,)
        Strictly increasing; float64, int64 or uint64.
    cuts : array of int
        Between the bins, increasing: 2i = below values[i], 2i + 1 = at and below it. The outer bins are open; a value
        that fills several bins has one of its own.
    low, high : int
        Positions of the values at the quantiles 0.1% and 99.9%.
    is_complete : bool
        The values are all that the reference has: the distance of two distributions is exact.
    """

    values: Numbers
    cuts: Counts
    low: int
    high: int
    is_complete: bool

    @property
    def n_bins(self) -> int:
        """Bins, the open one included."""
        return len(self.cuts) + 1


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
        """Of the finite values; None below two."""
        return self.m2 / (self.n_finite - 1) if self.n_finite > 1 else None

    def is_on(self, knots: Knots | None) -> bool:
        """Whether it is counted on these knots."""
        return _same_knots(self.knots, knots)

    def __add__(self, other: NumericProfile) -> NumericProfile:
        """The profile of both data together; exact, since both are counted on the same knots."""
        if self.kind != other.kind or not self.is_on(other.knots):
            raise InvalidInputError("other", "is counted on other knots; profile it with the same reference")
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
            stretches=self.stretches + other.stretches if self.stretches and other.stretches else None,
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
            "mean": self.mean,
            "m2": self.m2,
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
            mean=data["mean"],
            m2=data["m2"],
            stretches=None if data["stretches"] is None else Stretches.from_dict(data["stretches"]),
        )


def choose_knots(values: Numbers) -> Knots | None:
    """Quantiles of the values, or all distinct ones where they are few; of very many rows an even sample decides."""
    if not values.size:
        return None
    step = max(1, values.size // (4 * CHUNK_ROWS))
    ordered = np.sort(values[::step])
    is_last = np.append(ordered[1:] != ordered[:-1], True)
    distinct = ordered[is_last]
    is_complete = step == 1 and distinct.size <= N_KNOTS
    if distinct.size > N_KNOTS:
        shares = np.arange(1, N_KNOTS + 1) / N_KNOTS
        shares = np.union1d(shares, [RANGE_TAIL, 1.0 - RANGE_TAIL])
        distinct = np.unique(ordered[np.ceil(shares * ordered.size).astype(np.intp) - 1])
    at_most = np.searchsorted(ordered, distinct, side="right")
    low, high = _at_shares(at_most, np.array([RANGE_TAIL, 1.0 - RANGE_TAIL]))
    return Knots(
        values=distinct,
        cuts=_choose_cuts(at_most),
        low=int(low),
        high=int(high),
        is_complete=is_complete,
    )


def _choose_cuts(at_most: NDArray[np.intp]) -> Counts:
    """The tenths, and beside a value that fills a whole tenth a cut below it."""
    tenths = _at_shares(at_most, np.arange(N_BINS + 1) / N_BINS)
    filling = tenths[1:][tenths[1:] == tenths[:-1]]
    return np.union1d(2 * tenths[1:-1] + 1, 2 * filling).astype(np.int64)


def _at_shares(at_most: NDArray[np.intp], shares: NDArray[np.float64]) -> NDArray[np.intp]:
    """Positions of the first knots at or below which the shares of all values lie."""
    # A share of 0.1 times 30 values is 3.0000000000000004.
    wanted = np.maximum(1.0, np.ceil(shares * int(at_most[-1]) - 1e-9))
    return np.asarray(np.searchsorted(at_most, wanted, side="left"))


def count_numbers(values: Numbers, kind: Kind | None, missing: int, knots: Knots | None) -> NumericProfile:
    """The profile of values on knots; sorts a stretch at a time."""
    size = 0 if knots is None else knots.values.size
    below, at_most = np.zeros(size, np.int64), np.zeros(size, np.int64)
    finite = _Moments()
    minimum: float | int | None = None
    maximum: float | int | None = None
    for begin in range(0, values.size, CHUNK_ROWS):
        part = np.sort(values[begin : begin + CHUNK_ROWS])
        if knots is not None:
            edges = _on_the_scale_of(knots.values, part)
            below += np.searchsorted(part, edges, side="left")
            at_most += np.searchsorted(part, edges, side="right")
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
    at = _on_the_scale_of(knots.values, values)
    positions = np.searchsorted(at, values, side="left")
    is_at = at[np.minimum(positions, at.size - 1)] == values
    bins = np.searchsorted(knots.cuts, 2 * positions + is_at, side="left")
    is_out = (values < at[knots.low]) | (values > at[knots.high])
    return Stretches(
        cells=count_stretches(bins, knots.n_bins, stretch, n_stretches),
        missing=missing,
        out_of_range=np.bincount(stretch[is_out], minlength=n_stretches).astype(np.int64),
    )


@frozen
class _Moments:
    """Of finite values, by Chan's update: sums of squares would lose a small variance of large values."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0

    def add(self, ordered: Numbers) -> _Moments:
        finite = ordered
        if ordered.dtype.kind == "f" and not (math.isfinite(ordered[0]) and math.isfinite(ordered[-1])):
            finite = ordered[np.isfinite(ordered)]
        if not finite.size:
            return self
        # Of the distances to a value among them: the mean of whole numbers beyond 2^53 has no such digits itself.
        origin = finite[finite.size // 2]
        distances = (finite - origin).astype(np.float64) if finite.dtype.kind != "u" else finite.astype(np.float64)
        shift = float(origin) if finite.dtype.kind != "u" else 0.0
        own = float(distances.mean())
        n, distance = self.n + finite.size, shift + own - self.mean
        share = finite.size / n
        m2 = float(np.square(distances - own).sum())
        return _Moments(n, self.mean + distance * share, self.m2 + m2 + distance * distance * share * self.n)


def _on_the_scale_of(knots: Numbers, values: Numbers) -> Numbers:
    """Knots as the values' own type where both are whole numbers, so that the values are not copied as floats."""
    if knots.dtype == values.dtype or "f" in (knots.dtype.kind, values.dtype.kind):
        return knots
    return knots.astype(np.float64)


def _same_knots(a: Knots | None, b: Knots | None) -> bool:
    if a is None or b is None:
        return a is b
    return a is b or (
        np.array_equal(a.values, b.values) and np.array_equal(a.cuts, b.cuts) and (a.low, a.high) == (b.low, b.high)
    )


def _extreme(
    choose: Callable[[float | int, float | int], float | int], a: float | int | None, b: float | int | None
) -> float | int | None:
    if a is None or b is None:
        return b if a is None else a
    return choose(a, b)


def _as_json(value: float | int | None) -> float | int | str | None:
    """JSON has no infinity."""
    return value if value is None or isinstance(value, int) or math.isfinite(value) else repr(value)


def _from_json(value: float | int | str | None) -> float | int | None:
    return float(value) if isinstance(value, str) else value
