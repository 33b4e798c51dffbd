"""Moments: vectors, numpy and scipy as oracles, and what merging must not change."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.stats import skew
from tests.vectors import vector

from model_perf.aggregates import Aggregates, Covariate
from model_perf.errors import InvalidInputError, TooFewObservationsError


def test_merging_agrees_with_the_vector() -> None:
    """Four slices merge to what tea-tasting's Aggregates.__add__ gives."""
    row = vector("merge_cross_moments")
    x, y = np.array(row["inputs"]["x"]), np.array(row["inputs"]["y"])
    whole = Aggregates.merged(Aggregates.from_values(x[i:j], y[i:j]) for i, j in row["inputs"]["slices"])
    expected = row["outputs"]
    assert whole.n == expected["n"]
    assert whole.covariate is not None
    assert (whole.mean, whole.variance) == pytest.approx((expected["mean_x"], expected["var_x"]), rel=1e-12)
    assert whole.covariate.mean == pytest.approx(expected["mean_y"], rel=1e-12)
    assert whole.covariate.m2 / (whole.n - 1) == pytest.approx(expected["var_y"], rel=1e-12)
    assert whole.covariance == pytest.approx(expected["cov_xy"], rel=1e-12)


def test_large_values_keep_their_variance() -> None:
    """Data offset by 1e9, of which sums of squares make a negative variance, keeps its own."""
    values = np.array(vector("gb_naive_sum_squares")["inputs"]["x"])
    parts = [Aggregates.from_values(values[i : i + 7]) for i in range(0, values.size, 7)]
    exact = float(np.var(values - values[0], ddof=1))
    # A mean near 1e9 is itself known to 1.2e-7 only.
    assert Aggregates.merged(parts).variance == pytest.approx(exact, rel=1e-8)
    assert Aggregates.from_values(values).variance == pytest.approx(exact, rel=1e-14)


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_any_partition_gives_the_whole(offset: float) -> None:
    """Moments of random partitions, merged in any order, are those numpy and scipy give for the whole."""
    rng = np.random.default_rng(20)
    for _ in range(50):
        x = offset + rng.gamma(2.0, size=rng.integers(2, 200))
        y = x - offset + rng.standard_normal(x.size)
        cuts = np.sort(rng.integers(0, x.size + 1, size=5))
        parts = [Aggregates.from_values(x[i:j], y[i:j]) for i, j in itertools.pairwise([0, *cuts.tolist(), x.size])]
        merged = Aggregates.merged(parts[i] for i in rng.permutation(len(parts)))
        tolerance = 1e-12 if offset == 0.0 else 1e-6
        assert merged.n == x.size
        assert merged.mean == pytest.approx(x.mean(), rel=1e-14)
        assert merged.variance == pytest.approx(np.var(x - offset, ddof=1), rel=tolerance)
        assert merged.covariance == pytest.approx(np.cov(x - offset, y)[0, 1], rel=tolerance, abs=tolerance)
        assert merged.skewness == pytest.approx(skew(x - offset), rel=tolerance, abs=tolerance)
        assert merged.standard_error == pytest.approx(np.std(x - offset, ddof=1) / np.sqrt(x.size), rel=tolerance)


def test_merging_is_commutative_and_associative() -> None:
    """The order of merging changes rounding only."""
    rng = np.random.default_rng(21)
    a, b, c = (Aggregates.from_values(rng.standard_normal(n), rng.standard_normal(n)) for n in (3, 50, 700))
    for one, other in ((a + b, b + a), ((a + b) + c, a + (b + c))):
        assert one.n == other.n
        assert (one.mean, one.m2, one.m3) == pytest.approx((other.mean, other.m2, other.m3), rel=1e-12)


def test_no_observation_is_the_identity() -> None:
    """Adding nothing gives the very same value, with or without a covariate."""
    some = Aggregates.from_values([1.0, 2.0], [3.0, 5.0])
    assert some + Aggregates() is some
    assert Aggregates() + some is some
    assert Aggregates.from_values([]) == Aggregates() == Aggregates.merged([])


def test_groups() -> None:
    """Each group has the moments of its own values; a group that does not occur is absent."""
    rng = np.random.default_rng(22)
    x, y, groups = rng.standard_normal(1000), rng.standard_normal(1000), rng.integers(0, 7, 1000) * 2
    found = Aggregates.from_groups(x, groups, y)
    assert sorted(found) == [0, 2, 4, 6, 8, 10, 12]
    for group, moments in found.items():
        alone = Aggregates.from_values(x[groups == group], y[groups == group])
        assert moments.n == alone.n
        assert (moments.mean, moments.m2, moments.m3) == pytest.approx((alone.mean, alone.m2, alone.m3), rel=1e-9)
        assert moments.covariance == pytest.approx(alone.covariance, rel=1e-9)


def test_one_observation() -> None:
    """One value has a mean and no variance."""
    one = Aggregates.from_values([3.5], [1.0])
    assert one == Aggregates(n=1, mean=3.5, covariate=Covariate(1.0, 0.0, 0.0))
    assert one.skewness == 0.0
    with pytest.raises(TooFewObservationsError, match="have 1 observations"):
        _ = one.variance
    with pytest.raises(TooFewObservationsError):
        _ = one.covariance


def test_large_observations_stay_finite() -> None:
    """The largest values that are taken have finite moments, merged or not."""
    x = np.array([1e90, -1e90, 1e90])
    moments = Aggregates.from_values(x) + Aggregates.from_values(-x)
    assert np.isfinite([moments.m2, moments.m3, moments.skewness]).all()


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1.0, np.nan], None, "x: holds nan at position 1"),
        ([1.0, np.inf], None, "x: holds inf at position 1"),
        ([1e91], None, r"x: holds 1e\+91"),
        ([1.0], [1.0, 2.0], "y: has 2 entries and x has 1"),
        ([1.0], [np.nan], "y: holds nan"),
        (["a"], None, "x: holds <U1, not numbers"),
        ([True], None, "x: holds bool"),
    ],
)
def test_bad_input(x: Any, y: Any, message: str) -> None:
    """What has no moments is refused by name."""
    with pytest.raises(InvalidInputError, match=message):
        Aggregates.from_values(x, y)


def test_a_covariate_on_one_side_only() -> None:
    """Observations with and without a covariate do not merge, and nothing is dropped silently."""
    with pytest.raises(InvalidInputError, match="covariate on one side only"):
        Aggregates.from_values([1.0], [2.0]) + Aggregates.from_values([1.0])
    with pytest.raises(InvalidInputError, match="have no covariate"):
        _ = Aggregates.from_values([1.0, 2.0]).covariance


def test_groups_of_another_length() -> None:
    """Groups that do not match the values are refused."""
    with pytest.raises(InvalidInputError, match="groups: has 1 entries and x has 2"):
        Aggregates.from_groups([1.0, 2.0], np.array([0]))
    for groups in (np.array([0, -1]), np.array([0.0, 1.0])):
        with pytest.raises(InvalidInputError, match="groups: holds other things"):
            Aggregates.from_groups([1.0, 2.0], groups)
