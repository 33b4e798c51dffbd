"""The ends of a score interval: where a difference is just so many deviates from what was observed."""

from __future__ import annotations

from collections.abc import Callable


def score_bound(statistic: Callable[[float], float], estimate: float, end: float, z: float) -> float:
    """Where *statistic*, 0 at *estimate*, is z away on the side of *end*; by bisection, which cannot fail."""
    if estimate == end or abs(statistic(end)) <= z:
        return end
    inside, outside = estimate, end
    for _ in range(80):
        middle = 0.5 * (inside + outside)
        inside, outside = (inside, middle) if abs(statistic(middle)) > z else (middle, outside)
    return 0.5 * (inside + outside)
