"""What all benchmarks share: a database of their own, a tracker in a schema of its own, facts on the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from uuid import uuid4

import asyncpg
from attrs import frozen
from tests.servers import with_database

from model_perf import ModelPerformanceTracker
from model_perf.repos._executor import utc_now


@frozen(kw_only=True)
class Setting:
    """Where the benchmarks run: a database of their own, quick or in full."""

    dsn: str
    quick: bool
    say: Callable[[str], None]

    @asynccontextmanager
    async def tracker(
        self, schema: str, clock: Callable[[], datetime] = utc_now
    ) -> AsyncIterator[ModelPerformanceTracker]:
        """A migrated schema, dropped at the end; acknowledged means durable."""
        async with asyncpg.create_pool(
            self.dsn, min_size=1, max_size=4, server_settings={"synchronous_commit": "on"}
        ) as pool:
            tracker = ModelPerformanceTracker(pool, schema=schema, clock=clock)
            await tracker.migrate()
            try:
                yield tracker
            finally:
                await pool.execute(f"DROP SCHEMA {schema} CASCADE")


@asynccontextmanager
async def own_database(dsn: str) -> AsyncIterator[str]:
    """The dsn of a new database on the server, dropped at the end."""
    name = f"model_perf_bench_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        try:
            yield with_database(dsn, name)
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


async def machine_facts(dsn: str) -> str:
    """What the figures depend on."""
    connection = await asyncpg.connect(dsn)
    try:
        server = await connection.fetchval("SHOW server_version")
        settings = [
            f"{name}={await connection.fetchval(f'SHOW {name}')}"
            for name in ("synchronous_commit", "fsync", "shared_buffers")
        ]
    finally:
        await connection.close()
    packages = ", ".join(f"{name} {_version(name)}" for name in ("numpy", "asyncpg", "mlflow-skinny"))
    return (
        f"{os.cpu_count()} cores (load {os.getloadavg()[0]:.1f}), {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {packages}\nPostgreSQL {server}, {', '.join(settings)}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
