"""The slopes between all pairs of points, and their order statistics: the ground of Theil-Sen and Mann-Kendall.

All n (n - 1) / 2 slopes would fill the memory (10,000 points: 400 MB), and merely laying them out takes longer than
computing them. So an order statistic is found as in Floyd and Rivest's SELECT: a random sample of slopes brackets it,
one sweep over all pairs counts what lies below the bracket and keeps what lies inside. The sweep that counts the pairs
does so for the middle, where the median and most intervals lie; what it has not kept is swept for. The answer is exact,
whatever the sample; a bracket that missed is widened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from model_perf._floats import Floats

_BLOCK = 64
_UNCUT = 128
"""Points whose slopes are all kept: a sample of so few would take longer."""
_UNSAMPLED = 1 << 14
"""The same of slopes that are kept."""
_SAMPLE, _SAMPLE_PER_POINT = 1 << 16, 4
_MIDDLE, _MOST = 4.0, 1 << 19
"""What is kept on either side of the median: a share of the slopes, times the square root of the points, which the 95%
interval reaches at the largest autocorrelation that is taken for one; and its largest number, 4 MB."""
_BRACKET_SD = 6.0


class PairwiseSlopes:
    """Slopes (y_j - y_i) / (t_j - t_i) of the pairs with t_i < t_j; `times` ascending.

    Attributes
    ----------
    n_pairs : int
        Pairs of different time.
    statistic : int
        Kendall's S: rising pairs minus falling ones.
    """

    def __init__(self, times: Floats, values: Floats) -> None:
        self._times, self._values = times, values
        self._tied_times = bool((times[1:] == times[:-1]).any())
        self._sample = self._drawn() if times.size > _UNCUT else np.zeros(0)
        share = min(_MIDDLE / math.sqrt(times.size), 2.0 * _MOST / times.size**2)
        self._middle = _Cell(*_bracket(self._sample, 0.5, share * self._sample.size))
        self.n_pairs = self.statistic = 0
        for slopes in self._blocks():
            self.n_pairs += slopes.size
            self.statistic += _sign_sum(slopes)
            self._middle.add(slopes)

    def order_statistics(self, ranks: Sequence[int]) -> list[float]:
        """The slopes of the given ranks, 0 for the lowest; ranks ascending."""
        found = self._middle.find(ranks)
        width = _BRACKET_SD * math.sqrt(0.25 * self._sample.size)
        while None in found:
            found = self._sweep(ranks, [_bracket(self._sample, rank / self.n_pairs, width) for rank in ranks])
            width *= 4.0
        return [slope for slope in found if slope is not None]

    def median(self) -> float:
        low, high = self.order_statistics([(self.n_pairs - 1) // 2, self.n_pairs // 2])
        return 0.5 * (low + high)

    def _blocks(self) -> Iterator[Floats]:
        """All slopes, those of `_BLOCK` points with all later ones at a time."""
        times, values = self._times, self._values
        for start in range(0, times.size, _BLOCK):
            block, later = slice(start, start + _BLOCK), slice(start + _BLOCK, None)
            yield _within(times[block], values[block])
            if start + _BLOCK < times.size:
                yield self._across(block, later)

    def _across(self, block: slice, later: slice) -> Floats:
        distances = self._times[later] - self._times[block, None]
        rises = self._values[later] - self._values[block, None]
        if self._tied_times:
            apart = distances > 0.0
            distances, rises = distances[apart], rises[apart]
        return np.divide(rises, distances, out=rises).ravel()

    def _drawn(self) -> Floats:
        # The seed decides how long the search takes, never what it finds.
        rng = np.random.default_rng(0)
        size = min(_SAMPLE, _SAMPLE_PER_POINT * self._times.size)
        first, second = rng.integers(0, self._times.size, (2, size))
        distances = self._times[second] - self._times[first]
        apart = distances != 0.0
        slopes: Floats = (self._values[second] - self._values[first])[apart] / distances[apart]
        slopes.sort()
        return slopes

    def _sweep(self, ranks: Sequence[int], brackets: list[tuple[float, float]]) -> list[float | None]:
        cells = {bracket: _Cell(*bracket) for bracket in brackets}
        for slopes in self._blocks():
            for cell in cells.values():
                cell.add(slopes)
        return [cells[bracket].find([rank])[0] for rank, bracket in zip(ranks, brackets, strict=True)]


class _Cell:
    """What one sweep learns of the slopes around one bracket; ties with its ends are counted, not kept."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high
        self._below = self._up_to_low = self._up_to_high = 0
        self._inside: list[Floats] = []

    def add(self, slopes: Floats) -> None:
        above = slopes > self._low
        self._below += int(np.count_nonzero(slopes < self._low))
        self._up_to_low += slopes.size - int(np.count_nonzero(above))
        self._up_to_high += int(np.count_nonzero(slopes <= self._high))
        self._inside.append(slopes.compress(above & (slopes < self._high)))

    def find(self, ranks: Sequence[int]) -> list[float | None]:
        """The slopes of the ranks, ascending; None for one that lies outside."""
        inside = self._inside[0] if len(self._inside) == 1 else np.concatenate(self._inside)
        self._inside = [inside]
        first = self._up_to_low
        kept = sorted({rank for rank in ranks if first <= rank < first + inside.size})
        slopes = dict(zip(kept, _of_ranks(inside, [rank - first for rank in kept]), strict=True))
        return [slopes[rank] if rank in slopes else self._end(rank) for rank in ranks]

    def _end(self, rank: int) -> float | None:
        if self._below <= rank < self._up_to_low:
            return self._low
        return self._high if self._up_to_low <= rank < self._up_to_high else None


def _of_ranks(values: Floats, ranks: Sequence[int]) -> list[float]:
    """By a partition of *values* in place; of many, of those that a sample puts between the first rank and the last."""
    if not ranks:
        return []
    if values.size > _UNSAMPLED:
        sample = np.sort(values[:: values.size // 1024])
        width = 0.5 * _BRACKET_SD * math.sqrt(0.25 * sample.size)
        (low, _), (_, high) = (_bracket(sample, rank / values.size, width) for rank in (ranks[0], ranks[-1]))
        below = int(np.count_nonzero(values < low))
        between = values.compress((values >= low) & (values <= high))
        if below <= ranks[0] and ranks[-1] < below + between.size:
            values, ranks = between, [rank - below for rank in ranks]
    values.partition(ranks)
    return [float(values[rank]) for rank in ranks]


def _within(times: Floats, values: Floats) -> Floats:
    distances = times - times[:, None]
    later = distances > 0.0
    slopes: Floats = (values - values[:, None])[later] / distances[later]
    return slopes


def _sign_sum(slopes: Floats) -> int:
    return int(np.count_nonzero(slopes > 0.0)) - int(np.count_nonzero(slopes < 0.0))


def _bracket(sample: Floats, fraction: float, width: float) -> tuple[float, float]:
    low, high = math.floor(fraction * sample.size - width), math.ceil(fraction * sample.size + width)
    return (
        float(sample[low]) if 0 <= low < sample.size else -math.inf,
        float(sample[high]) if high < sample.size else math.inf,
    )
