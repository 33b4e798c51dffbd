"""What a column holds: its kind, its values as numpy has them, and how many are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen
from numpy.typing import NDArray

from model_perf.errors import InvalidInputError

Kind = Literal["numeric", "categorical", "boolean", "datetime"]
Numbers: TypeAlias = NDArray[Any]
"""float64, int64 or uint64."""

STRETCH_ROWS = 20_000
"""Rows of Python's values that are worked on in one go: no other thread runs meanwhile, the host's loop included."""

_TOO_LARGE = "holds a number beyond the largest 64-bit float"
_COARSE = ("Y", "M", "W", "D", "h", "m", "s", "ms")
_NAIVE_EPOCH, _EPOCH, _MICROSECOND = datetime(1970, 1, 1), datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)  # noqa: DTZ001
_NO_VALUE = {"NoneType", "NAType", "NaTType"}  # pandas' own, told by name: it need not be installed
_INT64, _UINT64 = (np.iinfo(np.int64).min, np.iinfo(np.int64).max), (0, np.iinfo(np.uint64).max)


@frozen(eq=False)
class ZonedTimes:
    """Times in UTC of a column that had a zone, which numpy's times have not; shape (n,)."""

    values: NDArray[np.datetime64]


@frozen(kw_only=True, eq=False)
class Column:
    """A column as it is profiled.

    Attributes
    ----------
    kind : Kind or None
        None where nothing is there to tell it by.
    present : array, shape (n - missing,)
        float64, int64 or uint64 of a numeric column, int64 microseconds since 1970 (UTC) of a datetime, text (as
        objects) of a categorical one, bool of a boolean.
    is_present : array of bool, shape (n,), or None
        None = all rows.
    n : int
        Rows.
    has_zone : bool or None
        Of times, whether they have a zone; None of everything else.
    """

    kind: Kind | None
    present: NDArray[Any]
    is_present: NDArray[np.bool_] | None
    n: int
    has_zone: bool | None = None

    @property
    def missing(self) -> int:
        """Rows without a value."""
        return self.n - len(self.present)


def read_column(values: object, name: str) -> Column:
    """Tell numbers, text, truth values and times apart; NaN, NaT, None, pandas' NA and masked entries are missing.

    Raises
    ------
    InvalidInputError
        More than one dimension, complex numbers, values of several kinds, times with and without a zone, times and
        numbers beyond what 64 bits hold.
    """
    zoned = isinstance(values, ZonedTimes)
    values = values.values if isinstance(values, ZonedTimes) else values
    masked = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    array = values.data if isinstance(values, np.ma.MaskedArray) else _as_array(values)
    if array.ndim != 1:
        raise InvalidInputError(name, f"has {array.ndim} dimensions; give a column, one value per row")
    reader = _READERS.get(array.dtype.kind)
    if reader is None:
        raise InvalidInputError(name, f"holds {array.dtype}; give numbers, text, truth values or times")
    kind, converted, gone = reader(array, name)
    if masked is not None:
        gone = masked if gone is None else gone | masked
    is_present = None if gone is None or not gone.any() else ~gone
    present = converted if is_present is None else converted[is_present]
    if not present.size:
        kind = None
    has_zone = zoned or _has_zone(array, gone) if kind == "datetime" else None
    return Column(kind=kind, present=present, is_present=is_present, n=array.size, has_zone=has_zone)


def _has_zone(array: NDArray[Any], gone: NDArray[np.bool_] | None) -> bool:
    """By the first value: all have one, or none has."""
    return getattr(array[0 if gone is None else int(np.argmin(gone))], "tzinfo", None) is not None


def _as_array(values: object) -> NDArray[Any]:
    """As numpy has it, but where that loses something.

    Of a list with text in it numpy makes text of NaN and of numbers, too; of pandas' whole numbers floats, where some
    are missing.
    """
    array = np.asarray(values)
    if array.dtype.kind == "f" and getattr(getattr(values, "dtype", None), "kind", "f") in "iu":
        return np.asarray(values, dtype=object)
    if array.dtype.kind in "US" and array.ndim == 1 and isinstance(values, list | tuple):
        return cast_stretches(values, object)
    return array


def cast_stretches(values: Sequence[object] | NDArray[Any], dtype: npt.DTypeLike) -> NDArray[Any]:
    """What ``np.array(values, dtype)`` is of values in one dimension, a stretch at a time."""
    array = np.empty(len(values), dtype)
    for begin in range(0, len(values), STRETCH_ROWS):
        array[begin : begin + STRETCH_ROWS] = values[begin : begin + STRETCH_ROWS]
    return array


_Read: TypeAlias = tuple[Kind | None, NDArray[Any], NDArray[np.bool_] | None]


def _read_booleans(array: NDArray[Any], name: str) -> _Read:
    return "boolean", array, None


def _read_integers(array: NDArray[Any], name: str) -> _Read:
    """Never as floats: beyond 2^53 neighbours would become equal."""
    is_large = array.dtype == np.uint64 and array.size and array.max() > _INT64[1]
    return "numeric", array.astype(np.uint64 if is_large else np.int64, copy=False), None


def _read_floats(array: NDArray[Any], name: str) -> _Read:
    with np.errstate(over="ignore"):
        floats = array.astype(np.float64, copy=False)
    if array.dtype.itemsize > floats.dtype.itemsize and np.any(np.isinf(floats) & ~np.isinf(array)):
        raise InvalidInputError(name, _TOO_LARGE)
    gone = np.isnan(floats)
    return "numeric", floats, gone


def _read_times(array: NDArray[Any], name: str) -> _Read:
    gone = np.isnat(array)
    kind: Kind = "numeric" if array.dtype.kind == "m" else "datetime"
    converted = array.astype(f"{array.dtype.kind}8[us]")
    # Of coarser units numpy lets what is too far off come out anywhere.
    if np.datetime_data(array.dtype)[0] in _COARSE and np.any((converted.astype(array.dtype) != array) & ~gone):
        raise InvalidInputError(name, "holds a time beyond what 64 bits of microseconds hold, the year 294246")
    return kind, converted.view(np.int64), gone


def _read_text(array: NDArray[Any], name: str) -> _Read:
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "backslashreplace")
    return "categorical", cast_stretches(array, object), None


def _read_strings(array: NDArray[Any], name: str) -> _Read:
    """Of numpy's own type for text of any length, whose missing value may be NaN or None."""
    return _read_objects(cast_stretches(array, object), name)


def _read_objects(array: NDArray[Any], name: str) -> _Read:
    gone = np.fromiter((_is_missing(value) for value in array), np.bool_, array.size)
    present = array[~gone]
    kinds = {_kind_of(type(value), name) for value in present}
    if len(kinds) > 1:
        raise InvalidInputError(name, f"holds values of several kinds ({', '.join(sorted(kinds))}); give one kind")
    if not kinds:
        return None, array, gone
    [kind] = kinds
    read = _OBJECTS[kind](present, name)
    converted = np.zeros(array.size, dtype=read.dtype)
    converted[~gone] = read
    return kind, converted, gone


_READERS: dict[str, Callable[[NDArray[Any], str], _Read]] = {
    "b": _read_booleans, "i": _read_integers, "u": _read_integers, "f": _read_floats, "M": _read_times,
    "m": _read_times, "U": _read_text, "S": _read_text, "T": _read_strings, "O": _read_objects,
}  # fmt: skip


def _is_missing(value: object) -> bool:
    if isinstance(value, Decimal):
        return value.is_nan()  # a signalling NaN cannot be compared
    if isinstance(value, float | np.floating):
        return bool(value != value)
    return type(value).__name__ in _NO_VALUE or (isinstance(value, np.datetime64 | np.timedelta64) and np.isnat(value))


def _kind_of(kind: type, name: str) -> Kind:
    if issubclass(kind, bool | np.bool_):
        return "boolean"
    if issubclass(kind, int | float | Decimal | np.integer | np.floating | timedelta | np.timedelta64):
        return "numeric"
    if issubclass(kind, date | np.datetime64):  # a datetime is a date
        return "datetime"
    if issubclass(kind, str | bytes):
        return "categorical"
    raise InvalidInputError(name, f"holds values of type {kind.__name__}; give numbers, text, truth values or times")


def _objects_as_booleans(present: NDArray[Any], name: str) -> NDArray[Any]:
    return present.astype(np.bool_)


def _objects_as_numbers(present: NDArray[Any], name: str) -> NDArray[Any]:
    are_spans = {isinstance(value, timedelta | np.timedelta64) for value in present}
    if len(are_spans) > 1:
        raise InvalidInputError(name, "holds spans of time and plain numbers; give one kind")
    if are_spans == {True}:
        return cast_stretches(present, "m8[us]").view(np.int64)
    if all(isinstance(value, int | np.integer) for value in present):
        low, high = min(int(value) for value in present), max(int(value) for value in present)
        if _INT64[0] <= low and high <= _INT64[1]:
            return cast_stretches(present, np.int64)
        if _UINT64[0] <= low and high <= _UINT64[1]:
            return cast_stretches(present, np.uint64)
    try:
        floats = cast_stretches(present, np.float64)
    except OverflowError:
        raise InvalidInputError(name, _TOO_LARGE) from None
    if any(
        value != infinite for value, infinite in zip(present[np.isinf(floats)], floats[np.isinf(floats)], strict=True)
    ):
        raise InvalidInputError(name, _TOO_LARGE)
    return floats


def _objects_as_times(present: NDArray[Any], name: str) -> NDArray[Any]:
    return np.fromiter(_microseconds(present, name), np.int64, present.size)


def _microseconds(present: NDArray[Any], name: str) -> Iterable[int]:
    zoned = {isinstance(value, datetime) and value.tzinfo is not None for value in present}
    if len(zoned) > 1:
        raise InvalidInputError(name, "holds times with and without a zone; give all of them one")
    for value in present:
        if isinstance(value, datetime):
            # A difference, since in UTC the last hours of the year 9999 may be those of the next.
            yield (value - (_NAIVE_EPOCH if value.tzinfo is None else _EPOCH)) // _MICROSECOND
        else:
            yield int(np.datetime64(value).astype("M8[us]").view(np.int64))


def _objects_as_text(present: NDArray[Any], name: str) -> NDArray[Any]:
    are_bytes = {isinstance(value, bytes) for value in present}
    if len(are_bytes) > 1:
        raise InvalidInputError(name, "holds bytes and text; give one kind")
    if are_bytes == {True}:
        return np.array([value.decode("utf-8", "backslashreplace") for value in present], dtype=object)
    return present


_OBJECTS: dict[Kind, Callable[[NDArray[Any], str], NDArray[Any]]] = {
    "boolean": _objects_as_booleans,
    "numeric": _objects_as_numbers,
    "datetime": _objects_as_times,
    "categorical": _objects_as_text,
}
