"""The server dies under writers, and writers fight over one deployment: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from uuid import UUID

import pytest
from tests.drift.detectors import stream
from tests.factories import make_ref
from tests.faults.states import check_state, read_history, read_state
from tests.servers import KillableServer
from tests.writers import (
    Answer,
    feed_until_acknowledged,
    observe_until_killed,
    record_days,
    record_until_acknowledged,
    results_of,
    run_at_once,
    start_at_once,
)

from model_perf import ModelPerformanceTracker, MonitoringPolicy
from model_perf.drift import CusumDetector, replay

DAYS = 60
KILLS_AT = (60, 240)
"""Acknowledged evaluations, of 8 * DAYS, at which the server is killed."""


async def test_nothing_acknowledged_is_lost_and_no_repeat_writes_twice(
    killable_server: KillableServer, processes: ProcessPoolExecutor, tmp_path: Path
) -> None:
    """Eight processes, two on each of four deployments, write through two SIGKILLs of the whole server."""
    dsn, refs = killable_server.dsn, [make_ref(f"model {i % 4}") for i in range(8)]
    async with ModelPerformanceTracker.connect(dsn) as tracker:
        await tracker.migrate()
    logs = [tmp_path / f"{i}.log" for i in range(8)]
    work = [
        (dsn, "model_perf", str(log), ref, range(i // 4, 2 * DAYS, 2))
        for i, (log, ref) in enumerate(zip(logs, refs, strict=True))
    ]
    writers = await start_at_once(processes, dsn, record_until_acknowledged, work)
    for count in KILLS_AT:
        await _wait_until_acknowledged(logs, count, writers)
        killable_server.kill()
        await asyncio.to_thread(killable_server.restart)
    counts = await results_of(writers)

    # A kill in the middle of the work breaks a call of somebody at least.
    assert sum(each["failed"] for each in counts) > 0
    acknowledged = [UUID(line) for log in logs for line in log.read_text().splitlines()]
    assert len(set(acknowledged)) == len(acknowledged) == 8 * DAYS
    async with ModelPerformanceTracker.connect(dsn) as tracker:
        stored: Counter[UUID] = Counter()
        for ref in set(refs):
            stored.update(each.id for each in await read_history(tracker, ref))
            await check_state(tracker, ref, n=2 * DAYS)
    assert stored == dict.fromkeys(acknowledged, 1)


async def test_a_stream_fed_through_a_crash_is_that_of_one_batch(
    killable_server: KillableServer, processes: ProcessPoolExecutor, tmp_path: Path
) -> None:
    """Four processes send the same numbered values through a SIGKILL of the server: each counts once, none is lost."""
    dsn, ref = killable_server.dsn, make_ref()
    detector, values = CusumDetector(mean=0.4, sd=0.25, run_length=200_000), stream(3000, missing=0.01)
    async with ModelPerformanceTracker.connect(dsn) as tracker:
        await tracker.migrate()
    logs = [tmp_path / f"{i}.log" for i in range(4)]
    work = [(dsn, "model_perf", str(log), ref, detector.to_dict(), values.tolist(), 20) for log in logs]
    feeders = await start_at_once(processes, dsn, feed_until_acknowledged, work)
    await _wait_until_acknowledged(logs, 200, feeders)
    killable_server.kill()
    await asyncio.to_thread(killable_server.restart)
    assert sum(await results_of(feeders)) > 0
    async with ModelPerformanceTracker.connect(dsn) as tracker:
        assert await tracker.stream(ref, "error").fetch() == detector.update_many(values, range(3000))


async def test_eight_writers_of_one_deployment_leave_the_state_of_a_replay(
    processes: ProcessPoolExecutor, tracker: ModelPerformanceTracker, database: str
) -> None:
    """Eight processes race for one state: all is stored, and the state is that of judging what counted in order."""
    ref = make_ref()
    work = [(database, tracker.schema, ref, range(i, 160, 8)) for i in range(8)]
    new = await run_at_once(processes, database, record_days, work)

    assert new == [20] * 8
    counted = await check_state(tracker, ref, n=160)
    assert counted < 160, "nobody raced"
    await tracker.rebuild_state(ref)
    _, replayed = replay(await read_history(tracker, ref), MonitoringPolicy())
    assert await read_state(tracker, ref) == (161, replayed)
    assert replayed.n == 160


async def _wait_until_acknowledged(logs: Sequence[Path], count: int, writers: Sequence[asyncio.Future[Answer]]) -> None:
    async with asyncio.timeout(60):
        while sum(log.read_text().count("\n") for log in logs if log.exists()) < count:
            ended = [writer.result() for writer in writers if writer.done()]  # or its error
            assert len(ended) < len(writers), "all writers end before the server is killed"
            await asyncio.sleep(0.01)


async def test_a_killed_process_loses_its_last_flush_at_most(
    tracker: ModelPerformanceTracker, database: str, tmp_path: Path
) -> None:
    """A process with a buffer is killed in the middle: what is in is whole, and at most some flushes short."""
    test = await tracker.start_ab_test(
        name="n", model_a=make_ref(version=1), model_b=make_ref(version=2), metric="own", direction="lower"
    )
    told = tmp_path / "told"
    with ProcessPoolExecutor(1) as alone:
        [observing] = await start_at_once(
            alone, database, observe_until_killed, [(database, tracker.schema, test.id, str(told))]
        )
        for _ in range(3000):
            if told.exists() and _last_told(told)[1] >= 600:
                break
            await asyncio.sleep(0.02)
        os.kill(_last_told(told)[0], signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            await observing
    _, n = _last_told(told)
    kept = sum(row["n"] for row in await tracker.ab_tests.fetch_moments(test.id))
    assert n - 300 <= kept <= n + 1  # one may have been observed and not noted
    batches = f"SELECT sum(n) FROM {tracker.schema}.model_ab_batches"
    assert kept == await tracker.pool.fetchval(batches)  # type: ignore[attr-defined]


def _last_told(path: Path) -> tuple[int, int]:
    """Process and number of the last whole line; 0 before the first."""
    whole = path.read_text().rpartition("\n")[0].splitlines()
    pid, n = map(int, whole[-1].split()) if whole else (0, 0)
    return pid, n
