"""What goes into and comes out of `MetricsRepo` around a verdict, and the light form of an evaluation in a series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from attrs import frozen

from model_perf.records import Alert, Evaluation, TrainingRun, Verdict


@frozen(kw_only=True)
class StoredState:
    """What the database knows of a deployment before an evaluation of it is judged."""

    version: int
    state: Mapping[str, object]
    training_data_end: datetime | None


@frozen(kw_only=True)
class Judgement:
    """An evaluation with its verdict, and all that is written together with it."""

    evaluation: Evaluation
    state: Mapping[str, object]
    alerts: Sequence[Mapping[str, object]] = ()
    runs: Sequence[Mapping[str, object]] = ()


@frozen(kw_only=True)
class StoredEvaluation:
    """What a `record` left behind; ``is_new`` is false for a repeated call."""

    evaluation: Evaluation
    alert: Alert | None
    training_run: TrainingRun | None
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
    verdict: Verdict
    metrics: Mapping[str, float]
