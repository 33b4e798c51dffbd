"""pg_dump and restore: another database goes on where the first one stood."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from tests.factories import make_ref
from tests.faults.every_call import make_every_call, read_everything
from tests.lives import count_all
from tests.servers import KillableServer, with_database
from tests.sql.test_migrate import CATALOGUE
from tests.writers import NOW

from model_perf import ModelPerformanceTracker
from model_perf.sql.migrate import sql

REF = make_ref()

OBJECTS = """
SELECT conname::text, pg_get_constraintdef(c.oid) FROM pg_constraint c
WHERE c.connamespace = 'model_perf'::regnamespace AND c.contype <> 'n'
UNION ALL SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'model_perf'::regnamespace
UNION ALL SELECT tgname::text, pg_get_triggerdef(g.oid) || tgenabled::text FROM pg_trigger g
JOIN pg_class c ON c.oid = g.tgrelid WHERE c.relnamespace = 'model_perf'::regnamespace AND NOT tgisinternal
UNION ALL SELECT proname::text, pg_get_functiondef(p.oid) || (
    SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(coalesce(proacl, acldefault('f', proowner))) a)
FROM pg_proc p
WHERE p.pronamespace = 'model_perf'::regnamespace
UNION ALL SELECT relname::text, concat(
    (SELECT string_agg(a::text, ' ' ORDER BY a::text)
        FROM unnest(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) a),
    reloptions::text)
FROM pg_class
WHERE relnamespace = 'model_perf'::regnamespace
ORDER BY 1, 2
"""


@pytest.fixture
async def dumped(killable_server: KillableServer) -> AsyncIterator[tuple[ModelPerformanceTracker, str]]:
    """A tracker with something of every call, made by the script with roles, and the dsn of an empty database."""
    dsn = killable_server.dsn
    for program in ("pg_dump", "pg_restore"):
        if not (killable_server.binaries / program).exists():
            pytest.skip(f"this PostgreSQL comes without {program}")
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        await pool.execute("CREATE ROLE perf_owner; CREATE ROLE perf_writer; CREATE ROLE perf_reader")
        await pool.execute("GRANT CREATE ON DATABASE postgres TO perf_owner")
        await pool.execute(sql(owner="perf_owner", writer="perf_writer", reader="perf_reader"))
        await pool.execute("CREATE DATABASE restored")
        tracker = ModelPerformanceTracker(pool, clock=lambda: NOW)
        await make_every_call(tracker)
        yield tracker, with_database(dsn, "restored")


def copy(server: KillableServer, *options: str) -> None:
    """Dump the schema as a DBA would, and restore it into the other database."""
    file = server.directory / "model_perf.dump"
    _run(server, "pg_dump", "--schema=model_perf", "--format=custom", f"--file={file}", server.dsn)
    _run(
        server,
        *("pg_restore", "--exit-on-error", *options, f"--dbname={with_database(server.dsn, 'restored')}", str(file)),
    )


def _run(server: KillableServer, program: str, *arguments: str) -> None:
    done = subprocess.run([str(server.binaries / program), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def describe(pool: asyncpg.Pool) -> list[Any]:
    rows = [*await pool.fetch(CATALOGUE, "model_perf"), *await pool.fetch(OBJECTS)]
    return [tuple(map(str, row)) for row in rows]


async def test_a_restored_schema_is_the_same_and_goes_on(
    killable_server: KillableServer, dumped: tuple[ModelPerformanceTracker, str]
) -> None:
    """Tables, constraints, triggers, rights and every row are there; each call works, and the log's numbers go on."""
    tracker, dsn = dumped
    copy(killable_server)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        restored = ModelPerformanceTracker(pool, clock=lambda: NOW)
        assert (await restored.check_schema()).problem is None
        source: Any = tracker.pool
        assert await describe(pool) == await describe(source)
        assert await count_all(pool, "model_perf") == await count_all(source, "model_perf")
        assert await read_everything(restored) == await read_everything(tracker)
        newest = await pool.fetchval("SELECT max(id) FROM model_perf.model_alert_events")
        alert = await restored.alerts.open_or_repeat(REF, alert_type="after", severity="info", message="look")
        await restored.resolve_alert(alert.id, by="ana")
        later = await pool.fetch("SELECT event FROM model_perf.model_alert_events WHERE id > $1 ORDER BY id", newest)
        assert [row["event"] for row in later] == ["opened", "resolved"]
        assert await restored.migrate() == ()


async def test_every_call_works_on_a_restored_schema(
    killable_server: KillableServer, dumped: tuple[ModelPerformanceTracker, str]
) -> None:
    """An empty dump is an installation too: everything is written by every call."""
    tracker, dsn = dumped
    names = await tracker.pool.fetch(  # type: ignore[attr-defined]
        "SELECT tablename FROM pg_tables WHERE schemaname = 'model_perf' AND tablename <> 'schema_migrations'"
    )
    tables = ", ".join(f"model_perf.{row['tablename']}" for row in names)
    await tracker.pool.execute(f"TRUNCATE {tables}")  # type: ignore[attr-defined]
    copy(killable_server)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        await make_every_call(ModelPerformanceTracker(pool, clock=lambda: NOW))


async def test_rows_alone_are_restored_without_their_triggers(
    killable_server: KillableServer, dumped: tuple[ModelPerformanceTracker, str]
) -> None:
    """Into a schema that was migrated: with the triggers disabled, or the alerts would be logged a second time."""
    tracker, dsn = dumped
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        restored = ModelPerformanceTracker(pool, clock=lambda: NOW)
        await restored.migrate()
        await pool.execute("DELETE FROM model_perf.schema_migrations")
        copy(killable_server, "--data-only", "--disable-triggers")
        source: Any = tracker.pool
        assert await count_all(pool, "model_perf") == await count_all(source, "model_perf")
        assert await read_everything(restored) == await read_everything(tracker)
