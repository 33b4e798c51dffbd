"""The EWMA that is drawn beside the values."""

from __future__ import annotations

import numpy as np
import pytest

from model_perf.drift import ewma
from model_perf.errors import InvalidInputError


def run_lengths(rng: np.random.Generator, shift: float, n: int, length: int) -> list[int]:
    """Run lengths of independent series; none may be longer than *length*."""
    found = []
    for _ in range(n):
        first = ewma(rng.normal(shift, 1.0, length).tolist(), center=0.0, sd=1.0).first_outside
        assert first is not None
        found.append(first + 1)
    return found


def test_the_published_run_length_without_change() -> None:
    """With weight .1 and width 2.814 an unchanged series leaves the limits after 500 values on average."""
    # Lucas & Saccucci (1990), table 3: 500.
    lengths = run_lengths(np.random.default_rng(11), 0.0, 1500, 6000)
    # Nearly exponential: standard error 500/sqrt(1500) = 12.9; 3.3 of them.
    assert np.mean(lengths) == pytest.approx(500, abs=43)


def test_the_published_run_length_at_one_standard_deviation() -> None:
    """A shift of one standard deviation is found after 10.3 values."""
    # The same table: 10.3; the standard deviation of the run length is about 6.
    lengths = run_lengths(np.random.default_rng(12), 1.0, 4000, 200)
    assert np.mean(lengths) == pytest.approx(10.3, abs=0.32)


def test_the_average_is_the_weighted_sum() -> None:
    """The last average is sum of weight (1 - weight)^i x_(t-i) plus the centre's remainder."""
    values = [1.0, 4.0, -2.0, 0.5]
    powers = 0.8 ** np.arange(4)
    expected = float(0.2 * np.dot(powers, values[::-1]) + 0.8**4 * 3.0)
    assert ewma(values, center=3.0, sd=1.0, weight=0.2).average[-1] == pytest.approx(expected)


def test_the_chart_is_free_of_units() -> None:
    """Values, centre and spread in another unit give the same picture in that unit."""
    values = np.random.default_rng(13).normal(5.0, 2.0, 50)
    plain = ewma(values.tolist(), center=5.0, sd=2.0)
    scaled = ewma((1000.0 * values).tolist(), center=5000.0, sd=2000.0)
    assert scaled.average == pytest.approx([1000.0 * each for each in plain.average])
    assert (scaled.lower, scaled.upper) == pytest.approx((1000.0 * plain.lower, 1000.0 * plain.upper))
    assert scaled.first_outside == plain.first_outside


@pytest.mark.parametrize("bad", [{"sd": 0.0}, {"sd": float("nan")}, {"weight": 0.0}, {"weight": 1.1}, {"width": -1.0}])
def test_an_impossible_chart_is_refused(bad: dict[str, float]) -> None:
    """A spread or width that is not positive and a weight outside (0, 1] are refused by name."""
    with pytest.raises(InvalidInputError) as error:
        ewma([1.0], **{"center": 0.0, "sd": 1.0} | bad)
    assert error.value.argument in bad
