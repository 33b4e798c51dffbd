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

    def joined(self, length: float) -> Stretches:
        """The same rows in fewer stretches, each of about *length* rows; a rest at the end is left out."""
        n = len(self.missing)
        together = max(1, round(length * n / self.n_rows)) if self.n_rows else 1
        kept = n // together

        def add(counts: Counts) -> Counts:
            shape = (kept, together, *counts.shape[1:])
            return np.asarray(counts[: kept * together].reshape(shape).sum(axis=1))

        return Stretches(cells=add(self.cells), missing=add(self.missing), out_of_range=add(self.out_of_range))

    def __add__(self, other: Stretches) -> Stretches:
        """Of rows that follow."""
        return Stretches(
            cells=np.concatenate([self.cells, other.cells]),
            missing=np.concatenate([self.missing, other.missing]),
            out_of_range=np.concatenate([self.out_of_range, other.out_of_range]),
        )

    def to_dict(self) -> dict[str, object]:
        return {name: pack(getattr(self, name)) for name in ("cells", "missing", "out_of_range")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Stretches:
        return cls(**{name: unpack(array) for name, array in data.items()})


def count_stretches(cells: NDArray[np.intp], n_cells: int, stretch: NDArray[np.intp], n_stretches: int) -> Counts:
    """How often each cell occurs in each stretch, shape (C, B); *cells* and *stretch* are those of the values."""
    counts = np.bincount(stretch * n_cells + cells, minlength=n_stretches * n_cells)
    return counts.reshape(n_stretches, n_cells).astype(np.int64)
