"""Prunes among writers, beside each other, and killed in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import asyncpg
import pytest
from tests.factories import Clock, make_ref
from tests.faults.states import read_history, read_state
from tests.lives import on_day
from tests.writers import noisy_evaluation, prune_slowly, record_days, results_of, run_at_once, start_at_once

from model_perf import ModelPerformanceTracker, ModelRef
from model_perf._pruning import lasting
from model_perf.drift import replay

REFS = [make_ref(f"model {i}") for i in range(8)]
OLD = 300


@pytest.fixture
async def filled(timed: ModelPerformanceTracker, clock: Clock) -> ModelPerformanceTracker:
    """Eight deployments of 300 days each, judged."""
    clock.now = on_day(OLD)
    for ref in REFS:
        await timed.record_many([noisy_evaluation(ref, day) for day in range(OLD)])
        await timed.judge(ref)
    return timed


async def replays(tracker: ModelPerformanceTracker, ref: ModelRef) -> bool:
    """Whether what is stored of a deployment is what a replay of its evaluations gives."""
    history = await read_history(tracker, ref)
    _, stored = await read_state(tracker, ref)
    return lasting(replay(history, tracker.policy)[1], tracker.policy) == lasting(stored, tracker.policy)


async def count(pool: asyncpg.Pool, schema: str) -> int:
    found: int = await pool.fetchval(f"SELECT count(*) FROM {schema}.model_performance_metrics")
    return found


async def test_eight_processes_record_while_it_prunes(
    filled: ModelPerformanceTracker, pool: asyncpg.Pool, database: str, processes: ProcessPoolExecutor
) -> None:
    """Nobody fails, nothing that was recorded meanwhile is missing, and every state is that of its evaluations."""
    work = [(database, filled.schema, ref, range(OLD, OLD + 40)) for ref in REFS]
    writers = await start_at_once(processes, database, record_days, work)
    deleted = 0
    while not all(writer.done() for writer in writers):
        deleted += (await filled.prune(on_day(OLD - 10), batch=50)).n_deleted
    assert await results_of(writers) == [40] * 8
    deleted += (await filled.prune(on_day(OLD - 10), batch=50)).n_deleted
    assert deleted > 8 * 200
    assert await count(pool, filled.schema) == 8 * (OLD + 40) - deleted
    for ref in REFS:
        days = {e.evaluation_date for e in await read_history(filled, ref)}
        assert {on_day(day + 1) for day in range(OLD - 10, OLD + 40)} <= days
        assert await replays(filled, ref)


@pytest.fixture
async def gatekeeper(filled: ModelPerformanceTracker, database: str) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that has the prunes' turn, and keeps it until it ends."""
    connection = await asyncpg.connect(database)
    await connection.execute("BEGIN")
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('model_perf prune ' || $1, 7307))", filled.schema
    )
    yield connection
    await connection.close()


async def test_a_prune_that_waits_holds_up_no_writer(
    filled: ModelPerformanceTracker, gatekeeper: asyncpg.Connection
) -> None:
    """While it waits for its turn it has locked nothing, and evaluations are recorded beside it."""
    waiting = asyncio.create_task(filled.prune(on_day(OLD - 10)))
    started = time.monotonic()
    for ref in REFS:
        await filled.record_many([noisy_evaluation(ref, OLD)])
    assert time.monotonic() - started < 5.0
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await gatekeeper.execute("COMMIT")
    assert (await waiting).n_deleted > 0


async def test_two_prunes_at_once_delete_each_row_once(
    filled: ModelPerformanceTracker, pool: asyncpg.Pool, database: str, processes: ProcessPoolExecutor
) -> None:
    """Four processes prune the same; together they count every row that is gone, and no row twice."""
    before = await count(pool, filled.schema)
    work = [(database, filled.schema, on_day(OLD - 10), 25)] * 4
    deleted = await run_at_once(processes, database, prune_slowly, work)
    assert sum(deleted) == before - await count(pool, filled.schema)
    assert sum(deleted) > 8 * 200
    assert all([await replays(filled, ref) for ref in REFS])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
async def test_a_prune_that_is_killed_leaves_whole_histories(
    filled: ModelPerformanceTracker, pool: asyncpg.Pool, database: str, share: float
) -> None:
    """SIGKILL after a part of the rows: every state replays, and the next prune does the rest."""
    before = await count(pool, filled.schema)
    planned = (await filled.prune(on_day(OLD - 10), dry_run=True, batch=5)).n_deleted
    with ProcessPoolExecutor(1) as alone:
        pid = await asyncio.wrap_future(alone.submit(os.getpid))
        [pruning] = await start_at_once(alone, database, prune_slowly, [(database, filled.schema, on_day(OLD - 10), 5)])
        while before - await count(pool, filled.schema) < share * planned:
            assert not pruning.done()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            await pruning
    gone = before - await count(pool, filled.schema)
    assert 0 < gone < planned
    assert all([await replays(filled, ref) for ref in REFS])
    rest = await filled.prune(on_day(OLD - 10), batch=5)
    assert rest.n_deleted > 0
    assert all([await replays(filled, ref) for ref in REFS])
