"""Units with several observations: the delta method's vector, statsmodels' clusters, and the size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import stdtr

from model_perf.aggregates import Aggregates
from model_perf.errors import TooFewObservationsError
from model_perf.stats import clustered_mean
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
    ours = math.sqrt(sum(x.standard_error**2 * x.df / (x.df + 1) for x in (a, b)))
    assert ours == pytest.approx(clusters["outputs"]["se_cluster"], rel=1e-9)


def test_one_observation_a_unit() -> None:
    """With one observation each the standard error is the usual one."""
    values = np.random.default_rng(1).normal(size=300)
    found = clustered_mean([Aggregates.from_values([x]) for x in values])
    assert found.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(300), rel=1e-12)


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


def test_one_group() -> None:
    """One group says nothing of others."""
    with pytest.raises(TooFewObservationsError, match="slots: has 1 groups"):
        clustered_mean([Aggregates.from_values([1.0, 2.0]), Aggregates()])
