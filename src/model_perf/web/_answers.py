"""From records to what the routes answer. What is unknown keeps its type, with a flag beside it that says so.

Field by field, so that mypy holds each answer to its type in `schemas`; hence its length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, cast
from uuid import UUID

from model_perf import (
    ABTest,
    ABTestResult,
    Alert,
    AlertEvent,
    AutomationSwitch,
    ColumnCheck,
    ColumnDrift,
    DataDriftReport,
    DriftReport,
    FleetEntry,
    Look,
    MetricCheck,
    ModelRef,
    MonitoringPolicy,
    Point,
    RecordedEvaluation,
    RetrainingTrigger,
    SlotSummary,
    SlotVersion,
    TrainingRun,
    Trend,
)
from model_perf.records import METRIC_COLUMNS
from model_perf.web import schemas

Names = Mapping[UUID, str]


class _Interval(Protocol):
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def recorded(stored: RecordedEvaluation) -> schemas.ModelPerfRecorded:
    evaluation, report = stored.evaluation, stored.drift
    return {
        "metric_id": evaluation.id,
        "is_new": stored.is_new,
        "model_version": evaluation.ref.model_version,
        "verdict": report.verdict,
        "drift_detected": report.drift_detected is True,
        "drift_score": report.drift_score or 0.0,
        "drift_score_known": report.drift_score is not None,
        "recommendation": report.recommendation,
        "data_completeness": evaluation.data_completeness,
        "alert_id": None if stored.alert is None else stored.alert.id,
        "training_job_id": None if stored.training_run is None else stored.training_run.id,
    }


def trend(found: Trend, model_type: str, machine_id: UUID, names: Names) -> schemas.ModelPerfTrend:
    current = found.current
    points = sorted(found.evaluations, key=lambda point: (point.evaluation_date, point.id))
    return {
        "model_type": model_type,
        "machine_id": machine_id,
        "machine_name": names[machine_id],
        "since": found.since,
        "until": found.until,
        "metrics": [_trend_point(point, model_type, machine_id) for point in points],
        "metric": found.metric,
        "trend_direction": current.direction,
        "trend_reason": current.reason,
        "degradation_rate": _finite(current.degradation_rate),
        "slope_per_day": _finite(current.slope_per_day),
        "slope_interval": _interval(current.confidence_interval),
        "pvalue": _finite(current.pvalue),
        "n_evaluations": current.n,
        "change_point": _change_point(found),
        "days_to_threshold": _finite(current.days_to_threshold),
    }


def _trend_point(point: Point, model_type: str, machine_id: UUID) -> schemas.ModelPerfTrendPoint:
    metrics = point.metrics
    return {
        "id": point.id,
        "model_id": point.model_id,
        "model_type": model_type,
        "machine_id": machine_id,
        "model_version": point.model_version,
        "evaluation_date": point.evaluation_date,
        "evaluation_start": point.evaluation_start,
        "evaluation_end": point.evaluation_end,
        "r_squared": metrics.get("r_squared"),
        "rmse": metrics.get("rmse"),
        "mae": metrics.get("mae"),
        "mape": metrics.get("mape"),
        "precision": metrics.get("precision"),
        "recall": metrics.get("recall"),
        "f1_score": metrics.get("f1_score"),
        "further_metrics": {name: value for name, value in metrics.items() if name not in METRIC_COLUMNS},
        "verdict": point.verdict,
        "drift_detected": point.verdict == "critical",
        "drift_score": point.drift_score or 0.0,
        "drift_score_known": point.drift_score is not None,
        "sample_count": point.sample_count or 0,
        "sample_count_known": point.sample_count is not None,
        "data_completeness": point.data_completeness,
    }


def _change_point(found: Trend) -> schemas.ModelPerfChangePoint | None:
    change, series = found.current.change_point, found.newest_series
    if change is None or series is None:
        return None
    dates = [point.evaluation_date for point in series.points]
    return {
        "evaluation_date": dates[change.index],
        "low": dates[change.low],
        "high": dates[change.high],
        "effect": change.effect,
        "pvalue": change.pvalue,
        "significant": change.significant,
    }


def drift_check(ref: ModelRef, report: DriftReport) -> schemas.ModelPerfDriftCheck:
    return {
        "model_id": ref.model_id,
        "model_type": ref.model_type,
        "machine_id": ref.machine_id,
        "model_version": ref.model_version,
        "verdict": report.verdict,
        "drift_detected": report.drift_detected is True,
        "drift_score": report.drift_score or 0.0,
        "drift_score_known": report.drift_score is not None,
        "drift_type": report.drift_type,
        "drift_types": list(report.drift_types),
        "recommendation": report.recommendation,
        "threshold": report.drift_threshold,
        "current_performance": {check.metric: check.current_value for check in report.metrics},
        "baseline_performance": {
            check.metric: check.baseline_value for check in report.metrics if check.baseline_value is not None
        },
        "metrics": [_metric_check(check) for check in report.metrics],
        "window_start": report.window_start,
        "window_end": report.window_end,
        "degraded_since": report.since,
        "data": None if report.data is None else _data_drift(report.data),
        "sample_count": report.sample_count or 0,
        "sample_count_known": report.sample_count is not None,
        "notes": list(report.notes),
    }


def _data_drift(report: DataDriftReport) -> schemas.ModelPerfDataDrift:
    return {
        "verdict": report.verdict,
        "drift_detected": report.drift_detected is True,
        "headline": report.headline,
        "columns": [_column_drift(column) for column in report.columns.values()],
        "added_columns": list(report.added_columns),
        "n_reference": report.n_reference,
        "n_current": report.n_current,
        "window_start": report.window_start,
        "window_end": report.window_end,
        "alarm_value": report.alarm_value,
        "alarm_limit": report.alarm_limit,
    }


def _column_drift(column: ColumnDrift) -> schemas.ModelPerfColumnDrift:
    return {
        "column": column.name,
        "kind": column.kind,
        "verdict": column.verdict,
        "reason": column.reason,
        "adjusted_pvalue": column.adjusted_pvalue,
        "checks": [_column_check(check) for check in column.checks],
    }


def _column_check(check: ColumnCheck) -> schemas.ModelPerfColumnCheck:
    return {
        "name": check.name,
        "verdict": check.verdict,
        "reason": check.reason,
        "statistic": check.statistic,
        "effect_size": check.effect_size,
        "confidence_interval": _interval(check.confidence_interval),
        "pvalue": check.pvalue,
        "threshold": check.threshold,
        "detectable_change": check.detectable_change,
        "n_reference": check.n_reference,
        "n_current": check.n_current,
    }


def _metric_check(check: MetricCheck) -> schemas.ModelPerfMetricCheck:
    return {
        "metric": check.metric,
        "direction": check.direction,
        "verdict": check.verdict,
        "reason": check.reason,
        "current_value": check.current_value,
        "baseline_value": check.baseline_value,
        "threshold_value": check.threshold_value,
        "degradation": check.degradation,
        "confidence_interval": _interval(check.confidence_interval),
        "statistic": _finite(check.statistic),
        "pvalue": check.pvalue,
        "adjusted_pvalue": check.adjusted_pvalue,
        "chart_value": check.chart_value,
        "chart_limit": check.chart_limit,
        "n_baseline": check.n_baseline,
        "n_missing": check.n_missing,
    }


def retraining(trigger: RetrainingTrigger) -> schemas.ModelPerfRetraining:
    return {
        "triggered": trigger.triggered,
        "trigger_type": trigger.run.trigger_type,
        "reason": trigger.reason,
        "training_job_id": trigger.run.id,
        "training_status": trigger.run.training_status,
        "estimated_completion": trigger.estimated_completion,
        "workers_seen_at": trigger.workers_seen_at,
        "notice": trigger.notice,
    }


def training_run(run: TrainingRun, names: Names) -> schemas.ModelPerfTrainingRun:
    return {
        "id": run.id,
        "model_type": run.model_type,
        "machine_id": run.machine_id,
        "machine_name": names[run.machine_id],
        "model_id": run.model_id,
        "model_version": run.model_version,
        "training_status": run.training_status,
        "trigger_type": run.trigger_type,
        "triggered_by": run.triggered_by,
        "reason": run.reason,
        "created_at": run.created_at,
        "training_start": run.training_start,
        "training_end": run.training_end,
        "training_data_start": run.training_data_start,
        "training_data_end": run.training_data_end,
        "sample_count": run.sample_count or 0,
        "sample_count_known": run.sample_count is not None,
        "performance_improvement": run.performance_improvement,
        "hyperparameters": dict(run.hyperparameters),
        "feature_names": list(run.feature_names),
        "training_metrics": dict(run.training_metrics),
        "validation_metrics": dict(run.validation_metrics),
        "attempt": run.attempt,
        "max_attempts": run.max_attempts,
        "progress": run.progress,
        "error_message": run.error_message,
    }


def started_ab_test(test: ABTest) -> schemas.ModelPerfStartedABTest:
    design = test.design
    size = f"on observations planned_n = {design.get('planned_n')} ({design.get('planned_n_source')})"
    return {
        "test_id": test.id,
        "status": test.test_status,
        "test_start": test.test_start,
        "test_end": test.test_end,
        "metric": _design_metric(test),
        "message": f"started; {size}; from evaluations: {design.get('note') or 'no plan'}",
    }


def ab_test(test: ABTest, names: Names) -> schemas.ModelPerfABTest:
    return {
        "id": test.id,
        "test_name": test.test_name,
        "model_type": test.model_type,
        "machine_id": test.machine_id,
        "machine_name": names[test.machine_id],
        "model_a_id": test.model_a.model_id,
        "model_a_version": test.model_a.model_version,
        "model_b_id": test.model_b.model_id,
        "model_b_version": test.model_b.model_version,
        "test_status": test.test_status,
        "test_start": test.test_start,
        "test_end": test.test_end,
        "traffic_split": test.traffic_split,
        "metric": _design_metric(test),
        "winner": test.winner_model,
        "decision": test.decision,
        "decision_reason": test.decision_reason,
        "decided_at": test.decided_at,
        "decided_by": test.decided_by,
        "created_by": test.created_by,
    }


def ab_test_result(result: ABTestResult) -> schemas.ModelPerfABTestResult:
    test = result.test
    return {
        "test_id": test.id,
        "test_name": test.test_name,
        "test_status": test.test_status,
        "test_start": test.test_start,
        "test_end": test.test_end,
        "model_a_id": test.model_a.model_id,
        "model_a_version": test.model_a.model_version,
        "model_b_id": test.model_b.model_id,
        "model_b_version": test.model_b.model_version,
        "metric": result.metric,
        "decision": result.decision,
        "winner": result.winner,
        "confidence": result.confidence,
        "effect": _finite(result.effect),
        "confidence_interval": _interval(result.confidence_interval),
        "pvalue": result.pvalue,
        "standard_error": _finite(result.standard_error),
        "source": result.source,
        "n_a": result.n_a,
        "n_b": result.n_b,
        "sample_ratio_pvalue": result.sample_ratio_pvalue,
        "looks": [_look(each) for each in result.looks],
        "notes": list(result.notes),
        "n_windows": result.n_windows,
        "n_evaluations_a": result.n_evaluations_a,
        "n_evaluations_b": result.n_evaluations_b,
        "model_a_metrics": dict(result.model_a_metrics),
        "model_b_metrics": dict(result.model_b_metrics),
        "reason": result.reason,
        "recommendation": result.recommendation,
    }


def _look(look: Look) -> schemas.ModelPerfLook:
    low, high = _finite(look.confidence_low), _finite(look.confidence_high)
    return {
        "look_at": look.look_at,
        "n_a": look.n_a,
        "n_b": look.n_b,
        "decision": look.decision,
        "effect": _finite(look.effect),
        "confidence_interval": None if low is None or high is None else {"low": low, "high": high},
        "pvalue": look.pvalue,
        "sample_ratio_pvalue": look.sample_ratio_pvalue,
    }


def alert(row: Alert, names: Names) -> schemas.ModelPerfAlert:
    return {
        "id": row.id,
        "alert_type": row.alert_type,
        "severity": row.severity,
        "model_type": row.model_type,
        "machine_id": row.machine_id,
        "machine_name": names[row.machine_id],
        "model_id": row.model_id,
        "model_version": row.model_version,
        "alert_message": row.alert_message,
        "alert_timestamp": row.alert_timestamp,
        "last_seen_at": row.last_seen_at,
        "occurrences": row.occurrences,
        "current_metric_value": row.current_metric_value,
        "threshold_value": row.threshold_value,
        "baseline_metric_value": row.baseline_metric_value,
        "is_resolved": row.is_resolved,
        "resolved_timestamp": row.resolved_timestamp,
        "resolution": row.resolution,
        "resolved_by": row.resolved_by,
        "resolution_notes": row.resolution_notes,
        "acknowledged_at": row.acknowledged_at,
        "acknowledged_by": row.acknowledged_by,
        "acknowledgement_notes": row.acknowledgement_notes,
        "snoozed_until": row.snoozed_until,
        "snoozed_at": row.snoozed_at,
        "snoozed_by": row.snoozed_by,
        "snooze_notes": row.snooze_notes,
        "auto_action_taken": row.auto_action_taken,
        "auto_action_reason": None if (reason := row.auto_action.get("reason")) is None else str(reason),
    }


def alert_event(row: AlertEvent) -> schemas.ModelPerfAlertEvent:
    return {
        "id": row.id,
        "alert_id": row.alert_id,
        "event": row.event,
        "occurred_at": row.occurred_at,
        "severity": row.severity,
        "actor": row.actor,
        "notes": row.notes,
        "details": dict(row.details),
    }


def automation(switch: AutomationSwitch | None, model_type: str, machine_id: UUID) -> schemas.ModelPerfAutomation:
    return {
        "model_type": model_type,
        "machine_id": machine_id,
        "is_enabled": switch is None or switch.is_enabled,
        "reason": None if switch is None else switch.reason,
        "changed_by": None if switch is None else switch.changed_by,
        "changed_at": None if switch is None else switch.changed_at,
    }


def summary(slot: SlotSummary, names: Names) -> schemas.ModelPerfSummary:
    active = slot.active
    return {
        "has_model": active is not None,
        "message": "no model is known for this machine and model type" if active is None else _in_service(active),
        "model_type": slot.model_type,
        "machine_id": slot.machine_id,
        "machine_name": names[slot.machine_id],
        "model_id": None if active is None else active.model_id,
        "model_version": None if active is None else active.model_version,
        "r_squared": None if active is None else _metric(active.evaluation, "r_squared"),
        "created_at": None if active is None else active.first_seen_at,
        "training_samples": None if active is None else active.training_samples,
        "versions": [_version(version, is_active=version is active) for version in slot.versions],
    }


def _in_service(version: SlotVersion) -> str:
    label = "" if version.version_label is None else f" ({version.version_label})"
    if version.evaluation is None:
        return f"version {version.model_version}{label}; it was never evaluated"
    return f"version {version.model_version}{label}, evaluated until {version.evaluation.evaluation_end.isoformat()}"


def _version(version: SlotVersion, *, is_active: bool) -> schemas.ModelPerfVersion:
    evaluation = version.evaluation
    return {
        "id": version.model_id,
        "version": version.model_version,
        "version_label": version.version_label,
        "r_squared": _metric(evaluation, "r_squared"),
        "rmse": _metric(evaluation, "rmse"),
        "evaluation_date": None if evaluation is None else evaluation.evaluation_date,
        "verdict": "insufficient_data" if evaluation is None else evaluation.verdict,
        "training_samples": version.training_samples,
        "is_active": is_active,
        "created_at": version.first_seen_at,
    }


def fleet_row(entry: FleetEntry, policy: MonitoringPolicy) -> schemas.ModelPerfFleetRow:
    evaluation = entry.evaluation
    metric = None if evaluation is None else policy.primary_metric(evaluation.metrics)
    score = None if evaluation is None else evaluation.drift_score
    return {
        "model_type": entry.model_type,
        "machine_id": entry.machine_id,
        "machine_name": entry.machine_name or str(entry.machine_id),
        "model_id": entry.model_id,
        "model_version": entry.model_version,
        "version_label": entry.version_label,
        "evaluation_id": None if evaluation is None else evaluation.id,
        "evaluation_date": None if evaluation is None else evaluation.evaluation_date,
        "verdict": "insufficient_data" if evaluation is None else evaluation.verdict,
        "drift_detected": evaluation is not None and evaluation.verdict == "critical",
        "drift_score": score or 0.0,
        "drift_score_known": score is not None,
        "metric": metric,
        "metric_value": None if metric is None else _metric(evaluation, metric),
        "n_open_alerts": entry.n_open_alerts,
        "worst_severity": entry.worst_severity,
        "test_id": entry.test_id,
        "test_name": entry.test_name,
        "training_job_id": entry.run_id,
        "training_status": entry.training_status,
    }


def _metric(evaluation: Point | None, name: str) -> float | None:
    return None if evaluation is None else evaluation.metrics.get(name)


def _design_metric(test: ABTest) -> str | None:
    return cast(str | None, test.design.get("metric"))


def _interval(interval: _Interval | None) -> schemas.ModelPerfInterval | None:
    """Null where a side is unbounded: JSON has no infinity."""
    if interval is None or not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return None
    return {"low": interval.low, "high": interval.high}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
