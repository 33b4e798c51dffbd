"""Non-inferiority and equivalence: vector, the agreement with the interval, and the size at the margin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model_perf.errors import InvalidInputError
from model_perf.stats import equivalence_test, non_inferiority_test


def test_vector(vector: Callable[[str], Any]) -> None:
    """statsmodels' ttost_ind with unequal variances."""
    row = vector("tost_mean")
    found = equivalence_test(row["inputs"]["a"], row["inputs"]["b"], margin=row["inputs"]["upp"])
    assert found.pvalue == pytest.approx(row["outputs"]["p"], rel=1e-9)
    better = non_inferiority_test(row["inputs"]["a"], row["inputs"]["b"], margin=1.5, higher_is_better=True)
    assert better.pvalue == pytest.approx(row["outputs"]["p_lower"], rel=1e-9)
    worse = non_inferiority_test(row["inputs"]["a"], row["inputs"]["b"], margin=1.5, higher_is_better=False)
    assert worse.pvalue == pytest.approx(row["outputs"]["p_upper"], rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_says_the_same(seed: int) -> None:
    """Equivalent at alpha just where the interval at 1 - 2 alpha lies within the margin."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=80), rng.normal(0.1, 1.2, 90)
    for margin in (0.2, 0.35, 0.5, 0.8):
        found = equivalence_test(a, b, margin=margin)
        interval = found.difference.confidence_interval
        assert (found.pvalue <= 0.05) == (-margin <= interval.low and interval.high <= margin)


def test_size(most_often: Callable[[float, int], int]) -> None:
    """A model that is just the margin worse is called non-inferior in 5%, and equivalent in no more."""
    rng, runs, found, equal = np.random.default_rng(5), 2000, 0, 0
    for _ in range(runs):
        a, b = rng.normal(size=60), rng.normal(-0.5, 1.0, 60)
        found += non_inferiority_test(a, b, margin=0.5, higher_is_better=True).pvalue <= 0.05
        equal += equivalence_test(a, b, margin=0.5).pvalue <= 0.05
    assert 0.03 * runs <= found <= most_often(0.055, runs)
    assert equal <= found


@pytest.mark.parametrize("samples", [([1.0, 1.0], [1.0, 1.0]), ([0.0] * 50, [1.0] * 60)])
def test_two_constants(samples: tuple[list[float], list[float]]) -> None:
    """Two samples without any spread are no evidence that they are within a margin, of any size."""
    for margin in (0.1, 10.0):
        assert equivalence_test(*samples, margin=margin).pvalue == 1.0
        for higher_is_better in (True, False):
            assert non_inferiority_test(*samples, margin=margin, higher_is_better=higher_is_better).pvalue == 1.0


def test_exchanged_models_and_units() -> None:
    """Equivalence asks for no order, and a lower-is-better metric is a higher-is-better one of the other sign."""
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=40), rng.normal(0.1, 1.5, 50)
    assert equivalence_test(a, b, margin=0.7).pvalue == pytest.approx(equivalence_test(b, a, margin=0.7).pvalue)
    assert equivalence_test(8 * a, 8 * b, margin=5.6).pvalue == pytest.approx(equivalence_test(a, b, margin=0.7).pvalue)
    lower = non_inferiority_test(a, b, margin=0.7, higher_is_better=False).pvalue
    assert lower == pytest.approx(non_inferiority_test(-a, -b, margin=0.7, higher_is_better=True).pvalue)


@pytest.mark.parametrize("margin", [0.0, -1.0, np.nan, None])
def test_a_margin_is_positive(margin: Any) -> None:
    """A margin of nothing, or less, is refused by name."""
    with pytest.raises(InvalidInputError, match="margin"):
        equivalence_test([1.0, 2.0], [1.0, 2.0], margin=margin)
