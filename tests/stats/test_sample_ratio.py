"""Sample ratios: vectors, the size at once and at every look, arms of weight 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import betaln, chdtrc
from scipy.stats import binomtest

from model_perf.errors import InvalidInputError
from model_perf.stats import sample_ratio_test, sequential_sample_ratio


def test_fixed_vectors(vector: Callable[[str], Any]) -> None:
    """scipy's chi-squared, whose tail is the p of scipy, gbstats and tea-tasting's "norm"; its exact p of two arms."""
    for name in ("srm_chi2_2", "srm_fabijan_example", "srm_gb", "srm_tea_norm_False"):
        row = vector(name)
        found, expected = sample_ratio_test(**row["inputs"]), row["outputs"]
        assert found.statistic == pytest.approx(expected.get("chi2", found.statistic), rel=1e-9)
        assert chdtrc(1, found.statistic) == pytest.approx(expected["p"], rel=1e-9)
        assert found.pvalue == pytest.approx(expected["p"], rel=0.06)  # exact beside the approximation of it
    for name, key in (("srm_chi2_2", "p_binom_exact"), ("srm_tea_binom_True", "p")):
        row = vector(name)
        assert sample_ratio_test(**row["inputs"]).pvalue == pytest.approx(row["outputs"][key], rel=1e-9)


def test_an_arm_of_weight_zero(vector: Callable[[str], Any]) -> None:
    """It takes no part in the degrees of freedom, as it does in gbstats; units in it are a mismatch for certain."""
    row = vector("srm_gb_zero_weight_bug")
    found = sample_ratio_test(**row["inputs"])
    assert found.pvalue == pytest.approx(binomtest(5300, 10_000, 0.5).pvalue, rel=1e-9)
    assert found.pvalue < 0.5 * row["outputs"]["p_gbstats_df2"]
    assert sample_ratio_test([50, 50, 1], [0.5, 0.5, 0.0]).pvalue == 0.0
    assert sequential_sample_ratio([50, 50, 1], [0.5, 0.5, 0.0]).pvalue == 0.0


def test_three_arms() -> None:
    """Chi-squared of three arms, beside one of weight 0 as well: scipy.stats.chisquare([30, 40, 50]).pvalue."""
    for counts, weights in (([30, 40, 50], [1, 1, 1]), ([30, 0, 40, 50], [1, 0, 1, 1])):
        assert sample_ratio_test(counts, weights).pvalue == pytest.approx(0.0820849986238988, rel=1e-9)


@pytest.mark.parametrize(
    "name", ["ssrm_2arms_conc10000", "ssrm_2arms_conc100", "ssrm_3arms_conc100", "ssrm_3arms_conc2"]
)
def test_sequential_vectors(vector: Callable[[str], Any], name: str) -> None:
    """Optimizely's ssrm-test, batch after batch: the Bayes factor, and the smallest p so far."""
    row = vector(name)
    inputs, expected = row["inputs"], row["outputs"]
    counts, smallest = np.zeros(len(inputs["theta"]), dtype=int), 1.0
    for batch, factor, pvalue in zip(
        inputs["batches"], expected["bayes_factor"], expected["p_running_min"], strict=True
    ):
        counts += np.array(batch)
        found = sequential_sample_ratio(counts.tolist(), inputs["theta"], concentration=inputs["concentration"])
        assert found.statistic == pytest.approx(factor, rel=1e-7)
        smallest = min(smallest, found.pvalue)
        assert smallest == pytest.approx(pvalue, rel=1e-7)


@pytest.mark.parametrize("split", [0.5, 0.05])
@pytest.mark.parametrize("concentration", [10.0, 100.0])
def test_no_false_alarm_at_any_look(split: float, concentration: float) -> None:
    """Looked at after every one of 4,000 units, a right ratio is rejected at .001 in less than one test of 1,000.

    Exact: the law of the counts is carried from unit to unit, and what has been rejected leaves it. How much of the
    .001 is spent follows from units over concentration: 4,000 with 100 are 400,000 with the default.
    """
    alpha, n_units = 0.001, 4000
    alive, rejected = np.zeros(n_units + 2), 0.0
    alive[0] = 1.0
    for n in range(1, n_units + 1):
        alive[1 : n + 1] = (1.0 - split) * alive[1 : n + 1] + split * alive[:n]
        alive[0] *= 1.0 - split
        out = log_factors(n, split, concentration) >= -np.log(alpha)
        rejected += alive[: n + 1][out].sum()
        alive[: n + 1][out] = 0.0
    assert 0.4 * alpha < rejected < alpha
    assert rejected + alive.sum() == pytest.approx(1.0, rel=1e-9)


def log_factors(n: int, split: float, concentration: float) -> NDArray[np.float64]:
    """The logarithm of the Bayes factor for 0 to n of n units in b, as the function gives it."""
    b = np.arange(n + 1)
    logs: NDArray[np.float64] = (
        betaln(concentration * split + b, concentration * (1.0 - split) + n - b)
        - betaln(concentration * split, concentration * (1.0 - split))
        - b * np.log(split)
        - (n - b) * np.log1p(-split)
    )
    return logs


def test_the_law_of_the_exact_test() -> None:
    """The Bayes factors that are carried along above are those of the function."""
    logs = log_factors(1000, 0.3, 10_000.0)
    for b in (0, 250, 300, 420):
        found = sequential_sample_ratio([1000 - b, b], [0.7, 0.3])
        assert found.statistic == pytest.approx(np.exp(logs[b]), rel=1e-8)


def test_a_wrong_ratio_is_found() -> None:
    """Of 100,000 units 52% instead of 50% are certain at the level of a guard."""
    assert sequential_sample_ratio([48_000, 52_000], [1, 1]).pvalue < 1e-6
    assert 0.0 < sequential_sample_ratio([10**6, 2 * 10**6], [1, 1]).pvalue < 1e-300


def test_whole_numbers_of_few_bits() -> None:
    """Counts of 8 bits are added as numbers, not modulo 256."""
    counts: Any = np.array([200, 200], dtype=np.uint8)
    for test in (sample_ratio_test, sequential_sample_ratio):
        found = test(counts, [1, 1])
        assert found == test([200, 200], [1, 1])
        assert (found.pvalue, found.shares) == (1.0, (0.5, 0.5))


def test_a_million_million_units() -> None:
    """Equal halves of 10^12 units have the Bayes factor sqrt(c / (c + n)), by Stirling's formula."""
    found = sequential_sample_ratio([5 * 10**11, 5 * 10**11], [1, 1], concentration=10_000.0)
    assert found.statistic == pytest.approx(np.sqrt(1e4 / (1e4 + 1e12)), rel=0.02)
    assert found.pvalue == 1.0


def test_permuted_arms() -> None:
    """The order of the arms, and the unit of the weights, do not matter."""
    counts, weights = [801, 95, 104], [0.8, 0.1, 0.1]
    for test in (sample_ratio_test, sequential_sample_ratio):
        pvalue = test(counts, weights).pvalue
        assert test(counts[::-1], [each * 60.0 for each in weights[::-1]]).pvalue == pytest.approx(pvalue, rel=1e-9)


def test_no_units() -> None:
    """Nobody yet is no mismatch."""
    assert sample_ratio_test([0, 0], [1, 1]).pvalue == sequential_sample_ratio([0, 0], [1, 1]).pvalue == 1.0


@pytest.mark.parametrize(
    ("counts", "weights"),
    [
        ([1, 2], [1.0]),
        ([1, -2], [1, 1]),
        ([1, 2.5], [1, 1]),
        ([1, 2], [1, -1]),
        ([1, 2], [1, 0]),
        ([1, 2], [1, np.nan]),
        ([1, 2], [1, 1e-101]),
        ([1, 2], [1e308, 1e308]),
        ([1, 10**12 + 1], [1, 1]),
        ([True, 2], [1, 1]),
    ],
)
def test_bad_input(counts: Any, weights: Any) -> None:
    """Counts and weights of two arms at least, none negative."""
    for test in (sample_ratio_test, sequential_sample_ratio):
        with pytest.raises(InvalidInputError):
            test(counts, weights)
