"""Benjamini-Hochberg: the published example, statsmodels' vector, and the rate that it promises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.vectors import vector

from model_perf._multiplicity import holm
from model_perf.drift import benjamini_hochberg
from model_perf.errors import InvalidInputError

# Benjamini & Hochberg (1995), section 3.2: p-values of 15 comparisons of treatments of myocardial infarction.
PUBLISHED = [
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459),
    *(0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
]


def test_the_published_example() -> None:
    """Four of the fifteen hypotheses are rejected at 5%, where Bonferroni rejects three."""
    assert [p <= 0.05 for p in benjamini_hochberg(PUBLISHED)] == [True] * 4 + [False] * 11


def test_vector() -> None:
    """statsmodels.stats.multitest.multipletests(p, method=...) of fdr_bh, and of holm, which judges performance."""
    row = vector("multipletests")
    [pvalues] = row["inputs"].values()
    assert benjamini_hochberg(pvalues) == pytest.approx(row["outputs"]["fdr_bh"], rel=1e-9)
    assert holm(pvalues) == pytest.approx(row["outputs"]["holm"], rel=1e-9)


def test_order_says_nothing_and_is_kept() -> None:
    """The adjusted values stand where their p-values stood, rise with them, and equal ones stay equal."""
    rng = np.random.default_rng(1)
    pvalues = np.round(rng.random(50) ** 3, 2)
    order = rng.permutation(50)
    adjusted = np.array(benjamini_hochberg(pvalues.tolist()))
    assert benjamini_hochberg(pvalues[order].tolist()) == adjusted[order].tolist()
    assert (np.diff(adjusted[np.argsort(pvalues, kind="stable")]) >= 0.0).all()
    assert all(len(set(adjusted[pvalues == p])) == 1 for p in pvalues)
    assert (adjusted >= pvalues).all()


@pytest.mark.parametrize(("pvalues", "expected"), [([], []), ([0.3], [0.3]), ([1.0, 0.0], [1.0, 0.0])])
def test_few(pvalues: list[float], expected: list[float]) -> None:
    """None has none, one is itself, 0 stays 0."""
    assert benjamini_hochberg(pvalues) == expected


def test_the_false_discovery_rate(most_often: Callable[[float, int], int]) -> None:
    """When nothing has changed, something is flagged in at most 5% of runs of twenty columns."""
    runs = np.random.default_rng(2).random((2000, 20))
    assert sum(min(benjamini_hochberg(run)) <= 0.05 for run in runs.tolist()) <= most_often(0.05, 2000)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.5", None, True])
def test_what_is_no_probability_is_refused(value: float) -> None:
    """The message says which of the p-values it is."""
    with pytest.raises(InvalidInputError, match=r"pvalues\[1\]"):
        benjamini_hochberg([0.5, value])
