"""Where the values of one sample stand among those of another, by midranks: O(n log n)."""

from __future__ import annotations

import numpy as np

from model_perf._floats import Floats


def placements(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """For each positive the share of negatives below it, for each negative that of positives above it."""
    m, n = positive.size, negative.size
    together = _midranks(np.concatenate([positive, negative]))
    of_positive = (together[:m] - _midranks(positive)) / n
    of_negative = 1.0 - (together[m:] - _midranks(negative)) / m
    return of_positive, of_negative


def _midranks(values: Floats) -> Floats:
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    at_most = np.searchsorted(ordered, values, side="right")
    return np.asarray(0.5 * (below + at_most + 1), dtype=np.float64)
