"""References of data and windows against them: kept once, counted once, alerted once."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import numpy as np
import pytest
from tests.factories import START, make_id, make_ref

from model_perf import (
    ConflictError,
    DriftReport,
    InvalidInputError,
    ModelPerformanceTracker,
    MonitoringPolicy,
    NotFoundError,
    drift,
)

REF = make_ref()
DAY = timedelta(days=1)


def make_data(n: int, seed: int, shift: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"load": rng.normal(4.6 + shift, 0.8, n), "site": rng.choice(["a", "b", "c"], n)}


def window(day: int) -> dict[str, Any]:
    return {"window_start": START + day * DAY, "window_end": START + (day + 1) * DAY}


@pytest.fixture
async def watched(tracker: ModelPerformanceTracker) -> ModelPerformanceTracker:
    """A tracker with a reference of 5,000 rows."""
    await tracker.set_reference(REF, make_data(5000, 1), created_by="ada")
    return tracker


async def rows_of(pool: asyncpg.Pool, tracker: ModelPerformanceTracker, table: str) -> int:
    return int(await pool.fetchval(f"SELECT count(*) FROM {tracker.schema}.{table}"))


async def test_a_reference_comes_back_as_it_was(watched: ModelPerformanceTracker) -> None:
    """Through bytea, with the deployment registered at first sight."""
    stored = await watched.drift.fetch_reference(REF)
    assert drift.DatasetProfile.from_bytes(stored.profile).to_dict() == drift.profile(make_data(5000, 1)).to_dict()
    assert [model.ref for model in (await watched.list_models()).items] == [REF]


async def test_a_window_like_the_reference_is_ok(watched: ModelPerformanceTracker) -> None:
    """The verdict is the pure function's; the report is kept and comes back."""
    data = make_data(500, 2)
    report = await watched.check_data_drift(REF, data, **window(0), created_by="ada")
    alone = drift.check_data_drift(drift.profile(make_data(5000, 1)), data)
    assert (report.verdict, report.drift_detected, report.columns) == ("ok", False, alone.columns)
    kept = await watched.drift.fetch_newest_report(REF)
    assert kept is not None
    assert drift.DataDriftReport.from_dict(kept.report).columns == report.columns
    assert (kept.window_start, kept.window_end, kept.created_by) == (START, START + DAY, "ada")
    assert (kept.alarm_value, kept.alarm_limit) == (report.alarm_value, 500.0)
    assert await watched.active_alerts() == []


async def test_a_change_opens_one_alert(watched: ModelPerformanceTracker) -> None:
    """At once for a large change; the alarm stands still then, and further windows are its repeats."""
    first = await watched.check_data_drift(REF, make_data(500, 3, shift=0.8), **window(0))
    assert first.drifted_columns == ("load",)
    assert first.alarm_value is not None
    assert first.alarm_value >= 500.0
    (alert,) = await watched.active_alerts()
    assert (alert.alert_type, alert.severity, alert.occurrences) == ("data_drift", "critical", 1)
    assert "1 of 2 columns have drifted (load)" in alert.alert_message
    again = await watched.check_data_drift(REF, make_data(500, 4, shift=0.8), **window(1))
    assert again.alarm_value == first.alarm_value
    calm = await watched.check_data_drift(REF, make_data(500, 5), **window(2))
    assert calm.verdict == "ok"
    (alert,) = await watched.active_alerts()
    assert alert.occurrences == 2


async def test_a_lost_column_opens_an_alert_at_once(watched: ModelPerformanceTracker) -> None:
    """It is no matter of chance, so nothing is waited for; of a window without any column of the reference too."""
    await watched.check_data_drift(REF, {"load": make_data(500, 2)["load"]}, **window(0))
    (alert,) = await watched.active_alerts()
    assert (alert.severity, "1 of 2 columns have drifted (site)" in alert.alert_message) == ("critical", True)
    await watched.resolve_alert(alert.id)
    report = await watched.check_data_drift(REF, {"other": [1.0] * 50}, **window(1))
    assert (report.pvalue, report.drifted_columns) == (None, ("load", "site"))
    assert len(await watched.active_alerts()) == 1


async def test_resolving_the_alert_starts_from_zero(watched: ModelPerformanceTracker) -> None:
    """Both or neither; a drift that goes on opens a new alert."""
    await watched.check_data_drift(REF, make_data(500, 3, shift=0.8), **window(0))
    (alert,) = await watched.active_alerts()
    await watched.resolve_alert(alert.id, resolution="manual", by="ada")
    calm = await watched.check_data_drift(REF, make_data(500, 5), **window(1))
    assert calm.alarm_value == 0.5
    await watched.check_data_drift(REF, make_data(500, 6, shift=0.8), **window(2))
    (new,) = await watched.active_alerts()
    assert new.id != alert.id


async def test_an_alert_resolved_past_the_tracker_is_not_opened_by_a_calm_window(
    watched: ModelPerformanceTracker,
) -> None:
    """`alerts.resolve` knows nothing of the alarm: it starts from zero all the same."""
    await watched.check_data_drift(REF, make_data(500, 3, shift=0.8), **window(0))
    (alert,) = await watched.active_alerts()
    await watched.alerts.resolve(alert.id)
    calm = await watched.check_data_drift(REF, make_data(500, 5), **window(1))
    assert (calm.alarm_value, await watched.active_alerts()) == (0.5, [])
    await watched.check_data_drift(REF, make_data(500, 6, shift=0.8), **window(2))
    assert len(await watched.active_alerts()) == 1


async def test_what_windows_show_together_is_told_so(tracker: ModelPerformanceTracker) -> None:
    """Where no column of the last window has drifted by itself, the alert does not say that none has."""
    rng = np.random.default_rng(4)
    reference = await tracker.set_reference(REF, {f"x{i}": rng.normal(size=5000) for i in range(5)})
    draws = [{f"x{i}": rng.normal(0.36 * (i == 2), 1.0, 60) for i in range(5)} for _ in range(100)]
    # Below alpha they would be found by themselves; above .25 they are evidence for no change.
    # Five columns: the report's p is five times that of the one that moved.
    weak = next(
        each
        for each in draws
        if 0.012 < (drift.check_data_drift(reference, each).columns["x2"].pvalue or 0.0) < 0.03
        and (drift.check_data_drift(reference, each).pvalue or 0.0) > 0.06
    )
    for day in range(30):
        report = await tracker.check_data_drift(REF, weak, **window(day))
        if alerts := await tracker.active_alerts():
            break
    assert report.drifted_columns == ()
    assert alerts[0].alert_message.endswith("windows together show what this one alone does not, most in x2")


async def test_the_same_check_counts_once(watched: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """A repeat with its id answers the first report, and neither the alarm nor the alert moves."""
    number = make_id("check")
    first = await watched.check_data_drift(REF, make_data(500, 3, shift=0.8), check_id=number, **window(0))
    again = await watched.check_data_drift(REF, make_data(500, 9), check_id=str(number), **window(1))
    assert again == first
    assert await rows_of(pool, watched, "model_drift_reports") == 1
    (alert,) = await watched.active_alerts()
    assert alert.occurrences == 1


async def test_an_overlapping_window_is_kept_and_not_counted(watched: ModelPerformanceTracker) -> None:
    """Its verdict is shown, the alarm does not move; without a start a window follows the last one."""
    first = await watched.check_data_drift(REF, make_data(500, 2), **window(0))
    overlapping = await watched.check_data_drift(REF, make_data(500, 3, shift=0.3), **window(0))
    assert overlapping.alarm_value == first.alarm_value
    unsaid = await watched.check_data_drift(REF, make_data(500, 4))
    assert unsaid.alarm_value != first.alarm_value
    period: dict[str, Any] = {"since": START, "until": datetime.max.replace(tzinfo=START.tzinfo) - DAY}
    page = await watched.drift.list_reports(REF, **period, limit=2)
    rest = await watched.drift.list_reports(REF, **period, limit=2, cursor=page.next_cursor)
    assert [len(page.items), len(rest.items), rest.next_cursor] == [2, 1, None]


async def test_a_new_reference_starts_from_zero(watched: ModelPerformanceTracker) -> None:
    """What windows added up to against the old one says nothing of the new one."""
    for day, value in ((0, 0.5), (1, 0.75)):
        assert (await watched.check_data_drift(REF, make_data(500, day), **window(day))).alarm_value == value
    await watched.set_reference(REF, drift.profile(make_data(5000, 7, shift=0.25)))
    after = await watched.check_data_drift(REF, make_data(500, 8, shift=0.25), **window(0))
    assert (after.verdict, after.alarm_value) == ("ok", 0.5)


async def test_segments_have_references_and_alarms_of_their_own(watched: ModelPerformanceTracker) -> None:
    """A change in one shift says nothing of the other."""
    await watched.set_reference(REF, make_data(5000, 1, shift=2.0), segment="night")
    night = await watched.check_data_drift(REF, make_data(500, 2, shift=2.0), segment="night", **window(0))
    assert night.verdict == "ok"
    await watched.check_data_drift(REF, make_data(500, 2), segment="night", **window(1))
    (alert,) = await watched.active_alerts()
    assert "of segment night" in alert.alert_message
    day = await watched.check_data_drift(REF, make_data(500, 2), **window(2))
    assert (day.verdict, day.alarm_value) == ("ok", 0.5)
    await watched.resolve_alert(alert.id)
    calm = await watched.check_data_drift(REF, make_data(500, 3, shift=2.0), segment="night", **window(3))
    assert calm.alarm_value == 0.5


async def test_without_a_reference_nothing_is_written(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """It says which call keeps one."""
    with pytest.raises(NotFoundError, match="set_reference"):
        await tracker.check_data_drift(REF, make_data(50, 1))
    assert await rows_of(pool, tracker, "model_drift_reports") == 0


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        ("check_id", {"check_id": "x"}),
        ("window_end", {"window_start": START, "window_end": START}),
        ("window_start", {"window_start": datetime(2024, 1, 1)}),  # noqa: DTZ001 - refused for that
        ("segment", {"segment": "x" * 201}),
        ("load", {"data": {"load": [[1.0]]}}),
    ],
)
async def test_bad_input_is_named(
    watched: ModelPerformanceTracker, pool: asyncpg.Pool, argument: str, wrong: dict[str, Any]
) -> None:
    """And nothing is written."""
    given: dict[str, Any] = {"data": make_data(50, 1)} | wrong
    with pytest.raises(InvalidInputError) as refused:
        await watched.check_data_drift(REF, given.pop("data"), **given)
    assert refused.value.argument == argument
    assert await rows_of(pool, watched, "model_drift_reports") == 0


@pytest.mark.parametrize(
    ("argument", "data", "more"),
    [
        ("data", {}, {}),
        ("data", {"load": []}, {}),
        ("data", drift.profile({"load": []}), {}),
        ("rows", drift.profile({"load": [1.0]}), {"rows": "time_ordered"}),
        ("rows", drift.profile({"load": [1.0]}), {"timestamps": [START]}),
        ("rows", {"load": [1.0]}, {"rows": "sorted"}),
        ("data['a\\x00b']", {"a\x00b": [1.0]}, {}),
        ("data['\\ud800']", {"\ud800": [1.0]}, {}),
    ],
)
async def test_a_bad_reference_replaces_nothing(
    watched: ModelPerformanceTracker, argument: str, data: Any, more: dict[str, Any]
) -> None:
    """What a query gave that found nothing, or a name that no report could hold, is refused by name."""
    before = await watched.drift.fetch_reference(REF)
    with pytest.raises(InvalidInputError) as refused:
        await watched.set_reference(REF, data, **more)
    assert refused.value.argument == argument
    assert await watched.drift.fetch_reference(REF) == before


async def test_a_window_of_unstorable_names_is_refused(watched: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """A new column is listed in the report, which PostgreSQL could not keep."""
    with pytest.raises(InvalidInputError, match="NUL"):
        await watched.check_data_drift(REF, make_data(50, 1) | {"\x00": [1.0] * 50})
    assert await rows_of(pool, watched, "model_drift_reports") == 0


async def test_a_thousand_columns(tracker: ModelPerformanceTracker) -> None:
    """They are one row each of reference and report; the alert names the first three."""
    rng = np.random.default_rng(1)
    await tracker.set_reference(REF, {f"x{i}": rng.normal(size=300) for i in range(1000)})
    report = await tracker.check_data_drift(REF, {f"x{i}": rng.normal(3.0, 1.0, 300) for i in range(1000)})
    assert (report.headline, report.alarm_value) == ("1000 of 1000 columns have drifted", 1e12)
    (alert,) = await tracker.active_alerts()
    assert alert.alert_message.endswith("...)")
    assert len(alert.alert_message) < 200
    details: Any = alert.alert_details
    assert [each["name"] for each in details["columns"]] == list(report.drifted_columns[:30])
    assert (details["n_columns"], details["n_added_columns"]) == (1000, 0)


async def test_ten_checks_at_once_are_all_counted(watched: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Each loser of the race reads the alarm again: the windows count in the order in which they were written."""
    calls = [watched.check_data_drift(REF, make_data(500, day), **window(day)) for day in range(10)]
    reports = await asyncio.gather(*calls)
    assert all(report.alarm_value is not None for report in reports)
    assert await rows_of(pool, watched, "model_drift_reports") == 10
    version = await pool.fetchval(f"SELECT version FROM {watched.schema}.model_drift_state WHERE detector = 'data'")
    assert version == 11  # the reference, and a step for each


async def test_one_check_twenty_times_at_once_is_one(watched: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """One report, one alert, one occurrence."""
    number, data = uuid4(), make_data(500, 3, shift=0.8)
    calls = [watched.check_data_drift(REF, data, check_id=number, **window(0)) for _ in range(20)]
    reports = await asyncio.gather(*calls)
    assert all(report == reports[0] for report in reports)
    assert await rows_of(pool, watched, "model_drift_reports") == 1
    (alert,) = await watched.active_alerts()
    assert alert.occurrences == 1


async def test_a_reference_replaced_meanwhile_is_told(watched: ModelPerformanceTracker) -> None:
    """The verdict was one against another reference: of many replacements and checks at once, none mixes them up."""
    calls = [watched.check_data_drift(REF, make_data(2000, day), **window(day)) for day in range(5)]
    replacements = [watched.set_reference(REF, make_data(100, seed)) for seed in range(20)]
    answers = await asyncio.gather(*calls, *replacements, return_exceptions=True)
    told = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(each, ConflictError) and "replaced" in str(each) for each in told)
    assert told


async def test_bound_calls_vanish_with_the_hosts_transaction(
    watched: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """Reference, report, alarm and alert roll back together."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        bound = watched.bind(connection)
        await bound.set_reference(REF, make_data(5000, 9))
        await bound.check_data_drift(REF, make_data(500, 3, shift=0.8), **window(0))
        assert len(await bound.active_alerts()) == 1
        await transaction.rollback()
    assert await watched.active_alerts() == []
    assert await rows_of(pool, watched, "model_drift_reports") == 0


async def test_the_policy_sets_what_matters(tracker: ModelPerformanceTracker) -> None:
    """A host that wants to hear of smaller changes says so."""
    strict = ModelPerformanceTracker(
        tracker.pool, schema=tracker.schema, policy=MonitoringPolicy(drift_warning=0.02, drift_critical=0.05)
    )
    await strict.set_reference(REF, make_data(5000, 1))
    data = make_data(2000, 2, shift=0.25)
    assert (await strict.check_data_drift(REF, data, **window(0))).verdict == "critical"
    assert (await tracker.check_data_drift(REF, data, **window(1))).drift_detected is False


async def test_check_drift_shows_both(watched: ModelPerformanceTracker) -> None:
    """The newest verdict on the input stands beside that on the performance, and does not change it."""
    assert (await watched.check_drift(REF)).data is None
    report = await watched.check_data_drift(REF, make_data(500, 3, shift=0.8), **window(0))
    both = await watched.check_drift(REF)
    assert both.data == report
    assert (both.verdict, both.drift_detected) == ("insufficient_data", None)
    assert (both.drift_type, both.drift_types) == ("data_drift", ("data_drift",))
    assert DriftReport.from_dict(json.loads(json.dumps(both.to_dict()))) == both
    await watched.check_data_drift(REF, make_data(500, 4), **window(1))
    calm = await watched.check_drift(REF)
    assert calm.data is not None
    assert (calm.drift_type, calm.data.verdict, calm.data.window_end) == ("insufficient_data", "ok", START + 2 * DAY)


async def test_three_good_windows_resolve_the_alert(watched: ModelPerformanceTracker) -> None:
    """With the third, in its statement; the alarm is at zero then, and the next drift opens a new alert."""
    await watched.check_data_drift(REF, make_data(500, 3, shift=0.8), **window(0))
    (alert,) = await watched.active_alerts()
    for day in (1, 2):
        await watched.check_data_drift(REF, make_data(500, 4 + day), **window(day))
        assert [each.id for each in await watched.active_alerts()] == [alert.id]
    third = await watched.check_data_drift(REF, make_data(500, 9), **window(3))
    assert (third.alarm_value, await watched.active_alerts()) == (0.0, [])
    resolved = await watched.alerts.fetch(alert.id)
    assert (resolved.resolution, resolved.resolution_notes) == ("recovered", "3 good windows in a row")
    assert [each.event for each in await watched.alerts.list_events(alert.id)] == ["opened", "resolved"]
    await watched.check_data_drift(REF, make_data(500, 3, shift=0.8), **window(4))
    (relapse,) = await watched.active_alerts()
    assert relapse.id != alert.id
    for day in range(5, 10):
        await watched.check_data_drift(REF, make_data(500, day), **window(day))
    assert [each.id for each in await watched.active_alerts()] == [relapse.id]
    await watched.check_data_drift(REF, make_data(500, 11), **window(10))
    assert await watched.active_alerts() == []


async def test_the_same_good_window_forty_times_is_one(watched: ModelPerformanceTracker) -> None:
    """Forty checks of the third good window at once, each with an id of its own: one end in the log."""
    await watched.check_data_drift(REF, make_data(500, 3, shift=0.8), **window(0))
    (alert,) = await watched.active_alerts()
    for day in (1, 2, 3):
        data = drift.profile(make_data(500, day), reference=drift.profile(make_data(5000, 1)))
        await asyncio.gather(
            *(watched.check_data_drift(REF, data, **window(day)) for _ in range(40 if day == 3 else 1))
        )
    assert [each.event for each in await watched.alerts.list_events(alert.id)] == ["opened", "resolved"]


async def test_resolving_by_hand_ends_the_count(watched: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Two good windows before it do not help the next alert."""
    await watched.check_data_drift(REF, make_data(500, 3, shift=0.8), **window(0))
    (alert,) = await watched.active_alerts()
    for day in (1, 2):
        await watched.check_data_drift(REF, make_data(500, day), **window(day))
    state = f"SELECT state::text FROM {watched.schema}.model_drift_state WHERE detector = 'data'"
    assert json.loads(await pool.fetchval(state))["recovery"][0] == 2
    await watched.resolve_alert(alert.id)
    assert json.loads(await pool.fetchval(state))["recovery"][0] is None
    await watched.check_data_drift(REF, make_data(500, 3, shift=0.8), **window(3))
    await watched.check_data_drift(REF, make_data(500, 4), **window(4))
    assert len(await watched.active_alerts()) == 1


async def test_unchanged_windows_open_few_alerts_with_recovery_too(watched: ModelPerformanceTracker) -> None:
    """Of 200 windows without a change, at a limit of 500, at most two open an alert (Poisson of 0.4: 99%)."""
    reference = drift.profile(make_data(5000, 1))
    for day in range(200):
        data = drift.profile(make_data(300, 1000 + day), reference=reference)
        await watched.check_data_drift(REF, data, **window(day))
    assert len((await watched.alerts.list_alerts()).items) <= 2
