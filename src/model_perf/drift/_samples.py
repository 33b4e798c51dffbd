"""Two samples and two rows of counts, as the statistics of this package compute with them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_perf.errors import InvalidInputError, TooFewObservationsError

Values: TypeAlias = NDArray[Any]
"""Numbers of one type: 64-bit integers, or floats of any width."""
Floats: TypeAlias = NDArray[np.float64]

_LARGEST_COUNT = 2.0**53


def as_samples(reference: ArrayLike, current: ArrayLike) -> tuple[Values, Values]:
    """Both in the type in which they are compared, NaN left in.

    Integers stay integers: 2^53 and 2^53 + 1 are one 64-bit float. Beside a float of 32 bits one of 64 bits is
    rounded too: 0.1 is not the same number in both, and the move from one type to the other is no drift.
    """
    a, b = as_numbers(reference, "reference"), as_numbers(current, "current")
    dtype = _common_type(a, b)
    with np.errstate(over="ignore"):  # beyond the narrower type lies its infinity, in the same order
        return a.astype(dtype, copy=False), b.astype(dtype, copy=False)


def as_sorted_samples(reference: ArrayLike, current: ArrayLike, *, minimum: int = 1) -> tuple[Values, Values]:
    """Both in ascending order, without NaN; *minimum* values at least are left of each."""
    a, b = as_samples(reference, current)
    return _ascending(a, "reference", minimum), _ascending(b, "current", minimum)


def as_counts(reference: ArrayLike, current: ArrayLike) -> tuple[Floats, Floats]:
    """Rows in each bin, of both; the sum of each is positive."""
    a, b = _as_counts(reference, "reference"), _as_counts(current, "current")
    if a.size != b.size:
        raise InvalidInputError("current", f"has {b.size} bins and reference has {a.size}; count on the same bins")
    return a, b


def as_count_matrix(counts: ArrayLike, argument: str) -> Floats:
    """Counts of one or two dimensions as floats, which hold them exactly."""
    if np.ma.is_masked(counts):
        raise InvalidInputError(argument, "has masked entries; fill them, as in counts.filled(0)")
    try:
        array = np.asarray(counts)
    except ValueError:
        raise InvalidInputError(argument, "has rows of different lengths; count on the same bins") from None
    if array.size and array.dtype.kind not in "iuf":
        raise InvalidInputError(argument, f"holds {array.dtype}, not counts")
    floats = array.astype(np.float64)
    # Not a comparison that NaN would pass.
    bad = ~((floats >= 0.0) & (floats <= _LARGEST_COUNT) & (floats == np.floor(floats)))
    if bad.any():
        raise InvalidInputError(argument, f"holds {floats[bad][0]}; give whole numbers from 0 to 2^53")
    return floats


def _as_counts(counts: ArrayLike, argument: str) -> Floats:
    floats = as_count_matrix(counts, argument)
    if floats.ndim != 1:
        raise InvalidInputError(argument, f"has {floats.ndim} dimensions; give one count per bin")
    if not floats.any():
        raise TooFewObservationsError(argument, "counts no row")
    return floats


def as_numbers(values: ArrayLike, argument: str) -> Values:
    if np.ma.is_masked(values):
        raise InvalidInputError(argument, "has masked entries; fill them with NaN, as in values.filled(numpy.nan)")
    try:
        array = np.asarray(values)
    except ValueError:
        raise InvalidInputError(argument, "has rows of different lengths; give one dimension") from None
    if array.ndim != 1:
        raise InvalidInputError(argument, f"has {array.ndim} dimensions; give one, as in numpy.ravel(values)")
    if array.size and array.dtype.kind not in "biuf":
        raise InvalidInputError(
            argument, f"holds {array.dtype}, not numbers; convert, as in values.to_numpy(float, na_value=numpy.nan)"
        )
    return array


def _common_type(a: Values, b: Values) -> np.dtype[Any]:
    sizes = [each.dtype.itemsize for each in (a, b) if each.dtype.kind == "f" and each.size]
    if sizes:
        return np.dtype(f"f{min(8, *sizes)}")
    if all(each.dtype.kind in "bu" for each in (a, b)):
        return np.dtype(np.uint64)
    for each, argument in ((a, "reference"), (b, "current")):
        if each.dtype.kind == "u" and each.size and int(each.max()) > np.iinfo(np.int64).max:
            raise InvalidInputError(argument, f"holds {each.max()} beside signed integers; give both in one type")
    return np.dtype(np.int64)


def _ascending(values: Values, argument: str, minimum: int) -> Values:
    ascending = np.sort(values)
    if ascending.dtype.kind == "f":  # NaN sorts last
        ascending = ascending[: int(np.searchsorted(ascending, np.nan))]
    if ascending.size < minimum:
        missing = values.size - ascending.size
        raise TooFewObservationsError(
            argument, f"has {ascending.size} values (and {missing} missing ones); give {minimum} at least"
        )
    return ascending
