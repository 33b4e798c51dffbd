"""The worker while the database is away, hangs, loses an answer, or refuses."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.factories import make_id, make_ref
from tests.trainings import FAST, PRESS, open_run, outcome, sleeper, until, until_ended, work

from model_perf import ModelPerformanceTracker, SchemaError, StorageError, TrainingOutcome, TrainingRun
from model_perf import _attempt as attempts
from model_perf import worker as worker_module


@pytest.mark.parametrize("what", ["claim_many", "complete_training"])
async def test_a_drain_ends_though_the_database_stays_away(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Whether it is asked for runs, or told of one, or does not answer at all: a cron job does not hang for ever."""
    monkeypatch.setattr(worker_module, "LONGEST_SILENCE_S", 0.5)
    monkeypatch.setattr(worker_module, "TO_END_S", 0.1)

    async def hang(*args: Any, **options: Any) -> Any:
        if what == "complete_training":
            tracker.training.claim_many = hang  # type: ignore[method-assign]
        await asyncio.Event().wait()

    tracker.trainer("baseline")(lambda run, context: outcome())
    await open_run(tracker)
    monkeypatch.setattr(tracker.training if what == "claim_many" else tracker, what, hang)
    began = time.monotonic()
    async with tracker.worker(**FAST | {"grace_s": 0.0}) as worker:
        with pytest.raises(StorageError, match=r"has not answered for 0\.5 s") as away:
            await worker.drain()
    assert away.value.retry_safe
    assert time.monotonic() - began < 10.0


async def test_a_worker_begins_and_ends_though_the_database_hangs(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not refuse the connection, it never answers; what is due is done once it does."""
    monkeypatch.setattr(worker_module, "TO_NOTE_S", 0.1)

    async def hang(*args: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(tracker.workers, "start", hang)
    monkeypatch.setattr(tracker.workers, "stop", hang)
    tracker.trainer("baseline")(lambda run, context: outcome())
    run = await open_run(tracker)
    async with asyncio.timeout(10.0):
        assert (await work(tracker, run)).training_status == "completed"
    assert "starts without the database: no answer" in caplog.text
    assert "its end is not noted: no answer" in caplog.text


async def test_a_worker_that_starts_without_the_database_is_seen_later(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first look says that it lives; who opens a run hears nothing of a missing worker."""

    async def refuse(*args: Any) -> None:
        raise StorageError("no connection", retry_safe=True)

    tracker.trainer("other")(lambda run, context: outcome())
    worker = tracker.worker(**FAST)
    with monkeypatch.context() as patch:
        patch.setattr(tracker.workers, "start", refuse)
        await worker.__aenter__()
    await worker.drain()
    [seen] = await tracker.workers.list_workers(since=datetime.now(UTC) - timedelta(minutes=1))
    assert (seen.worker, seen.model_types, seen.stopped_at) == (worker.name, ("other",), None)
    assert seen.started_at <= seen.seen_at
    assert (await tracker.trigger_retraining(model_type="other")).notice is None
    await worker.__aexit__(None, None, None)


async def test_a_worker_without_tables_says_so(pool: asyncpg.Pool, schema: str) -> None:
    """On a schema that is not migrated it does not begin."""
    tracker = ModelPerformanceTracker(pool, schema=schema)
    tracker.trainer("baseline")(lambda run, context: outcome())
    with pytest.raises(SchemaError):
        async with tracker.worker():
            pass


async def test_a_report_whose_answer_is_lost_is_heard(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was committed and the connection broke: the repeat finds it done, and nobody takes that for a lost lease."""
    complete, calls = tracker.complete_training, list[int]()

    async def break_after_the_first(run_id: Any, attempt: int, made: TrainingOutcome) -> TrainingRun:
        calls.append(attempt)
        run = await complete(run_id, attempt, made)
        if len(calls) == 1:
            raise StorageError("the connection was lost", retry_safe=True, outcome_unknown=True)
        return run

    monkeypatch.setattr(tracker, "complete_training", break_after_the_first)
    tracker.trainer("baseline")(lambda run, context: outcome())
    run = await work(tracker, await open_run(tracker))
    assert (run.training_status, calls) == ("completed", [1, 1])
    assert "its report waits for the database" in caplog.text
    assert "lease was lost" not in caplog.text


async def test_a_report_waits_for_the_database(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than the lease, which is renewed once it is back; nobody else is given the run meanwhile."""
    complete, until_then = tracker.complete_training, time.monotonic() + 1.0

    async def refuse_for_a_second(run_id: Any, attempt: int, made: TrainingOutcome) -> TrainingRun:
        if time.monotonic() < until_then:
            raise StorageError("no connection", retry_safe=True)
        return await complete(run_id, attempt, made)

    monkeypatch.setattr(tracker, "complete_training", refuse_for_a_second)
    tracker.trainer("baseline")(lambda run, context: outcome())
    run = await work(tracker, await open_run(tracker), concurrency=2)
    assert (run.training_status, run.attempt) == ("completed", 1)


async def test_a_report_waits_for_the_database_for_days(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it was not heard; the pauses between do not grow beyond what a number can hold."""
    complete, calls = tracker.complete_training, list[int]()
    sleep = asyncio.sleep

    async def refuse_two_thousand_times(run_id: Any, attempt: int, made: TrainingOutcome) -> TrainingRun:
        calls.append(attempt)
        if len(calls) <= 2000:  # 2.0**1024 is no number any more
            raise StorageError("no connection", retry_safe=True)
        return await complete(run_id, attempt, made)

    tracker.trainer("baseline")(lambda run, context: outcome())
    run = await open_run(tracker)
    async with tracker.worker(**FAST | {"lease_s": 60.0}):
        with monkeypatch.context() as patch:
            patch.setattr(tracker, "complete_training", refuse_two_thousand_times)
            patch.setattr(asyncio, "sleep", lambda seconds: sleep(0))
            await until(lambda: len(calls) > 2000)
        await until_ended(tracker, run)
    run = await tracker.training.fetch_run(run.id)
    assert (run.training_status, run.attempt) == ("completed", 1)


async def test_a_heartbeat_that_goes_wrong_is_followed_by_others(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever was wrong with it: the run stays with its attempt, though others look for runs."""
    heartbeat, calls = tracker.training.heartbeat, list[int]()

    async def break_once(*args: Any, **options: Any) -> TrainingRun:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a bug of somebody's")
        return await heartbeat(*args, **options)

    monkeypatch.setattr(tracker.training, "heartbeat", break_once)
    tracker.trainer("baseline")(sleeper(1.5))  # more than twice the lease
    run = await open_run(tracker)
    async with tracker.worker(**FAST), tracker.worker(**FAST):
        await until_ended(tracker, run)
    run = await tracker.training.fetch_run(run.id)
    assert (run.training_status, run.attempt) == ("completed", 1)
    assert "a bug of somebody's" in caplog.text


async def test_a_worker_ends_though_its_report_is_not_heard(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database stays away: after grace_s it gives up, and the run is another's once its lease has run out."""
    monkeypatch.setattr(worker_module, "TO_END_S", 0.2)

    async def refuse(run_id: Any, attempt: int, made: TrainingOutcome) -> TrainingRun:
        raise StorageError("no connection", retry_safe=True)

    with monkeypatch.context() as patch:
        patch.setattr(tracker, "complete_training", refuse)
        tracker.trainer("baseline")(lambda run, context: outcome())
        run = await open_run(tracker)
        async with tracker.worker(**FAST | {"grace_s": 0.2}) as worker:
            await until(lambda: len(worker.running) == 1)
            began = time.monotonic()
        assert time.monotonic() - began < 5.0
        assert worker.running == ()
    run = await work(tracker, run)
    assert (run.training_status, run.attempt) == ("completed", 2)


@pytest.mark.parametrize("error", [StorageError("lost", retry_safe=False, outcome_unknown=True), RuntimeError("a bug")])
async def test_a_claim_whose_answer_is_lost_is_handed_back(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """At once, and not after the lease, where a run of one attempt would have failed without ever being trained.

    What another worker of the same name has in hand stays there.
    """
    claim, calls = tracker.training.claim_many, list[int]()
    other = (await tracker.training.open_run(model_type="baseline", machine_id=make_id("machine lathe")))[0]
    assert await tracker.training.claim("same", lease=timedelta(hours=1)) is not None

    async def lose_the_first(*args: Any, **options: Any) -> list[TrainingRun]:
        claimed = await claim(*args, **options)
        calls.append(len(claimed))
        if len(calls) == 1:
            raise error
        return claimed

    monkeypatch.setattr(tracker.training, "claim_many", lose_the_first)
    tracker.trainer("baseline")(lambda run, context: outcome())
    run, _ = await tracker.training.open_run(model_type="baseline", machine_id=PRESS, max_attempts=1)
    async with tracker.worker(**FAST | {"lease_s": 60.0, "name": "same"}):
        await until_ended(tracker, run)
    run = await tracker.training.fetch_run(run.id)
    assert (calls[0], run.training_status, run.attempt, run.max_attempts) == (1, "completed", 2, 2)
    held = await tracker.training.fetch_run(other.id)
    assert (held.training_status, held.attempt) == ("running", 1)


@pytest.mark.parametrize("what", ["claim_many", "heartbeat", "complete_training"])
async def test_a_call_that_is_never_answered_is_made_again(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """As on a connection whose other end is gone without a word; the run stays with its attempt, and is completed."""
    monkeypatch.setattr(attempts, "TO_BEAT_S", 0.2)
    monkeypatch.setattr(attempts, "TO_REPORT_S", 0.5)
    monkeypatch.setattr(worker_module, "TO_CLAIM_S", 0.5)
    tracker._executor.acquire_timeout_s = 0.2
    owner = tracker if what == "complete_training" else tracker.training
    call, calls = getattr(owner, what), list[int]()

    async def hang_once(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return await call(*args, **options)

    monkeypatch.setattr(owner, what, hang_once)
    tracker.trainer("baseline")(sleeper(2.0))  # twice the lease
    run = await open_run(tracker)
    async with asyncio.timeout(20.0), tracker.worker(**FAST | {"lease_s": 1.0}):
        await until_ended(tracker, run)
    run = await tracker.training.fetch_run(run.id)
    assert (run.training_status, run.attempt, len(calls) > 1) == ("completed", 1, True)


async def test_whatever_goes_wrong_with_a_claim_it_goes_on(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that silently stopped asking would be worse than one that complains."""
    claim, calls = tracker.training.claim_many, list[int]()

    async def break_twice(*args: Any, **options: Any) -> list[TrainingRun]:
        calls.append(1)
        if len(calls) <= 2:
            raise RuntimeError("a bug of somebody's")
        return await claim(*args, **options)

    monkeypatch.setattr(tracker.training, "claim_many", break_twice)
    tracker.trainer("baseline")(lambda run, context: outcome())
    assert (await work(tracker, await open_run(tracker))).training_status == "completed"
    assert caplog.text.count("a bug of somebody's") >= 2


@asynccontextmanager
async def as_role(
    rights: str, of: ModelPerformanceTracker, pool: asyncpg.Pool, database: str
) -> AsyncIterator[ModelPerformanceTracker]:
    """The same tables by a role that has no other rights."""
    role = f"role_{of.schema}"
    await pool.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA {of.schema} TO {role};"
        f"GRANT {rights} ON ALL TABLES IN SCHEMA {of.schema} TO {role}"
    )
    try:
        async with asyncpg.create_pool(database, user=role, password="secret", min_size=1, max_size=2) as own:
            yield ModelPerformanceTracker(own, schema=of.schema)
    finally:
        await pool.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def test_a_worker_needs_a_writers_rights_only(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, database: str
) -> None:
    """SELECT, INSERT, UPDATE: nothing of what it does deletes."""
    run = await open_run(tracker)
    async with as_role("SELECT, INSERT, UPDATE", tracker, pool, database) as writer:
        writer.trainer("baseline")(lambda run, context: outcome())
        assert (await work(writer, run)).training_status == "completed"
        assert (await writer.promote(make_ref(version=2))).is_new
        await writer.promote(make_ref(version=3))
        await writer.roll_back("baseline", PRESS)


async def test_a_worker_without_rights_says_so(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, database: str
) -> None:
    """It does not begin, and wait for a database that is there."""
    async with as_role("SELECT", tracker, pool, database) as reader:
        reader.trainer("baseline")(lambda run, context: outcome())
        with pytest.raises(StorageError, match="permission denied"):
            async with reader.worker(**FAST):
                pass


async def test_claims_end_while_the_database_is_away(
    tracker: ModelPerformanceTracker, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker whose claims are refused goes on asking, more rarely, and works once it is answered."""
    tracker.trainer("baseline")(lambda run, context: outcome())
    caplog.set_level(logging.WARNING)
    async with tracker.pool.acquire() as connection:
        table = f"{tracker.schema}.model_training_history"
        async with tracker.worker(**FAST) as worker:
            await worker.drain()
            await connection.execute(f"ALTER TABLE {table} RENAME TO away")
            await until(lambda: caplog.text.count("no claim") >= 2)
            await connection.execute(f"ALTER TABLE {tracker.schema}.away RENAME TO model_training_history")
            run = await open_run(tracker)
            await until_ended(tracker, run)
    assert (await tracker.training.fetch_run(run.id)).training_status == "completed"
