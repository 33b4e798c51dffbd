"""Evaluations as columns, and the form that they take in PostgreSQL's binary COPY, written by numpy.

Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format". A row is a 16-bit count of
fields; a field is its length in 32 bits (-1 = NULL) and its bytes, all big-endian.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"

MAX_PADDED_BYTES = 8_000_000
"""Rows are laid out at the width of the longest; what would take more than this is laid out in parts."""

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POSTGRES_EPOCH_US = 946_684_800_000_000
"""Microseconds from 1970 to 2000, where PostgreSQL's timestamps start."""

_Rows = slice | NDArray[np.intp]
_Lengths = NDArray[np.int32] | int
_Unpadded = tuple[int, NDArray[Any] | list[bytes] | None, _Lengths]


@frozen(kw_only=True, eq=False)
class Column:
    """One column of a batch; ``data`` has one row, or none where all are NULL, if all rows are alike.

    ``data`` is int32, int64, float64, '<M8[us]' (UTC), object (text in UTF-8) or shape (n, 16) uint8 (UUIDs).
    ``missing`` is a mask of the NULLs, or None where there is none.
    """

    n: int
    data: NDArray[Any]
    missing: NDArray[np.bool_] | None = None
    is_json: bool = False

    @property
    def is_null(self) -> bool:
        return len(self.data) == 0 and self.n > 0

    def slice(self, start: int, stop: int) -> Column:
        return self._part(slice(start, stop), stop - start)

    def take(self, rows: NDArray[np.intp]) -> Column:
        return self._part(rows, len(rows))

    def _part(self, rows: _Rows, n: int) -> Column:
        if len(self.data) <= 1 and self.missing is None:
            return Column(n=n, data=self.data, is_json=self.is_json)
        missing = None if self.missing is None else self.missing[rows]
        return Column(n=n, data=self.data[rows], missing=missing, is_json=self.is_json)

    def to_list(self) -> list[object]:
        """Python values, for the few statements that take arrays."""
        if self.is_null:
            return [None] * self.n
        values = _to_python(self.data)
        if len(values) == 1 and self.n > 1:
            return values * self.n
        if self.missing is None:
            return values
        return [None if gone else value for value, gone in zip(values, self.missing.tolist(), strict=True)]


def _to_python(data: NDArray[Any]) -> list[object]:
    if data.dtype.kind == "M":
        return [_UNIX_EPOCH + timedelta(microseconds=value) for value in data.view(np.int64).tolist()]
    if data.ndim == 2:
        return [UUID(bytes=bytes(row)) for row in data]
    if data.dtype == object:
        return [text.decode() for text in data.tolist()]
    return list(data.tolist())


def encode_rows(columns: Sequence[Column]) -> Iterator[bytes]:
    """The rows of one chunk in the binary COPY format, without header and trailer."""
    n = columns[0].n
    parts = [_unpadded(column) for column in columns]
    # One long text must not weigh on all rows, so that its half of them is laid out by itself.
    if n > 1 and n * sum(width for width, _, _ in parts) > MAX_PADDED_BYTES:
        yield from encode_rows([column.slice(0, n // 2) for column in columns])
        yield from encode_rows([column.slice(n // 2, n) for column in columns])
    else:
        yield _layout(n, parts)


def _unpadded(column: Column) -> _Unpadded:
    """A column's width on the wire, its values, texts still as a list, and their lengths (a number where alike)."""
    if column.is_null:
        return 0, None, -1
    wire: NDArray[Any] | list[bytes]
    if column.data.dtype == object:
        wire, lengths = _texts(column)
        width = max(1, int(lengths.max()))
    else:
        wire = _fixed_form(column.data)
        width, lengths = wire.dtype.itemsize, np.full(1, wire.dtype.itemsize, dtype=np.int32)
    if column.missing is not None:
        return width, wire, np.where(column.missing, np.int32(-1), lengths)
    return width, wire, lengths if (lengths != width).any() else width


def _texts(column: Column) -> tuple[list[bytes], NDArray[np.int32]]:
    texts = column.data.tolist()
    if column.is_json:  # jsonb starts with the version of its format
        texts = [b"\x01" + text for text in texts]
    return texts, np.fromiter(map(len, texts), dtype=np.int32, count=len(texts))


def _fixed_form(data: NDArray[Any]) -> NDArray[Any]:
    if data.dtype.kind == "M":
        return (data.view(np.int64) - _POSTGRES_EPOCH_US).astype(">i8")
    if data.ndim == 2:
        return np.ascontiguousarray(data).view("V16").reshape(len(data))
    return data.astype(data.dtype.newbyteorder(">"))


def _layout(n: int, parts: Sequence[_Unpadded]) -> bytes:
    """Fixed-width rows, less the bytes that only pad them."""
    fields = [("fields", ">i2")]
    for i, (width, wire, _) in enumerate(parts):
        fields.append((f"length{i}", ">i4"))
        if wire is not None:
            fields.append((f"value{i}", f"S{width}" if isinstance(wire, list) else wire.dtype.str))
    rows = np.empty(n, dtype=np.dtype(fields))
    rows["fields"] = len(parts)
    keep = _KeptBytes(rows)
    for i, (width, wire, lengths) in enumerate(parts):
        rows[f"length{i}"] = lengths
        if wire is not None:
            rows[f"value{i}"] = np.array(wire, dtype=f"S{width}") if isinstance(wire, list) else wire
            keep.drop_padding(f"value{i}", width, lengths)
    return keep.to_bytes()


class _KeptBytes:
    """Which bytes of fixed-width rows belong to the message: not those of NULLs, not the padding of short text."""

    def __init__(self, rows: NDArray[np.void]) -> None:
        self._rows = rows
        self._mask: NDArray[np.bool_] | None = None

    def drop_padding(self, field: str, width: int, lengths: _Lengths) -> None:
        if isinstance(lengths, int):
            return
        if self._mask is None:
            self._mask = np.ones((len(self._rows), self._rows.dtype.itemsize), dtype=bool)
        fields = self._rows.dtype.fields
        assert fields is not None
        start = fields[field][1]
        self._mask[:, start : start + width] = np.arange(width) < lengths[:, None]

    def to_bytes(self) -> bytes:
        if self._mask is None:
            return self._rows.tobytes()
        flat = self._rows.view(np.uint8).reshape(self._mask.shape)
        return flat[self._mask].tobytes()
