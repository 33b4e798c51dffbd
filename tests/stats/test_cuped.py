"""CUPED: vectors, what it leaves of the variance, and what it must not take out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import adjusted, clustered_mean, clustered_t_test, cuped_theta, welch_t_test
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


def test_adjusted_parts_merge_to_the_adjusted_whole() -> None:
    """Slots may be merged before or after; the unit and the origin of the covariate do not matter."""
    rng = np.random.default_rng(4)
    y, groups = rng.integers(0, 64, 400) / 8.0, rng.integers(0, 9, 400)
    x = y + rng.normal(size=400)
    parts = list(Aggregates.from_groups(x, groups, y).values())
    theta, whole = cuped_theta(*parts), Aggregates.merged(parts)
    after, before = Aggregates.merged(adjusted(parts, theta, 4.0)), adjusted([whole], theta, 4.0)[0]
    assert (after.mean, after.m2) == pytest.approx((before.mean, before.m2), rel=1e-9)
    moved = list(Aggregates.from_groups(x, groups, 1e6 + 100.0 * y).values())
    assert cuped_theta(*moved) == pytest.approx(theta / 100.0, rel=1e-6)
    again = Aggregates.merged(adjusted(moved, cuped_theta(*moved), 1e6 + 400.0))
    assert (again.mean, again.m2) == pytest.approx((before.mean, before.m2), rel=1e-6)


def test_a_covariate_that_only_rounding_varies() -> None:
    """.1 + .1 + .1 is not .3; a theta of 1e15 for that moved a mean by half its standard error."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=200), np.where(rng.random(200) < 0.5, 0.3, 0.1 + 0.1 + 0.1)
    assert np.unique(y).size == 2
    a, b = Aggregates.from_values(x[:100], y[:100]), Aggregates.from_values(x[100:], y[100:])
    assert cuped_theta(a, b) == 0.0
    assert [each.mean for each in adjusted([a, b], 0.0, 0.3)] == [a.mean, b.mean]
    # A spread of a millionth of the mean is one.
    assert cuped_theta(Aggregates.from_values(x, 1.0 + 1e-6 * x)) == pytest.approx(1e6, rel=1e-6)


def test_size_of_units(most_often: Callable[[float, int], int]) -> None:
    """Units with ten rows, adjusted by slots: about 5% of equal arms differ, and the variance falls."""
    rng, runs, found, narrower = np.random.default_rng(5), 400, 0, 0
    for _ in range(runs):
        arms = []
        for _ in range(2):
            y = np.repeat(rng.normal(size=40), 10)
            x = y + np.repeat(rng.normal(size=40), 10) + rng.normal(size=400)
            arms.append(list(Aggregates.from_groups(x, np.repeat(np.arange(40), 10), y).values()))
        theta = cuped_theta(*(Aggregates.merged(arm) for arm in arms))
        with_it = clustered_t_test(*(adjusted(arm, theta, 0.0) for arm in arms))
        found += with_it.pvalue <= 0.05
        narrower += with_it.standard_error < clustered_t_test(*arms).standard_error
    assert found <= most_often(0.055, runs)
    assert narrower > 0.95 * runs


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
    with pytest.raises(TooFewObservationsError, match="arms: have no observations"):
        cuped_theta(Aggregates(), Aggregates())
    for theta, center in ((np.nan, 0.0), (1.0, np.inf)):
        with pytest.raises(InvalidInputError, match=r"theta|center"):
            adjusted([Aggregates.from_values([1.0], [2.0])], theta, center)
