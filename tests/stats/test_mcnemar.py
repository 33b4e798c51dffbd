"""McNemar: vector, the published interval, exact counts out of moments, its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError
from model_perf.stats import mcnemar, mcnemar_of_differences


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


# Newcombe (1998), Statistics in Medicine 17, 2635-2650, table III, method 10: e, f, g, h and the limits of (f - g)/n.
PUBLISHED = [((36, 12, 2, 0), 0.0569, 0.3404), ((20, 12, 2, 16), 0.0562, 0.3292)]


@pytest.mark.parametrize(("table", "low", "high"), PUBLISHED)
def test_published_intervals(table: tuple[int, int, int, int], low: float, high: float) -> None:
    """The limits of Newcombe's table, with a and b exchanged."""
    interval = mcnemar(*outcomes(*table)).confidence_interval
    assert (-interval.high, -interval.low) == pytest.approx((low, high), abs=5e-5)


def test_moments_give_the_counts() -> None:
    """From n, mean and m2 of b - a come the very counts, merged from parts or not."""
    rng = np.random.default_rng(5)
    a, b = rng.random(10_000) < 0.9, rng.random(10_000) < 0.91
    whole = mcnemar(a, b)
    difference = b.astype(float) - a
    kept = Aggregates.merged(Aggregates.from_values(part) for part in np.array_split(difference, 17))
    found = mcnemar_of_differences(kept, n_both=int((a & b).sum()))
    assert found == whole
    assert mcnemar_of_differences(kept).pvalue == whole.pvalue


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
