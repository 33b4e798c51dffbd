"""One round of what is due: failed runs, silent models, due tests, alerts that a new version has answered."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.factories import START, Clock, make_evaluation, make_evaluations, make_id, make_ref
from tests.writers import record

from model_perf import (
    Alert,
    AutomationPolicy,
    AutomationRule,
    ChecksReport,
    DeliveryReport,
    ModelPerformanceTracker,
    ModelRef,
    MonitoringPolicy,
    StorageError,
    TrainingRun,
)
from model_perf.notify import CallableChannel, Message

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
REF = make_ref()
CALM = [1.00, 1.02, 0.98, 1.01, 0.99, 1.03, 0.97, 1.00, 1.01, 0.99, 1.02, 0.98, 1.00, 1.01]


async def evaluate(tracker: ModelPerformanceTracker, clock: Clock, days: range, ref: ModelRef = REF) -> None:
    """A daily evaluation, each recorded when its window ends."""
    for day in days:
        clock.now = START + (day + 1) * DAY
        await record(tracker, make_evaluation(ref, day=day))


async def run_and_fail(tracker: ModelPerformanceTracker, machine: UUID = REF.machine_id) -> TrainingRun:
    await tracker.training.open_run(model_type="baseline", machine_id=machine)
    run = await tracker.training.claim("w", lease=HOUR)
    assert run is not None
    return await tracker.training.fail(run.id, run.attempt, error_message="no rows")


async def run_and_complete(tracker: ModelPerformanceTracker, version: int | None = 2) -> TrainingRun:
    await tracker.training.open_run(model_type="baseline", machine_id=REF.machine_id)
    run = await tracker.training.claim("w", lease=HOUR)
    assert run is not None
    return await tracker.training.complete(run.id, run.attempt, model_id=REF.model_id, model_version=version)


async def open_alert(tracker: ModelPerformanceTracker, ref: ModelRef = REF, kind: str = "data_drift") -> Alert:
    return await tracker.alerts.open_or_repeat(ref, alert_type=kind, severity="critical", message="m")


def ids(alerts: tuple[Alert, ...] | None) -> list[UUID]:
    assert alerts is not None
    return [alert.id for alert in alerts]


async def test_where_nothing_is_due_nothing_is_done(timed: ModelPerformanceTracker) -> None:
    """On empty tables every step is done and finds nothing."""
    report = await timed.run_checks()
    assert report.is_ok
    assert [getattr(report, step.name) for step in report.steps] == [0, (), (), (), (), (), ()]
    assert all(step.duration_s >= 0.0 for step in report.steps)
    assert report.started_at == START
    assert json.loads(json.dumps(report.to_dict()))["stale"] == []


# Models that nobody evaluates any more


async def test_a_silent_model_is_told_once(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Not at three usual intervals, but after; once, in the words of its own rhythm."""
    await evaluate(timed, clock, range(5))
    clock.now = START + 8 * DAY
    assert (await timed.run_checks()).stale == ()
    clock.now += HOUR
    [alert] = (await timed.run_checks()).stale or ()
    assert (alert.alert_type, alert.severity, alert.model_version) == ("stale_model", "warning", 1)
    assert alert.alert_message == "baseline version 1: no evaluation for 73.0 h, the usual interval is 24.0 h"
    assert (alert.current_metric_value, alert.threshold_value, alert.baseline_metric_value) == (73.0, 72.0, 24.0)
    assert alert.alert_timestamp == clock.now
    clock.now += DAY
    assert (await timed.run_checks()).stale == ()
    assert await timed.active_alerts() == [alert]


async def test_two_evaluations_have_no_rhythm(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """How often is usual, two evaluations do not say; three do."""
    await evaluate(timed, clock, range(2))
    clock.now += 99 * DAY
    assert (await timed.run_checks()).stale == ()
    await evaluate(timed, clock, range(2, 3))
    clock.now += 4 * DAY
    assert len((await timed.run_checks()).stale or ()) == 1


async def test_evaluations_that_come_again_resolve_it(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """As recovered; the next silence is another alert."""
    await evaluate(timed, clock, range(5))
    clock.now += 4 * DAY
    first = ids((await timed.run_checks()).stale)
    await evaluate(timed, clock, range(9, 10))
    report = await timed.run_checks()
    assert ids(report.heard_again) == first
    resolved = await timed.alerts.fetch(first[0])
    assert (resolved.resolution, resolved.resolved_by) == ("recovered", "model_perf")
    assert report.stale == ()
    clock.now += 6 * DAY
    second = ids((await timed.run_checks()).stale)
    assert len(second) == 1
    assert second != first


async def test_what_somebody_resolved_stays_resolved(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """A model that is out of service is silent for good: told once, it is not told again."""
    await evaluate(timed, clock, range(5))
    clock.now += 4 * DAY
    [alert] = (await timed.run_checks()).stale or ()
    await timed.resolve_alert(alert.id, by="ana", note="out of service")
    clock.now += 4 * DAY
    report = await timed.run_checks()
    assert (report.stale, report.heard_again) == ((), ())


async def test_an_evaluation_of_the_future_is_no_sign_of_life(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """One wrong year hides neither the silence nor its end."""
    await evaluate(timed, clock, range(5))
    await record(timed, make_evaluation(day=3650))
    clock.now += 4 * DAY
    [alert] = (await timed.run_checks()).stale or ()
    assert (alert.current_metric_value, alert.baseline_metric_value) == (96.0, 24.0)
    await evaluate(timed, clock, range(9, 10))
    assert ids((await timed.run_checks()).heard_again) == [alert.id]


async def test_a_late_evaluation_is_a_sign_of_life(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Of a window before the last: the model is evaluated again, whatever came first."""
    await evaluate(timed, clock, range(5))
    clock.now += 4 * DAY
    [alert] = (await timed.run_checks()).stale or ()
    clock.now += HOUR
    await record(timed, make_evaluation(day=2, id=make_id("late"), metrics={"r_squared": 0.94}))
    assert ids((await timed.run_checks()).heard_again) == [alert.id]


async def test_the_slot_is_silent_and_not_the_old_version(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """A version that a newer one has replaced is not stale; the newer one has its rhythm from both."""
    await evaluate(timed, clock, range(5))
    await evaluate(timed, clock, range(5, 6), make_ref(version=2))
    clock.now += 2 * DAY
    assert (await timed.run_checks()).stale == ()
    clock.now += 2 * DAY
    [alert] = (await timed.run_checks()).stale or ()
    assert alert.model_version == 2


async def test_late_labels_are_no_silence(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Evaluations of windows that ended ten days ago come daily: something is heard daily."""
    for day in range(12):
        clock.now = START + (day + 11) * DAY
        await record(timed, make_evaluation(day=day))
    assert (await timed.run_checks()).stale == ()


async def test_a_weekend_is_no_silence(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """A model that is evaluated on workdays, an hour late: none of five weekends is told, a missed Monday is."""
    for day in range(33):
        if day % 7 < 5:  # the first of January 2024 was a Monday
            clock.now = START + (day + 1) * DAY + HOUR
            assert (await timed.run_checks()).stale == ()
            await record(timed, make_evaluation(day=day))
    clock.now = START + 36 * DAY + 2 * HOUR
    assert (await timed.run_checks()).stale == ()
    clock.now += 2 * DAY
    [alert] = (await timed.run_checks()).stale or ()
    assert (alert.threshold_value, alert.baseline_metric_value) == (108.0, 24.0)


@pytest.mark.parametrize(("minutes", "at_once"), [(60, True), (60, False), (5, True)])
async def test_the_windows_of_a_day_come_every_night(
    timed: ModelPerformanceTracker, clock: Clock, minutes: int, at_once: bool
) -> None:
    """In one call or in many: from the second night on the usual interval is a day, and a weekend is no silence."""
    span = timedelta(minutes=minutes)
    for day in (0, 1, 2, 3, 4, 7, 8):  # the first of January 2024 was a Monday
        clock.now = START + (day + 1) * DAY + 2 * HOUR
        if day > 1:
            assert (await timed.run_checks()).stale == ()
        starts = [START + day * DAY + i * span for i in range(DAY // span)]
        windows = [make_evaluation(evaluation_start=each, evaluation_end=each + span, id=uuid4()) for each in starts]
        for batch in [windows] if at_once else [[each] for each in windows]:
            clock.now += timedelta(seconds=1)
            await timed.record_many(batch)
    clock.now += 4 * DAY
    assert (await timed.run_checks()).stale == ()
    clock.now += HOUR
    [alert] = (await timed.run_checks()).stale or ()
    assert 95.9 < (alert.threshold_value or 0.0) < 96.5
    assert alert.alert_message.endswith("the usual interval is 24.0 h")


# Runs that failed


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


# Alerts that a new version has answered


async def test_a_new_version_resolves_the_alerts_of_the_old(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Performance and data of older versions of the slot; not those of a newer one, another slot or another type."""
    answered = [(await open_alert(timed, kind=kind)).id for kind in ("data_drift", "performance_degradation")]
    for other in (make_ref(version=2), make_ref(version=3), make_ref("m", machine="lathe")):
        await open_alert(timed, other)
    own = await open_alert(timed, kind="own")
    clock.now += HOUR
    run = await run_and_complete(timed)
    assert sorted(ids((await timed.run_checks()).retrained)) == sorted(answered)
    for number in answered:
        alert = await timed.alerts.fetch(number)
        assert (alert.resolution, alert.resolved_by) == ("retrained", "model_perf")
        assert alert.resolution_notes == f"run {run.id} has made version 2"
    assert len(await timed.active_alerts()) == 4
    assert own in await timed.active_alerts()
    assert (await timed.run_checks()).retrained == ()


async def test_the_charts_of_the_old_version_restart(
    timed: ModelPerformanceTracker, clock: Clock, pool: asyncpg.Pool
) -> None:
    """A verdict's alert that a run answers leaves no count and no sum behind."""
    for one in make_evaluations([*CALM, 2.0]):
        await record(timed, one)
    clock.now += HOUR
    run = await run_and_complete(timed)
    assert len(await timed.resolve_retrained(run.id)) == 1
    state = f"SELECT state::text FROM {timed.schema}.model_drift_state"
    kept = json.loads(await pool.fetchval(state))
    assert (kept["recovery"][0], kept["metrics"]["rmse"]["cusum"]) == (None, 0.0)


async def test_alerts_of_the_champion_wait_until_another_version_serves(
    timed: ModelPerformanceTracker, clock: Clock
) -> None:
    """A new version that nobody has promoted helps nobody: the old one goes on serving, and its alert stays."""
    await timed.promote(REF, by="ana", reason="the first")
    alert = await open_alert(timed)
    clock.now += HOUR
    await run_and_complete(timed)
    assert (await timed.run_checks()).retrained == ()
    await timed.promote(make_ref(version=2), by="ana", reason="better")
    assert ids((await timed.run_checks()).retrained) == [alert.id]


async def test_a_rollback_answers_nothing(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """The version before serves again: no training has helped the one that the alert is about."""
    old = make_ref("other")
    for ref in (old, REF):
        await timed.promote(ref)
    await open_alert(timed)
    clock.now += HOUR
    await run_and_complete(timed)
    await timed.roll_back("baseline", REF.machine_id)
    assert (await timed.run_checks()).retrained == ()


async def test_the_version_that_serves_answers_whatever_became_of_its_test(
    timed: ModelPerformanceTracker, clock: Clock, pool: asyncpg.Pool
) -> None:
    """Somebody has promoted it: that the test was cancelled, or undecided, is no matter any more."""
    await timed.promote(REF)
    await open_alert(timed)
    clock.now += HOUR
    run = await run_and_complete(timed)
    test = await timed.start_ab_test(name="new", model_a=REF, model_b=make_ref(version=2), metric="rmse")
    await pool.execute(f"UPDATE {timed.schema}.model_ab_tests SET training_run_id = $1", run.id)
    assert (await timed.run_checks()).retrained == ()
    await timed.ab_tests.conclude(test.id, decision="undecided", reason="r")
    await timed.promote(make_ref(version=2))
    [alert] = (await timed.run_checks()).retrained or ()
    assert alert.resolution_notes == f"run {run.id} has made version 2"  # not that it is better


async def test_a_cancelled_test_is_none(timed: ModelPerformanceTracker, clock: Clock, pool: asyncpg.Pool) -> None:
    """The alert does not wait for what will never be found."""
    await open_alert(timed)
    clock.now += HOUR
    run = await run_and_complete(timed)
    test = await timed.start_ab_test(name="new", model_a=REF, model_b=make_ref(version=2), metric="rmse")
    await pool.execute(f"UPDATE {timed.schema}.model_ab_tests SET training_run_id = $1", run.id)
    await timed.ab_tests.cancel(test.id)
    assert len((await timed.run_checks()).retrained or ()) == 1


async def test_a_version_of_another_model_is_an_answer(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Trainers that give each version a model_id of its own number them from 1."""
    await open_alert(timed, make_ref(version=3))
    clock.now += HOUR
    await timed.training.open_run(model_type="baseline", machine_id=REF.machine_id)
    run = await timed.training.claim("w", lease=HOUR)
    assert run is not None
    await timed.training.complete(run.id, run.attempt, model_id=make_ref("new").model_id, model_version=1)
    assert len((await timed.run_checks()).retrained or ()) == 1


async def test_only_the_run_that_is_asked_for(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """A worker resolves by its own run, and by no other."""
    await open_alert(timed)
    clock.now += HOUR
    run = await run_and_complete(timed)
    assert await timed.resolve_retrained("0192d7a0-0000-7000-8000-000000000001") == ()
    assert len(await timed.resolve_retrained(run.id)) == 1


async def test_a_run_from_before_the_alert_answers_nothing(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """What was trained before the model degraded is no answer to it."""
    await run_and_complete(timed)
    clock.now += HOUR
    await open_alert(timed)
    assert (await timed.run_checks()).retrained == ()


async def test_the_run_that_an_alert_asked_for_answers_it(
    pool: asyncpg.Pool, timed: ModelPerformanceTracker, clock: Clock
) -> None:
    """Where the worker's clock is behind that of the process that opened the alert, too."""
    rule = AutomationRule(retrain=True)
    policy = MonitoringPolicy(automation=AutomationPolicy(rules=[rule]))
    tracker = ModelPerformanceTracker(pool, schema=timed.schema, clock=clock, policy=policy)
    for each in make_evaluations([*CALM, 2.0]):
        recorded = await record(tracker, each)
    assert recorded.alert is not None
    run = await tracker.training.claim("w", lease=HOUR)
    assert run is not None
    clock.now -= timedelta(seconds=2)
    await tracker.training.complete(run.id, run.attempt, model_id=REF.model_id, model_version=2)
    assert ids((await tracker.run_checks()).retrained) == [recorded.alert.id]


@pytest.mark.parametrize(("decision", "n"), [(None, 0), ("superior_a", 0), ("undecided", 0), ("superior_b", 1)])
async def test_a_test_of_the_new_version_is_waited_for(
    timed: ModelPerformanceTracker, clock: Clock, pool: asyncpg.Pool, decision: Any, n: int
) -> None:
    """Where the run started a test, the alert is answered once the new version has won it."""
    await open_alert(timed)
    clock.now += HOUR
    run = await run_and_complete(timed)
    test = await timed.start_ab_test(name="new", model_a=REF, model_b=make_ref(version=2), metric="rmse")
    await pool.execute(f"UPDATE {timed.schema}.model_ab_tests SET training_run_id = $1", run.id)
    if decision is not None:
        await timed.ab_tests.conclude(test.id, decision=decision, reason="r")
    found = (await timed.run_checks()).retrained or ()
    assert [alert.resolution_notes for alert in found] == [
        f"run {run.id} has made version 2, which is better in test 'new'"
    ][:n]


async def test_a_test_that_the_policy_wants_is_waited_for(
    timed: ModelPerformanceTracker, clock: Clock, pool: asyncpg.Pool
) -> None:
    """Until somebody has started it; an hour without it, and the run alone answers the alert."""
    await open_alert(timed)
    wish = json.dumps({"start_ab_test": True})
    await pool.execute(f"UPDATE {timed.schema}.model_alerts SET auto_action = $1::text::jsonb", wish)
    clock.now += HOUR
    await run_and_complete(timed)
    clock.now += HOUR - timedelta(seconds=1)
    assert (await timed.run_checks()).retrained == ()
    clock.now += timedelta(seconds=1)
    assert len((await timed.run_checks()).retrained or ()) == 1


# The round as a whole


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
