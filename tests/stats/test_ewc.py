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
from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import equally_weighted_cosines, ewc_t_test


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


@pytest.mark.parametrize(("n_slots", "df"), [(8, 1), (125, 10), (128, 10), (1000, 40)])
def test_the_number_of_cosines(n_slots: int, df: int) -> None:
    """.4 m^(2/3), without its fraction: of 125 and 1000 slots it has none."""
    assert equally_weighted_cosines(slots_of(np.arange(2.0 * n_slots), n_slots)).df == df


def test_the_mean_of_slots_stands_for_their_observations() -> None:
    """Slots of any size give the cosines of the whole series, had each observation its slot's mean and place."""
    rng = np.random.default_rng(7)
    sizes = rng.geometric(0.1, 20)
    means = rng.normal(size=20)
    found = equally_weighted_cosines([Aggregates(n=int(n), mean=x) for n, x in zip(sizes, means, strict=True)])
    values = np.repeat(means, sizes)
    rows = np.arange(values.size) + 0.5
    middles = np.repeat(np.bincount(np.repeat(np.arange(20), sizes), rows) / sizes, sizes)
    projections = [
        math.sqrt(2.0) * np.sum((values - values.mean()) * np.cos(math.pi * j * middles / values.size)) for j in (1, 2)
    ]
    assert found.df == 2
    assert found.standard_error == pytest.approx(np.sqrt(np.mean(np.square(projections))) / values.size, rel=1e-9)


@pytest.mark.parametrize("n_slots", [8, 64])
def test_the_size_of_slots_that_grow(n_slots: int, most_often: Callable[[float, int], int]) -> None:
    """Slots of which the last has a hundred times the observations of the first: 5%, where slots vary by themselves."""
    rng, runs, found = np.random.default_rng(n_slots), 2000, 0
    sizes = np.geomspace(10, 1000, n_slots).round().astype(int)
    means = rng.normal(size=(runs, n_slots)) + rng.normal(size=(runs, n_slots)) / np.sqrt(sizes)
    for row in means.tolist():
        slots = [Aggregates(n=n, mean=mean) for n, mean in zip(sizes.tolist(), row, strict=True)]
        found += ewc_t_test(slots).pvalue <= 0.05
    assert found <= most_often(0.055, runs)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, 0.95])
def test_size(
    autoregressive: Callable[..., NDArray[np.float64]], most_often: Callable[[float, int], int], phi: float
) -> None:
    """The mean of AR(1) differences in 128 slots is told from 0 in about 5%; taken for independent, AR .5 in 27%."""
    series = autoregressive(phi, 800, 1280, 11)
    found = naive = 0
    for values, means in zip(series, series.reshape(800, 128, 10).mean(axis=2).tolist(), strict=True):
        found += ewc_t_test([Aggregates(n=10, mean=mean) for mean in means]).pvalue <= 0.05
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


def test_shifted_and_scaled() -> None:
    """Another unit, or an offset of 1e9, changes nothing but the unit."""
    values = np.random.default_rng(4).integers(0, 64, 400) / 8.0
    expected = equally_weighted_cosines(slots_of(values, 40))
    moved, scaled = (equally_weighted_cosines(slots_of(each, 40)) for each in (values + 1e9, values * 1e6))
    assert moved.standard_error == pytest.approx(expected.standard_error, rel=1e-6)
    assert scaled.standard_error == pytest.approx(1e6 * expected.standard_error, rel=1e-9)


def test_the_test_of_one_look() -> None:
    """By t with the cosines' degrees of freedom; equal slots are no evidence."""
    slots = slots_of(np.random.default_rng(5).normal(0.2, 1.0, 640), 64)
    mean, found = equally_weighted_cosines(slots), ewc_t_test(slots, alternative="greater")
    assert (found.effect, found.df, found.n_a, found.n_b) == (mean.mean, mean.df, 640, 640)
    assert found.pvalue == pytest.approx(stdtr(mean.df, -mean.mean / mean.standard_error))
    assert found.confidence_interval.high == math.inf
    assert ewc_t_test([Aggregates(n=5, mean=0.25)] * 10).pvalue == 1.0
    with pytest.raises(InvalidInputError, match="alternative"):
        ewc_t_test(slots, alternative="more")  # type: ignore[arg-type]


def test_too_few_slots() -> None:
    """Seven slots have no standard error."""
    with pytest.raises(TooFewObservationsError, match="slots: has 7"):
        equally_weighted_cosines([*slots_of(np.arange(70.0), 7), Aggregates()])
