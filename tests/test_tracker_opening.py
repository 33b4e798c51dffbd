"""How a tracker comes to its connections: own pool, the host's, one that is born later, embedded, bound."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from tests.factories import START, make_evaluation, make_ref
from tests.repos.contents import count_rows

from model_perf import Evaluation, InvalidInputError, ModelPerformanceTracker, SchemaError, StorageError


async def record(tracker: ModelPerformanceTracker, evaluation: Evaluation | None = None) -> None:
    e = make_evaluation() if evaluation is None else evaluation
    await tracker.record(e.ref, evaluation_start=e.evaluation_start, evaluation_end=e.evaluation_end, metrics=e.metrics)


async def test_connect_with_async_with(database: str, schema: str) -> None:
    """The pool is open inside the block and closed after it."""
    async with ModelPerformanceTracker.connect(database, schema=schema) as tracker:
        assert tracker.schema == schema
        await tracker.migrate()
        await record(tracker)
        pool = tracker.pool
    with pytest.raises(asyncpg.InterfaceError):
        async with pool.acquire():
            pass
    with pytest.raises(StorageError):
        await record(tracker)


async def test_connect_with_await(database: str, schema: str) -> None:
    """Awaited, it is open until close(); a second close does nothing."""
    tracker = await ModelPerformanceTracker.connect(database, schema=schema)
    await tracker.migrate()
    await record(tracker)
    await tracker.close()
    await tracker.close()


async def test_connect_never_migrates(database: str, pool: asyncpg.Pool, schema: str) -> None:
    """Neither connect() nor the constructor makes anything in the database."""
    async with ModelPerformanceTracker.connect(database, schema=schema) as tracker:
        with pytest.raises(SchemaError, match="model-perf migrate"):
            await record(tracker)
    with pytest.raises(SchemaError):
        await record(ModelPerformanceTracker(pool, schema=schema))
    assert await pool.fetchval("SELECT to_regnamespace($1)", schema) is None


UNREACHABLE = ["postgresql://postgres@127.0.0.1:1/x", "postgresql:///x?host=/nowhere"]


@pytest.mark.parametrize("dsn", UNREACHABLE)
async def test_an_unreachable_server_is_a_storage_error(dsn: str) -> None:
    """A server that is not there is a `StorageError` with the driver's error as its cause."""
    with pytest.raises(StorageError) as failed:
        await ModelPerformanceTracker.connect(dsn)
    assert failed.value.__cause__ is not None
    assert failed.value.retry_safe


async def test_an_unknown_database_is_a_storage_error(database: str) -> None:
    """A database that does not exist is a `StorageError`."""
    with pytest.raises(StorageError):
        await ModelPerformanceTracker.connect(database.replace("/model_perf_", "/no_such_", 1))


async def test_a_bad_option_leaves_no_pool_open(database: str) -> None:
    """Options are checked, and what was opened for them is closed again."""
    with pytest.raises(ValueError, match="schema"):
        await ModelPerformanceTracker.connect(database, schema='a"b')


@pytest.mark.parametrize(
    ("argument", "value"),
    [("policy", {"baseline_min": 8}), ("policy", "default"), ("clock", None), ("clock", START), ("schema", 5)],
)
def test_options_of_another_kind_are_refused(argument: str, value: object) -> None:
    """At once and by name, not at the first evaluation."""
    with pytest.raises(InvalidInputError) as refused:
        ModelPerformanceTracker(lambda: None, **{argument: value})  # type: ignore[arg-type, return-value]
    assert refused.value.argument == argument


@pytest.mark.parametrize("dsn", ["", " ", 5, b"postgresql://x"])
async def test_a_dsn_that_is_no_text_is_refused(dsn: Any) -> None:
    """An empty one, as of a variable that is not set, does not lead to whatever server libpq's defaults name."""
    with pytest.raises(InvalidInputError) as refused:
        await ModelPerformanceTracker.connect(dsn)
    assert refused.value.argument == "dsn"


async def test_a_pool_that_is_born_later(pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> None:
    """A function is asked at each call: before the pool's birth it is a `StorageError` that says how to mend it."""
    state: dict[str, Any] = {}
    late = ModelPerformanceTracker(lambda: state.get("pool"), schema=tracker.schema)  # type: ignore[arg-type, return-value]
    with pytest.raises(StorageError, match="lambda"):
        await record(late)
    state["pool"] = pool
    await record(late)
    assert late.pool is pool


async def test_an_attribute_that_is_set_later(pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> None:
    """``lambda: app.state.pool`` before the lifespan has set it is that same error."""
    state = SimpleNamespace()
    late = ModelPerformanceTracker(lambda: state.pool, schema=tracker.schema)
    with pytest.raises(StorageError, match="lambda"):
        await record(late)
    state.pool = pool
    await record(late)


async def test_no_pool_at_all(schema: str) -> None:
    """None where a pool was meant is the same error, at the first use."""
    with pytest.raises(StorageError, match="lambda"):
        await record(ModelPerformanceTracker(None, schema=schema))  # type: ignore[arg-type]


async def test_bind_is_the_hosts_transaction(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """What a bound tracker writes is gone with the host's rollback and there with its commit."""
    for is_committed in (False, True):
        async with pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await record(tracker.bind(connection))
            await (transaction.commit() if is_committed else transaction.rollback())
        assert await count_rows(pool, tracker.schema, "model_performance_metrics") == is_committed


async def test_our_failure_leaves_the_hosts_transaction_usable(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """A refused call is rolled back to its savepoint; what the host wrote before it stays."""
    async with pool.acquire() as connection, connection.transaction():
        bound = tracker.bind(connection)
        await record(bound)
        with pytest.raises(Exception, match="model_type"):
            await record(bound, make_evaluation(make_ref(model_type="other", version=2)))
        await record(bound, make_evaluation(day=1))
    assert await count_rows(pool, tracker.schema, "model_performance_metrics") == 2


async def test_bind_needs_a_transaction(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Outside a transaction bind() refuses, since nothing would be atomic."""
    async with pool.acquire() as connection:
        with pytest.raises(StorageError, match="transaction"):
            tracker.bind(connection)
        async with connection.transaction():
            assert tracker.bind(connection).schema == tracker.schema


async def test_embedded_is_a_migrated_database() -> None:
    """embedded() gives a tracker that works at once, and its directory is gone afterwards."""
    async with ModelPerformanceTracker.embedded(schema="My Schema") as tracker:
        await record(tracker)
        async with tracker.pool.acquire() as connection:
            directory = await connection.fetchval("SELECT current_setting('data_directory')")
        assert (await tracker.check_schema()).pending == ()
    assert not await asyncio.to_thread(os.path.exists, directory)


NAMES = [
    "My Schema",
    "a.b",
    "Größe ☃",
    "it's",
    "select",
    "back\\slash",
    "{schema}",
    "%s",
    "a;b--",
    "a$b",
    "$$",
    "A" * 63,
]


@pytest.mark.parametrize("name", NAMES)
async def test_any_schema_name_without_quotes(pool: asyncpg.Pool, name: str) -> None:
    """Every path of the library works in a schema of any such name, and no other schema is touched."""
    tracker = ModelPerformanceTracker(pool, schema=name)
    before = await pool.fetchval("SELECT count(*) FROM pg_namespace")
    try:
        await tracker.migrate()
        assert await pool.fetchval("SELECT count(*) FROM pg_namespace") == before + 1
        await record(tracker)
        for _ in range(2):
            await tracker.record_many([make_evaluation(day=1), make_evaluation(day=2)])
        assert len(await tracker.judge(make_ref())) == 2
        await tracker.trigger_retraining(model_type="baseline")
        await tracker.alerts.open_or_repeat(make_ref(), alert_type="x", severity="info", message="m", now=START)
        assert len((await tracker.metrics.list_latest()).items) == 1
    finally:
        await pool.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
