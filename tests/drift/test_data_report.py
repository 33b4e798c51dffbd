"""The report on data: its ranking, its agreement with the rule, what does not change it, and its JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from model_perf import MonitoringPolicy
from model_perf.drift import ColumnDrift, DataDriftReport, benjamini_hochberg, check_data_drift, profile
from model_perf.errors import InvalidInputError


def normal(n: int, seed: int = 0, mean: float = 0.0) -> Any:
    return np.random.default_rng(seed).normal(mean, 1.0, n)


def judged(reference: Any, current: Any) -> ColumnDrift:
    return check_data_drift(profile({"x": reference}), {"x": current}).columns["x"]


def verdicts(column: ColumnDrift) -> dict[str, str]:
    return {check.name: check.verdict for check in column.checks}


def test_checks_below_the_level_are_all_named() -> None:
    """Where two checks of a column have each found something, both say so, the other columns aside."""
    values = normal(500, 1, 2.0)
    values[::5] = np.nan
    reference = profile({"x": normal(5000), "y": normal(5000, 2)})
    report = check_data_drift(reference, {"x": values, "y": normal(500, 3)})
    assert verdicts(report.columns["x"]) == {
        "distribution": "critical",
        "missing": "warning",
        "out_of_range": "warning",
    }
    assert report.columns["y"].verdict == "ok"


@pytest.mark.parametrize("seed", range(20))
def test_a_column_drifts_where_its_p_says_so(seed: int) -> None:
    """Verdicts and Benjamini-Hochberg agree, exactly at alpha too; columns that were not tested do not count."""
    rng = np.random.default_rng(seed)
    names = [f"x{i}" for i in range(8)]
    reference = profile({name: normal(1000, i) for i, name in enumerate(names)} | {"gone": [1.0] * 1000})
    window = {name: rng.normal(rng.choice([0.0, 0.3, 0.5]), 1.0, 150) for name in names}
    report = check_data_drift(reference, window)
    raw = [report.columns[name].pvalue or 0.0 for name in names]
    assert [report.columns[name].adjusted_pvalue for name in names] == benjamini_hochberg(raw)
    assert report.pvalue == min(1.0, 8 * min(raw))
    alphas = [0.05, *(q for name in names if 0.0 < (q := report.columns[name].adjusted_pvalue or 0.0) < 0.999)]
    for alpha in alphas:
        again = check_data_drift(reference, window, policy=MonitoringPolicy(alpha=alpha))
        expected = {name for name in names if (again.columns[name].adjusted_pvalue or 0.0) <= alpha}
        assert set(again.drifted_columns) == expected | {"gone"}


def test_ranking_and_excess() -> None:
    """What needs no test comes first, then drifted columns by how far past their thresholds, then the others."""
    reference = profile({name: normal(5000, i) for i, name in enumerate("abcd")} | {"gone": [1.0] * 5000})
    window = {"a": normal(500, 9), "b": normal(500, 8, 0.6), "c": normal(500, 7, 1.5), "d": normal(500, 6, 3.0)}
    report = check_data_drift(reference, window)
    assert list(report.columns) == ["gone", "d", "c", "b", "a"]
    assert report.columns["gone"].checks[0].excess == float("inf")
    for column in list(report.columns.values())[1:]:
        for check in column.checks:
            assert check.excess == (check.effect_size or 0.0) / (check.threshold or 1.0)


def test_thresholds_are_the_policys() -> None:
    """What counts as large, and as critical, is the host's to say."""
    reference, window = profile({"x": normal(5000)}), {"x": normal(1000, 1, 0.45)}
    assert check_data_drift(reference, window).verdict == "warning"
    for policy, verdict in (
        (MonitoringPolicy(drift_warning=0.4, drift_critical=0.5), "ok"),
        (MonitoringPolicy(drift_warning=0.1, drift_critical=0.12), "critical"),
        (MonitoringPolicy(drift_warning=0.0, drift_critical=0.9), "warning"),
    ):
        assert check_data_drift(reference, window, policy=policy).verdict == verdict


def test_a_profile_serves_as_the_data() -> None:
    """A window that was counted with the reference, in parts too, has the report of its rows."""
    reference, values = profile({"x": normal(5000), "y": ["a", "b"] * 2500}), normal(400, 1, 0.6)
    window = {"x": values, "y": ["a", "b"] * 200}
    parts = [
        profile({name: each[i : i + 100] for name, each in window.items()}, reference=reference)
        for i in range(0, 400, 100)
    ]
    assert check_data_drift(reference, parts[0] + parts[1] + parts[2] + parts[3]) == check_data_drift(reference, window)


@pytest.mark.parametrize("rows", ["independent", "time_ordered"])
def test_the_report_is_written_and_read(rows: str) -> None:
    """to_dict is JSON without NaN; keys of newer versions are passed over."""
    rng = np.random.default_rng(3)
    nothing = np.full(2000, np.nan)
    reference = {
        "float": normal(2000), "text": rng.choice(["a", "b"], 2000), "flag": rng.random(2000) < 0.5, "gone": nothing,
        "nothing": nothing, "id": np.arange(2000).astype(str), "infinite": np.full(2000, np.inf), "same": np.ones(2000),
    }  # fmt: skip
    window = {name: values[:100] for name, values in reference.items() if name != "gone"} | {"new": [1] * 100}
    window |= {"float": normal(100, 1, 1.0), "text": np.full(100, np.nan)}
    report = check_data_drift(profile(reference, rows=rows), window)  # type: ignore[arg-type]
    content: Any = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert content["headline"] == report.headline
    content["columns"][0]["checks"][0]["newer"] = content["newer"] = 1
    again = DataDriftReport.from_dict(content)
    assert again == report
    assert list(again.columns) == list(report.columns)


def test_units_do_not_matter() -> None:
    """x * 1000 + 5 has the verdict, p-values and effects of x."""
    for shift in (0.0, 0.4, 0.8):
        a, b = normal(3000), normal(300, 1, shift)
        plain, scaled = judged(a, b), judged(a * 1000.0 + 5.0, b * 1000.0 + 5.0)
        assert scaled == plain


def test_the_order_of_columns_and_rows_does_not_matter() -> None:
    """Permuted columns and independent rows have the same report."""
    rng = np.random.default_rng(2)
    reference = {"a": normal(2000), "b": rng.choice(list("pqrs"), 2000), "c": rng.poisson(3, 2000)}
    window = {"a": normal(300, 1, 0.5), "b": rng.choice(list("pqrst"), 300), "c": rng.poisson(3, 300)}
    report = check_data_drift(profile(reference), window)
    again = check_data_drift(
        profile({name: rng.permutation(reference[name]) for name in "cab"}),
        {name: rng.permutation(window[name]) for name in "bca"},
    )
    assert again == report
    assert list(again.columns) == list(report.columns)


def test_a_larger_shift_has_no_larger_p() -> None:
    """The same values, shifted further: p falls and the effect grows."""
    reference, values = profile({"x": normal(5000)}), normal(200, 1)
    found = [check_data_drift(reference, {"x": values + shift}).columns["x"] for shift in np.arange(0.5, 6.0, 0.25)]
    pvalues, effects = [each.pvalue or 0.0 for each in found], [each.checks[0].effect_size or 0.0 for each in found]
    assert pvalues == sorted(pvalues, reverse=True)
    assert effects == sorted(effects)


def test_current_must_be_data() -> None:
    """What is neither a profile nor data is refused."""
    with pytest.raises(InvalidInputError):
        check_data_drift(profile({"x": [1.0]}), 3)
