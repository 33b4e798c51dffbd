"""Trackers that tell, and alerts to be told of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import asyncpg
import pytest
from tests.factories import Clock, make_ref

from model_perf import Alert, ModelPerformanceTracker
from model_perf.notify import Channel

Telling = Callable[..., ModelPerformanceTracker]


@pytest.fixture
def telling(pool: asyncpg.Pool, tracker: ModelPerformanceTracker, clock: Clock) -> Telling:
    """Makes trackers with channels, on the test's own schema and time."""

    def make(*channels: Channel) -> ModelPerformanceTracker:
        return ModelPerformanceTracker(pool, schema=tracker.schema, clock=clock, channels=channels)

    return make


async def open_alerts(
    tracker: ModelPerformanceTracker, n: int = 1, *, severity: str = "critical", model_type: str = "baseline"
) -> list[Alert]:
    """Alerts of as many models."""
    return [
        await tracker.alerts.open_or_repeat(
            make_ref(f"{model_type} {i}", model_type=model_type),
            alert_type="performance_degradation",
            severity=severity,
            message=f"rmse of {i} is 30, expected 10",
            current_metric_value=30.0,
            threshold_value=0.2,
        )
        for i in range(n)
    ]


async def statuses(tracker: ModelPerformanceTracker) -> Sequence[tuple[str, str, int]]:
    """Channel, status and attempt of all notifications, in the order of their events."""
    page = await tracker.notifications.list_notifications(limit=1000)
    return [
        (each.channel, each.status, each.attempt) for each in sorted(page.items, key=lambda n: (n.event_id, n.channel))
    ]


def later(clock: Clock, **span: float) -> None:
    clock.now += timedelta(**span)
