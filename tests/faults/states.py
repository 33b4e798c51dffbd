"""Is what the database holds of a deployment consistent: evaluations, state, alert?"""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

import asyncpg
from tests.factories import START
from tests.writers import NOW, noisy_evaluation, record

from model_perf import Evaluation, ModelPerformanceTracker, ModelRef, MonitoringPolicy
from model_perf.drift import EMPTY, DriftAlarm, PerformanceState, judge_performance

TABLES = (
    *("models", "model_performance_metrics", "model_drift_state", "model_training_history", "model_ab_tests"),
    *("model_alerts", "model_reference_profiles", "model_drift_reports"),
    *("model_ab_moments", "model_ab_batches", "model_ab_looks", "model_alert_events", "model_automation"),
    *("model_ab_moments", "model_ab_batches", "model_ab_looks", "model_workers", "model_champions"),
)
BASELINE_DAYS = 40
"""Ten more than the policy's baseline takes, so that the next evaluation is judged in earnest."""


async def learn_baseline(tracker: ModelPerformanceTracker, ref: ModelRef) -> None:
    """Forty days at an rmse of 10 ± 0.5: an rmse of 30 is critical from then on."""
    for day in range(BASELINE_DAYS):
        await record(tracker, noisy_evaluation(ref, day))


async def check_state(tracker: ModelPerformanceTracker, ref: ModelRef, *, n: int) -> int:
    """All *n* evaluations are there, the state has a version for each, and it is that of judging them in order.

    Those that came late do not count; what counted came in the order of time. Returns how many counted.
    """
    evaluations = await read_history(tracker, ref)
    version, stored = await read_state(tracker, ref)
    assert (len(evaluations), version) == (n, n)
    counted = [evaluation for evaluation in evaluations if not _was_late(evaluation)]
    state = EMPTY
    for evaluation in counted:
        report, state = judge_performance(state, evaluation, MonitoringPolicy())
        assert report.to_dict() == evaluation.drift_details
    assert stored == state
    return len(counted)


async def check_alert(tracker: ModelPerformanceTracker, ref: ModelRef) -> int:
    """The one alert of the deployment counts its critical evaluations; returns how many there are."""
    critical = [each for each in await read_history(tracker, ref) if each.verdict == "critical"]
    alerts = [each for each in await tracker.active_alerts() if each.model_id == ref.model_id]
    assert [alert.occurrences for alert in alerts] == ([len(critical)] if critical else [])
    return len(critical)


async def check_alarm(tracker: ModelPerformanceTracker, ref: ModelRef, *, n: int) -> int:
    """All *n* reports are there, each a step of the alarm's version; the alarm is what the counted ones add up to.

    A window that came late shows the alarm as a later one had left it. Returns how many counted.
    """
    page = await tracker.drift.list_reports(ref, since=START - timedelta(days=1), until=NOW, limit=1000)
    async with tracker.pool.acquire() as connection:
        row = await connection.fetchrow(
            f"SELECT version, state::text FROM {tracker.schema}.model_drift_state WHERE model_id = $1"
            " AND detector = 'data'",
            ref.model_id,
        )
    assert row is not None
    assert (len(page.items), row[0]) == (n, n + 1)  # the reference was the first step
    last = {stored.alarm_value: stored for stored in reversed(page.items)}
    value, end = 0.0, None
    for stored in sorted(last.values(), key=lambda each: each.window_end):
        pvalue: Any = stored.report["pvalue"]
        value, end = (value + 1.0) * (0.5 / math.sqrt(pvalue)), stored.window_end
        assert stored.alarm_value == value
    assert DriftAlarm.from_dict(json.loads(row[1])) == DriftAlarm(value=value, n=len(last), last_end=end)
    return len(last)


async def read_history(tracker: ModelPerformanceTracker, ref: ModelRef) -> list[Evaluation]:
    """All evaluations of a deployment, oldest first."""
    page = await tracker.metrics.list_evaluations(ref, since=START - timedelta(days=1), until=NOW, limit=1000)
    assert page.next_cursor is None
    return sorted(page.items, key=lambda evaluation: evaluation.evaluation_end)


async def read_state(tracker: ModelPerformanceTracker, ref: ModelRef) -> tuple[int, PerformanceState]:
    """Version and content of a deployment's state."""
    async with tracker.pool.acquire() as connection:
        row = await connection.fetchrow(
            f"SELECT version, state::text FROM {tracker.schema}.model_drift_state"
            " WHERE (model_id, model_version, machine_id) = ($1, $2, $3)",
            *(ref.model_id, ref.model_version, ref.machine_id),
        )
    assert row is not None
    return row[0], PerformanceState.from_dict(json.loads(row[1]))


async def count_rows(connection: asyncpg.Connection, schema: str) -> dict[str, int]:
    """Rows by table."""
    return {table: await connection.fetchval(f"SELECT count(*) FROM {schema}.{table}") for table in TABLES}


def _was_late(evaluation: Evaluation) -> bool:
    details: Any = evaluation.drift_details
    return any(note.startswith("late evaluation") for note in details.get("notes", ()))
