"""The paired t-test: vector, scipy as oracle, and what t cannot answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import ConfidenceInterval, paired_t, paired_t_of_differences


def test_vector(vector: Callable[[str], Any]) -> None:
    """Mean difference, t, p and interval are those of scipy.stats.ttest_rel on two models' squared errors."""
    row = vector("paired_t")
    y, m1, m2 = (np.array(row["inputs"][name]) for name in ("y", "m1", "m2"))
    expected = row["outputs"]
    # ttest_rel(l1, l2) is about l1 - l2; ours is b - a.
    result = paired_t((y - m2) ** 2, (y - m1) ** 2)
    assert result.effect == pytest.approx(expected["mean_d"], rel=1e-9)
    assert result.statistic == pytest.approx(expected["t"], rel=1e-9)
    assert result.pvalue == pytest.approx(expected["p"], rel=1e-9)
    found = (result.confidence_interval.low, result.confidence_interval.high)
    # The quantile of t is exact to 1e-9 only in scipy 1.11, the oldest that is supported.
    assert found == pytest.approx(expected["ci"], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("n", "alpha"), [(2, 0.05), (8, 0.01), (1000, 0.2)])
def test_agrees_with_scipy(n: int, alpha: float) -> None:
    """For two pairs as for a thousand, scipy's t, p and interval come out."""
    a, b = np.random.default_rng(n).standard_normal((2, n))
    expected = ttest_rel(b, a)
    interval = expected.confidence_interval(1.0 - alpha)
    result = paired_t(a, b, alpha=alpha)
    assert (result.statistic, result.pvalue) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    found = (result.confidence_interval.low, result.confidence_interval.high)
    assert found == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert (result.df, result.n) == (n - 1, n)


def test_swapping_the_models_turns_the_sign() -> None:
    """a against b is the mirror of b against a."""
    a, b = np.random.default_rng(1).standard_normal((2, 12))
    forward, backward = paired_t(a, b), paired_t(b, a)
    assert forward.effect == -backward.effect
    assert forward.pvalue == backward.pvalue
    assert forward.confidence_interval.low == -backward.confidence_interval.high


def test_equal_differences_are_answered_by_the_sign_test() -> None:
    """Ten equal differences have no t, and p = 2^-9 by the sign test, not 0."""
    a = np.arange(10.0)
    result = paired_t(a, a + 0.5)
    assert result.statistic is None
    assert result.pvalue == 2.0**-9  # scipy.stats.binomtest(10, 10).pvalue
    assert result.effect == 0.5
    assert result.confidence_interval == ConfidenceInterval(low=0.5, high=0.5)


def test_rounding_is_no_variance() -> None:
    """Differences that are equal but for rounding have no t either, instead of one of 1e15."""
    a = np.random.default_rng(2).random(10)
    result = paired_t(a, a + 0.1)
    assert np.std(a + 0.1 - a) > 0.0
    assert result.statistic is None
    assert result.effect == pytest.approx(0.1)


def test_a_small_variance_is_a_variance() -> None:
    """Differences of 1e-9 that vary are tested by t."""
    a = np.random.default_rng(3).random(10)
    assert paired_t(a, a + 1e-9 * np.arange(10)).statistic is not None


def test_identical_values_differ_by_nothing() -> None:
    """The same values twice have effect 0 and p 1."""
    result = paired_t([0.1] * 9, [0.1] * 9)
    assert (result.effect, result.pvalue, result.statistic) == (0.0, 1.0, None)


def test_one_pair_is_too_few() -> None:
    """A single pair is refused."""
    with pytest.raises(TooFewObservationsError, match="values_a: has 1 entries"):
        paired_t([1.0], [2.0])


def test_values_come_in_pairs() -> None:
    """Different lengths are refused by name."""
    with pytest.raises(InvalidInputError, match="values_b: has 3 entries and values_a has 2"):
        paired_t([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("n", [2, 9, 5000])
def test_moments_say_what_the_pairs_say(n: int) -> None:
    """From moments merged out of parts, or from the differences, comes the same answer as from the pairs."""
    a, b = np.random.default_rng(n).standard_normal((2, n)) + 1e6
    kept = Aggregates.merged(Aggregates.from_values(part) for part in np.array_split(b - a, min(n, 7)))
    expected = paired_t(a, b, alpha=0.1)
    for found in (paired_t_of_differences(kept, alpha=0.1), paired_t_of_differences(b - a, alpha=0.1)):
        assert (found.effect, found.statistic, found.pvalue) == pytest.approx(
            (expected.effect, expected.statistic, expected.pvalue), rel=1e-9
        )
        assert found.confidence_interval.low == pytest.approx(expected.confidence_interval.low, rel=1e-9)
        assert (found.df, found.n) == (expected.df, expected.n)


@pytest.mark.parametrize("parts", [[[0.1] * 10], [[0.1] * 3, [0.1] * 7]])
def test_moments_of_equal_differences(parts: list[list[float]]) -> None:
    """They are answered by the sign test too."""
    found = paired_t_of_differences(Aggregates.merged(Aggregates.from_values(part) for part in parts))
    assert (found.statistic, found.pvalue) == (None, 2.0**-9)
    assert found.effect == pytest.approx(0.1)


@pytest.mark.parametrize("differences", [Aggregates(), Aggregates(n=1, mean=0.3), [0.3]])
def test_too_few_differences(differences: Any) -> None:
    """A variance takes two."""
    with pytest.raises(TooFewObservationsError, match="differences: has"):
        paired_t_of_differences(differences)
