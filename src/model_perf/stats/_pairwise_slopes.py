"""The slopes between all pairs of points, and their order statistics: the ground of Theil-Sen and Mann-Kendall.

Up to `_KEPT` points the slopes are kept, and partitioned. Beyond that n (n - 1) / 2 of them would fill the memory
(10,000 points: 400 MB), so an order statistic is found as in Floyd and Rivest's SELECT: a random sample of slopes
brackets it, one sweep over all pairs counts what lies below the bracket and keeps what lies inside. The answer is
exact, whatever the sample; a bracket that missed is widened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from model_perf._floats import Floats

_KEPT = 2048
_BLOCK = 64
_UNCUT = 8192
_MIDDLE = (0.4, 0.6)
_SAMPLE = 1 << 16
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
        self._kept = _Kept(np.concatenate(list(self._blocks()))) if times.size <= _KEPT else None
        self.n_pairs, self.statistic = self._count()

    def order_statistics(self, ranks: Sequence[int]) -> list[float]:
        """The slopes of the given ranks, 0 for the lowest; ranks ascending."""
        return self._select(ranks) if self._kept is None else self._kept.find(ranks)

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

    def _count(self) -> tuple[int, int]:
        n_pairs = statistic = 0
        for slopes in self._blocks() if self._kept is None else [self._kept.slopes]:
            n_pairs += slopes.size
            statistic += _sign_sum(slopes)
        return n_pairs, statistic

    def _select(self, ranks: Sequence[int]) -> list[float]:
        sample = self._sample()
        width = _BRACKET_SD * math.sqrt(0.25 * sample.size)
        while True:
            brackets = [_bracket(sample, rank / self.n_pairs, width) for rank in ranks]
            found = self._sweep(ranks, brackets)
            if None not in found:
                return [slope for slope in found if slope is not None]
            width *= 4.0

    def _sample(self) -> Floats:
        # The seed decides how long the search takes, never what it finds.
        rng = np.random.default_rng(0)
        first, second = rng.integers(0, self._times.size, (2, _SAMPLE))
        distances = self._times[second] - self._times[first]
        apart = distances != 0.0
        slopes: Floats = (self._values[second] - self._values[first])[apart] / distances[apart]
        slopes.sort()
        return slopes

    def _sweep(self, ranks: Sequence[int], brackets: list[tuple[float, float]]) -> list[float | None]:
        cells = [_Cell(low, high) for low, high in dict.fromkeys(brackets)]
        for slopes in self._blocks():
            for cell in cells:
                cell.add(slopes)
        by_bracket = {(cell.low, cell.high): cell for cell in cells}
        return [by_bracket[bracket].find(rank) for rank, bracket in zip(ranks, brackets, strict=True)]


class _Kept:
    """All slopes; of many, those in the middle, where the median and most intervals lie, are cut out at first use."""

    def __init__(self, slopes: Floats) -> None:
        self.slopes = slopes
        self._middle: tuple[int, Floats] | None = None

    def find(self, ranks: Sequence[int]) -> list[float]:
        self._middle = self._middle or self._cut_out()
        first, slopes = self._middle
        if ranks[0] < first or ranks[-1] >= first + slopes.size:
            first, slopes = 0, self.slopes
        positions = [rank - first for rank in ranks]
        slopes.partition(sorted(set(positions)))
        return [float(slopes[position]) for position in positions]

    def _cut_out(self) -> tuple[int, Floats]:
        """How many slopes lie below the middle, and those in it; the ends are a sample's, whose luck costs but time."""
        if self.slopes.size <= _UNCUT:
            return 0, self.slopes
        sample = np.sort(self.slopes[:: self.slopes.size // 1024])
        low, high = (sample[int(fraction * sample.size)] for fraction in _MIDDLE)
        inside = (self.slopes >= low) & (self.slopes <= high)
        return int(np.count_nonzero(self.slopes < low)), self.slopes[inside]


class _Cell:
    """What one sweep learns of the slopes around one bracket; ties with its ends are counted, not kept."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self._below = self._up_to_low = self._up_to_high = 0
        self._inside: list[Floats] = []

    def add(self, slopes: Floats) -> None:
        above = slopes > self.low
        up_to_low = slopes.size - int(np.count_nonzero(above))
        inside = slopes[above & (slopes < self.high)]
        self._below += int(np.count_nonzero(slopes < self.low))
        self._up_to_low += up_to_low
        self._up_to_high += int(np.count_nonzero(slopes <= self.high))
        self._inside.append(inside)

    def find(self, rank: int) -> float | None:
        if not self._below <= rank < self._up_to_high:
            return None
        if rank < self._up_to_low:
            return self.low
        inside = np.concatenate(self._inside)
        position = rank - self._up_to_low
        return float(np.partition(inside, position)[position]) if position < inside.size else self.high


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
        float(sample[low]) if low >= 0 else -math.inf,
        float(sample[high]) if high < sample.size else math.inf,
    )
