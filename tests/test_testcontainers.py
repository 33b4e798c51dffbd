"""The second way to a test server; the only tests that are skipped where their tool is missing in CI."""

from __future__ import annotations

import asyncpg
import pytest
from tests.servers import TEST_DSN, docker_answers, postgres_container, session_server

pytestmark = pytest.mark.skipif(not docker_answers(), reason="no Docker engine answers")


async def test_a_container_takes_connections() -> None:
    """The dsn of the container is a superuser's."""
    with postgres_container() as dsn:
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SELECT usesuper FROM pg_user WHERE usename = current_user")
        await connection.close()


async def test_a_session_without_a_given_server_runs_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an engine answers and no dsn is given, the session's server listens on a port, not on a socket's path."""
    monkeypatch.delenv(TEST_DSN, raising=False)
    with session_server() as dsn:
        assert "host=/" not in dsn
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
