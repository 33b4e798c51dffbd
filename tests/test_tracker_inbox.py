"""Alerts as an inbox: acknowledge, snooze, resolve with who and why, and the log of it all."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.factories import START, Clock, make_id, make_ref

from model_perf import (
    Alert,
    ConflictError,
    FalsePositiveRate,
    InvalidInputError,
    ModelPerformanceTracker,
    NotFoundError,
)

HOUR = timedelta(hours=1)


async def open_alert(tracker: ModelPerformanceTracker, severity: str = "warning", name: str = "model") -> Alert:
    return await tracker.alerts.open_or_repeat(
        make_ref(name), alert_type="own", severity=severity, message="rmse is up"
    )


async def test_the_log_tells_what_happened(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Each step is one event with its time, its actor and its words, in order; a repeat is counted and no event."""
    alert = await open_alert(timed)
    clock.now += HOUR
    await open_alert(timed)
    await timed.acknowledge_alert(alert.id, by="ana", note="I look into it")
    clock.now += HOUR
    await timed.snooze_alert(alert.id, hours=2, by="ana", note="after the shift")
    clock.now += HOUR
    await open_alert(timed, "critical")
    await timed.resolve_alert(alert.id, resolution="false_positive", by="bob", note="a loose cable")
    events = await timed.alerts.list_events(alert.id)
    told = [(e.event, e.occurred_at, e.severity, e.actor, e.notes) for e in events]
    assert told == [
        ("opened", START, "warning", None, "rmse is up"),
        ("acknowledged", START + HOUR, "warning", "ana", "I look into it"),
        ("snoozed", START + 2 * HOUR, "warning", "ana", "after the shift"),
        ("escalated", START + 3 * HOUR, "critical", None, "rmse is up"),
        ("resolved", START + 3 * HOUR, "critical", "bob", "a loose cable"),
    ]
    assert [e.id for e in events] == sorted({e.id for e in events})
    assert datetime.fromisoformat(str(events[2].details["until"])) == START + 4 * HOUR
    assert events[3].details == {"from": "warning", "to": "critical"}
    assert events[4].details == {"resolution": "false_positive"}


async def test_what_was_said_is_kept_on_the_alert(timed: ModelPerformanceTracker) -> None:
    """Notes of each step stay with the alert, under either name of the argument."""
    alert = await open_alert(timed)
    acknowledged = await timed.acknowledge_alert(str(alert.id), by="ana", notes="mine")
    assert (acknowledged.acknowledged_by, acknowledged.acknowledgement_notes) == ("ana", "mine")
    snoozed = await timed.snooze_alert(alert.id, until=START + HOUR, by="bob", notes="later")
    assert (snoozed.snoozed_until, snoozed.snoozed_at) == (START + HOUR, START)
    assert (snoozed.snoozed_by, snoozed.snooze_notes) == ("bob", "later")
    resolved = await timed.resolve_alert(alert.id, by="ana", note="done")
    assert (resolved.resolution, resolved.resolved_by, resolved.resolution_notes) == ("manual", "ana", "done")
    assert await timed.alerts.fetch(alert.id) == resolved


async def test_a_snoozed_alert_is_put_aside_until_then(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """It stays open and is listed with the others; without the snoozed ones it is missing, until its time has come."""
    alert, other = await open_alert(timed), await open_alert(timed, name="other")
    await timed.snooze_alert(alert.id, hours=1, by="ana")

    async def awake() -> set[Any]:
        return {each.id for each in await timed.active_alerts(include_snoozed=False)}

    assert {each.id for each in await timed.active_alerts()} == {alert.id, other.id}
    assert await awake() == {other.id}
    clock.now += HOUR
    assert await awake() == {alert.id, other.id}


@pytest.mark.parametrize(("severity", "stays"), [("info", True), ("warning", True), ("critical", False)])
async def test_a_rise_of_the_severity_ends_the_snooze(
    timed: ModelPerformanceTracker, severity: str, stays: bool
) -> None:
    """A repeat that is no worse is counted and leaves the alert aside; a worse one brings it back at once."""
    alert = await open_alert(timed)
    await timed.snooze_alert(alert.id, hours=8, by="ana")
    again = await open_alert(timed, severity)
    assert (again.snoozed_until is not None, again.occurrences) == (stays, 2)
    assert (await timed.alerts.list_active(include_snoozed=False)).items == (() if stays else (again,))


async def test_the_view_shows_the_snooze(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Boards read who snoozed what until when."""
    alert = await open_alert(tracker)
    row = f"SELECT is_snoozed, snoozed_by, snooze_notes FROM {tracker.schema}.v_unresolved_model_alerts"
    assert tuple(await pool.fetchrow(row)) == (False, None, None)
    await tracker.snooze_alert(alert.id, hours=1, by="ana", note="later")
    assert tuple(await pool.fetchrow(row)) == (True, "ana", "later")


async def test_of_forty_at_once_one_acknowledges(tracker: ModelPerformanceTracker) -> None:
    """Forty repeats and forty acknowledgements at once: one alert, and of each step one event."""
    alert = await open_alert(tracker)
    await asyncio.gather(
        *(open_alert(tracker, "critical") for _ in range(40)),
        *(tracker.acknowledge_alert(alert.id, by=f"w{i}") for i in range(40)),
        return_exceptions=True,
    )
    [found] = await tracker.active_alerts()
    assert (found.id, found.occurrences) == (alert.id, 41)
    events = [each.event for each in await tracker.alerts.list_events(alert.id)]
    assert events[0] == "opened"
    assert sorted(events) == ["acknowledged", "escalated", "opened"]


async def test_what_is_resolved_cannot_be_snoozed(timed: ModelPerformanceTracker) -> None:
    """The error carries the alert, and the log does not grow."""
    alert = await open_alert(timed)
    resolved = await timed.resolve_alert(alert.id)
    with pytest.raises(ConflictError, match="resolved") as conflict:
        await timed.snooze_alert(alert.id, hours=1, by="ana")
    assert conflict.value.existing == resolved
    assert [each.event for each in await timed.alerts.list_events(alert.id)] == ["opened", "resolved"]


async def test_the_log_of_an_unknown_alert_is_not_found(timed: ModelPerformanceTracker) -> None:
    """No events is one thing, no alert another."""
    with pytest.raises(NotFoundError):
        await timed.alerts.list_events(make_id("nobody"))


@pytest.mark.parametrize(
    ("argument", "fields"),
    [
        ("until", {"until": START}),
        ("until", {"until": datetime(2024, 1, 2)}),  # noqa: DTZ001  (naive on purpose)
        ("until", {}),
        ("until", {"until": START + HOUR, "hours": 1}),
        ("hours", {"hours": 0}),
        ("hours", {"hours": float("nan")}),
        ("hours", {"hours": "1"}),
        ("by", {"hours": 1, "by": " "}),
        ("note", {"hours": 1, "note": "a\0"}),
        ("notes", {"hours": 1, "notes": "a\0"}),
        ("note", {"hours": 1, "note": "a", "notes": "b"}),
    ],
)
async def test_a_snooze_refuses_by_name(timed: ModelPerformanceTracker, argument: str, fields: dict[str, Any]) -> None:
    """A time that has passed, two ends or none, and what cannot be stored; the alert stays as it is."""
    alert = await open_alert(timed)
    with pytest.raises(InvalidInputError) as refused:
        await timed.snooze_alert(alert.id, **{"by": "ana"} | fields)
    assert refused.value.argument == argument
    assert await timed.alerts.fetch(alert.id) == alert


async def test_the_share_of_false_positives(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """By type, of those resolved since; open alerts and older resolutions do not count."""
    for i, resolution in enumerate(["false_positive", "recovered", "false_positive", "manual", "false_positive"]):
        alert = await open_alert(timed, name=f"m{i}")
        await timed.resolve_alert(alert.id, resolution=resolution)
        clock.now += HOUR
    await open_alert(timed, name="open")
    assert await timed.alerts.false_positive_rates(START + HOUR) == {
        "own": FalsePositiveRate(alert_type="own", n_resolved=4, n_false_positives=2)
    }
    assert (await timed.alerts.false_positive_rates(START + HOUR))["own"].share == 0.5
    assert await timed.alerts.false_positive_rates(clock.now) == {}


async def test_the_history_holds_what_was_resolved(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Newest first, a page at a time, narrowed by type and time; the inbox holds the open ones only."""
    opened = []
    for i in range(5):
        opened.append((await open_alert(timed, name=f"m{i}")).id)
        clock.now += HOUR
    await timed.resolve_alert(opened[2])
    first = await timed.alerts.list_alerts(limit=3)
    rest = await timed.alerts.list_alerts(limit=3, cursor=first.next_cursor)
    assert [each.id for each in (*first.items, *rest.items)] == opened[::-1]
    assert rest.next_cursor is None
    assert [each.is_resolved for each in first.items] == [False, False, True]
    assert len((await timed.alerts.list_alerts(since=START + 2 * HOUR, alert_type="own")).items) == 3
    assert (await timed.alerts.list_alerts(alert_type="another")).items == ()
