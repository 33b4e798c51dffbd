"""What the routes answer, field by field: the types that mypy holds the answers to and OpenAPI shows.

Every key is always there. A number is a JSON number or null, never text; a time has its zone. A type for every
answer of every route, and nothing else: hence its length.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from model_perf.records import (
    ABTestStatus,
    AlertEventName,
    Decision,
    Resolution,
    Severity,
    TrainingStatus,
    TriggerType,
    Verdict,
    Winner,
)

DriftType = Literal["concept_drift", "data_drift", "no_drift", "insufficient_data"]
TrendDirection = Literal["improving", "stable", "degrading", "inconclusive", "insufficient_data"]
Metrics = dict[str, float]

DriftDetected = Annotated[
    bool, Field(description="True for the verdict critical only; see verdict for what is unknown.")
]
DriftScore = Annotated[
    float, Field(description="Largest relative degradation, 0.12 = 12%; 0 where drift_score_known is false.")
]
SampleCount = Annotated[int, Field(description="0 where sample_count_known is false.")]


class ModelPerfProblem(TypedDict):
    """What went wrong (RFC 9457). Further members: parameters, retry_safe, outcome_unknown."""

    type: str
    title: str
    status: int
    detail: Annotated[str, Field(description="What was wrong, and how to mend it.")]
    code: Literal["invalid_input", "not_found", "conflict", "schema", "storage"]


class ModelPerfInterval(TypedDict):
    """A confidence interval."""

    low: float
    high: float


class ModelPerfRecorded(TypedDict):
    """What was found when an evaluation was stored."""

    metric_id: UUID
    is_new: Annotated[bool, Field(description="False for a repeat, which wrote nothing.")]
    model_version: int
    verdict: Verdict
    drift_detected: DriftDetected
    drift_score: DriftScore
    drift_score_known: bool
    recommendation: str
    data_completeness: float | None
    alert_id: UUID | None
    training_job_id: UUID | None


class ModelPerfTrendPoint(TypedDict):
    """One evaluation."""

    id: UUID
    model_id: UUID
    model_type: str
    machine_id: UUID
    model_version: int
    evaluation_date: datetime
    evaluation_start: datetime
    evaluation_end: datetime
    r_squared: float | None
    rmse: float | None
    mae: float | None
    mape: float | None
    precision: float | None
    recall: float | None
    f1_score: float | None
    further_metrics: Metrics
    verdict: Verdict
    drift_detected: DriftDetected
    drift_score: DriftScore
    drift_score_known: bool
    sample_count: SampleCount
    sample_count_known: bool
    data_completeness: float | None


class ModelPerfChangePoint(TypedDict):
    """Where the level most likely changed."""

    evaluation_date: datetime
    low: Annotated[datetime, Field(description="Start of the interval of evaluation_date.")]
    high: Annotated[datetime, Field(description="End of the interval of evaluation_date.")]
    effect: Annotated[float, Field(description="Median after minus median before, in units of the metric.")]
    pvalue: float
    significant: bool


class ModelPerfTrend(TypedDict):
    """How the performance of a machine's model developed; the findings are those of the version evaluated last."""

    model_type: str
    machine_id: UUID
    machine_name: str
    since: datetime
    until: datetime
    metrics: Annotated[list[ModelPerfTrendPoint], Field(description="The newest evaluation of each window, ascending.")]
    metric: Annotated[str | None, Field(description="What the findings are about.")]
    trend_direction: TrendDirection
    trend_reason: str
    degradation_rate: Annotated[float | None, Field(description="Percent per day; positive = getting worse.")]
    slope_per_day: float | None
    slope_interval: ModelPerfInterval | None
    pvalue: float | None
    n_evaluations: Annotated[int, Field(description="Evaluations behind the findings.")]
    change_point: ModelPerfChangePoint | None
    days_to_threshold: float | None


class ModelPerfMetricCheck(TypedDict):
    """What was found for one metric of the newest evaluation."""

    metric: str
    direction: Literal["higher_is_better", "lower_is_better"]
    verdict: Verdict
    reason: str
    current_value: float
    baseline_value: float | None
    threshold_value: float | None
    degradation: float | None
    confidence_interval: ModelPerfInterval | None
    statistic: float | None
    pvalue: float | None
    adjusted_pvalue: float | None
    chart_value: float | None
    chart_limit: float | None
    n_baseline: int
    n_missing: int


class ModelPerfColumnCheck(TypedDict):
    """One question about a column of the input, and its answer."""

    name: Literal["type", "absent", "distribution", "missing", "out_of_range", "unseen"]
    verdict: Verdict
    reason: str
    statistic: Annotated[float | None, Field(description="PSI of a distribution; the current share of the others.")]
    effect_size: Annotated[float | None, Field(description="PSI beyond chance; the difference of the shares.")]
    confidence_interval: ModelPerfInterval | None
    pvalue: float | None
    threshold: float | None
    detectable_change: Annotated[
        float | None, Field(description="Of missing and out_of_range: the smallest rise that 4 windows of 5 show.")
    ]
    n_reference: int
    n_current: int


class ModelPerfColumnDrift(TypedDict):
    """What was found in one column of the input."""

    column: str
    kind: Literal["numeric", "categorical", "boolean", "datetime"] | None
    verdict: Verdict
    reason: str
    adjusted_pvalue: float | None
    checks: Annotated[list[ModelPerfColumnCheck], Field(description="The deciding one first.")]


class ModelPerfDataDrift(TypedDict):
    """The verdict on the newest window of the input."""

    verdict: Verdict
    drift_detected: Annotated[bool, Field(description="Some column has changed; see verdict for what is unknown.")]
    headline: str
    columns: Annotated[list[ModelPerfColumnDrift], Field(description="The furthest past their thresholds first.")]
    added_columns: list[str]
    n_reference: int
    n_current: int
    window_start: datetime | None
    window_end: datetime | None
    alarm_value: Annotated[float | None, Field(description="An alert is opened at alarm_limit.")]
    alarm_limit: float | None


class ModelPerfDriftCheck(TypedDict):
    """The verdict on the newest evaluation of a deployment."""

    model_id: UUID
    model_type: str
    machine_id: UUID
    model_version: int
    verdict: Verdict
    drift_detected: DriftDetected
    drift_score: DriftScore
    drift_score_known: bool
    drift_type: DriftType
    drift_types: list[DriftType]
    recommendation: str
    threshold: Annotated[float, Field(description="The degradation below which nothing is reported.")]
    current_performance: Annotated[Metrics, Field(description="By metric; empty where nothing was evaluated.")]
    baseline_performance: Annotated[Metrics, Field(description="By metric; empty where there is no baseline yet.")]
    metrics: Annotated[list[ModelPerfMetricCheck], Field(description="The deciding one first.")]
    window_start: datetime | None
    window_end: datetime | None
    degraded_since: datetime | None
    data: Annotated[ModelPerfDataDrift | None, Field(description="null = the input was never checked.")]
    sample_count: SampleCount
    sample_count_known: bool
    notes: list[str]


class ModelPerfRetraining(TypedDict):
    """The open training run of a slot, and whether this request opened it."""

    triggered: bool
    trigger_type: TriggerType
    reason: str
    training_job_id: UUID
    training_status: TrainingStatus
    estimated_completion: Annotated[datetime | None, Field(description="By past durations; null = unknown.")]
    workers_seen_at: Annotated[datetime | None, Field(description="When a worker for it was seen; null = never.")]
    notice: Annotated[str | None, Field(description="That no worker is there to take the run up; null = one is.")]


class ModelPerfTrainingRun(TypedDict):
    """One (re)training."""

    id: UUID
    model_type: str
    machine_id: UUID
    machine_name: str
    model_id: UUID | None
    model_version: int | None
    training_status: TrainingStatus
    trigger_type: TriggerType
    triggered_by: str | None
    reason: str | None
    created_at: datetime
    training_start: datetime | None
    training_end: datetime | None
    training_data_start: datetime | None
    training_data_end: datetime | None
    sample_count: SampleCount
    sample_count_known: bool
    performance_improvement: Annotated[float | None, Field(description="Relative; positive = better.")]
    hyperparameters: dict[str, object]
    feature_names: list[str]
    training_metrics: dict[str, object]
    validation_metrics: dict[str, object]
    attempt: int
    max_attempts: int
    progress: float | None
    error_message: str | None


class ModelPerfStartedABTest(TypedDict):
    """A test that has started."""

    test_id: UUID
    status: ABTestStatus
    test_start: datetime
    test_end: datetime
    metric: str | None
    message: Annotated[str, Field(description="How many windows the test will hold, and whether that can decide.")]


class ModelPerfABTest(TypedDict):
    """A test of two versions."""

    id: UUID
    test_name: str
    model_type: str
    machine_id: UUID
    machine_name: str
    model_a_id: UUID
    model_a_version: int
    model_b_id: UUID
    model_b_version: int
    test_status: ABTestStatus
    test_start: datetime
    test_end: datetime
    traffic_split: Annotated[float, Field(description="Share of model_b.")]
    metric: str | None
    winner: Winner | None
    decision: Decision | None
    decision_reason: str | None
    decided_at: datetime | None
    decided_by: str | None
    created_by: str | None


class ModelPerfObserved(TypedDict):
    """What became of a batch of observations."""

    test_id: UUID
    n: int
    is_new: Annotated[bool, Field(description="False where the batch was in already, or is empty.")]


class ModelPerfLook(TypedDict):
    """What a test on observations had found at one moment."""

    look_at: datetime
    n_a: int
    n_b: int
    decision: Decision
    effect: float | None
    confidence_interval: ModelPerfInterval | None
    pvalue: float | None
    sample_ratio_pvalue: float | None


class ModelPerfABTestResult(TypedDict):
    """What a test has found, or how far it is."""

    test_id: UUID
    test_name: str
    test_status: ABTestStatus
    test_start: datetime
    test_end: datetime
    model_a_id: UUID
    model_a_version: int
    model_b_id: UUID
    model_b_version: int
    metric: str | None
    decision: Decision
    winner: Winner
    confidence: Annotated[
        float, Field(description="1 - pvalue, 0 when insufficient; not a probability of being right.")
    ]
    effect: Annotated[float | None, Field(description="Mean of b - a.")]
    confidence_interval: ModelPerfInterval | None
    pvalue: float | None
    standard_error: float | None
    source: Literal["evaluations", "observations"]
    n_a: int
    n_b: int
    sample_ratio_pvalue: Annotated[float | None, Field(description="Of the planned split; below .001 it is invalid.")]
    looks: Annotated[list[ModelPerfLook], Field(description="At the observations, oldest first; the newest 200.")]
    notes: list[str]
    n_windows: int
    n_evaluations_a: int
    n_evaluations_b: int
    model_a_metrics: Annotated[Metrics, Field(description="Means of what the result rests on; empty where it is none.")]
    model_b_metrics: Annotated[Metrics, Field(description="Means of what the result rests on; empty where it is none.")]
    reason: str
    recommendation: str


class ModelPerfAlert(TypedDict):
    """A condition that somebody should know of."""

    id: UUID
    alert_type: str
    severity: Severity
    model_type: str
    machine_id: UUID
    machine_name: str
    model_id: UUID | None
    model_version: int | None
    alert_message: str
    alert_timestamp: datetime
    last_seen_at: datetime
    occurrences: int
    current_metric_value: float | None
    threshold_value: float | None
    baseline_metric_value: float | None
    is_resolved: bool
    resolved_timestamp: datetime | None
    resolution: Resolution | None
    resolved_by: str | None
    resolution_notes: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    acknowledgement_notes: str | None
    snoozed_until: datetime | None
    snoozed_at: datetime | None
    snoozed_by: str | None
    snooze_notes: str | None
    auto_action_taken: bool
    auto_action_reason: Annotated[str | None, Field(description="What the policy did by itself, or why it did not.")]


class ModelPerfAlertEvent(TypedDict):
    """One thing that happened to an alert."""

    id: int
    alert_id: UUID
    event: AlertEventName
    occurred_at: datetime
    severity: Annotated[Severity, Field(description="After it.")]
    actor: Annotated[str | None, Field(description="Who did it; null for the library.")]
    notes: str | None
    details: dict[str, object]


class ModelPerfAutomation(TypedDict):
    """Whether the policy may act by itself for a machine and model type."""

    model_type: str
    machine_id: UUID
    is_enabled: bool
    reason: str | None
    changed_by: str | None
    changed_at: Annotated[datetime | None, Field(description="Null where nobody ever touched the switch.")]


class ModelPerfVersion(TypedDict):
    """One version of a model."""

    id: Annotated[UUID, Field(description="The model's id.")]
    version: int
    version_label: str | None
    r_squared: float | None
    rmse: float | None
    evaluation_date: datetime | None
    verdict: Verdict
    training_samples: int | None
    is_active: bool
    created_at: datetime


class ModelPerfSummary(TypedDict):
    """Which model a machine has, and its versions, newest first."""

    has_model: bool
    message: str
    model_type: str
    machine_id: UUID
    machine_name: str
    model_id: UUID | None
    model_version: int | None
    r_squared: float | None
    created_at: datetime | None
    training_samples: int | None
    versions: list[ModelPerfVersion]


class ModelPerfFleetRow(TypedDict):
    """How the model of one machine is doing, and what is open there."""

    model_type: str
    machine_id: UUID
    machine_name: str
    model_id: UUID
    model_version: int
    version_label: str | None
    evaluation_id: UUID | None
    evaluation_date: Annotated[datetime | None, Field(description="null = never evaluated.")]
    verdict: Verdict
    drift_detected: DriftDetected
    drift_score: DriftScore
    drift_score_known: bool
    metric: Annotated[str | None, Field(description="The primary metric of the newest evaluation.")]
    metric_value: float | None
    n_open_alerts: int
    worst_severity: Severity | None
    test_id: UUID | None
    test_name: str | None
    training_job_id: UUID | None
    training_status: TrainingStatus | None


class ModelPerfHealth(TypedDict):
    """The database answers, and its tables fit."""

    status: Literal["ok"]
    version: Annotated[str, Field(description="Of model_perf.")]
    schema_version: int
