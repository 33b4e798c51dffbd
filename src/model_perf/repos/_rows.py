"""From rows to records. A row comes from a SELECT, or as JSON from inside a larger statement."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from struct import unpack
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from model_perf._notifications import Delivery, Notification
from model_perf._validation import as_uuid
from model_perf.records import (
    METRIC_COLUMNS,
    SEVERITIES,
    ABTest,
    Alert,
    AlertEvent,
    Champion,
    Decision,
    Evaluation,
    Look,
    Model,
    ModelRef,
    SeenWorker,
    Severity,
    TrainingRun,
)
from model_perf.repos._judged import FleetEntry, Point, SlotVersion
from model_perf.sql._connection import Row

T = TypeVar("T")


class _Maker(Generic[T]):
    """Makes a record as its constructor does, in a third of the time, of all fields: what is stored was checked."""

    def __init__(self, record: type[T]) -> None:
        self._record = record
        slots = cast(Any, record).__slots__
        self._put = {name: getattr(record, name).__set__ for name in slots if name != "__weakref__"}

    def __call__(self, **fields: object) -> T:
        made = self._record.__new__(self._record)
        put = self._put
        for name, value in fields.items():
            put[name](made, value)
        return made


_make_ref = _Maker(ModelRef)
_make_evaluation = _Maker(Evaluation)


@lru_cache(maxsize=4096)
def _shared_id(value: UUID | str) -> UUID:
    """One UUID for the many rows of a model or a machine."""
    return as_uuid(value, "id")


def json_object(value: str | Mapping[str, object] | None) -> dict[str, Any]:
    if value is None or value == "{}":
        return {}
    return cast(dict[str, Any], json.loads(value)) if isinstance(value, str) else dict(value)


def json_row(text: str) -> Row:
    """A row that PostgreSQL handed over as JSON."""
    return cast(Row, json.loads(text))


def read_metrics(row: Row) -> dict[str, float]:
    """The metrics of an evaluation by name: those with columns first, in their order."""
    found: dict[str, float] = {name: value for name in METRIC_COLUMNS if (value := row[name]) is not None}
    further = row["metrics"]
    if further != "{}":
        # jsonb has numbers and no floats: 1e300 comes back as a whole number.
        found.update((name, float(value)) for name, value in json_object(further).items())
    return found


def read_ref(row: Row) -> ModelRef:
    return _make_ref(
        model_id=_shared_id(row["model_id"]),
        model_type=row["model_type"],
        model_version=row["model_version"],
        machine_id=_shared_id(row["machine_id"]),
    )


def read_model(row: Row) -> Model:
    return Model(
        ref=read_ref(row),
        machine_name=row["machine_name"],
        version_label=row["version_label"],
        training_data_end=row["training_data_end"],
        first_seen_at=row["first_seen_at"],
    )


def read_evaluation(row: Row) -> Evaluation:
    return _make_evaluation(
        ref=read_ref(row),
        evaluation_start=row["evaluation_start"],
        evaluation_end=row["evaluation_end"],
        metrics=read_metrics(row),
        sample_count=row["sample_count"],
        data_completeness=row["data_completeness"],
        evaluation_date=row["evaluation_date"],
        id=as_uuid(row["id"], "id"),
        verdict=row["verdict"],
        drift_detected=row["drift_detected"],
        drift_score=row["drift_score"],
        drift_threshold=row["drift_threshold"],
        drift_details=json_object(row["drift_details"]),
        created_by=row["created_by"],
        created_at=row["created_at"],
        metadata=json_object(row["metadata"]),
    )


def read_point(row: Row) -> Point:
    return Point(
        model_id=_shared_id(row["model_id"]),
        model_version=row["model_version"],
        evaluation_date=row["evaluation_date"],
        evaluation_start=row["evaluation_start"],
        evaluation_end=row["evaluation_end"],
        id=as_uuid(row["id"], "id"),
        created_at=row["created_at"],
        sample_count=row["sample_count"],
        data_completeness=row["data_completeness"],
        verdict=row["verdict"],
        drift_score=row["drift_score"],
        metrics=read_metrics(row),
    )


def _optional_point(row: Row) -> Point | None:
    return None if row["id"] is None else read_point(row)


def read_slot_version(row: Row) -> SlotVersion:
    return SlotVersion(
        model_id=_shared_id(row["deployed_id"]),
        model_version=row["deployed_version"],
        version_label=row["version_label"],
        first_seen_at=row["first_seen_at"],
        evaluation=_optional_point(row),
        training_samples=row["training_samples"],
        is_champion=row["is_champion"],
    )


def read_fleet_entry(row: Row) -> FleetEntry:
    return FleetEntry(
        model_type=row["slot_model_type"],
        machine_id=_shared_id(row["slot_machine_id"]),
        machine_name=row["machine_name"],
        model_id=_shared_id(row["deployed_id"]),
        model_version=row["deployed_version"],
        version_label=row["version_label"],
        evaluation=_optional_point(row),
        recent_values=_floats_of(row["recent_values"]),
        n_open_alerts=row["n_open_alerts"],
        worst_severity=None if row["worst_rank"] is None else cast(Severity, SEVERITIES[row["worst_rank"] - 1]),
        test_id=_id(row["test_id"]),
        test_name=row["test_name"],
        run_id=_id(row["run_id"]),
        training_status=row["training_status"],
    )


def _floats_of(newest_first: bytes | None) -> tuple[float, ...]:
    """Floats as PostgreSQL sends them, oldest first."""
    return () if newest_first is None else unpack(f">{len(newest_first) // 8}d", newest_first)[::-1]


_TRAINING_JSON = ("hyperparameters", "training_metrics", "validation_metrics", "metadata")
_ALERT_JSON = ("alert_details", "auto_action", "metadata")
_TRAINING_PLAIN = (
    "model_type", "model_version", "training_status", "trigger_type", "triggered_by", "reason", "sample_count",
    "performance_improvement", "attempt", "max_attempts", "worker", "progress", "error_message", "error_traceback",
)  # fmt: skip
_ALERT_PLAIN = (
    "alert_type", "severity", "model_type", "model_version", "fingerprint", "alert_message", "occurrences",
    "current_metric_value", "threshold_value", "baseline_metric_value", "is_resolved", "resolution", "resolved_by",
    "resolution_notes", "acknowledged_by", "acknowledgement_notes", "snoozed_by", "snooze_notes", "auto_action_taken",
)  # fmt: skip
_TRAINING_TIMES = (
    "training_start", "training_end", "training_data_start", "training_data_end", "run_after", "lease_until",
    "created_at",
)  # fmt: skip
_ALERT_TIMES = (
    "alert_timestamp", "last_seen_at", "resolved_timestamp", "acknowledged_at", "snoozed_until", "snoozed_at",
)  # fmt: skip
_IDS = ("id", "machine_id", "model_id")


def read_training_run(row: Row) -> TrainingRun:
    return TrainingRun(
        feature_names=tuple(row["feature_names"]),
        alert_id=_id(row["alert_id"]),
        **_fields(row, _TRAINING_PLAIN, _TRAINING_TIMES, _TRAINING_JSON),
    )


def read_alert(row: Row) -> Alert:
    return Alert(**_fields(row, _ALERT_PLAIN, _ALERT_TIMES, _ALERT_JSON))


_NOTIFICATION_FIELDS = (
    "event_id", "event", "alert_type", "severity", "model_type", "channel", "status", "attempt", "failures",
    "run_after", "lease_until", "delivered_at", "error_message", "created_at",
)  # fmt: skip
_DELIVERY_FIELDS = (
    "channel", "attempt", "failures", "is_dead", "event_id", "event", "occurred_at", "severity", "actor", "notes",
    "alert_type", "model_type", "model_version", "alert_message", "alert_timestamp", "occurrences",
    "current_metric_value", "threshold_value", "baseline_metric_value", "resolution",
)  # fmt: skip


def read_notification(row: Row) -> Notification:
    return Notification(
        id=as_uuid(row["id"], "id"),
        alert_id=as_uuid(row["alert_id"], "alert_id"),
        machine_id=_shared_id(row["machine_id"]),
        **{name: row[name] for name in _NOTIFICATION_FIELDS},
    )


def read_delivery(row: Row) -> Delivery:
    return Delivery(
        id=as_uuid(row["id"], "id"),
        alert_id=as_uuid(row["alert_id"], "alert_id"),
        machine_id=_shared_id(row["machine_id"]),
        model_id=_id(row["model_id"]),
        event_details=json_object(row["event_details"]),
        alert_details=json_object(row["alert_details"]),
        **{name: row[name] for name in _DELIVERY_FIELDS},
    )


def read_alert_event(row: Row) -> AlertEvent:
    return AlertEvent(
        id=row["id"],
        alert_id=as_uuid(row["alert_id"], "alert_id"),
        event=row["event"],
        occurred_at=row["occurred_at"],
        severity=row["severity"],
        actor=row["actor"],
        notes=row["notes"],
        details=json_object(row["details"]),
    )


def read_ab_test(row: Row) -> ABTest:
    def arm(letter: str) -> ModelRef:
        return ModelRef(
            model_id=row[f"model_{letter}_id"],
            model_type=row["model_type"],
            model_version=row[f"model_{letter}_version"],
            machine_id=row["machine_id"],
        )

    return ABTest(
        id=as_uuid(row["id"], "id"),
        test_name=row["test_name"],
        model_a=arm("a"),
        model_b=arm("b"),
        test_status=row["test_status"],
        test_start=row["test_start"],
        test_end=row["test_end"],
        traffic_split=row["traffic_split"],
        design=json_object(row["design"]),
        winner_model=row["winner_model"],
        winner_metrics=json_object(row["winner_metrics"]),
        decision=row["decision"],
        decision_reason=row["decision_reason"],
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
        created_by=row["created_by"],
        created_at=row["created_at"],
        late_observations=row["late_observations"],
        training_run_id=_id(row["training_run_id"]),
        metadata=json_object(row["metadata"]),
    )


def read_champion(row: Row) -> Champion:
    return Champion(
        ref=read_ref(row),
        number=row["number"],
        action=row["action"],
        reason=row["reason"],
        promoted_by=row["promoted_by"],
        promoted_at=row["promoted_at"],
        training_run_id=_id(row["training_run_id"]),
        ab_test_id=_id(row["ab_test_id"]),
    )


def read_worker(row: Row) -> SeenWorker:
    return SeenWorker(
        worker=row["worker"],
        model_types=tuple(row["model_types"]),
        started_at=row["started_at"],
        seen_at=row["seen_at"],
        stopped_at=row["stopped_at"],
    )


def read_looks(text: str | None) -> tuple[Look, ...]:
    """Looks as PostgreSQL aggregated them, in the order of the record's fields; infinities come as text."""
    rows: list[list[Any]] = json.loads(text) if text else []
    return tuple(_read_look(*row) for row in rows)


def _read_look(look_at: str, n_a: int, n_b: int, decision: Decision, reason: str, *numbers: float | str | None) -> Look:
    names = ("effect", "standard_error", "confidence_low", "confidence_high", "pvalue", "sample_ratio_pvalue")
    known = {name: None if value is None else float(value) for name, value in zip(names, numbers, strict=True)}
    moment = datetime.fromisoformat(look_at).astimezone(UTC)
    return Look(look_at=moment, n_a=n_a, n_b=n_b, decision=decision, reason=reason, **known)


def _fields(row: Row, plain: tuple[str, ...], times: tuple[str, ...], objects: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {name: row[name] for name in plain}
    found.update((name, _id(row[name])) for name in _IDS)
    found.update((name, _time(row[name])) for name in times)
    found.update((name, json_object(row[name])) for name in objects)
    return found


def _id(value: UUID | str | None) -> UUID | None:
    return None if value is None else as_uuid(value, "id")


def _time(value: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(value).astimezone(UTC) if isinstance(value, str) else value
