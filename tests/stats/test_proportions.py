"""Two proportions: vector, the score interval as published, its coverage, and counts of none and all."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from model_perf.errors import InvalidInputError
from model_perf.stats import non_inferior_proportion, proportions_z_test
from model_perf.stats._proportions import _restricted, score_statistic


def test_vector(vector: Callable[[str], Any]) -> None:
    """statsmodels' pooled z and its p; Newcombe's interval of the same counts is close to ours."""
    row = vector("prop_ztest")
    a, b, expected = row["inputs"]["a"], row["inputs"]["b"], row["outputs"]
    found = proportions_z_test(a["x"], a["n"], b["x"], b["n"])
    assert (found.statistic, found.pvalue) == pytest.approx((expected["z_pooled"], expected["p_pooled"]), rel=1e-8)
    interval = found.confidence_interval
    assert (interval.low, interval.high) == pytest.approx(expected["ci_newcomb"], abs=2e-5)


def test_the_score_interval_of_statsmodels_is_another(vector: Callable[[str], Any]) -> None:
    """statsmodels 0.15 puts a count for a size into the cubic of the restricted estimate: ours is the more likely."""
    x, n, y, m = counts = (412, 5000, 470, 5100)

    def log_likelihood(p: float, difference: float) -> float:
        q = p + difference
        return x * math.log(p) + (n - x) * math.log(1 - p) + y * math.log(q) + (m - y) * math.log(1 - q)

    for difference in (-0.02, 0.0207, 0.03):
        best = minimize_scalar(
            lambda p, d=difference: -log_likelihood(p, d),
            bounds=(0.03, 0.9),
            method="bounded",
            options={"xatol": 1e-12},
        )
        assert _restricted(counts, difference) == pytest.approx(best.x, abs=1e-7)
    theirs = vector("prop_ztest")["outputs"]["ci_score"]
    ours = proportions_z_test(*counts).confidence_interval
    assert ours.low == pytest.approx(theirs[0], abs=1e-7)
    assert abs(score_statistic(counts, theirs[1])) < 1.959963984540054 < abs(score_statistic(counts, ours.high + 1e-9))
    ours_z = score_statistic(counts, -vector("noninferiority_prop")["inputs"]["margin"])
    assert ours_z == pytest.approx(vector("noninferiority_prop")["outputs"]["z_score"], rel=2e-3)


def test_published_interval() -> None:
    """Newcombe (1998), Statistics in Medicine 17, 873-890, table II, example (a), method 6 (Miettinen and Nurminen)."""
    interval = proportions_z_test(48, 80, 56, 70).confidence_interval
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0528, 0.3382)


@pytest.mark.parametrize(("p", "q", "n", "m"), [(0.01, 0.03, 200, 150), (0.5, 0.4, 40, 60), (0.98, 0.95, 100, 100)])
def test_coverage(p: float, q: float, n: int, m: int, most_often: Callable[[float, int], int]) -> None:
    """The true difference is missed in about 5%, where Wald's interval misses far more often."""
    rng, runs, missed = np.random.default_rng(int(1000 * p)), 1500, 0
    for x, y in zip(rng.binomial(n, p, runs).tolist(), rng.binomial(m, q, runs).tolist(), strict=True):
        interval = proportions_z_test(x, n, y, m).confidence_interval
        missed += not interval.low <= q - p <= interval.high
    assert missed <= most_often(0.06, runs)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (10, 12), (0, 12), (10, 0)])
def test_none_and_all(x: int, y: int) -> None:
    """None or all of n have an interval with a width, within -1 and 1."""
    found = proportions_z_test(x, 10, y, 12)
    interval = found.confidence_interval
    assert -1.0 <= interval.low <= found.effect <= interval.high <= 1.0
    assert interval.high - interval.low > 0.2


def test_one_side() -> None:
    """A one-sided interval ends at 1, and p halves."""
    two, one = proportions_z_test(40, 100, 60, 100), proportions_z_test(40, 100, 60, 100, alternative="greater")
    assert one.pvalue == pytest.approx(two.pvalue / 2.0)
    assert one.confidence_interval.high == 1.0
    assert one.confidence_interval.low > two.confidence_interval.low


def test_non_inferiority_of_a_proportion(most_often: Callable[[float, int], int]) -> None:
    """Of proportions that are just the margin worse at most 5% are called non-inferior."""
    rng, runs, called = np.random.default_rng(4), 1500, 0
    for x, y in zip(rng.binomial(300, 0.30, runs).tolist(), rng.binomial(300, 0.25, runs).tolist(), strict=True):
        called += non_inferior_proportion(x, 300, y, 300, margin=0.05).pvalue <= 0.05
    assert 0.02 * runs < called <= most_often(0.055, runs)


@pytest.mark.parametrize("counts", [(30, 100, 28, 90), (0, 40, 1, 60), (50, 50, 60, 60), (3, 200, 9, 150)])
def test_non_inferiority_says_what_the_interval_says(counts: tuple[int, int, int, int]) -> None:
    """p is below alpha just where the interval at 1 - 2 alpha ends within the margin, on the side that is worse."""
    for margin in (0.01, 0.03, 0.05, 0.1, 0.15, 0.2):
        higher = non_inferior_proportion(*counts, margin=margin)
        lower = non_inferior_proportion(*counts, margin=margin, higher_is_better=False)
        interval = higher.difference.confidence_interval
        assert (higher.pvalue < 0.05) == (interval.low > -margin)
        assert (lower.pvalue < 0.05) == (interval.high < margin)


def test_errors_are_successes_counted_from_the_other_end() -> None:
    """Of a share of errors lower is better, which says the same as its complement."""
    errors = non_inferior_proportion(12, 300, 15, 280, margin=0.03, higher_is_better=False)
    successes = non_inferior_proportion(288, 300, 265, 280, margin=0.03)
    assert errors.pvalue == pytest.approx(successes.pvalue, rel=1e-9)


@pytest.mark.parametrize("counts", [(5, 4, 1, 4), (-1, 4, 1, 4), (1, 0, 1, 4), (1.5, 4, 1, 4), (True, 4, 1, 4)])
def test_bad_counts(counts: Any) -> None:
    """Counts that are none are refused."""
    with pytest.raises(InvalidInputError):
        proportions_z_test(*counts)
