"""Jensen-Shannon, Hellinger and total variation: scipy as oracle, bounds between them, and what they share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from model_perf.drift import (
    hellinger_distance,
    jensen_shannon_distance,
    jensen_shannon_divergence,
    quantile_bin_counts,
    total_variation_distance,
)

Distance = Callable[..., float]
ALL = [jensen_shannon_divergence, jensen_shannon_distance, hellinger_distance, total_variation_distance]


def counts(seed: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 9, size=12), rng.integers(0, 90, size=12)


def test_published_values() -> None:
    """The examples of scipy's documentation, in base 2."""
    # jensenshannon([1.0, 0.0], [0.5, 0.5]) = 0.46450140402245893 in nats.
    assert jensen_shannon_distance([2, 0], [1, 1]) == pytest.approx(0.46450140402245893 / np.sqrt(np.log(2)), rel=1e-9)
    assert jensen_shannon_divergence([2, 0], [1, 1]) == pytest.approx(1.5 - 0.75 * np.log2(3), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scipy(seed: int) -> None:
    """scipy.spatial.distance.jensenshannon(p, q, 2), with empty bins too."""
    p, q = counts(seed)
    assert jensen_shannon_distance(p, q) == pytest.approx(jensenshannon(p, q, 2), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_distances_bound_each_other(seed: int) -> None:
    """H² <= TV <= H sqrt(2 - H²) (Le Cam), and the divergence in bits is at most TV (Lin 1991, theorem 3)."""
    p, q = counts(seed)
    hellinger, variation = hellinger_distance(p, q), total_variation_distance(p, q)
    assert hellinger**2 <= variation <= hellinger * np.sqrt(2.0 - hellinger**2)
    assert jensen_shannon_divergence(p, q) <= variation


@pytest.mark.parametrize("distance", ALL)
def test_what_all_share(distance: Distance) -> None:
    """0 for equal shares, 1 without a common bin, symmetric, the same for any order and any empty bin."""
    p, q = counts(7)
    order = np.random.default_rng(8).permutation(12)
    assert distance(p, p) == 0.0
    assert distance(p, 3 * p) == pytest.approx(0.0, abs=1e-7)
    assert distance([3, 0], [0, 9]) == pytest.approx(1.0, rel=1e-12)
    assert distance(q, p) == pytest.approx(distance(p, q), rel=1e-12)
    assert distance(p[order], q[order]) == pytest.approx(distance(p, q), rel=1e-12)
    assert distance([*p, 0, 0], [*q, 0, 0]) == pytest.approx(distance(p, q), rel=1e-12)


@pytest.mark.parametrize("distance", ALL)
def test_merging_bins_loses_distance(distance: Distance) -> None:
    """Two bins taken together are no further apart than the two were."""
    p, q = counts(9)
    assert distance(p.reshape(6, 2).sum(axis=1), q.reshape(6, 2).sum(axis=1)) <= distance(p, q)


@pytest.mark.parametrize("distance", ALL)
def test_a_shift_of_values_on_the_references_bins(distance: Distance) -> None:
    """On the quantile bins of the reference the distance grows with the shift."""
    rng = np.random.default_rng(10)
    x, y = rng.standard_normal(2000), rng.standard_normal(2000)
    binned = [quantile_bin_counts(x, y + shift) for shift in (0.0, 0.5, 1.0, 3.0)]
    found = [distance(each.reference, each.current) for each in binned]
    assert found == sorted(found)
