"""What other processes do in the tests: each public function here runs in one, with a pool of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
from attrs import frozen
from tests.factories import START, make_evaluation, make_id, make_ref

from model_perf import (
    ConflictError,
    Evaluation,
    ModelPerformanceTracker,
    ModelRef,
    MonitoringPolicy,
    RecordedEvaluation,
    StorageError,
)
from model_perf.drift import detector_from_dict

GATE = 7_307_010
"""Key of the advisory lock that starts all processes at once."""

NOW = START + timedelta(days=400)


@frozen(kw_only=True)
class Answer:
    """What one process did, and which one it was."""

    pid: int
    result: Any


async def run_at_once(
    processes: ProcessPoolExecutor, dsn: str, work: Callable[..., Awaitable[Any]], arguments: Sequence[tuple[Any, ...]]
) -> list[Any]:
    """The results of *work* in as many processes as there are *arguments*, all let go in the same moment."""
    return await results_of(await start_at_once(processes, dsn, work, arguments))


async def start_at_once(
    processes: ProcessPoolExecutor, dsn: str, work: Callable[..., Awaitable[Any]], arguments: Sequence[tuple[Any, ...]]
) -> list[asyncio.Future[Answer]]:
    """The same, without waiting for the end; *work* has to call `pass_the_gate`."""
    keeper = await asyncpg.connect(dsn)
    await keeper.execute("SELECT pg_advisory_lock($1)", GATE)
    answers = [asyncio.wrap_future(processes.submit(in_process, work, each)) for each in arguments]
    try:
        await _wait_for_waiters(keeper, len(arguments), answers)
    finally:
        await keeper.close()
    return answers


async def results_of(answers: Sequence[asyncio.Future[Answer]]) -> list[Any]:
    """What the processes have done; each was one of its own."""
    done = await asyncio.gather(*answers)
    assert len({answer.pid for answer in done} - {os.getpid()}) == len(done)
    return [answer.result for answer in done]


async def record(tracker: ModelPerformanceTracker, evaluation: Evaluation) -> RecordedEvaluation:
    """`record` with the id of *evaluation*, so that a repeat is harmless."""
    return await tracker.record(
        evaluation.ref,
        evaluation_start=evaluation.evaluation_start,
        evaluation_end=evaluation.evaluation_end,
        metrics=evaluation.metrics,
        sample_count=evaluation.sample_count,
        data_completeness=evaluation.data_completeness,
        evaluation_date=evaluation.evaluation_date,
        evaluation_id=evaluation.id,
        metadata=evaluation.metadata,
    )


async def record_until_acknowledged(
    dsn: str, schema: str, log: str, ref: ModelRef, days: Sequence[int]
) -> dict[str, int]:
    """Record a day after the other, each until an answer comes, and note its id once it has come.

    The answer counts the calls that failed, those whose outcome was unknown, and the unknown ones that had been
    committed, as the repeat found out.
    """
    counts = {"failed": 0, "unknown": 0, "committed": 0}
    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=2, acquire_timeout_s=2.0) as tracker:
        await pass_the_gate(dsn)
        for day in days:
            evaluation = make_evaluation(ref, day=day)
            await _insist(tracker, evaluation, counts)
            _note(log, evaluation.id)
    return counts


async def record_days(dsn: str, schema: str, ref: ModelRef, days: Sequence[int]) -> int:
    """Record these days of one deployment; how many were new."""
    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=2) as tracker:
        await pass_the_gate(dsn)
        return sum([(await record(tracker, noisy_evaluation(ref, day))).is_new for day in days])


async def prune_slowly(dsn: str, schema: str, before: datetime, batch: int) -> int:
    """Prune in many short transactions; the rows that this process deleted."""
    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=1) as tracker:
        await pass_the_gate(dsn)
        return (await tracker.prune(before, batch=batch)).n_deleted


async def feed_stream(
    dsn: str, schema: str, ref: ModelRef, detector: dict[str, Any], values: Sequence[float], size: int
) -> int:
    """Feed a stream with numbered values, in batches; how many were new."""
    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=1) as tracker:
        stream = tracker.stream(ref, "error", detector=detector_from_dict(detector))
        await pass_the_gate(dsn)
        starts = range(0, len(values), size)
        numbers = range(len(values))
        return sum([(await stream.update_many(values[i : i + size], numbers[i : i + size])).n_new for i in starts])


async def feed_until_acknowledged(
    dsn: str, schema: str, log: str, ref: ModelRef, detector: dict[str, Any], values: Sequence[float], size: int
) -> int:
    """Feed a stream with numbered values, each batch until an answer comes, and note it then; how many calls failed."""
    failed = 0
    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=2, acquire_timeout_s=2.0) as tracker:
        stream = tracker.stream(ref, "error", detector=detector_from_dict(detector))
        await pass_the_gate(dsn)
        for i in range(0, len(values), size):
            while True:
                try:
                    await stream.update_many(values[i : i + size], range(len(values))[i : i + size])
                except StorageError as error:
                    if not error.retry_safe:
                        raise
                    failed += 1
                    await asyncio.sleep(0.05)
                else:
                    break
            _note(log, i)
    return failed


async def check_data(dsn: str, schema: str, ref: ModelRef, days: int) -> list[float | None]:
    """Check a window of each day, the later ones shifted, under an id of the day; where the alarm stood after each."""
    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=1) as tracker:
        await pass_the_gate(dsn)
        found = []
        for day in range(days):
            report = await tracker.check_data_drift(
                ref,
                {"load": np.random.default_rng(day + 1).normal(0.08 * day, 1.0, 200)},
                check_id=make_id(f"{ref.model_id} {day}"),
                window_start=START + timedelta(days=day),
                window_end=START + timedelta(days=day + 1),
            )
            found.append(report.alarm_value)
        return found


async def observe_parts(dsn: str, schema: str, test_id: UUID, seed: int, size: int) -> int:
    """Tell the same 20,000 observations as all others, in batches whose ids they share; how many batches were new."""
    arms, values, units = observations()
    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=1) as tracker:
        await pass_the_gate(dsn)
        new = 0
        for i in np.random.default_rng(seed).permutation(len(values) // size).tolist():
            part = slice(i * size, (i + 1) * size)
            batch = make_id(f"{test_id} {i}")
            new += await tracker.observe_many(
                test_id, arms=arms[part], values=values[part], units=units[part], batch_id=batch
            )
        return new


async def observe_until_killed(dsn: str, schema: str, test_id: UUID, told: str) -> None:
    """Observe a value a millisecond through a buffer that flushes every 100 ms, and note how many were told."""
    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=1) as tracker:
        await pass_the_gate(dsn)
        with open(told, "a", buffering=1) as file:  # noqa: ASYNC230 - lines, so that a kill leaves whole ones
            async with tracker.observer(test_id, flush_every_s=0.1) as observer:
                for n in range(1, 100_000):
                    observer.observe("ab"[n % 2], float(n), unit=n)
                    file.write(f"{os.getpid()} {n}\n")
                    await asyncio.sleep(0.001)


def observations() -> tuple[Any, Any, list[int]]:
    """Arms, values with a mean of 1e9 standard deviations, and units."""
    rng = np.random.default_rng(77)
    arms = np.array(["a", "b"])[rng.integers(0, 2, 20_000)]
    return arms, 1e9 + rng.normal(size=20_000), rng.integers(0, 3000, 20_000).tolist()


async def check_days(dsn: str, schema: str, ref: ModelRef, days: Sequence[int]) -> int:
    """Check a window of each of these days, none of which raises the alarm; how many windows were checked."""
    policy = MonitoringPolicy(drift_warning=0.0, false_alarm_run_length=1e6)
    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=2, policy=policy) as tracker:
        await pass_the_gate(dsn)
        for day in days:
            await tracker.check_data_drift(
                ref,
                {"load": np.random.default_rng(day + 1).normal(0.1, 1.0, 200)},
                window_start=START + timedelta(days=day),
                window_end=START + timedelta(days=day + 1),
            )
        return len(days)


async def run_checks(dsn: str, schema: str, times: int, now: datetime) -> list[tuple[int, int, int, int]]:
    """Do what is due; how many alerts of failures, silences, recoveries and new versions each round was first with."""
    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=2, clock=lambda: now) as tracker:
        await pass_the_gate(dsn)
        reports = [await tracker.run_checks() for _ in range(times)]
    assert all(report.is_ok for report in reports), [report.steps for report in reports]
    found = [(r.failures, r.stale, r.heard_again, r.retrained) for r in reports]
    return [tuple(len(alerts or ()) for alerts in each) for each in found]  # type: ignore[misc]


async def trigger_retraining(dsn: str, schema: str, times: int) -> list[tuple[bool, UUID]]:
    """Trigger a retraining of the same slot, *times* at once."""
    async with ModelPerformanceTracker.connect(dsn, schema=schema, min_size=times, max_size=times) as tracker:
        await pass_the_gate(dsn)
        triggers = await asyncio.gather(*(tracker.trigger_retraining(model_type="baseline") for _ in range(times)))
        return [(each.triggered, each.run.id) for each in triggers]


async def conclude(dsn: str, schema: str, test_id: UUID, times: int) -> list[bool]:
    """Conclude the same A/B test, *times* at once; which calls did it."""
    async with ModelPerformanceTracker.connect(dsn, schema=schema, min_size=times, max_size=times) as tracker:
        await pass_the_gate(dsn)

        async def has_won() -> bool:
            try:
                await tracker.ab_tests.conclude(test_id, decision="undecided", reason="the host's", now=NOW)
            except ConflictError:
                return False
            return True

        return await asyncio.gather(*(has_won() for _ in range(times)))


async def claim_all(dsn: str, schema: str, worker: str) -> list[UUID]:
    """Claim runs until none is due; their ids."""
    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=2) as tracker:
        await pass_the_gate(dsn)
        return await _claim_all(tracker, worker)


async def use_pooler(dsn: str, schema: str, gate: str, name: str) -> tuple[int, list[UUID]]:
    """Migrate, write, read and claim through a pooler in four tasks; evaluations written, and runs claimed."""
    pool = await asyncpg.create_pool(dsn, min_size=4, max_size=4, statement_cache_size=0)
    await pass_the_gate(gate)
    tracker = ModelPerformanceTracker(pool, schema=schema)
    await tracker.migrate()
    work = [_write_and_read(tracker, make_ref(f"{name} {i}", machine=f"{name} {i}")) for i in range(4)]
    written = sum(await asyncio.gather(*work))
    triggers = await asyncio.gather(*(tracker.trigger_retraining(model_type=f"type {i}") for i in range(8)))
    assert len({each.run.id for each in triggers}) == 8
    claimed = await asyncio.gather(*(_claim_all(tracker, f"{name} {i}") for i in range(4)))
    await pool.close()
    return written, [run_id for each in claimed for run_id in each]


async def _write_and_read(tracker: ModelPerformanceTracker, ref: ModelRef, days: int = 10) -> int:
    for day in range(days):
        assert (await record(tracker, make_evaluation(ref, day=day))).is_new
        latest = await tracker.metrics.fetch_latest(ref)
        assert latest is not None
        assert latest.id == make_evaluation(ref, day=day).id
        assert (await tracker.check_schema()).pending == ()
    done = await tracker.record_many([make_evaluation(ref, day=day) for day in range(2 * days)])
    assert (done.n_inserted, done.n_repeated) == (days, days)
    return 2 * days


async def _claim_all(tracker: ModelPerformanceTracker, worker: str) -> list[UUID]:
    claimed = []
    while run := await tracker.training.claim(worker, lease=timedelta(hours=1)):
        assert run.worker == worker
        claimed.append(run.id)
    return claimed


def noisy_evaluation(ref: ModelRef, day: int) -> Evaluation:
    """A day whose error depends on the day alone and never twice the same: 10 ± 0.5."""
    spread = make_id(f"noise {day}").int % 1000 / 1000 - 0.5
    return make_evaluation(ref, day=day, metrics={"rmse": 10.0 + spread})


async def pass_the_gate(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("SELECT pg_advisory_lock_shared($1)", GATE)
    await connection.close()


async def _insist(tracker: ModelPerformanceTracker, evaluation: Evaluation, counts: dict[str, int]) -> None:
    is_unknown = False
    while True:
        try:
            stored = await record(tracker, evaluation)
        except StorageError as error:
            if not error.retry_safe:
                raise
            counts["failed"] += 1
            counts["unknown"] += error.outcome_unknown
            is_unknown = is_unknown or error.outcome_unknown
            await asyncio.sleep(0.05)
        else:
            assert stored.is_new or is_unknown
            counts["committed"] += not stored.is_new
            return


def _note(log: str, number: UUID | int) -> None:
    with Path(log).open("a") as file:
        file.write(f"{number}\n")


def in_process(work: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]) -> Answer:
    """Do *work* in a loop of its own, for a minute at most."""

    async def limited() -> Any:
        async with asyncio.timeout(60):
            return await work(*arguments)

    return Answer(pid=os.getpid(), result=asyncio.run(limited()))


async def _wait_for_waiters(keeper: asyncpg.Connection, n: int, answers: Sequence[asyncio.Future[Answer]]) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted"
    async with asyncio.timeout(60):
        while await keeper.fetchval(waiting, GATE) < n:
            for answer in answers:
                if answer.done():
                    answer.result()
            await asyncio.sleep(0.02)
