"""The outbox as a state machine, on a real server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from attrs import evolve
from tests.factories import START, make_ref

from model_perf import ConflictError, InvalidInputError, ModelPerformanceTracker, NotFoundError, Notification
from model_perf._notifications import Delivery, Routed
from model_perf.repos import NotificationRepo

LEASE = timedelta(seconds=40)


@pytest.fixture
def outbox(bound: ModelPerformanceTracker) -> NotificationRepo:
    return bound.notifications


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def channel(name: str = "ops", **options: Any) -> dict[str, object]:
    everything = {
        "events": ["opened", "escalated", "resolved"],
        "severities": ["info", "warning", "critical"],
        "model_types": None,
        "alert_types": None,
    }
    return {"channel": name, **everything} | options


async def open_alerts(tracker: ModelPerformanceTracker, n: int = 1, *, minutes: float = 0, **fields: Any) -> list[Any]:
    given: dict[str, Any] = {
        "alert_type": "no_data",
        "severity": "warning",
        "message": "m",
        "now": at(minutes),
    } | fields
    return [await tracker.alerts.open_or_repeat(make_ref(f"model {i}"), **given) for i in range(n)]


async def claim(outbox: NotificationRepo, minutes: float = 1, **options: Any) -> list[Delivery]:
    given: dict[str, Any] = {"channel": "ops", "lease": LEASE, "limit": 10, "now": at(minutes)}
    return await outbox.claim(**given | options)


async def claim_one(tracker: ModelPerformanceTracker) -> Delivery:
    await open_alerts(tracker)
    await tracker.notifications.route([channel()], now=at(0))
    [held] = await claim(tracker.notifications)
    return held


async def stored(outbox: NotificationRepo) -> Sequence[Notification]:
    page = await outbox.list_notifications()
    return sorted(page.items, key=lambda each: (each.event_id, each.channel))


async def test_an_event_goes_to_every_channel_that_takes_it(bound: ModelPerformanceTracker) -> None:
    """One row per channel; the row of the event becomes that of the first, and no other is left behind."""
    await open_alerts(bound)
    done = await bound.notifications.route(
        [channel("b"), channel("a"), channel("c", severities=["critical"])], now=at(1)
    )
    assert done == Routed(n_events=1, n_dropped=0, n_routed=2)
    rows = await stored(bound.notifications)
    assert [(each.channel, each.status, each.run_after) for each in rows] == [
        ("a", "pending", START),
        ("b", "pending", START),
    ]
    assert len({each.id for each in rows}) == 2
    assert await bound.notifications.list_due(at(1)) == {"a": START, "b": START}
    assert await bound.notifications.route([channel()], now=at(1)) == Routed(n_events=0, n_dropped=0, n_routed=0)


@pytest.mark.parametrize(
    ("options", "is_wanted"),
    [
        ({}, True),
        ({"events": ["opened"]}, True),
        ({"events": ["resolved"]}, False),
        ({"severities": ["warning", "critical"]}, True),
        ({"severities": ["critical"]}, False),
        ({"model_types": ["other", "baseline"]}, True),
        ({"model_types": ["other"]}, False),
        ({"alert_types": ["no_data"]}, True),
        ({"alert_types": ["data_drift"]}, False),
        ({"model_types": ["baseline"], "alert_types": ["data_drift"]}, False),
    ],
)
async def test_a_channel_takes_what_fits_all_of_its_rules(
    bound: ModelPerformanceTracker, options: dict[str, Any], is_wanted: bool
) -> None:
    """Events, severities, model types and alert types; what nobody takes is dropped, and says so."""
    await open_alerts(bound)
    await bound.notifications.route([channel(**options)], now=at(0))
    [row] = await stored(bound.notifications)
    assert (row.channel, row.status, row.error_message) == (
        ("ops", "pending", None) if is_wanted else ("", "dropped", "no channel takes it")
    )


async def test_the_severity_is_that_of_the_event(bound: ModelPerformanceTracker) -> None:
    """An alert that opened as a warning and became critical: the first event was a warning, the second is not."""
    await open_alerts(bound)
    await open_alerts(bound, severity="critical", minutes=1)
    await bound.notifications.route([channel(severities=["critical"])], now=at(2))
    assert [(each.event, each.severity, each.status) for each in await stored(bound.notifications)] == [
        ("opened", "warning", "dropped"),
        ("escalated", "critical", "pending"),
    ]


async def told(tracker: ModelPerformanceTracker, minutes: float) -> list[tuple[str, UUID]]:
    """What is routed at a time, and delivered: event and alert."""
    await tracker.notifications.route([channel()], now=at(minutes))
    held = await claim(tracker.notifications, minutes)
    await tracker.notifications.mark_delivered(held, now=at(minutes))
    return [(each.event, each.alert_id) for each in held]


async def test_a_snoozed_alert_is_told_of_when_it_escalates_or_comes_back(bound: ModelPerformanceTracker) -> None:
    """That it opened waits for the end of the snooze, if nobody was told before; what became worse is told at once."""
    over, snoozed, worse = await open_alerts(bound, 3)
    for alert, end in ((over, 2), (snoozed, 30), (worse, 30)):
        await bound.alerts.snooze(alert.id, until=at(end), by="ada", now=at(1))
    assert await told(bound, 1.5) == []
    await bound.alerts.open_or_repeat(
        make_ref("model 2"), alert_type="no_data", severity="critical", message="m", now=at(2)
    )
    assert await told(bound, 3) == [("opened", over.id), ("escalated", worse.id)]
    assert [each.run_after for each in await stored(bound.notifications) if each.status == "pending"] == [at(30)] * 2
    await bound.alerts.snooze(snoozed.id, until=at(60), by="ada", now=at(29))
    assert await told(bound, 59) == []
    assert await told(bound, 60) == [("opened", snoozed.id)]
    [dropped] = [each for each in await stored(bound.notifications) if each.status == "dropped"]
    assert (dropped.alert_id, dropped.event, dropped.error_message) == (worse.id, "opened", "the alert was snoozed")


async def test_an_alert_that_was_resolved_in_its_snooze_is_not_told(bound: ModelPerformanceTracker) -> None:
    """Neither that it opened nor that it is over, whoever looks when."""
    for i, last in enumerate((5, 90)):
        [alert] = await open_alerts(bound, alert_type=f"type {i}")
        await bound.alerts.snooze(alert.id, until=at(60), by="ada", now=at(1))
        assert await told(bound, 2) == []
        await bound.alerts.resolve(alert.id, by="ada", now=at(3))
        assert await told(bound, 4) == []
        assert await told(bound, last) == []
    assert await told(bound, 90) == []
    assert {(each.status, each.error_message) for each in await stored(bound.notifications)} == {
        ("dropped", "the alert was snoozed")
    }


async def test_a_claim_takes_what_is_due_longest(bound: ModelPerformanceTracker) -> None:
    """In turn, up to the limit, nothing that is not due yet, and nothing that is held."""
    for i in range(5):
        await open_alerts(bound, minutes=i, alert_type=f"type {i}")
    await bound.notifications.route([channel()], now=at(10))
    first = await claim(bound.notifications, 3, limit=2)
    assert [each.alert_type for each in first] == ["type 0", "type 1"]
    assert [each.alert_type for each in await claim(bound.notifications, 3)] == ["type 2", "type 3"]
    assert await claim(bound.notifications, 3) == []
    assert await claim(bound.notifications, 10, channel="other") == []
    # After the lease the first ones are due again, under a new attempt.
    again = await claim(bound.notifications, 3 + 40 / 60, limit=4)
    assert [(each.id, each.attempt, each.failures) for each in again[:2]] == [(each.id, 2, 1) for each in first]


async def test_a_claim_holds_all_that_a_message_says(bound: ModelPerformanceTracker) -> None:
    """Fields of the event and of the alert, as they were given."""
    [alert] = await open_alerts(
        bound, severity="critical", details={"a": [1]}, current_metric_value=30.0, threshold_value=0.2
    )
    await bound.alerts.resolve(alert.id, by="ada", notes="cable", resolution="recovered", now=at(1))
    await bound.notifications.route([channel()], now=at(2))
    opened, resolved = await claim(bound.notifications, 2)
    assert (opened.event, opened.occurred_at, opened.severity, opened.notes) == ("opened", at(0), "critical", "m")
    assert (resolved.event, resolved.occurred_at, resolved.actor, resolved.notes) == ("resolved", at(1), "ada", "cable")
    assert (resolved.event_details, resolved.resolution) == ({"resolution": "recovered"}, "recovered")
    for each in (opened, resolved):
        assert (each.alert_id, each.model_id, each.model_version) == (alert.id, alert.model_id, 1)
        assert (each.alert_details, each.current_metric_value, each.threshold_value) == ({"a": [1]}, 30.0, 0.2)
        assert (each.baseline_metric_value, each.occurrences, each.alert_timestamp) == (None, 1, at(0))


async def test_a_delivery_ends_a_notification(bound: ModelPerformanceTracker) -> None:
    """Once; and only the attempt that holds it can end it."""
    outbox, held = bound.notifications, await claim_one(bound)
    assert await outbox.mark_delivered([evolve(held, attempt=held.attempt + 1)], now=at(2)) == set()
    assert await outbox.mark_delivered([held, evolve(held, id=uuid4())], now=at(2)) == {held.id}
    assert await outbox.mark_delivered([held], now=at(2)) == set()
    assert not await outbox.mark_dead(held.id, held.attempt, error_message="late")
    row = await outbox.fetch_notification(str(held.id))
    assert (row.status, row.delivered_at, row.lease_until, row.error_message) == ("delivered", at(2), None, None)
    assert await claim(outbox, 1000) == []


async def test_a_retry_comes_when_it_is_due(bound: ModelPerformanceTracker) -> None:
    """A failure is counted, a wait that the receiver asked for is not; the reason is kept until it is told."""
    outbox, held = bound.notifications, await claim_one(bound)
    assert await outbox.retry_later(held.id, 1, run_after=at(5), error_message="HTTP 500")
    assert await claim(outbox, 4.99) == []
    [held] = await claim(outbox, 5)
    assert (held.attempt, held.failures) == (2, 1)
    assert await outbox.retry_later(held.id, 2, run_after=at(6), error_message="HTTP 429", is_failure=False)
    [held] = await claim(outbox, 6)
    assert (held.attempt, held.failures) == (3, 1)
    assert (await outbox.fetch_notification(held.id)).error_message == "HTTP 429"


async def test_what_ends_its_process_every_time_is_dead_in_the_end(bound: ModelPerformanceTracker) -> None:
    """A lease that runs out counts as a failure; at the last one it is given out as dead, once."""
    outbox = bound.notifications
    await claim_one(bound)
    [again] = await claim(outbox, 2, max_attempts=2)
    assert (again.attempt, again.failures, again.is_dead) == (2, 1, False)
    [dead] = await claim(outbox, 3, max_attempts=2)
    assert (dead.failures, dead.is_dead) == (2, True)
    assert await claim(outbox, 4, max_attempts=2) == []
    row = await outbox.fetch_notification(dead.id)
    assert (row.status, row.error_message) == ("dead", "the delivering process stopped in the middle")


async def test_what_is_handed_back_is_due_at_once(bound: ModelPerformanceTracker) -> None:
    """It is no failure, and an attempt that holds it no more changes nothing."""
    outbox, held = bound.notifications, await claim_one(bound)
    await outbox.hand_back([held], now=at(1))
    [again] = await claim(outbox, 1)
    assert (again.id, again.attempt, again.failures) == (held.id, 2, 0)
    await outbox.hand_back([held], now=at(1))
    assert await claim(outbox, 1) == []
    assert not await outbox.mark_delivered([held])


async def test_what_waited_too_long_is_dropped(bound: ModelPerformanceTracker) -> None:
    """Routed or not, held by a dead process or not; what is due later, delivered or dead stays as it is."""
    outbox = bound.notifications
    await open_alerts(bound, 3)
    await outbox.route([channel()], now=at(0))
    held = await claim(outbox, 1, limit=2)
    await outbox.mark_dead(held[0].id, 1, error_message="HTTP 404")
    await open_alerts(bound, minutes=5, alert_type="not routed")
    await open_alerts(bound, minutes=70, alert_type="younger")
    assert await outbox.drop_late(at(60), reason="nobody delivered it within 1:00:00") == 3
    rows = await stored(outbox)
    assert sorted((each.status, each.error_message) for each in rows if each.status != "pending") == [
        ("dead", "HTTP 404"),
        *[("dropped", "nobody delivered it within 1:00:00")] * 3,
    ]
    assert await outbox.list_due(at(80)) == {"": at(70)}


async def test_a_channel_rests_until_the_latest_time_asked_for(bound: ModelPerformanceTracker) -> None:
    """Nothing of it is due before."""
    outbox = bound.notifications
    await open_alerts(bound)
    await outbox.route([channel()], now=at(0))
    await outbox.rest("ops", at(10), now=at(1))
    await outbox.rest("ops", at(5), now=at(1))
    assert await outbox.list_due(at(9)) == {}
    assert await outbox.list_due(at(10)) == {"ops": START}


async def test_a_rest_lasts_a_day_at_most(bound: ModelPerformanceTracker) -> None:
    """What a process with a clock of next year has left behind silences nobody, and what is said after it holds."""
    outbox, year = bound.notifications, 365 * 24 * 60
    await open_alerts(bound)
    await outbox.route([channel()], now=at(0))
    await outbox.rest("ops", at(2 * year), now=at(1))
    assert await outbox.list_due(at(24 * 60)) == {}
    assert await outbox.list_due(at(24 * 60 + 1)) == {"ops": START}
    await outbox.rest("ops", at(year + 5), now=at(year))
    assert await outbox.list_due(at(1)) == {"ops": START}
    await outbox.rest("ops", at(5), now=at(1))
    assert await outbox.list_due(at(4)) == {}


async def test_a_claim_spends_of_the_allowance_what_it_takes(bound: ModelPerformanceTracker) -> None:
    """The first call finds a full bucket; what is left over is left to the next."""
    outbox = bound.notifications
    await open_alerts(bound, 3)
    await outbox.route([channel()], now=at(0))
    asked = []

    def allow(spent_until: datetime, now: datetime, wanted: int) -> Any:
        asked.append((spent_until, wanted))
        return (2 if len(asked) == 1 else 9 if len(asked) == 3 else 0), lambda n: now + n * timedelta(seconds=7)

    assert len(await claim(outbox, 1, allowance=allow)) == 2
    assert await claim(outbox, 1, allowance=allow) == []
    assert len(await claim(outbox, 1, allowance=allow)) == 1
    assert asked == [(at(1), 10), (at(1) + timedelta(seconds=14), 10), (at(1) + timedelta(seconds=14), 10)]


async def test_a_dead_letter_is_taken_up_by_hand(bound: ModelPerformanceTracker) -> None:
    """Under the same id, with all of its attempts; what is pending or delivered is refused."""
    outbox, held = bound.notifications, await claim_one(bound)
    with pytest.raises(ConflictError, match="it is pending") as refused:
        await outbox.requeue(held.id)
    assert isinstance(refused.value.existing, Notification)
    await outbox.mark_dead(held.id, 1, error_message="HTTP 404")
    again = await outbox.requeue(held.id, now=at(100))
    assert (again.id, again.status, again.failures, again.run_after) == (held.id, "pending", 0, at(100))
    [held] = await claim(outbox, 100)
    assert (held.attempt, held.failures) == (2, 0)
    with pytest.raises(NotFoundError):
        await outbox.requeue(uuid4())


async def test_what_no_channel_took_is_routed_again_after_a_requeue(bound: ModelPerformanceTracker) -> None:
    """As after a first configuration of channels."""
    outbox = bound.notifications
    await open_alerts(bound)
    await outbox.route([channel(events=["resolved"])], now=at(0))
    [row] = await stored(outbox)
    await outbox.requeue(row.id, now=at(1))
    assert (await outbox.route([channel()], now=at(1))).n_routed == 1
    assert [each.id for each in await claim(outbox)] == [row.id]


async def test_all_dead_letters_of_a_channel_are_taken_up_at_once(bound: ModelPerformanceTracker) -> None:
    """And none of another channel."""
    outbox = bound.notifications
    await open_alerts(bound, 3)
    await outbox.route([channel(), channel("other")], now=at(0))
    for name in ("ops", "other"):
        for held in await claim(outbox, channel=name):
            await outbox.mark_dead(held.id, 1, error_message="HTTP 404")
    assert await outbox.requeue_dead("ops", now=at(2)) == 3
    assert await outbox.list_due(at(2)) == {"ops": at(2)}


async def test_lists_are_filtered_and_paged(bound: ModelPerformanceTracker) -> None:
    """By status, channel and alert; newest first; the cursor continues."""
    outbox = bound.notifications
    for i in range(3):
        await open_alerts(bound, 2, minutes=i, alert_type=f"type {i}")
    await outbox.route([channel(), channel("other", alert_types=["type 1"])], now=at(5))
    [held] = await claim(outbox, 5, channel="other", limit=1)
    await outbox.mark_delivered([held])
    [delivered] = (await outbox.list_notifications(status="delivered")).items
    assert (delivered.id, delivered.alert_type, delivered.machine_id) == (held.id, "type 1", held.machine_id)
    assert len((await outbox.list_notifications(channel="other")).items) == 2
    assert {each.channel for each in (await outbox.list_notifications(alert_id=held.alert_id)).items} == {
        "ops",
        "other",
    }
    seen: list[Notification] = []
    cursor = None
    while True:
        page = await outbox.list_notifications(limit=3, cursor=cursor)
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == len({each.id for each in seen}) == 8
    assert [each.created_at for each in seen] == sorted((each.created_at for each in seen), reverse=True)
    with pytest.raises(InvalidInputError, match="status"):
        await outbox.list_notifications(status="sent")
    wrong: Any
    for wrong in (5, "a\0", "\ud800", "x" * 201, []):
        with pytest.raises(InvalidInputError, match=r"^channel"):
            await outbox.list_notifications(channel=wrong)
