"""Cramér-von Mises: published values, scipy as oracle, size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import cramervonmises_2samp

from model_perf.drift import cramer_von_mises


def test_the_smallest_table() -> None:
    """Two against two that do not overlap: T = .375, which 2 of the 6 orders reach (Anderson 1962)."""
    result = cramer_von_mises([1, 2], [3, 4])
    assert (result.statistic, result.pvalue) == pytest.approx((0.375, 1 / 3), rel=1e-9)


def test_the_published_limits() -> None:
    """T at the limiting 5% and 1% points, .46136 and .74346 (Anderson & Darling 1952, table 1), has p near them."""
    rng = np.random.default_rng(1)
    found = []
    for shift in np.linspace(0.0, 0.6, 120):
        result = cramer_von_mises(np.linspace(-2, 2, 200), rng.standard_normal(200) + shift)
        found.append((result.statistic, result.pvalue))
    for limit, level in ((0.46136, 0.05), (0.74346, 0.01)):
        assert all((p <= level) == (t >= limit) for t, p in found if abs(t - limit) > 0.01)


@pytest.mark.parametrize(("n", "m"), [(5, 9), (20, 20), (300, 40)])
def test_agrees_with_scipy(n: int, m: int) -> None:
    """The result is that of scipy.stats.cramervonmises_2samp."""
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal(n), rng.standard_normal(m) + 0.4
    expected = cramervonmises_2samp(x, y)
    result = cramer_von_mises(x, y)
    assert (result.statistic, result.pvalue) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)


def test_its_size(most_often: Callable[[float, int], int]) -> None:
    """Unchanged samples have p <= .05 in 5%, with ties too, which scipy flags in all of those rounded to integers."""
    rng = np.random.default_rng(2)
    for decimals in (0, 1, 15):
        samples = [np.round(rng.standard_normal(360), decimals) for _ in range(500)]
        pvalues = [cramer_von_mises(each[:300], each[300:]).pvalue for each in samples]
        assert sum(p <= 0.05 for p in pvalues) <= most_often(0.05, 500)


def test_constants() -> None:
    """Two equal constants are no difference, two others are one."""
    assert cramer_von_mises([3.0] * 30, [3.0] * 40).pvalue == pytest.approx(1.0)
    assert cramer_von_mises([3.0] * 30, [4.0] * 40).pvalue < 1e-6
    assert cramer_von_mises([3.0] * 9, [3.0] * 9).statistic == 0.0


def test_however_large_the_distance_the_pvalue_is_small() -> None:
    """Millions of values without a common one have the smallest p-value, and no larger one."""
    found = [cramer_von_mises(np.arange(n), np.arange(n) + n).pvalue for n in (50, 500, 20_000, 300_000)]
    assert found == sorted(found, reverse=True)
    assert 0.0 < found[-1] <= 1e-12


def test_symmetry_and_order() -> None:
    """Swapping the samples, their order, or a rising transformation change nothing."""
    x, y = np.random.default_rng(3).standard_normal((2, 40))
    result = cramer_von_mises(x, y)
    for other in (cramer_von_mises(y, x), cramer_von_mises(np.exp(x[::-1]), np.exp(y))):
        assert (other.statistic, other.pvalue) == pytest.approx((result.statistic, result.pvalue), rel=1e-9)
