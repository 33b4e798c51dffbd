"""`prune` on a real server: what goes, what stays, and that no later verdict is another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import numpy as np
import pytest
from tests.factories import START, Clock, make_evaluation, make_evaluations, make_ref
from tests.faults.states import read_history, read_state
from tests.lives import POLICY, count_all, live, on_day
from tests.repos.contents import nothing_written
from tests.writers import noisy_evaluation, record

from model_perf import (
    Alert,
    AutomationPolicy,
    AutomationRule,
    InvalidInputError,
    ModelPerformanceTracker,
    MonitoringPolicy,
    NaiveTimestampError,
    StorageError,
    TrainingRun,
)
from model_perf._pruning import lasting
from model_perf.drift import replay

REF = make_ref()
BEFORE = on_day(130)

# What `live` did before day 130 and nothing needs: of 119 evaluations before the running test's start 31 are the
# baseline's, and one is where the charts come from.
GONE = {
    "model_performance_metrics": 119 - 31 - 1,
    "model_drift_reports": 2,  # of days 20 and 40; that of day 160 is new, that of the segment its newest
    "model_alerts": 1,
    "model_notifications": 2 + 1,  # those of the resolved alert; that of the alert of day 50, which stays open
    "model_ab_batches": 1,
    "model_ab_looks": 2,
    "model_ab_tests": 1,
    "model_training_history": 2,  # of days 10 and 20; that of day 30 is the newest that ended well
    "model_workers": 2,
}


Twins = tuple[ModelPerformanceTracker, ModelPerformanceTracker]


@pytest.fixture
async def twins(pool: asyncpg.Pool, tracker: ModelPerformanceTracker, clock: Clock) -> AsyncIterator[Twins]:
    """A tracker to prune, and one that keeps all, in a schema of its own."""
    pruned = ModelPerformanceTracker(pool, schema=tracker.schema, clock=clock)
    whole = ModelPerformanceTracker(pool, schema=f"{tracker.schema}_twin", clock=clock)
    await whole.migrate()
    yield pruned, whole
    await pool.execute(f"DROP SCHEMA {whole.schema} CASCADE")


async def run_and_complete(
    tracker: ModelPerformanceTracker, model_type: str = "baseline", version: int = 2
) -> TrainingRun:
    await tracker.training.open_run(model_type=model_type, machine_id=REF.machine_id)
    run = await tracker.training.claim("w", lease=timedelta(hours=1), model_type=model_type)
    assert run is not None
    return await tracker.training.complete(run.id, run.attempt, model_id=REF.model_id, model_version=version)


async def run_and_fail(tracker: ModelPerformanceTracker) -> TrainingRun:
    await tracker.training.open_run(model_type="baseline", machine_id=REF.machine_id)
    run = await tracker.training.claim("w", lease=timedelta(hours=1))
    assert run is not None
    return await tracker.training.fail(run.id, run.attempt, error_message="no rows")


@pytest.fixture
async def lived(timed: ModelPerformanceTracker, clock: Clock) -> ModelPerformanceTracker:
    timed.policy = POLICY
    await live(timed, clock)
    return timed


async def test_what_is_over_goes_and_what_is_needed_stays(lived: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """A dry run counts what the prune then deletes; a second prune finds nothing."""
    before = await count_all(pool, lived.schema)
    told = {"model_ab_moments": before["model_ab_moments"]}
    told["model_alert_events"] = await pool.fetchval(
        f"SELECT count(*) FROM {lived.schema}.model_alert_events v WHERE v.alert_id IN"
        f" (SELECT a.id FROM {lived.schema}.model_alerts a WHERE a.is_resolved)"
    )
    assert told["model_alert_events"] >= 2  # opened, resolved
    async with nothing_written(pool, lived.schema):
        planned = await lived.prune(BEFORE, dry_run=True)
    done = await lived.prune(BEFORE)
    assert (planned.dry_run, done.dry_run) == (True, False)
    expected = GONE | told
    assert planned.deleted == done.deleted == expected
    after = await count_all(pool, lived.schema)
    assert {table: n for table in before if (n := before[table] - after[table])} == expected
    assert done.n_deleted == sum(expected.values())
    # Ten that the running test compares, the baseline, one before, and the one of version 2.
    assert done.n_kept_evaluations == 10 + 31 + 1 + 1
    assert (await lived.prune(BEFORE)).n_deleted == 0


async def test_what_stays_is_what_somebody_waits_for(lived: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Open alerts, the running test, open runs, the run in service, references, states and the newest reports stay."""
    await lived.prune(on_day(199))
    assert sorted(alert.alert_type for alert in await lived.active_alerts()) == ["own", "performance_degradation"]
    events = await pool.fetch(f"SELECT event FROM {lived.schema}.model_alert_events WHERE event <> 'acted'")
    assert [row["event"] for row in events] == ["opened", "opened"]
    [test] = (await lived.ab_tests.list_tests()).items
    assert test.test_status == "running"
    assert (await lived.ab_test_results(test.id)).decision == "undecided"
    statuses = [(run.training_status, run.model_type) for run in (await lived.training.list_runs()).items]
    # The failure of day 180 is told of by the next round.
    assert [status for status, _ in statuses] == ["pending", "failed", "completed", "completed"]
    champion = await pool.fetchval(f"SELECT training_run_id FROM {lived.schema}.model_champions")
    assert (await lived.training.fetch_run(champion)).training_status == "completed"
    for segment in ("", "night"):
        assert await lived.drift.fetch_newest_report(REF, segment=segment) is not None
        assert (await lived.drift.fetch_reference(REF, segment=segment)).profile
    newest = await lived.metrics.fetch_latest(REF)
    assert newest is not None
    assert newest.evaluation_date == on_day(200)
    assert await pool.fetchval(f"SELECT array_agg(worker) FROM {lived.schema}.model_workers") == ["press alive"]


async def test_the_run_behind_a_test_stays(lived: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """As long as the test is there that compares what came out of it."""
    oldest = (await lived.training.list_runs()).items[-1]
    assert oldest.created_at == on_day(10)
    query = f"UPDATE {lived.schema}.model_ab_tests SET training_run_id = $1 WHERE test_status = $2"
    await pool.execute(query, oldest.id, "running")
    assert (await lived.prune(BEFORE)).deleted["model_training_history"] == GONE["model_training_history"] - 1
    await pool.execute(query, None, "running")
    assert (await lived.prune(BEFORE)).deleted["model_training_history"] == 1


async def test_a_silence_that_was_resolved_by_hand_is_not_told_again(
    timed: ModelPerformanceTracker, clock: Clock
) -> None:
    """The alert of a model out of service stays, and keeps the next round from opening it once more."""
    clock.now = on_day(6)
    await timed.record_many(make_evaluations([1.0] * 5))
    clock.now = on_day(20)
    [alert] = (await timed.run_checks()).stale or ()
    await timed.resolve_alert(alert.id, by="ana", note="out of service")
    clock.now = on_day(60)
    assert (await timed.prune(on_day(50))).deleted["model_alerts"] == 0
    assert (await timed.run_checks()).stale == ()


async def test_a_test_that_the_new_version_lost_goes_on_keeping_its_alert_open(
    timed: ModelPerformanceTracker, clock: Clock
) -> None:
    """Without the test, the run behind it would answer the alert: both stay as long as the alert is open."""
    alert = await timed.alerts.open_or_repeat(REF, alert_type="data_drift", severity="critical", message="m")
    clock.now = on_day(1)
    run = await run_and_complete(timed)
    new = make_ref(version=2)
    test = await timed.start_ab_test(name="new", model_a=REF, model_b=new, metric="rmse", training_run_id=run.id)
    await timed.ab_tests.conclude(test.id, decision="superior_a", reason="it is worse")
    clock.now = on_day(100)
    await run_and_complete(timed, "other")
    assert (await timed.prune(on_day(90))).n_deleted == 0
    assert (await timed.run_checks()).retrained == ()
    await timed.resolve_alert(alert.id, by="ana")
    clock.now = on_day(101)
    await run_and_complete(timed, version=3)
    gone = (await timed.prune(on_day(90))).deleted
    assert (gone["model_ab_tests"], gone["model_training_history"]) == (1, 1)


async def test_a_run_that_may_answer_an_open_alert_stays(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """It does so once its version is promoted, however many were trained since."""
    await timed.alerts.open_or_repeat(REF, alert_type="data_drift", severity="critical", message="m")
    await timed.promote(REF, replaces=0)
    clock.now = on_day(1)
    await run_and_complete(timed, version=2)
    clock.now = on_day(2)
    await run_and_complete(timed, version=3)
    clock.now = on_day(100)
    assert (await timed.prune(on_day(90))).n_deleted == 0
    await timed.promote(make_ref(version=2), replaces=1)
    assert len((await timed.run_checks()).retrained or ()) == 1


async def test_a_failure_that_nobody_was_told_of_stays(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Until a round has told it; from then on the newest run stays, from which a cooldown counts."""
    for day in (1, 2):
        clock.now = on_day(day)
        await run_and_fail(timed)
    clock.now = on_day(100)
    assert (await timed.prune(on_day(90))).n_deleted == 0
    [alert] = (await timed.run_checks()).failures or ()
    assert alert.occurrences == 2
    assert (await timed.prune(on_day(90))).deleted["model_training_history"] == 1
    [left] = (await timed.training.list_runs()).items
    assert left.created_at == on_day(2)


async def test_a_prune_up_to_now_lifts_no_daily_cap(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Two runs that failed today are all that the policy may open: the third alert gets none, pruned or not."""
    rule = AutomationPolicy(rules=[AutomationRule(retrain=True)], cooldown_s=0.0, max_per_day=2)
    timed.policy = MonitoringPolicy(automation=rule)
    for day in range(40):
        clock.now = on_day(day + 1)
        await record(timed, noisy_evaluation(REF, day))
    for hour in (1, 2, 3):
        clock.now = on_day(40) + timedelta(hours=hour)
        start, end = clock.now - timedelta(hours=1), clock.now
        recorded = await timed.record(REF, evaluation_start=start, evaluation_end=end, metrics={"rmse": 30.0})
        assert recorded.alert is not None
        if hour == 3:
            assert "daily cap of 2" in str(recorded.alert.auto_action["reason"])
            break
        assert recorded.training_run is not None
        await timed.resolve_alert(recorded.alert.id, by="ana")
        run = await timed.training.claim("w", lease=timedelta(hours=1))
        assert run is not None
        await timed.training.fail(run.id, run.attempt, error_message="no rows")
        await timed.run_checks()
        clock.now += timedelta(minutes=1)
        await timed.prune(clock.now)


async def test_an_alert_whose_run_is_open_stays(
    timed: ModelPerformanceTracker, clock: Clock, pool: asyncpg.Pool
) -> None:
    """Whether a test is started when the run has completed is written there."""
    alert = await timed.alerts.open_or_repeat(REF, alert_type="data_drift", severity="critical", message="m")
    await timed.training.open_run(model_type="baseline", machine_id=REF.machine_id)
    await pool.execute(f"UPDATE {timed.schema}.model_training_history SET alert_id = $1", alert.id)
    await timed.resolve_alert(alert.id, by="ana")
    clock.now = on_day(100)
    assert (await timed.prune(on_day(90))).n_deleted == 0
    run = await timed.training.claim("w", lease=timedelta(hours=1))
    assert run is not None
    await timed.training.complete(run.id, run.attempt, model_version=2)
    assert (await timed.prune(on_day(90))).deleted["model_alerts"] == 1


async def test_a_dry_run_counts_the_runs_of_tests_that_go(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """A run is kept for the test that it started, and goes with it."""
    clock.now = on_day(1)
    run = await run_and_complete(timed)
    new = make_ref(version=2)
    test = await timed.start_ab_test(name="new", model_a=REF, model_b=new, metric="rmse", training_run_id=run.id)
    await timed.ab_tests.conclude(test.id, decision="superior_b", reason="it is better")
    clock.now = on_day(100)
    await run_and_complete(timed, version=3)
    planned = await timed.prune(on_day(90), dry_run=True)
    assert planned.deleted["model_training_history"] == 1
    assert (await timed.prune(on_day(90))).deleted == planned.deleted


async def test_a_silence_is_told_when_it_would_have_been(twins: Twins, clock: Clock) -> None:
    """A model that was evaluated daily when it learned its baseline, and weekly since: its usual interval is a week."""
    pruned, whole = twins
    for each in (pruned, whole):
        for day in (*range(40), *range(40, 400, 7)):
            clock.now = on_day(day + 1)
            await record(each, noisy_evaluation(REF, day))
    last = day
    assert (await pruned.prune(on_day(last - 25))).deleted["model_performance_metrics"] > 0
    told = list[Alert]()
    for day in range(last + 2, last + 30):
        clock.now = on_day(day)
        left, right = [(await each.run_checks()).stale or () for each in (pruned, whole)]
        assert [alert.id for alert in left] == [alert.id for alert in right], day - last
        told += right
    assert len(told) == 1


async def test_a_pending_notification_of_an_open_alert_stays(
    lived: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """What nobody has been told yet is told, however late."""
    query = f"SELECT count(*) FROM {lived.schema}.model_notifications WHERE status = 'pending'"
    pending = await pool.fetchval(query)
    assert pending == 1
    await lived.prune(on_day(200))
    assert await pool.fetchval(query) == pending


async def test_verdicts_after_a_prune_are_those_of_a_twin_that_kept_all(twins: Twins, clock: Clock) -> None:
    """Recorded, rebuilt or judged afterwards: each report equals the one where nothing was pruned."""
    pruned, whole = twins
    rng = np.random.default_rng(11)
    values = 10.0 * np.exp(rng.normal(0.0, 0.05, 300))
    clock.now = on_day(300)
    for each in (pruned, whole):
        await each.record_many(make_evaluations(values, ref=REF))
        await each.judge(REF)
    assert (await pruned.prune(on_day(290))).deleted["model_performance_metrics"] > 240
    for day, value in enumerate(10.0 * np.exp(rng.normal(0.15, 0.05, 40)), 300):
        clock.now = on_day(day + 1)
        if day in (310, 330):  # a state that was computed again is the same
            await asyncio.gather(pruned.rebuild_state(REF), whole.rebuild_state(REF))
        evaluation = make_evaluation(REF, day=day, metrics={"rmse": value})
        if day % 2:
            left, right = await record(pruned, evaluation), await record(whole, evaluation)
            assert left.drift == right.drift
            assert (left.alert is None) == (right.alert is None)
        else:
            for each in (pruned, whole):
                await each.record_many([evaluation])
            assert await pruned.judge(REF) == await whole.judge(REF)
    verdicts = {e.verdict for e in (await read_history(whole, REF))[300:]}
    assert verdicts >= {"ok", "critical"}


@pytest.mark.parametrize("batch", [1, 7, 100_000])
async def test_any_batch_leaves_a_state_that_replays(timed: ModelPerformanceTracker, clock: Clock, batch: int) -> None:
    """However small the transactions are, the stored state is what a replay of the rest gives."""
    for day in range(100):
        await record(timed, noisy_evaluation(REF, day))
    clock.now = on_day(100)
    report = await timed.prune(on_day(95), batch=batch)
    assert report.deleted["model_performance_metrics"] > 30
    _, stored = await read_state(timed, REF)
    _, replayed = replay(await read_history(timed, REF), timed.policy)
    assert lasting(stored, timed.policy) == lasting(replayed, timed.policy)


@pytest.mark.parametrize(
    ("before", "error"),
    [
        (START + timedelta(seconds=1), InvalidInputError),
        (datetime(2020, 1, 1), NaiveTimestampError),  # noqa: DTZ001 - what is refused
        ("2020-01-01", InvalidInputError),
    ],
)
async def test_the_future_and_no_zone_are_refused(
    timed: ModelPerformanceTracker, before: datetime, error: type[InvalidInputError]
) -> None:
    """By the tracker's clock, and by the argument's name."""
    with pytest.raises(error) as refused:
        await timed.prune(before)
    assert refused.value.argument == "before"


@pytest.mark.parametrize("batch", [0, -1, 100_001, 1.5])
async def test_a_batch_is_at_least_one_row(timed: ModelPerformanceTracker, batch: int) -> None:
    """And at most 100,000."""
    with pytest.raises(InvalidInputError) as refused:
        await timed.prune(START, batch=batch)
    assert refused.value.argument == "batch"


@pytest.mark.parametrize("value", [None, 0, "", "false"])
async def test_only_true_and_false_say_whether_it_is_a_dry_run(timed: ModelPerformanceTracker, value: Any) -> None:
    """A setting that was not there must not delete anything."""
    calls = (
        lambda: timed.prune(START, dry_run=value),
        lambda: timed.forget_machine(REF.machine_id, dry_run=value),
        lambda: timed.forget_model(REF.model_id, dry_run=value),
        lambda: timed.forget_machine(REF.machine_id, force=value),
        lambda: timed.forget_model(REF.model_id, force=value),
    )
    for call in calls:
        with pytest.raises(InvalidInputError) as refused:
            await call()
        assert refused.value.argument in ("dry_run", "force")


async def test_a_bound_tracker_does_not_prune(timed: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Its transactions are short ones of its own."""
    async with pool.acquire() as connection, connection.transaction():
        with pytest.raises(StorageError, match="bind"):
            await timed.bind(connection).prune(START)


async def test_an_empty_installation_has_nothing_to_prune(timed: ModelPerformanceTracker) -> None:
    """Every table is named, with nothing."""
    report = await timed.prune(START)
    assert (set(report.deleted.values()), report.n_kept_evaluations) == ({0}, 0)
    assert set(report.deleted) == {*GONE, "model_alert_events", "model_ab_moments"}
