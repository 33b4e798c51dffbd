"""PSI: values by the formula, what unchanged samples show, and its properties."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import entropy

from model_perf.drift import population_stability_index, population_stability_index_of_counts
from model_perf.errors import InvalidInputError, TooFewObservationsError


def test_two_bins_by_hand() -> None:
    """Shares of .5, .5 against .75, .25 have .25 ln 1.5 + .25 ln 2 = .25 ln 3 nats."""
    psi = population_stability_index_of_counts([10**9, 10**9], [15 * 10**8, 5 * 10**8])
    assert psi.statistic == pytest.approx(0.25 * np.log(3.0), rel=1e-8)


@pytest.mark.parametrize(
    ("shift", "scale", "expected"),
    # sum (q - .1) ln(q / .1) with q from scipy.stats.norm.cdf at the deciles.
    [(0.2, 1.0, 0.0383), (0.3, 1.0, 0.0861), (0.5, 1.0, 0.2377), (0.0, 1.5**0.5, 0.0531), (0.0, 1.5, 0.1935)],
)
def test_what_the_thresholds_mean(shift: float, scale: float, expected: float) -> None:
    """The table of the documentation: PSI on ten bins of a normal column that shifts or spreads."""
    edges = np.concatenate([[-np.inf], ndtri(np.arange(1, 10) / 10), [np.inf]])
    counts = np.round(np.diff(ndtr((edges - shift) / scale)) * 1e12)
    psi = population_stability_index_of_counts(np.full(10, 10**11), counts)
    assert psi.statistic == pytest.approx(expected, abs=5e-5)


def test_it_is_the_sum_of_both_kullback_leibler_divergences() -> None:
    """PSI is KL(p, q) + KL(q, p) of the counts with 1/2 added."""
    reference, current = np.random.default_rng(1).integers(0, 100, size=(2, 12))
    p, q = reference + 0.5, current + 0.5
    # scipy.stats.entropy(p, q) is the Kullback-Leibler divergence of the normalised p and q.
    expected = entropy(p, q) + entropy(q, p)
    assert population_stability_index_of_counts(reference, current).statistic == pytest.approx(expected, rel=1e-12)


def test_the_effect_is_what_exceeds_chance() -> None:
    """From the index (B - 1)(1/n + 1/m) is taken, times the dispersion, down to 0."""
    psi = population_stability_index_of_counts([300, 700], [60, 40])
    assert psi.effect_size == pytest.approx(psi.statistic - (1 / 1000 + 1 / 100), rel=1e-12)
    dispersed = population_stability_index_of_counts([300, 700], [60, 40], dispersion=10.0)
    assert dispersed.effect_size == pytest.approx(psi.statistic - 10 * (1 / 1000 + 1 / 100), rel=1e-12)
    assert population_stability_index_of_counts([300, 700], [31, 69]).effect_size == 0.0


@pytest.mark.parametrize(
    ("n", "m", "naive", "corrected"),
    # The index itself: the rates that unchanged samples are known for. Its effect: 1 - F(chi2_9) at
    # .1 / (1/n + 1/m) + 9 is .12 and .05 for the first two; less with 1/2 added to each count.
    [(5000, 50, 0.77, 0.11), (500, 100, 0.46, 0.045), (5000, 200, 0.02, 0.002), (1000, 1000, 0.0, 0.0)],
)
def test_unchanged_samples(
    n: int, m: int, naive: float, corrected: float, most_often: Callable[[float, int], int]
) -> None:
    """PSI > .1 in 77% of unchanged samples at 5000 against 50; its effect exceeds .1 in at most 11%."""
    rng = np.random.default_rng(n + m)
    found = [population_stability_index(rng.standard_normal(n), rng.standard_normal(m)) for _ in range(600)]
    assert abs(sum(psi.statistic > 0.1 for psi in found) - 600 * naive) <= 3.3 * np.sqrt(600 * naive * (1 - naive)) + 1
    assert sum(psi.effect_size >= 0.1 for psi in found) <= most_often(corrected, 600)


def test_many_categories_of_unchanged_samples(most_often: Callable[[float, int], int]) -> None:
    """A hundred categories at 5000 against 500: the index is above .1 nearly always, its effect hardly ever."""
    rng = np.random.default_rng(100)
    shares = rng.dirichlet(np.full(100, 5.0))
    found = [
        population_stability_index_of_counts(rng.multinomial(5000, shares), rng.multinomial(500, shares))
        for _ in range(500)
    ]
    assert sum(psi.statistic > 0.1 for psi in found) > 490
    assert sum(psi.effect_size >= 0.1 for psi in found) <= most_often(0.01, 500)


def test_both_directions_of_counts_are_alike() -> None:
    """On given bins PSI is symmetric, and the order of the bins says nothing."""
    rng = np.random.default_rng(3)
    reference, current = rng.integers(0, 60, size=(2, 15))
    forward = population_stability_index_of_counts(reference, current)
    backward = population_stability_index_of_counts(current, reference)
    order = rng.permutation(15)
    permuted = population_stability_index_of_counts(reference[order], current[order])
    assert forward.statistic == pytest.approx(backward.statistic, rel=1e-12)
    assert forward.statistic == pytest.approx(permuted.statistic, rel=1e-12)


def test_bins_that_both_leave_empty_are_none() -> None:
    """Empty bins change nothing: 1/2 in each would say that the larger sample has fewer of them."""
    psi = population_stability_index_of_counts([500, 500], [30, 20])
    padded = population_stability_index_of_counts([500, 0, 500, 0, 0], [30, 0, 20, 0, 0])
    assert psi == padded


def test_a_bin_that_one_leaves_empty_counts() -> None:
    """A new category has a finite index, larger the more of it there is."""
    found = [population_stability_index_of_counts([1000, 0], [100 - new, new]).statistic for new in (1, 5, 20, 80)]
    assert np.isfinite(found).all()
    assert found == sorted(found)


@pytest.mark.parametrize("seed", range(5))
def test_unit_and_order_say_nothing(seed: int) -> None:
    """Another unit or another order of the rows gives the same index."""
    rng = np.random.default_rng(seed)
    reference, current = rng.gamma(2.0, size=400), rng.gamma(2.5, size=90)
    psi = population_stability_index(reference, current)
    assert population_stability_index(1e9 * reference, 1e9 * current) == psi
    assert population_stability_index(reference - 2.0**20, current - 2.0**20) == psi
    assert population_stability_index(rng.permutation(reference), rng.permutation(current)) == psi


def test_a_larger_shift_has_a_larger_index() -> None:
    """The index grows with the shift."""
    rng = np.random.default_rng(9)
    reference, current = rng.standard_normal(3000), rng.standard_normal(500)
    found = [population_stability_index(reference, current + shift).statistic for shift in (0.0, 0.3, 0.6, 1.2, 2.4)]
    assert found == sorted(found)


def test_an_outlier_hides_no_shift() -> None:
    """One value of 1e9 in the reference leaves a shift by three standard deviations as visible as it was."""
    rng = np.random.default_rng(10)
    reference, current = rng.standard_normal(1000), rng.standard_normal(200) + 3.0
    psi = population_stability_index(np.append(reference, 1e9), current)
    assert psi.effect_size == pytest.approx(population_stability_index(reference, current).effect_size, rel=0.05)
    assert psi.effect_size > 1.0


def test_identical_samples() -> None:
    """A sample against itself has 0, whatever it holds."""
    for sample in ([1.0] * 10, [0.0, 1.0] * 5, [np.nan] * 10, [np.inf, -np.inf, 0.0] * 4, np.arange(100.0)):
        assert population_stability_index(sample, sample).statistic == 0.0


@pytest.mark.parametrize("other", [4.0, 6.0, np.nan, np.inf, -np.inf])
def test_a_constant_that_changes(other: float) -> None:
    """A constant that falls, rises, or goes missing is as different as can be."""
    psi = population_stability_index([5.0] * 50, [other] * 50)
    assert psi.effect_size > 4.0
    assert psi.n_bins == 2


def test_neighbouring_integers_beyond_the_floats() -> None:
    """2^53 and 2^53 + 1 are one float, and two integers."""
    assert population_stability_index([2**53] * 20, [2**53 + 1] * 20).effect_size > 1.0
    assert population_stability_index(np.array([2**63 + 1] * 20, np.uint64), [2**63 + 2] * 20).effect_size > 1.0


def test_a_value_that_fills_several_bins_has_its_own() -> None:
    """A column that is 0 in 60% of its rows shows where zeros become small negative numbers."""
    rng = np.random.default_rng(4)
    reference = np.where(rng.random(2000) < 0.6, 0.0, rng.exponential(size=2000))
    current = np.where(reference == 0.0, -1e-9, reference)
    assert population_stability_index(reference, current).effect_size > 1.0


def test_missing_values_have_a_bin_of_their_own() -> None:
    """Ten points more of NaN in an otherwise unchanged column raise the index by .1 x ln 3.1 and more."""
    rng = np.random.default_rng(5)
    reference, current = rng.standard_normal(10_000), rng.standard_normal(10_000)
    reference[:500], current[:1500] = np.nan, np.nan
    assert population_stability_index(reference, current).statistic > 0.1


def test_a_few_missing_values_are_no_drift() -> None:
    """NaN expected less than once in the smaller sample shares a bin: one in 5000 against none in 50 is nothing."""
    rng = np.random.default_rng(6)
    reference, current = rng.standard_normal(5000), rng.standard_normal(50)
    psi = population_stability_index(reference, current)
    reference[0] = np.nan
    assert population_stability_index(reference, current).statistic == pytest.approx(psi.statistic, abs=0.01)


@pytest.mark.parametrize(("reference", "current"), [(range(9), range(20)), (range(20), range(9)), ([], [1.0] * 20)])
def test_fewer_rows_than_bins_are_refused(reference: list[int], current: list[int]) -> None:
    """Ten bins need ten rows in each sample."""
    with pytest.raises(TooFewObservationsError):
        population_stability_index(reference, current)


@pytest.mark.parametrize("n_bins", [1, 0, -3, 2.5, True])
def test_an_impossible_number_of_bins_is_refused(n_bins: int) -> None:
    """Two bins are the fewest."""
    with pytest.raises(InvalidInputError, match="n_bins"):
        population_stability_index(range(30), range(30), n_bins=n_bins)


@pytest.mark.parametrize("dispersion", [0.5, float("nan"), float("inf")])
def test_an_impossible_dispersion_is_refused(dispersion: float) -> None:
    """Dependence does not make samples say more than independent ones."""
    with pytest.raises(InvalidInputError, match="dispersion"):
        population_stability_index_of_counts([5, 5], [5, 5], dispersion=dispersion)
