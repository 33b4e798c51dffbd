"""Mann-Kendall: vectors, scipy as oracle, ties, properties."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau, norm

from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import mann_kendall, trend
from model_perf.stats._mann_kendall import autocorrelation_factor, kendall_variance, residual_autocorrelation
from model_perf.stats._series import as_series


@pytest.mark.parametrize("vector_id", ["mk_original_trend", "mk_original_trend_ties", "mk_original_issue29"])
def test_vectors(vector_id: str, vector: Callable[[str], Any]) -> None:
    """S, its variance, z and p are those of pymannkendall.original_test."""
    row = vector(vector_id)
    expected = row["outputs"]
    values = np.array(row["inputs"]["y"])
    result = mann_kendall(np.arange(values.size), values)
    assert result.statistic == expected["s"]
    assert result.variance == pytest.approx(expected["var_s"], rel=1e-9)
    assert result.z == pytest.approx(expected["z"], rel=1e-9)
    # pymannkendall forms p as 2 (1 - cdf), which is exact to 2e-16 only.
    assert result.pvalue == pytest.approx(expected["p"], rel=1e-9, abs=3e-16)
    assert result.pvalue == pytest.approx(2 * norm.sf(abs(expected["z"])), rel=1e-9)
    # Its tau is tau-a, S over all pairs; ours is tau-b.
    assert result.statistic / (values.size * (values.size - 1) / 2) == pytest.approx(expected["tau"], rel=1e-9)


@pytest.mark.parametrize(("vector_id", "name"), [("theilsen", "kendall_tau_b"), ("theilsen_ties", "tau_b")])
def test_tau_b(vector_id: str, name: str, vector: Callable[[str], Any]) -> None:
    """Tau is scipy.stats.kendalltau's tau-b."""
    row = vector(vector_id)
    values = np.array(row["inputs"]["y"])
    assert mann_kendall(np.arange(values.size), values).tau == pytest.approx(row["outputs"][name], rel=1e-9)


def test_the_variance_is_never_negative(vector: Callable[[str], Any]) -> None:
    """The series whose variance pymannkendall makes negative, and its p NaN ("no trend"), has both here."""
    row = vector("mk_hamed_rao_negative_variance")
    assert row["trust"] == "negative_example"
    values = np.array(row["inputs"]["y"])
    found = trend(np.arange(values.size), values, higher_is_better=True)
    assert found.pvalue is not None
    assert 0.0 < found.pvalue < 1.0
    # original_test's variance 212.67 times the factor; S = 44.
    independent = mann_kendall(np.arange(values.size), values)
    assert found.pvalue >= independent.pvalue


def test_the_variance_with_ties_in_both_is_the_permutation_variance() -> None:
    """With ties in times and values the variance is that of S over all 5,040 orders of the values."""
    times, values = [0.0, 0.0, 1.0, 2.0, 2.0, 2.0, 3.0], [1.0, 1.0, 2.0, 2.0, 2.0, 5.0, 7.0]
    signs = np.sign(np.subtract.outer(times, times))
    orders = np.array(list(itertools.permutations(values)))
    statistics = np.einsum("ij,kij->k", signs, np.sign(orders[:, :, None] - orders[:, None, :])) / 2
    assert kendall_variance(as_series(times, values)) == pytest.approx(statistics.var(), rel=1e-12)
    assert mann_kendall(times, values).tau == pytest.approx(kendalltau(times, values).statistic, rel=1e-12)


@pytest.mark.parametrize(("r", "n"), [(0.0, 8), (0.3, 8), (0.95, 8), (0.6, 100)])
def test_the_factor_in_closed_form_is_the_sum(r: float, n: int) -> None:
    """The closed form equals 1 + 2 sum (1 - k/n) r^k."""
    k = np.arange(1, n)
    assert autocorrelation_factor(r, n) == pytest.approx(1 + 2 * np.sum((1 - k / n) * r**k), rel=1e-12)


def test_the_autocorrelation_is_corrected_and_clipped() -> None:
    """(n r + 2) / (n - 4), within [0, .95]; residuals of 0 have none."""
    # Lag products 1, -1, 1, -1, 1, -1, 1 over 8 squares of 1: r = 1/8.
    residuals = np.array([1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
    assert residual_autocorrelation(residuals, fitted=2, scale=1.0) == pytest.approx((8 * (1 / 8) + 2) / 4)
    assert residual_autocorrelation(np.array([1.0, -1.0] * 5), fitted=2, scale=1.0) == 0.0
    assert residual_autocorrelation(np.repeat([1.0, -1.0], 10), fitted=2, scale=1.0) == 0.95
    assert residual_autocorrelation(np.zeros(9), fitted=2, scale=0.0) == 0.0


def test_only_the_order_of_the_values_counts() -> None:
    """A monotone function of the values changes nothing; a decreasing one turns the sign."""
    rng = np.random.default_rng(1)
    times, values = np.arange(30), rng.standard_normal(30)
    result = mann_kendall(times, values)
    assert mann_kendall(times, np.exp(values)) == result
    assert mann_kendall(times, -values).statistic == -result.statistic
    assert mann_kendall(times, -values).pvalue == result.pvalue


def test_equal_values_show_no_trend() -> None:
    """Values that are all equal have S 0 and p 1, not NaN."""
    result = mann_kendall(np.arange(10), np.full(10, 0.1))
    assert (result.statistic, result.pvalue, result.tau, result.variance) == (0, 1.0, 0.0, 0.0)


def test_one_value_is_too_few() -> None:
    """A single value is refused."""
    with pytest.raises(TooFewObservationsError, match="values: has 1 entries"):
        mann_kendall([0.0], [1.0])


def test_the_factor_cannot_shrink() -> None:
    """A variance factor below 1 is refused by name."""
    with pytest.raises(InvalidInputError, match="variance_factor"):
        mann_kendall([0.0, 1.0], [1.0, 2.0], variance_factor=0.5)
