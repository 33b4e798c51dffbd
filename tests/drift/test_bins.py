"""Bins: where the edges lie, what is counted, and what is merged."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from model_perf.drift import quantile_bin_counts
from model_perf.drift._bins import counts_between, neighbour_groups, pool_groups, quantile_edges, sum_groups


@pytest.mark.parametrize("n", [10, 11, 97, 1000])
@pytest.mark.parametrize("n_bins", [2, 10, 40])
def test_bins_hold_equal_shares(n: int, n_bins: int) -> None:
    """Of different values each bin holds as many as another, or one more."""
    if n >= n_bins:
        counts = quantile_bin_counts(np.random.default_rng(n).random(n), np.zeros(n_bins), n_bins=n_bins)
        assert np.ptp(counts.reference[:-1]) <= 1
        assert counts.edges.size == n_bins - 1


@pytest.mark.parametrize(
    ("reference", "edges"),
    [
        ([5] * 20, [4, 5]),
        ([0] * 19 + [1], [-1, 0]),
        ([0] * 10 + [1] * 10, [-1, 0, 1]),
        (np.array([0] * 20, np.uint8), [0]),
        ([True] * 20, [0, 1]),
        ([np.iinfo(np.int64).min] * 20, [np.iinfo(np.int64).min]),
    ],
)
def test_a_value_that_fills_a_bin_is_told_from_its_neighbours(reference: ArrayLike, edges: list[int]) -> None:
    """Beside a value that fills bins there is an edge on either side, unless nothing can lie below it."""
    assert quantile_bin_counts(reference, reference).edges.tolist() == edges


def test_every_row_is_counted_once() -> None:
    """The counts of any values add up to their number, NaN and infinities included, with few edges and with many."""
    rng = np.random.default_rng(1)
    values = np.concatenate([np.round(rng.standard_normal(500), 1), [np.nan] * 7, [np.inf, -np.inf]])
    for n_bins in (2, 10, 100):
        counts = quantile_bin_counts(values, rng.permutation(values), n_bins=n_bins)
        assert counts.reference.sum() == values.size
        assert counts.reference.tolist() == counts.current.tolist()
        assert counts.reference[-1] == 7


def test_counts_of_parts_add_up_to_those_of_the_whole() -> None:
    """On the same edges the counts of two halves are the counts of both together."""
    values = np.random.default_rng(2).standard_normal(1001)
    edges = quantile_edges(np.sort(values[:300]), 10)
    parts = counts_between(values[:400], edges) + counts_between(values[400:], edges)
    assert parts.tolist() == counts_between(values, edges).tolist()


def test_neighbours_are_merged_until_one_row_is_expected() -> None:
    """From the first bin on; what is left at the end goes with the last group."""
    # The smaller sample expects a tenth of each: 10 rows of both are needed.
    assert neighbour_groups(np.array([4.0, 5, 6, 20, 3, 9, 1]), 0.1).tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert neighbour_groups(np.array([30.0, 2, 3]), 0.1).tolist() == [0, 0, 0]
    assert neighbour_groups(np.array([1.0, 2, 3]), 0.1).tolist() == [0, 0, 0]


@pytest.mark.parametrize("seed", range(20))
def test_merging_keeps_rows_and_leaves_nothing_sparse(seed: int) -> None:
    """Groups are numbered without a gap, keep all rows, and hold what they must unless there is but one."""
    rng = np.random.default_rng(seed)
    combined = rng.integers(0, 40, size=30).astype(float)
    for groups, least in ((neighbour_groups(combined, 0.1), 1.0), (pool_groups(combined, 0.3), 5.0)):
        merged = sum_groups(combined, groups)
        assert merged.sum() == combined.sum()
        assert sorted(set(groups.tolist())) == list(range(merged.size))
        assert merged.size == 1 or merged.min() * (0.1 if least == 1.0 else 0.3) >= least


def test_groups_of_several_rows() -> None:
    """Counts of several chunks are added up row by row."""
    groups = np.array([1, 0, 1])
    assert sum_groups(np.array([[1.0, 2, 3], [4, 5, 6]]), groups).tolist() == [[2.0, 4.0], [5.0, 10.0]]
