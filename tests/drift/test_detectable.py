"""What a check of a share says it would have found, against how often it finds that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom

from model_perf.drift import ColumnCheck, ColumnDrift, check_data_drift, profile
from model_perf.drift._answers import Answer
from model_perf.drift._detectable import detectable_change
from model_perf.drift._shares import fisher_pvalue, predictive_pvalue

SIZES = [(5000, 50), (500, 100), (5000, 200), (1000, 1000)]


def check_of(column: ColumnDrift, name: str) -> ColumnCheck:
    return next(check for check in column.checks if check.name == name)


def asked(name: Any, r: int, n: int, m: int) -> Answer:
    return Answer(name=name, count_reference=r, n_reference=n, n_current=m, n_effective=1.0 / (1.0 / n + 1.0 / m))


@pytest.mark.parametrize("name", ["missing", "out_of_range"])
@pytest.mark.parametrize(("n", "m", "n_columns"), [(5000, 50, 1), (500, 100, 5), (5000, 200, 1), (1000, 1000, 1)])
def test_it_is_found_in_four_windows_of_five(name: str, n: int, m: int, n_columns: int) -> None:
    """By the whole rule, other columns and checks beside it: 80% of 150 windows, within a binomial bound of .1%."""
    rng, runs, found = np.random.default_rng([n, m, n_columns]), 150, 0
    for _ in range(runs):
        values = np.round(rng.normal(size=n), 3)
        values[rng.random(n) < 0.02] = np.nan
        calm = {f"x{i}": rng.normal(size=n) for i in range(1, n_columns)}
        reference = profile({"x": values} | calm)
        others = {name: each[:m] for name, each in calm.items()}
        calm_window = np.resize(values[~np.isnan(values)], m)
        before = check_of(check_data_drift(reference, {"x": calm_window} | others).columns["x"], name)
        assert before.detectable_change is not None
        window = np.round(np.clip(rng.normal(size=m), -2.0, 2.0), 3)
        if name == "missing":
            window[rng.random(m) < np.mean(np.isnan(values)) + before.detectable_change] = np.nan
        else:
            share = reference.columns["x"].n_out_of_range / np.sum(~np.isnan(values))  # type: ignore[union-attr]
            window[rng.random(m) < share + before.detectable_change] = 9.0
        found += check_of(check_data_drift(reference, {"x": window} | others).columns["x"], name).verdict == "warning"
    assert binom.ppf(0.001, runs, 0.8) <= found <= binom.ppf(0.999, runs, 0.8)


@pytest.mark.parametrize("name", ["missing", "out_of_range"])
@pytest.mark.parametrize(("n", "m"), [*SIZES, (100, 20), (200, 1000), (40, 40)])
@pytest.mark.parametrize("share", [0.0, 0.002, 0.02, 0.3, 0.9])
def test_it_is_the_smallest(name: str, n: int, m: int, share: float) -> None:
    """Against the power of every count in turn: 80%, but for a count where Fisher's sum is taken for twice its half."""
    level, threshold, r = 0.05 / 15.0, 0.01, round(share * n)
    change = detectable_change(asked(name, r, n, m), level, threshold)
    pvalues = [fisher_pvalue(r, n, k, m) if name == "missing" else predictive_pvalue(r, n, m, k, n_limits=2)
               for k in range(m + 1)]  # fmt: skip
    hits = [k for k in range(m + 1) if k / m - r / n >= threshold and pvalues[k] <= level]
    if not hits:
        assert change is None
        return
    assert change is not None
    power = float(binom.sf(hits[0] - 1, m, r / n + change))
    assert power == pytest.approx(0.8, abs=1e-9 if n >= m else 0.1)


def test_gaps_in_time_order() -> None:
    """Where gaps come in stretches the change is larger, and is still found in three windows of four at least."""
    rng, runs, found, changes = np.random.default_rng(5), 80, 0, []

    def gaps(n: int, share: float) -> Any:
        level = np.asarray(lfilter([1.0], [1.0, -0.9], rng.normal(0.0, np.sqrt(0.19), n + 500)))[500:]
        return np.where(level > np.sqrt(2.0) * _erfinv(1.0 - 2.0 * share), np.nan, rng.normal(size=n))

    for _ in range(runs):
        values = gaps(17_520, 0.1)
        reference = profile({"x": values}, rows="time_ordered")
        before = check_of(check_data_drift(reference, {"x": gaps(336, 0.1)}).columns["x"], "missing")
        assert before.detectable_change is not None
        changes.append(before.detectable_change)
        window = gaps(336, float(np.mean(np.isnan(values))) + before.detectable_change)
        found += check_of(check_data_drift(reference, {"x": window}).columns["x"], "missing").verdict == "warning"
    as_rows = detectable_change(asked("missing", 1752, 17_520, 336), 0.05 / 3.0, 0.01)
    assert as_rows is not None
    assert min(changes) > 1.5 * as_rows
    assert 0.75 * runs <= found <= 0.97 * runs


def _erfinv(p: float) -> float:
    from scipy.special import erfinv

    return float(erfinv(p))


def test_where_nothing_would_be_found() -> None:
    """One row without a value in both is not fine, as three are too few to tell anything; a hundred of both are."""
    nothing = np.full(100, np.nan)
    for n, verdict in ((1, "insufficient_data"), (3, "insufficient_data"), (100, "ok")):
        column = check_data_drift(profile({"x": nothing[:n]}), {"x": nothing[:n]}).columns["x"]
        assert (column.verdict, check_of(column, "missing").verdict) == (verdict, verdict)
        assert check_of(column, "missing").detectable_change is None
    # One missing name of 1 against none of 30: Fisher's p is 1/31, found at .05 and not at .025.
    names = np.arange(30).astype(str)
    assert check_data_drift(profile({"x": names}), {"x": names[:1]}).columns["x"].verdict == "ok"
    few = check_data_drift(profile({"x": names, "y": names}), {"x": names[:1], "y": names[:1]})
    assert (few.verdict, few.drift_detected) == ("insufficient_data", None)
    assert "no change at all" in few.columns["x"].reason


def test_more_rows_find_less() -> None:
    """And a stricter level, or another threshold, finds no less."""
    changes = [detectable_change(asked("missing", n // 50, n, n), 0.01, 0.01) or 1.0 for n in (50, 200, 1000, 10_000)]
    assert changes == sorted(changes, reverse=True)
    levels = [detectable_change(asked("missing", 10, 500, 500), level, 0.01) or 1.0 for level in (0.05, 0.01, 0.001)]
    assert levels == sorted(levels)
    most = detectable_change(asked("out_of_range", 2000, 10**6, 10**6), 0.01, 0.005)
    assert most == pytest.approx(0.005, abs=1e-4)
