"""One row of the earlier installation, as one row of ours: pure functions, no SQL.

What has a column of ours is taken out of the old row; all the rest, and what does not survive the way there and back,
stays in ``metadata.imported`` under its old name. ``metadata.imported.filled_in`` names what the old row left empty and
ours could not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, get_args

from model_perf import _validation as check
from model_perf._comparison import concluded_elsewhere
from model_perf._earlier_row import EarlierRow
from model_perf.records import (
    DECISIONS,
    RESOLUTIONS,
    ABTestStatus,
    Decision,
    TrainingStatus,
    as_metrics,
    as_severity,
    as_trigger_type,
)
from model_perf.repos.ab_tests import WINNERS

OldRow = Mapping[str, Any]
NewRow = dict[str, Any]

ASSUMED_WINDOW = timedelta(days=1)
"""The window of an evaluation that has none: it ends at evaluation_date."""

_METRICS = {
    "r_squared": "r_squared",
    "rmse": "rmse",
    "mae": "mae",
    "mape": "mape",
    "precision_score": "precision",
    "recall_score": "recall",
    "f1_score": "f1_score",
}
_TRAINING_STATUSES: tuple[str, ...] = get_args(TrainingStatus)
_TEST_STATUSES: tuple[str, ...] = get_args(ABTestStatus)


def convert(table: str, row: OldRow, zone: tzinfo, now: datetime) -> NewRow:
    """The row of ours, by our column names; `InvalidInputError` where ours could not hold it."""
    old = EarlierRow(row, zone)
    new = _CONVERTERS[table](old, now)
    new["metadata"] = old.metadata()
    return new


def _evaluation(old: EarlierRow, now: datetime) -> NewRow:
    date = old.needed_time("evaluation_date")
    values = {ours: old.number(theirs) for theirs, ours in _METRICS.items()}
    known = as_metrics({name: value for name, value in values.items() if value is not None})
    completeness = old.number("data_completeness")
    if completeness is not None:
        check.as_float(completeness, "data_completeness", low=0.0, high=1.0)
    return {
        "id": old.uuid("id"),
        "model_id": old.uuid("model_id"),
        "model_type": old.model_type(),
        "model_version": old.version("model_version"),
        "machine_id": old.machine(),
        "evaluation_date": _iso(date),
        **_window(old, date),
        "sample_count": old.whole("sample_count"),
        "data_completeness": completeness,
        **known,
        "metrics": {},
        "drift_details": {},
        "verdict": "not_judged",
        "created_by": old.text("created_by"),
        "created_at": _iso(_first(old, "created_at", date)),
    }


def _window(old: EarlierRow, date: datetime) -> dict[str, str]:
    end = _first(old, "evaluation_end", date)
    start = _first(old, "evaluation_start", check.later(end, -ASSUMED_WINDOW, "evaluation_start"))
    return {"evaluation_start": start.isoformat(), "evaluation_end": end.isoformat()}


def _training_run(old: EarlierRow, now: datetime) -> NewRow:
    status = check.as_choice(old.take("training_status"), "training_status", _TRAINING_STATUSES)
    error = old.text("error_message")
    if status in ("pending", "running"):
        old.keep("training_status")
        status, error = "failed", error or f"imported: was {status} when it was copied"
    start = old.time("training_start")
    created = _first(old, "created_at", start or now)
    return {
        "id": old.uuid("id"),
        "model_type": old.model_type(),
        "machine_id": old.machine(),
        "model_id": old.optional_uuid("model_id"),
        "model_version": _run_version(old),
        "training_status": status,
        "trigger_type": _trigger_type(old),
        "triggered_by": old.text("triggered_by"),
        "training_start": _iso(start),
        "training_end": _iso(old.time("training_end")),
        "training_data_start": _iso(old.time("training_data_start")),
        "training_data_end": _iso(old.time("training_data_end")),
        "sample_count": old.whole("training_samples"),
        "performance_improvement": old.number("performance_improvement"),
        "hyperparameters": old.json("hyperparameters"),
        "feature_names": old.texts("feature_names"),
        "training_metrics": old.json("training_metrics"),
        "validation_metrics": old.json("validation_metrics"),
        "attempt": 0 if start is None else 1,
        "max_attempts": 3,
        "run_after": _iso(created),
        "progress": 1.0 if status == "completed" else None,
        "error_message": error,
        "error_traceback": old.text("error_traceback"),
        "created_at": _iso(created),
    }


def _run_version(old: EarlierRow) -> int | None:
    """A run may have none; a text ("2024.1") stays in metadata.imported."""
    value = old.take("model_version")
    if value is None or (isinstance(value, str) and not value.isdecimal()):
        old.keep("model_version")
        return None
    return old.version("model_version")


def _trigger_type(old: EarlierRow) -> str:
    word = old.take("trigger_type")
    if word is None:
        old.fill("trigger_type")
        return "manual"
    kind = as_trigger_type(word)
    if kind != word:
        old.keep("trigger_type")
    return kind


def _ab_test(old: EarlierRow, now: datetime) -> NewRow:
    arms = {name: old.uuid(name) for name in ("model_a_id", "model_b_id")}
    declared, decided = old.time("winner_declared_at"), old.time("decided_at")
    old.keep("winner_declared_at")  # beside decided_at it has no column
    if decided is None and declared is not None:
        old.fill("decided_at")
    start = old.needed_time("test_start")
    end = _first(old, "test_end", decided or declared or now)
    winner = _winner(old, arms)
    status = _test_status(old, end <= now or winner is not None)
    return {
        "id": old.uuid("id"),
        "test_name": old.text("test_name"),
        "model_type": old.model_type(),
        "machine_id": old.machine(),
        **arms,
        "model_a_version": old.version("model_a_version"),
        "model_b_version": old.version("model_b_version"),
        "test_start": _iso(start),
        "test_end": _iso(end),
        "test_status": status,
        "traffic_split": _traffic_split(old),
        "design": {"source": "imported"},
        **_finding(old, status, winner),
        "decided_at": _iso(decided or declared),
        "decided_by": old.text("decided_by"),
        "created_by": old.text("created_by"),
        "created_at": _iso(_first(old, "created_at", start)),
    }


def _test_status(old: EarlierRow, is_over: bool) -> str:
    status = check.as_choice(old.take("test_status"), "test_status", _TEST_STATUSES)
    if status in ("planned", "running") and is_over:
        old.keep("test_status")
        return "completed"
    return status


def _traffic_split(old: EarlierRow) -> float:
    share, share_a = old.number("traffic_split_b"), old.number("traffic_split_a")
    old.keep("traffic_split_a")
    if share is not None:
        return check.as_open_fraction(share, "traffic_split_b")
    old.fill("traffic_split_b")
    return 0.5 if share_a is None else check.as_open_fraction(1.0 - share_a, "traffic_split_a")


def _winner(old: EarlierRow, arms: Mapping[str, str]) -> Decision | None:
    """Which arm was declared the winner; of two versions of one model the id does not say which."""
    winner = old.optional_uuid("winner_model_id")
    if winner in arms.values() and arms["model_a_id"] != arms["model_b_id"]:
        return "superior_a" if winner == arms["model_a_id"] else "superior_b"
    old.keep("winner_model_id")
    return None


def _finding(old: EarlierRow, status: str, winner: Decision | None) -> NewRow:
    """The columns of the finding: theirs where they declared one, in our words."""
    word, notes = old.take("decision"), old.look("decision_notes")
    if status in ("planned", "running"):
        old.keep("decision")
        return {"winner_metrics": {}}
    known = word if word in DECISIONS else None
    if word is None:
        old.fill("decision")
    elif winner is not None or known is None:
        old.keep("decision")
    reason = f"imported: {notes or _default_reason(winner, status)}"
    if status == "cancelled":
        old.keep("winner_model_id")
        return {"winner_metrics": {}, "decision_reason": reason}
    decision = winner or known or "undecided"
    return {
        "decision": decision,
        "decision_reason": reason,
        "winner_model": WINNERS.get(decision, "no_winner"),
        "winner_metrics": concluded_elsewhere(_numbers(old, "model_a_metrics"), _numbers(old, "model_b_metrics")),
    }


def _default_reason(winner: Decision | None, status: str) -> str:
    if status == "cancelled":
        return "cancelled"
    return "no winner was declared" if winner is None else "the winner that the earlier installation declared"


def _numbers(old: EarlierRow, name: str) -> dict[str, float]:
    """The numbers of a JSON column that stays whole in metadata.imported."""
    values = old.look(name)
    if not isinstance(values, dict):
        return {}
    return {key: float(value) for key, value in values.items() if isinstance(value, int | Decimal)}


def _alert(old: EarlierRow, now: datetime) -> NewRow:
    number, moment = old.uuid("id"), _iso(old.needed_time("alert_timestamp"))
    severity = old.take("severity")
    is_resolved = old.flag("is_resolved")
    return {
        "id": number,
        "alert_type": check.as_text(old.take("alert_type"), "alert_type", max_length=200),
        "severity": "info" if severity == "normal" else as_severity(severity),
        "model_type": old.model_type(),
        "machine_id": old.machine(),
        # Theirs name no model, and two of a kind may be open: each is a condition of its own.
        "fingerprint": f"imported:{number}",
        "alert_message": old.text("alert_message"),
        "alert_timestamp": moment,
        "last_seen_at": moment,
        "occurrences": 1,
        "alert_details": old.json("alert_details"),
        "current_metric_value": old.number("current_metric_value"),
        "threshold_value": old.number("threshold_value"),
        "baseline_metric_value": old.number("baseline_metric_value"),
        "is_resolved": is_resolved,
        "resolved_timestamp": _iso(old.time("resolved_at")),
        "resolved_by": old.text("resolved_by"),
        **_resolution(old, is_resolved),
        "auto_action_taken": old.flag("auto_action_taken"),
        "auto_action": _auto_action(old),
    }


def _resolution(old: EarlierRow, is_resolved: bool) -> NewRow:
    """Our word for how it was resolved; one of theirs goes to the notes."""
    word, notes = old.text("resolution_action"), old.text("resolution_notes")
    if word is None or (word in RESOLUTIONS and is_resolved):
        return {"resolution": word, "resolution_notes": notes}
    old.keep("resolution_action")
    old.keep("resolution_notes")
    if notes is None:
        old.fill("resolution_notes")
    joined = word if not notes else f"{notes}\n{word}"
    return {"resolution": "manual" if is_resolved else None, "resolution_notes": joined}


def _auto_action(old: EarlierRow) -> dict[str, Any]:
    found = {"type": old.take("auto_action_type"), "result": old.take("auto_action_result")}
    return {name: value for name, value in found.items() if value is not None}


def _first(old: EarlierRow, name: str, default: datetime) -> datetime:
    moment = old.time(name)
    if moment is None:
        old.fill(name)
        return default
    return moment


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


_CONVERTERS: Mapping[str, Callable[[EarlierRow, datetime], NewRow]] = {
    "model_performance_metrics": _evaluation,
    "model_training_history": _training_run,
    "model_ab_tests": _ab_test,
    "model_alerts": _alert,
}
