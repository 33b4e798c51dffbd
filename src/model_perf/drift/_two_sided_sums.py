"""Two cumulative sums, one upwards and one downwards, of any number of deviates at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from model_perf.drift._samples import Floats
from model_perf.drift._stream import Direction, standardised

Walk: TypeAlias = tuple[float, float, float]
"""Where the walk of the deviates stands, the lowest that walk - k t was, and the highest that walk + k t was."""

START: Walk = (0.0, 0.0, 0.0)
BLOCK = 4096
"""After so many deviates the walk begins again at 0, so that its rounding errors do not grow with the stream."""
_TIMES = np.arange(BLOCK + 1, dtype=np.float64)


def sums(walk: Walk, k: float, n: int) -> tuple[float, float]:
    """The upward and the downward sum after *n* deviates: max(0, sum + z - k) and max(0, sum - z - k), unrolled.

    The upward sum is the walk of z - k above its lowest point so far [Page 1954]: a cumulative sum less a running
    minimum, which take no loop.
    """
    position, lowest, highest = walk
    slack = k * (n % BLOCK)
    return (position - slack) - lowest, highest - (position + slack)


def step(walk: Walk, deviate: float, k: float, n: int) -> tuple[Walk, float, float]:
    """The walk and both sums after one more deviate, *n* before it."""
    position, lowest, highest = walk
    t = n % BLOCK + 1
    slack = k * t
    position += deviate
    below, above = position - slack, position + slack
    lowest, highest = min(lowest, below), max(highest, above)
    upward, downward = below - lowest, highest - above
    if t == BLOCK:
        return (0.0, -upward, downward), upward, downward
    return (position, lowest, highest), upward, downward


def steps(
    walk: Walk, values: Floats, mean: float, sd: float, *, k: float, n: int, limit: float | None
) -> tuple[Walk, int | None, Direction | None]:
    """The walk after all *values*, and where a sum first exceeded *limit*; None = that is not asked."""
    hit: int | None = None
    direction: Direction | None = None
    start = 0
    while start < values.size:
        t = (n + start) % BLOCK
        end = min(start + BLOCK - t, values.size)
        walk, upward, downward = _block(walk, standardised(values[start:end], mean, sd), k, t)
        if limit is not None and hit is None and max(float(upward.max()), float(downward.max())) > limit:
            is_out = np.maximum(upward, downward) > limit
            first = int(is_out.argmax())
            hit, direction = start + first, "up" if upward[first] > limit else "down"
        start = end
    return walk, hit, direction


def as_walk(numbers: Sequence[float]) -> Walk:
    """A walk as JSON knows it."""
    position, lowest, highest = map(float, numbers)
    return position, lowest, highest


def restart(k: float, n: int) -> Walk:
    """The walk whose sums are 0 after *n* deviates."""
    slack = k * (n % BLOCK)
    return 0.0, -slack, slack


def _block(walk: Walk, deviates: Floats, k: float, t: int) -> tuple[Walk, Floats, Floats]:
    """The walk and both sums of deviates that belong to one block, from its t-th on; they are overwritten."""
    size = deviates.size
    position, lowest, highest = walk
    slack = k * _TIMES[t + 1 : t + size + 1]
    deviates[0] += position
    positions = np.add.accumulate(deviates, out=deviates)
    position = float(positions[-1])
    below, above = positions - slack, np.add(positions, slack, out=positions)
    lows, highs = np.empty(size + 1), np.empty(size + 1)
    lows[0], highs[0] = lowest, highest
    lows[1:], highs[1:] = below, above
    np.minimum.accumulate(lows, out=lows)
    np.maximum.accumulate(highs, out=highs)
    upward, downward = np.subtract(below, lows[1:], out=below), np.subtract(highs[1:], above, out=above)
    if t + size == BLOCK:
        return (0.0, -float(upward[-1]), float(downward[-1])), upward, downward
    return (position, float(lows[-1]), float(highs[-1])), upward, downward
