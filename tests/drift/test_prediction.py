"""The baseline, its prediction interval, and Holm over the metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import stdtr
from tests.vectors import vector

from model_perf._multiplicity import holm
from model_perf.drift._prediction import Baseline, predict


def baseline_of(values: list[float], sample_counts: list[int | None] | None = None) -> Baseline:
    baseline = Baseline()
    for value, count in zip(values, sample_counts or [None] * len(values), strict=True):
        baseline = baseline.add(value, count)
    return baseline


def test_the_baselines_moments_are_numpys() -> None:
    """Mean and sum of squares are numpy's, also far from zero."""
    values = np.random.default_rng(1).normal(1e7, 0.5, 100)
    baseline = baseline_of(values.tolist())
    assert baseline.mean == pytest.approx(values.mean())
    assert baseline.m2 == pytest.approx(values.var() * 100, rel=1e-8)


@pytest.mark.parametrize("n", [8, 30])
def test_the_interval_is_the_textbooks(n: int) -> None:
    """Independent evaluations give t = (x - mean)/(s sqrt(1 + 1/n)) and its one-sided p-value."""
    values = np.random.default_rng(n).normal(0.0, 1.0, n)
    found = predict(baseline_of(values.tolist()), 2.5, 0.0, weight=1.0, floor=1e-9)
    t = (2.5 - values.mean()) / (values.std(ddof=1) * math.sqrt(1.0 + 1.0 / n))
    assert found.statistic == pytest.approx(t)
    # scipy.special.stdtr
    assert found.pvalue == pytest.approx(float(stdtr(n - 1, -t)), rel=1e-4)
    assert (found.df, found.n_effective) == (n - 1, n)


def test_autocorrelation_leaves_fewer_independent_evaluations() -> None:
    """At phi = .6, thirty evaluations are worth 7.5."""
    found = predict(baseline_of([0.0, 1.0] * 15), 2.0, 0.6, weight=1.0, floor=1e-9)
    assert found.n_effective == pytest.approx(30 * 0.4 / 1.6)


def test_a_sample_only_widens() -> None:
    """A sample of a quarter of the baseline's has four times its variance; a larger one has the same."""
    baseline = baseline_of([0.0, 1.0] * 4, [100] * 8)
    assert baseline.weight(25) == pytest.approx(4.0)
    assert baseline.weight(100_000) == 1.0
    assert baseline.weight(None) == 1.0
    assert baseline_of([0.0, 1.0] * 4).weight(3) == 1.0


def test_unequal_samples_count_by_their_variance() -> None:
    """The baseline's variance is that of the harmonic mean of its samples."""
    # Variances 1/10 and 1/1000 average to .0505; a sample of 10 has .1.
    assert baseline_of([0.0, 1.0], [10, 1000]).weight(10) == pytest.approx(0.1 / 0.0505)


def test_a_constant_baseline_has_an_answer() -> None:
    """The floor takes the place of a spread of zero."""
    found = predict(baseline_of([1.0] * 8), 1.1, 0.0, weight=1.0, floor=0.01)
    assert found.statistic == pytest.approx(0.1 / (0.01 * math.sqrt(1.125)))
    assert 0.0 < found.pvalue < 1e-4


def test_the_intervals_size_is_its_level() -> None:
    """In independent normal series one evaluation in twenty is beyond the 5% interval."""
    rng = np.random.default_rng(2)
    series = rng.normal(0.0, 1.0, (4000, 13)).tolist()
    beyond = sum(predict(baseline_of(row[:-1]), row[-1], 0.0, weight=1.0, floor=1e-9).pvalue <= 0.05 for row in series)
    # Binomial(4000, .05): .0005 and .9995 quantiles 156 and 247 (scipy.stats.binom.ppf).
    assert 156 <= beyond <= 247


def test_holm_agrees_with_statsmodels() -> None:
    """The adjusted p-values are those of statsmodels' multipletests, in any order."""
    row = vector("multipletests")
    pvalues, expected = row["inputs"]["p"], row["outputs"]["holm"]
    assert holm(pvalues) == pytest.approx(expected, rel=1e-9)
    assert holm(pvalues[::-1]) == pytest.approx(expected[::-1], rel=1e-9)


def test_holm_of_nothing() -> None:
    """No p-values, no adjusted ones; a single one stays as it is."""
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
