"""Calls that hang where a test wants them to, and pools that are well again afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg


@asynccontextmanager
async def locked(host: asyncpg.Connection, table: str) -> AsyncIterator[None]:
    """Whoever writes to *table* waits until the end; readers do not."""
    async with host.transaction():
        await host.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        yield


async def find_waiting(host: asyncpg.Connection) -> int:
    """The pid of the backend that waits for a lock, once there is one."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    for _ in range(2000):
        # In a transaction the list of backends is that of the first look at it: one that connects later is not seen.
        await host.execute("SELECT pg_stat_clear_snapshot()")
        if (pid := await host.fetchval(query)) is not None:
            return int(pid)
        await asyncio.sleep(0.005)
    raise AssertionError("nobody waits for a lock")


async def terminate_waiting(host: asyncpg.Connection) -> None:
    """End the backend that waits for a lock."""
    assert await host.fetchval("SELECT pg_terminate_backend($1)", await find_waiting(host))


async def check_pool(pool: asyncpg.Pool) -> None:
    """Every connection of the pool is idle, outside of a transaction, and works."""
    assert pool.get_idle_size() == pool.get_size()
    async with AsyncExitStack() as stack, asyncio.timeout(10):
        for _ in range(pool.get_max_size()):
            connection = await stack.enter_async_context(pool.acquire())
            assert not connection.is_in_transaction()
            assert await connection.fetchval("SELECT txid_current_if_assigned() IS NULL")
    assert pool.get_idle_size() == pool.get_size() == pool.get_max_size()
