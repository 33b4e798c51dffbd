"""Several processes deliver the same outbox, and are killed over it: nothing is lost, and repeats can be told."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from tests.factories import START, make_ref
from tests.faults.tellers import (
    SECRET,
    deliver_all,
    deliver_limited,
    deliver_through_failures,
    deliver_to_file,
    deliver_until_stopped,
    in_two_minutes,
)
from tests.faults.test_host_codecs import HOSTS
from tests.notify.receiver import receiving, slowly, status, until
from tests.servers import KillableServer
from tests.writers import results_of, run_at_once, start_at_once

from model_perf import DeliveryReport, ModelPerformanceTracker
from model_perf.notify import CallableChannel, Message, WebhookChannel

ROOT = Path(__file__).parents[2]

OPEN = """
INSERT INTO {schema}.model_alerts (id, alert_type, severity, model_type, machine_id, fingerprint, alert_message,
    alert_timestamp, last_seen_at)
SELECT gen_random_uuid(), 'data_drift', 'critical', 'baseline', gen_random_uuid(), 'f' || i, 'm', now(), now()
FROM generate_series(1, {n}) i
"""


async def open_alerts(connection: asyncpg.Connection, schema: str, n: int) -> None:
    """As many alerts at once; the trigger writes what is to be told of them."""
    await connection.execute(OPEN.format(schema=schema, n=n))


async def stored_ids(tracker: ModelPerformanceTracker, state: str = "delivered") -> set[UUID]:
    async with tracker.pool.acquire() as connection:
        query = f"SELECT id FROM {tracker.schema}.model_notifications WHERE status = $1"
        return {row["id"] for row in await connection.fetch(query, state)}


@pytest.mark.long
async def test_two_processes_deliver_ten_thousand_webhooks_once_each(
    tracker: ModelPerformanceTracker, database: str, host: asyncpg.Connection, processes: ProcessPoolExecutor
) -> None:
    """As below, over HTTP, which takes most of the time."""
    await open_alerts(host, tracker.schema, 10_000)
    async with receiving() as receiver:
        reports = await run_at_once(processes, database, deliver_all, [(database, tracker.schema, receiver.url)] * 2)
    assert sum(report.n_delivered for report in reports) == 10_000
    assert len(receiver.ids) == len(set(receiver.ids)) == 10_000
    assert set(receiver.ids) == await stored_ids(tracker)


async def test_two_processes_deliver_ten_thousand_once_each(
    tracker: ModelPerformanceTracker,
    database: str,
    host: asyncpg.Connection,
    processes: ProcessPoolExecutor,
    tmp_path: Path,
) -> None:
    """Both take part, each event is told, and none is told twice while nobody is killed."""
    await open_alerts(host, tracker.schema, 10_000)
    log = tmp_path / "told"
    reports = await run_at_once(processes, database, deliver_to_file, [(database, tracker.schema, str(log))] * 2)
    assert sum(report.n_routed for report in reports) == 10_000
    assert sum(report.n_delivered for report in reports) == 10_000
    assert min(report.n_delivered for report in reports) > 500
    told = [UUID(number) for _, number in lines(log)]
    assert len(told) == len(set(told)) == 10_000
    assert set(told) == await stored_ids(tracker)


async def test_a_killed_process_leaves_repeats_and_no_gaps(
    tracker: ModelPerformanceTracker, database: str, host: asyncpg.Connection, tmp_path: Path
) -> None:
    """SIGKILL in the middle: another takes up what was held after the lease; only that is told twice, under its id."""
    await open_alerts(host, tracker.schema, 1000)
    log = tmp_path / "told"
    log.touch()
    with ProcessPoolExecutor(1) as alone:
        [work] = await start_at_once(alone, database, deliver_until_stopped, [(database, tracker.schema, str(log))])
        await until(lambda: len(lines(log)) >= 200, 60)
        os.kill(int(lines(log)[-1][0]), signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            await work
    first = [UUID(number) for _, number in lines(log)]
    second: list[UUID] = []

    async def tell(message: Message) -> None:
        second.append(message.id)

    later = ModelPerformanceTracker(
        tracker.pool, schema=tracker.schema, clock=in_two_minutes, channels=[CallableChannel(tell)]
    )
    report = await later.deliver_notifications()
    repeats = Counter(first + second) - Counter(set(first + second))
    assert len(set(first + second)) == 1000 == len(await stored_ids(tracker))
    assert 1 <= sum(repeats.values()) <= 8  # two for each of the channel's hands
    assert report.n_delivered == len(second)


async def test_the_server_restarts_in_the_middle(
    killable_server: KillableServer, processes: ProcessPoolExecutor
) -> None:
    """PostgreSQL is killed under two delivering processes: every event is told, and repeats have its id."""
    dsn = killable_server.dsn
    async with ModelPerformanceTracker.connect(dsn) as tracker:
        await tracker.migrate()
    host = await asyncpg.connect(dsn)
    await open_alerts(host, "model_perf", 2000)
    await host.close()
    async with receiving() as receiver:
        tellers = await start_at_once(processes, dsn, deliver_through_failures, [(dsn, "model_perf", receiver.url)] * 2)
        await until(lambda: len(receiver.requests) >= 500, 60)
        killable_server.kill()
        n_before = len(set(receiver.ids))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(killable_server.restart)
        await results_of(tellers)
        assert n_before < 2000
        # What was claimed by a statement whose answer was lost waits for the end of its lease.
        channel = WebhookChannel(receiver.url, secret=SECRET)
        async with ModelPerformanceTracker.connect(dsn, clock=in_two_minutes, channels=[channel]) as tracker:
            await tracker.deliver_notifications()
            assert set(receiver.ids) == await stored_ids(tracker)
            assert await tracker.deliver_notifications() == DeliveryReport()
    assert len(set(receiver.ids)) == 2000
    # Two processes of four hands each: what each held when the server died.
    assert len(receiver.ids) - 2000 <= 16


async def test_a_rate_limit_holds_across_processes(
    tracker: ModelPerformanceTracker,
    database: str,
    host: asyncpg.Connection,
    processes: ProcessPoolExecutor,
    tmp_path: Path,
) -> None:
    """Eight processes with five calls each tell 20 of 200: the burst of an hour's limit, and the rest waits."""
    await open_alerts(host, tracker.schema, 200)
    log = tmp_path / "told"
    log.touch()
    told = await run_at_once(processes, database, deliver_limited, [(database, tracker.schema, str(log), 5)] * 8)
    assert sum(told) == len(lines(log)) == len({number for _, number in lines(log)}) == 20
    assert len(await stored_ids(tracker, "pending")) == 180


async def test_an_interrupted_process_hands_back_what_it_holds(
    tracker: ModelPerformanceTracker, database: str, host: asyncpg.Connection, tmp_path: Path
) -> None:
    """SIGINT, as a deployment sends it: nothing stays leased, nothing told is lost, the rest is told once."""
    await open_alerts(host, tracker.schema, 500)
    log = tmp_path / "told"
    log.touch()
    script = (
        "import asyncio; from tests.faults.tellers import deliver_until_stopped as work;"
        f"asyncio.run(work({database!r}, {tracker.schema!r}, {str(log)!r}))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, cwd=ROOT, stderr=subprocess.PIPE)
    try:
        await until(lambda: len(lines(log)) >= 50, 60)
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert errors.rstrip().endswith(b"KeyboardInterrupt"), errors
    held = f"SELECT count(*) FROM {tracker.schema}.model_notifications WHERE lease_until IS NOT NULL"
    assert await host.fetchval(held) == 0
    delivered = await stored_ids(tracker)
    told = {UUID(number) for _, number in lines(log)}
    assert delivered <= told
    assert len(told - delivered) <= 4
    again: list[UUID] = []

    async def tell(message: Message) -> None:
        again.append(message.id)

    own = ModelPerformanceTracker(tracker.pool, schema=tracker.schema, channels=[CallableChannel(tell)])
    await own.deliver_notifications()
    assert len(again) == len(set(again)) == 500 - len(delivered)
    assert told | set(again) == await stored_ids(tracker)


async def test_a_pool_that_closes_during_a_delivery_loses_nothing(
    tracker: ModelPerformanceTracker, database: str, host: asyncpg.Connection
) -> None:
    """A host that takes the pool away first: the call fails, and what was told is told again under its id."""
    await open_alerts(host, tracker.schema, 20)
    async with receiving(slowly(0.3, status(204))) as receiver:
        channel = WebhookChannel(receiver.url, secret=SECRET)
        async with ModelPerformanceTracker.connect(database, schema=tracker.schema, channels=[channel]) as own:
            delivery = asyncio.create_task(own.deliver_notifications())
            await until(lambda: receiver.open_now == 4)
        with pytest.raises(Exception, match=r"pool|connection"):
            await delivery
        later = ModelPerformanceTracker(tracker.pool, schema=tracker.schema, clock=in_two_minutes, channels=[channel])
        assert (await later.deliver_notifications()).n_delivered == 20
    assert len(set(receiver.ids)) == 20
    # Of the twenty, what one process held at once: two for each of its four hands.
    assert len(receiver.ids) <= 28


@pytest.mark.parametrize("name", HOSTS)
async def test_messages_are_the_same_on_every_hosts_pool(
    tracker: ModelPerformanceTracker, database: str, name: str
) -> None:
    """Whatever codecs the host has set, without a statement cache, and in another zone of the session."""
    told: list[Message] = []

    async def tell(message: Message) -> None:
        told.append(message)

    channels = [CallableChannel(tell), CallableChannel(tell, name="limited", rate_limit=5)]
    settings = {"server_settings": {"TimeZone": "Asia/Kolkata", "DateStyle": "German"}}
    async with asyncpg.create_pool(database, min_size=1, max_size=3, **settings, **HOSTS[name]) as own:
        host = ModelPerformanceTracker(own, schema=tracker.schema, channels=channels, clock=lambda: START)
        details = {"column": "load", "shares": [0.25, None]}
        await host.alerts.open_or_repeat(make_ref(), alert_type="x", severity="info", message="m", details=details)
        assert (await host.deliver_notifications()).n_delivered == 2
    for message in told:
        assert message.text == "m\nOpened at 2024-01-01 00:00 UTC."
        assert message.payload["event"]["occurred_at"] == "2024-01-01T00:00:00+00:00"
        assert message.payload["alert"]["details"] == details
        assert message.payload["model"]["machine_id"] == str(make_ref().machine_id)


def lines(log: Path) -> list[list[str]]:
    """Process and id of each message that is noted, without a line that was cut off."""
    return [line.split() for line in log.read_text().rpartition("\n")[0].splitlines()]
