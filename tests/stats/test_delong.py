"""DeLong: vector, the definition over all pairs, coverage, classes that are missing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import delong


def test_vector(vector: Callable[[str], Any]) -> None:
    """MLstatkit's areas, z of b - a, and p."""
    row = vector("delong_paired")
    found = delong(row["inputs"]["y"], row["inputs"]["s1"], row["inputs"]["s2"])
    expected = row["outputs"]
    assert (found.auc_a, found.auc_b) == pytest.approx((expected["auc1"], expected["auc2"]), rel=1e-7)
    assert (found.statistic, found.pvalue) == pytest.approx((-expected["z_1_minus_2"], expected["p"]), rel=1e-7)
    variance = expected["var1"] + expected["var2"] - 2.0 * expected["cov12"]
    assert found.standard_error == pytest.approx(math.sqrt(variance), rel=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_the_definition(seed: int) -> None:
    """Over all pairs of a positive and a negative, ties count half [DeLong et al. 1988, equations 4 to 6]."""
    rng = np.random.default_rng(seed)
    y = rng.random(60) < 0.4
    scores = np.round(rng.normal(y * np.array([[0.5], [1.0]]), 1.0), 1)
    fields = [np.where(s[y][:, None] > s[~y], 1.0, np.where(s[y][:, None] == s[~y], 0.5, 0.0)) for s in scores]
    by_positive = np.cov([field.mean(axis=1) for field in fields]) / y.sum()
    by_negative = np.cov([field.mean(axis=0) for field in fields]) / (~y).sum()
    covariance = by_positive + by_negative
    found = delong(y, *scores)
    assert (found.auc_a, found.auc_b) == pytest.approx([roc_auc_score(y, s) for s in scores], rel=1e-12)
    assert found.standard_error**2 == pytest.approx(
        covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], rel=1e-9
    )


def test_size(most_often: Callable[[float, int], int]) -> None:
    """Scores of equal worth differ in about 5%."""
    rng, runs, found = np.random.default_rng(7), 1000, 0
    for _ in range(runs):
        y = np.arange(120) < 40
        shared = rng.normal(size=120) + y
        found += delong(y, shared + rng.normal(size=120), shared + rng.normal(size=120)).pvalue <= 0.05
    assert found <= most_often(0.06, runs)


def test_the_same_scores() -> None:
    """A score against itself, or a monotone function of it, shows no difference."""
    rng = np.random.default_rng(8)
    y, score = rng.random(50) < 0.5, rng.normal(size=50)
    found = delong(y, score, np.exp(score))
    assert (found.effect, found.statistic, found.pvalue) == (0.0, None, 1.0)

    assert (found.confidence_interval.low, found.confidence_interval.high) == (0.0, 0.0)


@pytest.mark.parametrize("scores", [(np.zeros(41), np.arange(41.0)), (np.arange(41.0), np.arange(41.0) ** 2)])
def test_areas_without_spread(scores: tuple[Any, Any]) -> None:
    """Of scores that separate the classes, or say nothing, no error can be measured: the interval is all there is."""
    found = delong(np.arange(41) >= 20, *scores)
    assert (found.statistic, found.pvalue, found.auc_b) == (None, 1.0, 1.0)
    assert (found.confidence_interval.low, found.confidence_interval.high) == (-1.0, 1.0)


def test_exchanged_scores_and_classes() -> None:
    """Exchange turns the sign; classes and scores turned together change nothing, nor do order and scale."""
    rng = np.random.default_rng(4)
    y = rng.random(80) < 0.3
    a, b = np.round(rng.normal(y, 1.0), 1), np.round(rng.normal(0.5 * y, 1.0), 1)
    one, other, order = delong(y, a, b), delong(y, b, a), rng.permutation(80)
    assert (other.effect, other.pvalue) == pytest.approx((-one.effect, one.pvalue), rel=1e-9)
    for turned in (delong(~y, -a, -b), delong(y[order], a[order], b[order]), delong(y, np.exp(a), 3.0 * b)):
        assert (turned.effect, turned.statistic) == pytest.approx((one.effect, one.statistic), rel=1e-9)


def test_many_items_fast() -> None:
    """200,000 items are compared in a second or so, where all pairs would be 10^10."""
    rng = np.random.default_rng(5)
    y = rng.random(200_000) < 0.5
    a, b = rng.normal(y, 1.0), rng.normal(y, 1.0)
    started = time.perf_counter()
    found = delong(y, a, b)
    assert time.perf_counter() - started < 5.0
    assert found.auc_a == pytest.approx(0.7602499389065233, abs=0.005)  # Phi(1/sqrt 2)


def test_classes() -> None:
    """Two items of each class are needed, and labels are 0 and 1."""
    with pytest.raises(TooFewObservationsError, match="y_true: has 0 negative items"):
        delong([1, 1, 1], [1, 2, 3], [1, 2, 3])
    with pytest.raises(InvalidInputError, match="y_true: holds other values"):
        delong([1, 2, 3], [1, 2, 3], [1, 2, 3])
    with pytest.raises(InvalidInputError, match="score_b: has 2 entries"):
        delong([1, 0, 1, 0], [1, 2, 3, 4], [1, 2])
