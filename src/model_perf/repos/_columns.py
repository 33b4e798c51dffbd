"""Evaluations as columns: checked whole, and encoded by numpy for PostgreSQL's binary COPY.

Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format". A row is a 16-bit count of
fields; a field is its length in 32 bits (-1 = NULL) and its bytes, all big-endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POSTGRES_EPOCH_US = 946_684_800_000_000
"""Microseconds from 1970 to 2000, where PostgreSQL's timestamps start."""


@frozen(kw_only=True, eq=False)
class Column:
    """One column of a batch; ``data`` has one row, or none where all are NULL, if all rows are alike.

    ``data`` is int32, int64, float64, '<M8[us]' (UTC), 'S' (text in UTF-8) or shape (n, 16) uint8 (UUIDs).
    ``missing`` is a mask of the NULLs, or None where there is none.
    """

    n: int
    data: NDArray[Any]
    missing: NDArray[np.bool_] | None = None
    is_json: bool = False

    @property
    def is_null(self) -> bool:
        return len(self.data) == 0 and self.n > 0

    @property
    def is_constant(self) -> bool:
        return len(self.data) == 1 and self.missing is None

    def slice(self, start: int, stop: int) -> Column:
        if len(self.data) <= 1 and self.missing is None:
            return Column(n=stop - start, data=self.data, is_json=self.is_json)
        missing = None if self.missing is None else self.missing[start:stop]
        return Column(n=stop - start, data=self.data[start:stop], missing=missing, is_json=self.is_json)

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
        microseconds = data.astype("M8[us]").astype(np.int64).tolist()
        return [_UNIX_EPOCH + timedelta(microseconds=value) for value in microseconds]
    if data.ndim == 2:
        return [UUID(bytes=bytes(row)) for row in data]
    if data.dtype.kind == "S":
        return [text.decode() for text in data.tolist()]
    return list(data.tolist())


def encode_rows(columns: Sequence[Column]) -> bytes:
    """The rows of one chunk in the binary COPY format, without header and trailer."""
    n = columns[0].n
    parts = [_wire_form(column) for column in columns]
    layout = [("fields", ">i2")]
    for i, (wire, _) in enumerate(parts):
        layout += (
            [(f"length{i}", ">i4"), (f"value{i}", wire.dtype.str)] if wire is not None else [(f"length{i}", ">i4")]
        )
    rows = np.empty(n, dtype=np.dtype(layout))
    rows["fields"] = len(columns)
    keep = _KeptBytes(rows)
    for i, (wire, lengths) in enumerate(parts):
        rows[f"length{i}"] = lengths
        if wire is not None:
            rows[f"value{i}"] = wire
            keep.drop_padding(f"value{i}", wire.dtype.itemsize, lengths)
    return keep.to_bytes()


class _KeptBytes:
    """Which bytes of fixed-width rows belong to the message: not those of NULLs, not the padding of short text."""

    def __init__(self, rows: NDArray[np.void]) -> None:
        self._rows = rows
        self._mask: NDArray[np.bool_] | None = None

    def drop_padding(self, field: str, width: int, lengths: NDArray[np.int32] | int) -> None:
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


def _wire_form(column: Column) -> tuple[NDArray[Any] | None, NDArray[np.int32] | int]:
    """A column's values as they go over the wire, and their lengths (one number where all are alike)."""
    if column.is_null:
        return None, -1
    data = column.data
    if data.dtype.kind == "S":
        wire, lengths = _text_form(data, column.is_json)
    else:
        wire, lengths = _fixed_form(data), None
    width = wire.dtype.itemsize
    if column.missing is not None:
        present = np.full(column.n, width, dtype=np.int32) if lengths is None else lengths
        return wire, np.where(column.missing, np.int32(-1), present)
    return (wire, width) if lengths is None else (wire, lengths)


def _fixed_form(data: NDArray[Any]) -> NDArray[Any]:
    if data.dtype.kind == "M":
        return (data.astype("M8[us]").astype(np.int64) - _POSTGRES_EPOCH_US).astype(">i8")
    if data.ndim == 2:
        return np.ascontiguousarray(data).view("V16").reshape(len(data))
    return data.astype(data.dtype.newbyteorder(">"))


def _text_form(data: NDArray[Any], is_json: bool) -> tuple[NDArray[Any], NDArray[np.int32] | None]:
    """Text with its lengths, None where all have the same; jsonb starts with the version of its format, 1."""
    # Text may be empty nowhere in our tables, so that numpy's trimming of NULs loses nothing.
    text = np.asarray(data, dtype=np.bytes_)
    lengths = np.char.str_len(text).astype(np.int32)
    if is_json:
        text, lengths = np.char.add(np.array(b"\x01"), text), lengths + 1
    if len(text) == 1 or (lengths == lengths[0]).all():
        return text.astype(f"S{lengths[0]}"), None
    return text, lengths
