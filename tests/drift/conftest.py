"""How often simulated events may happen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scipy.stats import binom


@pytest.fixture(scope="session")
def most_often() -> Callable[[float, int], int]:
    """How often an event of the given probability happens at most, with probability .999 (binomial)."""

    def bound(probability: float, trials: int) -> int:
        return int(binom.ppf(0.999, trials, probability))

    return bound
