"""The counters of a tracker, and the sizes and queues of its tables."""

from __future__ import annotations

import asyncio
import gc
import statistics
from time import perf_counter

import asyncpg
import pytest
from tests.factories import Clock, make_evaluation, make_evaluations, make_ref
from tests.lives import POLICY, count_all, live, on_day
from tests.writers import record

from model_perf import ConflictError, InvalidInputError, ModelPerformanceTracker, StorageError
from model_perf.repos._counters import Counters

REF = make_ref()


async def test_a_new_tracker_has_done_nothing() -> None:
    """No database is asked, not even one that does not exist yet."""
    stats = ModelPerformanceTracker(lambda: None).stats()  # type: ignore[arg-type,return-value]
    assert (stats.calls, stats.errors, stats.last_recorded_at, stats.pool_size) == (0, {}, None, None)


async def test_calls_rows_and_errors_are_counted(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Each as often as it happened: new and repeated evaluations, refused calls by the error's name."""
    before = timed.stats()
    await record(timed, make_evaluation(day=0))
    await record(timed, make_evaluation(day=0))
    clock.now = on_day(5)
    await timed.record_many(make_evaluations([1.0, 2.0, 3.0], ref=make_ref("other")))
    with pytest.raises(ConflictError):
        await record(timed, make_evaluation(day=0, metrics={"rmse": 1.0}))
    with pytest.raises(InvalidInputError):  # refused before the database is asked: not counted
        await record(timed, make_evaluation(day=0, evaluation_date="today"))
    stats = timed.stats()
    assert stats.calls - before.calls == 4
    assert (stats.evaluations_recorded, stats.evaluations_repeated) == (4, 1)
    assert stats.errors == {"ConflictError": 1}
    assert stats.last_recorded_at == on_day(5)
    assert 0.0 < stats.slowest_s <= stats.busy_s
    assert stats.pool_max == 10
    assert stats.pool_size is not None
    assert stats.pool_idle is not None
    assert 0 <= stats.pool_idle <= stats.pool_size <= 10


async def test_what_a_bound_tracker_does_is_counted_once(timed: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """A call made of several is one, and those of bound trackers count for the tracker that they are bound from."""
    async with pool.acquire() as connection, connection.transaction():
        bound = timed.bind(connection)
        await record(bound, make_evaluation())
    assert timed.stats().calls == bound.stats().calls == 1
    await timed.judge(REF)  # reads, computes, writes and alerts, nested in one transaction
    assert timed.stats().calls == 2


async def test_lost_races_are_counted(timed: ModelPerformanceTracker) -> None:
    """Eight tasks record twenty evaluations each of one deployment: all are in, and somebody was not the first."""

    async def write(first: int) -> None:
        for day in range(first, first + 20):
            await record(timed, make_evaluation(day=day))

    await asyncio.gather(*(write(20 * i) for i in range(8)))
    stats = timed.stats()
    assert (stats.evaluations_recorded, stats.errors) == (160, {})
    assert stats.races_lost > 0


async def test_retries_and_lost_servers_are_counted(timed: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """A deadlock is a retry and no error; a connection that dies is an error by name."""
    n = 0

    async def deadlock_once(connection: object) -> int:
        nonlocal n
        n += 1
        if n == 1:
            raise asyncpg.DeadlockDetectedError("deadlock detected")
        return n

    assert await timed._executor.run(deadlock_once) == 2

    async def die(connection: asyncpg.Connection) -> None:
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(StorageError):
        await timed._executor.run(die)
    stats = timed.stats()
    assert (stats.retries, stats.errors) == (1, {"StorageError": 1})


async def test_counting_costs_less_than_a_hundredth_of_a_record(timed: ModelPerformanceTracker) -> None:
    """What a `record` adds to the counters, done 20,000 times, against the median of 200 records beside it."""
    times = []
    for day in range(200):
        started = perf_counter()
        await record(timed, make_evaluation(day=day))
        times.append(perf_counter() - started)
    counters, rounds = Counters(), 20_000
    gc.collect()
    started = perf_counter()
    for _ in range(rounds):
        begun = perf_counter()
        counters.ended(perf_counter() - begun)
        counters.recorded(True, False, None)
    each = (perf_counter() - started) / rounds
    assert each < 0.01 * statistics.median(times)


async def test_table_stats_count_what_waits(timed: ModelPerformanceTracker, pool: asyncpg.Pool, clock: Clock) -> None:
    """The numbers are those of the life that was led; every table is there with its size."""
    timed.policy = POLICY
    await live(timed, clock)
    await pool.execute(f"ANALYZE {timed.schema}.model_performance_metrics")
    stats = await timed.table_stats()
    assert (stats.open_alerts, stats.critical_alerts) == (2, 1)
    assert (stats.notifications_pending, stats.notifications_due, stats.notifications_dead) == (1, 1, 0)
    assert stats.oldest_notification_at == on_day(199)
    assert (stats.runs_pending, stats.runs_running, stats.runs_expired) == (1, 0, 0)
    assert stats.oldest_run_at == on_day(199)
    assert stats.worker_seen_at == on_day(200)
    assert (stats.tests_running, stats.deployments, stats.silent_deployments) == (1, 2, 0)
    assert (stats.oldest_evaluation_at, stats.newest_evaluation_at) == (on_day(1), on_day(200))
    sizes = {table.name: table for table in stats.tables}
    assert set(sizes) == {*(await count_all(pool, timed.schema)), "schema_migrations"}
    assert all(table.n_bytes > 0 for table in stats.tables)
    assert sizes["model_performance_metrics"].n_rows == 201
    assert sizes["model_performance_metrics"].analyzed_at is not None
    # Nobody has counted it yet, and 0 would be a lie.
    assert sizes["model_champions"].n_rows is None


async def test_registered_and_never_evaluated_is_silent(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """After a day."""
    await timed.register_model("baseline", machine="press")
    assert (await timed.table_stats()).silent_deployments == 0
    clock.now = on_day(1.1)
    assert (await timed.table_stats()).silent_deployments == 1
