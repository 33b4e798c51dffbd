"""Adjusted p-values of p-values that have been checked: what performance, data and A/B tests are judged by."""

from __future__ import annotations

from collections.abc import Sequence


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm's adjusted values of p-values that have been checked."""
    adjusted = [1.0] * len(pvalues)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(pvalues)), key=pvalues.__getitem__)):
        largest = max(largest, min(1.0, (len(pvalues) - rank) * pvalues[index]))
        adjusted[index] = largest
    return adjusted


def benjamini_hochberg(pvalues: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's; above 1 nothing is cut, the first in order is n p."""
    adjusted = [1.0] * len(pvalues)
    smallest = 1.0
    for rank, index in sorted(enumerate(sorted(range(len(pvalues)), key=pvalues.__getitem__), 1), reverse=True):
        smallest = min(smallest, pvalues[index] * len(pvalues) / rank)
        adjusted[index] = smallest
    return adjusted
