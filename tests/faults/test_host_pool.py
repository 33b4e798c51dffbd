"""The host's pool afterwards is as it was found."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from tests.factories import make_evaluation, make_evaluations
from tests.faults.every_call import make_every_call
from tests.faults.waits import check_pool, find_waiting, locked
from tests.writers import record

from model_perf import ConflictError, InvalidInputError, ModelPerformanceTracker, SchemaError

SIZE = 4
# Values that nobody has by default, so that a SET or RESET of ours would show.
SETTINGS = {
    "application_name": "host_of_model_perf",
    "search_path": "pg_catalog",
    "TimeZone": "Asia/Kolkata",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-5",
    "lock_timeout": "7777ms",
    "statement_timeout": "8888ms",
    "default_transaction_isolation": "repeatable read",
    "work_mem": "7777kB",
    "jit": "on",
}
# A language shows its settings once one of its functions has run (our trigger's is PL/pgSQL). What begins with
# transaction_ is set at the start of each; only the note of who set it last stays.
SETTINGS_OF_THE_SESSION = """
SELECT name, setting, CASE WHEN name NOT LIKE 'transaction\\_%' THEN source END FROM pg_settings
WHERE name NOT LIKE 'plpgsql.%' ORDER BY name
"""
LEFT_BEHIND = """
SELECT 'listening to ' || pg_listening_channels()
UNION ALL SELECT 'temporary ' || relname FROM pg_class WHERE relpersistence = 't' AND relnamespace = pg_my_temp_schema()
UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE statement NOT LIKE '%pg_cursors%'
UNION ALL SELECT 'advisory lock ' || objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'transaction' WHERE txid_current_if_assigned() > 0
"""


async def test_the_pool_is_left_as_it_was_found(
    database: str, schema: str, host: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every call, refused, failed and cancelled ones too, each connection has the state that it had before."""
    calls = _spy_on_codecs(monkeypatch)
    async with asyncpg.create_pool(database, min_size=SIZE, max_size=SIZE, server_settings=SETTINGS) as pool:
        before, n_before = await _look(pool), await _count(host)
        calls.clear()
        tracker = ModelPerformanceTracker(pool, schema=schema)
        await tracker.migrate()
        await make_every_call(tracker)
        await _fail_in_several_ways(tracker, host)
        await check_pool(pool)

        assert await _look(pool) == before
        assert await _count(host) == n_before == SIZE
        assert pool.get_size() == pool.get_idle_size() == SIZE
        assert calls == []


async def test_no_statement_depends_on_the_search_path(database: str, schema: str) -> None:
    """Every call works where search_path leads nowhere, and none of our names appears in another schema."""
    settings = {"search_path": "nowhere"}
    async with asyncpg.create_pool(database, min_size=1, max_size=2, server_settings=settings) as pool:
        tracker = ModelPerformanceTracker(pool, schema=schema)
        await tracker.migrate()
        await make_every_call(tracker)
        elsewhere = (
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = ANY(ARRAY['public', 'nowhere']) AND relname LIKE 'model%'"
        )
        assert await pool.fetchval(elsewhere) == 0


async def _fail_in_several_ways(tracker: ModelPerformanceTracker, host: asyncpg.Connection) -> None:
    with pytest.raises(ConflictError):
        await record(tracker, make_evaluation(day=40, metrics={"rmse": 1.0}))
    with pytest.raises(ConflictError):
        await tracker.record_many([make_evaluation(day=40, metrics={"rmse": 1.0})])
    with pytest.raises(InvalidInputError):
        await tracker.record_many({"rmse": [1.0]})
    with pytest.raises(SchemaError):
        await ModelPerformanceTracker(tracker.pool, schema="nowhere").active_alerts()
    for call in (record(tracker, make_evaluation(day=50)), tracker.record_many(make_evaluations([1.0], first_day=51))):
        async with locked(host, f"{tracker.schema}.model_performance_metrics"):
            task = asyncio.ensure_future(call)
            await find_waiting(host)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _look(pool: asyncpg.Pool) -> dict[int, Any]:
    """By backend: its settings, what it has left behind, and what asyncpg knows of the connection."""
    found = {}
    async with AsyncExitStack() as stack:
        for _ in range(SIZE):
            connection = await stack.enter_async_context(pool.acquire())
            settings = await connection.fetch(SETTINGS_OF_THE_SESSION)
            plain = connection._con
            found[connection.get_server_pid()] = (
                [tuple(row) for row in settings],
                [row[0] for row in await connection.fetch(LEFT_BEHIND)],
                [plain._listeners, plain._log_listeners, plain._termination_listeners, plain._query_loggers],
            )
    return found


async def _count(host: asyncpg.Connection) -> int:
    """Connections of the host's application; asyncpg's own for a cancel request end by themselves."""
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
    return int(await host.fetchval(count, SETTINGS["application_name"]))


def _spy_on_codecs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the methods called that ask the server for types, or change how they are read."""
    calls: list[str] = []
    for name in ("_introspect_types", "set_type_codec", "set_builtin_type_codec", "reload_schema_state"):
        monkeypatch.setattr(asyncpg.Connection, name, _noting(name, getattr(asyncpg.Connection, name), calls))
    return calls


def _noting(name: str, method: Any, calls: list[str]) -> Any:
    def noted(*args: Any, **options: Any) -> Any:
        calls.append(name)
        return method(*args, **options)

    return noted
