"""Wilcoxon's signed ranks: scipy as oracle, the published example, coverage, ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import wilcoxon

from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import wilcoxon_signed_rank

# Hollander, Wolfe & Chicken (2014), table 3.1, example 3.1: p = .0195, estimate -.46, interval [-.786, -.010] at .95.
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]


def test_published_example() -> None:
    """The estimate and the one-sided p of the book; its exact interval is one average apart from ours at most."""
    found = wilcoxon_signed_rank(BEFORE, AFTER, alternative="less")
    assert round(found.pvalue, 4) == 0.0195
    assert round(found.effect, 2) == -0.46
    interval = wilcoxon_signed_rank(BEFORE, AFTER).confidence_interval
    assert interval is not None
    assert interval.low == pytest.approx(-0.786, abs=0.03)
    assert interval.high == pytest.approx(-0.010, abs=0.06)


@pytest.mark.parametrize("n", [2, 20, 200])
def test_agrees_with_scipy(n: int) -> None:
    """p is that of scipy.stats.wilcoxon with Pratt's zeros."""
    rng = np.random.default_rng(n)
    a, b = np.round(rng.normal(size=n), 1), np.round(rng.normal(0.2, 1.0, n), 1)
    method = "auto" if (b - a).all() else "approx"
    expected = wilcoxon(b - a, zero_method="pratt", method=method)
    assert wilcoxon_signed_rank(a, b).pvalue == pytest.approx(expected.pvalue, rel=1e-12)


def test_the_interval_covers(most_often: Callable[[float, int], int]) -> None:
    """The centre of heavy-tailed differences is missed in about 5%."""
    rng, runs, missed = np.random.default_rng(1), 800, 0
    for _ in range(runs):
        interval = wilcoxon_signed_rank(np.zeros(30), rng.standard_t(2, 30)).confidence_interval
        assert interval is not None
        missed += not interval.low <= 0.0 <= interval.high
    assert missed <= most_often(0.055, runs)


def test_no_difference_and_many_pairs() -> None:
    """Equal pairs are no evidence; beyond 2,000 pairs there is no interval."""
    found = wilcoxon_signed_rank([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (found.pvalue, found.effect, found.n_ties) == (1.0, 0.0, 3)
    many = np.random.default_rng(2).normal(size=(2, 3000))
    assert wilcoxon_signed_rank(*many).confidence_interval is None


@pytest.mark.parametrize(("a", "b"), [([1.0], [2.0]), ([1.0, 2.0], [1.0]), ([1.0, np.inf], [1.0, 2.0])])
def test_bad_input(a: Any, b: Any) -> None:
    """Two pairs of finite values at least."""
    with pytest.raises((InvalidInputError, TooFewObservationsError)):
        wilcoxon_signed_rank(a, b)
