"""The EWMA of a stream: published run lengths and widths, the recursion, and bad settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from model_perf.drift import EwmaDetector, ewma, ewma_run_length, ewma_width
from model_perf.errors import InvalidInputError


def run_lengths(rng: np.random.Generator, detector: EwmaDetector, shift: float, n: int, length: int) -> list[int]:
    """Run lengths of independent series; those that last longer than *length* go on with as many values again."""
    found = []
    for _ in range(n):
        running = detector
        while running.detected_at is None:
            running = running.update_many(rng.normal(shift, 1.0, length))
        found.append(running.detected_at + 1)
    return found


def test_the_published_run_length_without_change() -> None:
    """With weight .1 and width 2.814 a false alarm is raised once in 500 values."""
    # Lucas & Saccucci (1990), table 3: 500.
    detector = EwmaDetector(mean=0.0, sd=1.0, run_length=500)
    assert detector.limit == pytest.approx(2.814 * math.sqrt(0.1 / 1.9), abs=1e-3)
    lengths = run_lengths(np.random.default_rng(41), detector, 0.0, 3000, 1000)
    # Nearly exponential: standard error 500/sqrt(3000) = 9.1; 3.3 of them.
    assert np.mean(lengths) == pytest.approx(500, abs=30)


@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_the_published_run_length_at_one_standard_deviation(shift: float) -> None:
    """A shift of one standard deviation either way is found after 10.3 values."""
    # The same table: 10.3; the standard deviation of the run length is about 6.
    detector = EwmaDetector(mean=0.0, sd=1.0, run_length=500)
    lengths = run_lengths(np.random.default_rng(42), detector, shift, 4000, 200)
    assert np.mean(lengths) == pytest.approx(10.3, abs=0.32)


@pytest.mark.parametrize(
    ("weight", "width", "unchanged", "at_one_sd"),
    # Lucas & Saccucci (1990), table 3: widths for a run length of 500, and the one at a shift of 1 sd.
    [(0.4, 3.054, 500, 14.3), (0.25, 2.998, 500, 11.1), (0.1, 2.814, 500, 10.3), (0.05, 2.615, 500, 11.4)],
)
def test_the_published_table(weight: float, width: float, unchanged: float, at_one_sd: float) -> None:
    """Run lengths and widths are those of the table, to its last digit."""
    assert ewma_run_length(width, weight) == pytest.approx(unchanged, rel=0.003)
    assert ewma_run_length(width, weight, 1.0) == pytest.approx(at_one_sd, abs=0.1)
    assert ewma_width(unchanged, weight) == pytest.approx(width, abs=1e-3)


@pytest.mark.parametrize("weight", [0.001, 0.01, 0.1, 0.5, 0.99])
def test_the_width_inverts_the_run_length(weight: float) -> None:
    """The run length at the width is the one that was asked for, for every weight and up to 1e9."""
    for run_length in (2.0, 500.0, 1e5, 1e9):
        assert ewma_run_length(ewma_width(run_length, weight), weight) == pytest.approx(run_length, rel=1e-5)


@pytest.mark.parametrize("weight", [0.001, 0.1, 0.5, 0.9, 0.999, 1.0 - 1e-12])
def test_the_average_is_that_of_the_recursion(weight: float) -> None:
    """Over many blocks the average is weight z + (1 - weight) average, and the chart's for display."""
    values = np.random.default_rng(43).normal(5.0, 2.0, 9000)
    expected = ewma(values.tolist(), center=5.0, sd=2.0, weight=weight).average[-1]
    found = EwmaDetector(mean=5.0, sd=2.0, weight=weight).update_many(values)
    assert 5.0 + 2.0 * found.average == pytest.approx(expected, rel=1e-12)


def test_a_wild_value_is_forgotten() -> None:
    """A value of any size raises the alarm; as many values later as the weight says no digit of it is left."""
    wild = EwmaDetector(mean=0.0, sd=1.0, weight=0.5).update(1e308)
    assert wild.direction == "up"
    assert wild.update_many([0.25] * 100).average == pytest.approx(0.25, rel=1e-12)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("mean", math.nan), ("sd", 0.0), ("sd", -1.0), ("weight", 0.0), ("weight", 1.0), ("weight", math.nan)),
        *(("run_length", 1.0), ("run_length", 2e9), ("run_length", "500")),
    ],
)
def test_an_impossible_setting_is_refused(argument: str, value: object) -> None:
    """A setting outside its range is refused by name."""
    settings: dict[str, Any] = {"mean": 0.0, "sd": 1.0, argument: value}
    with pytest.raises(InvalidInputError) as error:
        EwmaDetector(**settings)
    assert error.value.argument == argument


@pytest.mark.parametrize(("width", "weight", "shift"), [(0.0, 0.1, 0.0), (7.0, 0.1, 0.0), (2.8, 1.0, 0.0)])
def test_an_impossible_run_length_is_refused(width: float, weight: float, shift: float) -> None:
    """So are a width and a weight for which there is no run length."""
    with pytest.raises(InvalidInputError):
        ewma_run_length(width, weight, shift)
