"""Migrations on a real server: races, rights, foreign tables, newer versions."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
from tests.test_roles import until

from model_perf.errors import SchemaError, StorageError
from model_perf.sql import load_migrations
from model_perf.sql import migrate as migrating
from model_perf.sql.migrate import check, migrate, read_status, sql

VERSIONS = tuple(migration.version for migration in load_migrations())

CATALOGUE = """
SELECT c.relname, c.relkind::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), pg_get_viewdef(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname = $1 ORDER BY 1, 3
"""


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@pytest.fixture
async def role(connection: asyncpg.Connection, database: str) -> AsyncIterator[str]:
    """A role that may connect and nothing else."""
    name = f"role_{uuid4().hex[:8]}"
    await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    yield name
    await connection.execute(f"DROP OWNED BY {name} CASCADE")
    await connection.execute(f"DROP ROLE {name}")


async def relations(connection: asyncpg.Connection, schema: str) -> set[str]:
    rows = await connection.fetch(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND relkind IN ('r', 'v')",
        schema,
    )
    return {row["relname"] for row in rows}


async def test_migrate_makes_the_tables_and_views(connection: asyncpg.Connection, schema: str) -> None:
    """A migrated schema has the five tables of the contract's names and more, and the three views."""
    assert await migrate(connection, schema) == VERSIONS
    assert await relations(connection, schema) == {
        *("models", "model_performance_metrics", "model_drift_state", "model_training_history"),
        *("model_ab_tests", "model_alerts", "model_reference_profiles", "model_drift_reports", "schema_migrations"),
        *("model_ab_moments", "model_ab_batches", "model_ab_looks"),
        *(
            "model_alert_events",
            "model_notifications",
            "model_notification_channels",
            "model_workers",
            "model_champions",
            "model_automation",
        ),
        *("v_latest_model_performance", "v_active_ab_tests", "v_unresolved_model_alerts"),
    }


async def test_migrate_twice_applies_nothing(connection: asyncpg.Connection, schema: str) -> None:
    """The second call finds nothing pending."""
    await migrate(connection, schema)
    assert await migrate(connection, schema) == ()
    assert (await check(connection, schema)).pending == ()


async def test_eight_racing_processes_all_succeed(database: str, schema: str) -> None:
    """Of eight processes that migrate one schema at once, one does the work and none fails."""
    program = (
        "import asyncio, asyncpg, sys\n"
        "from model_perf.sql.migrate import migrate\n"
        "async def main():\n"
        "    connection = await asyncpg.connect(sys.argv[1])\n"
        "    print(len(await migrate(connection, sys.argv[2])))\n"
        "    await connection.close()\n"
        "asyncio.run(main())\n"
    )
    racers = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, database, schema), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(8)
    ]
    outputs = [await racer.communicate() for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 8, outputs
    assert sum(int(out) for out, _ in outputs) == len(VERSIONS)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE {schema}.model_alerts (id int)",
        "CREATE VIEW {schema}.v_active_ab_tests AS SELECT 1 AS x",
        "CREATE TABLE {schema}.schema_migrations (version bigint)",
    ],
)
async def test_a_foreign_relation_is_named_and_left_alone(
    connection: asyncpg.Connection, schema: str, statement: str
) -> None:
    """A table or view of our name that is not ours stops the migration before anything is made."""
    await connection.execute(f"CREATE SCHEMA {schema}")
    await connection.execute(statement.format(schema=schema))
    before = await relations(connection, schema)
    (name,) = before
    with pytest.raises(SchemaError, match=name):
        await migrate(connection, schema)
    assert await relations(connection, schema) == before


async def test_works_in_a_schema_made_by_a_dba(
    connection: asyncpg.Connection, database: str, schema: str, role: str
) -> None:
    """A role without CREATE on the database migrates a schema that was made for it."""
    await connection.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {role}")
    own = await asyncpg.connect(database, user=role, password="secret")
    try:
        assert await migrate(own, schema) == VERSIONS
    finally:
        await own.close()


async def test_a_role_without_rights_is_told_what_to_do(
    connection: asyncpg.Connection, database: str, schema: str, role: str
) -> None:
    """Without the right to create, the error names the script for a DBA, and nothing is there."""
    own = await asyncpg.connect(database, user=role, password="secret")
    try:
        with pytest.raises(SchemaError, match="--sql"):
            await migrate(own, schema)
    finally:
        await own.close()
    assert await relations(connection, schema) == set()


async def test_script_gives_the_same_catalogue(connection: asyncpg.Connection, schema: str) -> None:
    """The DBA's script and migrate() make the same tables, columns, defaults and views."""
    await migrate(connection, schema)
    other = f"{schema}_sql"
    try:
        await connection.execute(sql(other))
        made, scripted = await connection.fetch(CATALOGUE, schema), await connection.fetch(CATALOGUE, other)
        strip = [tuple(str(value).replace(other, schema) for value in row) for row in scripted]
        assert strip == [tuple(map(str, row)) for row in made]
        assert (await check(connection, other)).applied == VERSIONS
    finally:
        await connection.execute(f"DROP SCHEMA IF EXISTS {other} CASCADE")


async def test_upgrade_from_each_version_equals_a_fresh_install(connection: asyncpg.Connection, schema: str) -> None:
    """A schema at any earlier version ends like a new one."""
    await migrate(connection, schema)
    fresh = [tuple(map(str, row)) for row in await connection.fetch(CATALOGUE, schema)]
    for version in VERSIONS[:-1]:
        await connection.execute(f"DROP SCHEMA {schema} CASCADE")
        script = sql(schema)
        later = [migration for migration in load_migrations() if migration.version > version]
        for migration in later:
            script = script.replace(migration.render(schema).strip(), "")
            script = "\n\n".join(part for part in script.split("\n\n") if f"VALUES ({migration.version}," not in part)
        await connection.execute(script)
        assert await migrate(connection, schema) == tuple(migration.version for migration in later)
        assert [tuple(map(str, row)) for row in await connection.fetch(CATALOGUE, schema)] == fresh


async def test_a_script_does_not_queue_the_host_behind_a_locked_table(
    pool: asyncpg.Pool, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody reads alerts in a long transaction: the upgrade gives up instead of waiting, and changes nothing."""
    monkeypatch.setattr(migrating, "LOCK_TIMEOUT_S", 0.2)
    await pool.execute(until(4, sql(schema)))
    async with pool.acquire() as reader, reader.transaction():
        await reader.fetch(f"SELECT FROM {schema}.model_alerts")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await asyncio.wait_for(pool.execute(sql(schema, since=4)), 20)
    async with pool.acquire() as connection:
        assert (await read_status(connection, schema)).applied == (1, 2, 3, 4)
        await connection.execute(sql(schema, since=4))


async def test_a_migration_that_gave_up_says_what_is_applied(
    pool: asyncpg.Pool, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From version 3, with alerts in use: 4 is applied, 5 is not, and the next call goes on there."""
    monkeypatch.setattr(migrating, "LOCK_TIMEOUT_S", 0.2)
    await pool.execute(until(3, sql(schema)))
    async with pool.acquire() as connection:
        async with pool.acquire() as reader, reader.transaction():
            await reader.fetch(f"SELECT FROM {schema}.model_alerts")
            with pytest.raises(StorageError, match=r"migration 5 gave up.*those before it are applied") as gave_up:
                await migrate(connection, schema)
        assert gave_up.value.retry_safe
        assert (await read_status(connection, schema)).applied == (1, 2, 3, 4)
        assert await migrate(connection, schema) == (5,)


async def test_a_newer_breaking_version_is_refused(connection: asyncpg.Connection, schema: str) -> None:
    """A schema that a newer, breaking version migrated is not worked on."""
    await migrate(connection, schema)
    row = f"INSERT INTO {schema}.schema_migrations (version, name, sha256, breaking) VALUES "
    await connection.execute(f"{row} (9000, 'add_column', 'x', false)")
    assert (await check(connection, schema)).newer == (9000,)
    await connection.execute(f"{row} (9001, 'split_table', 'x', true)")
    with pytest.raises(SchemaError, match=r"9001.*upgrade"):
        await check(connection, schema)
    with pytest.raises(SchemaError, match=r"9001.*upgrade"):
        await migrate(connection, schema)


async def test_an_edited_migration_is_noticed(connection: asyncpg.Connection, schema: str) -> None:
    """A migration whose text differs from the applied one is an error, not a guess."""
    await migrate(connection, schema)
    await connection.execute(f"UPDATE {schema}.schema_migrations SET sha256 = 'edited' WHERE version = 1")
    with pytest.raises(SchemaError, match="migration 1"):
        await check(connection, schema)


async def test_an_unmigrated_database_is_told_the_command(connection: asyncpg.Connection, schema: str) -> None:
    """Where nothing was migrated, the error says which command does it."""
    assert (await read_status(connection, schema)).applied == ()
    with pytest.raises(SchemaError, match="model-perf migrate"):
        await check(connection, schema)


async def test_migrate_works_under_read_only_default(connection: asyncpg.Connection, schema: str) -> None:
    """A session whose transactions are read-only by default does not stop the migration."""
    await connection.execute("SET default_transaction_read_only = on")
    assert await migrate(connection, schema) == VERSIONS


async def test_script_grants_what_writer_and_reader_need(
    connection: asyncpg.Connection, database: str, schema: str, role: str
) -> None:
    """The reader of the script sees the boards and may not write."""
    await connection.execute(sql(schema, reader=role))
    reader = await asyncpg.connect(database, user=role, password="secret")
    try:
        assert await reader.fetch(f"SELECT * FROM {schema}.v_unresolved_model_alerts") == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute(f"DELETE FROM {schema}.models")
    finally:
        await reader.close()


def test_migrations_never_say_if_not_exists() -> None:
    """A table that is there already must be noticed, never taken over."""
    assert all("IF NOT EXISTS" not in migration.text.upper() for migration in load_migrations())
