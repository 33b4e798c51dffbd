"""A fleet for the dashboard to show: models in every state, alerts, drift of the input, tests and training runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from attrs import frozen

from model_perf import ModelPerformanceTracker, ModelRef
from model_perf.records import Evaluation

DAY = timedelta(days=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAYS = 45


@frozen(kw_only=True)
class World:
    """What tests ask for by name."""

    worse: ModelRef
    """Degraded: a critical alert is open, and a training run is pending."""
    newer: ModelRef
    """A second version of it."""
    drifted: ModelRef
    """Its input has changed."""
    test_id: UUID
    """Of `worse` and `newer`, running, on observations."""


async def make_world(tracker: ModelPerformanceTracker, *, n_others: int = 0) -> World:
    """A degraded model with two versions, one whose input has changed, one that nobody evaluated, and *n_others*."""
    worse = await tracker.register_model("energy", machine="press 7", version="2025.1")
    await _days(tracker, worse, [_rmse(day, bad=6.0 if day >= DAYS - 4 else 0.0) for day in range(DAYS)])
    newer = await tracker.register_model("energy", machine="press 7", version="2025.2")
    await _days(tracker, newer, [_rmse(day) - 1.0 for day in range(12)])
    drifted = await tracker.register_model("baseline", machine="compressor 2")
    await _days(tracker, drifted, [_rmse(day) / 4 for day in range(DAYS)])
    await _drift(tracker, drifted)
    await tracker.register_model("forecast", machine="boiler 1")
    await _runs(tracker, worse, drifted)
    test_id = await _test(tracker, worse, newer)
    await _others(tracker, n_others)
    return World(worse=worse, newer=newer, drifted=drifted, test_id=test_id)


def _rmse(day: int, *, bad: float = 0.0) -> float:
    return 12.0 + 0.3 * ((day * 7) % 5) + bad


async def _days(tracker: ModelPerformanceTracker, ref: ModelRef, values: list[float]) -> None:
    """One evaluation a day until yesterday; the last four judged as they come, which opens alerts."""
    first = TODAY - len(values) * DAY
    rows = [
        Evaluation(
            ref=ref,
            evaluation_start=first + day * DAY,
            evaluation_end=first + (day + 1) * DAY,
            metrics={"r_squared": 0.96 - 0.003 * value, "rmse": value, "mae": 0.8 * value},
            sample_count=1000 + day,
        )
        for day, value in enumerate(values)
    ]
    await tracker.record_many(rows[:-4])
    await tracker.judge(ref)
    for row in rows[-4:]:
        await tracker.record(
            ref,
            evaluation_start=row.evaluation_start,
            evaluation_end=row.evaluation_end,
            metrics=row.metrics,
            sample_count=row.sample_count,
        )


async def _drift(tracker: ModelPerformanceTracker, ref: ModelRef) -> None:
    rng = np.random.default_rng(1)

    def window(n: int, shift: float) -> dict[str, object]:
        return {
            "load": rng.normal(4.6 + shift, 0.8, n),
            "temperature": np.where(rng.random(n) < 0.02 + shift / 20, np.nan, rng.normal(21, 4, n)),
            "pressure": rng.gamma(3.0, 1.5, n),
            "shift": rng.choice(["early", "late", "night"], n, p=[0.4, 0.4, 0.2]),
            "material": rng.choice(["steel", "brass", "zinc" if shift else "steel"], n),
        }

    await tracker.set_reference(ref, window(5000, 0.0))
    for week in range(10):
        end = TODAY - (9 - week) * 7 * DAY
        shift = 0.0 if week < 7 else 0.7
        await tracker.check_data_drift(ref, window(600, shift), window_start=end - 7 * DAY, window_end=end)


async def _runs(tracker: ModelPerformanceTracker, worse: ModelRef, drifted: ModelRef) -> None:
    await tracker.trigger_retraining(
        model_type=worse.model_type, machine_id=worse.machine_id, trigger_type="degradation", reason="RMSE is 50% worse"
    )
    run = await tracker.training.claim("worker 1", lease=timedelta(hours=1), model_type=worse.model_type)
    assert run is not None
    await tracker.training.complete(
        run.id,
        run.attempt,
        model_id=worse.model_id,
        model_version=2,
        sample_count=52_000,
        performance_improvement=0.21,
        hyperparameters={"depth": 6, "learning_rate": 0.05},
        feature_names=["load", "temperature"],
        training_metrics={"rmse": 9.1},
        validation_metrics={"rmse": 9.6, "rmse_of_previous_version": 12.15},
    )
    await tracker.trigger_retraining(
        model_type=drifted.model_type, machine_id=drifted.machine_id, trigger_type="drift", triggered_by="ana"
    )
    run = await tracker.training.claim("worker 1", lease=timedelta(hours=1), model_type=drifted.model_type)
    assert run is not None
    await tracker.training.fail(run.id, run.attempt, error_message="MemoryError: 12 GB wanted, 8 there")
    await tracker.trigger_retraining(
        model_type=worse.model_type, machine_id=worse.machine_id, reason="new sensor", triggered_by="bo"
    )


async def _test(tracker: ModelPerformanceTracker, worse: ModelRef, newer: ModelRef) -> UUID:
    test = await tracker.start_ab_test(
        name="old or new", model_a=worse, model_b=newer, duration=14 * DAY, metric="abs_error", direction="lower",
        planned_n=20_000, created_by="ana",
    )  # fmt: skip
    rng = np.random.default_rng(2)
    for _ in range(12):
        n = 60
        arms = ["a", "b"] * n
        values = rng.gamma(2.0, 2.0, 2 * n) - np.tile([0.0, 0.25], n)
        await tracker.observe_many(test.id, arms=arms, values=values.tolist())
        await tracker.ab_test_results(test.id)
    return test.id


async def _others(tracker: ModelPerformanceTracker, n: int) -> None:
    kinds = ("energy", "baseline", "forecast", "anomaly score")
    for number in range(n):
        rng = np.random.default_rng(100 + number)
        ref = await tracker.register_model(kinds[number % 4], machine=f"line {number // 4 + 1} · cell {number % 4 + 1}")
        level, bad = 5.0 + 3.0 * (number % 7), 1.6 if number % 11 == 3 else 1.0
        n_days = 30 if number % 9 else 5
        values = level * np.exp(0.05 * rng.normal(size=n_days))
        values[-3:] *= bad
        await _days(tracker, ref, values.tolist())


__all__ = ["DAY", "DAYS", "TODAY", "World", "make_world"]
