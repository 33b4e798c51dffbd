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
from model_perf.policy import AutomationPolicy, AutomationRule, MetricDefinition, MonitoringPolicy
from model_perf.records import (
    NO_MACHINE,
    ABTest,
    Alert,
    AlertEvent,
    AutomationSwitch,
    Champion,
    Evaluation,
    FalsePositiveRate,
    Look,
    Model,
    ModelRef,
    SeenWorker,
    TrainingRun,
)
from model_perf.repos import FleetEntry, Page, Point, RecordedBatch, SlotVersion
from model_perf.results import (
    ABTestResult,
    ChecksReport,
    CheckStep,
    DeliveryReport,
    ImportReport,
    Promotion,
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
    from model_perf._operating_results import (
        Diagnosis,
        Finding,
        ForgetReport,
        PruneReport,
        TableSize,
        TableStats,
        TrackerStats,
    )
    from model_perf._outcome import TrainingOutcome
    from model_perf._streams import Stream
    from model_perf._trainers import TrainingContext
    from model_perf._training import ChallengeOptions
    from model_perf.aggregates import Aggregates
    from model_perf.drift import ColumnCheck, ColumnDrift, DataDriftReport, DatasetProfile
    from model_perf.worker import Worker, WorkerOptions

__version__ = "0.1.0"

__all__ = [
    "NO_MACHINE",
    "ABTest",
    "ABTestResult",
    "Aggregates",
    "Alert",
    "AlertEvent",
    "AutomationPolicy",
    "AutomationRule",
    "AutomationSwitch",
    "ChallengeOptions",
    "Champion",
    "CheckStep",
    "ChecksReport",
    "ColumnCheck",
    "ColumnDrift",
    "ConflictError",
    "DataDriftReport",
    "DatasetProfile",
    "DeliveryReport",
    "DesignOptions",
    "Diagnosis",
    "DriftReport",
    "Evaluation",
    "FalsePositiveRate",
    "Finding",
    "FleetEntry",
    "ForgetReport",
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
    "Promotion",
    "PruneReport",
    "RecordedBatch",
    "RecordedEvaluation",
    "RejectedRow",
    "RetrainingTrigger",
    "SchemaError",
    "SchemaStatus",
    "SeenWorker",
    "SlotSummary",
    "SlotVersion",
    "StorageError",
    "Stream",
    "StreamUpdate",
    "TableImport",
    "TableSize",
    "TableStats",
    "TooFewObservationsError",
    "TrackerStats",
    "TrainingContext",
    "TrainingOutcome",
    "TrainingRun",
    "Trend",
    "VersionTrend",
    "Worker",
    "WorkerOptions",
    "assign",
    "assign_many",
    "drift",
    "migration_sql",
    "stats",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


_MODULE_OF = {
    "Aggregates": "model_perf.aggregates",
    "ChallengeOptions": "model_perf._training",
    "ColumnCheck": "model_perf.drift",
    "ColumnDrift": "model_perf.drift",
    "DataDriftReport": "model_perf.drift",
    "DatasetProfile": "model_perf.drift",
    "DesignOptions": "model_perf._experiments",
    "Diagnosis": "model_perf._operating_results",
    "Finding": "model_perf._operating_results",
    "ForgetReport": "model_perf._operating_results",
    "Guardrail": "model_perf._ab_design",
    "Observer": "model_perf._observer",
    "PruneReport": "model_perf._operating_results",
    "Stream": "model_perf._streams",
    "TableSize": "model_perf._operating_results",
    "TableStats": "model_perf._operating_results",
    "TrackerStats": "model_perf._operating_results",
    "TrainingContext": "model_perf._trainers",
    "TrainingOutcome": "model_perf._outcome",
    "Worker": "model_perf.worker",
    "WorkerOptions": "model_perf.worker",
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
