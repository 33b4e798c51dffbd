"""The values that go in and come out: frozen, checked when they are made, equal by content."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, cast, get_args
from uuid import UUID

from attrs import field, frozen

from model_perf import _validation as check
from model_perf.errors import InvalidInputError

Verdict = Literal["ok", "warning", "critical", "insufficient_data", "not_judged"]
Severity = Literal["info", "warning", "critical"]
TrainingStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
TriggerType = Literal["manual", "scheduled", "drift", "degradation"]
ABTestStatus = Literal["planned", "running", "completed", "cancelled"]
Decision = Literal["superior_a", "superior_b", "equivalent", "undecided", "invalid", "insufficient_data"]
Winner = Literal["model_a", "model_b", "no_winner"]
ChampionAction = Literal["promotion", "rollback"]
Resolution = Literal["recovered", "retrained", "false_positive", "manual"]
AlertEventName = Literal["opened", "escalated", "acknowledged", "snoozed", "acted", "resolved"]

SEVERITIES: tuple[str, ...] = get_args(Severity)
RESOLUTIONS: tuple[str, ...] = get_args(Resolution)
DECISIONS: tuple[str, ...] = get_args(Decision)
TRIGGER_TYPES: tuple[str, ...] = get_args(TriggerType)

NO_MACHINE = UUID(int=0)
"""The machine_id of a model that serves no machine in particular."""

METRIC_COLUMNS = ("r_squared", "rmse", "mae", "mape", "precision", "recall", "f1_score")
"""The metrics with a column of their own; any other is kept by name in the column ``metrics``."""

_METRIC_RANGES = {
    "r_squared": (float("-inf"), 1.0),
    "rmse": (0.0, float("inf")),
    "mae": (0.0, float("inf")),
    "mape": (0.0, float("inf")),
    "precision": (0.0, 1.0),
    "recall": (0.0, 1.0),
    "f1_score": (0.0, 1.0),
}
_ANY_RANGE = (float("-inf"), float("inf"))


def new_id() -> UUID:
    """A time-ordered UUIDv7 (RFC 9562, section 5.7), made by the client so that a repeat has the same id."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def _model_id(value: UUID | str) -> UUID:
    return check.as_uuid(value, "model_id")


def _machine_id(value: UUID | str | None) -> UUID:
    return NO_MACHINE if value is None else check.as_uuid(value, "machine_id")


def _model_type(value: str) -> str:
    return check.as_text(value, "model_type", max_length=200)


def _model_version(value: int) -> int:
    return check.as_int(value, "model_version", high=check.INT4_MAX)


@frozen(kw_only=True)
class ModelRef:
    """One deployment: a version of a model that serves a machine.

    Parameters
    ----------
    model_id : UUID or str
    model_type : str
        What kind of model it is ("baseline", "forecast"); one for all versions of a model_id.
    model_version : int
        0 to 2^31 - 1. For text versions use `ModelPerformanceTracker.register_model`.
    machine_id : UUID, str or None
        None stands for no machine in particular (the nil UUID).
    """

    model_id: UUID = field(converter=_model_id)
    model_type: str = field(converter=_model_type)
    model_version: int = field(converter=_model_version)
    machine_id: UUID = field(default=NO_MACHINE, converter=_machine_id)


@frozen(kw_only=True)
class Model:
    """A row of ``models``: what is known of one deployment."""

    ref: ModelRef
    machine_name: str | None = None
    version_label: str | None = None
    training_data_end: datetime | None = None
    first_seen_at: datetime


def _evaluation_start(value: datetime) -> datetime:
    return check.as_timestamp(value, "evaluation_start")


def _evaluation_end(value: datetime) -> datetime:
    return check.as_timestamp(value, "evaluation_end")


def _evaluation_date(value: datetime | None) -> datetime | None:
    return None if value is None else check.as_timestamp(value, "evaluation_date")


def _evaluation_id(value: UUID | str | None) -> UUID:
    return new_id() if value is None else check.as_uuid(value, "evaluation_id")


def _sample_count(value: int | None) -> int | None:
    return None if value is None else check.as_int(value, "sample_count")


def _data_completeness(value: float | None) -> float | None:
    return None if value is None else check.as_float(value, "data_completeness", low=0.0, high=1.0)


def _created_by(value: str | None) -> str | None:
    return check.as_optional_text(value, "created_by", max_length=200)


def _metadata(value: Mapping[str, object] | None) -> Mapping[str, object]:
    return check.as_json_object(value, "metadata")


def as_metrics(value: Mapping[str, float], argument: str = "metrics") -> dict[str, float]:
    """Metric values by name, each finite and within what its metric can be; at least one."""
    if not isinstance(value, Mapping):
        raise InvalidInputError(argument, f"{value!r} is not a mapping of names to numbers")
    if not value:
        raise InvalidInputError(argument, "is empty; give at least one metric, as in {'rmse': 12.1}")
    return {
        _metric_name(name, argument): check.as_float(number, f"{argument}[{name!r}]", low=low, high=high)
        for name, number in value.items()
        for low, high in (_METRIC_RANGES.get(name, _ANY_RANGE),)
    }


def _metric_name(name: str, argument: str) -> str:
    return name if name in _METRIC_RANGES else check.as_text(name, argument, max_length=200)


def as_optional_metrics(value: Mapping[str, float] | None, argument: str) -> dict[str, float]:
    """The same, where there may be none."""
    return {} if value is None or (isinstance(value, Mapping) and not value) else as_metrics(value, argument)


@frozen(kw_only=True)
class Evaluation:
    """How one deployment performed on one window ``[evaluation_start, evaluation_end)``.

    Parameters
    ----------
    ref : ModelRef
    evaluation_start, evaluation_end : datetime
        With a time zone; kept in UTC.
    metrics : mapping of str to float
        Finite. R² at most 1 and unbounded below; rmse, mae and mape not negative; precision, recall and
        f1_score within [0, 1]. Other names are free.
    sample_count : int or None
        None = unknown; None and 0 carry no weight.
    data_completeness : float or None
        Share of the expected samples that were there, within [0, 1].
    evaluation_date : datetime or None
        Orders the evaluations; None = evaluation_end.
    id : UUID or str or None
        None makes a new one. Give your own to make a repeated call harmless across processes.
    verdict, drift_detected, drift_score, drift_threshold, drift_details
        The library's finding; what a caller gives here is not taken over by `record` and `record_many`.
    """

    ref: ModelRef
    evaluation_start: datetime = field(converter=_evaluation_start)
    evaluation_end: datetime = field(converter=_evaluation_end)
    metrics: Mapping[str, float] = field(converter=as_metrics)
    sample_count: int | None = field(default=None, converter=_sample_count)
    data_completeness: float | None = field(default=None, converter=_data_completeness)
    evaluation_date: datetime = field(default=None, converter=_evaluation_date)
    id: UUID = field(default=None, converter=_evaluation_id)
    verdict: Verdict = "not_judged"
    drift_detected: bool | None = None
    drift_score: float | None = None
    drift_threshold: float | None = None
    drift_details: Mapping[str, object] = field(factory=dict)
    created_by: str | None = field(default=None, converter=_created_by)
    created_at: datetime | None = None
    metadata: Mapping[str, object] = field(default=None, converter=_metadata)

    def __attrs_post_init__(self) -> None:
        as_ref(self.ref)
        if self.evaluation_end <= self.evaluation_start:
            raise InvalidInputError(
                "evaluation_end",
                f"{self.evaluation_end.isoformat()} is not after evaluation_start "
                f"{self.evaluation_start.isoformat()}; the window is [start, end)",
            )
        if self.evaluation_date is None:
            object.__setattr__(self, "evaluation_date", self.evaluation_end)


@frozen(kw_only=True)
class TrainingRun:
    """One (re)training of the model of a slot (machine and model type)."""

    id: UUID
    model_type: str
    machine_id: UUID
    model_id: UUID | None = None
    model_version: int | None = None
    training_status: TrainingStatus
    trigger_type: TriggerType
    triggered_by: str | None = None
    reason: str | None = None
    training_start: datetime | None = None
    training_end: datetime | None = None
    training_data_start: datetime | None = None
    training_data_end: datetime | None = None
    sample_count: int | None = None
    performance_improvement: float | None = None
    hyperparameters: Mapping[str, object] = field(factory=dict)
    feature_names: tuple[str, ...] = ()
    training_metrics: Mapping[str, object] = field(factory=dict)
    validation_metrics: Mapping[str, object] = field(factory=dict)
    attempt: int = 0
    max_attempts: int
    run_after: datetime
    lease_until: datetime | None = None
    worker: str | None = None
    progress: float | None = None
    error_message: str | None = None
    error_traceback: str | None = None
    alert_id: UUID | None = None
    created_at: datetime
    metadata: Mapping[str, object] = field(factory=dict)


@frozen(kw_only=True)
class SeenWorker:
    """A row of ``model_workers``: what a worker trains, and when it was last seen; ``stopped_at`` if in good order."""

    worker: str
    model_types: tuple[str, ...]
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None = None


@frozen(kw_only=True)
class Champion:
    """A change of the version that serves a slot; that with the highest number serves.

    Attributes
    ----------
    number : int
        1, 2, 3, ... in each slot.
    action : {"promotion", "rollback"}
        A rollback brings the champion before back.
    training_run_id, ab_test_id : UUID or None
        The run that made the version, and the test that it won.
    """

    ref: ModelRef
    number: int
    action: ChampionAction
    reason: str | None = None
    promoted_by: str | None = None
    promoted_at: datetime
    training_run_id: UUID | None = None
    ab_test_id: UUID | None = None


@frozen(kw_only=True)
class ABTest:
    """A comparison of two versions; ``traffic_split`` is the share of model_b."""

    id: UUID
    test_name: str
    model_a: ModelRef
    model_b: ModelRef
    test_status: ABTestStatus
    test_start: datetime
    test_end: datetime
    traffic_split: float
    design: Mapping[str, object]
    winner_model: Winner | None = None
    winner_metrics: Mapping[str, object] = field(factory=dict)
    decision: Decision | None = None
    decision_reason: str | None = None
    decided_at: datetime | None = None
    decided_by: str | None = None
    created_by: str | None = None
    created_at: datetime
    late_observations: int = 0
    training_run_id: UUID | None = None
    metadata: Mapping[str, object] = field(factory=dict)

    @property
    def model_type(self) -> str:
        """The type of both models."""
        return self.model_a.model_type

    @property
    def machine_id(self) -> UUID:
        """The machine that both models serve."""
        return self.model_a.machine_id


@frozen(kw_only=True)
class Look:
    """What a test on observations had found at one moment.

    Attributes
    ----------
    n_a, n_b : int
        Observations, of each model.
    effect, standard_error : float or None
        Of b - a, in the metric's unit; None where nothing could be said.
    confidence_low, confidence_high : float or None
        Where the intervals of all looks so far overlap; infinite while the test has hardly begun.
    pvalue, sample_ratio_pvalue : float or None
        The smallest of all looks so far.
    """

    look_at: datetime
    n_a: int
    n_b: int
    decision: Decision
    reason: str
    effect: float | None = None
    standard_error: float | None = None
    confidence_low: float | None = None
    confidence_high: float | None = None
    pvalue: float | None = None
    sample_ratio_pvalue: float | None = None


@frozen(kw_only=True)
class Alert:
    """A condition that somebody should know of: one open alert per condition, repeats are counted."""

    id: UUID
    alert_type: str
    severity: Severity
    model_type: str
    machine_id: UUID
    model_id: UUID | None = None
    model_version: int | None = None
    fingerprint: str
    alert_message: str
    alert_timestamp: datetime
    last_seen_at: datetime
    occurrences: int = 1
    alert_details: Mapping[str, object] = field(factory=dict)
    current_metric_value: float | None = None
    threshold_value: float | None = None
    baseline_metric_value: float | None = None
    is_resolved: bool = False
    resolved_timestamp: datetime | None = None
    resolution: Resolution | None = None
    resolved_by: str | None = None
    resolution_notes: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledgement_notes: str | None = None
    snoozed_until: datetime | None = None
    snoozed_at: datetime | None = None
    snoozed_by: str | None = None
    snooze_notes: str | None = None
    auto_action_taken: bool = False
    auto_action: Mapping[str, object] = field(factory=dict)
    metadata: Mapping[str, object] = field(factory=dict)


@frozen(kw_only=True)
class AlertEvent:
    """One thing that happened to an alert; a log of them is kept, and never changed.

    Attributes
    ----------
    id : int
        Grows with time.
    event : str
        "opened", "escalated" (the severity rose), "acknowledged", "snoozed", "acted" (the policy did something, or
        says why not), "resolved".
    severity : str
        After it.
    actor : str or None
        Who did it; None for the library.
    details : mapping
        Of "escalated" from and to, of "snoozed" until, of "acted" the outcome, of "resolved" the resolution.
    """

    id: int
    alert_id: UUID
    event: AlertEventName
    occurred_at: datetime
    severity: Severity
    actor: str | None = None
    notes: str | None = None
    details: Mapping[str, object] = field(factory=dict)


@frozen(kw_only=True)
class AutomationSwitch:
    """Whether the policy may act by itself for a machine and model type, and who said so last."""

    model_type: str
    machine_id: UUID
    is_enabled: bool
    reason: str | None = None
    changed_by: str | None = None
    changed_at: datetime


@frozen(kw_only=True)
class FalsePositiveRate:
    """How many of the resolved alerts of one type somebody called false."""

    alert_type: str
    n_resolved: int
    n_false_positives: int

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.n_false_positives / self.n_resolved


def as_ref(value: ModelRef, argument: str = "ref") -> ModelRef:
    if not isinstance(value, ModelRef):
        raise InvalidInputError(argument, f"{value!r} is not a ModelRef; see register_model()")
    return value


def as_training_run(value: TrainingRun, argument: str = "run") -> TrainingRun:
    if not isinstance(value, TrainingRun):
        raise InvalidInputError(argument, f"{value!r} is not a TrainingRun; see tracker.training.fetch_run()")
    return value


def as_optional_model_type(value: str | None) -> str | None:
    return None if value is None else _model_type(value)


def as_severity(value: str, argument: str = "severity") -> Severity:
    return cast(Severity, check.as_choice(value, argument, SEVERITIES))


def as_trigger_type(value: str) -> TriggerType:
    """The contract's four words; the two longer ones of earlier clients are taken as well."""
    aliases = {"drift_detected": "drift", "performance_degradation": "degradation"}
    word = aliases.get(value, value) if isinstance(value, str) else value
    return cast(TriggerType, check.as_choice(word, "trigger_type", TRIGGER_TYPES))


__all__ = [
    "METRIC_COLUMNS",
    "NO_MACHINE",
    "ABTest",
    "ABTestStatus",
    "Alert",
    "AlertEvent",
    "AlertEventName",
    "AutomationSwitch",
    "Champion",
    "ChampionAction",
    "Decision",
    "Evaluation",
    "FalsePositiveRate",
    "Model",
    "ModelRef",
    "Resolution",
    "SeenWorker",
    "Severity",
    "TrainingRun",
    "TrainingStatus",
    "TriggerType",
    "Verdict",
    "Winner",
    "as_metrics",
    "as_optional_model_type",
    "as_ref",
    "as_severity",
    "as_trigger_type",
    "new_id",
]
