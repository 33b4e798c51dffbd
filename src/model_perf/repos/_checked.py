"""From the entries of a column to the type that is stored, each checked, and refused by name and row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from model_perf import _validation as check
from model_perf.errors import InvalidInputError
from model_perf.repos._columns import Column
from model_perf.repos._given import Given, read_column

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# What Python can read back; its first and last moment are infinity to asyncpg.
_FIRST = np.datetime64("0001-01-01T00:00:00.000000", "us")
_LAST = np.datetime64("9999-12-31T23:59:59.999999", "us")

_MAX_KNOWN = 10_000


def null(n: int) -> Column:
    """A column of NULLs."""
    return Column(n=n, data=np.empty(0))


def uuids(value: Any, name: str, n: int) -> Column:
    given = read_column(value, name, is_required=True)
    return Column(n=n, data=packed_uuids(_each(given, check.as_uuid, None), len(given.entries)))


def packed_uuids(ids: Iterable[UUID], n: int) -> NDArray[np.uint8]:
    raw = np.fromiter((number.int.to_bytes(16, "big") for number in ids), dtype="S16", count=n)
    return raw.view(np.uint8).reshape(n, 16)


def times(value: Any, name: str, n: int) -> Column:
    given = read_column(value, name, is_required=True)
    if given.entries.dtype.kind == "M":
        return Column(n=n, data=_from_datetime64(given))
    return Column(n=n, data=packed_times(_each(given, check.as_timestamp, None), len(given.entries)))


def packed_times(moments: Iterable[datetime], n: int) -> NDArray[np.datetime64]:
    # numpy takes eight times as long for datetimes as for whole numbers, and keeps the interpreter all the while.
    stamps = np.fromiter(((moment - _UNIX_EPOCH) // _MICROSECOND for moment in moments), dtype=np.int64, count=n)
    return stamps.view("M8[us]")


def _from_datetime64(given: Given) -> NDArray[Any]:
    """In microseconds, of the years 1 to 9999; what lies beyond would wrap around in the conversion."""
    entries = given.entries
    gone = np.isnat(entries)
    if gone.any():
        raise InvalidInputError(given.place(int(gone.argmax())), "is missing (NaT)")
    unit, _ = np.datetime_data(entries.dtype)
    if unit == "generic":
        raise InvalidInputError(given.name, "is datetime64 without a unit; give one, as in datetime64[us]")
    outside = np.zeros(len(entries), dtype=bool)
    if unit not in ("ns", "ps", "fs", "as"):  # which reach 300 years at most
        outside = (entries < _FIRST.astype(entries.dtype)) | (entries > _LAST.astype(entries.dtype))
    stamps = np.where(outside, _FIRST.astype(entries.dtype), entries).astype("M8[us]")
    outside |= (stamps <= _FIRST) | (stamps >= _LAST)
    if outside.any():
        row = int(outside.argmax())
        raise InvalidInputError(given.place(row), f"{entries[row]} lies outside the years 1 to 9999")
    return stamps


def texts(value: Any, name: str, n: int, *, is_required: bool = False) -> Column:
    given = read_column(value, name, is_required=is_required)
    if given.is_all_missing:
        return null(n)
    encoded = _each(given, lambda item, where: check.as_text(item, where, max_length=200).encode(), b"")
    return Column(n=n, data=np.fromiter(encoded, dtype=object, count=len(given.entries)), missing=given.missing)


def json_objects(rows: Iterable[Mapping[str, object]], n: int) -> Column:
    """Of objects that were checked before."""
    encoded = [check.to_json(row).encode() if row else b"{}" for row in rows]
    if all(text == b"{}" for text in encoded):
        encoded = [b"{}"]
    return Column(n=n, data=np.fromiter(encoded, dtype=object, count=len(encoded)), is_json=True)


def integers(
    value: Any,
    name: str,
    n: int,
    dtype: type[np.integer[Any]],
    *,
    high: int = check.INT8_MAX,
    is_required: bool = False,
) -> Column:
    given = read_column(value, name, is_required=is_required)
    if given.is_all_missing:
        return null(n)
    if given.entries.dtype.kind in "iu":
        _check_whole(given, high)
        return Column(n=n, data=given.entries.astype(dtype), missing=given.missing)
    whole = _each(given, lambda item, where: check.as_int(item, where, high=high), 0)
    return Column(n=n, data=np.fromiter(whole, dtype=dtype, count=len(given.entries)), missing=given.missing)


def _check_whole(given: Given, high: int) -> None:
    bad = (given.entries < 0) | (given.entries > high)
    if given.missing is not None:
        bad &= ~given.missing
    if bad.any():
        row = int(bad.argmax())
        raise InvalidInputError(given.place(row), f"{given.entries[row]} is outside [0, {high}]")


def floats(
    value: Any, name: str, n: int, nan_as_missing: bool = False, *, low: float = -np.inf, high: float = np.inf
) -> Column:
    given = read_column(value, name, is_required=False)
    numbers, missing = _numbers(given), given.missing
    if nan_as_missing:
        missing = np.isnan(numbers) | (False if missing is None else missing)
    bad = ~(np.isfinite(numbers) & (numbers >= low) & (numbers <= high))
    if missing is not None:
        bad &= ~missing
    if bad.any():
        row = int(bad.argmax())
        _refuse_number(float(numbers[row]), given.place(row), low, high)
    return with_gaps(numbers, missing, n)


def with_gaps(numbers: NDArray[Any], missing: NDArray[np.bool_] | None, n: int) -> Column:
    """A column of numbers, of which some may be missing."""
    if missing is None or not missing.any():
        return Column(n=n, data=numbers)
    return (
        null(n)
        if missing.all()
        else Column(n=n, data=np.where(missing, numbers.dtype.type(0), numbers), missing=missing)
    )


def _refuse_number(value: float, where: str, low: float, high: float) -> None:
    if np.isfinite(value):
        raise InvalidInputError(where, f"{value} is outside [{low:g}, {high:g}]")
    raise InvalidInputError(
        where, f"{value} cannot be stored; give None or a mask for what is missing, or nan_as_missing=True"
    )


def _numbers(given: Given) -> NDArray[np.float64]:
    """The entries as floats; a NaN is left for the caller to judge, and stands for what is missing."""
    entries = given.entries
    if entries.dtype.kind in "fiu":
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused as that
            return entries.astype(np.float64)
    if entries.dtype != object:
        raise InvalidInputError(given.name, f"has the type {entries.dtype}; give numbers")
    items = entries.tolist()
    if all(type(item) is float for item in items):
        return np.fromiter((item for item in items), dtype=np.float64, count=len(items))
    return np.fromiter(_each(given, _number, float("nan")), dtype=np.float64, count=len(items))


def _number(item: Any, where: str) -> float:
    return float(item) if isinstance(item, float | np.floating) else check.as_float(item, where)


def _each(given: Given, convert: Callable[[Any, str], Any], fill: Any) -> Iterator[Any]:
    """Convert entry by entry, naming the row that is refused; a text that comes often is converted once."""
    missing = repeat(False) if given.missing is None else given.missing.tolist()
    # Only text: 1 == True == 1.0, and the two hours of one clock face are equal datetimes.
    known: dict[str, Any] = {}
    for row, (item, is_missing) in enumerate(zip(given.entries.tolist(), missing, strict=False)):
        if is_missing:
            yield fill
        elif type(item) is not str:
            yield _converted(item, given, row, convert)
        else:
            if item not in known and len(known) < _MAX_KNOWN:
                known[item] = _converted(item, given, row, convert)
            yield known[item] if item in known else _converted(item, given, row, convert)


def _converted(item: Any, given: Given, row: int, convert: Callable[[Any, str], Any]) -> Any:
    try:
        return convert(item, given.name)
    except InvalidInputError:
        # Said again with the row, whose name takes longer to make than most values to check.
        convert(item, given.place(row))
        raise
