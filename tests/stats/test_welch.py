"""Welch's t: vectors, scipy as oracle, and samples without spread."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind

from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import Alternative, welch_t_test


def test_vectors(vector: Callable[[str], Any]) -> None:
    """scipy.stats.ttest_ind(b, a, equal_var=False), from the values and from their moments."""
    row = vector("welch_t")
    expected = row["outputs"]
    for name in ("a", "moments_a"):
        given = [row["inputs"][name], row["inputs"][name.replace("a", "b") if name == "a" else "moments_b"]]
        samples = [Aggregates(**each) if isinstance(each, dict) else each for each in given]
        found = welch_t_test(*samples)
        assert (found.effect, found.statistic, found.df) == pytest.approx(
            (expected["diff"], expected["t"], expected["df"]), rel=1e-9
        )
        interval = found.confidence_interval
        assert (found.pvalue, interval.low, interval.high) == pytest.approx(
            (expected["p"], expected["ci_low"], expected["ci_high"]), rel=1e-9
        )
    less = vector("welch_t_less")
    found = welch_t_test(less["inputs"]["a"], less["inputs"]["b"], alternative="less")
    assert found.pvalue == pytest.approx(less["outputs"]["p"], rel=1e-9)
    assert found.confidence_interval.low == -math.inf


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 50), (400, 7)])
def test_agrees_with_scipy(n: int, m: int, alternative: Alternative) -> None:
    """For small and unequal samples."""
    rng = np.random.default_rng([n, m])
    a, b = rng.normal(0.0, 1.0, n), rng.normal(0.4, 3.0, m)
    expected = ttest_ind(b, a, equal_var=False, alternative=alternative)
    found = welch_t_test(a, b, alternative=alternative, alpha=0.1)
    interval = expected.confidence_interval(0.9)
    assert (found.statistic, found.pvalue, found.df) == pytest.approx(
        (expected.statistic, expected.pvalue, expected.df), rel=1e-9
    )
    assert (found.confidence_interval.low, found.confidence_interval.high) == pytest.approx(
        (interval.low, interval.high), rel=1e-7
    )


def test_exchanged_samples() -> None:
    """With a and b exchanged the effect changes its sign, and p stays."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=30), rng.normal(size=40)
    one, other = welch_t_test(a, b), welch_t_test(b, a)
    assert one.effect == -other.effect
    assert one.pvalue == pytest.approx(other.pvalue, rel=1e-12)
    assert one.confidence_interval.low == pytest.approx(-other.confidence_interval.high)


def test_two_constants() -> None:
    """Without any spread there is no evidence of a difference of distributions, and the difference is what it is."""
    found = welch_t_test([1.0] * 5, [2.0] * 5)
    assert (found.statistic, found.pvalue, found.effect, found.standard_error) == (None, 1.0, 1.0, 0.0)
    assert (found.confidence_interval.low, found.confidence_interval.high) == (1.0, 1.0)


def test_bad_input() -> None:
    """One observation, NaN, and levels that are none."""
    with pytest.raises(TooFewObservationsError, match="b: has 1 observations"):
        welch_t_test([1.0, 2.0], [1.0])
    with pytest.raises(InvalidInputError, match="a: holds nan"):
        welch_t_test([1.0, math.nan], [1.0, 2.0])
    with pytest.raises(InvalidInputError, match="alpha"):
        welch_t_test([1.0, 2.0], [1.0, 2.0], alpha=0.0)
