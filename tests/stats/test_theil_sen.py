"""Theil-Sen: vectors, scipy as oracle, properties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import theilslopes

from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import ConfidenceInterval, theil_sen


@pytest.mark.parametrize("vector_id", ["theilsen", "theilsen_ties"])
def test_vectors(vector_id: str, vector: Callable[[str], Any]) -> None:
    """Slope, intercept and interval are those of scipy.stats.theilslopes(y, arange(n), 0.95)."""
    row = vector(vector_id)
    expected = row["outputs"]
    values = np.array(row["inputs"]["y"])
    fit = theil_sen(np.arange(values.size), values)
    assert fit.slope == pytest.approx(expected["slope"], rel=1e-9)
    assert fit.intercept == pytest.approx(expected["intercept"], rel=1e-9)
    assert fit.confidence_interval is not None
    assert fit.confidence_interval.low == pytest.approx(expected["lo"], rel=1e-9)
    assert fit.confidence_interval.high == pytest.approx(expected["hi"], rel=1e-9)


@pytest.mark.parametrize(("n", "alpha"), [(12, 0.05), (40, 0.01), (700, 0.1)])
def test_agrees_with_scipy_on_uneven_times(n: int, alpha: float) -> None:
    """On uneven times, below and above the size that is kept in memory, scipy's slope and interval come out."""
    rng = np.random.default_rng(n)
    times = rng.exponential(size=n).cumsum()
    values = 0.2 * times + rng.standard_normal(n)
    expected = theilslopes(values, times - times[0], 1.0 - alpha)
    fit = theil_sen(times, values, alpha=alpha)
    assert fit.confidence_interval is not None
    found = (fit.slope, fit.intercept, fit.confidence_interval.low, fit.confidence_interval.high)
    # Times are rounded to a microsecond, 1e-11 days.
    assert found == pytest.approx(tuple(expected), rel=1e-7)


def test_order_does_not_matter() -> None:
    """The same points in another order give the same line."""
    rng = np.random.default_rng(5)
    times, values = rng.random(50), rng.random(50)
    shuffled = rng.permutation(50)
    assert theil_sen(times[shuffled], values[shuffled]) == theil_sen(times, values)


def test_a_quarter_of_outliers_cannot_turn_the_line() -> None:
    """The breakdown point is 1 - 1/sqrt(2) = 29% (Rousseeuw and Leroy 1987, section 3.7): 25% at 1e9 change little."""
    values = np.arange(40.0)
    values[::4] = 1e9
    assert theil_sen(np.arange(40), values).slope == pytest.approx(1.0, abs=0.5)


def test_correlation_widens_the_interval() -> None:
    """A larger variance factor gives a wider interval about the same slope."""
    rng = np.random.default_rng(6)
    values = rng.standard_normal(60)
    narrow, wide = (theil_sen(np.arange(60), values, variance_factor=f) for f in (1.0, 3.0))
    assert narrow.slope == wide.slope
    assert narrow.confidence_interval is not None
    assert wide.confidence_interval is not None
    assert wide.confidence_interval.low < narrow.confidence_interval.low
    assert wide.confidence_interval.high > narrow.confidence_interval.high


def test_too_few_points_have_no_interval() -> None:
    """Three points bound no slope at 95%: the answer is None, not their outermost slopes."""
    assert theil_sen([0.0, 1.0, 2.0], [1.0, 5.0, 2.0]).confidence_interval is None


def test_equal_values_have_slope_zero() -> None:
    """Values that are all equal have slope 0 and an interval of nothing else."""
    fit = theil_sen(np.arange(9), np.full(9, 0.1))
    assert (fit.slope, fit.intercept) == (0.0, 0.1)
    assert fit.confidence_interval == ConfidenceInterval(low=0.0, high=0.0)


def test_one_time_has_no_slope() -> None:
    """Points of one time only are refused."""
    with pytest.raises(TooFewObservationsError, match="times: holds fewer than two different times"):
        theil_sen([1.0, 1.0], [2.0, 3.0])


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_alpha_is_a_fraction(alpha: float) -> None:
    """A level outside (0, 1) is refused by name."""
    with pytest.raises(InvalidInputError, match="alpha"):
        theil_sen([0.0, 1.0], [1.0, 2.0], alpha=alpha)
