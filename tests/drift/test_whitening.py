"""Moments of successive evaluations, their autocorrelation, and what is left when it is taken out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr
from tests.drift.simulation import autoregressive

from model_perf.drift._whitening import NOTHING, LagMoments, standardised_residual


def moments(values: NDArray[np.float64]) -> LagMoments:
    found = NOTHING
    for previous, value in zip(values.tolist(), values[1:].tolist(), strict=False):
        found = found.add(value, previous)
    return found


def test_the_moments_are_numpys() -> None:
    """Count, means, variances and covariance of the pairs are those of numpy.cov."""
    values = np.random.default_rng(1).normal(1e6, 2.0, 50)
    found = moments(values)
    covariance = np.cov(values[1:], values[:-1]) * 48
    assert found.n == 49
    assert (found.mean, found.previous_mean) == pytest.approx((values[1:].mean(), values[:-1].mean()))
    assert found.m2 == pytest.approx(covariance[0, 0], rel=1e-9)
    assert found.cross == pytest.approx(covariance[0, 1], rel=1e-9)
    assert found.previous_m2 == pytest.approx(covariance[1, 1], rel=1e-9)


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.6])
def test_the_autocorrelation_is_corrected_for_short_series(phi: float) -> None:
    """The mean estimate from 40 evaluations is right to .05; r itself is .05 to .12 too small."""
    series = autoregressive(np.random.default_rng(3), 600, 40, [phi])[:, :, 0].T
    # Without the cut at 0 and .9, which is made after the correction, nothing would be left to compare at phi = 0.
    raw = np.array([np.corrcoef(row[1:], row[:-1])[0, 1] for row in series])
    expected = np.clip((39 * raw + 1) / 35, 0.0, 0.9)
    found = np.array([moments(row).autocorrelation(0.9) for row in series])
    assert found == pytest.approx(expected, abs=0.02)
    if phi:
        # Standard error of the mean of 600 estimates: .16/sqrt(600) = .007.
        assert float(found.mean()) == pytest.approx(phi, abs=0.06)
        assert float(raw.mean()) < phi - 0.03


def test_the_autocorrelation_stays_within_its_range() -> None:
    """An alternating series has 0, a straight line the maximum, a constant one and a short one an answer."""
    assert moments(np.array([1.0, -1.0] * 10)).autocorrelation(0.9) == 0.0
    assert moments(np.arange(30.0)).autocorrelation(0.9) == 0.9
    assert 0.0 <= moments(np.full(30, 2.5)).autocorrelation(0.9) <= 0.9
    assert moments(np.arange(5.0)).autocorrelation(0.9) == 0.0


def test_the_residual_is_the_prediction_error_of_a_regression() -> None:
    """With phi at its least-squares estimate the residual is the studentised prediction error of that regression."""
    values = autoregressive(np.random.default_rng(4), 1, 40, [0.5])[:, 0, 0]
    past, new, previous = values[:-1], float(values[-1]), float(values[-2])
    X = np.column_stack([np.ones(38), past[:-1]])
    coefficients, rss, *_ = np.linalg.lstsq(X, past[1:], rcond=None)
    row = np.array([1.0, previous])
    variance = rss[0] / 36 * (1.0 + row @ np.linalg.inv(X.T @ X) @ row)
    t = (new - row @ coefficients) / math.sqrt(variance)
    found = standardised_residual(moments(past), new, previous, float(coefficients[1]), weight=1.0, floor=1e-9)
    assert found == pytest.approx(-float(ndtri(stdtr(36, -t))), abs=1e-6)


def test_without_the_evaluation_before_the_mean_predicts() -> None:
    """The residual is then that of a plain mean: (x - mean)/(s sqrt(1 + 1/n)) with n - 1 degrees."""
    values = np.random.default_rng(5).normal(0.0, 1.0, 21)
    t = (2.0 - values[1:].mean()) / (values[1:].std(ddof=1) * math.sqrt(1.0 + 1.0 / 20))
    found = standardised_residual(moments(values), 2.0, None, 0.7, weight=1.0, floor=1e-9)
    assert found == pytest.approx(-float(ndtri(stdtr(19, -t))), abs=1e-6)


def test_a_smaller_sample_is_less_surprising() -> None:
    """The same value counts for less when its evaluation has more variance."""
    found = moments(np.random.default_rng(6).normal(0.0, 1.0, 31))
    plain = standardised_residual(found, 3.0, 0.0, 0.2, weight=1.0, floor=1e-9)
    assert 0.0 < standardised_residual(found, 3.0, 0.0, 0.2, weight=9.0, floor=1e-9) < 0.5 * plain


def test_a_constant_series_has_finite_residuals() -> None:
    """Where nothing has ever varied the floor is the spread."""
    found = moments(np.full(31, 2.0))
    assert standardised_residual(found, 2.0, 2.0, 0.0, weight=1.0, floor=0.01) == 0.0
    assert 4.0 < standardised_residual(found, 2.1, 2.0, 0.0, weight=1.0, floor=0.01) < 10.0
