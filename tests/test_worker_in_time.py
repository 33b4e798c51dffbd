"""The worker in time: leases and clocks, progress, draining, its end, and who is told that no worker is there."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.faults.counting_proxy import counting_proxy
from tests.trainings import FAST, open_run, outcome, sleeper, until, until_ended, work

from model_perf import (
    ConflictError,
    InvalidInputError,
    ModelPerformanceTracker,
    StorageError,
    TrainingContext,
    TrainingOutcome,
    TrainingRun,
    Worker,
)
from model_perf import worker as worker_module


async def test_a_worker_that_has_ended_is_drained(tracker: ModelPerformanceTracker) -> None:
    """Nobody would ever say so to who waits for it then."""
    tracker.trainer("baseline")(lambda run, context: outcome())
    async with tracker.worker(**FAST) as worker:
        pass
    await asyncio.wait_for(worker.drain(), 1.0)


async def test_a_drain_waits_for_what_is_trained(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes without the database, and then for its report."""
    monkeypatch.setattr(worker_module, "LONGEST_SILENCE_S", 2.0)
    complete, asked, is_away = tracker.complete_training, tracker.training.claim_many, True

    async def claim(*args: Any, **options: Any) -> list[TrainingRun]:
        if options["held"] and is_away:
            raise StorageError("no connection", retry_safe=True)
        return await asked(*args, **options)

    async def report(run_id: Any, attempt: int, made: TrainingOutcome) -> TrainingRun:
        nonlocal is_away
        await asyncio.sleep(0.2)
        is_away = False
        return await complete(run_id, attempt, made)

    monkeypatch.setattr(tracker.training, "claim_many", claim)
    monkeypatch.setattr(tracker, "complete_training", report)
    tracker.trainer("baseline")(sleeper(3.0))
    run = await open_run(tracker)
    async with tracker.worker(**FAST | {"concurrency": 2}) as worker:
        await worker.drain()
    assert (await tracker.training.fetch_run(run.id)).training_status == "completed"


async def test_a_drain_of_a_worker_that_polls_rarely_asks_at_once(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it has not asked for long is not the database's silence."""
    monkeypatch.setattr(worker_module, "LONGEST_SILENCE_S", 0.2)
    tracker.trainer("baseline")(lambda run, context: outcome())
    async with tracker.worker(**FAST | {"poll_s": 3600.0}) as worker:
        await asyncio.sleep(1.0)
        run = await open_run(tracker)
        await worker.drain()
    assert (await tracker.training.fetch_run(run.id)).training_status == "completed"


async def test_a_cancelled_run_ends_its_trainer(tracker: ModelPerformanceTracker) -> None:
    """A coroutine is cancelled at the next heartbeat; a thread hears of it at its next progress."""
    ended: list[str] = []

    @tracker.trainer("baseline")
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("coroutine")
            raise
        raise AssertionError

    @tracker.trainer("threaded")
    def train_in_thread(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        try:
            while True:
                context.progress(0.1)
                time.sleep(0.01)
        except ConflictError as conflict:
            ended.append("thread" if "cancelled" in str(conflict) else str(conflict))
            raise

    runs = [await open_run(tracker), await open_run(tracker, "threaded")]
    async with tracker.worker(**FAST | {"concurrency": 2}) as worker:
        await until(lambda: len(worker.running) == 2)
        for run in runs:
            await tracker.training.cancel(run.id, reason="not wanted")
        await worker.drain()
    assert sorted(ended) == ["coroutine", "thread"]
    for run in runs:
        stored = await tracker.training.fetch_run(run.id)
        assert (stored.training_status, stored.error_message) == ("cancelled", "not wanted")


async def test_a_blocked_loop_loses_its_lease(
    tracker: ModelPerformanceTracker, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A coroutine that blocks for longer than the lease loses its run to another worker; its outcome is refused."""
    begun = threading.Event()

    async def block(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        begun.set()
        time.sleep(1.5)  # noqa: ASYNC251
        return outcome(version=13)

    async def work_in_another_loop() -> None:
        async with ModelPerformanceTracker.connect(database, schema=tracker.schema, max_size=2) as other:
            other.trainer("baseline")(block)
            async with other.worker(**FAST) as worker:
                await until(begun.is_set)
                worker.stop()

    run = await open_run(tracker)
    blocked = asyncio.create_task(asyncio.to_thread(asyncio.run, work_in_another_loop()))
    await asyncio.to_thread(begun.wait, 10)
    tracker.trainer("baseline")(lambda run, context: outcome(version=2))
    run = await work(tracker, run)
    await blocked
    assert await tracker.training.fetch_run(run.id) == run
    assert (run.training_status, run.attempt, run.model_version) == ("completed", 2, 2)
    assert [m.ref.model_version for m in (await tracker.list_models()).items] == [2]
    assert "the lease was lost" in caplog.text


@pytest.mark.parametrize("jump", [timedelta(hours=-5), timedelta(hours=5)])
async def test_a_clock_that_jumps_loses_nothing(pool: asyncpg.Pool, schema: str, jump: timedelta) -> None:
    """The clock is set back or forward while a run is trained: its lease holds, and it completes in one attempt."""
    offset = timedelta()
    tracker = ModelPerformanceTracker(pool, schema=schema, clock=lambda: datetime.now(UTC) + offset)
    await tracker.migrate()

    @tracker.trainer("baseline")
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        nonlocal offset
        offset = jump
        await asyncio.sleep(1.0)
        return outcome()

    run = await open_run(tracker)
    async with tracker.worker(**FAST | {"concurrency": 2}):
        await until_ended(tracker, run)
    run = await tracker.training.fetch_run(run.id)
    assert (run.training_status, run.attempt) == ("completed", 1)
    assert run.model_version == 2


async def test_a_worker_whose_clock_is_fast_does_nothing_twice(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """By its clock every lease of the others has run out: it takes their runs, and they are refused."""
    fast = ModelPerformanceTracker(pool, schema=tracker.schema, clock=lambda: datetime.now(UTC) + timedelta(hours=5))
    begun = asyncio.Event()

    @tracker.trainer("baseline")
    async def train_slowly(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        begun.set()
        await asyncio.sleep(30)
        return outcome(version=13)

    @fast.trainer("baseline")
    async def train_fast(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        return outcome(version=2)

    run = await open_run(tracker)
    async with tracker.worker(**FAST) as slow:
        await begun.wait()
        run = await work(fast, run)
        await until(lambda: not slow.running)  # told at its next heartbeat
    assert await tracker.training.fetch_run(run.id) == run
    assert (run.training_status, run.attempt, run.model_version) == ("completed", 2, 2)
    assert "its outcome will not be heard" in caplog.text


async def test_the_worker_at_its_end_finishes_or_hands_back(tracker: ModelPerformanceTracker) -> None:
    """Within grace_s runs are finished; what is not done then waits for another worker, and costs no attempt."""
    for kind, seconds in (("short", 0.3), ("long", 60.0)):
        tracker.trainer(kind)(sleeper(seconds))
    runs = {kind: await open_run(tracker, kind) for kind in ("short", "long")}
    async with tracker.worker(**FAST | {"concurrency": 2, "grace_s": 0.8}) as worker:
        await until(lambda: len(worker.running) == 2)
    short, long = [await tracker.training.fetch_run(run.id) for run in runs.values()]
    assert short.training_status == "completed"
    assert (long.training_status, long.worker, long.attempt, long.max_attempts) == ("pending", None, 1, 4)
    [seen] = await tracker.workers.list_workers(since=datetime.now(UTC) - timedelta(minutes=1))
    assert seen.worker == worker.name
    assert seen.stopped_at is not None


async def test_a_coroutine_cleans_up_before_its_run_is_handed_back(tracker: ModelPerformanceTracker) -> None:
    """It is cancelled once, and nobody begins the run anew while it clears away what it had begun."""
    cleaned: list[str] = []

    @tracker.trainer("baseline")
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.5)
            cleaned.append((await tracker.training.fetch_run(run.id)).training_status)
        raise AssertionError

    run = await open_run(tracker)
    async with tracker.worker(**FAST | {"grace_s": 0.0}) as worker:
        await until(lambda: len(worker.running) == 1)
        await asyncio.sleep(0.1)
    assert cleaned == ["running"]
    assert (await tracker.training.fetch_run(run.id)).training_status == "pending"


async def test_an_idle_worker_asks_once_per_poll(tracker: ModelPerformanceTracker, database: str) -> None:
    """A poll is one statement, and the pool's reset; a worker whose slots are all taken asks nothing."""
    async with (
        counting_proxy(database) as (dsn, trips),
        ModelPerformanceTracker.connect(dsn, schema=tracker.schema, max_size=1) as far,
    ):
        far.trainer("baseline")(sleeper(1.0))
        async with far.worker(**FAST | {"poll_s": 0.1, "lease_s": 60}) as worker:
            await worker.drain()
            before, began = trips.n, time.monotonic()
            await asyncio.sleep(1.0)
            polls = (time.monotonic() - began) / 0.1
            assert trips.n - before <= 2 * (polls + 1)
            assert trips.n - before >= polls  # it did poll
            await open_run(tracker)
            await until(lambda: len(worker.running) == 1)
            await asyncio.sleep(0.1)
            before = trips.n
            await asyncio.sleep(0.5)
            assert trips.n == before


async def test_progress_is_kept_within_a_second_and_rarely_written(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand reports of progress are a few writes; the newest is what is kept."""

    @tracker.trainer("baseline")
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        for i in range(10_000):
            await context.progress(i / 20_000, f"step {i}")
        await until(lambda: has_last(run))
        return outcome()

    async def has_last(run: TrainingRun) -> bool:
        kept = await tracker.training.fetch_run(run.id)
        return (kept.progress, kept.metadata.get("stage")) == (9_999 / 20_000, "step 9999")

    heartbeat, n_beats = tracker.training.heartbeat, 0

    async def count(*args: Any, **options: Any) -> TrainingRun:
        nonlocal n_beats
        n_beats += 1
        return await heartbeat(*args, **options)

    monkeypatch.setattr(tracker.training, "heartbeat", count)
    began = time.monotonic()
    assert (await work(tracker, await open_run(tracker))).training_status == "completed"
    assert n_beats <= (time.monotonic() - began) / 0.2 + 1  # a third of the lease apart


async def test_who_opens_a_run_hears_that_no_worker_is_there(pool: asyncpg.Pool, schema: str) -> None:
    """Never seen, seen long ago, stopped, alive: the notice says which, and is silent while one is alive."""
    now = datetime(2024, 1, 1, tzinfo=UTC)
    tracker = ModelPerformanceTracker(pool, schema=schema, clock=lambda: now)
    await tracker.migrate()
    trigger = await tracker.trigger_retraining(model_type="baseline")
    assert trigger.notice == "queued, no worker for 'baseline' was ever seen"
    assert trigger.workers_seen_at is None
    await tracker.workers.start("w", ["baseline", "other"])
    assert (await tracker.trigger_retraining(model_type="baseline")).notice is None
    assert (await tracker.trigger_retraining(model_type="third")).notice is not None
    seen, now = now, now + timedelta(minutes=2)
    trigger = await tracker.trigger_retraining(model_type="baseline")
    assert trigger.notice == f"queued, no worker seen since {seen.isoformat()}"
    assert trigger.workers_seen_at == seen
    await tracker.training.claim_many("w", model_types=["other"], limit=1, lease=timedelta(1), upkeep=True)
    assert (await tracker.trigger_retraining(model_type="other")).notice is None
    await tracker.workers.stop("w")
    assert (await tracker.trigger_retraining(model_type="other")).notice is not None
    await tracker.training.claim("by hand", lease=timedelta(1), model_type="other")
    assert (await tracker.trigger_retraining(model_type="other")).notice is None  # somebody has it


async def test_a_worker_that_was_killed_hides_none_that_has_stopped(pool: asyncpg.Pool, schema: str) -> None:
    """One never said that it stops, long ago; another one just did: there is none, and the notice says so."""
    now = datetime(2024, 1, 1, tzinfo=UTC)
    tracker = ModelPerformanceTracker(pool, schema=schema, clock=lambda: now)
    await tracker.migrate()
    await tracker.workers.start("killed", ["baseline"])
    now += timedelta(days=1)
    await tracker.workers.start("stopped", ["baseline"])
    await tracker.workers.stop("stopped")
    trigger = await tracker.trigger_retraining(model_type="baseline")
    assert trigger.notice == f"queued, no worker seen since {now.isoformat()}"
    assert (await tracker.dashboard.training()).notices == {trigger.run.id: trigger.notice}


async def test_a_worker_that_polls_rarely_is_alive(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so every ten seconds, however seldom it looks for runs: it takes none up meanwhile."""
    monkeypatch.setattr(worker_module, "UPKEEP_EVERY_S", 0.1)
    tracker.trainer("baseline")(lambda run, context: outcome())
    async with tracker.worker(**FAST | {"poll_s": 3600.0}) as worker:
        await worker.drain()
        run, begun = await open_run(tracker), datetime.now(UTC)

        async def is_seen_again() -> bool:
            return len(await tracker.workers.list_workers(since=begun + timedelta(seconds=0.3))) == 1

        await until(is_seen_again)
        assert (await tracker.training.fetch_run(run.id)).training_status == "pending"
        await worker.drain()
        assert (await tracker.training.fetch_run(run.id)).training_status == "completed"


async def test_a_worker_is_entered_once(tracker: ModelPerformanceTracker) -> None:
    """Its slots and its end belong to one life."""
    tracker.trainer("baseline")(lambda run, context: outcome())
    worker: Worker = tracker.worker(**FAST)
    async with worker:
        pass
    with pytest.raises(InvalidInputError, match="entered already"):
        async with worker:
            pass
