"""Functions of the host as channels, well and badly behaved."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.factories import START, Clock
from tests.notify.conftest import Telling, later, open_alerts, statuses
from tests.notify.receiver import until

from model_perf import DeliveryReport
from model_perf.notify import CallableChannel, DeliveryError, Message


class Teller:
    """Keeps what it is told, by methods of every kind."""

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.threads: set[threading.Thread] = set()

    def tell(self, message: Message) -> bool:
        self.told.append(message)
        self.threads.add(threading.current_thread())
        return False

    async def tell_async(self, message: Message) -> None:
        await asyncio.sleep(0)
        self.tell(message)

    async def __call__(self, message: Message) -> None:
        await self.tell_async(message)


KINDS: dict[str, Callable[[Teller], Callable[..., object]]] = {
    "sync": lambda teller: teller.tell,
    "async": lambda teller: teller.tell_async,
    "an object whose call is async": lambda teller: teller,
    "partial": lambda teller: partial(Teller.tell_async, teller),
    "a lambda that gives a coroutine": lambda teller: lambda message: teller.tell_async(message),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_functions_of_every_kind_are_called_once(telling: Telling, kind: str) -> None:
    """Async ones on the loop, sync ones in a thread; what they return does not matter."""
    teller = Teller()
    tracker = telling(CallableChannel(KINDS[kind](teller)))
    await open_alerts(tracker)
    assert await tracker.deliver_notifications() == DeliveryReport(n_routed=1, n_delivered=1)
    [message] = teller.told
    assert message.title.startswith("Critical: performance_degradation of baseline on ")
    assert (threading.main_thread() in teller.threads) == (kind != "sync")


def fail(message: Message) -> None:
    raise ValueError("no such room at https://chat.example.com/token-of-the-path")


def leave(message: Message) -> None:
    raise SystemExit(3)


def stop(message: Message) -> None:
    raise StopIteration


def hang(message: Message) -> None:
    time.sleep(0.6)


async def fail_async(message: Message) -> None:
    raise KeyError("room")


async def hang_async(message: Message) -> None:
    await asyncio.sleep(10)


async def cancel(message: Message) -> None:
    raise asyncio.CancelledError


class SpeechlessError(Exception):
    """An error that fails again when it is asked what it is."""

    def __str__(self) -> str:
        raise AttributeError("response")


class Uncommon(BaseException):
    """As gevent's timeouts are, and pytest's own failures."""


class ForgetfulError(DeliveryError):
    """Made without its base, whose fields it lacks."""

    def __init__(self) -> None: ...


async def fail_speechless(message: Message) -> None:
    raise SpeechlessError


async def fail_uncommonly(message: Message) -> None:
    raise Uncommon("as it likes")


async def fail_forgetfully(message: Message) -> None:
    raise ForgetfulError


async def fail_blank(message: Message) -> None:
    raise DeliveryError(" \n")


async def wait_wrongly(message: Message) -> None:
    error = DeliveryError("asked to wait")
    error.retry_after_s = float("nan")
    raise error


FAILURES: dict[Callable[[Message], Any], str] = {
    fail: "ValueError: no such room at https://chat.example.com/***",
    leave: "RuntimeError: the function raised SystemExit",
    stop: "RuntimeError: the function raised StopIteration",
    hang: "no answer within 0.2 s",
    fail_async: "KeyError: 'room'",
    hang_async: "no answer within 0.2 s",
    cancel: "RuntimeError: the channel's function was cancelled",
    fail_speechless: "SpeechlessError",
    fail_uncommonly: "Uncommon: as it likes",
    fail_forgetfully: "ForgetfulError",
    fail_blank: "DeliveryError",
    wait_wrongly: "asked to wait",
}


@pytest.mark.parametrize("function", FAILURES, ids=lambda function: function.__name__)
async def test_whatever_a_function_does_the_notification_is_kept(
    telling: Telling, function: Callable[[Message], Any]
) -> None:
    """An error, an exit and a hang are failures of an attempt, and nothing else suffers: the other channel is told."""
    teller = Teller()
    tracker = telling(CallableChannel(function, timeout_s=0.2), CallableChannel(teller, name="other"))
    await open_alerts(tracker)
    report = await tracker.deliver_notifications()
    assert report == DeliveryReport(n_routed=2, n_delivered=1, n_retried=1, errors={"callable": FAILURES[function]})
    assert await statuses(tracker) == [("callable", "pending", 1), ("other", "delivered", 1)]


async def test_a_function_says_what_happens_next(telling: Telling, clock: Clock) -> None:
    """A `DeliveryError` ends a notification, or lets the channel rest."""
    answers: list[Exception | None] = [
        DeliveryError("asked to wait", retry_after_s=60.0),
        None,
        DeliveryError("room is gone", is_final=True),
    ]

    async def tell(message: Message) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    tracker = telling(CallableChannel(tell, concurrency=1))
    await open_alerts(tracker, 2)
    assert (await tracker.deliver_notifications()).n_retried == 1
    assert await tracker.deliver_notifications() == DeliveryReport()
    later(clock, seconds=60)
    report = await tracker.deliver_notifications()
    assert (report.n_delivered, report.n_dead, report.errors) == (1, 1, {"callable": "room is gone"})


@pytest.mark.parametrize(("wait_s", "is_told"), [(float("nan"), False), (-1.0, False), (1e300, True)])
async def test_a_wait_that_makes_no_sense_is_a_failure_as_any(
    telling: Telling, clock: Clock, wait_s: float, is_told: bool
) -> None:
    """What is no time is refused where it is said; a thousand years count as a day."""

    def wait(message: Message) -> None:
        raise DeliveryError("asked to wait", retry_after_s=wait_s)

    tracker = telling(CallableChannel(wait))
    await open_alerts(tracker)
    report = await tracker.deliver_notifications()
    assert report.n_retried == 1
    assert (report.errors["callable"] == "asked to wait") == is_told
    later(clock, days=1)
    assert (await tracker.deliver_notifications()).n_retried == 1


async def test_a_sync_function_holds_up_neither_the_loop_nor_its_executor(telling: Telling) -> None:
    """While four calls block, the loop turns, and the loop's own executor is free."""
    tracker = telling(CallableChannel(hang, timeout_s=5.0))
    await open_alerts(tracker, 4)
    delivery = asyncio.create_task(tracker.deliver_notifications())
    turns, began = 0, time.monotonic()
    while not delivery.done():
        await asyncio.to_thread(int)
        turns += 1
    assert delivery.result().n_delivered == 4
    assert time.monotonic() - began < 4 * 0.6
    assert turns > 20


async def test_a_receiver_that_waits_for_ever_is_given_up_some_day(telling: Telling, clock: Clock) -> None:
    """Requests to wait are no failures; ten times max_attempts of them are enough all the same."""

    def wait(message: Message) -> None:
        raise DeliveryError("asked to wait", retry_after_s=1.0)

    tracker = telling(CallableChannel(wait, max_attempts=1))
    await open_alerts(tracker)
    reports = []
    for _ in range(12):
        reports.append(await tracker.deliver_notifications())
        later(clock, seconds=1)
    assert [report.n_retried for report in reports] == [1] * 9 + [0] * 3
    assert [report.n_dead for report in reports] == [0] * 9 + [1, 0, 0]


async def test_what_opens_badly_hurts_no_other(telling: Telling) -> None:
    """A channel that cannot be opened is named in the report; its notifications wait."""

    class Broken(CallableChannel):
        def open(self) -> Any:
            raise OSError("no socket for https://example.com/token-of-the-path")

    teller = Teller()
    tracker = telling(Broken(print, name="broken"), CallableChannel(teller, name="well"))
    await open_alerts(tracker, 2)
    report = await tracker.deliver_notifications()
    assert report.errors == {"broken": "OSError: no socket for https://example.com/***"}
    assert report.n_delivered == len(teller.told) == 2
    assert {(channel, state) for channel, state, _ in await statuses(tracker)} == {
        ("broken", "pending"),
        ("well", "delivered"),
    }
    assert (await tracker.notifications.list_due(START)).keys() == {"broken"}


async def test_a_function_that_never_returns_costs_its_host_few_threads(telling: Telling) -> None:
    """Where 32 of its calls hang no other is begun, until some have ended."""
    hold, begun = threading.Event(), []

    def hang(message: Message) -> None:
        begun.append(message)
        hold.wait()

    tracker = telling(CallableChannel(hang, timeout_s=0.05, backoff_s=0.0, concurrency=20))
    await open_alerts(tracker, 20)
    try:
        reports = [await tracker.deliver_notifications() for _ in range(4)]
    finally:
        hold.set()
    assert 32 <= len(begun) < 32 + 20
    assert reports[-1].errors == {"callable": f"{len(begun)} earlier calls of the function have not ended"}
    await until(lambda: not any(thread.name == "model_perf.notify" for thread in threading.enumerate()))
    assert (await tracker.deliver_notifications()).n_delivered == 20
