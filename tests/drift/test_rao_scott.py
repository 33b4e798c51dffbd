"""Rao-Scott: what dependence in time does to a test of counts, and that the correction holds."""

from __future__ import annotations

from collections.abc import Callable
from math import nan

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from model_perf.drift import chi_squared, population_stability_index_of_counts, rao_scott
from model_perf.drift._bins import counts_between, quantile_edges
from model_perf.errors import InvalidInputError, TooFewObservationsError

Counts = NDArray[np.int64]

ROWS, CHUNKS = 336, 52  # two weeks of hours; about two years of those: 17,472 rows


def hourly(rng: np.random.Generator, phi: float, chunks: int = CHUNKS, shift: float = 0.0) -> tuple[Counts, Counts]:
    """Counts on the reference's deciles, of its chunks and of a window three chunks later, for an AR(1) column."""
    shocks = rng.standard_normal((chunks + 4) * ROWS + 300) * np.sqrt(1.0 - phi * phi)
    series = lfilter([1.0], [1.0, -phi], shocks)[300:]
    reference, current = series[: chunks * ROWS].reshape(chunks, ROWS), series[-ROWS:] + shift
    edges = quantile_edges(np.sort(reference.ravel()), 10)
    return np.array([counts_between(chunk, edges)[:-1] for chunk in reference]), counts_between(current, edges)[:-1]


def flagged(phi: float, trials: int, seed: int, chunks: int = CHUNKS) -> tuple[int, int]:
    """How many unchanged windows have p <= .05 and a PSI effect of .1: as independent rows, and corrected."""
    rng = np.random.default_rng(seed)
    naive = corrected = 0
    for _ in range(trials):
        parts, current = hourly(rng, phi, chunks)
        whole = parts.sum(axis=0)
        pvalue = chi_squared(whole, current).pvalue
        effect = population_stability_index_of_counts(whole, current).effect_size
        naive += pvalue is not None and pvalue <= 0.05 and effect >= 0.1
        result = rao_scott(parts, current)
        assert result.pvalue is not None
        corrected += result.pvalue <= 0.05
    return naive, corrected


@pytest.mark.parametrize(("phi", "without"), [(0.0, 0.0), (0.9, 0.30), (0.97, 0.83)])
def test_unchanged_columns(phi: float, without: float, most_often: Callable[[float, int], int]) -> None:
    """Of unchanged AR(1) columns 30% (phi .9) and 83% (.97) are flagged as independent rows, 5.5% corrected."""
    naive, corrected = flagged(phi, 400, 1)
    assert abs(naive - 400 * without) <= 3.3 * np.sqrt(400 * without * (1.0 - without))
    assert corrected <= most_often(0.055, 400)


@pytest.mark.long
@pytest.mark.parametrize("chunks", [12, CHUNKS])
@pytest.mark.parametrize("phi", [0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.97])
def test_its_size(phi: float, chunks: int, most_often: Callable[[float, int], int]) -> None:
    """From a dozen chunks on 6% at most, at any autocorrelation that leaves a window a few independent values."""
    assert flagged(phi, 4000, 2, chunks)[1] <= most_often(0.06, 4000)


def test_a_shift_is_still_found() -> None:
    """A shift by one standard deviation is found in nine of ten windows at phi = .9."""
    rng = np.random.default_rng(3)
    pvalues = [rao_scott(*hourly(rng, 0.9, shift=1.0)).pvalue for _ in range(100)]
    assert sum(p is not None and p <= 0.05 for p in pvalues) >= 90


def test_independent_rows_have_no_dispersion() -> None:
    """Of independent rows the dispersion is about 1, and the statistic Pearson's over its degrees of freedom."""
    rng = np.random.default_rng(4)
    results = [rao_scott(*hourly(rng, 0.0)) for _ in range(50)]
    assert all(1.0 <= result.dispersion < 1.25 for result in results)
    assert all(6.0 < result.df <= 9.0 for result in results)


def test_the_dispersion_of_an_autocorrelated_column() -> None:
    """At phi = .9 a bin's share varies about four times as much as of independent rows."""
    rng = np.random.default_rng(5)
    found = [rao_scott(*hourly(rng, 0.9)).dispersion for _ in range(50)]
    # sum over lags of the autocorrelation of bin indicators, averaged: 4.1 in a simulation of 2,100 series.
    assert np.mean(found) == pytest.approx(4.1, rel=0.08)


def test_repeated_rows_by_hand() -> None:
    """Two bins, chunks all in one or the other: each of 24 rows says what one row would."""
    result = rao_scott([[24, 0], [0, 24]] * 10, [12, 12])
    # m (p - q)² / q summed over both bins and 20 chunks, over 19: 24 x 20 / 19.
    assert result.dispersion == pytest.approx(24 * 20 / 19, rel=1e-12)
    assert (result.df, result.df_denominator) == pytest.approx((1.0, 19.0), rel=1e-12)
    assert (result.statistic, result.pvalue) == (0.0, 1.0)


def test_order_says_nothing() -> None:
    """The order of the chunks and that of the bins change nothing, nor do empty ones."""
    rng = np.random.default_rng(6)
    chunks, current = hourly(rng, 0.6, chunks=15)
    result = rao_scott(chunks, current)
    order = rng.permutation(10)
    padded = np.pad(chunks, ((0, 2), (0, 3)))
    for other in (
        rao_scott(chunks[::-1], current),
        rao_scott(chunks[:, order], current[order]),
        rao_scott(padded, np.pad(current, (0, 3))),
    ):
        assert other.pvalue == pytest.approx(result.pvalue, rel=1e-9)
        assert other.dispersion == pytest.approx(result.dispersion, rel=1e-9)


def test_a_bin_that_the_reference_lacks() -> None:
    """Rows in a bin that no chunk has are found."""
    pvalue = rao_scott([[20, 20, 0], [22, 18, 0], [18, 22, 0]] * 5, [10, 10, 20]).pvalue
    assert pvalue is not None
    assert 0.0 < pvalue < 1e-6


def test_a_constant_has_no_answer() -> None:
    """One bin cannot differ from itself."""
    result = rao_scott([[20, 0]] * 12, [20, 0])
    assert (result.statistic, result.pvalue, result.dispersion) == (None, None, 1.0)


def test_chunks_that_are_all_alike() -> None:
    """Chunks without any variation are taken for independent rows."""
    result = rao_scott([[20, 30, 50]] * 12, [25, 30, 45])
    assert (result.dispersion, result.df) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("chunks", "current", "argument"),
    [
        ([[1, 2], [3]], [1, 2], "chunks"),
        ([1, 2], [1, 2], "chunks"),
        ([[1, 2], [3, 4]], [1, 2, 3], "current"),
        ([[1, 2], [3, -4]], [1, 2], "chunks"),
        ([[1, 2], [3, nan]], [1, 2], "chunks"),
        ([[1, 2], [3, 4]], [0.5, 2], "current"),
        ([[1, 2], [3, 4]], [[1, 2]], "current"),
    ],
)
def test_impossible_counts_are_refused(chunks: list[list[int]], current: list[int], argument: str) -> None:
    """Ragged, negative, fractional counts and other bins are refused by name."""
    with pytest.raises(InvalidInputError) as refused:
        rao_scott(chunks, current)
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    ("chunks", "current"), [([[1, 2]], [1, 2]), ([[1, 2], [0, 0]], [1, 2]), ([[1, 2]] * 5, [0, 0])]
)
def test_too_few_chunks_are_refused(chunks: list[list[int]], current: list[int]) -> None:
    """One chunk does not vary; an empty window has no shares."""
    with pytest.raises(TooFewObservationsError):
        rao_scott(chunks, current)
