"""The worker and its trainers: what comes of runs that end well, badly, late, or not at all."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.factories import make_id, make_ref
from tests.faults.counting_proxy import counting_proxy
from tests.trainings import FAST, PRESS, open_run, outcome, until, until_ended

from model_perf import (
    ConflictError,
    InvalidInputError,
    ModelPerformanceTracker,
    SchemaError,
    StorageError,
    TrainingContext,
    TrainingOutcome,
    TrainingRun,
    Worker,
)
from model_perf import _attempt as attempts
from model_perf import worker as worker_module


async def work(tracker: ModelPerformanceTracker, run: TrainingRun, **options: Any) -> TrainingRun:
    """The run after a worker has done all that was due, retries included."""
    async with tracker.worker(**FAST | options):
        await until_ended(tracker, run)
    return await tracker.training.fetch_run(run.id)


async def test_an_async_trainer_completes_its_run(tracker: ModelPerformanceTracker) -> None:
    """Everything that the outcome says is kept, the version is registered, and the improvement is computed."""
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)

    @tracker.trainer("baseline")
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        assert context.tracker is tracker
        await context.progress(0.4, "fitting")
        return outcome(
            validation_metrics={"rmse": 8.0},
            previous_validation_metrics={"rmse": 10.0},
            training_metrics={"rmse": 7.0},
            sample_count=1000,
            feature_names=["hour"],
            hyperparameters={"depth": 3},
            training_data_start=start,
            training_data_end=end,
        )

    run = await work(tracker, await open_run(tracker))
    assert (run.training_status, run.attempt, run.progress) == ("completed", 1, 1.0)
    assert run.performance_improvement == pytest.approx(0.2)  # 1 - 8 / 10
    assert (run.validation_metrics, run.training_metrics) == ({"rmse": 8.0}, {"rmse": 7.0})
    assert (run.sample_count, run.feature_names, run.hyperparameters) == (1000, ("hour",), {"depth": 3})
    assert (run.training_data_start, run.training_data_end) == (start, end)
    assert run.metadata["previous_validation_metrics"] == {"rmse": 10.0}
    assert run.metadata["improvement_metric"] == "rmse"
    [model] = (await tracker.list_models(model_type="baseline")).items
    assert (model.ref, model.training_data_end) == (make_ref(version=2), end)


async def test_a_completed_run_resolves_the_alert_that_it_answers(tracker: ModelPerformanceTracker) -> None:
    """At once, without waiting for somebody to run the checks."""
    alert = await tracker.alerts.open_or_repeat(
        make_ref(), alert_type="performance_degradation", severity="critical", message="rmse is 40% worse"
    )

    @tracker.trainer("baseline")
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        return outcome()

    run = await open_run(tracker)
    async with tracker.worker(**FAST) as worker:
        await until_ended(tracker, run)
        await worker.drain()
    resolved = await tracker.alerts.fetch(alert.id)
    assert (resolved.resolution, resolved.resolution_notes) == ("retrained", f"run {run.id} has made version 2")


async def test_a_plain_function_trains_in_a_thread(tracker: ModelPerformanceTracker) -> None:
    """It may block, say how far it is, and call the tracker; the event loop goes on, and so does the lease."""
    seen: list[Any] = []

    @tracker.trainer("baseline")
    def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        seen.append(threading.current_thread() is threading.main_thread())
        context.progress(0.5, "fitting")
        time.sleep(1.5)  # more than twice the lease
        seen.append(context.call(context.tracker.training.fetch_run(run.id)).progress)
        return outcome()

    run = await open_run(tracker)
    run = await work(tracker, run)
    assert (run.training_status, run.attempt, seen) == ("completed", 1, [False, 0.5])
    assert run.metadata["stage"] == "fitting"


async def test_a_trainer_may_be_an_object_with_an_async_call(tracker: ModelPerformanceTracker) -> None:
    """What is called decides, not what it is; a label instead of a version gets the slot's next number."""

    class Train:
        async def __call__(self, run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
            return TrainingOutcome(model_id=make_id("model model"), version_label="2024.11.3")

    tracker.trainer("baseline")(Train())
    await tracker.metrics.register_model(make_ref(version=6), datetime.now(UTC))
    run = await work(tracker, await open_run(tracker))
    assert (run.training_status, run.model_version) == ("completed", 7)


async def test_a_trainer_that_raises_is_tried_again_and_then_fails(tracker: ModelPerformanceTracker) -> None:
    """Each attempt keeps message and traceback, as PostgreSQL can store them; the last one ends the run."""
    calls: list[int] = []

    @tracker.trainer("baseline")
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        calls.append(run.attempt)
        raise ValueError("no data\x00 \ud800")

    run = await work(tracker, await open_run(tracker))
    assert (run.training_status, calls) == ("failed", [1, 2, 3])
    assert run.error_message == r"ValueError: no data\x00 \ud800"
    assert run.error_traceback is not None
    assert "in train" in run.error_traceback


async def test_attempts_that_fail_are_spaced_out(tracker: ModelPerformanceTracker) -> None:
    """Before the second attempt lies half to the whole of backoff_s, before the third twice that; then it works."""
    begun: list[float] = []

    @tracker.trainer("baseline")
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        begun.append(time.monotonic())
        if run.attempt < 3:
            raise RuntimeError
        return outcome()

    run = await work(tracker, await open_run(tracker), backoff_s=0.4)
    assert (run.training_status, run.attempt, run.error_message) == ("completed", 3, None)
    first, second = begun[1] - begun[0], begun[2] - begun[1]
    assert 0.2 <= first < 0.4 + 2.0  # a busy machine may come later
    assert 0.4 <= second < 0.8 + 2.0


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(), asyncio.CancelledError()])
@pytest.mark.parametrize("is_async", [True, False])
async def test_what_would_end_a_process_ends_the_attempt_only(
    tracker: ModelPerformanceTracker, error: BaseException, is_async: bool
) -> None:
    """sys.exit(), Ctrl-C, a stray StopIteration or cancellation in a trainer is a failure like another."""

    def plain(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        raise error

    async def coroutine(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        raise error

    tracker.trainer("baseline")(coroutine if is_async else plain)
    run = await work(tracker, await open_run(tracker))
    name = "RuntimeError" if is_async and isinstance(error, StopIteration) else type(error).__name__
    assert run.training_status == "failed"
    assert (run.error_message or "").startswith(name)


@pytest.mark.parametrize("answer", [None, {"model_version": 2}, 0.93, (1, 2), make_ref()])
async def test_nonsense_fails_at_once(tracker: ModelPerformanceTracker, answer: Any) -> None:
    """What is no outcome fails for good, with a message that says what was returned and what is wanted."""
    tracker.trainer("baseline")(lambda run, context: answer)
    run = await work(tracker, await open_run(tracker))
    assert (run.training_status, run.attempt) == ("failed", 1)
    message = run.error_message or ""
    assert message.startswith(f"the trainer of 'baseline' returned {type(answer).__name__} ")
    assert message.endswith("it must return a TrainingOutcome")


async def test_nonsense_that_cannot_be_shown_fails_at_once(tracker: ModelPerformanceTracker) -> None:
    """What a trainer returns may raise when it is written out; the run does not wait for its lease all the same."""

    class Unspeakable:
        def __repr__(self) -> str:
            raise RuntimeError

    tracker.trainer("baseline")(lambda run, context: Unspeakable())
    run = await work(tracker, await open_run(tracker))
    assert (run.training_status, run.attempt) == ("failed", 1)
    assert (run.error_message or "").startswith("the trainer of 'baseline' returned Unspeakable <Unspeakable instance")


async def test_an_attempt_without_a_thread_is_another_ones(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process has as many threads as it may have: the next attempt begins at once, and not after the lease."""
    start, calls = threading.Thread.start, list[str]()

    def refuse_once(thread: threading.Thread) -> None:
        if thread.name == "model_perf trainer":
            calls.append(thread.name)
            if len(calls) == 1:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_once)
    tracker.trainer("baseline")(lambda run, context: outcome())
    run = await open_run(tracker)
    async with tracker.worker(**FAST | {"lease_s": 60.0}):
        await until_ended(tracker, run)
    run = await tracker.training.fetch_run(run.id)
    assert (run.training_status, run.attempt) == ("completed", 2)


async def test_a_coroutine_that_waits_for_itself_is_told_so(tracker: ModelPerformanceTracker) -> None:
    """`context.call` is for threads; on the event loop it would wait for ever, and with it the whole process."""

    @tracker.trainer("baseline")
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        context.call(context.tracker.training.fetch_run(run.id))
        raise AssertionError

    run = await work(tracker, await open_run(tracker))
    assert "InvalidInputError: work: would wait for itself" in (run.error_message or "")


async def test_an_outcome_that_contradicts_what_is_stored_fails(tracker: ModelPerformanceTracker) -> None:
    """A model_id that is known with another model_type cannot be completed, now or later."""
    await tracker.metrics.register_model(make_ref(model_type="other"), datetime.now(UTC))
    tracker.trainer("baseline")(lambda run, context: outcome())
    run = await work(tracker, await open_run(tracker))
    assert (run.training_status, run.attempt) == ("failed", 1)
    assert "model_type" in (run.error_message or "")


async def test_a_trainer_that_hangs_is_ended_by_time(tracker: ModelPerformanceTracker) -> None:
    """A coroutine is cancelled, and the run goes on to its next attempt."""
    ended: list[int] = []

    @tracker.trainer("baseline")
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        if run.attempt == 2:
            return outcome()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(run.attempt)
        raise AssertionError

    run = await work(tracker, await open_run(tracker), timeout_s=0.2)
    assert (run.training_status, run.attempt, ended) == ("completed", 2, [1])


async def test_a_thread_that_hangs_keeps_its_slot(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its run fails, the slot counts as stuck, other slots work on, and the slot is free once the thread ends."""
    monkeypatch.setattr(attempts, "TO_END_S", 0.1)
    release = threading.Event()
    told: list[bool] = []

    @tracker.trainer("hanging")
    def hang(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        release.wait(30)
        told.append(context.is_cancelled)
        return outcome()

    tracker.trainer("baseline")(lambda run, context: outcome())
    hanging = (await tracker.training.open_run(model_type="hanging", machine_id=PRESS, max_attempts=1))[0]
    async with tracker.worker(**FAST | {"concurrency": 2, "timeout_s": 0.2}) as worker:
        await until_ended(tracker, hanging)
        await until(lambda: worker.n_stuck == 1)  # the failure is stored a moment before the slot is counted
        assert len(worker.running) == 1
        good = await open_run(tracker)
        await worker.drain()  # does not wait for what is stuck
        assert (await tracker.training.fetch_run(good.id)).training_status == "completed"
        release.set()
        await until(lambda: worker.n_stuck == 0 and not worker.running)
    run = await tracker.training.fetch_run(hanging.id)
    assert (run.training_status, told) == ("failed", [True])
    assert "did not end within timeout_s = 0.2 s" in (run.error_message or "")
    assert "its slot is stuck" in caplog.text


async def test_a_worker_that_has_ended_is_drained(tracker: ModelPerformanceTracker) -> None:
    """Nobody would ever say so to who waits for it then."""
    tracker.trainer("baseline")(lambda run, context: outcome())
    async with tracker.worker(**FAST) as worker:
        pass
    await asyncio.wait_for(worker.drain(), 1.0)


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
    tracker.trainer("baseline")(_sleeper(3.0))
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
        tracker.trainer(kind)(_sleeper(seconds))
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


def _sleeper(seconds: float) -> Callable[[TrainingRun, TrainingContext], Awaitable[TrainingOutcome]]:
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        await asyncio.sleep(seconds)
        return outcome()

    return train


async def test_an_idle_worker_asks_once_per_poll(tracker: ModelPerformanceTracker, database: str) -> None:
    """A poll is one statement, and the pool's reset; a worker whose slots are all taken asks nothing."""
    async with (
        counting_proxy(database) as (dsn, trips),
        ModelPerformanceTracker.connect(dsn, schema=tracker.schema, max_size=1) as far,
    ):
        far.trainer("baseline")(_sleeper(1.0))
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


async def test_a_worker_claims_only_what_it_can_train(tracker: ModelPerformanceTracker) -> None:
    """Runs of other model types stay where they are."""
    tracker.trainer("baseline")(lambda run, context: outcome())
    other = await open_run(tracker, "other")
    mine = await open_run(tracker)
    async with tracker.worker(**FAST) as worker:
        await worker.drain()
    assert (await tracker.training.fetch_run(other.id)).training_status == "pending"
    assert (await tracker.training.fetch_run(mine.id)).training_status == "completed"


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


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), "half", True])
async def test_progress_that_is_none_is_refused(tracker: ModelPerformanceTracker, share: Any) -> None:
    """The trainer hears of it, and fails by it."""
    tracker.trainer("baseline")(lambda run, context: context.progress(share))
    run = await work(tracker, await open_run(tracker))
    assert (run.error_message or "").startswith("InvalidInputError: share: ")


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


async def test_trainers_belong_to_their_tracker(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Nothing is registered for other trackers, and nothing twice."""
    tracker.trainer("baseline")(lambda run, context: outcome())
    with pytest.raises(InvalidInputError, match="has a trainer already"):
        tracker.trainer("baseline")(lambda run, context: outcome())
    with pytest.raises(InvalidInputError, match="has a trainer already"):
        tracker.dispatcher("baseline")(lambda run: "job 1")
    with pytest.raises(InvalidInputError, match="cannot be called"):
        tracker.trainer("other")("train")  # type: ignore[type-var]
    other = ModelPerformanceTracker(pool, schema=tracker.schema)
    with pytest.raises(InvalidInputError, match="there is no trainer"):
        async with other.worker():
            pass


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("concurrency", 0), ("concurrency", 1.5), ("lease_s", 0.0), ("poll_s", -1), ("timeout_s", 0)),
        *(("grace_s", -1), ("backoff_s", float("nan")), ("max_backoff_s", 5.0), ("name", " ")),
    ],
)
def test_bad_options_are_refused_by_name(tracker_offline: ModelPerformanceTracker, argument: str, value: Any) -> None:
    """Before anything is claimed."""
    with pytest.raises(InvalidInputError) as refused:
        tracker_offline.worker(**{argument: value})
    assert refused.value.argument == argument


@pytest.fixture
def tracker_offline() -> ModelPerformanceTracker:
    return ModelPerformanceTracker(lambda: None)  # type: ignore[arg-type,return-value]


async def test_a_worker_without_tables_says_so(pool: asyncpg.Pool, schema: str) -> None:
    """On a schema that is not migrated it does not begin."""
    tracker = ModelPerformanceTracker(pool, schema=schema)
    tracker.trainer("baseline")(lambda run, context: outcome())
    with pytest.raises(SchemaError):
        async with tracker.worker():
            pass


async def test_a_bound_tracker_has_no_worker(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """It would outlive the transaction."""
    async with pool.acquire() as connection, connection.transaction():
        with pytest.raises(InvalidInputError, match="use the tracker itself"):
            tracker.bind(connection).worker()


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
    tracker.trainer("baseline")(_sleeper(1.5))  # more than twice the lease
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
    tracker.trainer("baseline")(_sleeper(2.0))  # twice the lease
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


async def test_a_coroutine_that_nobody_declared_is_nonsense(tracker: ModelPerformanceTracker) -> None:
    """A lambda around an async function runs in a thread and gives a coroutine; that is said, without a warning."""

    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        return outcome()

    tracker.trainer("baseline")(lambda run, context: train(run, context))
    run = await work(tracker, await open_run(tracker))
    assert "returned coroutine" in (run.error_message or "")


async def test_a_worker_needs_a_writers_rights_only(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, database: str
) -> None:
    """SELECT, INSERT, UPDATE: nothing of what it does deletes."""
    role = f"role_{tracker.schema}"
    await pool.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA {tracker.schema} TO {role};"
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {tracker.schema} TO {role}"
    )
    run = await open_run(tracker)
    try:
        async with asyncpg.create_pool(database, user=role, password="secret", min_size=1, max_size=2) as own:
            writer = ModelPerformanceTracker(own, schema=tracker.schema)
            writer.trainer("baseline")(lambda run, context: outcome())
            run = await work(writer, run)
            assert (await writer.promote(make_ref(version=2))).is_new
            await writer.promote(make_ref(version=3))
            await writer.roll_back("baseline", PRESS)
    finally:
        await pool.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
    assert run.training_status == "completed"


async def test_a_worker_without_rights_says_so(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, database: str
) -> None:
    """It does not begin, and wait for a database that is there."""
    role = f"role_{tracker.schema}"
    await pool.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA {tracker.schema} TO {role};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {tracker.schema} TO {role}"
    )
    try:
        async with asyncpg.create_pool(database, user=role, password="secret", min_size=1, max_size=2) as own:
            reader = ModelPerformanceTracker(own, schema=tracker.schema)
            reader.trainer("baseline")(lambda run, context: outcome())
            with pytest.raises(StorageError, match="permission denied"):
                async with reader.worker(**FAST):
                    pass
    finally:
        await pool.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def test_a_worker_is_entered_once(tracker: ModelPerformanceTracker) -> None:
    """Its slots and its end belong to one life."""
    tracker.trainer("baseline")(lambda run, context: outcome())
    worker: Worker = tracker.worker(**FAST)
    async with worker:
        pass
    with pytest.raises(InvalidInputError, match="entered already"):
        async with worker:
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
