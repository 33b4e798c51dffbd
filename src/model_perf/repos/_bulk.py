"""Many evaluations at once: COPY straight into the table, and round by a staging table where rows repeat."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
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
from model_perf.repos._executor import as_texts
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
_Deployment = tuple[UUID, int, UUID, str]
_STAGED_AS_ARRAYS = (
    "unnest("
    + ", ".join(f"${i}::text[]::{_ARRAY_TYPES.get(name, 'text')}[]" for i, name in enumerate(COPIED_COLUMNS, 1))
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


@frozen(kw_only=True, eq=False)
class _Rows:
    """A batch as it is written: a `Column` for each of `COPIED_COLUMNS`, and the order of the rows (None: as is)."""

    n: int
    columns: Sequence[Column]
    order: NDArray[np.intp] | None

    def chunks(self) -> Iterator[list[Column]]:
        for start in range(0, self.n, CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, self.n)
            if self.order is None:
                yield [column.slice(start, stop) for column in self.columns]
            else:
                yield [column.take(self.order[start:stop]) for column in self.columns]

    def messages(self) -> Iterator[bytes]:
        """The COPY, piece by piece."""
        yield COPY_HEADER
        for chunk in self.chunks():
            yield from encode_rows(chunk)
        yield COPY_TRAILER


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
    order = await asyncio.to_thread(_key_order, batch)
    await _register_models(connection, queries, await asyncio.to_thread(_distinct_deployments, batch, order), now)
    created_at = Column(n=batch.n, data=np.array([now.replace(tzinfo=None)], dtype="M8[us]"))
    columns = {**batch.columns, "created_at": created_at}
    rows = _Rows(n=batch.n, columns=[columns[name] for name in COPIED_COLUMNS], order=order)
    try:
        async with connection.transaction():
            await _copy(connection, "model_performance_metrics", schema, rows)
        return RecordedBatch(n_inserted=batch.n, n_repeated=0)
    except asyncpg.UniqueViolationError:
        return await _merge(connection, queries, rows)


async def _copy(connection: Connection, table: str, schema: str, rows: _Rows) -> None:
    async def stream() -> AsyncIterator[bytes]:
        messages = rows.messages()
        while message := await asyncio.to_thread(next, messages, b""):
            yield message

    await connection.copy_to_table(table, schema_name=schema, columns=COPIED_COLUMNS, format="binary", source=stream())


async def _merge(connection: Connection, queries: Mapping[str, str], rows: _Rows) -> RecordedBatch:
    """Some rows repeat: insert those that do not, and make sure that the others are equal to what is there."""
    try:
        async with connection.transaction():
            await connection.execute(queries["create_staging"])
    except asyncpg.InsufficientPrivilegeError:
        inserted = [await _merge_arrays(connection, queries, chunk) for chunk in rows.chunks()]
        return RecordedBatch(n_inserted=sum(inserted), n_repeated=rows.n - sum(inserted))
    await _copy(connection, "model_perf_staging", "pg_temp", rows)
    n_inserted = await _merge_staged(connection, queries, _STAGED_AS_TABLE, ())
    await connection.execute("DROP TABLE pg_temp.model_perf_staging")
    return RecordedBatch(n_inserted=n_inserted, n_repeated=rows.n - n_inserted)


async def _merge_arrays(connection: Connection, queries: Mapping[str, str], chunk: Sequence[Column]) -> int:
    """For roles that may not make temporary tables."""
    arrays = await asyncio.to_thread(lambda: [as_texts(column.to_list()) for column in chunk])
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
    connection: Connection, queries: Mapping[str, str], deployments: Sequence[_Deployment], now: datetime
) -> None:
    ids, versions, machines, types = (as_texts(column) for column in zip(*deployments, strict=True))
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


def _key_order(batch: EvaluationColumns) -> NDArray[np.intp] | None:
    """The rows by the key of the table: all writers take them so, lest two wait for each other. None: as they are."""
    words = _words(batch, (*KEY_COLUMNS, "evaluation_date"))
    if len(words) == 1 and (words[0][1:] > words[0][:-1]).all():
        return None
    words += _words(batch, ("id",))
    return np.lexsort(words[::-1]) if words else None


def _words(batch: EvaluationColumns, names: Sequence[str]) -> list[NDArray[Any]]:
    """What distinguishes the rows in these columns, as numbers that sort as PostgreSQL does, first things first."""
    found: list[NDArray[Any]] = []
    for column in (batch.columns[name] for name in names):
        data = column.data
        if data.ndim == 2:
            found.extend(np.ascontiguousarray(data.view(">u8").T, dtype=np.uint64))
        else:
            found.append(data.view(np.int64) if data.dtype.kind == "M" else data)
    return [word for word in found if (word != word[0]).any()]


def _distinct_deployments(batch: EvaluationColumns, order: NDArray[np.intp] | None) -> list[_Deployment]:
    names = (*KEY_COLUMNS, "model_type")
    is_first = np.zeros(batch.n, dtype=bool)
    is_first[0] = True
    for word in _words(batch, names):
        in_order = word if order is None else word[order]
        is_first[1:] |= in_order[1:] != in_order[:-1]
    rows = np.flatnonzero(is_first) if order is None else order[is_first]
    return sorted(set(zip(*(batch.columns[name].take(rows).to_list() for name in names), strict=True)))
