"""The session's server, a database for each worker, a schema for each test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from tests.earlier_installation import create_earlier
from tests.factories import Clock
from tests.servers import KillableServer, session_server, with_database

from model_perf import ModelPerformanceTracker

_SERVER_FIXTURES = {"server_dsn", "killable_server"}
_WEB = Path(__file__).parent / "web"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "database: needs a PostgreSQL server; set by itself on tests that use one")
    config.addinivalue_line("markers", "web: of the HTTP API; set by itself on the tests in tests/web")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _SERVER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("database")
        if item.path.is_relative_to(_WEB):
            item.add_marker("web")
    if "long" not in config.option.markexpr:
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """The superuser's dsn of the session's server."""
    with session_server() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def database(server_dsn: str) -> Iterator[str]:
    """The dsn of this worker's own database."""
    name = f"model_perf_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{uuid4().hex[:8]}"
    _run(_execute(server_dsn, f"CREATE DATABASE {name}"))
    yield with_database(server_dsn, name)
    _run(_execute(server_dsn, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def migrated_database(database: str) -> str:
    """The same database, with the tables in the default schema; for tests that commit nothing."""
    _run(_migrate(database))
    return database


@pytest.fixture
async def connection(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection inside a transaction that is rolled back."""
    connection = await asyncpg.connect(migrated_database)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    """A host's pool, as asyncpg makes it."""
    pool = await asyncpg.create_pool(database, min_size=1, max_size=10)
    yield pool
    try:
        await asyncio.wait_for(pool.close(), 10)
    except TimeoutError:
        pool.terminate()
        pytest.fail("the test left a connection of the pool in use")


@pytest.fixture
async def schema(database: str) -> AsyncIterator[str]:
    """The name of a schema that does not exist yet; dropped at the end."""
    name = f"test_{uuid4().hex[:12]}"
    yield name
    await _execute(database, "SET lock_timeout = '10s'", f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
async def tracker(schema: str, pool: asyncpg.Pool) -> ModelPerformanceTracker:
    """A tracker on the test's own migrated schema."""
    tracker = ModelPerformanceTracker(pool, schema=schema)
    await tracker.migrate()
    return tracker


@pytest.fixture
def clock() -> Clock:
    """The time of `timed`, which a test moves on."""
    return Clock()


@pytest.fixture
def timed(pool: asyncpg.Pool, tracker: ModelPerformanceTracker, clock: Clock) -> ModelPerformanceTracker:
    """The tracker with the test's own time."""
    return ModelPerformanceTracker(pool, schema=tracker.schema, clock=clock)


@pytest.fixture
async def earlier(database: str, pool: asyncpg.Pool) -> AsyncIterator[str]:
    """The schema of an earlier installation with its rows; dropped at the end."""
    name = f"earlier_{uuid4().hex[:12]}"
    await create_earlier(pool, name)
    yield name
    await _execute(database, "SET lock_timeout = '10s'", f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def killable_server() -> Iterator[KillableServer]:
    """A server of the test's own, to be killed."""
    with KillableServer() as server:
        yield server


async def _execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _migrate(dsn: str) -> None:
    async with ModelPerformanceTracker.connect(dsn) as tracker:
        await tracker.migrate()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in a loop of its own: a session's fixture belongs to no test's loop."""
    with ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, work).result()
