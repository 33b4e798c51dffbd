"""Performance, trend, drift, retraining runs, A/B tests and alerts of deployed models, in your own PostgreSQL.

Start with `ModelPerformanceTracker`.
"""

import importlib
import logging
import typing

from model_perf import drift
from model_perf._notifications import Notification
from model_perf.directory import HostDirectory
from model_perf.drift import DriftReport, MetricCheck
from model_perf.errors import (
    ConflictError,
    InvalidInputError,
    ModelPerfError,
    NaiveTimestampError,
    NotFoundError,
    SchemaError,
    StorageError,
    TooFewObservationsError,
)
from model_perf.policy import MetricDefinition, MonitoringPolicy
from model_perf.records import (
    NO_MACHINE,
    ABTest,
    Alert,
    Evaluation,
    Look,
    Model,
    ModelRef,
    TrainingRun,
)
from model_perf.repos import FleetEntry, Page, Point, RecordedBatch, SlotVersion
from model_perf.results import (
    ABTestResult,
    DeliveryReport,
    ImportReport,
    RecordedEvaluation,
    RejectedRow,
    RetrainingTrigger,
    SlotSummary,
    StreamUpdate,
    TableImport,
    Trend,
    VersionTrend,
)
from model_perf.sql.migrate import SchemaStatus
from model_perf.sql.migrate import sql as migration_sql
from model_perf.tracker import ModelPerformanceTracker

if typing.TYPE_CHECKING:
    from model_perf import stats
    from model_perf._ab_design import Guardrail
    from model_perf._assignment import assign, assign_many
    from model_perf._experiments import DesignOptions
    from model_perf._observer import Observer
    from model_perf._streams import Stream
    from model_perf.aggregates import Aggregates
    from model_perf.drift import ColumnCheck, ColumnDrift, DataDriftReport, DatasetProfile

__version__ = "0.1.0"

__all__ = [
    "NO_MACHINE",
    "ABTest",
    "ABTestResult",
    "Aggregates",
    "Alert",
    "ColumnCheck",
    "ColumnDrift",
    "ConflictError",
    "DataDriftReport",
    "DatasetProfile",
    "DeliveryReport",
    "DesignOptions",
    "DriftReport",
    "Evaluation",
    "FleetEntry",
    "Guardrail",
    "HostDirectory",
    "ImportReport",
    "InvalidInputError",
    "Look",
    "MetricCheck",
    "MetricDefinition",
    "Model",
    "ModelPerfError",
    "ModelPerformanceTracker",
    "ModelRef",
    "MonitoringPolicy",
    "NaiveTimestampError",
    "NotFoundError",
    "Notification",
    "Observer",
    "Page",
    "Point",
    "RecordedBatch",
    "RecordedEvaluation",
    "RejectedRow",
    "RetrainingTrigger",
    "SchemaError",
    "SchemaStatus",
    "SlotSummary",
    "SlotVersion",
    "StorageError",
    "Stream",
    "StreamUpdate",
    "TableImport",
    "TooFewObservationsError",
    "TrainingRun",
    "Trend",
    "VersionTrend",
    "assign",
    "assign_many",
    "drift",
    "migration_sql",
    "stats",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


_MODULE_OF = {
    "Aggregates": "model_perf.aggregates",
    "ColumnCheck": "model_perf.drift",
    "ColumnDrift": "model_perf.drift",
    "DataDriftReport": "model_perf.drift",
    "DatasetProfile": "model_perf.drift",
    "DesignOptions": "model_perf._experiments",
    "Guardrail": "model_perf._ab_design",
    "Observer": "model_perf._observer",
    "Stream": "model_perf._streams",
    "assign": "model_perf._assignment",
    "assign_many": "model_perf._assignment",
}


def __getattr__(name: str) -> object:
    # Loaded at first use: `import model_perf` needs none of it, and would take a tenth longer.
    if name == "stats":
        return importlib.import_module("model_perf.stats")
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
