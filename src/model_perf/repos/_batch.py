"""From what a caller hands over, records or a mapping of columns, to checked columns.

A column is an array, a sequence, or one value for all rows. What is missing is None, a masked entry or a
dataframe's null; a NaN is an error unless the caller says that it means missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from model_perf import _validation as check
from model_perf.errors import InvalidInputError
from model_perf.records import _METRIC_RANGES, METRIC_COLUMNS, NO_MACHINE, Evaluation
from model_perf.repos._bulk import EvaluationColumns, new_ids
from model_perf.repos._columns import Column

_REQUIRED = ("model_id", "model_type", "model_version", "evaluation_start", "evaluation_end")
_OPTIONAL = (
    *("machine_id", "evaluation_date", "evaluation_id", "sample_count", "data_completeness", "created_by"),
    *(*METRIC_COLUMNS, "metrics"),
)


class ColumnMapping(Protocol):
    """Anything with ``keys()`` and ``[name]``: a dict of arrays, a pandas DataFrame."""

    def keys(self) -> Iterable[str]: ...
    def __getitem__(self, name: str, /) -> Any: ...


def from_records(evaluations: Sequence[Evaluation]) -> EvaluationColumns:
    """The columns of records, which were checked when they were made; their verdicts are not taken over."""
    for i, evaluation in enumerate(evaluations):
        if not isinstance(evaluation, Evaluation):
            raise InvalidInputError(f"evaluations[{i}]", f"{evaluation!r} is not an Evaluation")
    n, rows = len(evaluations), evaluations
    return EvaluationColumns(
        n=n,
        columns={
            "model_id": _uuids([e.ref.model_id for e in rows], "model_id", n),
            "model_version": _integers([e.ref.model_version for e in rows], "model_version", n, np.int32),
            "machine_id": _uuids([e.ref.machine_id for e in rows], "machine_id", n),
            "model_type": _texts([e.ref.model_type for e in rows], "model_type", n),
            "evaluation_date": _times([e.evaluation_date for e in rows], "evaluation_date", n),
            "evaluation_start": _times([e.evaluation_start for e in rows], "evaluation_start", n),
            "evaluation_end": _times([e.evaluation_end for e in rows], "evaluation_end", n),
            "id": _uuids([e.id for e in rows], "id", n),
            "sample_count": _integers([e.sample_count for e in rows], "sample_count", n, np.int64),
            "data_completeness": _floats([e.data_completeness for e in rows], "data_completeness", n),
            **{name: _floats([e.metrics.get(name) for e in rows], name, n) for name in METRIC_COLUMNS},
            "metrics": _json([_further(e.metrics) for e in rows], n),
            "created_by": _texts([e.created_by for e in rows], "created_by", n),
            "metadata": _json([e.metadata for e in rows], n),
        },
    )


def from_columns(data: ColumnMapping, *, nan_as_missing: bool = False) -> EvaluationColumns:
    """Check the columns whole: names, lengths, types, ranges, windows; nothing is guessed."""
    names = list(data.keys())
    _check_names(names)
    n = _length({name: data[name] for name in names})
    given: dict[str, Any] = {name: data[name] for name in names}
    start = _times(given["evaluation_start"], "evaluation_start", n)
    end = _times(given["evaluation_end"], "evaluation_end", n)
    _check_windows(start, end, n)
    further = _further_columns(given.get("metrics"), n, nan_as_missing)
    metrics = {name: _metric(given.get(name), name, n, nan_as_missing) for name in METRIC_COLUMNS}
    _check_any_metric([*metrics.values(), *further.values()], n)
    date, number = given.get("evaluation_date"), given.get("evaluation_id")
    return EvaluationColumns(
        n=n,
        columns={
            "model_id": _uuids(given["model_id"], "model_id", n),
            "model_version": _integers(
                given["model_version"], "model_version", n, np.int32, high=check.INT4_MAX, nullable=False
            ),
            "machine_id": _uuids(given.get("machine_id", NO_MACHINE), "machine_id", n),
            "model_type": _texts(given["model_type"], "model_type", n, nullable=False),
            "evaluation_date": end if date is None else _times(date, "evaluation_date", n),
            "evaluation_start": start,
            "evaluation_end": end,
            "id": Column(n=n, data=new_ids(n)) if number is None else _uuids(number, "evaluation_id", n),
            "sample_count": _integers(given.get("sample_count"), "sample_count", n, np.int64),
            "data_completeness": _floats(
                given.get("data_completeness"), "data_completeness", n, nan_as_missing, low=0.0, high=1.0
            ),
            **metrics,
            "metrics": _json(_rows_of(further, n), n) if further else _json([{}], n),
            "created_by": _texts(given.get("created_by"), "created_by", n),
            "metadata": _json([{}], n),
        },
    )


def _further(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in METRIC_COLUMNS}


def _check_names(names: Sequence[str]) -> None:
    for name in _REQUIRED:
        if name not in names:
            raise InvalidInputError("evaluations", f"the column {name!r} is missing; needed are {', '.join(_REQUIRED)}")
    for name in names:
        if name not in _REQUIRED and name not in _OPTIONAL:
            raise InvalidInputError(
                "evaluations",
                f"{name!r} is no column of an evaluation; known are {', '.join((*_REQUIRED, *_OPTIONAL))}. A metric of "
                "your own goes into the mapping 'metrics'",
            )


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | bytes | int | float | UUID | datetime) or np.ndim(value) == 0  # type: ignore[arg-type]


def _length(columns: Mapping[str, Any]) -> int:
    further = columns.get("metrics")
    inner = {f"metrics[{name!r}]": further[name] for name in further} if isinstance(further, Mapping) else {}
    lengths = {
        name: len(column)
        for name, column in {**columns, **inner}.items()
        if name != "metrics" and not _is_scalar(column)
    }
    if not lengths:
        raise InvalidInputError("evaluations", "has no column of several rows; use record() for one evaluation")
    first, n = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != n:
            raise InvalidInputError(name, f"has {length} rows where {first} has {n}; all columns need the same length")
    return n


def _split(value: Any, name: str, n: int, *, nullable: bool) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """The entries of a column as an array, one for all rows or n, and which of them are missing."""
    if _is_scalar(value):
        array = np.empty(1, dtype=object)
        array[0] = value
        return array, None
    if isinstance(value, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(value)
        array = np.asarray(value.data)
    else:
        array, mask = _as_array(value), None
    if array.ndim != 1:
        raise InvalidInputError(name, f"has shape {array.shape}; give one value per evaluation")
    if array.dtype == object:
        gone = np.fromiter((item is None or type(item).__name__ in ("NAType", "NaTType") for item in array), bool, n)
        mask = gone if mask is None else mask | gone
    if mask is None or not mask.any():
        return array, None
    if not nullable:
        raise InvalidInputError(f"{name}[{int(mask.argmax())}]", "is missing")
    return array, mask


def _as_array(value: Any) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "to_numpy"):  # dataframes' columns
        return np.asarray(value.to_numpy())
    array = np.empty(len(value), dtype=object)
    array[:] = value
    return array


def _each(
    array: NDArray[Any], mask: NDArray[np.bool_] | None, name: str, convert: Callable[[Any, str], Any], fill: Any
) -> list[Any]:
    """Convert entry by entry, naming the row that is refused; equal entries are converted once."""
    known: dict[Any, Any] = {}
    found = []
    gone = [False] * len(array) if mask is None else mask.tolist()
    for i, (item, is_missing) in enumerate(zip(array.tolist(), gone, strict=True)):
        if is_missing:
            found.append(fill)
            continue
        try:
            value = known.get(item)
        except TypeError:  # unhashable, so certainly not what is wanted here
            value = None
        if value is None:
            value = convert(item, f"{name}[{i}]" if len(array) > 1 else name)
            if len(known) < 10_000:
                known[item] = value
        found.append(value)
    return found


def _null(n: int) -> Column:
    return Column(n=n, data=np.empty(0))


def _uuids(value: Any, name: str, n: int) -> Column:
    array, _ = _split(value, name, n, nullable=False)
    if array.dtype == np.uint8 and array.ndim == 2:
        return Column(n=n, data=array)
    raw = b"".join(_each(array, None, name, lambda item, where: check.as_uuid(item, where).bytes, b""))
    return Column(n=n, data=np.frombuffer(raw, dtype=np.uint8).reshape(len(array), 16))


def _times(value: Any, name: str, n: int) -> Column:
    array, _ = _split(value, name, n, nullable=False)
    if array.dtype.kind == "M":
        bad = np.isnat(array)
        if bad.any():
            raise InvalidInputError(f"{name}[{int(bad.argmax())}]", "is missing (NaT)")
        return Column(n=n, data=array.astype("M8[us]"))
    stamps = _each(array, None, name, lambda item, where: check.as_timestamp(item, where).replace(tzinfo=None), None)
    return Column(n=n, data=np.array(stamps, dtype="M8[us]"))


def _texts(value: Any, name: str, n: int, *, nullable: bool = True) -> Column:
    if value is None:
        return _null(n)
    array, mask = _split(value, name, n, nullable=nullable)
    if mask is not None and mask.all():
        return _null(n)
    encoded = _each(array, mask, name, lambda item, where: check.as_text(item, where, max_length=200).encode(), b"")
    return Column(n=n, data=np.array(encoded, dtype=np.bytes_), missing=mask)


def _json(rows: Sequence[Mapping[str, object]], n: int) -> Column:
    if not any(rows):
        rows = [{}]
    return Column(n=n, data=np.array([check.to_json(row).encode() for row in rows], dtype=np.bytes_), is_json=True)


def _integers(
    value: Any, name: str, n: int, dtype: type[np.integer[Any]], *, high: int = check.INT8_MAX, nullable: bool = True
) -> Column:
    if value is None and nullable:
        return _null(n)
    array, mask = _split(value, name, n, nullable=nullable)
    if mask is not None and mask.all():
        return _null(n)
    if array.dtype.kind in "iu":
        present = array if mask is None else array[~mask]
        if len(present) and (int(present.min()) < 0 or int(present.max()) > high):
            bad = int((((array < 0) | (array > high)) & (True if mask is None else ~mask)).argmax())
            raise InvalidInputError(f"{name}[{bad}]", f"{array[bad]} is outside [0, {high}]")
        return Column(n=n, data=array.astype(dtype), missing=mask)
    whole = _each(array, mask, name, lambda item, where: check.as_int(item, where, high=high), 0)
    return Column(n=n, data=np.array(whole, dtype=dtype), missing=mask)


def _floats(
    value: Any,
    name: str,
    n: int,
    nan_as_missing: bool = False,
    *,
    low: float = -np.inf,
    high: float = np.inf,
) -> Column:
    if value is None:
        return _null(n)
    array, mask = _split(value, name, n, nullable=True)
    if mask is not None and mask.all():
        return _null(n)
    if array.dtype.kind in "fiu":
        numbers = array.astype(np.float64)
    elif array.dtype == object:
        numbers = _numbers(array, mask, name)
    else:
        raise InvalidInputError(name, f"has the type {array.dtype}; give numbers")
    numbers = np.where(mask, 0.0, numbers) if mask is not None else numbers
    if nan_as_missing and np.isnan(numbers).any():
        mask = np.isnan(numbers) if mask is None else mask | np.isnan(numbers)
        numbers = np.where(mask, min(max(0.0, low), high), numbers)
    _check_range(numbers, mask, name, low, high)
    return _null(n) if mask is not None and mask.all() else Column(n=n, data=numbers, missing=mask)


def _numbers(array: NDArray[Any], mask: NDArray[np.bool_] | None, name: str) -> NDArray[np.float64]:
    items = array.tolist()
    try:
        # The usual case in one pass; anything but plain floats is looked at one by one.
        if mask is None and all(type(item) is float for item in items):
            return np.array(items, dtype=np.float64)
        return np.array(
            [0.0 if item is None else _number(item, f"{name}[{i}]") for i, item in enumerate(items)], dtype=np.float64
        )
    except OverflowError:
        raise InvalidInputError(name, "has a number that does not fit a 64-bit float") from None


def _number(item: Any, where: str) -> float:
    """A number that may still be NaN, which the caller of `_floats` decides about."""
    if type(item).__name__ == "NAType" or (isinstance(item, float) and item != item):
        return float("nan")
    return item if type(item) is float else check.as_float(item, where)


def _check_range(
    numbers: NDArray[np.float64], mask: NDArray[np.bool_] | None, name: str, low: float, high: float
) -> None:
    good = np.isfinite(numbers) & (numbers >= low) & (numbers <= high)
    if mask is not None:
        good |= mask
    if not good.all():
        i = int((~good).argmax())
        value = float(numbers[i])
        where = f"{name}[{i}]" if len(numbers) > 1 else name
        if np.isfinite(value):
            raise InvalidInputError(where, f"{value} is outside [{low:g}, {high:g}]")
        raise InvalidInputError(
            where, f"{value} cannot be stored; give None or a mask for what is missing, or nan_as_missing=True"
        )


def _metric(value: Any, name: str, n: int, nan_as_missing: bool) -> Column:
    low, high = _METRIC_RANGES.get(name, (-np.inf, np.inf))
    return _floats(value, name, n, nan_as_missing, low=low, high=high)


def _further_columns(value: Any, n: int, nan_as_missing: bool) -> dict[str, Column]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInputError("metrics", "give a mapping of metric names to columns")
    return {
        check.as_text(name, "metrics", max_length=200): _floats(column, f"metrics[{name!r}]", n, nan_as_missing)
        for name, column in value.items()
    }


def _rows_of(columns: Mapping[str, Column], n: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [{} for _ in range(n)]
    for name, column in columns.items():
        for row, value in zip(rows, column.to_list(), strict=True):
            if value is not None:
                row[name] = value
    return rows


def _check_windows(start: Column, end: Column, n: int) -> None:
    good = np.broadcast_to(end.data > start.data, (n,))
    if not good.all():
        i = int((~good).argmax())
        raise InvalidInputError(f"evaluation_end[{i}]", "is not after evaluation_start; the window is [start, end)")


def _check_any_metric(columns: Sequence[Column], n: int) -> None:
    has_value = np.zeros(n, dtype=bool)
    for column in columns:
        if not column.is_null:
            has_value |= True if column.missing is None else ~column.missing
    if not has_value.all():
        i = int((~has_value).argmax())
        raise InvalidInputError(f"evaluations[{i}]", "has no metric at all; give at least one value per evaluation")
