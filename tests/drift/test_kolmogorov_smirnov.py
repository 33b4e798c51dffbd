"""Kolmogorov-Smirnov: the gap, its probability, and what is known from knots."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from model_perf.drift import kolmogorov_smirnov
from model_perf.drift._kolmogorov_smirnov import KolmogorovSmirnov, kolmogorov_smirnov_of_knots
from model_perf.drift._smirnov_distribution import _asymptotic, _exact, smirnov_pvalue

Array = NDArray[np.float64]


def test_a_published_example() -> None:
    """Conover's two samples of 9 and 15 have D = .4."""
    # Conover (1999), Practical Nonparametric Statistics, 3rd ed., section 6.3, example 1: T = .400.
    x = [7.6, 8.4, 8.6, 8.7, 9.3, 9.9, 10.1, 10.6, 11.2]
    y = [5.2, 5.7, 5.9, 6.5, 6.8, 8.2, 9.1, 9.8, 10.8, 11.3, 11.5, 12.3, 12.5, 13.4, 14.6]
    result = kolmogorov_smirnov(x, y)
    assert result.statistic == pytest.approx(0.4, rel=1e-12)
    # scipy.stats.ks_2samp(x, y, method="exact").pvalue
    assert result.pvalue == pytest.approx(ks_2samp(x, y, method="exact").pvalue, rel=1e-9)


@pytest.mark.parametrize("n", [3, 5, 10, 40])
def test_the_largest_gap_has_two_orders(n: int) -> None:
    """D = 1 of n against n: two of the C(2n, n) orders."""
    assert smirnov_pvalue(n * n, n, n) == pytest.approx(2 / comb(2 * n, n), rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (7, 11), (50, 50), (100, 60), (500, 20), (300, 300)])
def test_the_exact_probability_agrees_with_scipy(n: int, m: int) -> None:
    """For all shifts the exact p is scipy's, small ones to the last digits too."""
    rng = np.random.default_rng(n * m)
    for shift in (0.0, 0.3, 1.0, 3.0):
        x, y = rng.standard_normal(n), rng.standard_normal(m) + shift
        expected = ks_2samp(x, y, method="exact")
        result = kolmogorov_smirnov(x, y)
        assert (result.statistic, result.pvalue) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(548, 548), (1100, 550), (20_000, 16), (10**6, 2), (3000, 3000)])
def test_the_asymptotic_probability_is_close(n: int, m: int) -> None:
    """Beyond the exact range p is within 5% of the exact one down to 1e-7, and no smaller."""
    log_orders = float(sum(np.log(np.arange(n + 1.0, n + m + 1)) - np.log(np.arange(1.0, m + 1))))
    for deviation in (0.6, 1.0, 1.36, 2.0, 2.8):
        step = int(np.gcd(n, m))
        gap = round(deviation * np.sqrt((n + m) / (n * m)) * n * m / step) * step
        if gap <= n * m:
            exact = _exact(gap, max(n, m), min(n, m), log_orders)
            assert 0.999 < _asymptotic(gap, n, m) / exact < 1.05


def test_large_unequal_samples_have_an_answer() -> None:
    """Where scipy's exact method gives up or overflows there is a p-value between 0 and 1, without a warning."""
    for n, m in ((100_003, 7), (99_991, 1009), (10**6, 1), (10**7 + 19, 10**6 + 3)):
        for share in (1e-9, 0.01, 0.5, 1.0):
            assert 0.0 < smirnov_pvalue(max(1, round(share * n * m)), n, m) <= 1.0
            assert smirnov_pvalue(round(share * n * m), n, m) == smirnov_pvalue(round(share * n * m), m, n)


@pytest.mark.parametrize("decimals", [1, 15])
@pytest.mark.parametrize(("n", "m"), [(10, 7), (5000, 6000), (20_000, 9000), (30_000, 30), (4097, 4097)])
def test_the_gap_agrees_with_scipy(n: int, m: int, decimals: int) -> None:
    """D and its sign are scipy's, with ties and without, for few values and for many."""
    rng = np.random.default_rng(n)
    for shift in (0.0, 0.02, 0.4):
        x, y = np.round(rng.standard_normal(n), decimals), np.round(rng.standard_normal(m) + shift, decimals)
        expected = ks_2samp(x, y, method="asymp")
        result = kolmogorov_smirnov(x, y)
        assert (result.statistic, result.sign) == pytest.approx((expected.statistic, expected.statistic_sign))
        assert result.statistic == result.statistic_high


@pytest.mark.parametrize(("n", "m"), [(30, 20), (5000, 50), (1000, 1000)])
def test_its_size(n: int, m: int, most_often: Callable[[float, int], int]) -> None:
    """Unchanged samples have p <= .05 in at most 5%, and with ties less often."""
    rng = np.random.default_rng(n)
    trials = 400
    for decimals in (1, 15):
        pvalues = [
            kolmogorov_smirnov(
                np.round(rng.standard_normal(n), decimals), np.round(rng.standard_normal(m), decimals)
            ).pvalue
            for _ in range(trials)
        ]
        assert sum(p <= 0.05 for p in pvalues) <= most_often(0.05, trials)


def test_the_interval_covers(most_often: Callable[[float, int], int]) -> None:
    """The distance between N(0, 1) and N(.5, 1), .1974, lies in the 90% interval at least that often."""
    rng = np.random.default_rng(7)
    distance = 0.19741265  # 2 Phi(.25) - 1
    missed = sum(
        distance
        not in kolmogorov_smirnov(rng.standard_normal(60), rng.standard_normal(40) + 0.5, alpha=0.1).confidence_interval
        for _ in range(400)
    )
    assert missed <= most_often(0.1, 400)


def test_swapping_the_samples_turns_the_sign() -> None:
    """D and p are symmetric; the sign says in which of both the values are larger."""
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal(50), rng.standard_normal(80) + 1.0
    forward, backward = kolmogorov_smirnov(x, y), kolmogorov_smirnov(y, x)
    assert forward.statistic == backward.statistic
    assert forward.pvalue == backward.pvalue
    assert (forward.sign, backward.sign) == (1, -1)
    assert forward.location == backward.location


def test_only_the_order_counts() -> None:
    """A rising transformation, as a change of unit, leaves D and p; so does the order of the rows."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal(70), rng.standard_normal(30)
    result = kolmogorov_smirnov(x, y)
    for transformed in (kolmogorov_smirnov(np.exp(x), np.exp(y)), kolmogorov_smirnov(x[::-1], rng.permutation(y))):
        assert (transformed.statistic, transformed.pvalue) == (result.statistic, result.pvalue)


def test_identical_samples_have_no_gap() -> None:
    """D = 0 and p = 1, also for a constant and for infinities."""
    for sample in ([1.0], [2.0] * 9, [np.inf, -np.inf, 3.0], list(range(10_000))):
        result = kolmogorov_smirnov(sample, sample)
        assert (result.statistic, result.pvalue, result.sign) == (0.0, 1.0, 0)


def test_neighbouring_integers_beyond_the_floats() -> None:
    """2^53 and 2^53 + 1 are one float, and two integers."""
    assert kolmogorov_smirnov([2**53] * 5, [2**53 + 1] * 5).statistic == 1.0
    assert kolmogorov_smirnov(np.array([True] * 5), np.array([0] * 5, np.uint8)).sign == -1


def test_a_narrower_float_type_is_no_drift() -> None:
    """0.1, 0.2, ... in 32 bits are the values that they were in 64."""
    values = np.round(np.random.default_rng(4).random(200), 1)
    assert kolmogorov_smirnov(values, values.astype(np.float32)).statistic == 0.0


def test_missing_values_are_left_out() -> None:
    """NaN is neither small nor large, and is not counted."""
    result = kolmogorov_smirnov([1.0, np.nan, 2.0], [np.nan, 1.0, 2.0, np.nan])
    assert (result.statistic, result.n_reference, result.n_current) == (0.0, 2, 2)


def of_knots(reference: Array, knots: Array, current: Array) -> KolmogorovSmirnov:
    ascending = np.sort(reference)
    below, at_most = (np.searchsorted(ascending, knots, side=side).astype(np.int64) for side in ("left", "right"))
    return kolmogorov_smirnov_of_knots(knots, below, at_most, reference.size, np.sort(current), 0.05)


@pytest.mark.parametrize("decimals", [0, 1, 15])
def test_all_values_as_knots_leave_nothing_open(decimals: int) -> None:
    """From all different values of the reference the result is that of the samples."""
    rng = np.random.default_rng(5)
    for shift in (0.0, 0.1, 5.0, -5.0):
        x, y = np.round(rng.standard_normal(300), decimals), np.round(rng.standard_normal(200) + shift, decimals)
        result, whole = of_knots(x, np.unique(x), y), kolmogorov_smirnov(x, y)
        assert (result.statistic, result.statistic_high) == (whole.statistic, whole.statistic)
        assert (result.pvalue, result.sign) == (whole.pvalue, whole.sign)


@pytest.mark.parametrize("seed", range(20))
def test_some_values_as_knots_give_bounds(seed: int) -> None:
    """D lies between both ends for any knots, and the p-value is no smaller than that of D."""
    rng = np.random.default_rng(seed)
    x, y = np.round(rng.standard_normal(500), 2), np.round(rng.standard_normal(90) + 0.2 * (seed % 4), 2)
    knots = np.unique(rng.choice(x, size=int(rng.integers(1, 60))))
    result, whole = of_knots(x, knots, y), kolmogorov_smirnov(x, y)
    assert result.statistic <= whole.statistic <= result.statistic_high <= 1.0
    assert result.pvalue >= whole.pvalue
    assert result.confidence_interval.low <= whole.confidence_interval.low
    assert result.confidence_interval.high >= whole.confidence_interval.high


def test_two_thousand_knots_leave_little_open() -> None:
    """Between 2,048 quantiles of a large reference there is room for 1/2047 more."""
    rng = np.random.default_rng(6)
    x, y = np.sort(rng.standard_normal(100_000)), rng.standard_normal(5000)
    result = of_knots(x, x[np.linspace(0, x.size - 1, 2048).astype(int)], y)
    assert result.statistic_high - result.statistic < 2 / 2047
