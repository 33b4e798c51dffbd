"""Vectors obtained from trusted implementations, and the series that the simulations draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import vectors


@pytest.fixture(scope="session")
def vector() -> Callable[[str], dict[str, Any]]:
    """A vector by its id."""
    return vectors.vector


@pytest.fixture(scope="session")
def autoregressive() -> Callable[..., NDArray[np.float64]]:
    """Stationary Gaussian AR(1) series of variance 1, one per row."""

    def draw(phi: float, series: int, n: int, seed: int) -> NDArray[np.float64]:
        shocks = np.random.default_rng(seed).standard_normal((series, n))
        drawn = shocks.copy()
        for i in range(1, n):
            drawn[:, i] = phi * drawn[:, i - 1] + np.sqrt(1.0 - phi * phi) * shocks[:, i]
        return drawn

    return draw


@pytest.fixture(scope="session")
def most_often() -> Callable[[float, int], int]:
    """How often an event of the given probability happens at most, with probability .999 (binomial)."""
    from scipy.stats import binom

    def bound(probability: float, trials: int) -> int:
        return int(binom.ppf(0.999, trials, probability))

    return bound
