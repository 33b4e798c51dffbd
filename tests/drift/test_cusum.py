"""The CUSUM: published run lengths, limits, and what the self-starting chart learns."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import kstest

from model_perf.drift import cusum_limit, cusum_run_length
from model_perf.drift._cusum import SelfStartingCusum, cusum_step
from model_perf.errors import InvalidInputError

DAY = datetime(2024, 5, 1, tzinfo=UTC)
LATER = datetime(2024, 5, 2, tzinfo=UTC)


def exact_run_length(h: float, k: float, shift: float = 0.0, nodes: int = 60) -> float:
    """Page's integral equation for the upward chart, by Gauss-Legendre quadrature (Vance 1986)."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    points, weights = 0.5 * h * (points + 1.0), 0.5 * h * weights

    def row(start: float) -> NDArray[np.float64]:
        density = np.exp(-0.5 * (points + k - start - shift) ** 2) / np.sqrt(2.0 * np.pi)
        return np.concatenate([[float(ndtr(k - start - shift))], density * weights])

    matrix = np.array([row(start) for start in (0.0, *points)])
    return float(np.linalg.solve(np.eye(nodes + 1) - matrix, np.ones(nodes + 1))[0])


def two_sided_run_length(rng: np.random.Generator, shift: float) -> int:
    upper = lower = 0.0
    n = 0
    while True:
        for deviate in rng.standard_normal(256).tolist():
            n += 1
            upper = cusum_step(upper, shift + deviate, 0.5)
            lower = cusum_step(lower, -shift - deviate, 0.5)
            if max(upper, lower) > 5.0:
                return n


def test_the_published_run_length_without_change() -> None:
    """A two-sided CUSUM with k = .5 and h = 5 runs for 465 observations when nothing has changed."""
    # Montgomery, Introduction to Statistical Quality Control, table of CUSUM run lengths: 465.
    rng = np.random.default_rng(20240501)
    lengths = [two_sided_run_length(rng, 0.0) for _ in range(3000)]
    # Run lengths are nearly exponential: the mean of 3000 has a standard error of 465/sqrt(3000) = 8.5; 3.3 of them.
    assert np.mean(lengths) == pytest.approx(465, abs=28)
    assert exact_run_length(5, 0.5) / 2 == pytest.approx(465, rel=0.002)


def test_the_published_run_length_at_one_standard_deviation() -> None:
    """The same chart finds a shift of one standard deviation after 10.4 observations."""
    # The same table: 10.4. Standard deviation of the run length about 6.
    rng = np.random.default_rng(20240502)
    lengths = [two_sided_run_length(rng, 1.0) for _ in range(4000)]
    assert np.mean(lengths) == pytest.approx(10.4, abs=0.3)
    assert exact_run_length(5, 0.5, 1.0) == pytest.approx(10.4, abs=0.05)


@pytest.mark.parametrize(("h", "shift"), [(4.0, 0.0), (5.0, 0.0), (6.45, 0.0), (5.0, 1.0), (6.45, 2.0)])
def test_siegmunds_approximation_is_close_to_the_integral_equation(h: float, shift: float) -> None:
    """The closed form is within 3% of the exact run length where the limits lie."""
    assert cusum_run_length(h, 0.5, shift) == pytest.approx(exact_run_length(h, 0.5, shift), rel=0.03)


def test_the_limits_of_one_to_eight_metrics() -> None:
    """One alarm per 2 A m evaluations with A = 500 needs h = 5.07, 5.76, 6.45, 7.14."""
    # Exact values, from the integral equation above; the approximation is .01 below them.
    for m, limit in ((1, 5.07), (2, 5.76), (4, 6.45), (8, 7.14)):
        assert exact_run_length(limit, 0.5) == pytest.approx(1000 * m, rel=0.01)
        assert cusum_limit(1000 * m, 0.5) == pytest.approx(limit, abs=0.015)


def test_the_limit_inverts_the_run_length() -> None:
    """The run length at the limit is the one that was asked for."""
    for run_length in (20.0, 4000.0, 1e8):
        for k in (0.1, 0.5, 2.0):
            assert cusum_run_length(cusum_limit(run_length, k), k) == pytest.approx(run_length, rel=1e-6)


def test_a_run_length_without_drift_is_finite() -> None:
    """A shift equal to k, where the closed form divides by zero, has its limit (h + 1.166)²."""
    assert cusum_run_length(5.0, 0.5, 0.5) == pytest.approx(6.166**2)
    assert cusum_run_length(5.0, 0.5, 0.5 + 1e-4) == pytest.approx(6.166**2, rel=1e-2)


@pytest.mark.parametrize(("run_length", "k"), [(1.0, 0.5), (float("nan"), 0.5), (500.0, 0.0), (500.0, -1.0)])
def test_an_impossible_limit_is_refused(run_length: float, k: float) -> None:
    """A run length below 2 and a k that is not positive are refused by name."""
    with pytest.raises(InvalidInputError):
        cusum_limit(run_length, k)


def learn(values: list[float]) -> SelfStartingCusum:
    chart = SelfStartingCusum()
    for value in values:
        chart = chart.learnt(value)
    return chart


def test_self_starting_deviates_are_standard_normal_from_the_start() -> None:
    """Deviates from the 12th evaluation of an independent series on are standard normal and uncorrelated."""
    rng = np.random.default_rng(7)
    deviates = []
    for series in rng.normal(3.0, 0.2, size=(400, 40)).tolist():
        chart, row = SelfStartingCusum(), []
        for value in series:
            deviate = chart.deviate(value, 0.0, minimum=12, weight=1.0, floor=1e-9)
            row.append(np.nan if deviate is None else deviate)
            chart = chart.learnt(value)
        deviates.append(row)
    found = np.array(deviates)[:, 12:]
    assert np.isfinite(found).all()
    # The leverage of the evaluation before, which counts for nothing at phi = 0, makes them a little too small.
    assert kstest(found.ravel(), "norm", args=(0, found.std())).pvalue > 0.001
    assert 0.93 < found.std() < 1.0
    # 400 x 27 pairs: standard error .0096.
    assert abs(float(np.mean(found[:, 1:] * found[:, :-1]))) < 0.032


def test_the_chart_does_not_run_before_its_minimum() -> None:
    """The twelfth evaluation is the last without a deviate when the minimum is 12."""
    values = [0.1, -0.2, 0.3, 0.0, 0.2, -0.1, 0.05, -0.3, 0.1, 0.2, -0.2]
    arguments = {"minimum": 12, "weight": 1.0, "floor": 1e-9}
    assert learn(values).deviate(0.1, 0.0, **arguments) is None  # type: ignore[arg-type]
    assert learn([*values, 0.1]).deviate(0.1, 0.0, **arguments) is not None  # type: ignore[arg-type]


def test_a_value_that_is_passed_teaches_the_chart_nothing() -> None:
    """Passing a value keeps what was learnt and the sum; the next residual builds on the value, or on none."""
    raised = learn([0.1 * (-1) ** i for i in range(31)]).moved(2.0, 0.5, limit=6.9, window_start=DAY)
    for value in (0.4, None):
        passed = raised.passed(value)
        assert (passed.learned, passed.value, passed.since) == (raised.learned, raised.value, DAY)
        assert passed.previous == value


def test_the_chart_knows_since_when() -> None:
    """The estimated change is the first window after the sum's last zero."""
    chart = SelfStartingCusum().moved(2.0, 0.5, limit=6.9, window_start=DAY)
    assert chart.since == DAY
    assert chart.moved(2.0, 0.5, limit=6.9, window_start=LATER).since == DAY
    assert chart.moved(-3.0, 0.5, limit=6.9, window_start=LATER).since is None


def test_the_sum_stops_at_twice_the_limit() -> None:
    """A collapse does not push the sum beyond reach: 2 h at most."""
    assert SelfStartingCusum().moved(35.0, 0.5, limit=5.0, window_start=DAY).value == 10.0


def test_a_restart_keeps_what_was_learnt() -> None:
    """A restarted chart is at zero and knows level and spread as before."""
    chart = learn([0.1 * (-1) ** i for i in range(31)]).moved(3.0, 0.5, limit=6.9, window_start=DAY)
    restarted = chart.restarted()
    assert (restarted.value, restarted.since) == (0.0, None)
    assert restarted.learned == chart.learned
