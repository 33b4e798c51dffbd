from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from tests.servers import (
    KillableServer,
    debian_postgres,
    pgbouncer,
    session_server,
    with_database,
)


async def test_the_session_server_lets_its_superuser_make_databases(server_dsn: str) -> None:
    """The session's dsn is a superuser's."""
    connection = await asyncpg.connect(server_dsn)
    assert await connection.fetchval("SELECT usesuper FROM pg_user WHERE usename = current_user")
    await connection.close()


async def test_each_worker_has_a_database_of_its_own(server_dsn: str, database: str) -> None:
    """The fixture `database` names another database than the server's first."""
    connection = await asyncpg.connect(database)
    name = await connection.fetchval("SELECT current_database()")
    await connection.close()
    assert name.startswith("model_perf_")
    assert database == with_database(server_dsn, name)


async def test_a_schema_is_new_for_every_test(pool: asyncpg.Pool, schema: str) -> None:
    """The fixture `schema` gives a name that nothing in the database has."""
    assert await pool.fetchval("SELECT to_regnamespace($1)", schema) is None


def test_a_given_server_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With MODEL_PERF_TEST_DSN no server is started."""
    monkeypatch.setenv("MODEL_PERF_TEST_DSN", "postgresql://db.example/postgres")
    with session_server() as dsn:
        assert dsn == "postgresql://db.example/postgres"


async def test_a_killed_server_keeps_what_it_acknowledged(killable_server: KillableServer) -> None:
    """A row that was committed before SIGKILL is there after the restart."""
    connection = await asyncpg.connect(killable_server.dsn)
    await connection.execute("CREATE TABLE t AS SELECT 42 AS answer")
    killable_server.kill()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT answer FROM t")
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncpg.connect(killable_server.dsn)

    killable_server.restart()

    connection = await asyncpg.connect(killable_server.dsn)
    assert await connection.fetchval("SELECT answer FROM t") == 42
    assert "was not properly shut down" in killable_server.log
    await connection.close()


async def test_a_server_stopped_in_good_order_recovers_nothing(killable_server: KillableServer) -> None:
    """`restart` without `kill` is a clean shutdown."""
    killable_server.restart()
    connection = await asyncpg.connect(killable_server.dsn)
    await connection.close()
    assert "was not properly shut down" not in killable_server.log


def test_a_closed_server_leaves_nothing() -> None:
    """`close` ends the processes and deletes the directory."""
    with KillableServer() as server:
        pid = server.pid
    assert not server.directory.exists()
    assert not Path(f"/proc/{pid}").exists()


async def test_settings_reach_the_server() -> None:
    """`settings` are the server's parameters."""
    with KillableServer(settings={"max_connections": "7"}) as server:
        connection = await asyncpg.connect(server.dsn)
        assert await connection.fetchval("SHOW max_connections") == "7"
        await connection.close()


async def test_debians_server_is_the_distributions() -> None:
    """`debian_postgres` runs the version of the directory that its binaries lie in."""
    with debian_postgres() as server:
        connection = await asyncpg.connect(server.dsn)
        assert connection.get_server_version().major == int(server.binaries.parent.name)
        await connection.close()


async def test_pgbouncer_shares_one_backend_between_transactions(database: str) -> None:
    """In transaction mode with a pool of one, two clients meet on the same backend."""
    with pgbouncer(database, pool_size=1) as dsn:
        clients = [await asyncpg.connect(dsn, statement_cache_size=0) for _ in range(2)]
        pids = {await client.fetchval("SELECT pg_backend_pid()") for client in clients}
        name = await clients[0].fetchval("SELECT current_database()")
        for client in clients:
            await client.close()
    assert len(pids) == 1
    assert database == with_database(database, name)


async def test_pgbouncer_stands_before_a_server_on_a_port(killable_server: KillableServer) -> None:
    """The pooler reaches a server by TCP too, and survives its restart."""
    with pgbouncer(killable_server.dsn) as dsn:
        first = await asyncpg.connect(dsn, statement_cache_size=0)
        before = await first.fetchval("SELECT pg_postmaster_start_time()")
        await first.close()
        killable_server.kill()
        killable_server.restart()
        async with asyncio.timeout(30):
            second = await asyncpg.connect(dsn, statement_cache_size=0)
            assert await second.fetchval("SELECT pg_postmaster_start_time()") > before
            await second.close()
