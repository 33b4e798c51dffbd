"""Anderson-Darling: scipy as oracle, the ends of the table, size."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import anderson_ksamp

from model_perf.drift import anderson_darling


@pytest.mark.parametrize("decimals", [0, 1, 15])
@pytest.mark.parametrize(("n", "m"), [(2, 2), (8, 8), (50, 40), (1000, 30)])
def test_agrees_with_scipy(n: int, m: int, decimals: int) -> None:
    """Statistic and p are those of scipy.stats.anderson_ksamp with midranks, and come without its warnings."""
    rng = np.random.default_rng(n)
    for shift in (0.0, 0.5, 1.0):
        x, y = np.round(rng.standard_normal(n), decimals), np.round(rng.standard_normal(m) + shift, decimals)
        if np.unique([*x, *y]).size > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = anderson_ksamp([x, y])
            result = anderson_darling(x, y)
            assert result.statistic == pytest.approx(expected.statistic, rel=1e-7, abs=1e-9)
            assert result.pvalue == pytest.approx(expected.pvalue, rel=1e-3)


def test_the_table_ends() -> None:
    """Beyond the published table the p-value is its end, and says that it is a bound."""
    x = np.arange(30.0)
    same, other = anderson_darling(x, x + 0.5), anderson_darling(x, x + 30.0)
    assert (same.pvalue, same.pvalue_is_bound) == (0.25, True)
    assert (other.pvalue, other.pvalue_is_bound) == (0.001, True)
    assert not anderson_darling(x, x + 6.0).pvalue_is_bound


def test_equal_values_have_no_statistic() -> None:
    """Where all values are equal nothing has changed, and there is nothing to standardise."""
    result = anderson_darling([2.0] * 5, [2.0] * 7)
    assert (result.statistic, result.pvalue) == (None, 1.0)
    assert anderson_darling([2.0] * 20, [3.0] * 20).pvalue == 0.001


def test_its_size(most_often: Callable[[float, int], int]) -> None:
    """Unchanged samples have p <= .05 in 5%."""
    rng = np.random.default_rng(2)
    pvalues = [anderson_darling(rng.standard_normal(500), rng.standard_normal(60)).pvalue for _ in range(500)]
    assert sum(p <= 0.05 for p in pvalues) <= most_often(0.05, 500)


def test_symmetry_and_order() -> None:
    """Swapping the samples, their order, or a rising transformation change nothing."""
    x, y = np.random.default_rng(3).standard_normal((2, 40))
    result = anderson_darling(x, y)
    for other in (anderson_darling(y, x), anderson_darling(np.exp(x[::-1]), np.exp(y))):
        assert other.statistic == pytest.approx(result.statistic, rel=1e-9)


def test_a_million_values() -> None:
    """The variance of a million ranks is a number, close to that of a thousand's."""
    x, y = np.random.default_rng(4).standard_normal((2, 500_000))
    statistic = anderson_darling(x, y).statistic
    assert statistic is not None
    assert -1.5 < statistic < 8.0
