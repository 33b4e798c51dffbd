"""Wilcoxon's signed ranks: scipy as oracle, the published example, coverage, ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import wilcoxon

from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import wilcoxon_signed_rank

# Hollander, Wolfe & Chicken (2014), table 3.1, example 3.1: p = .0195, estimate -.46, interval [-.786, -.010] at .95.
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]


def test_published_example() -> None:
    """The estimate, the one-sided p and the interval of the book."""
    found = wilcoxon_signed_rank(BEFORE, AFTER, alternative="less")
    assert round(found.pvalue, 4) == 0.0195
    assert round(found.effect, 2) == -0.46
    interval = wilcoxon_signed_rank(BEFORE, AFTER).confidence_interval
    assert (round(interval.low, 3), round(interval.high, 3)) == (-0.786, -0.010)


@pytest.mark.parametrize("n", [2, 20, 200])
def test_agrees_with_scipy(n: int) -> None:
    """p is that of scipy.stats.wilcoxon with Pratt's zeros."""
    rng = np.random.default_rng(n)
    a, b = np.round(rng.normal(size=n), 1), np.round(rng.normal(0.2, 1.0, n), 1)
    method = "auto" if (b - a).all() else "approx"
    expected = wilcoxon(b - a, zero_method="pratt", method=method)
    assert wilcoxon_signed_rank(a, b).pvalue == pytest.approx(expected.pvalue, rel=1e-12)


@pytest.mark.parametrize("n", [2, 6, 11, 30, 60])
def test_the_interval_covers(n: int, most_often: Callable[[float, int], int]) -> None:
    """The centre of heavy-tailed differences is missed in at most 5%, however few they are."""
    rng, runs = np.random.default_rng(1), 600
    draws = rng.standard_t(2, (runs, n))
    intervals = [wilcoxon_signed_rank(np.zeros(n), draw).confidence_interval for draw in draws]
    assert sum(not each.low <= 0.0 <= each.high for each in intervals) <= most_often(0.052, runs)


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_says_what_p_says(seed: int) -> None:
    """Without ties 0 lies outside just where the exact p is below alpha."""
    found = wilcoxon_signed_rank(np.zeros(12), np.random.default_rng(seed).normal(0.6, 1.0, 12))
    interval = found.confidence_interval
    assert (found.pvalue < 0.05) == (not interval.low < 0.0 < interval.high)


def test_too_few_for_an_interval() -> None:
    """Five pairs can never leave 5% outside (2 of 32 signs): the interval has no ends; at 10% it has."""
    a, b = np.zeros(5), np.arange(1.0, 6.0)
    interval = wilcoxon_signed_rank(a, b).confidence_interval
    assert (interval.low, interval.high) == (-np.inf, np.inf)
    interval = wilcoxon_signed_rank(a, b, alpha=0.1).confidence_interval
    assert (interval.low, interval.high) == (1.0, 5.0)


def test_no_difference() -> None:
    """Equal pairs are no evidence."""
    found = wilcoxon_signed_rank([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (found.pvalue, found.effect, found.statistic, found.n_ties) == (1.0, 0.0, 0.0, 3)


def test_many_pairs() -> None:
    """The estimate of 3,000 pairs is the same median of averages, 4.5 million of them, and has an interval."""
    a, b = np.random.default_rng(2).normal(size=(2, 3000))
    found = wilcoxon_signed_rank(a, b)
    i, j = np.triu_indices(3000)
    assert found.effect == pytest.approx(np.median(0.5 * ((b - a)[i] + (b - a)[j])), abs=1e-14)
    # Its standard error is that of the mean over sqrt(.955), the efficiency at the normal distribution.
    half_width = 0.5 * (found.confidence_interval.high - found.confidence_interval.low)
    assert half_width == pytest.approx(1.96 * np.sqrt(2.0 / 3000 / 0.955), rel=0.05)


def test_exchanged_models_and_units() -> None:
    """Exchange turns the effect; a unit scales it and leaves p; order is nothing."""
    rng = np.random.default_rng(3)
    a, b = np.round(rng.normal(size=(2, 40)), 1)
    order = rng.permutation(40)
    one, other, scaled = wilcoxon_signed_rank(a, b), wilcoxon_signed_rank(b, a), wilcoxon_signed_rank(8 * a, 8 * b)
    assert (other.effect, other.pvalue) == pytest.approx((-one.effect, one.pvalue), rel=1e-12)
    assert other.confidence_interval.low == pytest.approx(-one.confidence_interval.high)
    assert (scaled.effect, scaled.pvalue, scaled.statistic) == (8 * one.effect, one.pvalue, one.statistic)
    assert wilcoxon_signed_rank(a[order], b[order]) == one


@pytest.mark.parametrize(("a", "b"), [([1.0], [2.0]), ([1.0, 2.0], [1.0]), ([1.0, np.inf], [1.0, 2.0])])
def test_bad_input(a: Any, b: Any) -> None:
    """Two pairs of finite values at least."""
    with pytest.raises((InvalidInputError, TooFewObservationsError)):
        wilcoxon_signed_rank(a, b)
