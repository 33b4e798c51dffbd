"""Student's t by way of the normal distribution."""

from __future__ import annotations

import math

import pytest
from scipy.special import ndtri, stdtr, stdtrit

from model_perf.drift._student import MAX_DEVIATE, normal_deviate, t_quantile, upper_tail


@pytest.mark.parametrize(
    ("t", "df", "probability"),
    # Upper percentage points of t, as in any table (Fisher & Yates, table III).
    [(2.132, 4, 0.05), (3.499, 7, 0.005), (1.833, 9, 0.05), (2.462, 29, 0.01), (3.659, 29, 0.0005)],
)
def test_the_tabulated_percentage_points_are_found(t: float, df: int, probability: float) -> None:
    """The tail beyond a tabulated point is the tabulated probability, to the table's digits."""
    assert upper_tail(normal_deviate(t, df)) == pytest.approx(probability, rel=2e-3)


@pytest.mark.parametrize(("df", "relative"), [(4, 2e-3), (7, 1e-4), (11, 1e-5), (29, 1e-6), (400, 1e-6)])
def test_the_tail_agrees_with_scipy(df: int, relative: float) -> None:
    """For the probabilities that verdicts turn on, the tail is that of scipy.special.stdtr."""
    for tail in (0.4, 0.05, 0.001, 1e-4):
        t = float(stdtrit(df, 1.0 - tail))
        assert upper_tail(normal_deviate(t, df)) == pytest.approx(float(stdtr(df, -t)), rel=relative)


@pytest.mark.parametrize("df", [4, 10, 50])
def test_the_deviate_agrees_with_scipy(df: int) -> None:
    """The deviate is ndtri(stdtr(t)) within .002 for |t| up to 30, and odd in t."""
    for t in (0.0, 0.3, 2.0, 8.0, 30.0):
        assert normal_deviate(t, df) == pytest.approx(-float(ndtri(stdtr(df, -t))), abs=2e-3)
        assert normal_deviate(-t, df) == -normal_deviate(t, df)


def test_the_quantile_is_the_inverse() -> None:
    """t_quantile agrees with scipy.special.stdtrit."""
    for df in (7, 29, 300):
        for tail in (0.025, 0.001, 1.25e-4):
            assert t_quantile(tail, df) == pytest.approx(float(stdtrit(df, 1.0 - tail)), rel=1e-4)


def test_a_huge_t_has_a_finite_deviate() -> None:
    """Neither an overflow nor a tail of exactly zero comes out of a t of 1e300."""
    assert normal_deviate(1e300, 400) == MAX_DEVIATE
    assert normal_deviate(-1e300, 400) == -MAX_DEVIATE
    assert 0.0 < upper_tail(MAX_DEVIATE) < 1e-260
    assert math.isfinite(normal_deviate(1e300, 4))
