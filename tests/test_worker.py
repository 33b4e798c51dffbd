"""The worker and its trainers: what comes of runs that end well, badly, or with nonsense."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from tests.factories import make_id, make_ref
from tests.trainings import FAST, PRESS, open_run, outcome, until, until_ended, work

from model_perf import InvalidInputError, ModelPerformanceTracker, TrainingContext, TrainingOutcome, TrainingRun
from model_perf import _attempt as attempts


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


async def test_a_worker_claims_only_what_it_can_train(tracker: ModelPerformanceTracker) -> None:
    """Runs of other model types stay where they are."""
    tracker.trainer("baseline")(lambda run, context: outcome())
    other = await open_run(tracker, "other")
    mine = await open_run(tracker)
    async with tracker.worker(**FAST) as worker:
        await worker.drain()
    assert (await tracker.training.fetch_run(other.id)).training_status == "pending"
    assert (await tracker.training.fetch_run(mine.id)).training_status == "completed"


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), "half", True])
async def test_progress_that_is_none_is_refused(tracker: ModelPerformanceTracker, share: Any) -> None:
    """The trainer hears of it, and fails by it."""
    tracker.trainer("baseline")(lambda run, context: context.progress(share))
    run = await work(tracker, await open_run(tracker))
    assert (run.error_message or "").startswith("InvalidInputError: share: ")


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


async def test_a_bound_tracker_has_no_worker(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """It would outlive the transaction."""
    async with pool.acquire() as connection, connection.transaction():
        with pytest.raises(InvalidInputError, match="use the tracker itself"):
            tracker.bind(connection).worker()


async def test_a_coroutine_that_nobody_declared_is_nonsense(tracker: ModelPerformanceTracker) -> None:
    """A lambda around an async function runs in a thread and gives a coroutine; that is said, without a warning."""

    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        return outcome()

    tracker.trainer("baseline")(lambda run, context: train(run, context))
    run = await work(tracker, await open_run(tracker))
    assert "returned coroutine" in (run.error_message or "")
