"""The sums of all pairs of two samples, in order: the ground of Hodges and Lehmann's estimates.

n m sums would fill the memory (10,000 values of each: 800 MB), and need not be formed: how many of them are at most t
is counted in O(n log m), so a sum of a given rank is found by halving.
"""

from __future__ import annotations

import math

import numpy as np

from model_perf._floats import Floats
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._mean_difference import Alternative

_HALVINGS = 64


class PairwiseSums:
    """Sums x_i + y_j of all pairs of two ascending samples; with `twice`, of x with itself, each pair once.

    Attributes
    ----------
    n_sums : int
    """

    def __init__(self, x: Floats, y: Floats, *, twice: bool = False) -> None:
        self._x, self._y, self._twice = x, y, twice
        self.n_sums = x.size * (x.size + 1) // 2 if twice else x.size * y.size

    def of_rank(self, rank: int) -> float:
        """The sum of a rank, 0 for the lowest; halved is what brackets it, down to the rounding of a sum."""
        low = float(self._x[0] + self._y[0])
        high = float(np.nextafter(self._x[-1] + self._y[-1], math.inf))
        if self._at_most(low) > rank:
            return low
        for _ in range(_HALVINGS):
            middle = low + 0.5 * (high - low)
            low, high = (low, middle) if self._at_most(middle) > rank else (middle, high)
        return self._largest_at_most(high)

    def median(self) -> float:
        low, high = (self.of_rank(rank) for rank in ((self.n_sums - 1) // 2, self.n_sums // 2))
        return low + 0.5 * (high - low)

    def interval(self, quantile: int, alternative: Alternative) -> ConfidenceInterval:
        """From the sum that is *quantile*-th from below to that which is so from above; without end at 0."""
        is_bounded = quantile > 0
        return ConfidenceInterval(
            low=self.of_rank(quantile - 1) if is_bounded and alternative != "less" else -math.inf,
            high=self.of_rank(self.n_sums - quantile) if is_bounded and alternative != "greater" else math.inf,
        )

    def _at_most(self, limit: float) -> int:
        count = int(np.searchsorted(self._y, limit - self._x, side="right").sum())
        if not self._twice:
            return count
        return (count + int(np.searchsorted(self._x, 0.5 * limit, side="right"))) // 2

    def _largest_at_most(self, limit: float) -> float:
        below = np.searchsorted(self._y, limit - self._x, side="right")
        some = below > 0
        return float((self._x[some] + self._y[below[some] - 1]).max()) if some.any() else limit
