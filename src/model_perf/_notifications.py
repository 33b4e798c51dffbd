"""What is kept of a notification, and what a process gets that is to deliver one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

from attrs import field, frozen

from model_perf.records import Resolution, Severity

NotificationStatus = Literal["pending", "delivered", "dead", "dropped"]
NOTIFICATION_STATUSES: tuple[str, ...] = get_args(NotificationStatus)


@frozen(kw_only=True)
class Notification:
    """What is to be told of one event of an alert, on one channel.

    Attributes
    ----------
    id : UUID
        What a receiver tells repeats by; the same over all attempts.
    event_id : int
        Of the row in the alert's log; later events have higher numbers.
    event : str
        "opened", "escalated" or "resolved".
    channel : str
        Empty while not routed, and where no channel takes it.
    status : {"pending", "delivered", "dead", "dropped"}
        Dead: given up after failures. Dropped: not told, for the reason in error_message.
    attempt, failures : int
        Deliveries begun, and those that count against the channel's max_attempts.
    run_after : datetime
        When it is due; while it is being delivered, the end of the lease.
    """

    id: UUID
    event_id: int
    event: str
    alert_id: UUID
    alert_type: str
    severity: Severity
    model_type: str
    machine_id: UUID
    channel: str
    status: NotificationStatus
    attempt: int
    failures: int
    run_after: datetime
    lease_until: datetime | None
    delivered_at: datetime | None
    error_message: str | None
    created_at: datetime


@frozen(kw_only=True)
class Delivery:
    """A notification that this process holds until its lease ends, with all that a message says."""

    id: UUID
    channel: str
    attempt: int
    failures: int
    is_dead: bool
    event_id: int
    event: str
    occurred_at: datetime
    severity: Severity
    actor: str | None
    notes: str | None
    event_details: Mapping[str, object] = field(factory=dict)
    alert_id: UUID
    alert_type: str
    model_type: str
    machine_id: UUID
    model_id: UUID | None
    model_version: int | None
    alert_message: str
    alert_timestamp: datetime
    occurrences: int
    alert_details: Mapping[str, object] = field(factory=dict)
    current_metric_value: float | None
    threshold_value: float | None
    baseline_metric_value: float | None
    resolution: Resolution | None


@frozen(kw_only=True)
class Routed:
    """What one call of `NotificationRepo.route` did: events looked at, those nobody is told of, rows per channel."""

    n_events: int
    n_dropped: int
    n_routed: int
