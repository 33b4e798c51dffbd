"""The binary COPY that numpy writes is the one that PostgreSQL writes."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import pytest

from model_perf.repos._columns import COPY_HEADER, COPY_TRAILER, MAX_PADDED_BYTES, Column, encode_rows

N = 257
RNG = np.random.default_rng(20240101)
MASK = RNG.random(N) < 0.3
EPOCH = np.datetime64("2000-01-01", "us")


def texts(values: list[str]) -> np.ndarray[Any, Any]:
    return np.array([value.encode() for value in values], dtype=object)


def json_texts(n: int) -> list[str]:
    """Objects as PostgreSQL itself writes them, of many lengths."""
    return ["{}" if i % 3 == 0 else f'{{"x": "{"y" * (i % 40)}", "own ☃": {i}.5}}' for i in range(n)]


WORDS = ["a", "Größe ☃", "x" * 200, "tab\there", "quote'\"", "\\N", "trailing ", "NULL", "🙂" * 30]
EXTREMES = [5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308, -0.0, 0.1, 1 / 3, 2.0**53 + 2]

# Each column of a table, with its values in all the ways that a batch can hold them.
COLUMNS: dict[str, tuple[str, np.ndarray[Any, Any], bool]] = {
    "int4": ("integer", RNG.integers(-(2**31), 2**31, N).astype(np.int32), False),
    "int8": ("bigint", RNG.integers(-(2**63), 2**63 - 1, N), False),
    "float8": ("float8", np.resize(EXTREMES, N), False),
    "time": ("timestamptz", EPOCH + RNG.integers(-63_000_000_000_000_000, 252_000_000_000_000_000, N), False),
    "uuid": ("uuid", RNG.integers(0, 256, (N, 16), dtype=np.uint8), False),
    "text": ("text", texts([WORDS[i % len(WORDS)] for i in range(N)]), False),
    "same_width": ("text", texts([f"{i:05d}" for i in range(N)]), False),
    "json": ("jsonb", texts(json_texts(N)), True),
}


def encoded(columns: list[Column]) -> bytes:
    return b"".join(encode_rows(columns))


def as_columns(kind: str) -> list[Column]:
    """All columns: each row its own value, some NULL, one value for all, or all NULL."""
    made = []
    for _, data, is_json in COLUMNS.values():
        if kind == "constant":
            data = data[:1]
        elif kind == "null":
            data = np.empty(0)
        missing = MASK if kind == "masked" else None
        made.append(Column(n=N, data=data, missing=missing, is_json=is_json))
    return made


@pytest.mark.parametrize("kind", ["full", "masked", "constant", "null"])
async def test_our_bytes_are_postgresqls(connection: asyncpg.Connection, kind: str) -> None:
    """The server takes our COPY, and its own COPY of the same rows is the same to the byte."""
    columns = ", ".join(f'"{name}" {type_name}' for name, (type_name, _, _) in COLUMNS.items())
    await connection.execute(f"CREATE TEMPORARY TABLE copied (n serial, {columns}) ON COMMIT DROP")
    ours = COPY_HEADER + encoded(as_columns(kind)) + COPY_TRAILER
    names = tuple(COLUMNS)
    await connection.copy_to_table("copied", columns=names, format="binary", source=BytesIO(ours))
    theirs = BytesIO()
    listed = ", ".join(f'"{name}"' for name in names)
    await connection.copy_from_query(f"SELECT {listed} FROM copied ORDER BY n", format="binary", output=theirs)
    assert theirs.getvalue() == ours


@pytest.mark.parametrize("kind", ["full", "masked", "constant", "null"])
@pytest.mark.parametrize("width", [1, 7, 100, N])
def test_chunks_are_the_whole(kind: str, width: int) -> None:
    """Sliced anywhere, the rows are the same bytes; also where a slice of a column is all NULL."""
    columns = as_columns(kind)
    chunks = [[column.slice(i, min(i + width, N)) for column in columns] for i in range(0, N, width)]
    assert b"".join(map(encoded, chunks)) == encoded(columns)


def test_a_long_text_is_laid_out_apart() -> None:
    """Rows that would be padded beyond the limit come in pieces, the same bytes as one row at a time."""
    long = "x" * (MAX_PADDED_BYTES // 10)
    columns = [
        Column(n=100, data=np.arange(100)),
        Column(n=100, data=texts([long if i == 70 else f"{i}" for i in range(100)]), is_json=True),
        Column(n=100, data=texts(["constant"])),
    ]
    pieces = list(encode_rows(columns))
    assert len(pieces) > 1
    rows = [[column.slice(i, i + 1) for column in columns] for i in range(100)]
    assert b"".join(pieces) == b"".join(map(encoded, rows))


def test_a_slice_may_be_all_null() -> None:
    """A stretch of a text column without any text is NULLs, not empty texts."""
    missing = np.array([False, True, True, True])
    column = Column(n=4, data=texts(["word", "", "", ""]), missing=missing)
    assert encoded([column.slice(1, 4)]) == b"\x00\x01\xff\xff\xff\xff" * 3


@pytest.mark.parametrize("kind", ["full", "masked", "constant", "null"])
def test_the_python_values_are_the_same(kind: str) -> None:
    """What goes into arrays, for roles without temporary tables, is what goes into the COPY."""
    for (name, (_, data, _)), column in zip(COLUMNS.items(), as_columns(kind), strict=True):
        values = column.to_list()
        assert len(values) == N, name
        for i in range(N):
            if kind == "null" or (kind == "masked" and MASK[i]):
                assert values[i] is None
            elif data.ndim == 1 and data.dtype.kind in "if":
                assert values[i] == data[0 if kind == "constant" else i].item()
    time = Column(n=1, data=np.array(["9999-12-31T23:59:59.999998"], dtype="M8[us]")).to_list()
    assert time == [datetime(9999, 12, 31, 23, 59, 59, 999998, tzinfo=UTC)]
    assert Column(n=1, data=np.zeros((1, 16), np.uint8)).to_list() == [UUID(int=0)]
