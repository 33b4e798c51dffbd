"""Sample ratios: vectors, the size at once and at every look, arms of weight 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from model_perf.errors import InvalidInputError
from model_perf.stats import sample_ratio_test, sequential_sample_ratio


def test_fixed_vectors(vector: Callable[[str], Any]) -> None:
    """scipy's chi-squared and exact binomial p; gbstats' and tea-tasting's normal ones are close."""
    row = vector("srm_chi2_2")
    found = sample_ratio_test(**row["inputs"])
    assert found.statistic == pytest.approx(row["outputs"]["chi2"], rel=1e-9)
    assert found.pvalue == pytest.approx(row["outputs"]["p_binom_exact"], rel=1e-7)
    for name in ("srm_gb", "srm_tea_norm_False"):
        row = vector(name)
        # An arm of its own for nobody makes it the chi-squared of three, whose p of two arms is theirs.
        assert sample_ratio_test(**row["inputs"]).pvalue == pytest.approx(row["outputs"]["p"], rel=0.03)
    row = vector("srm_tea_binom_True")
    assert sample_ratio_test(**row["inputs"]).pvalue == pytest.approx(row["outputs"]["p"], rel=1e-7)
    row = vector("srm_fabijan_example")
    found = sample_ratio_test(**row["inputs"])
    assert found.statistic == pytest.approx(row["outputs"]["chi2"], rel=1e-9)
    assert found.pvalue == pytest.approx(row["outputs"]["p"], rel=1e-2)


def test_an_arm_of_weight_zero(vector: Callable[[str], Any]) -> None:
    """It takes no part in the degrees of freedom, as it does in gbstats; units in it are a mismatch for certain."""
    row = vector("srm_gb_zero_weight_bug")
    found = sample_ratio_test(**row["inputs"])
    assert found.pvalue == pytest.approx(binomtest(5300, 10_000, 0.5).pvalue, rel=1e-9)
    assert found.pvalue < 0.5 * row["outputs"]["p_gbstats_df2"]
    assert sample_ratio_test([50, 50, 1], [0.5, 0.5, 0.0]).pvalue == 0.0
    assert sequential_sample_ratio([50, 50, 1], [0.5, 0.5, 0.0]).pvalue == 0.0


def test_three_arms() -> None:
    """Chi-squared of three arms: scipy.stats.chisquare([30, 40, 50]).pvalue."""
    assert sample_ratio_test([30, 40, 50], [1, 1, 1]).pvalue == pytest.approx(0.0820849986238988, rel=1e-9)


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


def test_no_false_alarm_at_any_look(most_often: Callable[[float, int], int]) -> None:
    """Looked at after every ten units up to 20,000, right ratios have p <= .01 at any look in 1% of tests at most."""
    from scipy.special import gammaln

    rng, runs, split = np.random.default_rng(4), 1500, 0.3
    n = np.arange(10, 20_001, 10)
    b = np.cumsum(rng.binomial(10, split, (runs, n.size)), axis=1)
    a, prior = n - b, 10_000.0
    logs = gammaln(prior) - gammaln(prior + n) + gammaln(prior * split + b) - gammaln(prior * split)
    logs += gammaln(prior * (1 - split) + a) - gammaln(prior * (1 - split)) - b * np.log(split) - a * np.log(1 - split)
    one = sequential_sample_ratio([int(a[0, -1]), int(b[0, -1])], [0.7, 0.3])
    assert one.statistic == pytest.approx(np.exp(logs[0, -1]), rel=1e-6)
    assert (logs.max(axis=1) >= np.log(100.0)).sum() <= most_often(0.01, runs)


def test_a_wrong_ratio_is_found() -> None:
    """Of 100,000 units 52% instead of 50% are certain at the level of a guard."""
    assert sequential_sample_ratio([48_000, 52_000], [1, 1]).pvalue < 1e-6
    assert 0.0 < sequential_sample_ratio([10**6, 2 * 10**6], [1, 1]).pvalue < 1e-300


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
    ],
)
def test_bad_input(counts: Any, weights: Any) -> None:
    """Counts and weights of two arms at least, none negative."""
    for test in (sample_ratio_test, sequential_sample_ratio):
        with pytest.raises(InvalidInputError):
            test(counts, weights)
