"""Processes that deliver notifications: each public function here runs in one, with a pool of its own."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta
from pathlib import Path

from tests.writers import pass_the_gate

from model_perf import DeliveryReport, ModelPerformanceTracker, StorageError
from model_perf._opening import Opening
from model_perf.notify import CallableChannel, Channel, Message, WebhookChannel
from model_perf.repos._executor import utc_now

SECRET = "a secret of enough letters"


async def deliver_all(dsn: str, schema: str, url: str) -> DeliveryReport:
    """Deliver to a webhook until nothing is left to this process; what it did in all."""
    channel = WebhookChannel(url, secret=SECRET)
    async with _connected(dsn, schema, channel) as tracker:
        await pass_the_gate(dsn)
        return await _deliver_until_done(tracker)


async def deliver_to_file(dsn: str, schema: str, log: str) -> DeliveryReport:
    """The same to a function that notes each message."""

    async def tell(message: Message) -> None:
        note(log, message)

    async with _connected(dsn, schema, CallableChannel(tell)) as tracker:
        await pass_the_gate(dsn)
        return await _deliver_until_done(tracker)


async def deliver_through_failures(dsn: str, schema: str, url: str) -> int:
    """The same while the database goes away and comes again; how many calls failed."""
    failed = 0
    async with _connected(dsn, schema, WebhookChannel(url, secret=SECRET)) as tracker:
        await pass_the_gate(dsn)
        while True:
            try:
                await _deliver_until_done(tracker)
                return failed
            except StorageError as error:
                if not error.retry_safe:
                    raise
                failed += 1
                await asyncio.sleep(0.1)


async def deliver_limited(dsn: str, schema: str, log: str, calls: int) -> int:
    """Deliver to a channel that takes 20 an hour, again and again; how many were told."""

    def tell(message: Message) -> None:
        note(log, message)

    channel = CallableChannel(tell, rate_limit=20, rate_period=timedelta(hours=1))
    async with _connected(dsn, schema, channel) as tracker:
        await pass_the_gate(dsn)
        return sum([(await tracker.deliver_notifications()).n_delivered for _ in range(calls)])


async def deliver_until_stopped(dsn: str, schema: str, log: str) -> None:
    """Deliver slowly, noting each message when it has arrived, and before it is written down."""

    async def tell(message: Message) -> None:
        note(log, message)
        await asyncio.sleep(0.02)

    async with _connected(dsn, schema, CallableChannel(tell)) as tracker:
        await pass_the_gate(dsn)
        await _deliver_until_done(tracker)


def note(log: str, message: Message) -> None:
    with Path(log).open("a") as file:
        file.write(f"{os.getpid()} {message.id}\n")


def in_two_minutes() -> datetime:
    """A clock of a process that comes later, when all leases have ended."""
    return utc_now() + timedelta(minutes=2)


def _connected(dsn: str, schema: str, channel: Channel) -> Opening[ModelPerformanceTracker]:
    return ModelPerformanceTracker.connect(dsn, schema=schema, max_size=4, acquire_timeout_s=2.0, channels=[channel])


async def _deliver_until_done(tracker: ModelPerformanceTracker) -> DeliveryReport:
    done = DeliveryReport()
    while True:
        report = await tracker.deliver_notifications()
        counts = {name: getattr(done, name) + getattr(report, name) for name in COUNTS}
        done = DeliveryReport(**counts, errors={**done.errors, **report.errors})
        if not report.n_delivered + report.n_retried:
            return done


COUNTS = ("n_routed", "n_delivered", "n_retried", "n_dead", "n_dropped", "n_overtaken")
