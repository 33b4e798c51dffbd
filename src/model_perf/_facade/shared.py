"""What every part of the facade works with."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from model_perf.directory import Lookups
from model_perf.policy import MonitoringPolicy
from model_perf.repos import (
    ABTestRepo,
    AlertRepo,
    ChampionRepo,
    DriftRepo,
    MetricsRepo,
    NotificationRepo,
    TrainingRepo,
    WorkerRepo,
)
from model_perf.repos._executor import Executor

if TYPE_CHECKING:
    from model_perf.tracker import ModelPerformanceTracker

THREAD_POINTS = 200
"""Points from which a trend is computed in a thread; below, the hop costs more than the sum."""


class Shared:
    """Set up by `ModelPerformanceTracker`, anew for each connection that it is bound to."""

    policy: MonitoringPolicy
    metrics: MetricsRepo
    training: TrainingRepo
    ab_tests: ABTestRepo
    alerts: AlertRepo
    drift: DriftRepo
    notifications: NotificationRepo
    champions: ChampionRepo
    workers: WorkerRepo
    _executor: Executor
    _lookups: Lookups

    @property
    def _whole(self) -> ModelPerformanceTracker:
        """The tracker that this is a part of."""
        return cast("ModelPerformanceTracker", self)
