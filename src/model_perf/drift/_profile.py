"""The profile of a dataset: counts per column, from which a later window is compared without the rows themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias
from zlib import compress, decompress, error

import numpy as np
from attrs import evolve, frozen
from numpy.typing import ArrayLike, NDArray

from model_perf import _validation as check
from model_perf.drift._categorical_profile import CategoricalProfile, count_values, stretches_of_names
from model_perf.drift._columns import Column, read_column
from model_perf.drift._frames import read_columns
from model_perf.drift._knots import Knots, choose_knots
from model_perf.drift._numeric_profile import NumericProfile, count_numbers, stretches_of_numbers
from model_perf.errors import InvalidInputError, SchemaError

ColumnProfile: TypeAlias = NumericProfile | CategoricalProfile
Rows = Literal["independent", "time_ordered"]

MAX_STRETCHES = 512
"""Of time-ordered rows: fine enough to be joined to stretches of about any window's length."""

_VERSION = 1
_MAGIC = b"MPDP"


@frozen(kw_only=True, eq=False)
class DatasetProfile:
    """Counts of every column; made by `profile`.

    Attributes
    ----------
    n_rows : int
    rows : "independent" or "time_ordered"
    columns : mapping of str to NumericProfile or CategoricalProfile
    added : tuple of str
        Columns that the reference does not have, which nothing can be said of.
    """

    n_rows: int
    rows: Rows
    columns: Mapping[str, ColumnProfile]
    added: tuple[str, ...] = ()

    def __add__(self, other: DatasetProfile) -> DatasetProfile:
        """The profile of both data together, exact; both must be counted with the same reference.

        Raises
        ------
        InvalidInputError
            They have other columns or other edges.
        """
        if self.columns.keys() != other.columns.keys():
            missing = sorted(self.columns.keys() ^ other.columns.keys())
            raise InvalidInputError("other", f"lacks or adds the columns {', '.join(missing)}")
        joined = {name: _add(name, column, other.columns[name]) for name, column in self.columns.items()}
        return evolve(
            self,
            n_rows=self.n_rows + other.n_rows,
            columns=joined,
            added=tuple(dict.fromkeys([*self.added, *other.added])),
        )

    def to_dict(self) -> dict[str, object]:
        """The JSON object that `from_dict` reads."""
        return {**self._fields(), "columns": {name: column.to_dict() for name, column in self.columns.items()}}

    def _fields(self) -> dict[str, object]:
        return {
            "v": _VERSION,
            "n_rows": self.n_rows,
            "rows": self.rows,
            "columns": dict(self.columns),
            "added": list(self.added),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DatasetProfile:
        """The profile that `to_dict` wrote.

        Raises
        ------
        SchemaError
            It was written by a newer version.
        """
        if data.get("v") != _VERSION:
            raise SchemaError(f"a profile of version {data.get('v')!r} is not one of this model_perf; upgrade it")
        return cls(
            n_rows=data["n_rows"],
            rows=data["rows"],
            columns={name: _column_from_dict(column) for name, column in data["columns"].items()},
            added=tuple(data["added"]),
        )

    def to_bytes(self) -> bytes:
        """The binary form that `from_bytes` reads: a tenth of the JSON."""
        # A function of ours per column: within json's own no other thread runs, the host's loop included.
        text = json.dumps(self._fields(), allow_nan=False, default=lambda column: column.to_dict())
        return _MAGIC + bytes([_VERSION]) + compress(text.encode())

    @classmethod
    def from_bytes(cls, data: bytes) -> DatasetProfile:
        """The profile that `to_bytes` wrote."""
        if data[:4] != _MAGIC:
            raise InvalidInputError("data", "is not a profile of model_perf; give what to_bytes() returned")
        if data[4:5] not in (b"", bytes([_VERSION])):
            raise SchemaError(f"a profile of version {data[4]} is not one of this model_perf; upgrade it")
        try:
            return cls.from_dict(json.loads(decompress(data[5:]), object_hook=lambda part: part))
        except (error, ValueError, TypeError, LookupError, AttributeError) as damage:
            raise InvalidInputError("data", f"is damaged ({damage})") from None


def profile(
    data: Mapping[str, ArrayLike] | object,
    *,
    reference: DatasetProfile | None = None,
    rows: Rows | None = None,
    timestamps: ArrayLike | None = None,
) -> DatasetProfile:
    """Count the columns of a dataset: as a reference of its own, or on the edges of a reference.

    Parameters
    ----------
    data : mapping of str to array, or a dataframe
        Numbers, text, truth values or times, one value per row; NaN, None and a dataframe's null are missing. Not
        changed, and no row of it is kept. Dataframes of pandas, polars and pyarrow need the extra ``dataframe``.
    reference : DatasetProfile, optional
        Count on its edges, to be compared with it or added up.
    rows : "independent" or "time_ordered", optional
        Whether rows are exchangeable. "time_ordered" keeps counts per stretch of rows, from which later verdicts allow
        for the dependence of neighbours; it is the default where *timestamps* are given.
    timestamps : array of datetime, shape (n,), optional
        Their order is that of the rows; without them time-ordered rows are taken as they come.

    Raises
    ------
    InvalidInputError
        Columns of different lengths, of several kinds of values, or of none that can be compared.
    """
    how: Rows = rows or ("independent" if timestamps is None else "time_ordered")
    check.as_choice(how, "rows", ("independent", "time_ordered"))
    known = None if reference is None else reference.columns
    counted, added, stretch, first = {}, [], None, ("", 0)
    # One column at a time: what numpy makes of a column is not kept beside the others.
    for i, (name, given) in enumerate(read_columns(data).items()):
        values = read_column(given, name)
        if i == 0:
            first = (name, values.n)
            stretch = _stretches(values.n, timestamps) if how == "time_ordered" and known is None else None
        if values.n != first[1]:
            raise InvalidInputError(name, f"has {values.n} rows, {first[0]!r} has {first[1]}; give one per row")
        if known is None:
            counted[name] = _count(values, stretch)
        elif name in known:
            counted[name] = _count_on(values, known[name])
        else:
            added.append(name)
    return DatasetProfile(n_rows=first[1], rows=how, columns=counted, added=tuple(added))


def _stretches(n_rows: int, timestamps: ArrayLike | None) -> NDArray[np.intp]:
    """The stretch of each row: consecutive in time, all of the same length but for rounding."""
    ranks = np.arange(n_rows)
    if timestamps is not None:
        times = read_column(timestamps, "timestamps")
        if times.kind != "datetime" or times.missing or times.n != n_rows:
            raise InvalidInputError(
                "timestamps", f"has {times.n} entries, {times.missing} missing; give {n_rows} times"
            )
        ranks[np.argsort(times.present, kind="stable")] = np.arange(n_rows)
    return ranks * min(MAX_STRETCHES, n_rows) // max(1, n_rows)


def _count(values: Column, stretch: NDArray[np.intp] | None) -> ColumnProfile:
    counted = _count_reference(values)
    if stretch is None or not values.n:
        return counted
    n_rows = np.bincount(stretch)
    of_present = stretch if values.is_present is None else stretch[values.is_present]
    missing = n_rows - np.bincount(of_present, minlength=n_rows.size)
    if isinstance(counted, CategoricalProfile):
        return evolve(counted, stretches=stretches_of_names(values.present, of_present, missing, counted))
    return evolve(counted, stretches=stretches_of_numbers(values.present, of_present, missing, counted.knots))


def _count_reference(values: Column) -> ColumnProfile:
    if values.kind in ("categorical", "boolean"):
        return count_values(values.present, values.kind, values.missing)
    counted = count_numbers(values.present, values.kind, values.missing, choose_knots(values.present))
    return evolve(counted, has_zone=values.has_zone)


def _count_on(values: Column, reference: ColumnProfile) -> ColumnProfile:
    """On the reference's edges; what is of another kind keeps its own, which the verdict then names."""
    kind = values.kind or reference.kind
    if kind in ("categorical", "boolean"):
        return count_values(values.present, kind, values.missing)
    knots = reference.knots if isinstance(reference, NumericProfile) and reference.kind == kind else None
    return evolve(count_numbers(values.present, kind, values.missing, knots), has_zone=values.has_zone)


def _add(name: str, a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    if b.kind is None and a.kind is not None:
        a, b = b, a
    if a.kind is None and a.n == 0 and (b.kind is None or isinstance(b, CategoricalProfile) or b.is_on(_knots(a))):
        return evolve(b, missing=a.missing + b.missing, stretches=None)
    if isinstance(a, NumericProfile) and isinstance(b, NumericProfile):
        return a + b
    if isinstance(a, CategoricalProfile) and isinstance(b, CategoricalProfile):
        return a + b
    raise InvalidInputError("other", f"has a {b.kind} column {name!r}, not a {a.kind} one")


def _knots(column: ColumnProfile) -> Knots | None:
    return column.knots if isinstance(column, NumericProfile) else None


def _column_from_dict(data: Mapping[str, Any]) -> ColumnProfile:
    if data["kind"] in ("categorical", "boolean"):
        return CategoricalProfile.from_dict(data)
    return NumericProfile.from_dict(data)
