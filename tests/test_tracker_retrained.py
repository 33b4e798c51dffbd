"""Rounds of checks: which alerts a new version answers."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from tests.factories import Clock, make_evaluations, make_ref
from tests.rounds import CALM, HOUR, REF, ids, open_alert, run_and_complete
from tests.writers import record

from model_perf import AutomationPolicy, AutomationRule, ModelPerformanceTracker, MonitoringPolicy


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
