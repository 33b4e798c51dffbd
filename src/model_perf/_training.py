"""What an attempt at a training reports, whoever made it: our worker, or a job of the host's own engine."""

from __future__ import annotations

import logging
import random
import traceback
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from model_perf import _validation as check
from model_perf._experiments import DesignOptions
from model_perf._outcome import TrainingOutcome, improvement
from model_perf.errors import ConflictError, InvalidInputError
from model_perf.records import ABTest, ModelRef, TrainingRun, as_training_run
from model_perf.sql._connection import Connection

if TYPE_CHECKING:
    from uuid import UUID

    from model_perf.tracker import ModelPerformanceTracker

log = logging.getLogger("model_perf.worker")

BACKOFF = timedelta(seconds=10)
MAX_BACKOFF = timedelta(minutes=10)

KEPT_AS_TOLD = (
    *("training_data_start", "training_data_end", "sample_count", "hyperparameters", "feature_names"),
    *("training_metrics", "validation_metrics"),
)
"""Of an outcome, what `TrainingRepo.complete` takes under the same name."""


class ChallengeOptions(DesignOptions, total=False):
    """What `start_challenge` takes: of `start_ab_test` all but the models."""

    name: str
    duration: timedelta
    traffic_split: float
    metric: str | None
    start: datetime | None
    created_by: str | None


def backoff(attempt: int, first: timedelta = BACKOFF, longest: timedelta = MAX_BACKOFF) -> timedelta:
    """How long to wait after a failed attempt: doubled each time, and spread over the upper half against herds."""
    seconds = min(first.total_seconds() * 2.0 ** min(attempt - 1, 60), longest.total_seconds())
    return timedelta(seconds=seconds * random.uniform(0.5, 1.0))


async def complete(
    tracker: ModelPerformanceTracker, run_id: UUID | str, attempt: int, outcome: TrainingOutcome
) -> TrainingRun:
    """End a run well and register the version that came out of it: both or, for an attempt that lost it, neither."""
    if not isinstance(outcome, TrainingOutcome):
        raise InvalidInputError("outcome", f"{type(outcome).__name__} was given; give a TrainingOutcome")
    better, metric = improvement(outcome.validation_metrics, outcome.previous_validation_metrics, tracker.policy)
    told: dict[str, object] = {} if metric is None else {"improvement_metric": metric}
    if outcome.previous_validation_metrics:
        told["previous_validation_metrics"] = outcome.previous_validation_metrics

    async def register_and_complete(connection: Connection) -> TrainingRun:
        bound = tracker._nest(connection)
        run = await bound.training.fetch_run(run_id)
        ref = await bound.register_model(
            run.model_type,
            machine_id=run.machine_id,
            model_id=outcome.model_id,
            model_version=outcome.model_version,
            version=outcome.version_label,
            training_data_end=outcome.training_data_end or run.training_data_end,
        )
        try:
            return await bound.training.complete(
                run_id,
                attempt,
                model_id=ref.model_id,
                model_version=ref.model_version,
                performance_improvement=better,
                metadata=told,
                **{name: getattr(outcome, name) for name in KEPT_AS_TOLD},
            )
        except ConflictError as conflict:
            done = conflict.existing
            if isinstance(done, TrainingRun) and _is_made_by(done, attempt, ref):
                return done  # the answer to the first report was lost, and what follows from it has yet to be done
            raise

    run = await tracker._executor.run(register_and_complete, transaction=True)
    await follow_up(tracker, run)
    return run


def _is_made_by(run: TrainingRun, attempt: int, ref: ModelRef) -> bool:
    """Whether this attempt has completed the run, with this version."""
    made = run.model_id, run.model_version
    return run.training_status == "completed" and run.attempt == attempt and made == (ref.model_id, ref.model_version)


async def fail(
    tracker: ModelPerformanceTracker,
    run_id: UUID | str,
    attempt: int,
    error: BaseException | str,
    *,
    is_final: bool = False,
    delay: timedelta | None = None,
) -> TrainingRun:
    """End an attempt badly: another one may try after *delay*, if one is left and this is not final."""
    message, trace = _checked(error)
    check.as_bool(is_final, "is_final")
    holder = check.as_int(attempt, "attempt", low=1, high=check.INT4_MAX)
    pause = backoff(holder) if delay is None else _as_pause(delay)
    if not is_final:
        run_after = check.later(tracker._executor.moment(), pause, "delay")
        try:
            return await tracker.training.retry(
                run_id, holder, run_after=run_after, error_message=message, error_traceback=trace
            )
        except ConflictError as conflict:
            run = conflict.existing
            held = isinstance(run, TrainingRun) and (run.training_status, run.attempt) == ("running", attempt)
            if not held:
                raise
    return await tracker.training.fail(run_id, attempt, error_message=message, error_traceback=trace)


def _checked(error: BaseException | str) -> tuple[str, str | None]:
    if not isinstance(error, str | BaseException):
        raise InvalidInputError("error", f"{type(error).__name__} was given; give an exception, or text")
    return describe(error)


def _as_pause(delay: timedelta) -> timedelta:
    if not isinstance(delay, timedelta) or delay < timedelta(0):
        raise InvalidInputError("delay", f"{delay!r} is not a datetime.timedelta of 0 or more")
    return delay


def describe(error: BaseException | str) -> tuple[str, str | None]:
    """Message and traceback as they can be stored: of a long message the start, of a long traceback the end."""
    if isinstance(error, str):
        text = storable(error)[:10_000]
        return text if text.strip() else "failed", None
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # a broken __str__ must not hide what failed
        text = "(its text cannot be had)"
    trace = "".join(traceback.format_exception(error))
    return storable(f"{name}: {text}" if text else name)[:10_000] or "failed", storable(trace)[-100_000:]


def storable(text: str) -> str:
    """Without what PostgreSQL's text has not: NUL and lone surrogates, which stay readable."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


async def follow_up(tracker: ModelPerformanceTracker, run: TrainingRun) -> None:
    """Start the test that the policy, or an alert that waits for the run, wants of its version.

    Then the alerts that the version answers are resolved; those of a slot whose test has begun wait for it. The run is
    completed whatever comes of it, and what was done is kept on the alert. Done again, it does nothing twice.
    """
    try:
        await _start_wished_test(tracker, run)
    except Exception as error:
        log.warning("run %s: no test of its version is started: %s", run.id, error)
    try:
        await tracker.resolve_retrained(run.id)
    except Exception as error:
        log.warning("run %s: the next run_checks() resolves the alerts that it answers: %s", run.id, error)


async def _start_wished_test(tracker: ModelPerformanceTracker, run: TrainingRun) -> None:
    wanted_by, is_tested, is_off = await tracker.training.fetch_wish(run)
    if (wanted_by or tracker.policy.challenge_champion) and not is_tested:
        done = {"reason": f"{_untested(run)}: automation is switched off"} if is_off else await _try(tracker, run)
        log.info("run %s: %s", run.id, done["reason"])
        for number in sorted({*wanted_by, *filter(None, [run.alert_id])}):
            await tracker.alerts.note_act(number, done)


def _untested(run: TrainingRun) -> str:
    return f"run {run.id} completed; no test is started"


async def _try(tracker: ModelPerformanceTracker, run: TrainingRun) -> dict[str, str]:
    try:
        test = await challenge(tracker, run, {})
    except (ConflictError, InvalidInputError) as refused:
        return {"reason": f"{_untested(run)}: {refused}"}
    if test is None:
        return {"reason": f"{_untested(run)}: there is no other champion to test it against"}
    return {"reason": f"run {run.id} completed; test {test.test_name!r} is started", "test_id": str(test.id)}


async def challenge(tracker: ModelPerformanceTracker, run: TrainingRun, options: ChallengeOptions) -> ABTest | None:
    """Test the champion of the slot against the version that a completed run made; None where there is no champion."""
    if as_training_run(run).training_status != "completed" or run.model_id is None or run.model_version is None:
        raise InvalidInputError("run", f"{run.id} is {run.training_status} and names no new version to test")
    champion = await tracker.champions.fetch(run.model_type, run.machine_id)
    challenger = ModelRef(
        model_id=run.model_id,
        model_type=run.model_type,
        model_version=run.model_version,
        machine_id=run.machine_id,
    )
    if champion is None or champion.ref == challenger:
        return None
    given: dict[str, Any] = {
        "name": f"version {challenger.model_version} against {champion.ref.model_version}",
        "created_by": "model_perf",
    }
    return await tracker.start_ab_test(
        model_a=champion.ref, model_b=challenger, training_run_id=run.id, **(given | {**options})
    )
