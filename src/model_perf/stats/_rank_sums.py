"""How far out sums of ranks come by chance: exactly in small samples, else by the normal distribution."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from model_perf._floats import Floats
from model_perf.stats._mean_difference import upper_quantile

_EXACT = 50
"""Pairs up to which all arrangements are counted; of two samples, the root of the product of their sizes."""


def signed_rank_quantile(tail: float, n: int) -> int:
    """How many of the sums 0, 1, ... of positive ranks among n have a probability of *tail* together, at most.

    R: qsignrank(tail, n), but where they have just that.
    """
    if n <= _EXACT:
        return _quantile(_signed_rank_sums(n), tail)
    return _normal_quantile(tail, n * (n + 1.0) / 4.0, n * (n + 1.0) * (2.0 * n + 1.0) / 24.0)


def rank_sum_quantile(tail: float, n: int, m: int) -> int:
    """The same of U, the pairs of n and m values in which the one is larger. R: qwilcox(tail, n, m)."""
    if n * m <= _EXACT**2:
        return _quantile(_rank_sums(min(n, m), max(n, m)), tail)
    return _normal_quantile(tail, n * m / 2.0, n * m * (n + m + 1.0) / 12.0)


def _quantile(shares: Floats, tail: float) -> int:
    return int(np.searchsorted(np.cumsum(shares) * (1.0 - 1e-12), tail, side="right"))


def _normal_quantile(tail: float, mean: float, variance: float) -> int:
    """A whole number stands for the half around it. The tail is exceeded by 4% of it at most."""
    return max(0, math.ceil(mean - upper_quantile(tail, None) * math.sqrt(variance) - 0.5))


@lru_cache(maxsize=64)
def _signed_rank_sums(n: int) -> Floats:
    """Probabilities of 0, 1, ...: each rank is in the sum or not."""
    shares = np.zeros(n * (n + 1) // 2 + 1)
    shares[0] = 1.0
    for rank in range(1, n + 1):
        shares[rank:] = shares[rank:] + shares[:-rank]
        shares *= 0.5
    return shares


@lru_cache(maxsize=64)
def _rank_sums(n: int, m: int) -> Floats:
    """Probabilities of U = 0, 1, ...: row k holds the ways to draw k of the ranks so far, by their sum."""
    least = n * (n + 1) // 2
    ways = np.zeros((n + 1, least + n * m + 1))
    ways[0, 0] = 1.0
    for rank in range(1, n + m + 1):
        ways[1:, rank:] = ways[1:, rank:] + ways[:-1, :-rank]
    shares: Floats = ways[n, least:] / math.comb(n + m, n)
    return shares
