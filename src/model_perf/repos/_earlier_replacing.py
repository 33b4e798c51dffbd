"""The earlier tables renamed, views in their place, and the views that stood on them made anew: one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import asyncpg

from model_perf.errors import ConflictError, StorageError
from model_perf.repos._earlier_source import OldTable, Source, find_tables, quote_name
from model_perf.repos._earlier_views import create_view
from model_perf.sql._connection import Connection, Row

LOCK_TIMEOUT_S = 5
"""How long each table is waited for; longer would queue the host's own queries."""

SUFFIX = "_imported"


async def lock(source: Source) -> None:
    """Keep everybody else from the tables until the transaction ends; `StorageError` where they are in use."""
    await source.connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
    for table in source.tables:
        _refuse(source, table)
        await _run(source.connection, f"LOCK TABLE {_full(source, table)} IN ACCESS EXCLUSIVE MODE", table.name)


async def put_views(source: Source, queries: Mapping[str, str], schema: str, zone: str) -> None:
    """Rename the locked tables and give their names to views over ours, readable by the same roles."""
    connection = source.connection
    await connection.execute("SET LOCAL search_path = ''")  # so that definitions come with their schemas
    oids = [table.oid for table in source.tables]
    views = await connection.fetch(queries["list_dependents"], oids)
    for view in views:
        _refuse_view(view)
    grants = await connection.fetch(queries["list_grants"], [*oids, *(view["oid"] for view in views)])
    for view in reversed(views):
        await _run(connection, f"DROP VIEW {view['name']}", view["name"])
    ours = await find_tables(connection, queries["list_tables"], schema)
    for table in source.tables:
        renamed = quote_name(table.name + SUFFIX)
        await _run(connection, f"ALTER TABLE {_full(source, table)} RENAME TO {renamed}", table.name)
        await _run(connection, create_view(source.schema, schema, table, ours[table.name], zone), table.name)
    await _make_anew(connection, views)
    for grant in grants:
        await _run(connection, grant["statement"], grant["statement"])
    for view in views:
        if view["owner"] is not None:
            await _run(connection, f"ALTER VIEW {view['name']} OWNER TO {view['owner']}", view["name"])


async def _make_anew(connection: Connection, views: Sequence[Row]) -> None:
    for view in views:
        name = view["name"]
        await _run(connection, f"CREATE VIEW {name}{view['options']} AS {view['definition']}", name)
        if view["comment"] is not None:
            await _run(connection, f"COMMENT ON VIEW {name} IS {view['comment']}", name)


def _refuse(source: Source, table: OldTable) -> None:
    name = f"{source.schema}.{table.name}"
    if table.was_renamed:
        raise ConflictError(f"{name}{SUFFIX} exists already; rename or drop it, {name} is to get that name")
    if table.has_policies:
        raise ConflictError(f"{name} has row level security, which a view over our tables would go around")
    composite = [column.name for column in table.columns if column.composite]
    if composite:
        raise ConflictError(f"{name} has columns of composite type ({', '.join(composite)}), which have no way back")


def _refuse_view(view: Row) -> None:
    if view["kind"] == "m":
        raise ConflictError(
            f"materialized view {view['name']} stands on the old tables; drop it, and make it anew after"
        )
    if view["is_writable"]:
        raise ConflictError(
            f"view {view['name']} has triggers or rules, which would be lost; drop it, and make it anew after"
        )


async def _run(connection: Connection, statement: str, what: str) -> None:
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StorageError(
            f"{error}; who replaces the old tables must own them and the views on them, and may create in their schema",
            retry_safe=False,
        ) from error
    except (asyncpg.SyntaxOrAccessError, asyncpg.DependentObjectsStillExistError, asyncpg.DataError) as error:
        raise ConflictError(f"{what} cannot be replaced or made anew: {error}; nothing was changed") from error


def _full(source: Source, table: OldTable) -> str:
    return f"{quote_name(source.schema)}.{quote_name(table.name)}"
