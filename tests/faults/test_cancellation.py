"""A task is cancelled in the middle of a call: no connection is lost, nothing is written by halves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from typing import Any

import asyncpg
from tests.drift.detectors import stream
from tests.factories import make_evaluation, make_ref
from tests.faults.states import BASELINE_DAYS, check_alert, check_state, count_rows, learn_baseline, read_history
from tests.faults.waits import check_pool, find_waiting, locked
from tests.writers import record

from model_perf import Evaluation, ModelPerformanceTracker, MonitoringPolicy
from model_perf.drift import CusumDetector

N = 120
LONGEST_S = 0.012
"""Above what a call takes on an idle machine, so that some are cancelled at each step and some come through."""


async def test_calls_cancelled_at_any_moment_are_whole_or_absent(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, host: asyncpg.Connection
) -> None:
    """Of critical evaluations cancelled at random moments each is there with state, alert and run, or not at all."""
    ref, moments = make_ref(), random.Random(7)
    await learn_baseline(tracker, ref)
    policy = MonitoringPolicy(retrain_on=("critical",))
    retraining = ModelPerformanceTracker(pool, schema=tracker.schema, policy=policy)
    done = 0
    for day in range(BASELINE_DAYS, BASELINE_DAYS + N):
        done += await _cancel(record(retraining, _critical(ref, day)), moments.uniform(0, LONGEST_S))
    assert 0 < done < N, "the moments are too early or too late"

    n_stored = len(await read_history(tracker, ref))
    assert n_stored >= BASELINE_DAYS + done
    await check_state(tracker, ref, n=n_stored)
    assert await check_alert(tracker, ref) == n_stored - BASELINE_DAYS
    assert len((await tracker.training.list_runs()).items) == 1
    await check_pool(pool)
    await _check_sessions(host)


async def test_batches_cancelled_at_any_moment_are_whole_or_absent(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, host: asyncpg.Connection
) -> None:
    """A batch that was cancelled, with and without duplicates, is there whole or not at all."""
    moments, written = random.Random(8), 0
    for i in range(40):
        batch = [make_evaluation(make_ref(f"model {i}"), day=day) for day in range(50)]
        await _cancel(tracker.record_many(batch[:25]), moments.uniform(0, LONGEST_S))
        await _cancel(tracker.record_many(batch), moments.uniform(0, 2 * LONGEST_S))
        stored = await read_history(tracker, batch[0].ref)
        assert len(stored) in (0, 25, 50)
        written += len(stored)
    assert written > 0
    await check_pool(pool)
    await _check_sessions(host)


async def test_values_of_a_stream_cancelled_at_any_moment_count_once(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, host: asyncpg.Connection
) -> None:
    """A batch whose answer nobody waited for is sent again: it was in, or is in now, and the alarm is the same."""
    moments, known = random.Random(10), 0
    detector, values = CusumDetector(mean=0.4, sd=0.25, run_length=200_000), stream(N * 25, missing=0.01)
    watched = tracker.stream(make_ref(), "error", detector=detector)
    for start in range(0, values.size, 25):
        part = slice(start, start + 25)
        ids = range(values.size)[part]
        came_through = await _cancel(watched.update_many(values[part], ids), moments.uniform(0, LONGEST_S / 2))
        again = await watched.update_many(values[part], ids)
        assert again.n_new == 0 if came_through else again.n_new in (0, 25)
        assert again.detector == detector.update_many(values[: part.stop], range(part.stop))
        known += came_through
    assert 0 < known < N, "the moments are too early or too late"
    assert again.drift_detected
    await check_pool(pool)
    await _check_sessions(host)


async def test_a_cancelled_bound_call_leaves_the_hosts_transaction_usable(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, host: asyncpg.Connection
) -> None:
    """The host's transaction goes on after a cancelled call, and commits what came through."""
    ref, moments, done = make_ref(), random.Random(9), 0
    async with pool.acquire() as connection:
        for day in range(40):
            async with connection.transaction():
                bound = tracker.bind(connection)
                done += await _cancel(record(bound, make_evaluation(ref, day=day)), moments.uniform(0, LONGEST_S))
                assert await connection.fetchval("SELECT 1") == 1
    assert done > 0
    assert len(await read_history(tracker, ref)) >= done
    await check_state(tracker, ref, n=len(await read_history(tracker, ref)))
    await check_pool(pool)


async def test_a_call_cancelled_while_it_waits_is_gone_from_the_server(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, host: asyncpg.Connection
) -> None:
    """The statement that waits for a lock is cancelled on the server too, and writes nothing afterwards."""
    async with locked(host, f"{tracker.schema}.model_performance_metrics"):
        call = asyncio.ensure_future(record(tracker, make_evaluation()))
        await find_waiting(host)
        call.cancel()
        assert isinstance((await asyncio.gather(call, return_exceptions=True))[0], asyncio.CancelledError)
        await check_pool(pool)
        await _check_sessions(host)
    assert sum((await count_rows(host, tracker.schema)).values()) == 0


def _critical(ref: Any, day: int) -> Evaluation:
    return make_evaluation(ref, day=day, metrics={"rmse": 30.0})


async def _cancel(call: Awaitable[object], after_s: float) -> bool:
    """Cancel *call* after a time; whether it came through before."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(after_s)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
        raise outcome
    return not isinstance(outcome, BaseException)


async def _check_sessions(host: asyncpg.Connection) -> None:
    """No backend of ours is at work or in a transaction, but for a moment: a cancel request is not waited for."""
    busy = (
        "SELECT array_agg(query) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend' AND (state <> 'idle' OR xact_start IS NOT NULL)"
    )
    for _ in range(100):
        # Inside a transaction PostgreSQL shows the activity of its first look again and again.
        await host.execute("SELECT pg_stat_clear_snapshot()")
        if (queries := await host.fetchval(busy)) is None:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(queries)
