"""Units with several observations: the delta method's vector, statsmodels' clusters, and the size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import stdtr

from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import clustered_mean, clustered_t_test
from model_perf.stats._welch import welch_df


def units(row: Any, arm: str) -> list[Aggregates]:
    """One per unit: so many events (num) among so many observations (den)."""
    pairs = zip(row["inputs"][f"{arm}_num"], row["inputs"][f"{arm}_den"], strict=True)
    return [Aggregates.from_values([1.0] * int(num) + [0.0] * int(den - num)) for num, den in pairs]


def test_vectors(vector: Callable[[str], Any]) -> None:
    """tea-tasting's ratio of means, and statsmodels' clusters, which leave out G / (G - 1)."""
    row = vector("ratio_delta")
    a, b = clustered_mean(units(row, "a")), clustered_mean(units(row, "b"))
    expected = row["outputs"]
    assert (a.mean, b.mean) == pytest.approx((expected["control"], expected["treatment"]), rel=1e-9)
    error = math.hypot(a.standard_error, b.standard_error)
    assert (b.mean - a.mean) / error == pytest.approx(expected["t"], rel=1e-9)
    clusters = vector("ratio_cluster_robust")
    ours = math.sqrt(sum(x.standard_error**2 * (x.n_groups - 1) / x.n_groups for x in (a, b)))
    assert b.mean - a.mean == pytest.approx(clusters["outputs"]["diff"], rel=1e-9)
    assert ours == pytest.approx(clusters["outputs"]["se_cluster"], rel=1e-9)
    # tea-tasting's degrees of freedom do not know the units' sizes; with them its p comes out, and ours is larger.
    df = welch_df(*((each.standard_error**2, each.n_groups - 1.0) for each in (a, b)))
    assert 2.0 * stdtr(df, -expected["t"]) == pytest.approx(expected["p"], rel=1e-9)
    assert welch_df((a.standard_error**2, a.df), (b.standard_error**2, b.df)) < df


def test_one_observation_a_unit() -> None:
    """With one observation each the standard error is the usual one."""
    values = np.random.default_rng(1).normal(size=300)
    found = clustered_mean([Aggregates.from_values([x]) for x in values])
    assert found.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(300), rel=1e-12)
    assert found.df == pytest.approx(299.0, rel=1e-12)


def test_the_degrees_of_freedom() -> None:
    """They are tr(K)^2 / tr(K^2) of the scores' covariance K, had the groups independent means of equal variance."""
    sizes = np.random.default_rng(2).geometric(0.05, 12)
    slots = [Aggregates(n=int(n), mean=float(i), m2=1.0) for i, n in enumerate(sizes)]
    shares = sizes / sizes.sum()
    scores = shares[:, None] * (np.eye(12) - shares)
    covariance = scores @ scores.T
    expected = np.trace(covariance) ** 2 / np.sum(covariance**2)
    assert expected < 6.0
    assert clustered_mean(slots).df == pytest.approx(expected, rel=1e-9)


def test_a_group_that_has_nearly_everything() -> None:
    """The more of the observations are its own, the less is known of the mean, down to one degree of freedom."""
    slots = [Aggregates(n=100, mean=float(i % 3), m2=1.0) for i in range(9)]
    found = [
        clustered_mean([*slots, Aggregates(n=largest, mean=1.0, m2=1.0)]).df
        for largest in (100, 300, 1000, 10**5, 10**9)
    ]
    assert found[0] == pytest.approx(9.0, rel=1e-12)
    assert found == sorted(found, reverse=True)
    assert 1.0 <= found[-2] < 1.3
    assert found[-1] == 1.0
    # Here the sums of powers differ by less than their last digits.
    assert clustered_mean([Aggregates(n=n, mean=float(n % 7)) for n in (10**12, 1, 1)]).df == 1.0


def test_shifted_scaled_and_permuted() -> None:
    """Neither the order of the groups nor the unit of the values matters, and an offset of 1e9 costs no digit."""
    rng = np.random.default_rng(6)
    values, groups = rng.integers(0, 64, 500) / 8.0, rng.geometric(0.1, 500)

    def of(x: NDArray[np.float64]) -> list[Aggregates]:
        return list(Aggregates.from_groups(x, groups).values())

    expected = clustered_mean(of(values))
    assert clustered_mean(of(values)[::-1]).standard_error == pytest.approx(expected.standard_error, rel=1e-12)
    assert clustered_mean(of(values + 1e9)).standard_error == pytest.approx(expected.standard_error, rel=1e-6)
    assert clustered_mean(of(values * 1e6)).standard_error == pytest.approx(1e6 * expected.standard_error, rel=1e-9)


@pytest.mark.parametrize("sizes", ["ten", "geometric"])
@pytest.mark.parametrize(("units_a", "units_b"), [(3, 3), (10, 10), (10, 100)])
def test_the_size_of_few_units(units_a: int, units_b: int, sizes: str, most_often: Callable[[float, int], int]) -> None:
    """Few units with an effect of their own, equal or not in size: 6% at most, by the same sums in arrays."""
    rng, runs = np.random.default_rng(units_a * units_b), 2000
    arms = []
    for n_units in (units_a, units_b):
        n = rng.geometric(0.1, (runs, n_units)) if sizes == "geometric" else np.full((runs, n_units), 10)
        means = rng.normal(size=n.shape) + rng.normal(size=n.shape) / np.sqrt(n)
        arms.append([slots_of(*row) for row in zip(n, means, strict=True)])
    found = sum(clustered_t_test(a, b).pvalue <= 0.05 for a, b in zip(*arms, strict=True))
    assert found <= most_often(0.057, runs)
    if sizes == "geometric":  # what G - 1 would give: .075 and more
        usual = sum(by_groups_alone(a, b) <= 0.05 for a, b in zip(*arms, strict=True))
        assert usual > 0.07 * runs


def slots_of(sizes: NDArray[np.intp], means: NDArray[np.float64]) -> list[Aggregates]:
    return [Aggregates(n=n, mean=mean) for n, mean in zip(sizes.tolist(), means.tolist(), strict=True)]


def by_groups_alone(slots_a: list[Aggregates], slots_b: list[Aggregates]) -> float:
    a, b = clustered_mean(slots_a), clustered_mean(slots_b)
    df = welch_df((a.standard_error**2, a.n_groups - 1.0), (b.standard_error**2, b.n_groups - 1.0))
    return float(2.0 * stdtr(df, -abs(b.mean - a.mean) / math.hypot(a.standard_error, b.standard_error)))


@pytest.mark.parametrize("n_units", [20, 2000])
def test_size(n_units: int, most_often: Callable[[float, int], int]) -> None:
    """Ten rows a unit with an effect of its own: 5% by units in 256 slots, and half of all tests by rows."""
    rng, runs, found, naive = np.random.default_rng(n_units), 400, 0, 0
    slot = np.arange(n_units) % 256
    for _ in range(runs):
        parts, errors = [], []
        for _ in range(2):
            rows = (rng.normal(size=(n_units, 1)) + rng.normal(size=(n_units, 10))).ravel()
            grouped = Aggregates.from_groups(rows, np.repeat(slot, 10))
            parts.append(clustered_mean(list(grouped.values())))
            errors.append(rows.std(ddof=1) / math.sqrt(rows.size))
        t = (parts[1].mean - parts[0].mean) / math.hypot(*(p.standard_error for p in parts))
        df = welch_df(*((p.standard_error**2, p.df) for p in parts))
        found += 2.0 * stdtr(df, -abs(t)) <= 0.05
        naive += abs(parts[1].mean - parts[0].mean) > 1.96 * math.hypot(*errors)
    assert found <= most_often(0.06, runs)
    assert naive / runs > 0.3


def test_exchanged_arms() -> None:
    """With the arms exchanged the effect changes its sign, and one side its name."""
    rng = np.random.default_rng(9)
    a, b = (slots_of(rng.geometric(0.1, n), rng.normal(size=n)) for n in (12, 30))
    one, other = clustered_t_test(a, b, alternative="less"), clustered_t_test(b, a, alternative="greater")
    assert (one.effect, one.pvalue, one.df) == pytest.approx((-other.effect, other.pvalue, other.df))
    assert one.confidence_interval.high == pytest.approx(-other.confidence_interval.low)
    assert one.confidence_interval.low == -math.inf


def test_bad_input() -> None:
    """What has no test is refused by name."""
    two = slots_of(np.array([3, 4]), np.array([1.0, 2.0]))
    with pytest.raises(TooFewObservationsError, match="slots_b: has 1 groups"):
        clustered_t_test(two, two[:1])
    with pytest.raises(InvalidInputError, match="alternative"):
        clustered_t_test(two, two, alternative="more")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="alpha"):
        clustered_t_test(two, two, alpha=5.0)


def test_one_group() -> None:
    """One group says nothing of others."""
    with pytest.raises(TooFewObservationsError, match="slots: has 1 groups"):
        clustered_mean([Aggregates.from_values([1.0, 2.0]), Aggregates()])
