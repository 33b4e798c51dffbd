"""Where a numeric reference is counted: its quantiles, or all of its values where they are few."""

from __future__ import annotations

from typing import Literal

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from model_perf.drift._columns import Numbers
from model_perf.drift._stretches import Counts

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


def choose_knots(values: Numbers) -> Knots | None:
    """Quantiles of the values, or all distinct ones where they are few; of very many rows an even sample decides."""
    if not values.size:
        return None
    step = max(1, values.size // (4 * CHUNK_ROWS))
    ordered = np.sort(values if step == 1 else values[_spread(values.size // step, step)])
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


def _spread(size: int, step: int) -> NDArray[np.intp]:
    """One row of every *step*, at another place in each: every 24th of hourly rows would be one hour of the day."""
    golden = (np.arange(size) * 0.6180339887498949) % 1.0
    return np.arange(size) * step + (golden * step).astype(np.intp)


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


def ranks(ordered: Numbers, knots: Numbers, side: Literal["left", "right"]) -> NDArray[np.intp]:
    """Values below (and at) each knot; signed and unsigned whole numbers are never compared as floats."""
    if {ordered.dtype.kind, knots.dtype.kind} != {"i", "u"}:
        return np.searchsorted(ordered, knots, side=side)
    largest = np.iinfo(np.int64).max
    if knots.dtype.kind == "i":
        common = ordered[: np.searchsorted(ordered, np.uint64(largest), side="right")].astype(np.int64)
        return np.searchsorted(common, knots, side=side)
    common = knots[: np.searchsorted(knots, np.uint64(largest), side="right")].astype(np.int64)
    found = np.full(knots.size, ordered.size, dtype=np.intp)
    found[: common.size] = np.searchsorted(ordered, common, side=side)
    return found


def same_knots(a: Knots | None, b: Knots | None) -> bool:
    if a is None or b is None:
        return a is b
    return a is b or (
        np.array_equal(a.values, b.values) and np.array_equal(a.cuts, b.cuts) and (a.low, a.high) == (b.low, b.high)
    )
