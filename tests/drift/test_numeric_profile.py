"""Numeric profiles: what is counted, and that the counts of parts are those of the whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model_perf.drift import NumericProfile
from model_perf.drift._knots import N_KNOTS, Knots, choose_knots, ranks
from model_perf.drift._numeric_profile import count_numbers
from model_perf.errors import InvalidInputError

Values = NDArray[Any]
LARGE = 2**53


def normal(rng: np.random.Generator, n: int) -> Values:
    return rng.normal(1e6, 3.0, n)


def heavy(rng: np.random.Generator, n: int) -> Values:
    return np.append(rng.standard_cauchy(n - 2), [-np.inf, np.inf])


def tied(rng: np.random.Generator, n: int) -> Values:
    return np.where(rng.random(n) < 0.6, 0.0, rng.exponential(size=n))


def whole(rng: np.random.Generator, n: int) -> Values:
    return rng.integers(LARGE - 5, LARGE + 5, n)


def unsigned(rng: np.random.Generator, n: int) -> Values:
    return rng.integers(2**63 - 2000, 2**63 + 2000, n, dtype=np.uint64)


GENERATORS = [normal, heavy, tied, whole, unsigned]
Generator = Callable[[np.random.Generator, int], Values]


def own(values: Values) -> NumericProfile:
    return count_numbers(values, "numeric", 0, choose_knots(values))


def on(values: Values, knots: Knots | None) -> NumericProfile:
    return count_numbers(values, "numeric", 1, knots)


def counts(profile: NumericProfile) -> dict[str, object]:
    """All that adds up exactly."""
    return {
        "n": (profile.n, profile.missing, profile.n_finite, profile.minimum, profile.maximum, profile.n_out_of_range),
        "below": profile.below.tolist(),
        "at_most": profile.at_most.tolist(),
        "bins": profile.bins.tolist(),
    }


@pytest.mark.parametrize("generate", GENERATORS)
@pytest.mark.parametrize("n", [2, 30, 3000, 30_000])
def test_parts_add_up_to_the_whole(generate: Generator, n: int) -> None:
    """Counts are those of the whole exactly, moments to 1e-9; the order of addition does not matter."""
    rng = np.random.default_rng(n)
    knots = own(generate(rng, 5000)).knots
    parts = [generate(rng, size) for size in (n, 2, 2 * n)]
    a, b, c = (on(part, knots) for part in parts)
    together = on(np.concatenate(parts), knots)
    for added in ((a + b) + c, a + (b + c), (c + a) + b):
        assert counts(added) == {**counts(together), "n": (together.n, 3, *counts(together)["n"][2:])}  # type: ignore[index]
        assert added.mean == pytest.approx(together.mean, rel=1e-9, abs=1e-9)
        if generate in (normal, heavy, tied):  # a mean beyond 2^53 has no digits left to join variances by
            assert added.m2 == pytest.approx(together.m2, rel=1e-9)


@pytest.mark.parametrize("generate", GENERATORS)
def test_bins_are_what_they_say(generate: Generator) -> None:
    """Bins, ranks and values out of range against numpy's plain comparisons."""
    rng = np.random.default_rng(7)
    reference = generate(rng, 5000)
    profile, values = own(reference), generate(rng, 700)
    knots = profile.knots
    assert knots is not None
    window = on(values, knots)
    assert window.below.tolist() == [int((values < knot).sum()) for knot in knots.values]
    assert window.at_most.tolist() == [int((values <= knot).sum()) for knot in knots.values]
    low, high = knots.values[[knots.low, knots.high]]
    assert window.n_out_of_range == int(((values < low) | (values > high)).sum())
    assert window.bins.sum() == values.size
    assert profile.bins.sum() == reference.size
    assert profile.n_out_of_range <= 0.002 * reference.size


def test_quantile_bins() -> None:
    """Of 1 to 1000 each bin holds a tenth, and the range is that of the order statistics 1 and 999."""
    profile = own(np.arange(1.0, 1001.0))
    assert profile.bins.tolist() == [100] * 10
    assert profile.n_out_of_range == 1
    assert (profile.minimum, profile.maximum, profile.mean) == (1.0, 1000.0, 500.5)
    assert profile.variance == pytest.approx(1000 * 1001 / 12)  # n (n + 1) / 12


def test_a_value_that_fills_bins_has_its_own() -> None:
    """Of a constant, what lies below, at and above is told apart, whole numbers beyond 2^53 included."""
    for value in (5.0, LARGE + 1):
        profile = own(np.full(40, value))
        assert profile.bins.tolist() == [0, 40, 0]
        window = on(np.array([value - 1, value, value, value + 1]), profile.knots)
        assert window.bins.tolist() == [1, 2, 1]


def test_neighbours_beyond_2_to_the_53() -> None:
    """2^53 and 2^53 + 1 are two values, in counts, in the extremes and in the variance."""
    profile = own(np.array([LARGE, LARGE + 1] * 10))
    assert profile.knots is not None
    assert profile.knots.values.tolist() == [LARGE, LARGE + 1]
    assert profile.at_most.tolist() == [10, 20]
    assert (profile.minimum, profile.maximum) == (LARGE, LARGE + 1)
    assert profile.variance == pytest.approx(20 / 19 / 4)


def test_signed_against_unsigned() -> None:
    """Counts on knots of the other type are exact: neither is compared as floats."""
    signed = np.array([-1, 0, LARGE, LARGE + 1, 2**63 - 1])
    unsigned = np.array([0, LARGE, LARGE + 1, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
    for values, knots in ((signed, unsigned), (unsigned, signed), (signed, signed)):
        for side, at in (("left", int.__lt__), ("right", int.__le__)):
            expected = [sum(at(value, knot) for value in values.tolist()) for knot in knots.tolist()]
            assert ranks(values, knots, side).tolist() == expected  # type: ignore[arg-type]


def test_infinities_are_ranked() -> None:
    """They count as the least and the largest values; moments are those of the finite."""
    profile = own(np.array([-np.inf, 1.0, 3.0, np.inf]))
    assert (profile.minimum, profile.maximum, profile.n_finite, profile.mean) == (-np.inf, np.inf, 2, 2.0)
    assert own(np.full(3, np.inf)).variance is None


def test_the_largest_floats() -> None:
    """A sentinel near the largest float leaves a variance that is not known, and is written and read like others."""
    profile = own(np.array([0.0, 1.7e308, -1.7e308]))
    assert profile.variance is None
    assert NumericProfile.from_dict(json.loads(json.dumps(profile.to_dict(), allow_nan=False))).maximum == 1.7e308


def test_the_range_of_all_integers() -> None:
    """Differences of 64-bit integers do not overflow: var of -2^63 and 2^63 - 1 is 2^127."""
    profile = own(np.array([-(2**63), 2**63 - 1]))
    assert profile.variance == pytest.approx(2.0**127)


def test_the_mean_of_large_values() -> None:
    """A small variance far from zero keeps its digits."""
    values = 1e9 + np.random.default_rng(1).normal(size=100_000)
    assert own(values).variance == pytest.approx(np.var(values, ddof=1), rel=1e-9)


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(0, np.int64)])
def test_no_value(values: Values) -> None:
    """Without values there are no knots, no extremes and one empty bin."""
    profile = own(values)
    assert (profile.knots, profile.minimum, profile.variance, profile.bins.tolist()) == (None, None, None, [0])


def test_one_value() -> None:
    """One row is a reference, too."""
    profile = own(np.array([3.5]))
    assert (profile.n, profile.minimum, profile.variance, profile.bins.sum()) == (1, 3.5, None, 1)


@pytest.mark.parametrize("n", [100, 2048, 2049, 100_000])
def test_knots_are_few(n: int) -> None:
    """At most 2,050 knots, whatever the rows; all values where they are not more than 2,048."""
    knots = choose_knots(np.random.default_rng(n).random(n))
    assert knots is not None
    assert knots.values.size <= N_KNOTS + 2
    assert knots.is_complete == (n <= N_KNOTS)
    assert (np.diff(knots.values) > 0).all()


def test_a_sample_of_very_many_rows_is_even() -> None:
    """Of 4 million rows that repeat every four, the knots are not those of every fourth row."""
    values = np.tile([0.0, 1.0, 2.0, 3.0], 1 << 20)
    knots = choose_knots(values)
    assert knots is not None
    assert knots.values.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert count_numbers(values, "numeric", 0, knots).n_out_of_range == 0


def test_other_knots_do_not_add_up() -> None:
    """Profiles that were counted elsewhere are refused."""
    a, b = own(np.arange(10.0)), own(np.arange(11.0))
    with pytest.raises(InvalidInputError, match="other knots"):
        a + b


@pytest.mark.parametrize("generate", GENERATORS)
def test_what_is_written_is_read(generate: Generator) -> None:
    """JSON without NaN and Infinity holds all of it."""
    profile = own(generate(np.random.default_rng(3), 3000))
    again = NumericProfile.from_dict(json.loads(json.dumps(profile.to_dict(), allow_nan=False)))
    assert counts(again) == counts(profile)
    assert (again.mean, again.m2, again.kind) == (profile.mean, profile.m2, profile.kind)
    assert again.is_on(profile.knots)
