"""Diebold-Mariano: vectors of four packages, the variance that is negative, and the size under dependence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtri

from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import diebold_mariano

Find = Callable[[str], Any]


def losses(row: Any, power: float = 2.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, one, two = (np.array(row["inputs"][name]) for name in ("y", "m1", "m2"))
    return np.abs(y - one) ** power, np.abs(y - two) ** power


@pytest.mark.parametrize(
    ("name", "horizon", "kernel"),
    [
        ("dm_hln_h1_bartlett", 1, "bartlett"),
        ("dm_hln_h2_bartlett", 2, "bartlett"),
        ("dm_hln_h4_acf", 4, "rectangular"),
        ("dm_hln_h6_acf", 6, "rectangular"),
    ],
)
def test_dieboldmariano(vector: Find, name: str, horizon: int, kernel: Any) -> None:
    """The package dieboldmariano, both kernels."""
    row = vector(name)
    found = diebold_mariano(*losses(row), horizon=horizon, kernel=kernel)
    assert found.statistic == pytest.approx(row["outputs"]["dm_hln"], rel=1e-6)
    assert found.pvalue == pytest.approx(row["outputs"]["p_hln"], rel=1e-6)
    assert found.kernel == kernel


def test_r_forecast(vector: Find) -> None:
    """R's forecast::dm.test on the WWWusage series, published to four decimals."""
    row = vector("dm_R_forecast_WWWusage")
    one, two = (np.array(row["inputs"][name]) for name in ("e1", "e2"))
    expected = row["outputs"]
    for key, power, horizon in (
        ("p_R_h1_power2", 2, 1),
        ("p_R_h10_power2", 2, 10),
        ("p_R_h1_power1", 1, 1),
    ):
        found = diebold_mariano(np.abs(one) ** power, np.abs(two) ** power, horizon=horizon)
        assert found.pvalue == pytest.approx(expected[key], abs=1e-4)
    for side in ("less", "greater"):
        found = diebold_mariano(one**2, two**2, alternative=side)
        assert found.pvalue == pytest.approx(expected[f"p_R_h1_power2_{side}"], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "lags", "horizon", "power"),
    [
        ("dm_statsmodels_mse_lags3_h4_hln1", 3, 4, 2.0),
        ("dm_statsmodels_mse_lags0_h1_hln1", 0, 1, 2.0),
        ("dm_statsmodels_mse_lagsNone_h4_hln1", 4, 4, 2.0),
        ("dm_statsmodels_mae_lagsNone_h4_hln1", 4, 4, 1.0),
        ("dm_statsmodels_mae_lagsNone_h1_hln1", 4, 1, 1.0),
    ],
)
def test_statsmodels(vector: Find, name: str, lags: int, horizon: int, power: float) -> None:
    """statsmodels' diebold_mariano_test with Harvey's correction and its own number of lags."""
    row = vector(name)
    found = diebold_mariano(*losses(row, power), horizon=horizon, lags=lags, kernel="bartlett")
    assert row["outputs"]["lags_used"] == lags
    assert found.statistic == pytest.approx(row["outputs"]["stat"], rel=1e-8)
    assert found.pvalue == pytest.approx(row["outputs"]["p"], rel=1e-8)


def test_newey_and_west(vector: Find) -> None:
    """Without the correction the standard errors are statsmodels' HAC ones."""
    row = vector("dm_hac_bartlett")
    for key, expected in row["outputs"].items():
        lags = int(key.removeprefix("bartlett_L"))
        found = diebold_mariano(*losses(row), lags=lags, kernel="bartlett")
        n = found.n
        assert found.standard_error * math.sqrt((n - 1.0) / n) == pytest.approx(expected["se"], rel=1e-9)


def test_scores(vector: Find) -> None:
    """The package scores, method HLN."""
    row = vector("dm_scores_HLN_normal")
    found, expected = diebold_mariano(*losses(row), horizon=4), row["outputs"]
    assert (found.effect, found.statistic) == pytest.approx((expected["mean"], expected["dm"]), rel=1e-6)
    # Its interval is the normal one, ours by t.
    reach = ndtri(0.975) * found.standard_error
    assert [found.effect - reach, found.effect + reach] == pytest.approx(
        [expected["ci_lower"], expected["ci_upper"]], rel=1e-6
    )


def test_a_variance_that_is_not_positive() -> None:
    """Alternating differences make the rectangular variance negative: Bartlett's is taken, and said."""
    differences = np.tile([1.0, -0.9], 20)
    found = diebold_mariano(differences, np.zeros(40), horizon=2)
    assert found.kernel == "bartlett"
    assert math.isfinite(found.pvalue)
    assert found.standard_error > 0.0


def test_exchanged_forecasts() -> None:
    """With the forecasts exchanged the statistic changes its sign."""
    rng = np.random.default_rng(3)
    a, b = rng.random(50), rng.random(50)
    assert diebold_mariano(a, b, horizon=3).statistic == pytest.approx(
        -(diebold_mariano(b, a, horizon=3).statistic or 0)
    )


def test_size(most_often: Callable[[float, int], int]) -> None:
    """Forecasts three steps ahead, whose errors follow each other for two: about 5% of equal ones differ.

    Taken for one step ahead, as if nothing followed, more than 10% do.
    """
    runs = 2000
    shocks = np.random.default_rng(4).standard_normal((2, runs, 122))
    a, b = shocks[..., 2:] + shocks[..., 1:-1] + shocks[..., :-2]
    three, one = (
        sum(diebold_mariano(x**2, y**2, horizon=h).pvalue <= 0.05 for x, y in zip(a, b, strict=True)) for h in (3, 1)
    )
    assert three <= most_often(0.055, runs)
    assert one > 0.1 * runs


def test_the_size_of_short_series(most_often: Callable[[float, int], int]) -> None:
    """Four steps ahead 30 losses reject too often: 9%, as the docstring says."""
    runs = 4000
    shocks = np.random.default_rng(8).standard_normal((runs, 33))
    differences = shocks[:, 3:] + shocks[:, 2:-1] + shocks[:, 1:-2] + shocks[:, :-3]
    found = sum(diebold_mariano(x, np.zeros(30), horizon=4).pvalue <= 0.05 for x in differences)
    assert runs - most_often(0.92, runs) <= found <= most_often(0.1, runs)


def test_no_difference() -> None:
    """The same losses are no evidence."""
    assert diebold_mariano([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).pvalue == 1.0


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("kernel", ["rectangular", "bartlett"])
def test_a_difference_that_only_rounding_varies(horizon: int, kernel: Any) -> None:
    """A constant difference has no variance to measure it by, although x + .1 - x is not always .1."""
    x = np.random.default_rng(1).random(20)
    assert len(set((x + 0.1 - x).tolist())) > 1
    found = diebold_mariano(x + 0.1, x, horizon=horizon, kernel=kernel)
    assert (found.statistic, found.standard_error, found.pvalue) == (None, 0.0, 1.0)
    assert found.effect == pytest.approx(0.1)


@pytest.mark.parametrize("scale", [1e-100, 1e140])
def test_the_unit_of_the_losses(scale: float) -> None:
    """The statistic does not depend on it."""
    rng = np.random.default_rng(5)
    a, b = rng.random(40), rng.random(40)
    expected, found = diebold_mariano(a, b, horizon=2), diebold_mariano(a * scale, b * scale, horizon=2)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-9)
    assert found.standard_error == pytest.approx(expected.standard_error * scale, rel=1e-9)


@pytest.mark.parametrize(
    ("losses_", "more", "error"),
    [
        (([1.0, 2.0], [1.0, 2.0]), {}, TooFewObservationsError),
        (([1.0] * 5, [1.0] * 5), {"horizon": 5}, TooFewObservationsError),
        (([1.0] * 5, [1.0] * 5), {"lags": 5}, TooFewObservationsError),
        (([1.0] * 5, [1.0] * 5), {"lags": -1}, InvalidInputError),
        (([1.0] * 5, [1.0] * 5), {"alternative": "more"}, InvalidInputError),
        (([1.0] * 5, [1.0] * 5), {"alpha": 1.0}, InvalidInputError),
        (([1.0] * 5, [1.0] * 4), {}, InvalidInputError),
        (([1.0, math.nan, 2.0], [1.0] * 3), {}, InvalidInputError),
        (([1.0] * 5, [1.0] * 5), {"kernel": "flat"}, InvalidInputError),
        (([1.0] * 5, [1.0] * 5), {"horizon": 0}, InvalidInputError),
    ],
)
def test_bad_input(losses_: Any, more: Any, error: type[Exception]) -> None:
    """What has no test is refused."""
    with pytest.raises(error):
        diebold_mariano(*losses_, **more)
