"""What goes into and comes out of `MetricsRepo` around a verdict, and the light forms of an evaluation in lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from attrs import frozen

from model_perf.records import Alert, Evaluation, Severity, TrainingRun, TrainingStatus, Verdict


@frozen(kw_only=True)
class StoredState:
    """What the database knows of a deployment before an evaluation of it is judged.

    ``is_alerted``, whether its alert is open, is looked up before a replay only.
    """

    version: int
    state: Mapping[str, object]
    training_data_end: datetime | None
    is_alerted: bool = False


@frozen(kw_only=True)
class Recovered:
    """An alert that is over: it is resolved if it is open."""

    fingerprint: str
    notes: str


@frozen(kw_only=True)
class Judgement:
    """An evaluation with its verdict, and all that is written together with it.

    ``alerts`` are one or none; ``wish`` is the training run that the policy wishes for, not without an alert.
    """

    evaluation: Evaluation
    state: Mapping[str, object]
    alerts: Sequence[Mapping[str, object]] = ()
    wish: Mapping[str, object] | None = None
    recovered: Recovered | None = None


@frozen(kw_only=True)
class StoredEvaluation:
    """What a `record` left behind; ``is_new`` is false for a repeated call."""

    evaluation: Evaluation
    alert: Alert | None = None
    training_run: TrainingRun | None = None
    recovered: Alert | None = None
    is_new: bool


@frozen(kw_only=True)
class Point:
    """One evaluation in a series, as light as a trend needs it."""

    model_id: UUID
    model_version: int
    evaluation_date: datetime
    evaluation_start: datetime
    evaluation_end: datetime
    id: UUID
    created_at: datetime
    sample_count: int | None
    data_completeness: float | None
    verdict: Verdict
    drift_score: float | None
    metrics: Mapping[str, float]


@frozen(kw_only=True)
class SlotVersion:
    """One version of the model of a slot (machine and model type), with its newest evaluation.

    Attributes
    ----------
    evaluation : Point or None
        None where it was never evaluated.
    training_samples : int or None
        Rows that it was trained on, where its training run says so.
    is_champion : bool
        Whether it was promoted to serve the slot.
    """

    model_id: UUID
    model_version: int
    version_label: str | None
    first_seen_at: datetime
    evaluation: Point | None
    training_samples: int | None
    is_champion: bool = False


@frozen(kw_only=True)
class FleetEntry:
    """How the model of one slot (machine and model type) is doing, and what is open there.

    Attributes
    ----------
    model_id, model_version, version_label
        Of the version evaluated last; of the newest version where none was evaluated.
    evaluation : Point or None
        The newest over all versions; None = unknown, since nothing was evaluated.
    recent_values : tuple of float
        The newest ones of that version's primary metric, as many as were asked for, oldest first.
    n_open_alerts, worst_severity
        Of the slot's open alerts; None where there is none.
    test_id, test_name : or None
        The running A/B test.
    run_id, training_status : or None
        The pending or running training run.
    """

    model_type: str
    machine_id: UUID
    machine_name: str | None
    model_id: UUID
    model_version: int
    version_label: str | None
    evaluation: Point | None
    n_open_alerts: int
    worst_severity: Severity | None
    test_id: UUID | None
    test_name: str | None
    run_id: UUID | None
    training_status: TrainingStatus | None
    recent_values: tuple[float, ...] = ()
