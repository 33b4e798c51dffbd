"""Deadlocks, timeouts, a pool at its limit: retried, or a typed error and nothing written by halves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.factories import make_evaluation, make_ref
from tests.faults.states import BASELINE_DAYS, check_alert, check_state, count_rows, learn_baseline
from tests.faults.waits import check_pool, find_waiting, locked
from tests.writers import record

from model_perf import Evaluation, ModelPerformanceTracker, RecordedEvaluation, StorageError

REF = make_ref()


@pytest.fixture
async def hasty(database: str, schema: str) -> AsyncIterator[ModelPerformanceTracker]:
    """A migrated tracker whose backends look for deadlocks after 50 ms, so that they are the ones to give way."""
    async with asyncpg.create_pool(
        database, min_size=1, max_size=4, server_settings={"deadlock_timeout": "50ms"}
    ) as pool:
        tracker = ModelPerformanceTracker(pool, schema=schema)
        await tracker.migrate()
        yield tracker
        await check_pool(pool)


@pytest.fixture
async def critical(hasty: ModelPerformanceTracker) -> Evaluation:
    """A critical evaluation whose condition has an open alert already."""
    await learn_baseline(hasty, REF)
    first, second = (make_evaluation(REF, day=BASELINE_DAYS + i, metrics={"rmse": 30.0}) for i in range(2))
    await record(hasty, first)
    return second


async def test_a_deadlock_with_the_hosts_locks_is_retried(
    hasty: ModelPerformanceTracker, host: asyncpg.Connection, critical: Evaluation
) -> None:
    """PostgreSQL ends our call to end the deadlock; the call is repeated and succeeds once the host is done."""
    await host.execute("SET deadlock_timeout = '60s'")
    async with host.transaction():
        calling = await _deadlock(hasty, host, critical)
    stored = await calling
    assert stored.is_new
    await check_state(hasty, REF, n=BASELINE_DAYS + 2)
    assert await check_alert(hasty, REF) == 2


async def test_a_deadlock_in_the_hosts_transaction_is_a_typed_error(
    hasty: ModelPerformanceTracker, host: asyncpg.Connection, critical: Evaluation
) -> None:
    """A bound call is not repeated behind the host's back; its transaction goes on after the error."""
    await host.execute("SET deadlock_timeout = '60s'")
    async with hasty.pool.acquire() as connection, connection.transaction():
        bound = hasty.bind(connection)
        async with host.transaction():
            calling = await _deadlock(bound, host, critical)
            with pytest.raises(StorageError, match="deadlock") as caught:
                await calling
        assert caught.value.retry_safe
        assert not caught.value.outcome_unknown
        assert isinstance(caught.value.__cause__, asyncpg.DeadlockDetectedError)
        assert (await record(bound, critical)).is_new
    await check_state(hasty, REF, n=BASELINE_DAYS + 2)


async def test_batches_in_any_order_do_not_fail(hasty: ModelPerformanceTracker) -> None:
    """Batches over the same deployments and rows, each in an order of its own, all succeed and write each row once."""
    order = random.Random(1)
    rows = [make_evaluation(make_ref(f"model {i}"), day=day) for i in range(12) for day in range(4)]
    batches = [order.sample(rows, len(rows)) for _ in range(8)]
    done = await asyncio.gather(*(hasty.record_many(batch) for batch in batches))
    assert sum(each.n_inserted for each in done) == len(rows)
    assert sum(each.n_repeated for each in done) == 7 * len(rows)


@pytest.mark.parametrize("setting", ["statement_timeout", "lock_timeout"])
@pytest.mark.parametrize("is_bound", [False, True])
async def test_a_timeout_is_a_typed_error(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, database: str, setting: str, is_bound: bool
) -> None:
    """A call that PostgreSQL gave up says that nothing was written; its connection and transaction go on."""
    async with asyncpg.create_pool(database, min_size=1, max_size=2, server_settings={setting: "60ms"}) as pool:
        own = ModelPerformanceTracker(pool, schema=tracker.schema)
        async with pool.acquire() as connection, connection.transaction():
            used = own.bind(connection) if is_bound else own
            for call in (lambda: record(used, make_evaluation()), lambda: used.record_many([make_evaluation()])):
                async with locked(host, f"{tracker.schema}.model_performance_metrics"):
                    with pytest.raises(StorageError, match="gave up waiting") as caught:
                        await call()
                assert (caught.value.retry_safe, caught.value.outcome_unknown) == (True, False)
                assert isinstance(caught.value.__cause__, asyncpg.PostgresError)
            assert sum((await count_rows(connection, tracker.schema)).values()) == 0
            assert (await record(used, make_evaluation())).is_new
        await check_pool(pool)
    await check_state(tracker, make_ref(), n=1)


async def test_the_hosts_command_timeout_leaves_the_outcome_open(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, database: str
) -> None:
    """When asyncpg gives up by itself, it says nothing of what the server did: unknown, and safe to repeat."""
    async with asyncpg.create_pool(database, min_size=1, max_size=2, command_timeout=0.1) as pool:
        own = ModelPerformanceTracker(pool, schema=tracker.schema)
        async with locked(host, f"{tracker.schema}.model_performance_metrics"):
            with pytest.raises(StorageError) as caught:
                await record(own, make_evaluation())
        assert (caught.value.retry_safe, caught.value.outcome_unknown) == (True, True)
        assert isinstance(caught.value.__cause__, TimeoutError)
        await check_pool(pool)
        await record(own, make_evaluation())
    await check_state(tracker, make_ref(), n=1)


async def test_a_pool_at_its_limit_names_the_way_out(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """When no connection comes free in time the error says so and names bind(); nothing was sent."""
    patient = ModelPerformanceTracker(pool, schema=tracker.schema, acquire_timeout_s=0.05)
    held = [await pool.acquire() for _ in range(pool.get_max_size())]
    with pytest.raises(StorageError, match=r"within 0\.05 s.*bind\(connection\)") as caught:
        await record(patient, make_evaluation())
    assert (caught.value.retry_safe, caught.value.outcome_unknown) == (True, False)
    for connection in held:
        await pool.release(connection)
    assert (await record(patient, make_evaluation())).is_new
    await check_pool(pool)


async def test_a_pool_call_inside_the_hosts_only_connection_ends(
    tracker: ModelPerformanceTracker, database: str
) -> None:
    """With a pool of one, a pool call inside the host's own transaction ends with that error; bind() works."""
    async with asyncpg.create_pool(database, min_size=1, max_size=1) as pool:
        own = ModelPerformanceTracker(pool, schema=tracker.schema, acquire_timeout_s=0.05)
        async with pool.acquire() as connection, connection.transaction():
            with pytest.raises(StorageError, match=r"inside your own transaction use tracker\.bind\(connection\)"):
                await record(own, make_evaluation())
            assert (await record(own.bind(connection), make_evaluation())).is_new
        await check_pool(pool)
    await check_state(tracker, make_ref(), n=1)


async def test_many_callers_share_a_small_pool(tracker: ModelPerformanceTracker, database: str) -> None:
    """Sixty calls at once wait for two connections in turn, and all succeed."""
    async with asyncpg.create_pool(database, min_size=1, max_size=2) as pool:
        own = ModelPerformanceTracker(pool, schema=tracker.schema)
        refs = [make_ref(f"model {i}") for i in range(60)]
        stored = await asyncio.gather(*(record(own, make_evaluation(ref)) for ref in refs))
        assert all(each.is_new for each in stored)
        await check_pool(pool)


async def _deadlock(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, evaluation: Evaluation
) -> asyncio.Future[RecordedEvaluation]:
    """Let the host lock the open alert, our call the state, and each wait for the other; the call under way.

    Returns once the host has got both locks, which it does only when our call has given way.
    """
    await host.execute(f"SELECT FROM {tracker.schema}.model_alerts WHERE NOT is_resolved FOR UPDATE")
    calling = asyncio.ensure_future(record(tracker, evaluation))
    await find_waiting(host)
    await host.execute(f"SELECT FROM {tracker.schema}.model_drift_state FOR UPDATE")
    return calling
