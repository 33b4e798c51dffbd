"""What an array of numbers must be, whoever hands it over."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_perf.errors import InvalidInputError

Floats: TypeAlias = NDArray[np.float64]

LARGEST = 1e150
"""Beyond it the square of a value is no longer a 64-bit float."""


def as_array(values: ArrayLike, argument: str) -> NDArray[Any]:
    """What numpy makes of them; entries under a mask would count as if they were not."""
    if np.ma.is_masked(values):
        raise InvalidInputError(argument, "has masked entries; leave them out, as in values.compressed()")
    try:
        return np.asarray(values)
    except ValueError:
        raise InvalidInputError(argument, "is ragged; give one value per row") from None


def as_floats(values: ArrayLike, argument: str, *, largest: float = LARGEST) -> Floats:
    """A new one-dimensional array of finite 64-bit floats."""
    array = as_array(values, argument)
    if array.ndim != 1:
        raise InvalidInputError(argument, f"has {array.ndim} dimensions; give one, as in numpy.ravel(values)")
    if array.size and array.dtype.kind not in "iuf":
        raise InvalidInputError(argument, f"holds {array.dtype}, not numbers; convert with values.astype(float)")
    floats = array.astype(np.float64)
    # Not a comparison that NaN would pass.
    bad = ~(np.abs(floats) <= largest)
    if bad.any():
        first = int(bad.argmax())
        raise InvalidInputError(
            argument, f"holds {floats[first]} at position {first}; give finite numbers within +-{largest:g}"
        )
    return floats


def length_of(values: ArrayLike) -> int:
    """As they say it: numpy would make an array of a list, on the event loop, to say it. What has none is refused."""
    try:
        return len(values)  # type: ignore[arg-type]
    except TypeError:
        return 0
