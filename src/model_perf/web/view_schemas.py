"""What the routes of the dashboard answer: several answers of `schemas` at once, and what only a picture needs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from model_perf.records import Verdict
from model_perf.web import schemas

Now = Annotated[datetime, Field(description="The tracker's time, which ages are counted from.")]
NextCursor = Annotated[str | None, Field(description="Give it back as cursor to read on; null on the last page.")]


class ModelPerfAlertsView(TypedDict):
    """The inbox."""

    now: Now
    alerts: Annotated[list[schemas.ModelPerfAlert], Field(description="The open ones, worst and newest first.")]
    resolved: Annotated[
        list[schemas.ModelPerfAlert], Field(description="Of the last 7 days, 20 at most; on the first page only.")
    ]
    next_cursor: NextCursor


class ModelPerfFleetModel(schemas.ModelPerfFleetRow):
    """A row of the fleet with its newest values."""

    recent_values: Annotated[list[float], Field(description="Of metric, oldest first, 24 at most.")]


class ModelPerfFleetView(TypedDict):
    """Every model."""

    now: Now
    models: list[ModelPerfFleetModel]
    next_cursor: NextCursor


class ModelPerfModelView(TypedDict):
    """A machine's model over a period."""

    now: Now
    summary: schemas.ModelPerfSummary
    trend: schemas.ModelPerfTrend
    checks: Annotated[
        list[schemas.ModelPerfDriftCheck],
        Field(description="The newest stored verdict on each version, that of the version evaluated last first."),
    ]
    alerts: Annotated[
        list[schemas.ModelPerfAlert], Field(description="Open ones, then those of the period; 100 at most.")
    ]
    runs: Annotated[list[schemas.ModelPerfTrainingRun], Field(description="The newest 20.")]
    tests: Annotated[list[schemas.ModelPerfABTest], Field(description="The newest 20.")]


class ModelPerfHistogram(TypedDict):
    """Both distributions of a column as counts of the same cells."""

    column: str
    edges: Annotated[
        list[float] | None,
        Field(description="One more than cells; the outer cells are open. Microseconds since 1970 of times."),
    ]
    names: Annotated[list[str] | None, Field(description="One for each cell, where the cells are names.")]
    reference: list[int]
    current: list[int]


class ModelPerfAlarmPoint(TypedDict):
    """How the alarm of the input stood after a window."""

    check_id: UUID
    model_version: int
    window_start: datetime | None
    window_end: datetime
    verdict: Verdict
    n_columns: int
    n_drifted: int
    alarm_value: float
    alarm_limit: float


class ModelPerfDriftView(TypedDict):
    """Whether a machine's model and its input have changed."""

    now: Now
    model_type: str
    machine_id: UUID
    machine_name: str
    check: Annotated[schemas.ModelPerfDriftCheck | None, Field(description="As it was stored; null = never checked.")]
    histograms: Annotated[list[ModelPerfHistogram], Field(description="Of the columns in their order, 100 at most.")]
    alarm: Annotated[list[ModelPerfAlarmPoint], Field(description="The windows of the period, oldest first.")]


class ModelPerfABTestsView(TypedDict):
    """The tests."""

    now: Now
    tests: Annotated[list[schemas.ModelPerfABTest], Field(description="Newest first.")]
    next_cursor: NextCursor


class ModelPerfABTestView(TypedDict):
    """A test, and what it has found."""

    now: Now
    test: schemas.ModelPerfABTest
    result: schemas.ModelPerfABTestResult


class ModelPerfTrainingView(TypedDict):
    """The training runs."""

    now: Now
    runs: Annotated[list[schemas.ModelPerfTrainingRun], Field(description="Newest first.")]
    notices: Annotated[dict[str, str], Field(description="By id of a run: that no worker is there to take it up.")]
    next_cursor: NextCursor
