"""The check of the input under the faults that `record` stands: races, cancellation, zones, rights, lost backends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import numpy as np
import pytest
from tests.factories import START, make_ref
from tests.faults.every_call import make_every_call, read_everything
from tests.faults.states import check_alarm, count_rows
from tests.faults.waits import check_pool, locked, terminate_waiting
from tests.writers import check_days, run_at_once

from model_perf import ModelPerformanceTracker, StorageError

REF = make_ref()
DAY = timedelta(days=1)
REPORTS, ALERTS, STATE = "model_drift_reports", "model_alerts", "model_drift_state"


def load(n: int, seed: int, shift: float = 0.0) -> dict[str, Any]:
    return {"load": np.random.default_rng(seed).normal(shift, 1.0, n)}


def window(day: int) -> dict[str, Any]:
    return {"window_start": START + day * DAY, "window_end": START + (day + 1) * DAY}


async def test_eight_processes_check_one_deployment(
    processes: ProcessPoolExecutor, tracker: ModelPerformanceTracker, database: str
) -> None:
    """Sixty-four windows at once, each of another day: all are kept, and the alarm is exactly what counted."""
    await tracker.set_reference(REF, load(1000, 0))
    work = [(database, tracker.schema, REF, range(i, 64, 8)) for i in range(8)]
    assert await run_at_once(processes, database, check_days, work) == [8] * 8
    assert 8 <= await check_alarm(tracker, REF, n=64) < 64


async def test_a_crowd_of_checks_is_served(tracker: ModelPerformanceTracker, database: str) -> None:
    """Of a hundred windows at once on forty connections none is turned away: who lost three times waits its turn."""
    await tracker.set_reference(REF, load(1000, 0))
    async with asyncpg.create_pool(database, min_size=40, max_size=40) as wide:
        own = ModelPerformanceTracker(wide, schema=tracker.schema)
        await asyncio.gather(*(own.check_data_drift(REF, load(200, day, 0.1), **window(day)) for day in range(100)))
        await check_pool(wide)
    await check_alarm(tracker, REF, n=100)


async def test_checks_cancelled_at_any_moment_are_whole_or_absent(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """Report and alarm of a window are there together or not at all, and the pool is well."""
    await tracker.set_reference(REF, load(1000, 0))
    moments, outcomes = random.Random(7), set()
    for day in range(40):
        task = asyncio.ensure_future(tracker.check_data_drift(REF, load(200, day, 0.1), **window(day)))
        await asyncio.sleep(moments.uniform(0.0, 0.15))
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        assert not isinstance(outcome, Exception), outcome
        outcomes.add(type(outcome))
    assert len(outcomes) == 2, "the moments are too early or too late"
    await check_pool(pool)
    n_stored = int(await pool.fetchval(f"SELECT count(*) FROM {tracker.schema}.{REPORTS}"))
    assert await check_alarm(tracker, REF, n=n_stored) == n_stored


@pytest.mark.parametrize("table", ["model_reference_profiles", STATE])
async def test_a_terminated_replacement_keeps_the_old_reference(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, pool: asyncpg.Pool, table: str
) -> None:
    """Reference and alarm are replaced together or not at all; the repeat replaces both."""
    await tracker.set_reference(REF, load(1000, 0))
    before = await tracker.check_data_drift(REF, load(200, 1), **window(0))
    old = await tracker.drift.fetch_reference(REF)
    async with locked(host, f"{tracker.schema}.{table}"):
        call = asyncio.ensure_future(tracker.set_reference(REF, load(1000, 2)))
        await terminate_waiting(host)
        with pytest.raises(StorageError) as caught:
            await call
    assert (caught.value.outcome_unknown, caught.value.retry_safe) == (True, True)
    assert await tracker.drift.fetch_reference(REF) == old
    await check_pool(pool)
    after = await tracker.check_data_drift(REF, load(200, 3), **window(1))
    assert after.pvalue is not None
    assert before.alarm_value is not None
    assert after.alarm_value == (before.alarm_value + 1.0) * 0.5 / after.pvalue**0.5
    await tracker.set_reference(REF, load(1000, 2))
    assert (await tracker.drift.fetch_reference(REF)).id != old.id
    assert (await tracker.check_data_drift(REF, load(200, 2), **window(2))).alarm_value == 0.5


async def test_times_are_in_utc_whatever_the_session_says(tracker: ModelPerformanceTracker, database: str) -> None:
    """Window, alert and alarm of a session in Kolkata are those of a session in UTC."""
    settings = {"TimeZone": "Asia/Kolkata", "DateStyle": "German"}
    async with asyncpg.create_pool(database, min_size=1, max_size=2, server_settings=settings) as far:
        own = ModelPerformanceTracker(far, schema=tracker.schema)
        await own.set_reference(REF, load(1000, 0))
        report = await own.check_data_drift(REF, load(200, 1, shift=3.0), **window(0))
        assert (report.window_start, report.window_end) == (START, START + DAY)
        assert await own.drift.fetch_newest_report(REF) == await tracker.drift.fetch_newest_report(REF)
        assert await own.active_alerts() == await tracker.active_alerts() != []
        stored = await tracker.drift.fetch_newest_report(REF)
        assert stored is not None
        assert [each.utcoffset() for each in (stored.window_end, stored.created_at)] == [timedelta(0)] * 2
        await own.resolve_alert((await own.active_alerts())[0].id)
        # The next window begins where the last one ended, by the instant: it counts, and one an hour earlier does not.
        begin = START + DAY
        early: dict[str, Any] = {"window_start": begin - timedelta(hours=1), "window_end": begin + DAY}
        assert (await own.check_data_drift(REF, load(200, 2), **early)).alarm_value == 0.0
        assert (await own.check_data_drift(REF, load(200, 2), **window(1))).alarm_value == 0.5


@pytest.fixture
async def as_writer(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, database: str
) -> AsyncIterator[ModelPerformanceTracker]:
    """A tracker whose role may read and write rows, and can neither create, alter nor delete."""
    role = f"role_{uuid4().hex[:8]}"
    await pool.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA {tracker.schema} TO {role};"
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {tracker.schema} TO {role}"
    )
    own = await asyncpg.create_pool(database, user=role, password="secret", min_size=1, max_size=4)
    try:
        for forbidden in ("CREATE TABLE {}.x ()", "TRUNCATE {}.models", "DELETE FROM {}.model_drift_reports"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await own.execute(forbidden.format(tracker.schema))
        yield ModelPerformanceTracker(own, schema=tracker.schema)
    finally:
        await own.close()
        await pool.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def test_every_call_works_without_rights_to_create(
    as_writer: ModelPerformanceTracker, tracker: ModelPerformanceTracker, host: asyncpg.Connection
) -> None:
    """A role that may read and write rows is enough for every call, the references and reports of data included."""
    await make_every_call(as_writer)
    assert await read_everything(as_writer) == await read_everything(tracker)
    assert min((await count_rows(host, tracker.schema)).values()) > 0
