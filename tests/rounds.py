"""What rounds of checks find: evaluations, runs and alerts of one model."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from tests.factories import START, Clock, make_evaluation, make_ref
from tests.writers import record

from model_perf import Alert, ModelPerformanceTracker, ModelRef, TrainingRun

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
REF = make_ref()
CALM = [1.00, 1.02, 0.98, 1.01, 0.99, 1.03, 0.97, 1.00, 1.01, 0.99, 1.02, 0.98, 1.00, 1.01]


async def evaluate(tracker: ModelPerformanceTracker, clock: Clock, days: range, ref: ModelRef = REF) -> None:
    """A daily evaluation, each recorded when its window ends."""
    for day in days:
        clock.now = START + (day + 1) * DAY
        await record(tracker, make_evaluation(ref, day=day))


async def run_and_fail(tracker: ModelPerformanceTracker, machine: UUID = REF.machine_id) -> TrainingRun:
    await tracker.training.open_run(model_type="baseline", machine_id=machine)
    run = await tracker.training.claim("w", lease=HOUR)
    assert run is not None
    return await tracker.training.fail(run.id, run.attempt, error_message="no rows")


async def run_and_complete(tracker: ModelPerformanceTracker, version: int | None = 2) -> TrainingRun:
    await tracker.training.open_run(model_type="baseline", machine_id=REF.machine_id)
    run = await tracker.training.claim("w", lease=HOUR)
    assert run is not None
    return await tracker.training.complete(run.id, run.attempt, model_id=REF.model_id, model_version=version)


async def open_alert(tracker: ModelPerformanceTracker, ref: ModelRef = REF, kind: str = "data_drift") -> Alert:
    return await tracker.alerts.open_or_repeat(ref, alert_type=kind, severity="critical", message="m")


def ids(alerts: tuple[Alert, ...] | None) -> list[UUID]:
    assert alerts is not None
    return [alert.id for alert in alerts]
