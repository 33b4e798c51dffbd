"""From points to trends: a series per version, each over the newest evaluation of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from model_perf._comparison import has_weight, newest_per_window
from model_perf.policy import MonitoringPolicy
from model_perf.repos import Point
from model_perf.results import Trend, VersionTrend

_DAY = timedelta(days=1)
_LARGEST = 1e150
"""Where values are cut, since their squares would overflow: one absurd evaluation must not take the trend away."""


def find_trend(
    points: Sequence[Point], metric: str | None, since: datetime, until: datetime, policy: MonitoringPolicy
) -> Trend:
    """The trend of *metric*, or of the policy's primary metric among those that the points have."""
    if metric is None:
        metric = policy.primary_metric(dict.fromkeys(name for point in points for name in point.metrics))
    # By the number of the UUID: the hash of a UUID is a function in Python.
    by_version: dict[tuple[int, int], list[Point]] = {}
    evaluations = newest_per_window(points)
    for point in filter(has_weight, evaluations):
        if metric in point.metrics:
            by_version.setdefault((point.model_id.int, point.model_version), []).append(point)
    series = tuple(_version_trend(version, metric or "", own, policy) for (_, version), own in by_version.items())
    return Trend(metric=metric, since=since, until=until, series=series, evaluations=tuple(evaluations))


def _version_trend(version: int, metric: str, points: Sequence[Point], policy: MonitoringPolicy) -> VersionTrend:
    from model_perf.stats import trend

    definition, first = policy.definition(metric), points[0].evaluation_end
    found = trend(
        [(point.evaluation_end - first) / _DAY for point in points],
        np.clip([point.metrics[metric] for point in points], -_LARGEST, _LARGEST),
        higher_is_better=None if definition is None else definition.higher_is_better,
        best=None if definition is None else definition.best,
        floor=1e-12 if definition is None else definition.floor_distance,
        min_degradation=policy.min_degradation,
        alpha=policy.alpha,
    )
    return VersionTrend(model_version=version, trend=found, points=tuple(points))
