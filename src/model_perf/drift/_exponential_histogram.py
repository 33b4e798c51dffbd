"""An exponential histogram: cumulative sums of a window at few places, the newest close together.

Datar, M., Gionis, A., Indyk, P. & Motwani, R. (2002). Maintaining stream statistics over sliding windows. SIAM Journal
on Computing 31, 1794-1813; with buckets of equal numbers of values, as in ADWIN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from model_perf.drift._samples import Floats

Ints: TypeAlias = NDArray[np.int64]

MOST = 5
"""Buckets of one size; of one more, the two oldest become one of twice the size [Bifet & Gavaldà 2007, M = 5]."""


@frozen
class Histogram:
    """A window of blocks. Immutable, small (5 log2 of the blocks), and made of what JSON knows.

    Attributes
    ----------
    counts : tuple of int
        Buckets of 1, 2, 4, ... blocks.
    edges : tuple of int
        Borders of the buckets, oldest first, in blocks of the stream; the window lies between first and last.
    sums, squares : tuple of float
        Of all values of the stream up to each border, and of their squares.
    """

    counts: tuple[int, ...] = ()
    edges: tuple[int, ...] = (0,)
    sums: tuple[float, ...] = (0.0,)
    squares: tuple[float, ...] = (0.0,)

    @property
    def size(self) -> int:
        """Blocks."""
        return self.edges[-1] - self.edges[0]

    @property
    def sum(self) -> float:
        """Of the values of the window."""
        return self.sums[-1] - self.sums[0]

    def without_oldest(self) -> Histogram:
        """The window without its oldest bucket."""
        *smaller, largest = self.counts
        counts = (*smaller, largest - 1) if largest > 1 else _trimmed(smaller)
        return Histogram(counts, self.edges[1:], self.sums[1:], self.squares[1:])


EMPTY = Histogram()


@frozen
class Cuts:
    """Ways to cut windows in two: `row` says which window, older part first; numbers of blocks and sums of values."""

    row: Ints
    n_older: Floats
    n_newer: Floats
    sum_older: Floats
    sum_newer: Floats
    sum: Floats
    squares: Floats


def as_histogram(stored: Histogram | Mapping[str, Any]) -> Histogram:
    """A histogram as JSON knows it."""
    if isinstance(stored, Histogram):
        return stored
    sums, squares = (tuple(map(float, stored[name])) for name in ("sums", "squares"))
    return Histogram(tuple(stored["counts"]), tuple(stored["edges"]), sums, squares)


def cuts_of(window: Histogram) -> Cuts:
    """The cuts at the borders of one window."""
    known = _Known(window, np.empty(0), np.empty(0))
    borders = np.arange(1, len(window.edges) - 1)
    return known.cuts(np.zeros(borders.size, dtype=np.int64), borders, np.array([len(window.edges) - 1]))


def extend(
    window: Histogram, sums: Floats, squares: Floats, is_out: Callable[[Cuts], NDArray[np.bool_]]
) -> tuple[Histogram, int, bool]:
    """Add blocks one after the other, until after one of them a cut of the window *is_out*.

    All blocks are looked at together: how many buckets of each size there are after t blocks follows from t.

    Returns
    -------
    Histogram, int, bool
        The window, the number of blocks that it took, and whether a cut was out.
    """
    known = _Known(window, sums, squares)
    counts, rows, borders = _structures(window, known, sums.size)
    ends = len(window.edges) + np.arange(sums.size)
    out = is_out(known.cuts(rows, borders, ends))
    taken = int(rows[out.argmax()]) + 1 if out.any() else sums.size
    kept = borders[rows == taken - 1]
    return (
        known.histogram(counts[:, taken - 1], [0, *np.sort(kept).tolist(), int(ends[taken - 1])]),
        taken,
        bool(out.any()),
    )


class _Known:
    """The places whose cumulative sums are known: the borders of a window, and the ends of new blocks."""

    def __init__(self, window: Histogram, sums: Floats, squares: Floats) -> None:
        self.n_borders = len(window.edges)
        self.end = window.edges[-1]
        self.edges = np.concatenate([window.edges, self.end + 1 + np.arange(sums.size)])
        self.sums = _continued(window.sums, sums)
        self.squares = _continued(window.squares, squares)

    def find(self, edges: Ints) -> Ints:
        """Where *edges* stand."""
        return np.where(
            edges > self.end,
            edges - (self.end - self.n_borders + 1),
            np.searchsorted(self.edges[: self.n_borders], edges),
        )

    def cuts(self, rows: Ints, borders: Ints, ends: Ints) -> Cuts:
        """Cuts at *borders* of the windows that end at ``ends[rows]``."""
        ends = ends[rows]
        middle, last = self.sums[borders], self.sums[ends]
        return Cuts(
            rows,
            (self.edges[borders] - self.edges[0]).astype(np.float64),
            (self.edges[ends] - self.edges[borders]).astype(np.float64),
            middle - self.sums[0],
            last - middle,
            last - self.sums[0],
            self.squares[ends] - self.squares[0],
        )

    def histogram(self, counts: Ints, places: list[int]) -> Histogram:
        columns = (column[places].tolist() for column in (self.edges, self.sums, self.squares))
        return Histogram(_trimmed(counts.tolist()), *(tuple(column) for column in columns))


def _structures(window: Histogram, known: _Known, n: int) -> tuple[Ints, Ints, Ints]:
    """Buckets of each size after 1 to *n* more blocks, and the inner borders: of which of these windows, and where."""
    pushed: Ints = np.arange(1, n + 1)
    ends = window.edges[-1] + pushed
    before = np.zeros(n, dtype=np.int64)
    counts: list[Ints] = []
    offsets: list[Ints] = []
    level = 0
    while level < len(window.counts) or pushed[-1]:
        total = pushed + (window.counts[level] if level < len(window.counts) else 0)
        pushed = np.maximum(0, total - (MOST - 1)) // 2
        count = total - 2 * pushed
        steps = np.arange(1, MOST + 1) << level
        inside = before[:, None] + steps
        offsets.append(np.where(steps <= (count << level)[:, None], inside, 0))
        before = before + (count << level)
        counts.append(count)
        level += 1
    reach = np.concatenate(offsets, axis=1)
    rows, columns = np.nonzero((reach > 0) & (reach < before[:, None]))
    return np.array(counts), rows, known.find(ends[rows] - reach[rows, columns])


def _continued(old: Sequence[float], new: Floats) -> Floats:
    """The cumulative sums *old*, and those of the blocks *new* after them, added one by one."""
    running = np.add.accumulate(np.concatenate([old[-1:], new]))
    return np.concatenate([old[:-1], running])


def _trimmed(counts: Sequence[int]) -> tuple[int, ...]:
    """Without the sizes of which there is no bucket, at the large end."""
    used = [level for level, count in enumerate(counts) if count]
    return tuple(counts[: used[-1] + 1]) if used else ()
