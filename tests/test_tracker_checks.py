"""One round of what is due: failed runs, silent models, due tests, alerts that a new version has answered."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import asyncpg
import pytest
from tests.factories import START, Clock, make_evaluation, make_evaluations, make_id, make_ref
from tests.rounds import CALM, DAY, HOUR, REF, evaluate, ids, open_alert, run_and_complete, run_and_fail
from tests.writers import record

from model_perf import (
    AutomationPolicy,
    AutomationRule,
    ChecksReport,
    DeliveryReport,
    ModelPerformanceTracker,
    MonitoringPolicy,
    StorageError,
)
from model_perf.notify import CallableChannel, Message


async def test_where_nothing_is_due_nothing_is_done(timed: ModelPerformanceTracker) -> None:
    """On empty tables every step is done and finds nothing."""
    report = await timed.run_checks()
    assert report.is_ok
    assert [getattr(report, step.name) for step in report.steps] == [0, (), (), (), (), (), ()]
    assert all(step.duration_s >= 0.0 for step in report.steps)
    assert report.started_at == START
    assert json.loads(json.dumps(report.to_dict()))["stale"] == []


async def test_a_failed_run_is_told_once(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Its slot has one alert with the reason; the next failure counts in it, and each one once."""
    clock.now += DAY
    run = await run_and_fail(timed)
    [alert] = (await timed.run_checks()).failures or ()
    assert (alert.alert_type, alert.severity, alert.occurrences) == ("training_failed", "warning", 1)
    assert alert.alert_message == "baseline: the training has failed in attempt 1: no rows"
    assert alert.alert_details == {"run_id": str(run.id), "attempt": 1, "error_message": "no rows"}
    assert alert.last_seen_at == run.training_end
    assert (await timed.run_checks()).failures == ()
    clock.now += DAY
    await run_and_fail(timed)
    await run_and_fail(timed)
    [again] = (await timed.run_checks()).failures or ()
    assert (again.id, again.occurrences) == (alert.id, 3)


async def test_a_failure_that_is_found_late_is_told(
    pool: asyncpg.Pool, timed: ModelPerformanceTracker, clock: Clock
) -> None:
    """A round a week, of what has failed right after the one before: the alert opens now, and nobody is too late."""
    told: list[Message] = []
    tracker = ModelPerformanceTracker(
        pool, schema=timed.schema, clock=clock, channels=[CallableChannel(told.append, name="ops")]
    )
    run = await run_and_fail(tracker)
    clock.now += 7 * DAY
    report = await tracker.run_checks()
    [alert] = report.failures or ()
    assert (alert.alert_timestamp, alert.last_seen_at) == (clock.now, run.training_end)
    assert report.notifications == DeliveryReport(n_routed=1, n_delivered=1)
    assert len(told) == 1


async def test_a_failure_of_long_ago_is_in_the_inbox_only(
    pool: asyncpg.Pool, timed: ModelPerformanceTracker, clock: Clock
) -> None:
    """What an import brings of years is not told when the first round finds it; up to 30 days ago, it is."""
    told: list[Message] = []
    channels = [CallableChannel(told.append)]
    tracker = ModelPerformanceTracker(pool, schema=timed.schema, clock=clock, channels=channels)
    old = await run_and_fail(tracker)
    clock.now += HOUR
    await run_and_fail(tracker, make_id("other"))
    clock.now = START + 30 * DAY + HOUR
    assert len((await tracker.run_checks()).failures or ()) == 2
    assert [message.payload["model"]["machine_id"] for message in told] == [str(make_id("other"))]
    [alert] = await tracker.active_alerts(machine_id=old.machine_id)
    assert alert.alert_timestamp == alert.last_seen_at == old.training_end


async def test_a_later_run_mends_it(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """As retrained; a failure that a later run had made good before anybody looked is not told."""
    await run_and_fail(timed)
    [alert] = (await timed.run_checks()).failures or ()
    clock.now += HOUR
    await run_and_complete(timed)
    report = await timed.run_checks()
    assert ids(report.failures_mended) == [alert.id]
    assert (await timed.alerts.fetch(alert.id)).resolution == "retrained"
    clock.now += HOUR
    await run_and_fail(timed)
    clock.now += HOUR
    await run_and_complete(timed)
    assert (await timed.run_checks()).failures == ()


async def test_a_run_that_lost_its_worker_is_ended_and_told(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """In one round: it fails since its last lease is over, and the alert says so."""
    await timed.training.open_run(model_type="baseline", machine_id=REF.machine_id, max_attempts=1)
    await timed.training.claim("w", lease=HOUR)
    clock.now += 2 * HOUR
    report = await timed.run_checks()
    assert report.expired_runs == 1
    [alert] = report.failures or ()
    assert "lease expired" in alert.alert_message


async def test_a_failure_that_somebody_resolved_is_not_told_again(timed: ModelPerformanceTracker) -> None:
    """The run is marked, whatever becomes of its alert."""
    await run_and_fail(timed)
    [alert] = (await timed.run_checks()).failures or ()
    await timed.resolve_alert(alert.id, by="ana")
    assert (await timed.run_checks()).failures == ()


async def test_due_tests_are_concluded_once(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """A test past its end is in the report of the round that ended it."""
    await record(timed, make_evaluation(day=-1))
    test = await timed.start_ab_test(name="t", model_a=REF, model_b=make_ref(version=2), duration=DAY, metric="rmse")
    assert (await timed.run_checks()).concluded_tests == ()
    clock.now = test.test_end + DAY
    assert (await timed.run_checks()).concluded_tests == (test.id,)
    assert (await timed.run_checks()).concluded_tests == ()


async def test_a_step_that_fails_is_told_and_keeps_no_other(
    timed: ModelPerformanceTracker, clock: Clock, pool: asyncpg.Pool
) -> None:
    """Without the tests' table two steps fail by name; failures and silences are told all the same."""
    await evaluate(timed, clock, range(5))
    await run_and_fail(timed)
    clock.now += 5 * DAY
    await pool.execute(f"ALTER TABLE {timed.schema}.model_ab_tests RENAME TO gone")
    report = await timed.run_checks()
    assert not report.is_ok
    assert {step.name for step in report.steps if step.errors} == {"concluded_tests", "retrained"}
    assert (report.concluded_tests, report.retrained) == (None, None)
    assert (len(report.failures or ()), len(report.stale or ())) == (1, 1)
    assert any("model_ab_tests" in error for step in report.steps for error in step.errors)
    assert report.to_dict()["retrained"] is None


async def test_one_alert_that_cannot_be_resolved_keeps_no_other(
    timed: ModelPerformanceTracker, clock: Clock, pool: asyncpg.Pool
) -> None:
    """Its error is told, with its id, beside what was resolved; whoever asks for one run alone gets it raised."""
    bad, good = await open_alert(timed), await open_alert(timed, make_ref(version=0))
    await pool.execute(
        f"""CREATE FUNCTION {timed.schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'not this one'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON {timed.schema}.model_alerts FOR EACH ROW
            WHEN (OLD.id = '{bad.id}') EXECUTE FUNCTION {timed.schema}.refuse()"""
    )
    clock.now += HOUR
    run = await run_and_complete(timed)
    with pytest.raises(StorageError, match="not this one"):
        await timed.resolve_retrained(run.id)
    assert (await timed.alerts.fetch(good.id)).resolution == "retrained"
    good = await open_alert(timed, make_ref(version=1, machine="press", name="m"))
    clock.now += HOUR
    await run_and_complete(timed)
    report = await timed.run_checks()
    assert ids(report.retrained) == [good.id]
    [(name, errors)] = [(step.name, step.errors) for step in report.steps if step.errors]
    assert name == "retrained"
    assert len(errors) == 1
    assert str(bad.id) in errors[0]


async def test_forty_rounds_at_once_do_it_once(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Each failure, silence and answer is in one of forty reports, and once in the log."""
    await evaluate(timed, clock, range(5))
    await open_alert(timed)
    machines = [make_ref(machine=f"press {i}").machine_id for i in range(5)]
    for machine in machines:
        await run_and_fail(timed, machine)
    clock.now += HOUR
    await run_and_complete(timed)
    clock.now += 5 * DAY
    reports: list[ChecksReport] = await asyncio.gather(*(timed.run_checks() for _ in range(40)))
    assert all(report.is_ok for report in reports), [step for r in reports for step in r.steps if step.errors]
    assert sorted(len(report.stale or ()) for report in reports)[-2:] == [0, 1]
    assert sum(len(report.failures or ()) for report in reports) == 5
    assert sum(len(report.retrained or ()) for report in reports) == 1
    told = (await timed.alerts.list_alerts()).items
    assert {alert.occurrences for alert in told} == {1}
    for alert in told:
        events = [each.event for each in await timed.alerts.list_events(alert.id)]
        assert events == (["opened", "resolved"] if alert.is_resolved else ["opened"])


async def test_without_tables_it_says_so(pool: asyncpg.Pool, schema: str) -> None:
    """Every step fails, the report says why, and nothing is raised: a cron job ends with 1."""
    report = await ModelPerformanceTracker(pool, schema=schema).run_checks()
    assert all(step.errors for step in report.steps)
    assert "model-perf migrate" in report.steps[0].errors[0]


async def test_in_a_hosts_transaction_it_vanishes_with_it(timed: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Marks and alerts roll back together, and the next round tells it."""
    await run_and_fail(timed)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert len((await timed.bind(connection).run_checks()).failures or ()) == 1
        await transaction.rollback()
    assert len((await timed.run_checks()).failures or ()) == 1


async def test_the_hosts_settings_change_nothing(
    timed: ModelPerformanceTracker, clock: Clock, database: str, pool: asyncpg.Pool
) -> None:
    """Sessions in another zone, with other styles of dates, intervals and bytes, tell and mend the same silence."""
    settings = {
        "TimeZone": "Asia/Kolkata",
        "DateStyle": "SQL, DMY",
        "IntervalStyle": "iso_8601",
        "bytea_output": "escape",
        "extra_float_digits": "0",
    }
    await evaluate(timed, clock, range(5))
    await timed.snooze_alert((await open_alert(timed)).id, hours=1, by="ana")
    clock.now += 4 * DAY
    async with asyncpg.create_pool(database, min_size=1, max_size=2, server_settings=settings) as own:
        elsewhere = ModelPerformanceTracker(own, schema=timed.schema, clock=clock)
        first = ids((await elsewhere.run_checks()).stale)
        assert (await timed.run_checks()).stale == ()
        await pool.execute(f"DELETE FROM {timed.schema}.model_alerts WHERE alert_type = 'stale_model'")
        assert ids((await timed.run_checks()).stale) == first
        await evaluate(timed, clock, range(9, 10))
        assert ids((await elsewhere.run_checks()).heard_again) == first
        assert len((await elsewhere.alerts.list_active(include_snoozed=False)).items) == 1
        events = await elsewhere.alerts.list_events(first[0])
        assert [each.occurred_at for each in events] == [START + 9 * DAY, START + 10 * DAY]


async def test_the_cooldown_is_told_in_utc(timed: ModelPerformanceTracker, clock: Clock, database: str) -> None:
    """Whatever zone the session has, and held as the same instant."""
    settings = {"TimeZone": "Asia/Kolkata", "DateStyle": "SQL, DMY"}
    automation = AutomationPolicy(rules=[AutomationRule(retrain=True)], cooldown_s=3600.0)
    policy = MonitoringPolicy(automation=automation)
    async with asyncpg.create_pool(database, min_size=1, max_size=2, server_settings=settings) as own:
        elsewhere = ModelPerformanceTracker(own, schema=timed.schema, clock=clock, policy=policy)
        await run_and_fail(elsewhere)
        for one in make_evaluations([*CALM, 2.0]):
            recorded = await record(elsewhere, one)
        assert recorded.alert is not None
        assert recorded.alert.auto_action["reason"] == "skipped: cooldown until 2024-01-01T01:00:00Z"
        clock.now += HOUR - timedelta(seconds=1)
        assert (await record(elsewhere, make_evaluation(day=15, metrics={"rmse": 2.0}))).training_run is None
        clock.now += timedelta(seconds=1)
        assert (await record(elsewhere, make_evaluation(day=16, metrics={"rmse": 2.0}))).training_run is not None
