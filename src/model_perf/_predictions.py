"""What y_true and y_pred must be: one number, or one label, per row."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_perf.errors import InvalidInputError

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64] | NDArray[np.str_]

LARGEST = 1e150
"""Beyond it the square of a value is no longer a 64-bit float."""

_INT64_MAX = 2**63 - 1


def as_vector(values: ArrayLike, argument: str) -> NDArray[np.generic]:
    if np.ma.is_masked(values):
        raise InvalidInputError(argument, "has masked entries; leave them out of y_true and y_pred alike")
    try:
        array = np.asarray(values)
    except ValueError:
        raise InvalidInputError(argument, "is ragged; give one value per row") from None
    if array.ndim != 1:
        raise InvalidInputError(argument, f"has the shape {array.shape}; give one dimension, as in numpy.ravel(y)")
    if not array.size:
        raise InvalidInputError(argument, "is empty; a window without rows has no evaluation")
    return array


def as_floats(values: ArrayLike, argument: str) -> Floats:
    array = as_vector(values, argument)
    if array.dtype.kind not in "iuf":
        raise InvalidInputError(argument, f"holds {array.dtype}, not numbers; convert with y.astype(float)")
    floats = array.astype(np.float64, copy=False)
    # NaN spreads to both ends, and fails every comparison.
    if not -LARGEST <= floats.min() <= floats.max() <= LARGEST:
        first = int(np.argmin(np.abs(floats) <= LARGEST))
        raise InvalidInputError(
            argument,
            f"holds {floats[first]} at position {first}; give finite numbers within +-{LARGEST:g} "
            "and leave out the rows without one",
        )
    return floats


def check_lengths(truth: NDArray[np.generic], other: NDArray[np.generic], argument: str) -> None:
    if truth.size != other.size:
        raise InvalidInputError(argument, f"has {other.size} rows and y_true has {truth.size}; give one per row")


def as_label_pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Labels, Labels]:
    truth, prediction = as_labels(y_true, "y_true"), as_labels(y_pred, "y_pred")
    check_lengths(truth, prediction, "y_pred")
    if truth.dtype.kind != prediction.dtype.kind:
        raise InvalidInputError("y_pred", "holds labels of another kind (text or number) than y_true; use the same")
    return truth, prediction


def as_labels(values: ArrayLike, argument: str) -> Labels:
    """Labels as 64-bit integers or as text."""
    array = as_vector(values, argument)
    if array.dtype.kind in "OT":
        array = _typed(array, argument)
    if array.dtype.kind == "U":
        return array.astype(np.str_, copy=False)
    if array.dtype.kind == "f":
        _check_whole(array.astype(np.float64), argument)
    elif array.dtype.kind not in "biu":
        raise InvalidInputError(argument, f"holds {array.dtype}, not labels; give integers, booleans or text")
    if array.dtype == np.uint64 and array.max() > np.uint64(_INT64_MAX):
        raise InvalidInputError(argument, "holds labels of 2^63 and more; number the classes from 0")
    return array.astype(np.int64, copy=False)


def _typed(array: NDArray[np.generic], argument: str) -> NDArray[np.generic]:
    """Python objects, all of one type, as an array of that type."""
    items: list[object] = array.tolist()
    for kind in (str, (bool, np.bool_), (int, np.integer)):
        if all(isinstance(item, kind) for item in items):
            return np.array(items)
    other = next((item for item in items if not isinstance(item, str | int)), "text and numbers together")
    raise InvalidInputError(argument, f"holds {other!r}; give labels of one kind, and leave out rows without one")


def _check_whole(floats: Floats, argument: str) -> None:
    whole = (np.abs(floats) < 2.0**53) & (floats == np.floor(floats))
    if not whole.all():
        bad = floats[int(np.argmin(whole))]
        mend = "leave out rows without a label" if not math.isfinite(bad) else "probabilities belong to y_score"
        raise InvalidInputError(argument, f"holds {bad}, which is no class label; {mend}")
