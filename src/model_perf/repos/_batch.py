"""From what a caller hands over, records or a mapping of columns, to checked columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model_perf import _validation as check
from model_perf.errors import InvalidInputError
from model_perf.records import _METRIC_RANGES, METRIC_COLUMNS, NO_MACHINE, Evaluation, ModelRef
from model_perf.repos import _checked as checked
from model_perf.repos._bulk import EvaluationColumns, new_ids
from model_perf.repos._columns import Column
from model_perf.repos._given import is_scalar

_WITH_COLUMNS = frozenset(METRIC_COLUMNS)
_REQUIRED = ("model_id", "model_type", "model_version", "evaluation_start", "evaluation_end")
_OPTIONAL = (
    *("machine_id", "evaluation_date", "evaluation_id", "sample_count", "data_completeness", "created_by"),
    *(*METRIC_COLUMNS, "metrics"),
)
_NONE: Mapping[str, float] = {}
_NAN = float("nan")


class ColumnMapping(Protocol):
    """Anything with ``keys()`` and ``[name]``: a dict of arrays, a pandas DataFrame."""

    def keys(self) -> Iterable[str]: ...
    def __getitem__(self, name: str, /) -> Any: ...


def from_records(evaluations: Sequence[Evaluation]) -> EvaluationColumns:
    """The columns of records, which were checked when they were made; their verdicts are not taken over."""
    rows = list(evaluations)
    for i, row in enumerate(rows):
        if not isinstance(row, Evaluation):
            raise InvalidInputError(f"evaluations[{i}]", f"{row!r} is not an Evaluation")
    n = len(rows)
    return EvaluationColumns(
        n=n,
        columns={
            **_deployment_columns([e.ref for e in rows], n),
            **_time_columns(rows, n),
            "id": Column(n=n, data=checked.packed_uuids((e.id for e in rows), n)),
            **_quality_columns(rows, n),
            **_metric_columns([e.metrics for e in rows], n),
            "created_by": checked.texts([e.created_by for e in rows], "created_by", n),
            "metadata": checked.json_objects([e.metadata for e in rows], n),
        },
    )


def _deployment_columns(refs: Sequence[ModelRef], n: int) -> dict[str, Column]:
    """Deployments are few beside their evaluations: each is converted once."""
    places: dict[int, int] = {}
    rows = np.fromiter((places.setdefault(id(ref), len(places)) for ref in refs), dtype=np.intp, count=n)
    by_id = {id(ref): ref for ref in refs}
    distinct = [by_id[number] for number in places]
    k = len(distinct)
    data: dict[str, NDArray[Any]] = {
        "model_id": checked.packed_uuids((ref.model_id for ref in distinct), k),
        "model_version": np.array([ref.model_version for ref in distinct], dtype=np.int32),
        "machine_id": checked.packed_uuids((ref.machine_id for ref in distinct), k),
        "model_type": np.fromiter((ref.model_type.encode() for ref in distinct), dtype=object, count=k),
    }
    return {name: Column(n=n, data=each if k == 1 else each[rows]) for name, each in data.items()}


def _time_columns(rows: Sequence[Evaluation], n: int) -> dict[str, Column]:
    end = Column(n=n, data=checked.packed_times((e.evaluation_end for e in rows), n))
    has_dates = any(e.evaluation_date is not e.evaluation_end for e in rows)
    dates = checked.packed_times((e.evaluation_date for e in rows), n) if has_dates else end.data
    return {
        "evaluation_date": Column(n=n, data=dates),
        "evaluation_start": Column(n=n, data=checked.packed_times((e.evaluation_start for e in rows), n)),
        "evaluation_end": end,
    }


def _quality_columns(rows: Sequence[Evaluation], n: int) -> dict[str, Column]:
    # Neither is ever negative, so that -1 can stand for None.
    counts = np.fromiter((-1 if e.sample_count is None else e.sample_count for e in rows), dtype=np.int64, count=n)
    shares = (-1.0 if e.data_completeness is None else e.data_completeness for e in rows)
    completeness = np.fromiter(shares, dtype=np.float64, count=n)
    return {
        "sample_count": checked.with_gaps(counts, counts < 0, n),
        "data_completeness": checked.with_gaps(completeness, completeness < 0.0, n),
    }


def _metric_columns(metrics: Sequence[Mapping[str, float]], n: int) -> dict[str, Column]:
    columns = {}
    for name in METRIC_COLUMNS:
        numbers = np.fromiter((each.get(name, _NAN) for each in metrics), dtype=np.float64, count=n)
        columns[name] = checked.with_gaps(numbers, np.isnan(numbers), n)
    columns["metrics"] = checked.json_objects([_further(each) for each in metrics], n)
    return columns


def _further(metrics: Mapping[str, float]) -> Mapping[str, float]:
    if metrics.keys() <= _WITH_COLUMNS:
        return _NONE
    return {name: value for name, value in metrics.items() if name not in _WITH_COLUMNS}


def from_columns(data: ColumnMapping, *, nan_as_missing: bool = False) -> EvaluationColumns:
    """Check the columns whole: names, lengths, types, ranges, windows; nothing is guessed."""
    names = list(data.keys())
    _check_names(names)
    given = {name: data[name] for name in names}
    n = _length(given)
    start = checked.times(given["evaluation_start"], "evaluation_start", n)
    end = checked.times(given["evaluation_end"], "evaluation_end", n)
    _check_windows(start, end, n)
    further = _further_columns(given.get("metrics"), n, nan_as_missing)
    metrics = {name: _metric(given.get(name), name, n, nan_as_missing) for name in METRIC_COLUMNS}
    _check_any_metric([*metrics.values(), *further.values()], n)
    date, number = given.get("evaluation_date"), given.get("evaluation_id")
    return EvaluationColumns(
        n=n,
        columns={
            "model_id": checked.uuids(given["model_id"], "model_id", n),
            "model_version": checked.integers(
                given["model_version"], "model_version", n, np.int32, high=check.INT4_MAX, is_required=True
            ),
            "machine_id": checked.uuids(given.get("machine_id", NO_MACHINE), "machine_id", n),
            "model_type": checked.texts(given["model_type"], "model_type", n, is_required=True),
            "evaluation_date": end if date is None else checked.times(date, "evaluation_date", n),
            "evaluation_start": start,
            "evaluation_end": end,
            "id": Column(n=n, data=new_ids(n)) if number is None else checked.uuids(number, "evaluation_id", n),
            "sample_count": checked.integers(given.get("sample_count"), "sample_count", n, np.int64),
            "data_completeness": checked.floats(
                given.get("data_completeness"), "data_completeness", n, nan_as_missing, low=0.0, high=1.0
            ),
            **metrics,
            "metrics": checked.json_objects(_rows_of(further), n),
            "created_by": checked.texts(given.get("created_by"), "created_by", n),
            "metadata": checked.json_objects([], n),
        },
    )


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


def _length(columns: Mapping[str, Any]) -> int:
    further = columns.get("metrics")
    inner = {f"metrics[{name!r}]": further[name] for name in further} if isinstance(further, Mapping) else {}
    lengths = {
        name: len(column)
        for name, column in {**columns, **inner}.items()
        if name != "metrics" and not is_scalar(column)
    }
    if not lengths:
        raise InvalidInputError("evaluations", "has no column of several rows; use record() for one evaluation")
    first, n = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != n:
            raise InvalidInputError(name, f"has {length} rows where {first} has {n}; all columns need the same length")
    return n


def _metric(value: Any, name: str, n: int, nan_as_missing: bool) -> Column:
    low, high = _METRIC_RANGES.get(name, (-np.inf, np.inf))
    return checked.floats(value, name, n, nan_as_missing, low=low, high=high)


def _further_columns(value: Any, n: int, nan_as_missing: bool) -> dict[str, Column]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInputError("metrics", "give a mapping of metric names to columns")
    for name in value:
        check.as_text(name, "metrics", max_length=200)
        if name in _WITH_COLUMNS:
            raise InvalidInputError(f"metrics[{name!r}]", "has a column of its own; give it beside 'metrics'")
    return {name: checked.floats(column, f"metrics[{name!r}]", n, nan_as_missing) for name, column in value.items()}


def _rows_of(columns: Mapping[str, Column]) -> Iterator[dict[str, object]]:
    for values in zip(*(column.to_list() for column in columns.values()), strict=True):
        yield {name: value for name, value in zip(columns, values, strict=True) if value is not None}


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
