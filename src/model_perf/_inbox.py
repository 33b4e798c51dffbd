"""What people do with alerts: acknowledge, snooze, resolve. Resolving restarts what added up to the alert."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from model_perf import _validation as check
from model_perf._judging import DATA_ALERT, PERFORMANCE_ALERT, restart_charts
from model_perf.errors import InvalidInputError
from model_perf.records import Alert, ModelRef, Resolution
from model_perf.repos import AlertRepo, DriftRepo, MetricsRepo
from model_perf.repos._executor import Executor
from model_perf.sql._connection import Connection

CHARTED = (PERFORMANCE_ALERT, DATA_ALERT)
"""Alerts behind which something adds up over time, which starts again from zero when they are resolved."""


def snoozed_until(until: datetime | None, hours: float | None, now: datetime) -> datetime:
    """The end of a snooze, given as a time or as hours from now."""
    if (until is None) == (hours is None):
        raise InvalidInputError("until", "give until (a time) or hours from now, and not both")
    if until is not None:
        return check.as_timestamp(until, "until")
    span = timedelta(hours=check.as_float(hours, "hours", low=1e-6, high=876_600))  # type: ignore[arg-type]
    return check.later(now, span, "hours")


def one_of(note: str | None, notes: str | None) -> str | None:
    """The comment, under either of its names."""
    if note is not None and notes is not None:
        raise InvalidInputError("note", "is the same as notes; give one of them")
    return notes if note is None else check.as_optional_text(note, "note")


async def resolve(
    executor: Executor, alert_id: UUID | str, *, resolution: Resolution | str, by: str | None, notes: str | None
) -> Alert:
    """Close an alert; one of performance or data starts what added up to it again from zero, both or neither."""
    alert, now = await AlertRepo(executor).fetch(alert_id), executor.moment()

    async def restart_and_resolve(connection: Connection) -> Alert:
        nested = executor.nest(connection)
        if alert.alert_type in CHARTED and alert.model_id is not None and alert.model_version is not None:
            ref = ModelRef(
                model_id=alert.model_id,
                model_type=alert.model_type,
                model_version=alert.model_version,
                machine_id=alert.machine_id,
            )
            # First the state, then the alert, as `record` does: two orders would deadlock.
            if alert.alert_type == PERFORMANCE_ALERT:
                await MetricsRepo(nested).change_state(ref, restart_charts, now)
            else:
                segment = str(alert.alert_details.get("segment", ""))
                await DriftRepo(nested).restart_alarm(ref, now, segment=segment)
        return await AlertRepo(nested).resolve(alert_id, resolution=resolution, by=by, notes=notes, now=now)

    return await executor.run(restart_and_resolve, transaction=True)
