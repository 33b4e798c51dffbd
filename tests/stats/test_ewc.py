"""Equally weighted cosines: the definition, and the size under dependence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.special import stdtr

from model_perf.aggregates import Aggregates
from model_perf.errors import TooFewObservationsError
from model_perf.stats import equally_weighted_cosines


def slots_of(values: NDArray[np.float64], n_slots: int) -> list[Aggregates]:
    return [Aggregates.from_values(part) for part in np.array_split(values, n_slots)]


def test_the_definition() -> None:
    """With equal slots it is the mean of the first nu squared DCT-II coefficients of their means."""
    values = np.random.default_rng(1).normal(3.0, 1.0, 640)
    found = equally_weighted_cosines(slots_of(values, 64))
    means = values.reshape(64, 10).mean(axis=1)
    assert found.df == math.floor(0.4 * 64 ** (2 / 3)) == 6
    coefficients = dct(means, type=2, norm="ortho")[1:7]
    assert found.standard_error == pytest.approx(math.sqrt(np.mean(coefficients**2) / 64), rel=1e-9)
    assert (found.n, found.n_slots) == (640, 64)
    assert found.mean == pytest.approx(values.mean())


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, 0.95])
def test_size(
    autoregressive: Callable[..., NDArray[np.float64]], most_often: Callable[[float, int], int], phi: float
) -> None:
    """The mean of AR(1) differences in 128 slots is told from 0 in about 5%; taken for independent, AR .5 in 27%."""
    series = autoregressive(phi, 800, 1280, 11)
    found = naive = 0
    for values in series:
        result = equally_weighted_cosines(slots_of(values, 128))
        found += 2.0 * stdtr(result.df, -abs(result.mean / result.standard_error)) <= 0.05
        naive += abs(values.mean()) > 1.96 * values.std(ddof=1) / math.sqrt(values.size)
    assert found <= most_often(0.065, 800)
    if phi >= 0.5:
        assert naive / 800 > 0.2


def test_slots_of_other_sizes() -> None:
    """Slots count by their observations, and empty ones are left out."""
    values = np.random.default_rng(2).normal(size=1000)
    cuts = [0, 10, 10, 200, 210, 500, 600, 650, 651, 800, 1000]
    slots = [Aggregates.from_values(values[i:j]) for i, j in itertools.pairwise(cuts)]
    found = equally_weighted_cosines(slots)
    assert (found.n, found.n_slots) == (1000, 9)
    assert found.mean == pytest.approx(values.mean())
    assert 0.2 / math.sqrt(1000) < found.standard_error < 5.0 / math.sqrt(1000)


def test_too_few_slots() -> None:
    """Seven slots have no standard error."""
    with pytest.raises(TooFewObservationsError, match="slots: has 7"):
        equally_weighted_cosines([*slots_of(np.arange(70.0), 7), Aggregates()])
