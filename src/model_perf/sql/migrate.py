"""Apply the migrations, say whether they are applied, or print them for a DBA.

Up-only, one transaction each, under an advisory lock that the transaction gives back: behind a pooler a
session's lock would stay with a connection that belongs to somebody else by then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256

import asyncpg
from attrs import frozen

from model_perf._validation import as_int, as_optional_text
from model_perf.errors import SchemaError, StorageError
from model_perf.sql import Migration, load_migrations, quote_schema
from model_perf.sql._connection import Connection, Row

LOCK_TIMEOUT_S = 5
"""How long a migration waits for a table that somebody uses; longer would queue the host's own queries."""

QUEUE_TIMEOUT_S = 120
"""How long it waits for another process that migrates the same schema."""

_CREATED = re.compile(r"^CREATE (?:TABLE|VIEW) \{schema\}\.(\w+)|^CREATE (?:UNIQUE )?INDEX (\w+)", re.MULTILINE)

# From the catalogue, which everybody may read: a failed SELECT would end the transaction it is in.
_LEDGER_COLUMNS = """
SELECT array_agg(a.attname::text)
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = 'schema_migrations' AND a.attnum > 0 AND NOT a.attisdropped
"""

_LEDGER = """
CREATE TABLE {schema}.schema_migrations (
    version    integer     NOT NULL,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    breaking   boolean     NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    metadata   jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (version)
);
COMMENT ON TABLE {schema}.schema_migrations IS 'The migrations of model_perf that this schema has';
"""


@frozen(kw_only=True)
class SchemaStatus:
    """Which migrations a schema has.

    Attributes
    ----------
    applied, pending, newer : tuple of int
        Versions in the database; known here and not there; there and not known here.
    is_foreign : bool
        What was applied is not what this library ships, or is newer and breaking: nothing may be migrated.
    problem : str or None
        Why this library cannot work on the schema, with the mend; None where it can.
    """

    schema: str
    applied: tuple[int, ...]
    pending: tuple[int, ...]
    newer: tuple[int, ...]
    is_foreign: bool
    problem: str | None


async def read_status(connection: Connection, schema: str) -> SchemaStatus:
    """What the database says of its migrations; needs SELECT only."""
    known = {migration.version: migration for migration in load_migrations()}
    rows = await _read_ledger(connection, schema)
    applied = tuple(row["version"] for row in rows)
    pending = tuple(version for version in known if version not in applied)
    newer = tuple(version for version in applied if version not in known)
    foreign = _foreign(schema, rows, known)
    return SchemaStatus(
        schema=schema,
        applied=applied,
        pending=pending,
        newer=newer,
        is_foreign=foreign is not None,
        problem=foreign or _incomplete(schema, applied, pending),
    )


async def check(connection: Connection, schema: str = "model_perf") -> SchemaStatus:
    """Refuse to work on a schema that this library does not fit.

    Raises
    ------
    SchemaError
        Not migrated, migrated only in part, or by a newer and breaking version.
    """
    status = await read_status(connection, schema)
    if status.problem is not None:
        raise SchemaError(status.problem)
    return status


async def migrate(connection: Connection, schema: str = "model_perf") -> tuple[int, ...]:
    """Bring the schema up to this library's version; safe to call from many processes at once.

    Returns
    -------
    tuple of int
        The versions applied by this call; empty where nothing was pending (then no right and no lock is needed).

    Raises
    ------
    SchemaError
        A relation of the same name is not ours, a migration was edited after it was applied, or the schema
        belongs to a newer and breaking version. Nothing is changed then.
    StorageError
        Somebody used a table for longer than it waits. The migrations before are applied; call it again.
    """
    if connection.is_in_transaction():
        raise SchemaError("migrate() runs transactions of its own; call it outside of yours, or use `sql()`")
    status = await read_status(connection, schema)
    _refuse_foreign(status)
    done = list[int | None]()
    for migration in load_migrations():
        if migration.version in status.pending:
            try:
                done.append(await _apply(connection, schema, migration))
            except asyncpg.LockNotAvailableError as error:
                raise StorageError(
                    f"migration {migration.version} gave up waiting ({error}): somebody uses a table that it changes, "
                    "or migrates too; it has changed nothing, and those before it are applied. Repeat it",
                    retry_safe=True,
                ) from error
    return tuple(version for version in done if version is not None)


def sql(
    schema: str = "model_perf",
    *,
    since: int = 0,
    owner: str | None = None,
    writer: str | None = None,
    reader: str | None = None,
    pruner: str | None = None,
) -> str:
    """The same as a script for a DBA: the migrations after *since* and the rights of the roles named.

    Parameters
    ----------
    since : int
        The newest version that the schema has already; 0 = a new installation.
    owner, writer, reader, pruner : str or None
        Existing roles. The owner gets the tables (and makes later ones), the writer runs the library, the
        reader sees the boards, the pruner deletes: ``prune``, ``forget_machine``, ``forget_model``.
    """
    quoted = quote_schema(schema)
    as_int(since, "since", high=load_migrations()[-1].version)
    for argument, role in {"owner": owner, "writer": writer, "reader": reader, "pruner": pruner}.items():
        as_optional_text(role, argument, max_length=63)
    parts = ["BEGIN;", f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s';"]
    if owner:
        parts.append(f"SET LOCAL ROLE {_quote_role(owner)};")
    if since == 0:
        name = quoted.replace("'", "''")
        parts.append(
            f"DO $do$ BEGIN\n    IF to_regnamespace('{name}') IS NULL THEN\n        CREATE SCHEMA {quoted};\n"
            "    END IF;\nEND $do$;"
        )
        parts.append(_LEDGER.replace("{schema}", quoted).strip())
    for migration in load_migrations():
        if migration.version > since:
            parts += [migration.render(schema).strip(), _ledger_row(migration, quoted)]
    of_owner = f" FOR ROLE {_quote_role(owner)}" if owner else ""
    roles = {"writer": writer, "reader": reader, "pruner": pruner}
    parts += [grants for role, name in roles.items() if name for grants in _grants(quoted, of_owner, role, name)]
    parts += [_keep_owner(quoted)] if any(roles.values()) else []
    return "\n\n".join([*parts, "COMMIT;"]) + "\n"


async def _read_ledger(connection: Connection, schema: str) -> Sequence[Row]:
    quoted = quote_schema(schema)
    columns = await connection.fetchval(_LEDGER_COLUMNS, schema)
    if not columns:
        return ()
    if not {"version", "name", "sha256", "breaking"} <= set(columns):
        raise SchemaError(
            f"{quoted}.schema_migrations exists and is not a table of model_perf; "
            "choose another schema, as in ModelPerformanceTracker(pool, schema=...)"
        )
    try:
        return await connection.fetch(
            f"SELECT version, name, sha256, breaking FROM {quoted}.schema_migrations ORDER BY version"
        )
    except asyncpg.InsufficientPrivilegeError as error:
        raise SchemaError(
            f"this role may not read {quoted}.schema_migrations; "
            "grant it with the script of `model-perf migrate --sql --writer ROLE`"
        ) from error


def _foreign(schema: str, rows: Sequence[Row], known: dict[int, Migration]) -> str | None:
    """Why what was applied is not what this library ships, or None."""
    for row in rows:
        ours = known.get(row["version"])
        if ours is None and row["breaking"]:
            return (
                f"schema {schema!r} was migrated to version {row['version']} ({row['name']}) by a newer model_perf "
                "that this one cannot work with; upgrade with `pip install --upgrade model-perf`"
            )
        if ours is not None and ours.sha256 != row["sha256"]:
            return (
                f"migration {row['version']} of schema {schema!r} is not the file that this model_perf ships; "
                "restore the schema, or install the version that wrote it"
            )
    return None


def _incomplete(schema: str, applied: tuple[int, ...], pending: tuple[int, ...]) -> str | None:
    mend = f"run `model-perf migrate --schema {schema}`, or give a DBA the output of `model-perf migrate --sql`"
    if not applied:
        return f"schema {schema!r} has no tables of model_perf; {mend}"
    if pending:
        return f"schema {schema!r} lacks migration {', '.join(map(str, pending))}; {mend}"
    return None


def _refuse_foreign(status: SchemaStatus) -> None:
    if status.is_foreign:
        raise SchemaError(status.problem or "")


async def _apply(connection: Connection, schema: str, migration: Migration) -> int | None:
    quoted = quote_schema(schema)
    async with connection.transaction(isolation="read_committed", readonly=False):
        await connection.execute("SET TRANSACTION READ WRITE")
        await _take_turn(connection, schema)
        status = await read_status(connection, schema)
        _refuse_foreign(status)
        if migration.version in status.applied:
            return None
        await _refuse_foreign_relations(connection, schema, status)
        try:
            if not status.applied:
                await _create_schema(connection, schema)
            await connection.execute(migration.render(schema))
            await connection.execute(_ledger_row(migration, quoted))
        except asyncpg.InsufficientPrivilegeError as error:
            raise SchemaError(
                f"this role may not create objects in schema {schema!r}; "
                "give a DBA the output of `model-perf migrate --sql`"
            ) from error
    return migration.version


async def _take_turn(connection: Connection, schema: str) -> None:
    """Wait for other migrating processes; the end of the transaction lets the next one in."""
    database = await connection.fetchval("SELECT current_database()")
    digest = sha256(f"model_perf\0{database}\0{schema}".encode()).digest()
    await connection.execute(f"SET LOCAL lock_timeout = '{QUEUE_TIMEOUT_S}s'")
    await connection.execute("SELECT pg_advisory_xact_lock($1)", int.from_bytes(digest[:8], "big", signed=True))
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")


async def _create_schema(connection: Connection, schema: str) -> None:
    quoted = quote_schema(schema)
    # CREATE SCHEMA IF NOT EXISTS asks for CREATE on the database even where the schema exists.
    if await connection.fetchval("SELECT to_regnamespace($1) IS NULL", quoted):
        await connection.execute(f"CREATE SCHEMA {quoted}")
    await connection.execute(_LEDGER.replace("{schema}", quoted))


async def _refuse_foreign_relations(connection: Connection, schema: str, status: SchemaStatus) -> None:
    """Look for all pending names before the first is made, so that a refusal changes nothing."""
    pending = [m for m in load_migrations() if m.version in status.pending]
    names = [table or index for m in pending for table, index in _CREATED.findall(m.text)]
    found = await connection.fetch(
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = ANY($2::text[]) ORDER BY c.relname",
        schema,
        names if status.applied else [*names, "schema_migrations"],
    )
    if found:
        listed = ", ".join(f"{schema}.{row['relname']}" for row in found)
        raise SchemaError(
            f"{listed} exists already and was not made by model_perf; nothing was changed. Choose another schema, "
            "as in ModelPerformanceTracker(pool, schema=...), or rename what is there"
        )


def _ledger_row(migration: Migration, quoted: str) -> str:
    return (
        f"INSERT INTO {quoted}.schema_migrations (version, name, sha256, breaking)\n"
        f"VALUES ({migration.version}, '{migration.name}', '{migration.sha256}', {str(migration.breaking).lower()});"
    )


_RIGHTS = {"writer": "SELECT, INSERT, UPDATE", "reader": "SELECT", "pruner": "SELECT, DELETE"}

_TOO_MUCH = "TRUNCATE, REFERENCES, TRIGGER"
"""What no role may on any table, whatever the host's default privileges have given it: a trigger of its own would run
with the owner's rights where the log of alerts is written."""


def _grants(quoted: str, of_owner: str, kind: str, name: str) -> list[str]:
    """The rights of one role. The log of alerts is written by a trigger with the owner's rights, and by nobody else."""
    role, rights = _quote_role(name), _RIGHTS[kind]
    ledger, log, others = f"{quoted}.schema_migrations", f"{quoted}.model_alert_events", f"{role}, PUBLIC"
    return [
        f"GRANT USAGE ON SCHEMA {quoted} TO {role};\n"
        f"GRANT {rights} ON ALL TABLES IN SCHEMA {quoted} TO {role};\n"
        f"ALTER DEFAULT PRIVILEGES{of_owner} IN SCHEMA {quoted} GRANT {rights} ON TABLES TO {role};",
        f"REVOKE {_TOO_MUCH} ON ALL TABLES IN SCHEMA {quoted} FROM {others};\n"
        f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA {quoted} FROM {others};\n"
        f"REVOKE INSERT, UPDATE, DELETE ON {ledger} FROM {others};\n"
        f"REVOKE INSERT, UPDATE{'' if kind == 'pruner' else ', DELETE'} ON {log} FROM {others};\n"
        f"REVOKE ALL ON FUNCTION {quoted}.model_alerts_log() FROM {others};",
    ]


def _keep_owner(quoted: str) -> str:
    """An owner that is one of the other roles too would have lost what its own trigger needs."""
    return (
        f"GRANT ALL ON ALL TABLES IN SCHEMA {quoted} TO CURRENT_USER;\n"
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {quoted} TO CURRENT_USER;\n"
        f"GRANT EXECUTE ON FUNCTION {quoted}.model_alerts_log() TO CURRENT_USER;"
    )


def _quote_role(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
