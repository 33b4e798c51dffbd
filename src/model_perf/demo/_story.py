"""What happens in the demo. Verdicts and dates come out of the library; only the model and its data are ours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import frozen

from model_perf import (
    ABTestResult,
    Alert,
    Champion,
    ModelPerformanceTracker,
    ModelRef,
    Promotion,
    RecordedEvaluation,
    TrainingRun,
    Trend,
    Worker,
)
from model_perf.demo._data import DAY, Demand
from model_perf.demo._model import DemandModel, fit
from model_perf.demo._training import Studio

FIRST_TRAINING_DAY, FIRST_DAY = 31, 90
"""1 February and 1 April, counted from 1 January: the model learns from February and March."""

COMPARISON_DAYS = 28
"""Old and new are compared over four weeks."""

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
    promotion: Promotion | None = None
    resolved: Alert | None = None


async def tell(tracker: ModelPerformanceTracker, clock: Clock, data: Demand, say: Say) -> Findings:
    """Evaluate day by day until an alert opens; a worker retrains, old and new are compared, the better one serves."""
    machine = f"Victoria, run of {datetime.now(UTC):%d %b %Y %H:%M:%S}"
    clock.now = data.start + FIRST_DAY * DAY
    old = await tracker.register_model("demand", machine=machine, training_data_end=clock.now)
    first = await tracker.promote(old, by="demo", reason="the first version", replaces=0)
    model = fit(data.days(FIRST_TRAINING_DAY, FIRST_DAY))
    say("Model 1 learned from February and March 2014; it is evaluated every day from 1 April on.")
    studio = Studio(data, clock, old, model)
    tracker.trainer("demand")(studio.train)
    async with tracker.worker(poll_s=0.1, name="demo") as worker:
        found = await _watch(tracker, clock, data, old, model, say)
        day = (clock.now - data.start) // DAY
        if found is None or found.alert is None:
            return Findings(evaluations=day - FIRST_DAY)
        if day + COMPARISON_DAYS > data.n_days:
            say("The year ends before a new version could be compared.")
            return Findings(evaluations=day - FIRST_DAY, alert=found.alert, found_at=found)
        trend = await tracker.trend(old, metric="rmse", since=data.start + FIRST_DAY * DAY, until=clock.now + DAY)
        run = await _retrain(tracker, worker, old, found.alert, say)
    comparison = await _compare(tracker, clock, data, run, studio, day, say)
    promotion = await _promote(tracker, first.champion, run, comparison, say)
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
        promotion=promotion,
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
    tracker: ModelPerformanceTracker, worker: Worker, old: ModelRef, alert: Alert, say: Say
) -> TrainingRun:
    trigger = await tracker.trigger_retraining(
        model_type=old.model_type, machine_id=old.machine_id, trigger_type="degradation", reason=alert.alert_message
    )
    say(f"A training run is opened ({trigger.run.trigger_type}), and the worker takes it up.")
    await worker.drain()
    run = await tracker.training.fetch_run(trigger.run.id)
    assert run.training_data_start is not None, run.error_message
    assert run.training_data_end is not None
    before: Any = run.metadata["previous_validation_metrics"]
    say(
        f"Model 2 learned from {_date(run.training_data_start)} to {_date(run.training_data_end - DAY)}; on the week "
        f"after: rmse {run.validation_metrics['rmse']:.3f} GW, model 1 has {before['rmse']:.3f}."
    )
    return run


async def _compare(
    tracker: ModelPerformanceTracker, clock: Clock, data: Demand, run: TrainingRun, studio: Studio, day: int, say: Say
) -> ABTestResult:
    test = await tracker.start_challenge(
        run, name="model 1 against model 2", duration=COMPARISON_DAYS * DAY, metric="rmse"
    )
    assert test is not None
    say(f"Both are evaluated on the same {COMPARISON_DAYS} days ({test.design['note']}).")
    for later in range(day, day + COMPARISON_DAYS):
        for ref in (test.model_a, test.model_b):
            await evaluate_day(tracker, clock, data, ref, studio.models[ref.model_version], later)
    result = await tracker.ab_test_results(test.id)
    say(f"RESULT: {result.recommendation}")
    return result


async def _promote(
    tracker: ModelPerformanceTracker, serving: Champion, run: TrainingRun, result: ABTestResult, say: Say
) -> Promotion | None:
    """Somebody's decision, never the library's: here, to go by what the test has found."""
    if result.decision != "superior_b":
        return None
    promotion = await tracker.promote(
        result.test.model_b,
        by="demo",
        reason=result.recommendation,
        training_run_id=run.id,
        ab_test_id=result.test.id,
        replaces=serving,
    )
    say(f"Model {promotion.champion.ref.model_version} is promoted: it serves from now on.")
    return promotion


def _date(moment: datetime) -> str:
    """The day of market time that begins at *moment*."""
    return f"{moment + timedelta(hours=10):%d %b}"
