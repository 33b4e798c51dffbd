"""Hosts set codecs on their pools' connections; ours must neither rely on them nor stumble over them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.faults.every_call import (
    NOT_ON_A_HOSTS_POOL,
    calls_noted,
    check_json,
    find_public_calls,
    make_every_call,
    read_everything,
)

from model_perf import ModelPerformanceTracker

Init = Callable[[asyncpg.Connection], Awaitable[None]]


async def set_json(connection: asyncpg.Connection, name: str = "json") -> None:
    await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def set_jsonb(connection: asyncpg.Connection) -> None:
    await set_json(connection, "jsonb")


async def set_binary_jsonb(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: b"\x01" + json.dumps(value).encode(),
        decoder=lambda data: json.loads(data[1:]),
        schema="pg_catalog",
        format="binary",
    )


async def set_uuid(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("uuid", encoder=str, decoder=str, schema="pg_catalog")


async def set_all(connection: asyncpg.Connection) -> None:
    await set_json(connection)
    await set_jsonb(connection)
    await set_uuid(connection)


HOSTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "jsonb": {"init": set_jsonb},
    "binary jsonb": {"init": set_binary_jsonb},
    "json": {"init": set_json},
    "uuid": {"init": set_uuid},
    "no statement cache": {"statement_cache_size": 0},
    "all": {"init": set_all, "statement_cache_size": 0},
}


@pytest.mark.parametrize("host", HOSTS)
async def test_every_call_works_on_the_hosts_pool(database: str, schema: str, pool: asyncpg.Pool, host: str) -> None:
    """All calls work, jsonb columns hold objects, and the answers are those that a plain pool gives."""
    async with asyncpg.create_pool(database, min_size=1, max_size=3, **HOSTS[host]) as own:
        tracker = ModelPerformanceTracker(own, schema=schema)
        await tracker.migrate()
        await make_every_call(tracker)
        answers = await read_everything(tracker)
    async with pool.acquire() as connection:
        # 10 of the columns; the others are metadata that no call of ours fills.
        assert await check_json(connection, schema) >= 10
    assert answers == await read_everything(ModelPerformanceTracker(pool, schema=schema))
    assert {type(point.id) for point in answers["points"]} <= {UUID, asyncpg.pgproto.pgproto.UUID}


async def test_every_call_is_made(tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of this folder that make every call leave out no public method."""
    with calls_noted(monkeypatch) as called:
        await tracker.migrate()
        await make_every_call(tracker)
    assert called == find_public_calls() - NOT_ON_A_HOSTS_POOL
