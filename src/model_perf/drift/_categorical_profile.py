"""A column of names as counts per name, or per bucket of names where they are too many to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from typing import Any, cast

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from model_perf.drift._arrays import pack, unpack
from model_perf.drift._columns import STRETCH_ROWS, Kind
from model_perf.drift._stretches import Counts, Stretches, count_stretches
from model_perf.errors import InvalidInputError

MAX_NAMES = 10_000
N_BUCKETS = 256
"""Of names by their hash: never the most frequent ones of the reference, whose choice would be a false alarm later."""


@frozen(kw_only=True, eq=False)
class CategoricalProfile:
    """How often each name occurs.

    Attributes
    ----------
    kind : "categorical" or "boolean"
    n, missing : int
        Values, and rows without one.
    names : mapping of str to int, or None
        Counts by name, in the names' order; None where there were more than 10,000.
    buckets : array of int, shape (256,), or None
        Counts by the hash of the name, where names are not kept.
    n_names : int or None
        Distinct names; None where profiles without names were added up.
    stretches : Stretches or None
        Of time-ordered rows, where this is a reference; cells are the sorted names, or the buckets of more than 256.
    """

    kind: Kind
    n: int
    missing: int
    names: Mapping[str, int] | None = field(default=None)
    buckets: Counts | None = None
    n_names: int | None = None
    stretches: Stretches | None = None

    @property
    def n_singletons(self) -> int | None:
        """Names that occur once: what Good and Turing tell the unseen ones by. None where names are not kept."""
        return None if self.names is None else sum(1 for count in self.names.values() if count == 1)

    @property
    def is_identifier(self) -> bool:
        """Nearly every row has a name of its own."""
        return self.kind == "categorical" and self.n >= 20 and self.n_names is not None and self.n_names > 0.9 * self.n

    def __add__(self, other: CategoricalProfile) -> CategoricalProfile:
        """The profile of both data together, exact."""
        if self.kind != other.kind:
            raise InvalidInputError("other", f"is {other.kind}, not {self.kind}")
        n, missing = self.n + other.n, self.missing + other.missing
        if self.names is not None and other.names is not None:
            joined = Counter(self.names)
            joined.update(other.names)
            return count_names(joined, self.kind, missing)
        buckets = self.as_buckets() + other.as_buckets()
        return evolve(self, n=n, missing=missing, names=None, buckets=buckets, n_names=None, stretches=None)

    def as_buckets(self) -> Counts:
        """Counts by the hash of the name, shape (256,)."""
        return cast(Counts, self.buckets) if self.names is None else _by_bucket(self.names)

    def to_dict(self) -> dict[str, object]:
        """The JSON object that `from_dict` reads."""
        return {
            "kind": self.kind,
            "n": self.n,
            "missing": self.missing,
            "names": None if self.names is None else dict(self.names),
            "buckets": None if self.buckets is None else pack(self.buckets),
            "n_names": self.n_names,
            "stretches": None if self.stretches is None else self.stretches.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CategoricalProfile:
        """The profile that `to_dict` wrote."""
        buckets = None if data["buckets"] is None else unpack(data["buckets"])
        stretches = None if data["stretches"] is None else Stretches.from_dict(data["stretches"])
        return cls(**{**data, "buckets": buckets, "stretches": stretches})


def count_names(counted: Mapping[str, int], kind: Kind, missing: int) -> CategoricalProfile:
    """The profile of names that have been counted."""
    n, few = sum(counted.values()), len(counted) <= MAX_NAMES
    return CategoricalProfile(
        kind=kind,
        n=n,
        missing=missing,
        names=dict(sorted(counted.items())) if few else None,
        buckets=None if few else _by_bucket(counted),
        n_names=len(counted),
    )


def count_values(values: NDArray[Any], kind: Kind, missing: int) -> CategoricalProfile:
    """The profile of a column of text or truth values."""
    if kind == "boolean":
        n_true = int(np.count_nonzero(values))
        both = {name: count for name, count in (("false", values.size - n_true), ("true", n_true)) if count}
        return count_names(both, kind, missing)
    counted: Counter[str] = Counter()
    for begin in range(0, values.size, STRETCH_ROWS):
        counted.update(map(str, values[begin : begin + STRETCH_ROWS].tolist()))
    return count_names(counted, kind, missing)


def stretches_of_names(
    values: NDArray[Any], stretch: NDArray[np.intp], missing: Counts, counted: CategoricalProfile
) -> Stretches:
    """Counts of each stretch of rows, by name or by bucket; *stretch* is the one that each value lies in."""
    texts = ("true" if value is True else "false" if value is False else str(value) for value in values.tolist())
    if counted.names is not None and len(counted.names) <= N_BUCKETS:
        cell_of = {name: cell for cell, name in enumerate(sorted(counted.names))}.__getitem__
        n_cells = len(counted.names)
    else:
        cell_of, n_cells = cache(bucket_of), N_BUCKETS
    cells = np.fromiter((cell_of(text) for text in texts), np.intp, values.size)
    return Stretches(
        cells=count_stretches(cells, max(1, n_cells), stretch, len(missing)),
        missing=missing,
        out_of_range=np.zeros(len(missing), np.int64),
    )


def _by_bucket(counted: Mapping[str, int]) -> Counts:
    buckets = np.zeros(N_BUCKETS, np.int64)
    np.add.at(buckets, [bucket_of(name) for name in counted], list(counted.values()))
    return buckets


def bucket_of(name: str) -> int:
    """The same for everybody who ever profiles the name."""
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0]


def aligned(reference: CategoricalProfile, current: CategoricalProfile) -> tuple[Counts, Counts]:
    """Counts of both on the same cells."""
    if reference.names is None or current.names is None:
        return reference.as_buckets(), current.as_buckets()
    names = sorted(reference.names.keys() | current.names.keys())
    of_reference = np.array([reference.names.get(name, 0) for name in names], np.int64)
    of_current = np.array([current.names.get(name, 0) for name in names], np.int64)
    return of_reference, of_current
