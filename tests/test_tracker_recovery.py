"""Alerts that resolve themselves: with the last good evaluation, in its statement, once, whoever else writes."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import asyncpg
import pytest
from tests.factories import START, make_evaluation, make_evaluations, make_ref
from tests.writers import record

from model_perf import Alert, ModelPerformanceTracker, ModelRef, MonitoringPolicy, RecordedEvaluation

CALM = [1.00, 1.02, 0.98, 1.01, 0.99, 1.03, 0.97, 1.00, 1.01, 0.99, 1.02, 0.98, 1.00, 1.01]
BAD = 2.0
REF = make_ref()


async def record_all(
    tracker: ModelPerformanceTracker, values: list[float], first_day: int = 0, ref: ModelRef = REF
) -> list[RecordedEvaluation]:
    return [await record(tracker, one) for one in make_evaluations(values, first_day=first_day, ref=ref)]


async def alerted(tracker: ModelPerformanceTracker, ref: ModelRef = REF) -> Alert:
    """The open alert after a collapse on day 14."""
    *_, collapse = await record_all(tracker, [*CALM, BAD], ref=ref)
    assert collapse.alert is not None
    return collapse.alert


async def events(tracker: ModelPerformanceTracker, alert: Alert) -> list[str]:
    return [each.event for each in await tracker.alerts.list_events(alert.id)]


async def test_the_third_good_evaluation_resolves_the_alert(tracker: ModelPerformanceTracker) -> None:
    """It answers the alert as it is now; the log says that it recovered, why, and that nobody did it by hand."""
    alert = await alerted(tracker)
    good = await record_all(tracker, [1.0, 1.01, 0.99], first_day=15)
    assert [each.recovered is not None for each in good] == [False, False, True]
    assert await tracker.active_alerts() == []
    resolved = await tracker.alerts.fetch(alert.id)
    assert resolved == good[-1].recovered
    assert (resolved.resolution, resolved.resolved_by) == ("recovered", "model_perf")
    assert resolved.resolution_notes == "3 good evaluations in a row"
    assert resolved.resolved_timestamp == good[-1].evaluation.created_at
    assert await events(tracker, alert) == ["opened", "resolved"]


async def test_a_relapse_opens_a_new_alert_that_takes_longer(tracker: ModelPerformanceTracker) -> None:
    """The second alert within a week needs six good evaluations."""
    first = await alerted(tracker)
    await record_all(tracker, [1.0] * 3, first_day=15)
    [relapse] = await record_all(tracker, [BAD], first_day=18)
    assert relapse.alert is not None
    assert relapse.alert.id != first.id
    good = await record_all(tracker, [1.0] * 6, first_day=19)
    assert [each.recovered is not None for each in good] == [False] * 5 + [True]
    assert good[-1].recovered is not None
    assert good[-1].recovered.resolution_notes == "6 good evaluations in a row"


async def test_a_repeat_of_the_last_good_one_changes_nothing(tracker: ModelPerformanceTracker) -> None:
    """A retried record answers the same evaluation, and the log has one end."""
    alert = await alerted(tracker)
    *_, last = await record_all(tracker, [1.0, 1.01, 0.99], first_day=15)
    again = await record(tracker, last.evaluation)
    assert (again.is_new, again.recovered) == (False, None)
    assert await events(tracker, alert) == ["opened", "resolved"]


async def test_forty_good_evaluations_at_once_resolve_it_once(tracker: ModelPerformanceTracker) -> None:
    """Of forty tasks one writes the third good evaluation that counts: one alert, one end in the log."""
    alert = await alerted(tracker)
    days = [*range(15, 55)]
    found = await asyncio.gather(
        *(record(tracker, make_evaluation(day=day, metrics={"rmse": 1.0 + day / 1000})) for day in days)
    )
    # Late ones, overtaken by another, do not count; those that count are in the order of their windows.
    counted = sum(not each.drift.notes for each in found)
    assert sum(each.recovered is not None for each in found) == (counted >= 3)
    assert await events(tracker, alert) == ["opened", "resolved"][: 1 + (counted >= 3)]


async def test_the_same_three_from_forty_tasks_resolve_it_once(tracker: ModelPerformanceTracker) -> None:
    """Each good evaluation is sent forty times: one is new each time, and the third resolves."""
    alert = await alerted(tracker)
    for day in (15, 16, 17):
        one = make_evaluation(day=day, metrics={"rmse": 1.0})
        found = await asyncio.gather(*(record(tracker, one) for _ in range(40)))
        assert sum(each.is_new for each in found) == 1
        assert sum(each.recovered is not None for each in found) == (day == 17)
    assert await events(tracker, alert) == ["opened", "resolved"]


async def test_somebody_resolves_it_at_the_same_time(tracker: ModelPerformanceTracker) -> None:
    """By hand or by itself, one of the two: the log has one end."""
    for i in range(10):
        ref = make_ref(f"m{i}")
        alert = await alerted(tracker, ref)
        await record_all(tracker, [1.0, 1.01], first_day=15, ref=ref)
        third = make_evaluation(ref, day=17, metrics={"rmse": 0.99})
        await asyncio.gather(record(tracker, third), tracker.resolve_alert(alert.id, by="ana"), return_exceptions=True)
        assert await events(tracker, alert) == ["opened", "resolved"]
        assert (await tracker.alerts.fetch(alert.id)).resolution in ("recovered", "manual")


async def test_after_a_resolution_by_hand_nothing_is_counted(tracker: ModelPerformanceTracker) -> None:
    """The next three good evaluations resolve nothing: there is nothing to resolve."""
    alert = await alerted(tracker)
    await tracker.resolve_alert(alert.id, resolution="false_positive", by="ana")
    assert all(each.recovered is None for each in await record_all(tracker, [1.0] * 5, first_day=15))
    assert (await tracker.alerts.fetch(alert.id)).resolution == "false_positive"


async def test_an_alert_of_an_earlier_version_recovers_too(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """Old code beside new drops what it does not know from the state: an open alert is found all the same."""
    alert = await alerted(tracker)
    await pool.execute(f"UPDATE {tracker.schema}.model_drift_state SET state = state - 'recovery'")
    good = await record_all(tracker, [1.0, 1.01, 0.99], first_day=15)
    assert [each.recovered is not None for each in good] == [False, False, True]
    assert await events(tracker, alert) == ["opened", "resolved"]


async def test_an_alert_of_a_late_evaluation_recovers_too(tracker: ModelPerformanceTracker) -> None:
    """A late window does not enter the charts, and its alert is over by the same rule."""
    await record_all(tracker, CALM)
    late = await record(
        tracker, make_evaluation(day=3, metrics={"rmse": BAD}, id="0192d7a0-0000-7000-8000-000000000001")
    )
    assert late.alert is not None
    good = await record_all(tracker, [1.0, 1.01, 0.99], first_day=15)
    assert [each.recovered is not None for each in good] == [False, False, True]


async def test_a_batch_recovers_when_it_is_judged(tracker: ModelPerformanceTracker) -> None:
    """Good evaluations that came in bulk end the alert with the judgement of them, with the same words."""
    alert = await alerted(tracker)
    await tracker.record_many(make_evaluations([1.0, 1.01], first_day=15))
    await tracker.judge(REF)
    assert [each.id for each in await tracker.active_alerts()] == [alert.id]
    await tracker.record_many(make_evaluations([0.99], first_day=17))
    await tracker.judge(REF)
    resolved = await tracker.alerts.fetch(alert.id)
    assert (resolved.resolution, resolved.resolution_notes) == ("recovered", "3 good evaluations in a row")


async def test_a_rebuild_resolves_nothing_and_loses_nothing(tracker: ModelPerformanceTracker) -> None:
    """The count goes on from the history; a rebuild alone tells nobody anything."""
    alert = await alerted(tracker)
    await record_all(tracker, [1.0, 1.01], first_day=15)
    await tracker.rebuild_state(REF)
    assert [each.id for each in await tracker.active_alerts()] == [alert.id]
    [last] = await record_all(tracker, [0.99], first_day=17)
    assert last.recovered is not None


async def test_it_vanishes_with_the_hosts_transaction(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Evaluation, count and resolution roll back together."""
    alert = await alerted(tracker)
    await record_all(tracker, [1.0, 1.01], first_day=15)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        found = await record(tracker.bind(connection), make_evaluation(day=17, metrics={"rmse": 0.99}))
        assert found.recovered is not None
        await transaction.rollback()
    assert [each.id for each in await tracker.active_alerts()] == [alert.id]
    assert await events(tracker, alert) == ["opened"]
    [again] = await record_all(tracker, [0.99], first_day=17)
    assert again.recovered is not None


async def test_the_policy_of_the_writer_counts(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """A tracker with another number resolves by its own."""
    await alerted(tracker)
    patient = ModelPerformanceTracker(pool, schema=tracker.schema, policy=MonitoringPolicy(recover_after=5))
    good = await record_all(patient, [1.0] * 5, first_day=15)
    assert [each.recovered is not None for each in good] == [False] * 4 + [True]


@pytest.mark.parametrize("verdict", ["ok", "critical"])
async def test_without_an_open_alert_the_short_statement_is_used(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, verdict: str
) -> None:
    """The fast path reads no alert: its plan has neither the table nor an index of it."""
    query = tracker.metrics._queries["record"]
    assert "model_alerts" not in query
    await record_all(tracker, CALM)
    state = json.loads(await pool.fetchval(f"SELECT state::text FROM {tracker.schema}.model_drift_state"))
    assert state["recovery"] == [None, [], 0, None]
    await record_all(tracker, [BAD if verdict == "critical" else 1.0], first_day=14)
    state = json.loads(await pool.fetchval(f"SELECT state::text FROM {tracker.schema}.model_drift_state"))
    assert state["recovery"] == ([0, ["rmse"], 0, None] if verdict == "critical" else [None, [], 0, None])


async def test_a_batch_that_ends_well_is_alerted(tracker: ModelPerformanceTracker) -> None:
    """Ten bad windows and a good one are no good day: nothing is over by one. Each batch counts once, and three are."""
    await tracker.record_many(make_evaluations(CALM))
    await tracker.judge(REF)
    for first_day in (14, 25):
        await tracker.record_many(make_evaluations([BAD] * 10 + [1.0], first_day=first_day))
        await tracker.judge(REF)
    [alert] = await tracker.active_alerts()
    assert alert.occurrences == 2
    await tracker.judge(REF)
    await tracker.record_many(make_evaluations([1.0, 1.01], first_day=36))
    await tracker.judge(REF)
    assert (await tracker.alerts.fetch(alert.id)).resolution == "recovered"
    assert (await tracker.alerts.fetch(alert.id)).occurrences == 2


async def test_a_batch_whose_alarm_is_over_by_its_end_alerts_nobody(tracker: ModelPerformanceTracker) -> None:
    """Three good windows after the bad ones."""
    await tracker.record_many(make_evaluations([*CALM, BAD, BAD, 1.0, 1.01, 0.99]))
    await tracker.judge(REF)
    assert await tracker.active_alerts() == []


async def test_an_alert_of_a_window_that_is_dated_late_recovers(tracker: ModelPerformanceTracker) -> None:
    """In the order of windows its alarm is over long ago; the alert that it opens ends with the next good ones."""
    late = make_evaluation(
        evaluation_start=START + timedelta(days=9, hours=6),
        evaluation_end=START + timedelta(days=9, hours=12),
        evaluation_date=START + timedelta(days=20),
        metrics={"rmse": 9.0},
    )
    await tracker.record_many([*make_evaluations(CALM), late])
    await tracker.judge(REF)
    assert len(await tracker.active_alerts()) == 1
    good = await record_all(tracker, [1.0, 1.01, 0.99], first_day=21)
    assert [each.recovered is not None for each in good] == [False, False, True]


async def test_a_window_of_a_wrong_year_makes_no_other_late(tracker: ModelPerformanceTracker) -> None:
    """Its note says so; the charts go on, and an alert resolves itself, after a replay as before."""
    await record_all(tracker, CALM)
    wrong = await record(tracker, make_evaluation(day=100 * 365, metrics={"rmse": 1.0}))
    assert any("ends more than a year after it was recorded" in note for note in wrong.drift.notes)
    [bad, *_, good] = await record_all(tracker, [BAD, 1.0, 1.01, 0.99], first_day=14)
    assert bad.alert is not None
    assert good.recovered is not None
    again = await record_all(tracker, [BAD, 1.0], first_day=18)
    await tracker.rebuild_state(REF)
    last = await record_all(tracker, [1.0] * 5, first_day=20)
    assert again[0].alert is not None
    assert [each.recovered is not None for each in last] == [False] * 4 + [True]
