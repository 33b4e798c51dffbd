"""McNemar: vector, the published interval, exact counts out of moments, its size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError
from model_perf.stats import mcnemar, mcnemar_of_differences
from model_perf.stats._mcnemar import mcnemar_of


def outcomes(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[int], list[int]]:
    return [1] * (both + only_a) + [0] * (only_b + neither), [1] * both + [0] * only_a + [1] * only_b + [0] * neither


def test_vector(vector: Callable[[str], Any]) -> None:
    """statsmodels' exact p."""
    [both, only_a], [only_b, neither] = vector("mcnemar_small")["inputs"]["table"]
    found = mcnemar(*outcomes(both, only_a, only_b, neither))
    assert found.exact_pvalue == pytest.approx(vector("mcnemar_small")["outputs"]["exact_p"], rel=1e-9)
    # Less P(X = 6) of 22, math.comb(22, 6) / 2**22.
    assert found.pvalue == pytest.approx(0.052478790283203125 - 74613 / 4194304, rel=1e-9)
    assert (found.only_a, found.only_b, found.n) == (6, 16, 161)
    assert found.effect == pytest.approx(10 / 161)


# Table, and the limits of the first proportion less the second, by Tango's score.
PUBLISHED = [
    # Fagerland, Lydersen & Laake (2014), Statistics in Medicine 33, 2850-2875: airways before and after.
    ((1, 1, 7, 12), -0.517, -0.026, 3),
    # R: contingencytables::Tango_asymptotic_score_CI_paired_2x2(cavo_2012), package version 3.0.0; its mid-p below.
    ((59, 6, 16, 80), -0.1240, -0.0054, 4),
]


@pytest.mark.parametrize(("table", "low", "high", "digits"), PUBLISHED)
def test_published_intervals(table: tuple[int, int, int, int], low: float, high: float, digits: int) -> None:
    """The published limits, with a and b exchanged."""
    interval = mcnemar(*outcomes(*table)).confidence_interval
    assert (round(-interval.high, digits), round(-interval.low, digits)) == (low, high)


def test_published_mid_p() -> None:
    """R: contingencytables::McNemar_midP_test_paired_2x2(cavo_2012), P = 0.034690."""
    assert round(mcnemar(*outcomes(59, 6, 16, 80)).pvalue, 6) == 0.034690


def test_the_score_is_of_the_likeliest_shares() -> None:
    """At each end the interval's variance is that of the shares that maximise the likelihood, found numerically."""
    only_a, only_b, n = 6, 16, 161
    interval = mcnemar(*outcomes(59, only_a, only_b, 80)).confidence_interval

    def minus_log_likelihood(share: float, difference: float) -> float:
        rest = 1.0 - 2.0 * share - difference
        return (
            -only_a * math.log(share) - only_b * math.log(share + difference) - (n - only_a - only_b) * math.log(rest)
        )

    for end in (interval.low, interval.high):
        lowest, highest = max(0.0, -end) + 1e-9, (1.0 - end) / 2.0 - 1e-9
        share = minimize_scalar(
            minus_log_likelihood, args=(end,), bounds=(lowest, highest), method="bounded", options={"xatol": 1e-12}
        ).x
        deviate = (only_b - only_a - n * end) / math.sqrt(n * (2.0 * share + end - end**2))
        assert abs(deviate) == pytest.approx(1.959963984540054, rel=1e-6)


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(0, 0, 1), (0, 5, 5), (3, 0, 40), (20, 20, 40), (1, 30, 10**7)])
def test_swapping_the_models_turns_the_interval(only_a: int, only_b: int, n: int) -> None:
    """b against a is the mirror of a against b, and the interval lies around the effect within -1 and 1."""
    found, mirrored = mcnemar_of(only_a, only_b, n=n), mcnemar_of(only_b, only_a, n=n)
    interval = found.confidence_interval
    assert (mirrored.pvalue, mirrored.effect) == (found.pvalue, -found.effect)
    assert mirrored.confidence_interval.low == pytest.approx(-interval.high, abs=1e-12)
    assert -1.0 <= interval.low <= found.effect <= interval.high <= 1.0
    assert interval.high > interval.low


@pytest.mark.parametrize("shares", [(0.01, 0.03), (0.05, 0.05), (0.20, 0.05), (0.002, 0.0)])
def test_coverage(shares: tuple[float, float], most_often: Callable[[float, int], int]) -> None:
    """The true difference is missed in about 5%, for rare disagreements too."""
    rng, runs, n = np.random.default_rng(7), 2000, 150
    counts = rng.multinomial(n, [*shares, 1.0 - sum(shares)], runs)[:, :2].tolist()
    intervals = [mcnemar_of(only_a, only_b, n=n).confidence_interval for only_a, only_b in counts]
    missed = sum(not each.low <= shares[1] - shares[0] <= each.high for each in intervals)
    assert missed <= most_often(0.06, runs)


def test_moments_give_the_counts() -> None:
    """From n, mean and m2 of b - a come the very counts, merged from parts or not."""
    rng = np.random.default_rng(5)
    a, b = rng.random(10_000) < 0.9, rng.random(10_000) < 0.91
    whole = mcnemar(a, b)
    difference = b.astype(float) - a
    kept = Aggregates.merged(Aggregates.from_values(part) for part in np.array_split(difference, 17))
    assert mcnemar_of_differences(kept) == whole


@pytest.mark.parametrize("differences", [[0.5, 0.3, 2.2], [1.0, -1.0, 2.0], [0.5], [1.0, 0.5, 0.0], []])
def test_moments_of_other_differences(differences: list[float]) -> None:
    """Differences that are not -1, 0 and 1 are refused, instead of rounded to counts; and none at all."""
    with pytest.raises(InvalidInputError):
        mcnemar_of_differences(Aggregates.from_values(differences))


def test_size(most_often: Callable[[float, int], int]) -> None:
    """Equal models: mid-p is below 5% in about 5%, the exact p in fewer."""
    rng, runs = np.random.default_rng(6), 4000
    found = []
    for only_a, only_b in rng.multinomial(200, [0.05, 0.05, 0.9], runs)[:, :2].tolist():
        found.append(mcnemar(*outcomes(100, only_a, only_b, 100 - only_a - only_b)))
    assert sum(each.pvalue <= 0.05 for each in found) <= most_often(0.055, runs)
    assert sum(each.exact_pvalue <= 0.05 for each in found) <= most_often(0.035, runs)
    missed = sum(not each.confidence_interval.low <= 0.0 <= each.confidence_interval.high for each in found)
    assert missed <= most_often(0.055, runs)


def test_models_that_agree() -> None:
    """Without an item on which they differ there is no evidence, and the interval has a width."""
    found = mcnemar([1, 0, 1, 1], [1, 0, 1, 1])
    assert (found.pvalue, found.exact_pvalue, found.effect) == (1.0, 1.0, 0.0)
    assert found.confidence_interval.low < 0.0 < found.confidence_interval.high


@pytest.mark.parametrize(
    ("a", "b", "argument"),
    [([1, 2], [1, 0], "correct_a"), ([1, 0], [1], "correct_b"), ([], [], "correct_a"), ([1.0], [np.nan], "correct_b")],
)
def test_bad_input(a: Any, b: Any, argument: str) -> None:
    """Outcomes are 0 and 1, one per item."""
    with pytest.raises(InvalidInputError) as error:
        mcnemar(a, b)
    assert error.value.argument == argument
