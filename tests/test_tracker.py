"""The facade's record: an evaluation, its verdict, its alert and its run, all or none, once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import numpy as np
import pytest
from attrs import evolve
from tests.factories import START, make_id, make_ref
from tests.repos.contents import count_rows, nothing_written

from model_perf import (
    ConflictError,
    DriftReport,
    InvalidInputError,
    ModelPerformanceTracker,
    ModelRef,
    MonitoringPolicy,
    RecordedEvaluation,
    StorageError,
)

DAY = timedelta(days=1)
REF = make_ref()

# Twelve calm days and a collapse: rmse 10 +- 1%, then twice as much.
CALM = [10.0, 10.1, 9.9, 10.05, 9.95, 10.0, 10.1, 9.9, 10.05, 9.95, 10.0, 10.1]
BAD = 20.0


@pytest.fixture
def bound(connection: asyncpg.Connection) -> ModelPerformanceTracker:
    """A tracker inside a transaction that is rolled back."""
    return ModelPerformanceTracker(lambda: pytest.fail("a bound tracker asked for the pool")).bind(connection)


async def record(
    tracker: ModelPerformanceTracker, day: float, rmse: float = 10.0, ref: ModelRef = REF, **fields: Any
) -> RecordedEvaluation:
    given: dict[str, Any] = {
        "evaluation_start": START + day * DAY,
        "evaluation_end": START + (day + 1) * DAY,
        "metrics": {"rmse": rmse},
    }
    return await tracker.record(ref, **given | fields)


async def record_all(
    tracker: ModelPerformanceTracker, values: Sequence[float], ref: ModelRef = REF, first: int = 0
) -> list[RecordedEvaluation]:
    return [await record(tracker, day, value, ref) for day, value in enumerate(values, first)]


async def test_a_degradation_is_found_and_alerted(bound: ModelPerformanceTracker) -> None:
    """Calm days say nothing is wrong; the collapse is critical, with its score, its type and one open alert."""
    calm = await record_all(bound, CALM)
    assert {one.drift.verdict for one in calm[:8]} == {"insufficient_data"}
    assert {one.drift.verdict for one in calm[8:]} == {"ok"}
    assert all(one.alert is None for one in calm)
    found = await record(bound, 12, BAD)
    assert (found.drift.verdict, found.drift.drift_detected, found.drift.drift_type) == (
        "critical",
        True,
        "concept_drift",
    )
    assert found.drift.drift_score == pytest.approx(1.0, abs=0.02)  # twice the baseline is 100% more
    assert found.drift.drift_threshold == 0.1
    assert found.alert is not None
    assert found.alert.severity == "critical"
    assert found.training_run is None
    assert found.drift.worst is not None
    assert (found.alert.current_metric_value, found.alert.baseline_metric_value, found.alert.threshold_value) == (
        BAD,
        found.drift.worst.baseline_value,
        found.drift.worst.threshold_value,
    )
    assert await bound.active_alerts() == [found.alert]
    again = await record(bound, 13, BAD)
    assert again.alert is not None
    assert (again.alert.id, again.alert.occurrences) == (found.alert.id, 2)


async def test_the_row_says_what_was_found(bound: ModelPerformanceTracker, connection: asyncpg.Connection) -> None:
    """drift_detected is true for critical only, false where it was judged, NULL where nothing could be said."""
    await record_all(bound, [*CALM, BAD])
    rows = await connection.fetch(
        "SELECT verdict, drift_detected, drift_score, drift_details ->> 'verdict' AS told"
        " FROM model_perf.model_performance_metrics ORDER BY evaluation_date"
    )
    assert all(row["told"] == row["verdict"] for row in rows)
    shown = {(row["verdict"], row["drift_detected"]) for row in rows}
    assert shown == {("insufficient_data", None), ("ok", False), ("critical", True)}
    assert all((row["drift_score"] is None) == (row["drift_detected"] is None) for row in rows)


async def test_what_record_answers_is_what_is_stored(bound: ModelPerformanceTracker) -> None:
    """Evaluation, report and alert are read back equal."""
    await record_all(bound, CALM)
    found = await record(bound, 12, BAD, sample_count=1008, data_completeness=0.98, created_by="Zoë", metadata={"x": 1})
    stored = await bound.metrics.fetch_latest(REF)
    assert stored == evolve(found.evaluation, evaluation_date=found.evaluation.evaluation_date)
    assert await bound.check_drift(REF) == found.drift
    assert stored is not None
    assert DriftReport.from_dict(stored.drift_details) == found.drift
    assert found.alert is not None
    assert await bound.alerts.fetch(found.alert.id) == found.alert


async def test_a_repeat_writes_nothing_and_says_the_same(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """The same call with the same id again answers the stored evaluation and its verdict."""
    await record_all(tracker, CALM)
    first = await record(tracker, 12, BAD, evaluation_id=make_id("x"))
    async with nothing_written(pool, tracker.schema):
        again = await record(tracker, 12, BAD, evaluation_id=str(make_id("x")))
    assert (first.is_new, again.is_new, again.alert, again.training_run) == (True, False, None, None)
    assert again.drift == first.drift
    assert again.evaluation == evolve(first.evaluation, evaluation_date=first.evaluation.evaluation_date)


async def test_a_conflict_carries_what_is_stored(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """The same id with another payload is refused, whatever else would follow from it."""
    first = await record(tracker, 0, evaluation_id=make_id("x"))
    async with nothing_written(pool, tracker.schema):
        for change in ({"metrics": {"rmse": 11.0}}, {"sample_count": 3}, {"evaluation_start": START - DAY}):
            with pytest.raises(ConflictError) as conflict:
                await record(tracker, 0, evaluation_id=make_id("x"), **change)
            assert conflict.value.existing == evolve(first.evaluation, evaluation_date=first.evaluation.evaluation_date)


async def test_the_date_is_the_windows_end(bound: ModelPerformanceTracker) -> None:
    """evaluation_date defaults to the end of the window, never to the clock; given, it is kept."""
    assert (await record(bound, 0)).evaluation.evaluation_date == START + DAY
    given = START + timedelta(hours=1)
    assert (await record(bound, 1, evaluation_date=given)).evaluation.evaluation_date == given


async def test_the_policy_can_ask_for_retraining(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """With retrain_on a new alert brings its run; repeats of the alert open none, the run may be over or not."""
    retraining = ModelPerformanceTracker(
        pool, schema=tracker.schema, policy=MonitoringPolicy(retrain_on=("critical",), max_attempts=5)
    )
    assert all(one.training_run is None for one in await record_all(retraining, CALM))
    first, second = await record(retraining, 12, BAD), await record(retraining, 13, BAD)
    assert first.training_run is not None
    assert (first.training_run.trigger_type, first.training_run.max_attempts) == ("degradation", 5)
    assert (first.training_run.machine_id, first.training_run.model_type) == (REF.machine_id, "baseline")
    await tracker.training.cancel(first.training_run.id)
    third = await record(retraining, 14, BAD)
    assert (second.training_run, third.training_run) == (None, None)
    assert await count_rows(pool, tracker.schema, "model_training_history") == 1


@pytest.mark.parametrize("forbidden", ["model_alerts", "model_training_history"])
async def test_record_is_all_or_none(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, database: str, role: str, forbidden: str
) -> None:
    """Where the alert or the run cannot be written, the evaluation is not written either."""
    await record_all(tracker, CALM)
    await pool.execute(f"REVOKE INSERT, UPDATE ON {tracker.schema}.{forbidden} FROM {role}")
    async with asyncpg.create_pool(database, user=role, password="secret", min_size=1, max_size=1) as own:
        weak = ModelPerformanceTracker(own, schema=tracker.schema, policy=MonitoringPolicy(retrain_on=("critical",)))
        async with nothing_written(pool, tracker.schema):
            with pytest.raises(StorageError, match=forbidden):
                await record(weak, 12, BAD)


@pytest.fixture
async def role(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> Any:
    """A role with the writer's rights."""
    name = f"role_{tracker.schema}"
    await pool.execute(
        f"CREATE ROLE {name} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA {tracker.schema} TO {name};"
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {tracker.schema} TO {name}"
    )
    yield name
    await pool.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


async def test_judge_is_all_or_none(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, database: str, role: str
) -> None:
    """Where the alert cannot be written, no verdict is: a second `judge` would find nothing left to alert."""
    source = make_ref("source")
    await record_all(tracker, [*CALM, BAD], source)
    await pool.execute(
        f"UPDATE {tracker.schema}.model_performance_metrics SET verdict = 'not_judged', drift_details = '{{}}';"
        f"DELETE FROM {tracker.schema}.model_alerts; REVOKE INSERT ON {tracker.schema}.model_alerts FROM {role}"
    )
    async with asyncpg.create_pool(database, user=role, password="secret", min_size=1, max_size=1) as own:
        weak = ModelPerformanceTracker(own, schema=tracker.schema)
        async with nothing_written(pool, tracker.schema):
            with pytest.raises(StorageError):
                await weak.judge(source)


async def test_a_metric_without_a_direction(bound: ModelPerformanceTracker) -> None:
    """It is stored, shown, never judged, and the report says so."""
    for day in range(14):
        found = await record(bound, day, metrics={"own": float(day**3)})
    assert found.evaluation.metrics == {"own": 2197.0}
    assert (found.drift.verdict, found.drift.drift_detected, found.drift.drift_type) == (
        *("not_judged", None),
        "insufficient_data",
    )
    assert any("own" in note for note in found.drift.notes)
    assert found.alert is None


async def test_records_of_one_deployment_at_once(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Twenty critical evaluations at once are twenty rows, one alert with twenty occurrences."""
    await record_all(tracker, CALM)
    await asyncio.gather(*(record(tracker, 12 + i, BAD) for i in range(20)))
    (alert,) = await tracker.active_alerts()
    assert alert.occurrences == 20
    assert await count_rows(pool, tracker.schema, "model_performance_metrics") == 32


EXTREME = [1e-300, 0.0, 5e-324, 1.7976931348623157e308, 1e308]


@pytest.mark.parametrize("values", [[0.0] * 12, [1e308] * 12, [5e-324, 1e308] * 6, CALM])
@pytest.mark.parametrize("metric", ["rmse", "mape", "r_squared", "log_loss", "roc_auc"])
async def test_any_finite_value_gets_a_verdict(
    bound: ModelPerformanceTracker, values: Sequence[float], metric: str
) -> None:
    """The smallest and largest floats are stored and judged without a failure of the arithmetic."""
    sign = -1.0 if metric in ("r_squared", "roc_auc") else 1.0
    for day, value in enumerate([*values, *EXTREME]):
        found = await record(bound, day, metrics={metric: sign * value})
    assert found.evaluation.metrics == {metric: sign * EXTREME[-1]}


@pytest.mark.parametrize("metric", ["rmse", "log_loss"])
async def test_one_absurd_value_does_not_take_the_trend_away(bound: ModelPerformanceTracker, metric: str) -> None:
    """A value that was stored, with a column of its own or without, is part of an answer and never an error."""
    for day, value in enumerate([*CALM, 1e16, 1e300]):
        await record(bound, day, metrics={metric: value})
    trend = await bound.trend(REF, metric=metric, since=START, until=START + 99 * DAY)
    assert len(trend.points) == 14
    assert {type(point.metrics[metric]) for point in trend.points} == {float}


async def test_evaluate_computes_and_records(bound: ModelPerformanceTracker) -> None:
    """The metrics of the arrays are stored with the number of rows, under the window that is given."""
    window: dict[str, Any] = {"evaluation_start": START, "evaluation_end": START + DAY}
    found = await bound.evaluate(REF, [3.0, 5.0, 4.0], np.array([2.5, 5.0, 4.5]), **window)
    # (0.25 + 0 + 0.25) / 3 and (0.5 + 0 + 0.5) / 3
    assert found.evaluation.metrics["rmse"] == pytest.approx((0.5 / 3) ** 0.5)
    assert found.evaluation.metrics["mae"] == pytest.approx(1 / 3)
    assert found.evaluation.sample_count == 3
    labels = await bound.evaluate(REF, [0, 1, 1, 1], [0, 0, 1, 1], task="classification", **window)
    assert labels.evaluation.metrics["precision"] == 1.0


async def test_evaluate_takes_text_labels(bound: ModelPerformanceTracker) -> None:
    """Labels as text need the positive class, which `evaluate` takes as `classification_metrics` does."""
    window: dict[str, Any] = {"evaluation_start": START, "evaluation_end": START + DAY}
    found = await bound.evaluate(
        REF, ["good", "bad", "bad"], ["good", "bad", "good"], task="classification", positive="bad", **window
    )
    assert found.evaluation.metrics["recall"] == 0.5


BAD_ARRAYS: list[tuple[str, Any, Any]] = [
    ("y_pred", [1.0, 2.0], [1.0]),
    ("y_true", [], []),
    ("y_true", [1.0, float("nan")], [1.0, 2.0]),
    ("y_pred", [1.0, 2.0], [1.0, float("inf")]),
    ("y_true", [[1.0], [2.0]], [1.0, 2.0]),
    ("y_true", ["1", "2"], [1.0, 2.0]),
    ("y_true", 5.0, 5.0),
    ("y_true", None, None),
]


@pytest.mark.parametrize(("argument", "y_true", "y_pred"), BAD_ARRAYS)
async def test_bad_arrays_are_refused(bound: ModelPerformanceTracker, argument: str, y_true: Any, y_pred: Any) -> None:
    """Arrays of different length, empty, with NaN or of no numbers are refused by name, and nothing is recorded."""
    with pytest.raises(InvalidInputError) as refused:
        await bound.evaluate(REF, y_true, y_pred, evaluation_start=START, evaluation_end=START + DAY)
    assert refused.value.argument == argument
    assert await bound.metrics.fetch_latest(REF) is None
