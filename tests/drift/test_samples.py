"""What is no sample and what are no counts: refused by name, whichever statistic is asked."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from model_perf.drift import (
    anderson_darling,
    chi_squared,
    cramer_von_mises,
    g_test,
    hellinger_distance,
    jensen_shannon_distance,
    jensen_shannon_divergence,
    kolmogorov_smirnov,
    population_stability_index,
    population_stability_index_of_counts,
    quantile_bin_counts,
    total_variation_distance,
    wasserstein,
)
from model_perf.errors import InvalidInputError, TooFewObservationsError

Statistic = Callable[..., Any]

OF_VALUES = [
    *(population_stability_index, quantile_bin_counts, kolmogorov_smirnov, wasserstein, cramer_von_mises),
    anderson_darling,
]
OF_COUNTS = [
    *(population_stability_index_of_counts, chi_squared, g_test, jensen_shannon_divergence, jensen_shannon_distance),
    *(hellinger_distance, total_variation_distance),
]
GOOD = np.linspace(0.0, 1.0, 20)


@pytest.mark.parametrize("statistic", OF_VALUES)
@pytest.mark.parametrize(
    "values",
    [
        np.zeros((20, 2)),
        [[1.0], [2.0, 3.0]],
        ["a"] * 20,
        [None, 1.0] * 10,
        [1j] * 20,
        np.array(["2024-05-01"] * 20, "datetime64[D]"),
        np.ma.masked_array(GOOD, mask=[True] + [False] * 19),
        pd.array([1, None] * 10, dtype="Int64"),
        5.0,
    ],
    ids=["2-d", "ragged", "text", "None", "complex", "dates", "masked", "nullable", "scalar"],
)
@pytest.mark.parametrize("argument", ["reference", "current"])
def test_what_is_no_sample_is_refused(statistic: Statistic, values: object, argument: str) -> None:
    """The error names the argument."""
    with pytest.raises(InvalidInputError) as refused:
        statistic(**({"reference": GOOD, "current": GOOD} | {argument: values}))
    assert refused.value.argument == argument


@pytest.mark.parametrize("statistic", OF_VALUES)
@pytest.mark.parametrize("argument", ["reference", "current"])
def test_no_values_at_all_are_refused(statistic: Statistic, argument: str) -> None:
    """An empty sample has no distribution."""
    with pytest.raises(TooFewObservationsError) as refused:
        statistic(**({"reference": GOOD, "current": GOOD} | {argument: []}))
    assert refused.value.argument == argument


@pytest.mark.parametrize("statistic", [kolmogorov_smirnov, wasserstein, cramer_von_mises, anderson_darling])
@pytest.mark.parametrize("argument", ["reference", "current"])
def test_only_missing_values_are_refused(statistic: Statistic, argument: str) -> None:
    """NaN alone is not "no drift"; the message says how many there were."""
    with pytest.raises(TooFewObservationsError, match="20 missing") as refused:
        statistic(**({"reference": GOOD, "current": GOOD} | {argument: [np.nan] * 20}))
    assert refused.value.argument == argument


@pytest.mark.parametrize("statistic", OF_VALUES)
def test_one_row(statistic: Statistic) -> None:
    """A single value has a distribution function; it fills no bins, and has no ranks to compare."""
    if statistic in (kolmogorov_smirnov, wasserstein):
        assert statistic(GOOD, [0.5]).n_current == 1
        assert statistic([0.5], [0.5]).statistic == 0.0
    else:
        with pytest.raises(TooFewObservationsError, match="current"):
            statistic(GOOD, [0.5])


@pytest.mark.parametrize("statistic", [kolmogorov_smirnov, wasserstein, cramer_von_mises, anderson_darling])
def test_one_missing_value_is_left_out(statistic: Statistic) -> None:
    """The result is that of the others."""
    assert statistic(np.append(GOOD, np.nan), np.append(np.nan, GOOD**2)) == statistic(GOOD, GOOD**2)


@pytest.mark.parametrize("statistic", [kolmogorov_smirnov, cramer_von_mises, anderson_darling])
def test_infinities_have_a_rank(statistic: Statistic) -> None:
    """Where only the order counts an infinity is the largest value."""
    large = np.append(GOOD, 1e300)
    infinite = np.append(GOOD, np.inf)
    assert statistic(large, GOOD**2).pvalue == statistic(infinite, GOOD**2).pvalue


@pytest.mark.parametrize("statistic", OF_VALUES)
@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.uint64, np.float16, np.float32, np.longdouble, ">f8"])
def test_any_kind_of_number_has_an_answer(statistic: Statistic, kind: type) -> None:
    """Every type of number is taken, beside itself and beside 64-bit floats, without a warning."""
    values: NDArray[Any] = (np.arange(40) % 2).astype(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other in (values, values.astype(float), values.astype(np.int64)):
            assert repr(statistic(values, other)) == repr(statistic(other, values))


@pytest.mark.parametrize("statistic", OF_VALUES)
def test_unsigned_integers_beside_signed_ones(statistic: Statistic) -> None:
    """What no integer type holds together is refused, instead of rounded."""
    with pytest.raises(InvalidInputError, match="beside signed"):
        statistic(np.array([2**64 - 1] * 20, np.uint64), np.array([-1] * 20))


@pytest.mark.parametrize("statistic", OF_COUNTS)
@pytest.mark.parametrize(
    "counts",
    [
        *([5, -1], [5.5, 1.0], [np.nan, 5.0], [np.inf, 5.0], [[5, 5]], ["5", "5"], [True, False], [1e17, 1.0]),
        np.ma.masked_array([5, 5], mask=[True, False]),
    ],
    ids=["negative", "fractional", "nan", "inf", "2-d", "text", "bool", "huge", "masked"],
)
@pytest.mark.parametrize("argument", ["reference", "current"])
def test_what_are_no_counts_is_refused(statistic: Statistic, counts: object, argument: str) -> None:
    """The error names the argument."""
    with pytest.raises(InvalidInputError) as refused:
        statistic(**({"reference": [5, 5], "current": [5, 5]} | {argument: counts}))
    assert refused.value.argument == argument


@pytest.mark.parametrize("statistic", OF_COUNTS)
def test_other_bins_are_refused(statistic: Statistic) -> None:
    """Counts on two bins and on three are not comparable."""
    with pytest.raises(InvalidInputError, match="on the same bins") as refused:
        statistic([5, 5], [5, 5, 5])
    assert refused.value.argument == "current"


@pytest.mark.parametrize("statistic", OF_COUNTS)
@pytest.mark.parametrize("counts", [[], [0, 0]])
def test_no_rows_at_all_are_refused(statistic: Statistic, counts: list[int]) -> None:
    """Counts of nothing have no shares."""
    with pytest.raises(TooFewObservationsError) as refused:
        statistic(counts, [5, 5])
    assert refused.value.argument == "reference"


@pytest.mark.parametrize("statistic", OF_COUNTS)
def test_small_integers_do_not_overflow(statistic: Statistic) -> None:
    """Counts of 8 bits are added up beyond 255."""
    p, q = [200, 100, 250], [100, 200, 250]
    assert statistic(np.array(p, np.uint8), np.array(q, np.uint8)) == statistic(p, q)


@pytest.mark.parametrize("statistic", OF_COUNTS)
def test_counts_as_whole_floats(statistic: Statistic) -> None:
    """Counts that arrive as floats are counts as long as they are whole."""
    assert statistic([30.0, 70.0], [20.0, 10.0]) == statistic([30, 70], [20, 10])
