"""An earlier installation: its rows into our tables, and views in the place of its tables."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import asyncpg
from attrs import frozen

from model_perf.errors import ConflictError
from model_perf.repos._earlier_replacing import lock, put_views
from model_perf.repos._earlier_source import Source, open_source
from model_perf.repos._executor import Executor
from model_perf.sql import load_queries
from model_perf.sql._connection import Connection

T = TypeVar("T")
NewRows = Sequence[Mapping[str, Any]]

_INSERTS = {
    "model_performance_metrics": "insert_evaluations",
    "model_training_history": "insert_training_runs",
    "model_ab_tests": "insert_tests",
    "model_alerts": "insert_alerts",
}
_PROBED = 10
"""Rows of an import's first batch that are looked for under another date: a probe of the key each."""

_REFUSALS = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)
_MEANINGS = {
    "models_one_type_per_model": "the model_id is known with another model_type",
    "model_performance_metrics_window": "evaluation_end is not after evaluation_start",
    "model_ab_tests_one_running": "another test runs for this machine and model type",
    "model_ab_tests_two_models": "both arms are the same version of the same model",
    "model_ab_tests_window": "test_end is not after test_start",
    "model_alerts_resolved": "is_resolved and resolved_at contradict each other",
}


@frozen(kw_only=True)
class Written:
    """What became of a batch: rows that are new, and (id, reason) of those that were refused."""

    n_imported: int
    rejected: tuple[tuple[str, str], ...] = ()


class _Undone(Exception):  # noqa: N818, it carries an answer out of a transaction
    def __init__(self, answer: object) -> None:
        self.answer = answer


class EarlierRepo:
    """Reads an earlier installation on a connection of its own and writes our tables on another."""

    def __init__(self, executor: Executor, writer: Executor | None = None) -> None:
        self._executor = executor
        self._writer = executor if writer is None else writer
        self._queries = load_queries("earlier", executor.schema)

    @property
    def schema(self) -> str:
        return self._executor.schema

    async def rehearse(self, work: Callable[[EarlierRepo], Awaitable[T]]) -> T:
        """The answer of *work*, whose writes are undone."""

        async def undo(connection: Connection) -> None:
            raise _Undone(await work(EarlierRepo(self._executor, self._executor.nest(connection))))

        try:
            await self._executor.run(undo, transaction=True)
        except _Undone as undone:
            return undone.answer  # type: ignore[return-value]
        raise AssertionError("unreachable")

    async def read(self, schema: str, work: Callable[[Source], Awaitable[None]]) -> None:
        """Do *work* on the earlier installation in *schema*, seen as it is at one moment; nothing can be written."""

        async def read_only(connection: Connection) -> None:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await work(await open_source(connection, schema, self._queries["list_tables"]))

        await self._executor.run_unchecked(read_only)

    async def replace(
        self, schema: str, time_zone: str, copy_rest: Callable[[EarlierRepo, Source], Awaitable[None]]
    ) -> tuple[str, ...]:
        """Put views in the place of the tables, after *copy_rest* has brought in what came since; all or nothing."""

        async def lock_copy_replace(connection: Connection) -> tuple[str, ...]:
            # Read committed: what is seen under the lock is what was committed before it was had.
            isolation = None if self._writer.is_bound else "read_committed"
            async with connection.transaction(isolation=isolation):
                source = await open_source(connection, schema, self._queries["list_tables"])
                await lock(source)
                await copy_rest(EarlierRepo(self._executor, self._writer.nest(connection)), source)
                await put_views(source, self._queries, self._executor.schema, time_zone)
            return tuple(table.name for table in source.tables)

        return await self._writer.run_unchecked(lock_copy_replace)

    async def write(self, table: str, rows: NewRows, *, is_first: bool = False) -> Written:
        """Insert the rows that are not there yet, all that our constraints let in; the others are told one by one."""

        text = await asyncio.to_thread(exact_json, rows)

        async def insert(connection: Connection) -> Written:
            if is_first and table == "model_performance_metrics":
                await self._refuse_moved(connection, rows[:_PROBED])
            try:
                return Written(n_imported=await self._insert(connection, table, text))
            except _REFUSALS:
                return await self._insert_each(connection, table, rows)

        return await self._writer.run(insert, transaction=True)

    async def _insert_each(self, connection: Connection, table: str, rows: NewRows) -> Written:
        n_imported, rejected = 0, []
        for row in rows:
            try:
                n_imported += await self._insert(connection, table, exact_json([row]))
            except _REFUSALS as error:
                rejected.append((str(row["id"]), _reason(error)))
        return Written(n_imported=n_imported, rejected=tuple(rejected))

    async def _insert(self, connection: Connection, table: str, text: str) -> int:
        async with connection.transaction():
            if table == "model_performance_metrics":
                await connection.execute(self._queries["register_deployments"], text, self._writer.moment())
            n_imported: int = await connection.fetchval(self._queries[_INSERTS[table]], text)
        return n_imported

    async def _refuse_moved(self, connection: Connection, rows: NewRows) -> None:
        """The date is part of an evaluation's key: read in another time zone, all would come in a second time."""
        moved = await connection.fetchrow(self._queries["find_moved"], exact_json(rows))
        if moved is not None:
            raise ConflictError(
                f"evaluation {moved['id']} was imported with the date {moved['dated'].isoformat()} and would now get "
                f"{moved['now_dated'].isoformat()}: repeat the import with the time_zone of the first one"
            )


def exact_json(value: object) -> str:
    """JSON in which a Decimal keeps all its digits."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(key)}:{exact_json(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(exact_json(each) for each in value) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, allow_nan=False)


def _reason(error: Any) -> str:
    if isinstance(error, asyncpg.NotNullViolationError):
        return f"{error.column_name}: is null"
    if error.constraint_name:
        meaning = _MEANINGS.get(error.constraint_name)
        return f"breaks {error.constraint_name}" + (f": {meaning}" if meaning else "")
    return f"a value does not fit its column (SQLSTATE {error.sqlstate})"
