"""Hosts whose transactions are serializable, repeatable read or read-only by default."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar

import asyncpg
import pytest
from tests.drift.detectors import stream
from tests.factories import START, make_evaluation, make_evaluations, make_id, make_ref
from tests.faults.every_call import check_json, make_every_call, read_everything
from tests.faults.states import BASELINE_DAYS, check_alert, check_state, count_rows, learn_baseline
from tests.faults.waits import check_pool
from tests.writers import NOW, record

from model_perf import ModelPerformanceTracker, StorageError
from model_perf.drift import CusumDetector

T = TypeVar("T")
LEVELS = ("repeatable read", "serializable")
RUN = make_id("run")


@pytest.fixture(params=LEVELS)
async def strict(request: pytest.FixtureRequest, database: str, schema: str) -> AsyncIterator[ModelPerformanceTracker]:
    """A migrated tracker on a pool whose transactions have another isolation level than PostgreSQL's default."""
    settings = {"default_transaction_isolation": request.param}
    async with asyncpg.create_pool(database, min_size=1, max_size=8, server_settings=settings) as pool:
        tracker = ModelPerformanceTracker(pool, schema=schema)
        await tracker.migrate()
        yield tracker
        await check_pool(pool)


async def test_every_call_works_at_the_hosts_isolation_level(
    strict: ModelPerformanceTracker, host: asyncpg.Connection
) -> None:
    """One caller notices nothing of the level."""
    await make_every_call(strict)
    await check_json(host, strict.schema)


async def test_writers_of_one_deployment_at_the_hosts_isolation_level(strict: ModelPerformanceTracker) -> None:
    """Eight tasks on one deployment: a call that PostgreSQL rolls back too often says so, and its repeat succeeds."""
    ref = make_ref()
    await learn_baseline(strict, ref)

    async def write(task: int) -> None:
        for day in range(BASELINE_DAYS + task, BASELINE_DAYS + 48, 8):
            await _insist(partial(record, strict, make_evaluation(ref, day=day, metrics={"rmse": 30.0})))

    await asyncio.gather(*(write(task) for task in range(8)))
    await check_state(strict, ref, n=BASELINE_DAYS + 48)
    assert await check_alert(strict, ref) == 48


async def test_feeders_of_one_stream_at_the_hosts_isolation_level(strict: ModelPerformanceTracker) -> None:
    """Eight tasks send the same batches, and repeat what PostgreSQL rolls back too often: each value counts once."""
    detector, values = CusumDetector(mean=0.4, sd=0.25, run_length=200_000), stream(600)

    async def feed() -> int:
        watched, new = strict.stream(make_ref(), "error", detector=detector), 0
        for i in range(0, 600, 20):
            batch = values[i : i + 20], range(i, i + 20)
            new += (await _insist(partial(watched.update_many, *batch))).n_new
        return new

    assert sum(await asyncio.gather(*(feed() for _ in range(8)))) == 600
    assert await strict.stream(make_ref(), "error").fetch() == detector.update_many(values, range(600))


async def test_twenty_triggers_at_the_hosts_isolation_level(strict: ModelPerformanceTracker) -> None:
    """Twenty triggers open one run, whatever the level."""
    triggers = await asyncio.gather(
        *(_insist(lambda: strict.trigger_retraining(model_type="baseline")) for _ in range(20))
    )
    assert sum(each.triggered for each in triggers) == 1
    assert len({each.run.id for each in triggers}) == 1


async def test_eight_workers_at_the_hosts_isolation_level(strict: ModelPerformanceTracker) -> None:
    """Eight workers claim each of 24 runs once, whatever the level."""
    for i in range(24):
        await strict.training.open_run(model_type=f"type {i}", machine_id=make_id("press"), now=START)

    async def claim_all(worker: str) -> list[object]:
        claimed: list[object] = []
        while run := await _insist(lambda: strict.training.claim(worker, lease=timedelta(hours=1), now=NOW)):
            claimed.append(run.id)
        return claimed

    claimed = await asyncio.gather(*(claim_all(f"worker {i}") for i in range(8)))
    ids = [run_id for each in claimed for run_id in each]
    assert len(ids) == len(set(ids)) == 24


WRITES: dict[str, Callable[[ModelPerformanceTracker], Awaitable[object]]] = {
    "record": lambda tracker: record(tracker, make_evaluation(day=900)),
    "record_many": lambda tracker: tracker.record_many(make_evaluations([1.0, 2.0], first_day=900)),
    "register_model": lambda tracker: tracker.register_model("baseline", machine="press"),
    "register_model with a label": lambda tracker: tracker.register_model("baseline", version="a"),
    "trigger_retraining": lambda tracker: tracker.trigger_retraining(model_type="new"),
    "claim": lambda tracker: tracker.training.claim("worker", lease=timedelta(hours=1)),
    "cancel": lambda tracker: tracker.training.cancel(RUN),
    "start_ab_test": lambda tracker: tracker.start_ab_test(name="t", model_a=make_ref(), model_b=make_ref(version=2)),
    "stream": lambda tracker: tracker.stream(make_ref(), "new", detector=CusumDetector(mean=0.0, sd=1.0)).update(0.1),
    "rebuild_state": lambda tracker: tracker.rebuild_state(make_ref()),
    "open_or_repeat": lambda tracker: tracker.alerts.open_or_repeat(
        make_ref(), alert_type="own", severity="info", message="look"
    ),
}


@pytest.mark.parametrize("is_bound", [False, True])
async def test_a_read_only_host_is_told_so(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, database: str, is_bound: bool
) -> None:
    """Where transactions are read-only every write is a typed error and writes nothing; reads go on."""
    await make_every_call(tracker)
    before = await count_rows(host, tracker.schema)
    settings = {"default_transaction_read_only": "on"}
    async with asyncpg.create_pool(database, min_size=1, max_size=3, server_settings=settings) as pool:
        reader = ModelPerformanceTracker(pool, schema=tracker.schema)
        async with pool.acquire() as connection, connection.transaction():
            used = reader.bind(connection) if is_bound else reader
            for name, write in WRITES.items():
                with pytest.raises(StorageError, match="read-only") as caught:
                    await write(used)
                assert not caught.value.outcome_unknown, name
                assert isinstance(caught.value.__cause__, asyncpg.ReadOnlySQLTransactionError)
            assert await read_everything(used) == await read_everything(tracker)
        await check_pool(pool)
    assert await count_rows(host, tracker.schema) == before


async def _insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call for as long as its error says that a repeat is safe and that nothing was written."""
    for _ in range(50):
        try:
            return await call()
        except StorageError as error:
            if not error.retry_safe or error.outcome_unknown:
                raise
    raise AssertionError("fifty repeats were not enough")
