"""Mean and squared deviations of values that come part by part."""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen

from model_perf.drift._columns import Numbers


@frozen
class Moments:
    """Of finite values, by Chan's update: sums of squares would lose a small variance of large values."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0

    def add(self, ordered: Numbers) -> Moments:
        # Those of values near the largest float are infinite, or unknown.
        with np.errstate(over="ignore", invalid="ignore"):
            return self._add(ordered)

    def _add(self, ordered: Numbers) -> Moments:
        finite = ordered
        if ordered.dtype.kind == "f" and not (math.isfinite(ordered[0]) and math.isfinite(ordered[-1])):
            finite = ordered[np.isfinite(ordered)]
        if not finite.size:
            return self
        # Of the distances to a value among them: the mean of whole numbers beyond 2^53 has no such digits itself.
        if finite.dtype.kind == "f":
            origin = finite[finite.size // 2]
            distances = finite - origin
        else:
            origin = finite[0]
            distances = (finite.astype(np.uint64) - origin.astype(np.uint64)).astype(np.float64)  # modulo 2^64: exact
        shift = float(origin)
        own = float(distances.mean())
        n, distance = self.n + finite.size, shift + own - self.mean
        share = finite.size / n
        m2 = float(np.square(distances - own).sum())
        return Moments(n, self.mean + distance * share, self.m2 + m2 + distance * distance * share * self.n)
