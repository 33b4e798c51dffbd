"""The alarm over time: what it counts, how often it cries wolf, how soon it finds a change."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from tests.factories import START

from model_perf import InvalidInputError, SchemaError
from model_perf.drift import DataDriftReport, DriftAlarm, advance_alarm, check_data_drift, profile
from model_perf.drift._alarm import watch_recovery
from model_perf.policy import MonitoringPolicy

DAY = timedelta(days=1)
RUN_LENGTH = 500.0


def report_of(pvalue: float | None) -> DataDriftReport:
    return DataDriftReport(verdict="ok", n_reference=100, n_current=100, rows="independent", pvalue=pvalue, alpha=0.05)


def advanced(alarm: DriftAlarm, pvalue: float | None, day: float = 0.0) -> DriftAlarm:
    start = START + day * DAY
    return advance_alarm(alarm, report_of(pvalue), window_start=start, window_end=start + DAY)


def test_the_value_is_shiryaev_and_roberts() -> None:
    """R becomes (R + 1) / (2 sqrt p): by hand (0 + 1) * .5 = .5, then 1.5 * 5 = 7.5."""
    once = advanced(DriftAlarm(), 1.0)
    assert (once.value, once.n, once.last_end) == (0.5, 1, START + DAY)
    assert advanced(once, 0.01, day=1).value == pytest.approx(7.5)


def test_a_single_window_can_raise_it() -> None:
    """One window with p = 1e-6 is as much as 500 without a change."""
    assert advanced(DriftAlarm(), 1e-6).is_raised(RUN_LENGTH)
    assert not advanced(DriftAlarm(), 1.1e-6).is_raised(RUN_LENGTH)


@pytest.mark.parametrize("day", [0.0, 0.5, 0.99, -3.0])
def test_a_window_that_overlaps_the_last_is_not_counted(day: float) -> None:
    """The same data again are no further evidence."""
    once = advanced(DriftAlarm(), 0.1)
    assert advanced(once, 1e-9, day=day) == once
    assert advanced(once, 1e-9, day=1.0) != once


def test_what_could_not_be_tested_is_not_counted() -> None:
    """No p-value, no evidence; the next window may begin where this one did."""
    assert advanced(DriftAlarm(), None) == DriftAlarm()


@pytest.mark.parametrize("window", [{"y": [1.0] * 50}, {"x": ["a"] * 50, "y": [1.0] * 50}, {"x": ["a"] * 50}])
def test_what_is_certain_raises_it_at_once(window: Any) -> None:
    """An absent column, or one of another type, is no matter of chance, whether or not another could be tested."""
    report = check_data_drift(profile({"x": np.arange(100.0), "y": np.ones(100)}), window)
    span = {"window_start": START, "window_end": START + DAY}
    assert advance_alarm(DriftAlarm(), report, **span) == DriftAlarm(value=1e12, n=1, last_end=START + DAY)
    once = advanced(DriftAlarm(), 0.1)
    assert advance_alarm(once, report, **span) == once


def test_the_value_is_cut() -> None:
    """However long a drift lasts, the value stays a number that JSON can hold."""
    alarm = DriftAlarm()
    for day in range(50):
        alarm = advanced(alarm, 1e-300, day=day)
    assert alarm.value == 1e12
    assert alarm.restart() == DriftAlarm(last_end=alarm.last_end)


def test_the_json_form_comes_back() -> None:
    """Through text, at zero and beyond; a newer version is refused."""
    for alarm in (DriftAlarm(), advanced(DriftAlarm(), 0.003)):
        assert DriftAlarm.from_dict(json.loads(json.dumps(alarm.to_dict()))) == alarm
    with pytest.raises(SchemaError, match="version 2"):
        DriftAlarm.from_dict({"v": 2})


def test_a_window_that_ends_before_it_starts_is_refused() -> None:
    """By the name of the argument."""
    with pytest.raises(InvalidInputError, match="window_end"):
        advance_alarm(DriftAlarm(), report_of(0.5), window_start=START, window_end=START)


def test_the_mean_run_length_is_the_limit_at_least() -> None:
    """With exact p-values: of 4,000 runs of 500 windows about 1 - exp(-1) = .63 would be allowed to alarm."""
    rng = np.random.default_rng(11)
    value, raised = np.zeros(4000), np.zeros(4000, dtype=bool)
    for _ in range(500):
        value = (value + 1.0) * 0.5 / np.sqrt(rng.uniform(size=4000))
        raised |= value >= RUN_LENGTH
    # Roberts' limit is a bound; with this heavy-tailed evidence runs are about twice as long.
    assert raised.mean() <= 0.63


def runs_until_alarm(rng: np.random.Generator, shift: float, longest: int) -> int | None:
    """Windows of 200 rows and 5 columns, against a reference of 5,000, until the alarm; None = not within *longest*."""
    reference = profile({f"x{i}": rng.normal(size=5000) for i in range(5)})
    alarm = DriftAlarm()
    for day in range(longest):
        window = {f"x{i}": rng.normal(shift * (i == 0), 1.0, 200) for i in range(5)}
        report = check_data_drift(reference, window)
        start = START + day * DAY
        alarm = advance_alarm(alarm, report, window_start=start, window_end=start + DAY)
        if alarm.is_raised(RUN_LENGTH):
            return day + 1
    return None


def test_unchanged_windows_raise_no_alarm() -> None:
    """Of 20 references with 60 unchanged windows each at most 2 alarm: 1 in 500 allows 2.3 on average, the filter of
    small effects leaves next to none (the design simulated .00 within 100)."""
    rng = np.random.default_rng(12)
    assert sum(runs_until_alarm(rng, 0.0, 60) is not None for _ in range(20)) <= 2


@pytest.mark.parametrize(("shift", "low", "high"), [(0.5, 1.0, 2.0), (0.3, 2.0, 9.0)])
def test_a_change_is_found_within_a_few_windows(shift: float, low: float, high: float) -> None:
    """The design simulated a mean of 1.3 windows for half a standard deviation and of 5.7 for .3, where single
    references take up to 44; the median of 80 was 1 and 5."""
    rng = np.random.default_rng(13)
    delays = [runs_until_alarm(rng, shift, 150) or 999 for _ in range(25)]
    assert low <= np.median(delays) <= high


POLICY = MonitoringPolicy()
CALM = {"x": np.arange(200.0), "y": np.arange(200.0)}
REFERENCE = profile(CALM)


def watched(alarm: DriftAlarm, window: Any, day: float) -> DriftAlarm:
    start = START + day * DAY
    report = window if isinstance(window, DataDriftReport) else check_data_drift(REFERENCE, window)
    return watch_recovery(alarm, report, window_start=start, window_end=start + DAY, policy=POLICY)


def raised() -> DriftAlarm:
    """An alarm that column x has raised on day 0."""
    alarm = DriftAlarm(value=1e3, n=1, last_end=START + DAY)
    return evolve(alarm, recovery=alarm.recovery.alarmed(["x"], START + DAY, POLICY))


def test_three_good_windows_in_a_row_end_the_alarm() -> None:
    """It is at zero then and remembers when; a drift in between starts the count again."""
    alarm, values = raised(), []
    for day, window in enumerate([CALM, CALM, {**CALM, "x": np.arange(200.0) + 99}, CALM, CALM, CALM], start=1):
        alarm = watched(alarm, window, day)
        values.append((alarm.value, alarm.recovery.n_good))
    assert values == [(1e3, 1), (1e3, 2), (1e3, 0), (1e3, 1), (1e3, 2), (0.0, None)]
    assert (alarm.last_end, alarm.recovery.recovered_at) == (START + 7 * DAY, START + 7 * DAY)


@pytest.mark.parametrize(("pvalue", "n_good"), [(1.0, 1), (0.26, 1), (0.25, 0), (0.06, 0)])
def test_a_window_that_is_merely_not_flagged_is_not_good(pvalue: float, n_good: int) -> None:
    """Above p = 1/4 the evidence is below 1, which speaks against a change; at alpha it does not."""
    alarm = evolve(raised(), recovery=raised().recovery.settled().alarmed((), START, POLICY))
    assert watched(alarm, report_of(pvalue), 1).recovery.n_good == n_good


@pytest.mark.parametrize("window", [report_of(None), {"x": [0.0, 100.0, 199.0], "y": [0.0, 100.0, 199.0]}])
def test_a_window_that_says_nothing_of_the_column_counts_neither_way(window: Any) -> None:
    """Whether the column has recovered is unknown."""
    once = watched(raised(), CALM, 1)
    assert watched(once, window, 2) == once


def test_an_overlapping_window_is_no_further_one() -> None:
    """The same calm data three times are one good window."""
    once = watched(raised(), CALM, 1)
    assert watched(once, CALM, 1) == watched(once, CALM, 1.5) == once


def test_an_alert_that_nobody_counted_for_is_counted_from_now() -> None:
    """A state of an earlier version, or one that was reset by a new reference."""
    alarm = DriftAlarm.from_dict({"v": 1, "value": 0.0, "n": 0, "last_end": None})
    assert not alarm.recovery.is_open
    assert [alarm := watched(alarm, CALM, day) for day in range(3)][-1].recovery.n_good is None
