"""Keeps the tables small, and takes a machine or a model out of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from attrs import frozen

from model_perf.errors import ConflictError
from model_perf.records import Evaluation, new_id
from model_perf.repos._executor import Executor, as_texts
from model_perf.repos._rows import json_object, read_evaluation
from model_perf.sql import load_queries, quote_schema
from model_perf.sql._connection import Connection

Key = tuple[UUID, int, UUID]

NEWEST = 20
"""Evaluations of a deployment that stay, however old: from so many `tell_stale` knows what silence is."""

_NIL = UUID(int=0)


@frozen(kw_only=True)
class OldRows:
    """How the old rows of one table are found and deleted.

    Attributes
    ----------
    table : str
    list_query, delete_query : str
        Names in ``operations.sql``.
    key : mapping of str to object
        The columns that `list_query` gives, each with a value below that of every row.
    count_query : str, optional
        Counts the rows of `children`, which go with the rows by themselves.
    """

    table: str
    list_query: str
    delete_query: str
    key: Mapping[str, object]
    count_query: str | None = None
    children: tuple[str, ...] = ()


_ID = {"id": _NIL}

OLD_ROWS = (
    OldRows(
        table="model_drift_reports",
        list_query="list_old_reports",
        delete_query="delete_reports",
        key={"model_id": _NIL, "model_version": -1, "machine_id": _NIL, "segment": "", "id": _NIL},
    ),
    OldRows(
        table="model_alerts",
        list_query="list_old_alerts",
        delete_query="delete_alerts",
        key=_ID,
        count_query="count_of_alerts",
        children=("model_alert_events", "model_notifications"),
    ),
    OldRows(
        table="model_notifications",
        list_query="list_old_notifications",
        delete_query="delete_notifications",
        key=_ID,
    ),
    # A flush of observations is a batch, and a look a row: a long test has more than one transaction should hold.
    OldRows(
        table="model_ab_batches",
        list_query="list_old_batches",
        delete_query="delete_batches",
        key={"test_id": _NIL, "batch_id": _NIL},
    ),
    OldRows(
        table="model_ab_looks",
        list_query="list_old_looks",
        delete_query="delete_looks",
        key={"test_id": _NIL, "look_at": datetime(1, 1, 2, tzinfo=UTC)},
    ),
    OldRows(
        table="model_ab_tests",
        list_query="list_old_tests",
        delete_query="delete_tests",
        key=_ID,
        count_query="count_of_tests",
        children=("model_ab_moments",),
    ),
    OldRows(table="model_training_history", list_query="list_old_runs", delete_query="delete_runs", key=_ID),
    OldRows(table="model_workers", list_query="list_old_workers", delete_query="delete_workers", key={"worker": ""}),
)
"""Every table with old rows but that of the evaluations, children before their parents."""

_OF_TESTS = "t.test_id IN (SELECT p.id FROM {schema}.model_ab_tests p WHERE %s)"
_OF_ALERTS = "t.alert_id IN (SELECT p.id FROM {schema}.model_alerts p WHERE %s)"
_OF_EVENTS = (
    "t.event_id IN (SELECT v.id FROM {schema}.model_alert_events v"
    " JOIN {schema}.model_alerts p ON p.id = v.alert_id WHERE %s)"
)


def _tables_of(of_row: str, of_alert: str, of_test: str) -> dict[str, str]:
    """A condition on ``t`` for each table, in the order in which `record` locks them, children before parents."""
    return {
        "model_drift_state": of_row,
        "model_performance_metrics": of_row,
        "model_reference_profiles": of_row,
        "model_drift_reports": of_row,
        "model_notifications": _OF_EVENTS % of_alert,
        "model_alert_events": _OF_ALERTS % of_alert,
        "model_alerts": of_alert.replace("p.", "t."),
        "model_training_history": of_row,
        "model_ab_batches": _OF_TESTS % of_test,
        "model_ab_looks": _OF_TESTS % of_test,
        "model_ab_moments": _OF_TESTS % of_test,
        "model_ab_tests": of_test.replace("p.", "t."),
        "model_champions": of_row,
        "models": of_row,
    }


OF_MACHINE: Mapping[str, str] = _tables_of("t.machine_id = $1", "p.machine_id = $1", "p.machine_id = $1") | {
    "model_automation": "t.machine_id = $1"
}
OF_MODEL: Mapping[str, str] = _tables_of("t.model_id = $1", "p.model_id = $1", "$1 IN (p.model_a_id, p.model_b_id)") | {
    # Where it serves, all changes: else the one before, which may have been rolled back, would serve again unasked.
    "model_champions": (
        "t.model_id = $1 OR (t.machine_id, t.model_type) IN (SELECT s.machine_id, s.model_type"
        " FROM {schema}.model_champions s WHERE s.model_id = $1 AND s.number = (SELECT max(n.number)"
        " FROM {schema}.model_champions n WHERE n.machine_id = s.machine_id AND n.model_type = s.model_type))"
    )
}
"""Of each table the rows that tell something of a machine, or of a model."""


COLUMNS: Mapping[str, tuple[str, ...]] = {
    "count_alerts": ("n_open", "n_critical", "oldest_at"),
    "count_notifications": ("n_pending", "n_due", "oldest_at", "n_dead", "is_anything_delivered"),
    "count_runs": ("n_pending", "n_running", "n_expired", "oldest_due_at", "worker_seen_at"),
    "count_tests": ("n_running", "oldest_end"),
    "count_deployments": ("n", "n_silent", "oldest_at", "newest_at"),
    "list_tables": ("name", "n_bytes", "n_rows", "n_live", "n_dead", "vacuumed_at", "analyzed_at"),
    "list_rights": ("name", "may_select", "may_insert", "may_update", "may_delete", "is_owner", "may_forge"),
    "list_objects": ("kind", "name", "is_broken"),
}
"""The questions of `OperationsRepo.ask`, and the columns of their answers."""

# Of the server, not of the schema; the one place that reads the server's clock, to hold ours against it.
_SERVER: Mapping[str, str] = {
    "version": "current_setting('server_version')",
    "version_num": "current_setting('server_version_num')::int",
    "now": "clock_timestamp()",
    "backend_pid": "pg_backend_pid()",
    "role": "current_user::text",
    "is_standby": "pg_is_in_recovery()",
    "is_read_only": "current_setting('transaction_read_only')::boolean",
    "synchronous_commit": "current_setting('synchronous_commit')",
    "fsync": "current_setting('fsync')",
    "max_connections": "current_setting('max_connections')::int",
    "n_connections": "(SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.backend_type = 'client backend')",
    # Of this very statement, which is like no other: behind a pooler other clients have left theirs.
    "has_named_statements": "EXISTS (SELECT FROM pg_prepared_statements p WHERE p.statement LIKE '%{mark}%')",
}


@frozen(kw_only=True)
class OldEvaluations:
    """The older part of a deployment's history.

    Attributes
    ----------
    evaluations : tuple of Evaluation
        Without the details of their verdicts.
    n_old : int
        Those older than was asked for, with those that a cutoff before that keeps.
    cutoff : datetime
        Those dated before it may go, as far as it depends on their age.
    state : mapping
        Of the deployment's baselines and charts; empty where there is none.
    """

    evaluations: tuple[Evaluation, ...]
    n_old: int
    cutoff: datetime
    training_data_end: datetime | None
    state: Mapping[str, Any]


class OperationsRepo:
    """Deletes rows of every table; no other repository deletes any."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queries = load_queries("operations", executor.schema)

    async def list_deployments(self, before: datetime, after: Key | None, limit: int) -> list[Key]:
        """The keys of deployments with evaluations older than *before*, after the key given."""
        key = (_NIL, -1, _NIL) if after is None else after
        rows = await self._executor.fetch(self._queries["list_deployments"], before, *key, limit)
        return [(row["model_id"], row["model_version"], row["machine_id"]) for row in rows]

    async def fetch_old_evaluations(self, key: Key, before: datetime) -> OldEvaluations | None:
        """What a prune has to know of a deployment; None where it is gone, or has nothing so old."""
        row = await self._executor.fetchrow(self._queries["fetch_cutoff"], *key, before, NEWEST)
        if row is None or row["cutoff"] is None:
            return None
        rows = await self._executor.fetch(self._queries["list_old_evaluations"], *key, row["cutoff"])
        return OldEvaluations(
            evaluations=await asyncio.to_thread(lambda: tuple(map(read_evaluation, rows))),
            n_old=row["n_old"],
            cutoff=row["cutoff"],
            training_data_end=row["training_data_end"],
            state=json_object(row["state"] or "{}"),
        )

    async def delete_evaluations(self, key: Key, evaluations: Sequence[Evaluation]) -> int:
        """Delete these evaluations of a deployment in one transaction; how many there were."""
        columns = as_texts(e.evaluation_date for e in evaluations), as_texts(e.id for e in evaluations)

        async def delete(connection: Connection) -> int:
            await self._take_turn(connection)
            return len(await connection.fetch(self._queries["delete_evaluations"], *key, *columns))

        return await self._executor.run(delete, transaction=True)

    async def delete_old(
        self, rows: OldRows, before: datetime, after: tuple[object, ...], limit: int, *, dry_run: bool
    ) -> tuple[tuple[object, ...] | None, dict[str, int]]:
        """Delete the next *limit* old rows of a table in one transaction, or only count them.

        The key to go on after, None at the end, and the rows by table.
        """

        async def delete(connection: Connection) -> tuple[tuple[object, ...] | None, dict[str, int]]:
            if not dry_run:
                await self._take_turn(connection)
            found = await connection.fetch(self._queries[rows.list_query], before, *after, limit)
            keys = [tuple(row[column] for column in rows.key) for row in found]
            if not keys:
                return None, {}
            columns = [as_texts(column) for column in zip(*keys, strict=True)]
            counts = await self._count_children(connection, rows, columns)
            if dry_run:
                counts[rows.table] = len(keys)
            else:
                gone = await connection.fetch(self._queries[rows.delete_query], before, *columns)
                counts[rows.table] = len(gone)
            return keys[-1] if len(keys) == limit else None, counts

        return await self._executor.run(delete, transaction=not dry_run)

    async def forget(
        self, number: UUID, conditions: Mapping[str, str], *, dry_run: bool, force: bool
    ) -> tuple[dict[str, int], tuple[str, ...]]:
        """Delete every row that the conditions name, all or none; the rows by table, and the tests that ran.

        Raises
        ------
        ConflictError
            A test is running, and neither *dry_run* nor *force* is set.
        """

        async def delete(connection: Connection) -> tuple[dict[str, int], tuple[str, ...]]:
            if not dry_run:
                await self._take_turn(connection)
            running = await connection.fetch(self._queries["list_running_tests"], number)
            names = tuple(str(row["test_name"]) for row in running)
            if names and not (dry_run or force):
                raise ConflictError(
                    f"a test is running: {', '.join(map(repr, names))}; conclude or cancel it, or say force=True"
                )
            statements = _statements(conditions, self._executor.schema, "count" if dry_run else "delete")
            counts = {table: await connection.fetchval(text, number) for table, text in statements.items()}
            return counts, names

        return await self._executor.run(delete, transaction=True)

    async def ask(self, question: str, *args: object) -> list[dict[str, Any]]:
        """The answer to one of `COLUMNS`, a mapping for each row."""
        rows = await self._executor.fetch(self._queries[question], *args)
        return [{column: row[column] for column in COLUMNS[question]} for row in rows]

    async def fetch_server(self) -> dict[str, Any]:
        """What the server says of itself, beside the schema and whether there is one.

        ``sent_at`` and ``received_at`` are our clock's around its; ``handshake_pid`` is the backend that asyncpg was
        told of when it connected, None where it cannot say.
        """

        async def read(connection: Connection) -> dict[str, Any]:
            query = f"SELECT {', '.join(f'{value} AS {name}' for name, value in _SERVER.items())}"
            query = query.replace("{mark}", new_id().hex)
            await connection.fetchrow(query)  # the second time measures no parsing
            sent_at = self._executor.moment()
            row = await connection.fetchrow(query)
            received_at = self._executor.moment()
            assert row is not None
            handshake = getattr(connection, "get_server_pid", lambda: None)()
            times = {"sent_at": sent_at, "received_at": received_at, "handshake_pid": handshake}
            return {name: row[name] for name in _SERVER} | times

        return await self._executor.run_unchecked(read)

    async def _count_children(
        self, connection: Connection, rows: OldRows, columns: Sequence[Sequence[object]]
    ) -> dict[str, int]:
        if rows.count_query is None:
            return {}
        counted = await connection.fetchrow(self._queries[rows.count_query], *columns)
        assert counted is not None
        return {table: counted[table] for table in rows.children}

    async def _take_turn(self, connection: Connection) -> None:
        await connection.execute(self._queries["take_turn"], self._executor.schema)


def _statements(conditions: Mapping[str, str], schema: str, what: Literal["count", "delete"]) -> dict[str, str]:
    """For each table the statement that counts, or deletes and counts, its rows; in the order of the conditions."""
    quoted = quote_schema(schema)
    count = "SELECT count(*) {rows}"
    delete = "WITH gone AS (DELETE {rows} RETURNING 1) SELECT count(*) FROM gone"
    return {
        table: (count if what == "count" else delete).replace(
            "{rows}", f"FROM {quoted}.{table} t WHERE {condition.replace('{schema}', quoted)}"
        )
        for table, condition in conditions.items()
    }
