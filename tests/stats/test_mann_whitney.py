"""Mann-Whitney: the published example, scipy as oracle, coverage of both intervals, samples that are separated."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
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


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 3), (10, 10), (40, 10)])
def test_the_interval_of_the_effect_covers(
    n: int, m: int, shift: float, most_often: Callable[[float, int], int]
) -> None:
    """P(b > a) of two normals, Phi(shift / sqrt 2), is missed in at most 5%, near 1 and in the smallest samples too."""
    rng, runs, truth = np.random.default_rng(9), 300, 0.5 * (1.0 + math.erf(0.5 * shift))
    intervals = [mann_whitney(rng.normal(size=n), rng.normal(shift, 1.0, m)).confidence_interval for _ in range(runs)]
    assert sum(not each.low <= truth <= each.high for each in intervals) <= most_often(0.05, runs)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (20, 20), (40, 30), (40, 10)])
def test_the_interval_of_the_effect_allows_for_spreads(n: int, m: int, most_often: Callable[[float, int], int]) -> None:
    """Samples of equal medians and spreads of 1 and 10 are told apart in about 5% by the interval."""
    rng, runs = np.random.default_rng(13), 300
    intervals = [mann_whitney(rng.normal(size=n), rng.normal(0.0, 10.0, m)).confidence_interval for _ in range(runs)]
    assert sum(not each.low <= 0.5 <= each.high for each in intervals) <= most_often(0.055, runs)


def test_the_interval_of_the_effect_is_newcombes() -> None:
    """Where DeLong's variance is no larger, as of ties, the ends solve the equation of Newcombe's method 5.

    Newcombe (2006), Statistics in Medicine 25, 559-573: (effect - t)^2 = z^2 t (1 - t) [1 + N ((1 - t)/(2 - t) +
    t/(1 + t))] / (n m), with N = (n + m)/2 - 1.
    """
    interval = mann_whitney([0, 1] * 8, [0, 1] * 4).confidence_interval

    def equation(t: float) -> float:
        shared = (1.0 - t) / (2.0 - t) + t / (1.0 + t)
        return (0.5 - t) ** 2 - 1.959963984540054**2 * t * (1.0 - t) * (1.0 + 11.0 * shared) / (16 * 8)

    expected = brentq(equation, 1e-6, 0.5), brentq(equation, 0.5, 1.0 - 1e-6)
    assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-9)
    apart = mann_whitney([*range(8), *range(16, 24)], np.arange(8, 16)).confidence_interval
    assert apart.low < expected[0] < expected[1] < apart.high


def test_separated_samples() -> None:
    """Where every b is above every a the interval still ends below 1's neighbourhood on one side only."""
    interval = mann_whitney([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]).confidence_interval
    assert 0.4 < interval.low < 0.95
    assert interval.high == 1.0


def test_the_interval_of_the_shift_covers(most_often: Callable[[float, int], int]) -> None:
    """A shift of heavy-tailed values is missed in at most 5%, in small samples and beyond the exact distribution."""
    rng, runs = np.random.default_rng(10), 400
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
    assert other.confidence_interval.low == pytest.approx(1.0 - one.confidence_interval.high)
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
