"""CUPED: vectors, what it leaves of the variance, and what it must not take out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError
from model_perf.stats import adjusted, clustered_mean, cuped_theta, welch_t_test
from model_perf.stats._confidence_sequence import multipliers


def arms_of(row: Any) -> tuple[Aggregates, Aggregates]:
    """Theirs is the other way round: y is the outcome there, and x the covariate."""
    a, b = (Aggregates.from_values(row["inputs"][f"{arm}_y"], row["inputs"][f"{arm}_x"]) for arm in "ab")
    return a, b


def test_vectors(vector: Callable[[str], Any]) -> None:
    """With tea-tasting's theta, which mixes in what lies between the arms, all its numbers come out."""
    row = vector("cuped_tea")
    a, b = arms_of(row)
    expected = row["outputs"]
    whole = (a + b).covariate
    assert whole is not None
    merged_theta = (a + b).covariance * (a.n + b.n - 1) / whole.m2
    assert merged_theta == pytest.approx(expected["theta"], rel=1e-9)
    one, other = adjusted([a, b], merged_theta, whole.mean)
    assert (one.mean, other.mean) == pytest.approx((expected["control"], expected["treatment"]), rel=1e-9)
    found = welch_t_test(one, other)
    interval = found.confidence_interval
    assert (found.effect, found.statistic, found.pvalue) == pytest.approx(
        (expected["diff"], expected["t"], expected["p"]), rel=1e-9
    )
    assert (interval.low, interval.high) == pytest.approx(expected["ci"], rel=1e-9)
    # Ours is that within the arms, near it.
    assert cuped_theta(a, b) == pytest.approx(merged_theta, rel=0.01)


def test_the_sequence_of_gbstats(vector: Callable[[str], Any]) -> None:
    """gbstats' sequential interval on the adjusted values, with its own rho."""
    row = vector("cuped_acs")
    a, b = arms_of(row)
    expected, alpha, n_star = row["outputs"], row["inputs"]["alpha"], row["inputs"]["n_star"]
    one, other = adjusted([a, b], expected["theta"], 0.0)
    rho_squared = (-2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)) / n_star
    error = np.hypot(one.standard_error, other.standard_error)
    [multiplier] = multipliers(np.array([(a.n + b.n) * rho_squared]), alpha, "two-sided")
    effect = other.mean - one.mean
    assert effect == pytest.approx(expected["diff"], rel=1e-9)
    assert [effect - multiplier * error, effect + multiplier * error] == pytest.approx(expected["ci"], rel=1e-9)


def test_the_variance_falls_by_the_squared_correlation() -> None:
    """A covariate correlated by .8 leaves 36% of the variance, and the effect as it is."""
    rng = np.random.default_rng(1)
    arms = []
    for shift in (0.0, 0.1):
        y = rng.normal(size=50_000)
        arms.append(Aggregates.from_values(0.8 * y + 0.6 * rng.normal(size=50_000) + shift, y + 40.0))
    theta = cuped_theta(*arms)
    one, other = adjusted(arms, theta, 40.0)
    assert theta == pytest.approx(0.8, abs=0.01)
    assert one.variance == pytest.approx(0.36, rel=0.03)
    assert other.mean - one.mean == pytest.approx(0.1, abs=0.02)


def test_slots_and_values_agree() -> None:
    """The adjusted moments of slots are those of the adjusted values."""
    rng = np.random.default_rng(2)
    y, slots = rng.normal(5.0, 2.0, 3000), rng.integers(0, 40, 3000)
    x = 2.0 * y + rng.normal(size=3000)
    kept = Aggregates.from_groups(x, slots, y)
    theta = cuped_theta(Aggregates.merged(kept.values()))
    found = clustered_mean(adjusted(kept.values(), theta, 5.0))
    expected = clustered_mean(list(Aggregates.from_groups(x - theta * (y - 5.0), slots).values()))
    assert (found.mean, found.standard_error) == pytest.approx((expected.mean, expected.standard_error), rel=1e-9)


def test_size(most_often: Callable[[float, int], int]) -> None:
    """Equal arms of 100 are told apart in about 5% after the adjustment."""
    rng, runs, found = np.random.default_rng(3), 2000, 0
    for _ in range(runs):
        y = rng.normal(size=(2, 100))
        a, b = (Aggregates.from_values(v + rng.normal(size=100), v) for v in y)
        found += welch_t_test(*adjusted([a, b], cuped_theta(a, b), 0.0)).pvalue <= 0.05
    assert found <= most_often(0.055, runs)


def test_a_covariate_without_spread_or_none() -> None:
    """A constant covariate takes nothing out; none is refused."""
    assert cuped_theta(Aggregates.from_values([1.0, 2.0], [3.0, 3.0])) == 0.0
    with pytest.raises(InvalidInputError, match="have no covariate"):
        cuped_theta(Aggregates.from_values([1.0, 2.0]))
    with pytest.raises(InvalidInputError, match="have no covariate"):
        adjusted([Aggregates.from_values([1.0])], 1.0, 0.0)
    assert adjusted([Aggregates()], 1.0, 0.0) == [Aggregates()]
