"""Values that show in which thread they are read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class SlowValues(Sequence[float]):
    """Values that take their time to become an array, and know where they became one."""

    def __init__(self, values: list[float]) -> None:
        self._values = values
        self.threads: list[int] = []

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("read one by one")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float64]:
        self.threads.append(threading.get_ident())
        return np.array(self._values, dtype=dtype)
