"""What calls do to each other: bulk rows and records, alerts and charts, ends of tests and late evaluations."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import asyncpg
import pytest
from tests.factories import START, make_evaluation, make_evaluations, make_ref
from tests.writers import record

from model_perf import ModelPerformanceTracker, MonitoringPolicy, SchemaError, StorageError

DAY = timedelta(days=1)
CALM = [1.00, 1.02, 0.98, 1.01, 0.99, 1.03, 0.97, 1.00, 1.01, 0.99, 1.02, 0.98, 1.00, 1.01]


async def test_a_record_repeats_a_row_of_a_batch(tracker: ModelPerformanceTracker) -> None:
    """The row that record_many wrote is found again, and is said to be unjudged."""
    (one,) = make_evaluations([1.0])
    await tracker.record_many([one])
    repeated = await record(tracker, one)
    assert (repeated.is_new, repeated.drift.verdict, repeated.drift.drift_detected) == (False, "not_judged", None)


async def test_many_may_judge_at_once(tracker: ModelPerformanceTracker) -> None:
    """Of concurrent judges and checks of a back-fill all get an answer, the same one."""
    await tracker.record_many(make_evaluations([*CALM, 9.0]))
    ref = make_ref()
    reports = await asyncio.gather(*(tracker.check_drift(ref) for _ in range(6)), return_exceptions=True)
    assert [getattr(report, "verdict", report) for report in reports] == ["critical"] * 6
    (alert,) = await tracker.active_alerts()
    assert alert.occurrences == 1


async def test_an_old_back_fill_opens_no_alert(tracker: ModelPerformanceTracker) -> None:
    """A bad window that was back-filled behind a good newest one is judged, and alerts nobody."""
    for one in make_evaluations(CALM):
        await record(tracker, one)
    late = make_evaluation(day=12, metrics={"rmse": 9.0}, id="0192d7a0-0000-7000-8000-000000000001")
    await tracker.record_many([late])
    (report,) = await tracker.judge(make_ref())
    assert report.verdict == "critical"
    assert await tracker.active_alerts() == []


async def test_a_rebuild_keeps_a_resolution(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Charts that a resolved alert restarted stay restarted when the state is recomputed."""
    ref = make_ref()
    for one in make_evaluations([*CALM, *[1.3] * 6]):
        recorded = await record(tracker, one)
    assert recorded.alert is not None
    await tracker.resolve_alert(recorded.alert.id, resolution="false_positive")
    state = f"SELECT state #>> '{{metrics,rmse,cusum}}' FROM {tracker.schema}.model_drift_state"
    assert float(await pool.fetchval(state)) == 0.0
    await tracker.rebuild_state(ref)
    assert float(await pool.fetchval(state)) == 0.0


async def test_a_hosts_own_alert_restarts_no_chart(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Resolving an alert of another type leaves the evidence of degradation as it is."""
    for one in make_evaluations([*CALM, 1.05, 1.05]):
        await record(tracker, one)
    state = f"SELECT state #>> '{{metrics,rmse,cusum}}' FROM {tracker.schema}.model_drift_state"
    before = float(await pool.fetchval(state))
    alert = await tracker.alerts.open_or_repeat(make_ref(), alert_type="no_data", severity="info", message="none")
    await tracker.resolve_alert(alert.id)
    assert float(await pool.fetchval(state)) == before > 0.0


async def test_judge_opens_the_run_of_its_alert(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """What record would have done for a critical evaluation, judge does for one that came in a batch."""
    retraining = ModelPerformanceTracker(pool, schema=tracker.schema, policy=MonitoringPolicy(retrain_on=("critical",)))
    await retraining.record_many(make_evaluations([*CALM, 9.0]))
    await retraining.judge(make_ref())
    (run,) = (await retraining.training.list_runs()).items
    assert (run.training_status, run.trigger_type, run.model_version) == ("pending", "degradation", 1)


@pytest.fixture
def clock() -> list[datetime]:
    return [START]


async def test_a_test_waits_for_its_last_window(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, clock: list[datetime]
) -> None:
    """A look at the very end does not freeze the finding before the last window can have been recorded."""
    timed = ModelPerformanceTracker(pool, schema=tracker.schema, clock=lambda: clock[0])
    a, b = make_ref(version=1), make_ref(version=2)
    await record(timed, make_evaluation(a, day=-1, metrics={"rmse": 1.0}))
    test = await timed.start_ab_test(name="t", model_a=a, model_b=b, duration=8 * DAY, metric="rmse")
    assert test.design["n_windows"] == 8

    async def evaluate(day: int) -> None:
        for ref, value in ((a, 2.0), (b, 1.0)):
            await record(timed, make_evaluation(ref, day=day, metrics={"rmse": value + 0.01 * day * ref.model_version}))

    for day in range(7):
        await evaluate(day)
    clock[0] = test.test_end
    waiting = await timed.ab_test_results(test.id)
    assert (waiting.test_status, waiting.decision) == ("running", "undecided")
    await evaluate(7)
    done = await timed.ab_test_results(test.id)
    assert (done.test_status, done.decision, done.n_windows) == ("completed", "superior_b", 8)


async def test_a_test_does_not_wait_for_ever(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, clock: list[datetime]
) -> None:
    """A window's length after its end a test is concluded with what there is."""
    timed = ModelPerformanceTracker(pool, schema=tracker.schema, clock=lambda: clock[0])
    a, b = make_ref(version=1), make_ref(version=2)
    await record(timed, make_evaluation(a, day=-1, metrics={"rmse": 1.0}))
    test = await timed.start_ab_test(name="t", model_a=a, model_b=b, duration=8 * DAY, metric="rmse")
    clock[0] = test.test_end + DAY
    done = await timed.ab_test_results(test.id)
    assert (done.test_status, done.decision) == ("completed", "insufficient_data")


async def test_no_samples_decide_nothing(tracker: ModelPerformanceTracker) -> None:
    """An evaluation of no samples is no window of a test and no point of a trend."""
    a, b = make_ref(version=1), make_ref(version=2)
    test = await tracker.start_ab_test(name="t", model_a=a, model_b=b, duration=20 * DAY, metric="rmse", start=START)
    for day, value in enumerate(CALM[:10]):
        await record(tracker, make_evaluation(a, day=day, metrics={"rmse": value}))
        await record(tracker, make_evaluation(b, day=day, metrics={"rmse": value / 2}, sample_count=0))
    result = await tracker.conclude_ab_test(test.id)
    assert (result.decision, result.n_windows) == ("insufficient_data", 0)
    trend = await tracker.trend(b, metric="rmse", since=START, until=START + 99 * DAY)
    assert trend.points == ()


async def test_a_bound_tracker_after_its_transaction_claims_nothing(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """Used after the host's commit, it never says that the host's writes are lost."""
    async with pool.acquire() as connection, connection.transaction():
        bound = tracker.bind(connection)
        await record(bound, make_evaluation())
    with pytest.raises(StorageError) as refused:
        await record(bound, make_evaluation(day=1))
    assert "nothing of it was committed" not in str(refused.value)
    assert not refused.value.outcome_unknown


@pytest.mark.parametrize("column", ["breaking = true, version = 9001", "sha256 = 'edited'"])
async def test_a_foreign_ledger_is_not_migrated_on(pool: asyncpg.Pool, schema: str, column: str) -> None:
    """With a migration pending, an edited or newer breaking one still stops everything."""
    tracker = ModelPerformanceTracker(pool, schema=schema)
    await tracker.migrate()
    await pool.execute(f"DELETE FROM {schema}.schema_migrations WHERE version = 2")
    await pool.execute(f"UPDATE {schema}.schema_migrations SET {column} WHERE version = 1")
    with pytest.raises(SchemaError):
        await tracker.migrate()
