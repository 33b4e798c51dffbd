"""Typed repositories over the tables; concrete, on a real PostgreSQL."""

from model_perf.repos._bulk import RecordedBatch
from model_perf.repos._judged import FleetEntry, Point, SlotVersion
from model_perf.repos._page import Page
from model_perf.repos.ab_tests import ABTestRepo
from model_perf.repos.alerts import AlertRepo
from model_perf.repos.champions import ChampionRepo
from model_perf.repos.drift import AlarmPoint, DriftRepo, StoredReport
from model_perf.repos.metrics import MetricsRepo
from model_perf.repos.notifications import NotificationRepo
from model_perf.repos.training import TrainingRepo
from model_perf.repos.workers import WorkerRepo

__all__ = [
    "ABTestRepo",
    "AlarmPoint",
    "AlertRepo",
    "ChampionRepo",
    "DriftRepo",
    "FleetEntry",
    "MetricsRepo",
    "NotificationRepo",
    "Page",
    "Point",
    "RecordedBatch",
    "SlotVersion",
    "StoredReport",
    "TrainingRepo",
    "WorkerRepo",
]
