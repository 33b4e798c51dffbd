"""What happens in the demo. Verdicts and dates come out of the library; only the model and its data are ours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from attrs import frozen

from model_perf import ABTestResult, Alert, ModelPerformanceTracker, ModelRef, RecordedEvaluation, TrainingRun, Trend
from model_perf.demo._data import DAY, Demand
from model_perf.demo._model import FEATURES, DemandModel, fit

FIRST_TRAINING_DAY, FIRST_DAY = 31, 90
"""1 February and 1 April, counted from 1 January: the model learns from February and March."""

RETRAINING_DAYS, VALIDATION_DAYS, COMPARISON_DAYS = 42, 7, 28
"""The retrained model learns from six weeks, is validated on the week after, and compared over four more."""

Say = Callable[[str], None]


class Clock:
    """The time of the story: the end of the day that was evaluated last."""

    def __init__(self) -> None:
        self.now = datetime(2014, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@frozen(kw_only=True)
class Findings:
    """What the story came to; what it did not come to is None."""

    evaluations: int
    alert: Alert | None = None
    found_at: RecordedEvaluation | None = None
    trend: Trend | None = None
    run: TrainingRun | None = None
    comparison: ABTestResult | None = None
    resolved: Alert | None = None


async def tell(tracker: ModelPerformanceTracker, clock: Clock, data: Demand, say: Say) -> Findings:
    """Evaluate day by day until an alert opens; then retrain, compare old and new, and resolve it."""
    machine = f"Victoria ({datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f})"
    clock.now = data.start + FIRST_DAY * DAY
    old = await tracker.register_model("demand", machine=machine, training_data_end=clock.now)
    model = fit(data.days(FIRST_TRAINING_DAY, FIRST_DAY))
    say("Model 1 learned from February and March 2014; it is evaluated every day from 1 April on.")
    found = await _watch(tracker, clock, data, old, model, say)
    day = (clock.now - data.start) // DAY
    if found is None or found.alert is None:
        return Findings(evaluations=day - FIRST_DAY)
    if day + COMPARISON_DAYS > data.n_days:
        say("The year ends before a new version could be compared.")
        return Findings(evaluations=day - FIRST_DAY, alert=found.alert, found_at=found)
    trend = await tracker.trend(old, metric="rmse", since=data.start + FIRST_DAY * DAY, until=clock.now + DAY)
    new, challenger, run = await _retrain(tracker, clock, data, old, model, found.alert, day, say)
    comparison = await _compare(tracker, clock, data, (old, model), (new, challenger), day, say)
    resolved = await tracker.resolve_alert(
        found.alert.id, resolution="retrained", by="demo", notes=comparison.recommendation
    )
    say(f"The alert is resolved ({resolved.resolution}) after {resolved.occurrences} occurrences.")
    return Findings(
        evaluations=day - FIRST_DAY + 2 * COMPARISON_DAYS,
        alert=found.alert,
        found_at=found,
        trend=trend,
        run=run,
        comparison=comparison,
        resolved=resolved,
    )


async def evaluate_day(
    tracker: ModelPerformanceTracker, clock: Clock, data: Demand, ref: ModelRef, model: DemandModel, day: int
) -> RecordedEvaluation:
    """Predict one day and record how well that went; the clock moves to the day's end."""
    today = data.days(day, day + 1)
    clock.now = max(clock.now, today.start + DAY)
    return await tracker.evaluate(
        ref, today.demand_gw, model.predict(today), evaluation_start=today.start, evaluation_end=today.start + DAY
    )


async def _watch(
    tracker: ModelPerformanceTracker, clock: Clock, data: Demand, ref: ModelRef, model: DemandModel, say: Say
) -> RecordedEvaluation | None:
    for day in range(FIRST_DAY, data.n_days):
        recorded = await evaluate_day(tracker, clock, data, ref, model, day)
        if recorded.alert is not None or (day - FIRST_DAY) % 7 == 6:
            rmse = recorded.evaluation.metrics["rmse"]
            say(f"  {_date(clock.now - DAY)}  rmse {rmse:.3f} GW  {'#' * int(40 * rmse):<20}  {recorded.drift.verdict}")
        if recorded.alert is not None:
            say(f"ALERT: {recorded.alert.alert_message}")
            return recorded
    return None


async def _retrain(
    tracker: ModelPerformanceTracker,
    clock: Clock,
    data: Demand,
    old: ModelRef,
    model: DemandModel,
    alert: Alert,
    day: int,
    say: Say,
) -> tuple[ModelRef, DemandModel, TrainingRun]:
    trigger = await tracker.trigger_retraining(
        model_type=old.model_type, machine_id=old.machine_id, trigger_type="degradation", reason=alert.alert_message
    )
    say(f"A training run is opened ({trigger.run.trigger_type}), and a worker claims it.")
    run = await tracker.training.claim("demo", lease=timedelta(minutes=10), model_type=old.model_type)
    while run is not None and run.id != trigger.run.id:
        await tracker.training.cancel(run.id, reason="left by a demo that was interrupted")
        run = await tracker.training.claim("demo", lease=timedelta(minutes=10), model_type=old.model_type)
    assert run is not None
    seen = data.days(day - VALIDATION_DAYS - RETRAINING_DAYS, day - VALIDATION_DAYS)
    unseen = data.days(day - VALIDATION_DAYS, day)
    challenger = fit(seen)
    await tracker.training.heartbeat(run.id, run.attempt, lease=timedelta(minutes=10), progress=0.5)
    before, after = _rmse(model, unseen), _rmse(challenger, unseen)
    seen_end = seen.start + RETRAINING_DAYS * DAY
    new = await tracker.register_model(
        old.model_type, machine_id=old.machine_id, model_id=old.model_id, model_version=2, training_data_end=seen_end
    )
    run = await tracker.training.complete(
        run.id,
        run.attempt,
        model_id=new.model_id,
        model_version=new.model_version,
        training_data_start=seen.start,
        training_data_end=seen_end,
        sample_count=len(seen.demand_gw),
        feature_names=FEATURES,
        training_metrics={"rmse": _rmse(challenger, seen)},
        validation_metrics={"rmse": after, "rmse_of_previous_version": before},
        performance_improvement=1.0 - after / before,
    )
    say(
        f"Model 2 learned from {_date(seen.start)} to {_date(seen_end - DAY)}; on the week after: "
        f"rmse {after:.3f} GW, model 1 has {before:.3f}."
    )
    return new, challenger, run


async def _compare(
    tracker: ModelPerformanceTracker,
    clock: Clock,
    data: Demand,
    old: tuple[ModelRef, DemandModel],
    new: tuple[ModelRef, DemandModel],
    day: int,
    say: Say,
) -> ABTestResult:
    test = await tracker.start_ab_test(
        name="model 1 against model 2", model_a=old[0], model_b=new[0], duration=COMPARISON_DAYS * DAY, metric="rmse"
    )
    say(f"Both are evaluated on the same {COMPARISON_DAYS} days ({test.design['note']}).")
    for later in range(day, day + COMPARISON_DAYS):
        for ref, model in (old, new):
            await evaluate_day(tracker, clock, data, ref, model, later)
    result = await tracker.ab_test_results(test.id)
    say(f"RESULT: {result.recommendation}")
    return result


def _rmse(model: DemandModel, data: Demand) -> float:
    return float(np.sqrt(np.mean((data.demand_gw - model.predict(data)) ** 2)))


def _date(moment: datetime) -> str:
    """The day of market time that begins at *moment*."""
    return f"{moment + timedelta(hours=10):%d %b}"
