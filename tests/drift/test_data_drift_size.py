"""The verdict on data, simulated: how often an unchanged window is flagged, and how often a changed one is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import norm

from model_perf.drift import check_data_drift, profile
from model_perf.drift._answers import MIN_POWER, Answer
from model_perf.drift._column_checks import _psi_interval
from model_perf.drift._data_drift import _DEFAULT, _power, _Rule
from model_perf.drift._population_stability_index import population_stability_index_of
from model_perf.drift._share_checks import _share_interval

Data = dict[str, NDArray[np.generic]]
Bound = Callable[[float, int], int]

SIZES = [(5000, 50), (500, 100), (5000, 200), (1000, 1000), (50_000, 2000)]


def normals(rng: np.random.Generator, n: int, n_columns: int, shift: float = 0.0) -> Data:
    return {f"x{i}": rng.normal(shift, 1.0, n) for i in range(n_columns)}


def names(rng: np.random.Generator, n: int, n_names: int) -> Data:
    """Of two names one has a tenth; many names have shares as of Zipf's law."""
    shares = np.array([0.9, 0.1]) if n_names == 2 else 1.0 / np.arange(1, n_names + 1)
    return {"x": rng.choice(np.arange(n_names).astype(str), n, p=shares / shares.sum())}


def mixed(rng: np.random.Generator, n: int) -> Data:
    """Heavy tails, ties, whole numbers, text, truth values and times, some of each missing."""
    text = rng.choice(list("abcdefgh"), n, p=[0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.04, 0.01]).astype(object)
    text[rng.random(n) < 0.02] = None
    times = np.array(["2025-01-01"], "M8[s]") + rng.integers(0, 10**6, n)
    times[rng.random(n) < 0.01] = np.datetime64("NaT")
    return {
        "heavy": np.where(rng.random(n) < 0.05, np.nan, rng.standard_cauchy(n)),
        "tied": np.where(rng.random(n) < 0.3, 0.0, rng.exponential(size=n)),
        "whole": rng.poisson(2.0, n),
        "text": text,
        "flag": rng.random(n) < 0.03,
        "time": times,
    }


def flagged(make: Callable[[np.random.Generator, int], Data], n: int, m: int, runs: int, seed: int = 0) -> int:
    """Of so many unchanged windows, each with a reference of its own, those with any column flagged."""
    rng = np.random.default_rng([n, m, seed])
    found = 0
    for _ in range(runs):
        found += check_data_drift(profile(make(rng, n)), make(rng, m)).drift_detected is True
    return found


@pytest.mark.parametrize("n_columns", [1, 5, 20])
@pytest.mark.parametrize(("n", "m"), SIZES)
def test_unchanged_numbers(n: int, m: int, n_columns: int, most_often: Bound) -> None:
    """At most 5% of unchanged windows have any column flagged; never to flag has none, always to flag all."""
    runs = (300 if n < 50_000 else 60) // n_columns + 20
    assert flagged(lambda rng, rows: normals(rng, rows, n_columns), n, m, runs) <= most_often(0.05, runs)


@pytest.mark.parametrize("n_names", [2, 20, 100])
@pytest.mark.parametrize(("n", "m"), SIZES)
def test_unchanged_names(n: int, m: int, n_names: int, most_often: Bound) -> None:
    """The same of 2, 20 and 100 names."""
    runs = 150 if n < 50_000 else 25
    assert flagged(lambda rng, rows: names(rng, rows, n_names), n, m, runs) <= most_often(0.05, runs)


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_unchanged_columns_of_every_kind(n: int, m: int, most_often: Bound) -> None:
    """The same of six columns of all kinds with missing values."""
    runs = 80 if n < 50_000 else 10
    assert flagged(mixed, n, m, runs) <= most_often(0.05, runs)


@pytest.mark.long
@pytest.mark.parametrize(("n", "m"), SIZES)
def test_unchanged_windows_at_length(n: int, m: int, most_often: Bound) -> None:
    """Thousands of windows of each size: numbers, names, and columns of all kinds."""
    runs = 3000 if n < 50_000 else 600
    for n_columns in (1, 5, 20):
        some = 2 * runs // (n_columns + 1)
        assert flagged(lambda rng, rows, k=n_columns: normals(rng, rows, k), n, m, some, 1) <= most_often(0.05, some)  # type: ignore[misc]
    for n_names in (2, 20, 100):
        assert flagged(lambda rng, rows, k=n_names: names(rng, rows, k), n, m, runs, 1) <= most_often(0.05, runs)  # type: ignore[misc]
    assert flagged(mixed, n, m, runs // 3, 1) <= most_often(0.05, runs // 3)


@pytest.mark.parametrize(
    ("n", "m", "power"), [(5000, 50, 0.42), (500, 100, 0.72), (5000, 200, 0.97), (1000, 1000, 1.0)]
)
def test_half_a_standard_deviation_is_found(n: int, m: int, power: float) -> None:
    """One column of five shifted by .5 sd: found as often as the design says, within .1 at 200 runs."""
    rng, runs, found = np.random.default_rng(m), 200, 0
    for _ in range(runs):
        window = normals(rng, m, 5)
        window["x0"] = window["x0"] + 0.5  # type: ignore[operator]
        found += "x0" in check_data_drift(profile(normals(rng, n, 5)), window).drifted_columns
    assert found / runs == pytest.approx(power, abs=0.1)


@pytest.mark.parametrize(("n_columns", "expected"), [(1, 89), (5, 109), (50, 137), (200, 153)])
def test_rows_that_an_ok_needs(n_columns: int, expected: int) -> None:
    """1/(1/n + 1/m) from which a critical change is found in four windows of five, by the rule itself."""

    def power(n_effective: float) -> float:
        distribution = Answer(name="distribution", n_cells=10, n_effective=n_effective, n_tests=2)
        return _power(distribution, 3, _Rule(policy=_DEFAULT, n_columns=n_columns, level=0.0))

    assert power(expected - 1) < MIN_POWER <= power(expected)


def autoregressive(rng: np.random.Generator, n: int, phi: float) -> NDArray[np.float64]:
    noise = rng.normal(0.0, np.sqrt(1.0 - phi**2), n + 2000)
    return np.asarray(lfilter([1.0], [1.0, -phi], noise))[2000:]


@pytest.mark.parametrize(("phi", "independent", "in_order"), [(0.9, 0.35, 0.035), (0.97, 0.82, 0.08)])
def test_neighbours_that_depend_on_each_other(
    phi: float, independent: float, in_order: float, most_often: Bound
) -> None:
    """AR(1), 17,520 rows against 336: taken for independent most are flagged, in time order few."""
    rng, runs = np.random.default_rng(int(100 * phi)), 200
    found = {"independent": 0, "time_ordered": 0}
    for _ in range(runs):
        series = {"x": autoregressive(rng, 17_520, phi)}
        window = {"x": autoregressive(rng, 336, phi)}
        found["independent"] += bool(check_data_drift(profile(series), window).drifted_columns)
        found["time_ordered"] += bool(check_data_drift(profile(series, rows="time_ordered"), window).drifted_columns)
    assert found["independent"] / runs == pytest.approx(independent, abs=0.12)
    assert found["time_ordered"] <= most_often(in_order, runs)


@pytest.mark.parametrize("length", [30, 50, 80, 336, 1460])
def test_windows_of_any_length_in_time_order(length: int, most_often: Bound) -> None:
    """Stretches are never shorter than the window for long: AR(1) at .9 keeps to a tenth at every length."""
    rng, runs, found = np.random.default_rng(length), 150, 0
    for _ in range(runs):
        reference = profile({"x": autoregressive(rng, 17_520, 0.9)}, rows="time_ordered")
        found += bool(check_data_drift(reference, {"x": autoregressive(rng, length, 0.9)}).drifted_columns)
    assert found <= most_often(0.10, runs)


def test_gaps_in_time_order(most_often: Bound) -> None:
    """Missing values that come in stretches, and slow text: no more than a tenth of unchanged windows is flagged."""
    rng, runs, found = np.random.default_rng(12), 150, 0

    def make(n: int) -> Data:
        level = autoregressive(rng, n, 0.97)
        text = np.where(autoregressive(rng, n, 0.95) > 0.5, "on", "off")
        return {"gaps": np.where(level > 1.5, np.nan, rng.normal(size=n)), "text": text}

    for _ in range(runs):
        found += bool(check_data_drift(profile(make(17_520), rows="time_ordered"), make(336)).drifted_columns)
    assert found <= most_often(0.10, runs)


@pytest.mark.parametrize("psi_shift", [0.0, 0.3, 0.5])
@pytest.mark.parametrize(("n", "m"), [(5000, 200), (1000, 1000)])
def test_the_interval_of_a_psi_covers_it(psi_shift: float, n: int, m: int, most_often: Bound) -> None:
    """On fixed tenths of a normal column the 95% interval holds the true PSI in 93% of samples at least."""
    rng, runs = np.random.default_rng(int(n + 10 * psi_shift)), 2000
    edges = norm.ppf(np.arange(1, 10) / 10)
    p, q = np.full(10, 0.1), np.diff(norm.cdf(np.r_[-np.inf, edges, np.inf], psi_shift))
    true, missed = float(np.sum((q - p) * np.log(q / p))), 0
    for _ in range(runs):
        a, b = rng.multinomial(n, p).astype(float), rng.multinomial(m, q).astype(float)
        psi = population_stability_index_of(a, b, 1.0)
        interval = _psi_interval(psi.statistic, 10, 1.0 / (1.0 / n + 1.0 / m), 0.05)
        missed += not interval.low <= true <= interval.high
    assert missed <= most_often(0.07, runs)


@pytest.mark.parametrize(("n", "m", "p", "q"), [(5000, 50, 0.01, 0.01), (5000, 200, 0.0, 0.05), (500, 500, 0.1, 0.3)])
def test_the_interval_of_a_share_covers_it(n: int, m: int, p: float, q: float, most_often: Bound) -> None:
    """Newcombe's interval holds the difference of two shares in 93% of samples at least."""
    rng, runs, missed = np.random.default_rng(n + m), 2000, 0
    for _ in range(runs):
        interval = _share_interval((int(rng.binomial(n, p)), n, int(rng.binomial(m, q)), m), 0.05)
        missed += not interval.low <= q - p <= interval.high
    assert missed <= most_often(0.07, runs)


def test_shares_in_time_order_have_wider_intervals(most_often: Bound) -> None:
    """Where gaps come in stretches, the interval of the missing share allows for it: 85% coverage, not a half."""
    rng, runs, missed = np.random.default_rng(3), 150, 0
    for _ in range(runs):
        reference = profile({"x": np.where(autoregressive(rng, 17_520, 0.9) > 1.0, np.nan, 1.0)}, rows="time_ordered")
        report = check_data_drift(reference, {"x": np.where(autoregressive(rng, 336, 0.9) > 1.0, np.nan, 1.0)})
        [interval] = [check.confidence_interval for check in report.columns["x"].checks if check.name == "missing"]
        assert interval is not None
        missed += not interval.low <= 0.0 <= interval.high
    assert missed <= most_often(0.15, runs)


@pytest.mark.parametrize(("n", "m", "n_names"), [(500, 100, 100), (500, 500, 150), (1000, 1000, 300), (300, 900, 100)])
def test_unchanged_names_that_are_rare(n: int, m: int, n_names: int, most_often: Bound) -> None:
    """Names of three rows each: new ones come in clumps, of which Good and Turing's share flags 8%."""
    rng, runs, found = np.random.default_rng(n_names), 250, 0
    pool = np.arange(n_names).astype(str)
    for _ in range(runs):
        reference = profile({"x": rng.choice(pool, n)})
        found += bool(check_data_drift(reference, {"x": rng.choice(pool, m)}).drifted_columns)
    assert found <= most_often(0.05, runs)
