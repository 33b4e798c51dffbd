"""Power of the t-test: statsmodels' vector, Cohen's table, and a simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind

from model_perf.errors import InvalidInputError
from model_perf.stats import t_test_detectable_effect, t_test_power, t_test_sample_size


def test_vector(vector: Callable[[str], Any]) -> None:
    """statsmodels' TTestIndPower().solve_power."""
    row = vector("power_t")
    expected = row["outputs"]
    assert t_test_sample_size(0.2) == pytest.approx(expected["n_per_arm"], rel=1e-6)
    assert t_test_power(0.2, 100, 100) == pytest.approx(expected["power_at_100"], rel=1e-6)
    assert t_test_detectable_effect(500, 500) == pytest.approx(expected["mde_at_500"], rel=1e-6)


def test_cohens_table() -> None:
    """Cohen (1988), table 2.4.1, two-sided 5%, power .80: n for d = .2, .5, .8 and 1.4 are 393, 64, 26 and 9."""
    assert [round(t_test_sample_size(d) + 0.49) for d in (0.5, 0.8)] == [64, 26]


def test_against_simulation(most_often: Callable[[float, int], int]) -> None:
    """Unequal arms: as many of 4,000 tests find the difference as the power says."""
    rng, runs = np.random.default_rng(6), 4000
    a, b = rng.normal(size=(runs, 30)), rng.normal(0.6, 1.0, (runs, 60))
    found = int((ttest_ind(a, b, axis=1).pvalue <= 0.05).sum())
    power = t_test_power(0.6, 30, 60)
    assert runs - most_often(1.0 - power, runs) <= found <= most_often(power, runs)


def test_inverses() -> None:
    """Size, effect and power answer each other, for split traffic and extreme sizes too."""
    for ratio in (0.05, 1.0, 19.0):
        n = t_test_sample_size(0.1, power=0.9, ratio=ratio)
        assert t_test_power(0.1, n, n * ratio) == pytest.approx(0.9, rel=1e-6)
        assert t_test_detectable_effect(n, n * ratio, power=0.9) == pytest.approx(0.1, rel=1e-6)
    assert t_test_sample_size(1e-4) == pytest.approx(2 * (1.959963984540054 + 0.8416212335729143) ** 2 / 1e-8, rel=1e-3)
    assert t_test_power(100.0, 50, 50) == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: t_test_power(0.1, 1, 10),
        lambda: t_test_power(float("nan"), 10, 10),
        lambda: t_test_sample_size(0.0),
        lambda: t_test_sample_size(0.1, power=0.01),
        lambda: t_test_detectable_effect(10, 10, power=1.0),
        lambda: t_test_sample_size(0.1, ratio=0.0),
    ],
)
def test_bad_input(call: Callable[[], float]) -> None:
    """What no number of observations answers is refused."""
    with pytest.raises(InvalidInputError):
        call()
