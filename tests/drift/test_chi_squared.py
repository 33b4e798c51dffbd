"""Chi-squared and G: published tables, scipy as oracle, pooling, and their size on unchanged counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, chisquare

from model_perf.drift import chi_squared, g_test
from model_perf.drift._bins import neighbour_groups, smaller_share, sum_groups
from model_perf.drift._chi_squared import bias_corrected_cramers_v, chi_squared_of

# Agresti (2007), An Introduction to Categorical Data Analysis, table 2.5: X² = 30.07, G² = 30.02, df = 2.
WOMEN, MEN = [762, 327, 468], [484, 239, 477]


def test_a_published_table() -> None:
    """Agresti's table of gender and party has X² = 30.07 and G² = 30.02 on two degrees of freedom."""
    pearson, g = chi_squared(WOMEN, MEN), g_test(WOMEN, MEN)
    assert (pearson.statistic, g.statistic) == pytest.approx((30.07, 30.02), abs=0.005)
    assert pearson.df == g.df == 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("test", "name"), [(chi_squared, "pearson"), (g_test, "log-likelihood")])
def test_agrees_with_scipy(test: Callable[..., object], name: str, seed: int) -> None:
    """Without sparse cells statistic, p and degrees of freedom are scipy's."""
    table = np.random.default_rng(seed).integers(0 if seed else 20, 60, size=(2, 8)) + 5
    # scipy.stats.chi2_contingency(table, correction=False, lambda_=name)
    expected = chi2_contingency(table, correction=False, lambda_=name)
    result = (chi_squared if name == "pearson" else g_test)(*table, min_expected=0.0)
    assert (result.statistic, result.pvalue) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    assert result.df == expected.dof


def test_the_corrected_v_of_a_table() -> None:
    """Bergsma's formula, step by step, on Agresti's table."""
    # phi² = 30.0701/2757 - 2/2756, rows 2 - 1/2756, cells 3 - 4/2756: V = sqrt(.0101812 / .9996372) = .10092
    assert chi_squared(WOMEN, MEN).effect_size == pytest.approx(0.10092, abs=5e-6)


def test_the_corrected_v_of_certainty_and_of_chance(most_often: Callable[[float, int], int]) -> None:
    """V is 1 where the category tells the sample, and not above 0 on average where it tells nothing."""
    assert chi_squared([500, 0], [0, 500]).effect_size == pytest.approx(1.0, abs=1e-12)
    assert bias_corrected_cramers_v(0.0, 10, 10) == 0.0
    rng = np.random.default_rng(1)
    squares = []
    for _ in range(2000):
        table = rng.multinomial(300, np.full(6, 1 / 6), size=2).astype(float)
        result = chi_squared_of(*table)
        assert result.statistic is not None
        squares.append(result.statistic / 600 - 5 / 599)
    # What the correction takes away is the mean of phi² under independence: standard error sqrt(10/2000)/600.
    assert abs(float(np.mean(squares))) < 3.3 * np.sqrt(10 / 2000) / 600


def test_sparse_cells_are_pooled() -> None:
    """Cells in which the smaller sample expects fewer than five rows are compared as one."""
    # Of 50 against 950 rows a cell expects 1/20 of its rows in the smaller: 5 from 100 on.
    result = chi_squared([500, 280, 95, 60, 15], [25, 15, 4, 5, 1])
    # scipy.stats.chi2_contingency([[500, 280, 170], [25, 15, 10]])
    expected = chi2_contingency([[500, 280, 170], [25, 15, 10]], correction=False)
    assert (result.n_cells, result.n_pooled) == (3, 3)
    assert (result.statistic, result.pvalue) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


def test_a_pool_that_stays_too_small_joins_the_smallest_cell() -> None:
    """A pool that is expected fewer than five times is no cell of its own."""
    result = chi_squared([600, 330, 20], [25, 23, 2])
    expected = chi2_contingency([[600, 350], [25, 25]], correction=False)
    assert (result.n_cells, result.n_pooled) == (2, 1)
    assert result.statistic == pytest.approx(expected.statistic, rel=1e-9)


@pytest.mark.parametrize(
    ("reference", "current"), [([70], [5]), ([3, 2, 1], [1, 2, 3]), ([1000, 3], [40, 1]), ([5, 0], [5, 0])]
)
def test_too_sparse_is_an_answer(reference: list[int], current: list[int]) -> None:
    """With fewer than two cells left there is no statistic, and the result says so."""
    result = chi_squared(reference, current)
    assert result.too_sparse
    assert (result.statistic, result.pvalue, result.effect_size, result.df) == (None, None, None, 0)
    assert (result.n_reference, result.n_current) == (sum(reference), sum(current))


def test_a_new_category_is_seen() -> None:
    """A category that the reference lacks is pooled by what both hold together, and found."""
    pvalue = chi_squared([500, 500, 0], [45, 45, 60]).pvalue
    assert pvalue is not None
    assert 0.0 < pvalue < 1e-80


def test_a_pvalue_is_never_0() -> None:
    """What lies beyond the floats is the smallest of them."""
    pvalue = chi_squared([10**9, 1], [1, 10**9]).pvalue
    assert pvalue is not None
    assert 0.0 < pvalue < 1e-300


SIZES = [(5000, 50), (500, 100), (5000, 200), (1000, 1000)]


def rejections(shares: NDArray[np.float64], n: int, m: int, trials: int, seed: int) -> int:
    rng = np.random.default_rng(seed)
    results = [chi_squared(rng.multinomial(n, shares), rng.multinomial(m, shares)) for _ in range(trials)]
    return sum(result.pvalue is not None and result.pvalue <= 0.05 for result in results)


@pytest.mark.parametrize("categories", [2, 20, 100])
@pytest.mark.parametrize(("n", "m"), SIZES)
def test_its_size(n: int, m: int, categories: int, most_often: Callable[[float, int], int]) -> None:
    """Unchanged counts have p <= .05 in at most 7%, whatever the sizes and the number of categories."""
    shares = np.random.default_rng(categories).dirichlet(np.full(categories, 1.0))
    assert rejections(shares, n, m, 600, n + m) <= most_often(0.07, 600)


def test_the_reference_is_a_sample_too(most_often: Callable[[float, int], int]) -> None:
    """At 50 against 950 rows the one-sample test flags most unchanged counts; the two-sample one keeps its size."""
    rng = np.random.default_rng(8)
    shares = np.full(5, 0.2)
    flagged = 0
    for _ in range(300):
        reference, current = rng.multinomial(50, shares), rng.multinomial(950, shares)
        # scipy.stats.chisquare takes the reference's shares for the truth.
        flagged += bool(reference.all()) and chisquare(current, reference * 19.0).pvalue <= 0.05
    assert flagged > 0.8 * 300
    assert rejections(shares, 50, 950, 600, 9) <= most_often(0.06, 600)


def test_merged_neighbours_keep_the_size(most_often: Callable[[float, int], int]) -> None:
    """Ten bins merged until one row is expected in each keep 7% at most, where 5000 meet 8 or 50."""
    rng = np.random.default_rng(10)
    for m in (8, 50):
        found = 0
        for _ in range(1000):
            table = np.array([rng.multinomial(5000, np.full(10, 0.1)), rng.multinomial(m, np.full(10, 0.1))], float)
            groups = neighbour_groups(table.sum(axis=0), smaller_share(*table))
            pvalue = chi_squared_of(*sum_groups(table, groups)).pvalue
            found += pvalue is not None and pvalue <= 0.05
        assert found <= most_often(0.07, 1000)


def test_symmetry_and_order() -> None:
    """Swapping the samples or reordering the cells changes nothing."""
    rng = np.random.default_rng(11)
    reference, current = rng.integers(10, 900, size=12), rng.integers(10, 90, size=12)
    result, order = chi_squared(reference, current), rng.permutation(12)
    for other in (chi_squared(current, reference), chi_squared(reference[order], current[order])):
        assert other.statistic == pytest.approx(result.statistic, rel=1e-9)
        assert other.effect_size == pytest.approx(result.effect_size, rel=1e-9)


@pytest.mark.parametrize("test", [chi_squared, g_test])
def test_equal_shares_have_no_distance(test: Callable[..., object]) -> None:
    """Counts in proportion give 0 and p = 1, also of 10^12 rows."""
    for factor in (1, 3, 10**10):
        result = (chi_squared if test is chi_squared else g_test)([70 * factor, 130 * factor], [70, 130])
        assert result.statistic == pytest.approx(0.0, abs=1e-6)
        assert result.pvalue == pytest.approx(1.0, abs=1e-3)
        assert result.effect_size == 0.0
