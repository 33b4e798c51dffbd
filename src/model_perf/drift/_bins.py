"""Bins: the reference's quantiles, and what becomes of a bin that holds too little."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from model_perf import _validation as check
from model_perf.drift._samples import Floats, Values, as_samples
from model_perf.errors import TooFewObservationsError

Groups = NDArray[np.intp]
"""For each bin the number of the group that it goes into, from 0 without a gap."""

_FEW_EDGES = 16  # up to here counting edge by edge beats sorting


@frozen(kw_only=True, eq=False)
class QuantileBinCounts:
    """Rows of two samples between the quantiles of the first.

    Attributes
    ----------
    edges : array, shape (E,)
        Strictly increasing. Bin i holds edges[i-1] < x <= edges[i]; the outer bins are open.
    reference, current : array of int, shape (E + 2,)
        Rows in each bin; the last entry counts NaN.
    """

    edges: Values
    reference: NDArray[np.int64]
    current: NDArray[np.int64]


def quantile_bin_counts(reference: ArrayLike, current: ArrayLike, *, n_bins: int = 10) -> QuantileBinCounts:
    """Count two samples on bins that hold equal shares of the first.

    A value that fills more than one of the bins gets one of its own, closed on both sides: of a constant reference
    what lies below, at and above the constant is told apart. NaN has a bin of its own, the last.

    Parameters
    ----------
    reference, current : array of float, shape (n,), (m,)
        The same unit in both.
    n_bins : int, default 10

    Returns
    -------
    QuantileBinCounts

    Raises
    ------
    TooFewObservationsError
        n or m < n_bins.
    InvalidInputError
        Values that are not numbers, n_bins < 2.

    Examples
    --------
    >>> counts = quantile_bin_counts(range(1, 101), [5, 15, 15, 250], n_bins=4)
    >>> counts.edges, counts.current
    (array([25, 50, 75]), array([3, 0, 0, 1, 0]))
    """
    check.as_int(n_bins, "n_bins", low=2)
    a, b = as_samples(reference, current)
    for values, argument in ((a, "reference"), (b, "current")):
        if values.size < n_bins:
            raise TooFewObservationsError(argument, f"has {values.size} rows; {n_bins} bins need as many")
    return quantile_bin_counts_of(a, b, n_bins)


def quantile_bin_counts_of(reference: Values, current: Values, n_bins: int) -> QuantileBinCounts:
    """The counts of samples that have been checked."""
    edges = quantile_edges(np.sort(reference[~np.isnan(reference)]), n_bins)
    return QuantileBinCounts(
        edges=edges, reference=counts_between(reference, edges), current=counts_between(current, edges)
    )


def quantile_edges(ascending: Values, n_bins: int) -> Values:
    """The inner quantiles of sorted values, each one of them; below a value that fills a bin there is an edge too."""
    n = ascending.size
    if n == 0:
        return ascending
    ranks = np.unique([max(0, -(-i * n // n_bins) - 1) for i in range(n_bins + 1)])
    values = ascending[ranks]
    atoms = np.unique(values[1:][values[1:] == values[:-1]])
    if ascending.dtype.kind == "f":
        below = np.nextafter(atoms, np.array(-np.inf, dtype=atoms.dtype))
    else:
        # Below the least integer there is nothing to tell apart.
        below = atoms[atoms > np.iinfo(atoms.dtype).min] - atoms.dtype.type(1)
    quantiles = ascending[[-(-i * n // n_bins) - 1 for i in range(1, n_bins)]]
    edges: Values = np.unique(np.concatenate([quantiles, below]))
    return edges


def counts_between(values: Values, edges: Values) -> NDArray[np.int64]:
    """Rows in each bin, and of NaN; *values* in any order."""
    missing = int(np.count_nonzero(np.isnan(values)))
    if edges.size <= _FEW_EDGES:
        at_most = [int(np.count_nonzero(values <= edge)) for edge in edges]
    else:
        at_most = np.searchsorted(np.sort(values), edges, side="right").tolist()
    return np.array([*np.diff([0, *at_most, values.size - missing]), missing], dtype=np.int64)


def smaller_share(reference: Floats, current: Floats) -> float:
    """The smaller sample's share of all rows: what it expects of a bin is this share of the bin's rows."""
    n, m = float(reference.sum()), float(current.sum())
    return min(n, m) / (n + m)


def neighbour_groups(combined: Floats, share: float, min_expected: float = 1.0) -> Groups:
    """Merge neighbouring bins, from the first on, until the smaller sample expects *min_expected* rows in each.

    Parameters
    ----------
    combined : array of float, shape (B,)
        Rows of both samples in each bin. Groups that depended on more than that would spoil the size of a test.
    share : float
        As of `smaller_share`.
    min_expected : float, default 1
    """
    groups, group, rows = [], 0, 0.0
    for count in combined.tolist():
        groups.append(group)
        rows += count
        if rows * share >= min_expected:
            group, rows = group + 1, 0.0
    # What is left at the end goes with the last full group.
    return np.minimum(np.array(groups, dtype=np.intp), max(0, group - 1))


def pool_groups(combined: Floats, share: float, min_expected: float = 5.0) -> Groups:
    """Pool the bins in which the smaller sample expects fewer than *min_expected* rows; the pool comes last.

    A pool that stays too small itself goes with the smallest of the other bins (of equal ones the first).
    """
    sparse = combined * share < min_expected
    kept = np.flatnonzero(~sparse)
    groups = np.full(combined.size, kept.size, dtype=np.intp)
    groups[kept] = np.arange(kept.size)
    pooled = float(combined[sparse].sum())
    if kept.size and pooled * share < min_expected:
        groups[sparse] = int(combined[kept].argmin())
    return groups


def sum_groups(counts: Floats, groups: Groups) -> Floats:
    """Counts of shape (B,) or (C, B), added up within each group."""
    size = int(groups.max()) + 1
    rows = [np.bincount(groups, weights=row, minlength=size) for row in np.atleast_2d(counts)]
    summed: Floats = np.array(rows, dtype=np.float64)
    return summed[0] if counts.ndim == 1 else summed
