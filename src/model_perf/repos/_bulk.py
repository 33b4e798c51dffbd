"""Many evaluations at once: COPY straight into the table, and round by a staging table where rows repeat."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from model_perf.errors import ConflictError
from model_perf.records import METRIC_COLUMNS
from model_perf.repos._columns import COPY_HEADER, COPY_TRAILER, Column, encode_rows
from model_perf.repos._rows import read_evaluation
from model_perf.sql._connection import Connection

CHUNK_ROWS = 10_000

KEY_COLUMNS = ("model_id", "model_version", "machine_id")
COPIED_COLUMNS = (
    *(*KEY_COLUMNS, "evaluation_date", "id", "model_type", "evaluation_start", "evaluation_end"),
    *("sample_count", "data_completeness", *METRIC_COLUMNS, "metrics", "created_by", "created_at", "metadata"),
)

_ARRAY_TYPES = {
    **dict.fromkeys(("model_id", "machine_id", "id"), "uuid"),
    **dict.fromkeys(("evaluation_date", "evaluation_start", "evaluation_end", "created_at"), "timestamptz"),
    **dict.fromkeys(("data_completeness", *METRIC_COLUMNS), "float8"),
    "model_version": "integer",
    "sample_count": "bigint",
}
_STAGED_AS_ARRAYS = (
    "unnest("
    + ", ".join(f"${i}::{_ARRAY_TYPES.get(name, 'text')}[]" for i, name in enumerate(COPIED_COLUMNS, 1))
    + f") AS s ({', '.join(COPIED_COLUMNS)})"
)
_STAGED_AS_TABLE = "pg_temp.model_perf_staging s"


@frozen(kw_only=True)
class RecordedBatch:
    """How many rows a `record_many` wrote, and how many were there already, equal in all values."""

    n_inserted: int
    n_repeated: int


@frozen(kw_only=True, eq=False)
class EvaluationColumns:
    """A checked batch: a `Column` for each of `COPIED_COLUMNS` but ``created_at``."""

    n: int
    columns: Mapping[str, Column]

    def chunks(self, created_at: Column) -> list[list[Column]]:
        """The columns in the order of the COPY, some rows at a time."""
        whole = [created_at if name == "created_at" else self.columns[name] for name in COPIED_COLUMNS]
        starts = range(0, self.n, CHUNK_ROWS)
        return [[column.slice(i, min(i + CHUNK_ROWS, self.n)) for column in whole] for i in starts]


def new_ids(n: int) -> NDArray[np.uint8]:
    """*n* UUIDs of version 7, shape (n, 16)."""
    ids = np.empty((n, 16), dtype=np.uint8)
    ids[:, :6] = np.frombuffer((time.time_ns() // 1_000_000).to_bytes(6, "big"), dtype=np.uint8)
    ids[:, 6:] = np.frombuffer(secrets.token_bytes(10 * n), dtype=np.uint8).reshape(n, 10)
    ids[:, 6] = ids[:, 6] & 0x0F | 0x70
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80
    return ids


async def copy_evaluations(
    connection: Connection, schema: str, queries: Mapping[str, str], batch: EvaluationColumns, now: datetime
) -> RecordedBatch:
    """Write the batch inside the caller's transaction.

    Raises
    ------
    ConflictError
        A row's key is there with another payload, twice in the batch with two, or its model with another type.
    """
    if batch.n == 0:
        return RecordedBatch(n_inserted=0, n_repeated=0)
    await _register_models(connection, queries, batch, now)
    moment = np.array([now.replace(tzinfo=None)], dtype="M8[us]")
    chunks = batch.chunks(Column(n=batch.n, data=moment))
    try:
        async with connection.transaction():
            await _copy(connection, "model_performance_metrics", schema, chunks)
        return RecordedBatch(n_inserted=batch.n, n_repeated=0)
    except asyncpg.UniqueViolationError:
        return await _merge(connection, queries, batch.n, chunks)


async def _copy(connection: Connection, table: str, schema: str, chunks: Sequence[Sequence[Column]]) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield COPY_HEADER
        for chunk in chunks:
            yield await asyncio.to_thread(encode_rows, chunk)
        yield COPY_TRAILER

    await connection.copy_to_table(table, schema_name=schema, columns=COPIED_COLUMNS, format="binary", source=stream())


async def _merge(
    connection: Connection, queries: Mapping[str, str], n: int, chunks: Sequence[Sequence[Column]]
) -> RecordedBatch:
    """Some rows repeat: insert those that do not, and make sure that the others are equal to what is there."""
    try:
        async with connection.transaction():
            await connection.execute(queries["create_staging"])
    except asyncpg.InsufficientPrivilegeError:
        inserted = [await _merge_arrays(connection, queries, chunk) for chunk in chunks]
        return RecordedBatch(n_inserted=sum(inserted), n_repeated=n - sum(inserted))
    await _copy(connection, "model_perf_staging", "pg_temp", chunks)
    inserted_rows = await _merge_staged(connection, queries, _STAGED_AS_TABLE, ())
    await connection.execute("DROP TABLE pg_temp.model_perf_staging")
    return RecordedBatch(n_inserted=inserted_rows, n_repeated=n - inserted_rows)


async def _merge_arrays(connection: Connection, queries: Mapping[str, str], chunk: Sequence[Column]) -> int:
    """For roles that may not make temporary tables."""
    arrays = await asyncio.to_thread(lambda: [column.to_list() for column in chunk])
    return await _merge_staged(connection, queries, _STAGED_AS_ARRAYS, arrays)


async def _merge_staged(
    connection: Connection, queries: Mapping[str, str], staged: str, arrays: Sequence[Sequence[object]]
) -> int:
    done = await connection.execute(queries["merge_staging"].replace(_STAGED_AS_TABLE, staged), *arrays)
    row = await connection.fetchrow(queries["find_conflict"].replace(_STAGED_AS_TABLE, staged), *arrays)
    if row is not None:
        existing = read_evaluation(row)
        raise ConflictError(
            f"evaluation {existing.id} of the batch is stored with other values; nothing of the batch was written",
            existing,
        )
    return int(done.rsplit(" ", 1)[1])


async def _register_models(
    connection: Connection, queries: Mapping[str, str], batch: EvaluationColumns, now: datetime
) -> None:
    deployments = await asyncio.to_thread(_distinct_deployments, batch)
    ids, versions, machines, types = (list(column) for column in zip(*deployments, strict=True))
    await connection.execute(queries["register_models"], ids, versions, machines, types, now)
    known = await connection.fetch(queries["list_model_types"], ids, versions, machines)
    stored = {(str(row["model_id"]), row["model_version"], str(row["machine_id"])): row["model_type"] for row in known}
    for model_id, version, machine_id, model_type in deployments:
        other = stored[str(model_id), version, str(machine_id)]
        if other != model_type:
            raise ConflictError(
                f"model {model_id} is known with model_type {other!r}, not {model_type!r}; "
                "a model_id has one model_type"
            )


def _distinct_deployments(batch: EvaluationColumns) -> list[tuple[UUID, int, UUID, str]]:
    columns = [batch.columns[name] for name in (*KEY_COLUMNS, "model_type")]
    if all(column.is_constant for column in columns):
        rows = np.zeros(1, dtype=np.intp)
    else:
        names = [f"f{i}" for i in range(4)]
        wires = [_comparable(column) for column in columns]
        keys = np.empty(batch.n, dtype=[(name, wire.dtype) for name, wire in zip(names, wires, strict=True)])
        for name, wire in zip(names, wires, strict=True):
            keys[name] = wire
        _, rows = np.unique(keys.view(f"V{keys.dtype.itemsize}"), return_index=True)
    picked = [Column(n=len(rows), data=c.data if c.is_constant else c.data[rows]).to_list() for c in columns]
    return sorted(zip(*picked, strict=True))


def _comparable(column: Column) -> NDArray[Any]:
    data = column.data
    return np.ascontiguousarray(data).view("V16").reshape(len(data)) if data.ndim == 2 else data
