"""Arrays of numbers as JSON text and back: little-endian, compressed, base64."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any
from zlib import compress, decompress

import numpy as np
from numpy.typing import NDArray


def pack(array: NDArray[Any]) -> dict[str, object]:
    """A JSON object that `unpack` turns into the same array; integers in the smallest type that holds them."""
    small = array
    if array.dtype == np.int64 and array.size:
        small = array.astype(np.min_scalar_type(int(max(array.max(), -array.min()))), casting="unsafe")
        if (small != array).any():
            small = array
    little = small.astype(small.dtype.newbyteorder("<"), copy=False)
    return {
        "dtype": array.dtype.name,
        "stored": little.dtype.str,
        "shape": list(array.shape),
        "data": b64encode(compress(little.tobytes())).decode(),
    }


def unpack(data: Mapping[str, Any]) -> NDArray[Any]:
    """The array that `pack` was given."""
    stored = np.frombuffer(decompress(b64decode(data["data"])), dtype=data["stored"])
    return stored.reshape(data["shape"]).astype(data["dtype"])
