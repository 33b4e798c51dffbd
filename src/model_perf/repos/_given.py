"""What a caller hands over as a column, as one array and a mask of what is missing in it.

A column is an array, a sequence, a dataframe's column, or one value for all rows. What is missing is None, a
masked entry or a dataframe's null; a bare NaN is a value here, and judged by whoever looks at the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from model_perf.errors import InvalidInputError

_NULLS = ("NAType", "NaTType")
"""The types of pandas' nulls, which is not imported here."""


@frozen(kw_only=True, eq=False)
class Given:
    """A column's entries: one for all rows, or one per row. ``missing`` is None where nothing is."""

    name: str
    entries: NDArray[Any]
    missing: NDArray[np.bool_] | None = None
    is_scalar: bool = False

    @property
    def is_all_missing(self) -> bool:
        return self.missing is not None and bool(self.missing.all())

    def place(self, row: int) -> str:
        """How an error names an entry."""
        return self.name if self.is_scalar else f"{self.name}[{row}]"

    def present(self) -> NDArray[Any]:
        return self.entries if self.missing is None else self.entries[~self.missing]


def is_scalar(value: object) -> bool:
    """Whether it is one value for all rows."""
    return isinstance(value, str | bytes) or not hasattr(value, "__len__") or getattr(value, "ndim", None) == 0


def read_column(value: Any, name: str, *, is_required: bool) -> Given:
    """The entries of a column; a required one has no gap."""
    if is_scalar(value):
        return _read_scalar(value, name, is_required)
    array, missing = _read_entries(value, name)
    if array.ndim != 1:
        raise InvalidInputError(name, f"has shape {array.shape}; give one value per evaluation")
    if array.dtype == object:
        missing |= np.fromiter((e is None or type(e).__name__ in _NULLS for e in array), bool, len(array))
    if not missing.any():
        return Given(name=name, entries=array)
    if is_required:
        raise InvalidInputError(f"{name}[{int(missing.argmax())}]", "is missing")
    return Given(name=name, entries=array, missing=missing)


def _read_scalar(value: Any, name: str, is_required: bool) -> Given:
    if value is None and is_required:
        raise InvalidInputError(name, "is missing")
    if isinstance(value, np.generic | np.ndarray):
        return Given(name=name, entries=np.asarray(value).reshape(1), is_scalar=True)
    entries = np.empty(1, dtype=object)
    entries[0] = value
    is_null = value is None or type(value).__name__ in _NULLS
    return Given(name=name, entries=entries, missing=np.ones(1, dtype=bool) if is_null else None, is_scalar=True)


def _read_entries(value: Any, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if isinstance(value, np.ma.MaskedArray):
        return np.asarray(value.data), np.array(np.ma.getmaskarray(value))
    if hasattr(value, "isna"):
        return _from_pandas(value), np.array(value.isna(), dtype=bool)
    if hasattr(value, "is_null"):
        return _from_polars(value)
    if isinstance(value, Mapping | Set):
        raise InvalidInputError(name, f"is a {type(value).__name__}, whose entries have no order; give a sequence")
    if hasattr(value, "__array__"):
        array = np.asarray(value)
    else:
        # Through a generator, as numpy would keep the interpreter for the whole of a long list.
        array = np.fromiter((entry for entry in value), dtype=object, count=len(value))
    return array, np.zeros(len(array), dtype=bool)


def _from_pandas(value: Any) -> NDArray[Any]:
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "tz", None) is not None:
        return np.asarray(value.to_numpy(dtype="M8[us]"))  # in UTC
    if dtype is None or isinstance(dtype, np.dtype):
        return np.asarray(value.to_numpy())
    return np.asarray(value.to_numpy(dtype=object, na_value=None))


def _from_polars(value: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    missing = np.array(value.is_null(), dtype=bool)
    array = np.asarray(value.to_numpy())
    if missing.any() and array.dtype.kind == "f":  # whole numbers as well, for want of a null
        array = np.fromiter(value.to_list(), dtype=object, count=len(value))
    return array, missing
