"""The tables of an earlier installation, found in the catalogue and read as JSON in batches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import asyncpg
from attrs import field, frozen

from model_perf.errors import InvalidInputError, NotFoundError, StorageError
from model_perf.sql import quote_schema
from model_perf.sql._connection import Connection, Row

TABLES = ("model_performance_metrics", "model_training_history", "model_ab_tests", "model_alerts")
BATCH_ROWS = 1_000

_OURS_ONLY = {"model_performance_metrics": "verdict", "model_alerts": "fingerprint", "model_ab_tests": "design"}


@frozen(kw_only=True)
class OldColumn:
    """A column as the catalogue has it; ``quoted_type`` is without a limit of length or precision."""

    name: str
    type: str
    quoted_type: str
    category: str
    composite: bool
    labels: Sequence[str] | None


@frozen(kw_only=True)
class OldTable:
    """A table of the earlier installation."""

    name: str
    oid: str
    has_policies: bool
    was_renamed: bool
    columns: tuple[OldColumn, ...]

    def has(self, column: str) -> bool:
        return any(each.name == column for each in self.columns)


@frozen(kw_only=True)
class Source:
    """An earlier installation as one connection sees it; the connection is inside a transaction."""

    connection: Connection
    schema: str
    tables: tuple[OldTable, ...]
    machines: Mapping[str, str] = field(factory=dict)
    notes: tuple[str, ...] = ()

    async def batches(self, table: OldTable, *, new_in: str | None = None) -> AsyncIterator[list[dict[str, Any]]]:
        """The rows by id, numbers exactly as they are; with *new_in* those that this schema of ours lacks."""
        filters = "" if new_in is None else _lacking(table.name, new_in)
        name = f"model_perf_{table.name}"
        source = f"{quote_name(self.schema)}.{quote_name(table.name)}"
        query = f"SELECT to_jsonb(t)::text AS row FROM {source} t{filters} ORDER BY t.id"
        await self._ask(f"DECLARE {name} NO SCROLL CURSOR FOR {query}")
        while rows := await self._ask(f"FETCH {BATCH_ROWS} FROM {name}"):
            yield await asyncio.to_thread(_read_json, rows)
        await self._ask(f"CLOSE {name}")

    async def _ask(self, query: str) -> Sequence[Row]:
        return await ask(self.connection, query)


async def open_source(connection: Connection, schema: str, list_tables: str) -> Source:
    """What *schema* holds of the four tables.

    Raises
    ------
    NotFoundError
        None of them.
    InvalidInputError
        They are tables of model_perf.
    """
    found = await connection.fetch(list_tables, schema, [*TABLES, "machines"])
    known = {row["name"]: row for row in found}
    if not known.keys() & set(TABLES):
        raise NotFoundError(f"schema {schema!r} has none of the tables {', '.join(TABLES)}")
    here = [name for name in TABLES if name in known]
    tables = tuple(_read_table(known[name]) for name in here if known[name]["kind"] in ("r", "p", "f"))
    for table in tables:
        _refuse_ours(schema, table)
    notes = [_view_note(schema, known[name]) for name in here if known[name]["kind"] in ("v", "m")]
    notes += [f"{schema}.{name} is not there" for name in TABLES if name not in known]
    return Source(
        connection=connection,
        schema=schema,
        tables=tables,
        machines=await _read_machines(connection, schema, known.get("machines")),
        notes=tuple(notes),
    )


async def find_tables(connection: Connection, list_tables: str, schema: str) -> dict[str, OldTable]:
    """What lies in a schema under the four names."""
    return {row["name"]: _read_table(row) for row in await connection.fetch(list_tables, schema, list(TABLES))}


def quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def ask(connection: Connection, query: str) -> Sequence[Row]:
    """Run a statement on the tables of the source, where the host may have forgotten a right."""
    try:
        return await connection.fetch(query)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StorageError(
            f"{error}; the import needs USAGE on the schema of the earlier installation and SELECT on its tables",
            retry_safe=False,
        ) from error


def _read_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [json.loads(row["row"], parse_float=Decimal) for row in rows]


def _read_table(row: Row) -> OldTable:
    return OldTable(
        name=row["name"],
        oid=row["oid"],
        has_policies=row["has_policies"],
        was_renamed=row["was_renamed"],
        columns=tuple(OldColumn(**each) for each in json.loads(row["columns"] or "[]")),
    )


def _refuse_ours(schema: str, table: OldTable) -> None:
    ours = _OURS_ONLY.get(table.name)
    if ours is not None and table.has(ours):
        raise InvalidInputError(
            "source", f"{schema}.{table.name} is a table of model_perf, not of an earlier installation ({ours})"
        )
    if not table.has("id"):
        raise InvalidInputError("source", f"{schema}.{table.name} has no column id")


def _view_note(schema: str, row: Row) -> str:
    if row["was_renamed"]:
        return f"{schema}.{row['name']} is a view already: its table was imported and is {row['name']}_imported now"
    return f"{schema}.{row['name']} is a view, not a table of an earlier installation; it was left alone"


async def _read_machines(connection: Connection, schema: str, row: Row | None) -> dict[str, str]:
    if row is None or not {"id", "name"} <= {each["name"] for each in json.loads(row["columns"] or "[]")}:
        return {}
    rows = await ask(connection, f"SELECT m.id::text AS id, m.name::text AS name FROM {quote_name(schema)}.machines m")
    return {row["id"]: row["name"] for row in rows if row["name"]}


def _lacking(table: str, schema: str) -> str:
    # As text: an id that is no UUID is told as such, row by row.
    ours = f"{quote_schema(schema)}.{quote_name(table)}"
    return f" WHERE NOT EXISTS (SELECT FROM {ours} o WHERE o.id::text = t.id::text)"
