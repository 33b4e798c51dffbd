"""Wasserstein: scipy as oracle, units, and what has no spread."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, wasserstein_distance

from model_perf.drift import wasserstein
from model_perf.errors import InvalidInputError


def test_a_published_example() -> None:
    """The example of scipy's documentation: moving 0, 1, 3 to 5, 6, 8 takes 5 a value."""
    assert wasserstein([0, 1, 3], [5, 6, 8]).statistic == 5.0


@pytest.mark.parametrize("decimals", [0, 15])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 9), (40, 60), (1000, 37)])
def test_agrees_with_scipy(n: int, m: int, decimals: int) -> None:
    """With ties and without, for equal sizes and for others."""
    rng = np.random.default_rng(n)
    x, y = np.round(rng.standard_normal(n), decimals), np.round(rng.gamma(2.0, size=m), decimals)
    assert wasserstein(x, y).statistic == pytest.approx(wasserstein_distance(x, y), rel=1e-9, abs=1e-12)


def test_a_shift_is_its_own_distance() -> None:
    """Values that all move by c have moved by c, c/1.349 interquartile ranges of a normal sample."""
    x = norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    result = wasserstein(x, x + 0.3)
    assert result.statistic == pytest.approx(0.3, rel=1e-9)
    assert result.effect_size == pytest.approx(0.3 / 1.349, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_effect_has_no_unit(seed: int) -> None:
    """Another unit, another zero, another order of rows: the effect stays, the distance follows the unit."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal(80), rng.standard_normal(50) + 1.0
    result, other = wasserstein(x, y), wasserstein(-1000.0 * x[::-1] + 7.0, -1000.0 * y + 7.0)
    assert other.effect_size == pytest.approx(result.effect_size, rel=1e-9)
    assert other.statistic == pytest.approx(1000.0 * result.statistic, rel=1e-9)


def test_symmetry_of_the_distance() -> None:
    """The distance is symmetric, its scale is the reference's."""
    x, y = np.random.default_rng(4).standard_normal((2, 60)) * [[1.0], [5.0]]
    assert wasserstein(x, y).statistic == pytest.approx(wasserstein(y, x).statistic, rel=1e-12)
    assert wasserstein(x, y).scale < wasserstein(y, x).scale


def test_a_reference_without_quartiles_is_measured_by_its_deviation() -> None:
    """Where half of the values are equal the scale is the standard deviation."""
    reference = [0.0] * 90 + [10.0] * 10
    result = wasserstein(reference, [0.0] * 80 + [10.0] * 20)
    assert (result.statistic, result.scale) == pytest.approx((1.0, 3.0), rel=1e-12)
    assert result.effect_size == pytest.approx(1.0 / 3.0, rel=1e-12)


def test_a_constant_has_no_scale() -> None:
    """A constant that stays has moved by 0; one that changes has moved by no number of spreads."""
    assert wasserstein([5.0] * 9, [5.0] * 4).effect_size == 0.0
    changed = wasserstein([5.0] * 9, [5.5] * 4)
    assert (changed.statistic, changed.effect_size, changed.scale) == (0.5, None, 0.0)


def test_integers_beyond_the_floats() -> None:
    """2^53 and 2^53 + 1 are 1 apart, and the ends of 64 bits 2^64 - 1."""
    assert wasserstein([2**53] * 3, [2**53 + 1] * 5).statistic == 1.0
    assert wasserstein([-(2**63)], [2**63 - 1]).statistic == 2.0**64
    assert wasserstein(np.array([0], np.uint8), np.array([255], np.uint8)).statistic == 255.0


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e200])
def test_what_has_no_distance_is_refused(value: float) -> None:
    """Infinities and what overflows when squared are refused by name."""
    with pytest.raises(InvalidInputError, match="current"):
        wasserstein([1.0, 2.0], [1.0, value])
