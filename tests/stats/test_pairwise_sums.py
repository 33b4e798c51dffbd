"""Sums of pairs against all of them formed, and quantiles of rank sums against R and against arrangements."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from model_perf.stats._pairwise_sums import PairwiseSums
from model_perf.stats._rank_sums import (
    _EXACT,
    _rank_sums,
    _signed_rank_sums,
    rank_sum_quantile,
    signed_rank_quantile,
)


@pytest.mark.parametrize("digits", [0, 1, 15])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 7), (40, 33)])
def test_every_rank(n: int, m: int, digits: int) -> None:
    """The sum of each rank is that of all sums in order, with ties and without."""
    rng = np.random.default_rng([n, m, digits])
    x, y = (np.sort(np.round(rng.normal(size=size), digits)) for size in (n, m))
    formed = np.sort(np.add.outer(x, y), axis=None)
    sums = PairwiseSums(x, y)
    assert [sums.of_rank(rank) for rank in range(n * m)] == pytest.approx(formed.tolist(), abs=1e-14)
    assert sums.median() == pytest.approx(np.median(formed), abs=1e-14)


@pytest.mark.parametrize("digits", [0, 1, 15])
@pytest.mark.parametrize("n", [1, 2, 40])
def test_every_rank_of_a_sample_with_itself(n: int, digits: int) -> None:
    """Each pair once, and each value with itself."""
    x = np.sort(np.round(np.random.default_rng([n, digits]).normal(size=n), digits))
    formed = np.sort(np.add.outer(x, x)[np.triu_indices(n)])
    sums = PairwiseSums(x, x, twice=True)
    assert [sums.of_rank(rank) for rank in range(sums.n_sums)] == pytest.approx(formed.tolist(), abs=1e-14)


def test_scales_apart() -> None:
    """Sums of 1e90 and of 1e-9 are found beside each other, to the rounding of the largest."""
    x = np.array([-1e90, -1e-9, 0.0, 3e-9, 1e90])
    sums = PairwiseSums(x, np.zeros(1))
    assert [sums.of_rank(rank) for rank in (0, 4)] == [-1e90, 1e90]
    assert [sums.of_rank(rank) for rank in (1, 2, 3)] == pytest.approx([0.0] * 3, abs=1e90 * 2.0**-60)


@pytest.mark.parametrize(("n", "expected"), [(5, 0), (6, 1), (9, 6), (10, 9), (20, 53), (30, 138), (50, 435)])
def test_published_quantiles_of_signed_ranks(n: int, expected: int) -> None:
    """R: qsignrank(.025, n); one above the critical values of Wilcoxon's tables."""
    assert signed_rank_quantile(0.025, n) == expected


@pytest.mark.parametrize(("n", "m", "expected"), [(3, 3, 0), (4, 4, 1), (5, 10, 9), (10, 10, 24), (20, 20, 128)])
def test_published_quantiles_of_rank_sums(n: int, m: int, expected: int) -> None:
    """R: qwilcox(.025, n, m); one above the critical values of Mann and Whitney's tables, in either order."""
    assert rank_sum_quantile(0.025, n, m) == rank_sum_quantile(0.025, m, n) == expected


@pytest.mark.parametrize("tail", [0.005, 0.025, 0.05, 0.2])
def test_quantiles_count_arrangements(tail: float) -> None:
    """By all signs of nine ranks, and all draws of four ranks of eleven."""
    signed = np.sort([sum(signs[i] * (i + 1) for i in range(9)) for signs in product((0, 1), repeat=9)])
    drawn = np.sort([sum(ranks) - 10 for ranks in combinations(range(1, 12), 4)])
    for sums, found in ((signed, signed_rank_quantile(tail, 9)), (drawn, rank_sum_quantile(tail, 4, 7))):
        assert np.mean(sums < found) <= tail < np.mean(sums <= found)


@pytest.mark.parametrize("tail", [0.005, 0.025, 0.05])
def test_the_normal_quantile_keeps_the_tail(tail: float) -> None:
    """Where the exact distribution is left, the sums outside have the tail's probability, or 4% of it more at most."""
    signed = np.cumsum(_signed_rank_sums(_EXACT + 1))[signed_rank_quantile(tail, _EXACT + 1) - 1]
    assert 0.8 * tail <= signed <= 1.01 * tail
    for n, m in ((51, 51), (6, 450), (3, 900)):
        outside = np.cumsum(_rank_sums(n, m))[max(0, rank_sum_quantile(tail, n, m) - 1)]
        assert outside <= 1.04 * tail
