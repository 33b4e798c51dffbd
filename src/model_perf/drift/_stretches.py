"""Counts of time-ordered rows, stretch by stretch: how much neighbours depend on each other can be told from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from model_perf.drift._arrays import pack, unpack

Counts = NDArray[np.int64]


@frozen(kw_only=True, eq=False)
class Stretches:
    """What lies in each of C consecutive stretches of rows.

    Attributes
    ----------
    cells : array of int, shape (C, B)
        Values per bin or name.
    missing, out_of_range : array of int, shape (C,)
        Rows without a value; values beyond the reference's quantiles 0.1% and 99.9% (0 of names).
    """

    cells: Counts
    missing: Counts
    out_of_range: Counts

    @property
    def n_rows(self) -> int:
        """Rows of all stretches."""
        return int(self.cells.sum() + self.missing.sum())

    def joined(self, length: int) -> Stretches:
        """The same rows in as many stretches of about the same length as have *length* rows each."""
        n_given = len(self.missing)
        n_wanted = min(n_given, self.n_rows // max(1, length))
        starts = np.arange(n_wanted) * n_given // max(1, n_wanted)

        def add(counts: Counts) -> Counts:
            return np.add.reduceat(counts, starts, axis=0) if n_wanted else counts[:0]

        return Stretches(cells=add(self.cells), missing=add(self.missing), out_of_range=add(self.out_of_range))

    def to_dict(self) -> dict[str, object]:
        return {name: pack(getattr(self, name)) for name in ("cells", "missing", "out_of_range")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Stretches:
        return cls(**{name: unpack(array) for name, array in data.items()})


_NONE = np.zeros(0, np.int64)
NO_STRETCHES = Stretches(cells=np.zeros((0, 1), np.int64), missing=_NONE, out_of_range=_NONE)


def count_stretches(cells: NDArray[np.intp], n_cells: int, stretch: NDArray[np.intp], n_stretches: int) -> Counts:
    """How often each cell occurs in each stretch, shape (C, B); *cells* and *stretch* are those of the values."""
    counts = np.bincount(stretch * n_cells + cells, minlength=n_stretches * n_cells)
    return counts.reshape(n_stretches, n_cells).astype(np.int64)
