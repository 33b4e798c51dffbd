"""Mann-Whitney: the published example, scipy as oracle, coverage of both intervals, samples that are separated."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import mann_whitney

# Hollander, Wolfe & Chicken (2014), table 4.1, example 4.1: U = 35 (W = 30 of the early ones), p = .1272.
TERM = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
EARLY = [1.15, 0.88, 0.90, 0.74, 1.21]


def test_published_example() -> None:
    """R: wilcox.test(term, early, conf.int=TRUE) estimates .305 within [-.15, .76]."""
    found = mann_whitney(EARLY, TERM)
    interval = found.shift_interval
    assert (found.statistic, round(found.shift, 3)) == (35.0, 0.305)
    assert (round(interval.low, 3), round(interval.high, 3)) == (-0.15, 0.76)
    assert round(mann_whitney(EARLY, TERM, alternative="greater").pvalue, 4) == 0.1272


@pytest.mark.parametrize(("n", "m"), [(4, 6), (30, 20), (200, 300)])
def test_agrees_with_scipy(n: int, m: int) -> None:
    """U and p are scipy's, of ties too."""
    rng = np.random.default_rng([n, m])
    a, b = np.round(rng.normal(size=n), 1), np.round(rng.normal(0.3, 1.0, m), 1)
    expected = mannwhitneyu(b, a)
    found = mann_whitney(a, b)
    assert (found.statistic, found.pvalue) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
    assert found.effect == pytest.approx(expected.statistic / (n * m), rel=1e-12)


def test_the_interval_of_the_effect_covers(most_often: Callable[[float, int], int]) -> None:
    """P(b > a) of two normals one sd apart, Phi(1/sqrt 2) = .760, is missed in about 5%."""
    rng, runs, missed = np.random.default_rng(9), 1000, 0
    for _ in range(runs):
        interval = mann_whitney(rng.normal(size=40), rng.normal(1.0, 1.0, 30)).confidence_interval
        missed += not interval.low <= 0.7602499389065233 <= interval.high
    assert missed <= most_often(0.065, runs)


def test_separated_samples() -> None:
    """Where every b is above every a the interval still ends below 1's neighbourhood on one side only."""
    interval = mann_whitney([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]).confidence_interval
    assert 0.4 < interval.low < 0.95
    assert interval.high == 1.0


def test_the_interval_of_the_shift_covers(most_often: Callable[[float, int], int]) -> None:
    """A shift of heavy-tailed values is missed in at most 5%, in small samples and beyond the exact distribution."""
    rng, runs = np.random.default_rng(10), 600
    for n, m in ((4, 5), (8, 12), (60, 30)):
        a, b = rng.standard_t(2, (runs, n)), 3.0 + rng.standard_t(2, (runs, m))
        intervals = [mann_whitney(*pair).shift_interval for pair in zip(a, b, strict=True)]
        assert sum(not each.low <= 3.0 <= each.high for each in intervals) <= most_often(0.052, runs)


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_of_the_shift_says_what_p_says(seed: int) -> None:
    """Without ties 0 lies outside just where the exact p is below alpha."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=9), rng.normal(1.0, 1.0, 7)
    found, interval = mann_whitney(a, b), mann_whitney(a, b).shift_interval
    assert (found.pvalue < 0.05) == (not interval.low < 0.0 < interval.high)


def test_exchanged_samples_and_units() -> None:
    """Exchange turns the shift and mirrors the effect; a unit scales the shift and nothing else; order is nothing."""
    rng = np.random.default_rng(11)
    a, b = np.round(rng.normal(size=25), 1), np.round(rng.normal(0.5, 2.0, 31), 1)
    one, other, scaled = mann_whitney(a, b), mann_whitney(b, a), mann_whitney(8.0 * a, 8.0 * b)
    assert (other.effect, other.shift) == pytest.approx((1.0 - one.effect, -one.shift), rel=1e-12)
    assert other.shift_interval.low == pytest.approx(-one.shift_interval.high)
    assert (scaled.effect, scaled.pvalue, scaled.shift) == (one.effect, one.pvalue, 8.0 * one.shift)
    shuffled = mann_whitney(rng.permutation(a), rng.permutation(b))
    assert (shuffled.shift_interval, shuffled.statistic, shuffled.pvalue) == (
        one.shift_interval,
        one.statistic,
        one.pvalue,
    )
    assert shuffled.confidence_interval.low == pytest.approx(one.confidence_interval.low, rel=1e-12)


def test_too_few_for_an_interval() -> None:
    """Three values each can never leave 5% outside (2 of 20 orders): the shift's interval has no ends, and says so."""
    found = mann_whitney([1.0, 2.0, 3.0], [7.0, 8.0, 9.0])
    assert (found.shift, found.shift_interval.low, found.shift_interval.high) == (6.0, -math.inf, math.inf)
    assert mann_whitney([1.0, 2.0, 3.0], [7.0, 8.0, 9.0], alpha=0.1).shift_interval.low == 4.0


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [([1.0], [1.0, 2.0], TooFewObservationsError), ([1.0, math.nan], [1.0, 2.0], InvalidInputError)],
)
def test_bad_input(a: Any, b: Any, error: type[Exception]) -> None:
    """Two finite values each at least."""
    with pytest.raises(error, match=r"^a: "):
        mann_whitney(a, b)
