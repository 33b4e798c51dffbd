"""`deliver_notifications` as a host meets it: who is told, how fast, and what happens to what was not told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.factories import START, Clock, make_ref
from tests.notify.conftest import later, open_alerts, statuses
from tests.notify.receiver import until

from model_perf import DeliveryReport, InvalidInputError, ModelPerformanceTracker, StorageError
from model_perf._notifications import Delivery
from model_perf.notify import CallableChannel, Channel, DeliveryError, Message

Telling = Callable[..., ModelPerformanceTracker]


@pytest.fixture
def telling(pool: asyncpg.Pool, tracker: ModelPerformanceTracker, clock: Clock) -> Telling:
    """Makes trackers with channels, on the test's own schema and time."""

    def make(*channels: Channel, **options: Any) -> ModelPerformanceTracker:
        return ModelPerformanceTracker(pool, schema=tracker.schema, clock=clock, channels=channels, **options)

    return make


class Inbox:
    """A channel's function that keeps what it is told."""

    def __init__(self, answer: Exception | None = None) -> None:
        self.told: list[Message] = []
        self.answer = answer

    async def __call__(self, message: Message) -> None:
        self.told.append(message)
        if self.answer is not None:
            raise self.answer


async def test_each_channel_is_told_what_it_takes(telling: Telling) -> None:
    """By severity, model type and event; what an alert goes through is told in order."""
    critical, forecasts, ends = Inbox(), Inbox(), Inbox()
    tracker = telling(
        CallableChannel(critical, name="critical", min_severity="critical"),
        CallableChannel(forecasts, name="forecasts", model_types=["forecast"]),
        CallableChannel(ends, name="ends", events=["resolved"]),
    )
    [alert] = await open_alerts(tracker, severity="warning")
    await open_alerts(tracker, severity="warning", model_type="forecast")
    await open_alerts(tracker, severity="critical")
    await tracker.alerts.resolve(alert.id, by="ada")
    report = await tracker.deliver_notifications()
    # Nobody takes that the first alert opened as a warning.
    assert report == DeliveryReport(n_routed=4, n_delivered=4, n_dropped=1)
    told = {
        name: [(each.payload["event"]["name"], each.payload["model"]["type"]) for each in inbox.told]
        for name, inbox in (("critical", critical), ("forecasts", forecasts), ("ends", ends))
    }
    assert told == {
        "critical": [("escalated", "baseline"), ("resolved", "baseline")],
        "forecasts": [("opened", "forecast")],
        "ends": [("resolved", "baseline")],
    }


async def test_repeats_of_an_alert_are_not_told(telling: Telling) -> None:
    """One message, however often the condition is seen."""
    inbox = Inbox()
    tracker = telling(CallableChannel(inbox))
    for _ in range(5):
        await open_alerts(tracker)
        await tracker.deliver_notifications()
    assert len(inbox.told) == 1


async def test_a_tracker_without_channels_leaves_the_telling_to_others(telling: Telling, clock: Clock) -> None:
    """What it finds waits for a process that has channels, for max_age at most."""
    inbox = Inbox()
    silent, speaking = telling(), telling(CallableChannel(inbox))
    await open_alerts(silent)
    assert await silent.deliver_notifications() == DeliveryReport()
    assert (await speaking.deliver_notifications()).n_delivered == 1
    await open_alerts(silent, model_type="forecast")
    later(clock, hours=24)
    assert await silent.deliver_notifications() == DeliveryReport()
    later(clock, seconds=1)
    assert await silent.deliver_notifications() == DeliveryReport(n_dropped=1)
    assert await speaking.deliver_notifications() == DeliveryReport()


async def test_what_happened_before_anybody_was_there_is_not_told(telling: Telling, clock: Clock) -> None:
    """With the first configuration of channels, years of alerts do not go out; those of today do."""
    await open_alerts(telling(), 30, model_type="forecast")
    later(clock, days=400)
    await open_alerts(telling(), 2)
    inbox = Inbox()
    report = await telling(CallableChannel(inbox)).deliver_notifications()
    assert report == DeliveryReport(n_routed=2, n_delivered=2, n_dropped=30)
    [*dropped] = (await telling().notifications.list_notifications(status="dropped")).items
    assert {each.error_message for each in dropped} == {"nobody delivered it within 1 day, 0:00:00"}


async def test_notifications_of_a_channel_that_is_gone_are_dropped_after_a_while(
    telling: Telling, clock: Clock
) -> None:
    """Its rows wait for max_age, in case that another process knows it."""
    gone = CallableChannel(Inbox(ValueError("down")), name="gone")
    await open_alerts(telling(gone))
    await telling(gone).deliver_notifications()
    tracker = telling(CallableChannel(Inbox(), name="new"))
    later(clock, hours=23)
    assert await tracker.deliver_notifications() == DeliveryReport()
    later(clock, hours=2)
    assert await tracker.deliver_notifications() == DeliveryReport(n_dropped=1)


async def test_a_rate_limit_makes_the_excess_wait(telling: Telling, clock: Clock) -> None:
    """A burst of three, then one every twenty seconds, whoever delivers; nothing is lost."""
    inbox = Inbox()
    channel = CallableChannel(inbox, rate_limit=3, rate_period=timedelta(minutes=1))
    await open_alerts(telling(channel), 8)
    assert (await telling(channel).deliver_notifications()).n_delivered == 3
    assert await telling(channel).deliver_notifications() == DeliveryReport()
    later(clock, seconds=19)
    assert (await telling(channel).deliver_notifications()).n_delivered == 0
    later(clock, seconds=1)
    assert (await telling(channel).deliver_notifications()).n_delivered == 1
    later(clock, seconds=40)
    assert (await telling(channel).deliver_notifications()).n_delivered == 2
    later(clock, hours=1)
    assert (await telling(channel).deliver_notifications()).n_delivered == 2
    assert len({each.id for each in inbox.told}) == 8


async def test_failed_deliveries_count_for_the_rate_limit(telling: Telling, clock: Clock) -> None:
    """The receiver has heard them, too."""
    inbox = Inbox(ValueError("down"))
    channel = CallableChannel(inbox, rate_limit=1, backoff_s=0.0)
    await open_alerts(telling(channel))
    for _ in range(10):
        await telling(channel).deliver_notifications()
        later(clock, seconds=15)
    assert len(inbox.told) == 3


async def test_limit_is_for_each_channel(telling: Telling) -> None:
    """Not more deliveries than asked for, on each."""
    one, two = Inbox(), Inbox()
    tracker = telling(CallableChannel(one, name="one"), CallableChannel(two, name="two"))
    await open_alerts(tracker, 20)
    assert (await tracker.deliver_notifications(limit=7)).n_delivered == 14
    assert (len(one.told), len(two.told)) == (7, 7)


async def test_no_delivery_begins_after_the_time_is_up(telling: Telling) -> None:
    """A call on a slow receiver ends; the rest waits for the next one."""

    async def slow(message: Message) -> None:
        await asyncio.sleep(0.1)

    tracker = telling(CallableChannel(slow, concurrency=2))
    await open_alerts(tracker, 100)
    report = await tracker.deliver_notifications(stop_after_s=0.35)
    assert 2 <= report.n_delivered <= 8
    assert report.n_retried == 0


async def test_a_receiver_that_is_away_is_not_asked_for_every_message(telling: Telling) -> None:
    """As many failures in a row as there are hands, and the channel rests until the next call."""
    inbox = Inbox(ConnectionError("away"))
    tracker = telling(CallableChannel(inbox, concurrency=3))
    await open_alerts(tracker, 50)
    assert (await tracker.deliver_notifications()).n_retried == 3
    assert (await tracker.deliver_notifications()).n_retried == 3


async def test_a_message_that_is_refused_stops_no_other(telling: Telling) -> None:
    """One in three is poison; the others arrive in the same call."""
    told = []

    async def tell(message: Message) -> None:
        told.append(message.id)
        if len(told) % 3 == 0:
            raise DeliveryError("poison", is_final=True)

    tracker = telling(CallableChannel(tell, concurrency=3))
    await open_alerts(tracker, 30)
    report = await tracker.deliver_notifications()
    assert (report.n_delivered, report.n_dead) == (20, 10)


async def test_a_cancelled_call_hands_back_what_it_holds(telling: Telling) -> None:
    """At shutdown what was told stays told, and what was being told is due at once, without a failure."""
    hold = asyncio.Event()
    told: list[UUID] = []

    async def tell(message: Message) -> None:
        if len(told) >= 5:
            await hold.wait()
        told.append(message.id)

    tracker = telling(CallableChannel(tell, concurrency=3))
    await open_alerts(tracker, 20)
    delivery = asyncio.create_task(tracker.deliver_notifications())
    await until(lambda: len(told) == 5)
    await asyncio.sleep(0.1)
    delivery.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivery
    rows = (await tracker.notifications.list_notifications()).items
    assert sum(each.status == "delivered" for each in rows) == 5
    assert [(each.run_after, each.lease_until, each.failures) for each in rows if each.status == "pending"] == [
        (START, None, 0)
    ] * 15
    hold.set()
    assert (await tracker.deliver_notifications()).n_delivered == 15
    assert len(told) == len(set(told)) == 20


async def test_a_call_that_is_cancelled_while_it_claims_hands_back(
    telling: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database has given out deliveries already, and the answer is on its way."""
    tracker = telling(CallableChannel(Inbox(), concurrency=3))
    await open_alerts(tracker, 20)
    claim, is_given_out = tracker.notifications.claim, asyncio.Event()

    async def claim_slowly(*args: Any, **options: Any) -> list[Delivery]:
        held = await claim(*args, **options)
        is_given_out.set()
        await asyncio.sleep(0.2)
        return held

    monkeypatch.setattr(tracker.notifications, "claim", claim_slowly)
    delivery = asyncio.create_task(tracker.deliver_notifications())
    await is_given_out.wait()
    delivery.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivery
    rows = (await tracker.notifications.list_notifications(status="pending")).items
    assert [(each.run_after, each.lease_until) for each in rows] == [(START, None)] * 20


@pytest.mark.parametrize("error", [StorageError("the connection was lost", retry_safe=True), RuntimeError("a bug")])
async def test_what_cannot_be_named_is_handed_back(telling: Telling, error: Exception) -> None:
    """Whatever goes wrong between the claim and the first delivery: it is due at once, without a failure."""
    tracker = telling(CallableChannel(Inbox(), concurrency=3))

    async def name(machine_ids: object) -> dict[UUID, str]:
        raise error

    tracker.machine_names = name  # type: ignore[method-assign]
    await open_alerts(tracker, 20)
    with suppress(StorageError):
        assert (await tracker.deliver_notifications()).errors == {"callable": "RuntimeError: a bug"}
    rows = (await tracker.notifications.list_notifications(status="pending")).items
    assert [(each.run_after, each.lease_until, each.failures) for each in rows] == [(START, None, 0)] * 20


async def test_titles_name_the_machine(telling: Telling) -> None:
    """As the directory has it, else as it was registered, else by its id; asked once for each machine."""
    asked: list[UUID] = []

    class Directory:
        async def machine_names(self, machine_ids: Any) -> dict[UUID, str]:
            asked.extend(machine_ids)
            return {number: "Lathe of the Directory" for number in machine_ids if number == lathe.machine_id}

    inbox = Inbox()
    tracker = telling(CallableChannel(inbox, concurrency=1), directory=Directory())
    lathe, other = make_ref("a", machine="lathe"), make_ref("b", machine="other")
    press = await tracker.register_model("baseline", machine="press 7")
    nowhere = await tracker.register_model("baseline")
    for ref in (lathe, other, press, nowhere, make_ref("c", machine="lathe")):
        await tracker.alerts.open_or_repeat(ref, alert_type="no_data", severity="info", message="m")
    await tracker.deliver_notifications()
    assert [each.title.partition(" of ")[2] for each in inbox.told] == [
        "baseline on Lathe of the Directory",
        f"baseline on {other.machine_id}",
        "baseline on press 7",
        "baseline",
        "baseline on Lathe of the Directory",
    ]
    assert inbox.told[1].payload["model"]["machine"] is None
    assert sorted(asked) == sorted([lathe.machine_id, other.machine_id, press.machine_id])


async def test_a_late_answer_says_that_another_took_over(telling: Telling, clock: Clock) -> None:
    """The lease ended meanwhile, and somebody else delivered: the first one changes nothing."""
    inbox = Inbox()

    async def think(message: Message) -> None:
        if not inbox.told:
            later(clock, minutes=5)
            assert (await telling(CallableChannel(inbox)).deliver_notifications()).n_delivered == 1

    tracker = telling(CallableChannel(think))
    await open_alerts(tracker)
    assert await tracker.deliver_notifications() == DeliveryReport(n_routed=1, n_overtaken=1)
    assert await statuses(tracker) == [("callable", "delivered", 2)]


async def test_a_bound_tracker_refuses(telling: Telling, pool: asyncpg.Pool) -> None:
    """The host's transaction would be held open by somebody else's server."""
    tracker = telling(CallableChannel(Inbox()))
    async with pool.acquire() as connection, connection.transaction():
        with pytest.raises(StorageError, match="not on bind"):
            await tracker.bind(connection).deliver_notifications()


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("limit", {"limit": 0}),
        ("max_age", {"max_age": timedelta(0)}),
        ("max_age", {"max_age": 5}),
        ("stop_after_s", {"stop_after_s": -1.0}),
    ],
)
async def test_bad_options_are_named(telling: Telling, argument: str, options: Any) -> None:
    """Before anything is done."""
    with pytest.raises(InvalidInputError) as refused:
        await telling().deliver_notifications(**options)
    assert refused.value.argument == argument


async def test_no_age_is_too_long(telling: Telling) -> None:
    """The longest span that Python has drops nothing."""
    tracker = telling(CallableChannel(Inbox()))
    await open_alerts(tracker)
    assert (await tracker.deliver_notifications(max_age=timedelta.max)).n_delivered == 1


async def test_an_alert_and_its_notification_commit_or_vanish_together(telling: Telling, pool: asyncpg.Pool) -> None:
    """What the host rolls back is not told."""
    inbox = Inbox()
    tracker = telling(CallableChannel(inbox))
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await open_alerts(tracker.bind(connection))
        await tracker.deliver_notifications()
        await transaction.rollback()
    await tracker.deliver_notifications()
    assert inbox.told == []


async def test_an_idle_call_is_one_query(telling: Telling, pool: asyncpg.Pool) -> None:
    """Nothing due: one statement, however many channels there are and whatever was delivered before."""
    tracker = telling(*(CallableChannel(Inbox(), name=f"channel {i}", rate_limit=5) for i in range(5)))
    await open_alerts(tracker)
    await tracker.deliver_notifications()
    queries: list[str] = []
    async with pool.acquire() as connection:
        own = ModelPerformanceTracker(
            _PoolOfOne(connection), schema=tracker.schema, channels=tracker._channels, clock=lambda: START
        )
        await own.check_schema()
        await own.deliver_notifications()
        with connection.query_logger(lambda record: queries.append(record.query)):
            assert await own.deliver_notifications() == DeliveryReport()
    assert len(queries) == 1


class _PoolOfOne:
    """A pool that lends the same connection, so that what runs on it can be seen."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def acquire(self, *, timeout: float | None = None) -> Any:
        return self

    async def __aenter__(self) -> Any:
        return self.connection

    async def __aexit__(self, *_: object) -> None: ...

    async def close(self) -> None: ...

    def terminate(self) -> None: ...
