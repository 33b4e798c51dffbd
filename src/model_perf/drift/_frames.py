"""Columns out of mappings and dataframes; narwhals reads the latter, where it is installed (extra ``dataframe``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from model_perf.errors import InvalidInputError

_MEND = "give a mapping of names to arrays, or a dataframe of pandas, polars or pyarrow (extra 'dataframe')"


def read_columns(data: Any) -> dict[str, Any]:
    """The columns by name, as arrays or sequences."""
    columns = dict(data) if isinstance(data, Mapping) else _read_frame(data)
    for name in columns:
        if not isinstance(name, str):
            raise InvalidInputError("data", f"has a column named {name!r}; give names as text")
    return columns


def _read_frame(data: Any) -> dict[str, Any]:
    try:
        import narwhals.stable.v1 as nw
    except ImportError:
        raise InvalidInputError("data", f"is a {type(data).__name__}; {_MEND}") from None
    try:
        frame = nw.from_native(data, eager_only=True)
    except TypeError:
        raise InvalidInputError("data", f"is a {type(data).__name__}; {_MEND}") from None
    return {str(name): _read_series(frame[name], str(name), nw) for name in frame.columns}


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
        return _masked(times.dt.timestamp("us"), 0).view("M8[us]")
    if kind in (nw.String, nw.Categorical, nw.Enum, nw.Object):
        return np.array(series.to_list(), dtype=object)
    raise InvalidInputError(name, f"holds {kind}; give numbers, text, truth values or times")


def _masked(series: Any, filler: object) -> Any:
    gone = series.is_null().to_numpy()
    if not gone.any():
        return series.to_numpy()
    return np.ma.masked_array(series.fill_null(filler).to_numpy(), np.asarray(gone, np.bool_))
