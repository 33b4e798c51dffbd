"""Columns out of mappings and dataframes; narwhals reads the latter, where it is installed (extra ``dataframe``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from model_perf import _validation as check
from model_perf.drift._columns import ZonedTimes
from model_perf.errors import InvalidInputError

_MEND = "give a mapping of names to arrays, or a dataframe of pandas, polars or pyarrow (extra 'dataframe')"

SLICE_ROWS = 200_000
"""Texts that a dataframe hands over in one go, in 10 ms or so. Calls that give the interpreter's lock back within its 5
ms and take it again at once would let no other thread in, the host's loop included, until the last of them."""


def read_columns(data: Any) -> dict[str, Any]:
    """The columns by name, as arrays or sequences."""
    columns = _read_mapping(data) if isinstance(data, Mapping) else _read_frame(data)
    for name in columns:
        if not isinstance(name, str):
            raise InvalidInputError("data", f"has a column named {name!r}; give names as text")
        # Or a report on them could not be kept.
        check.refuse_unstorable(name, f"data[{name!r}]")
    return columns


def _read_mapping(data: Mapping[Any, Any]) -> dict[Any, Any]:
    """Series, too, as a dataframe's: as an array polars' whole numbers with nulls are floats."""
    if all(isinstance(values, np.ndarray | list | tuple) for values in data.values()):
        return dict(data)
    try:
        import narwhals.stable.v1 as nw
    except ImportError:
        return dict(data)
    series = {name: nw.from_native(values, series_only=True, strict=False) for name, values in data.items()}
    return {
        name: _read_series(values, str(name), nw) if isinstance(values, nw.Series) else values
        for name, values in series.items()
    }


def _read_frame(data: Any) -> dict[str, Any]:
    try:
        import narwhals.stable.v1 as nw
    except ImportError:
        raise InvalidInputError("data", f"is a {type(data).__name__}; {_MEND}") from None
    try:
        frame = nw.from_native(data, eager_only=True)
    except TypeError:
        raise InvalidInputError("data", f"is a {type(data).__name__}; {_MEND}") from None
    except ValueError as refused:  # columns of one name
        raise InvalidInputError("data", str(refused)) from None
    # Numbers as names would be taken for rows by frame[name].
    return dict(
        zip(map(str, frame.columns), (_read_series(each, each.name, nw) for each in frame.iter_columns()), strict=True)
    )


def _read_series(series: Any, name: str, nw: Any) -> Any:
    """As an array with its nulls masked: whole numbers with nulls would become floats, which end at 2^53."""
    kind = series.dtype
    if kind.is_integer():
        return _masked(series, 0)
    if kind.is_float():
        return series.to_numpy()
    if kind.is_decimal():
        return series.cast(nw.Float64).to_numpy()
    if kind == nw.Boolean:
        return _masked(series, False)
    if kind == nw.Datetime or kind == nw.Date:
        times = series.cast(nw.Datetime("us")) if kind == nw.Date else series
        counted = _microseconds(times, times.drop_nulls().dt.timestamp("us"), "M8[us]")
        return ZonedTimes(counted) if getattr(kind, "time_zone", None) else counted
    if kind == nw.Duration:
        return _microseconds(series, series.drop_nulls().dt.total_microseconds(), "m8[us]")
    if kind in (nw.Categorical, nw.Enum):  # by decision of whoever made them, whatever their names are
        return _as_objects(series, lambda part: part.cast(nw.String).to_list())
    if kind in (nw.String, nw.Object) or series.is_null().all():
        return _as_objects(series, lambda part: part.to_list())
    native = getattr(series.to_native(), "dtype", kind)
    raise InvalidInputError(name, f"holds {native}; give numbers, text, truth values or times")


def _as_objects(series: Any, read: Callable[[Any], list[Any]]) -> Any:
    """Lists among them stay values, which are refused later."""
    array = np.empty(len(series), dtype=object)
    for begin in range(0, len(series), SLICE_ROWS):
        array[begin : begin + SLICE_ROWS] = read(series[begin : begin + SLICE_ROWS])
    return array


def _microseconds(series: Any, present: Any, kind: str) -> Any:
    """Of *series* what is *present*, as counts; nulls among them would make floats of pandas' counts."""
    array = np.full(len(series), "NaT", kind)
    array[~np.asarray(series.is_null().to_numpy(), np.bool_)] = present.to_numpy().astype(np.int64).view(kind)
    return array


def _masked(series: Any, filler: object) -> Any:
    gone = series.is_null().to_numpy()
    if not gone.any():
        return series.to_numpy()
    return np.ma.masked_array(series.fill_null(filler).to_numpy(), np.asarray(gone, np.bool_))
