"""What every part of the facade works with."""

from __future__ import annotations

from model_perf.directory import Lookups
from model_perf.policy import MonitoringPolicy
from model_perf.repos import ABTestRepo, AlertRepo, DriftRepo, MetricsRepo, NotificationRepo, TrainingRepo
from model_perf.repos._executor import Executor

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
    _executor: Executor
    _lookups: Lookups
