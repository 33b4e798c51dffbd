"""The CUSUM of a stream: published run lengths, the textbook's recursion, and bad settings."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from model_perf.drift import CusumDetector
from model_perf.drift._cusum import cusum_step
from model_perf.errors import InvalidInputError

MONTGOMERY = 469.0
"""The run length by Siegmund's approximation whose limit is the h = 5 of Montgomery's table (465, exactly)."""


def run_lengths(rng: np.random.Generator, detector: CusumDetector, shift: float, n: int, length: int) -> list[int]:
    """Run lengths of independent series; those that last longer than *length* go on with as many values again."""
    found = []
    for _ in range(n):
        running = detector
        while not running.drift_detected:
            running = running.update_many(rng.normal(shift, 1.0, length))
        assert running.detected_at is not None
        found.append(running.detected_at + 1)
    return found


def test_the_published_run_length_without_change() -> None:
    """With k = .5 and h = 5 a false alarm is raised once in 465 values."""
    # Montgomery, Introduction to Statistical Quality Control, table of CUSUM run lengths: 465.
    detector = CusumDetector(mean=0.0, sd=1.0, run_length=MONTGOMERY)
    assert detector.limit == pytest.approx(5.0, abs=0.005)
    lengths = run_lengths(np.random.default_rng(21), detector, 0.0, 3000, 1000)
    # Nearly exponential: standard error 465/sqrt(3000) = 8.5; 3.3 of them.
    assert np.mean(lengths) == pytest.approx(465, abs=28)


@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_the_published_run_length_at_one_standard_deviation(shift: float) -> None:
    """A shift of one standard deviation either way is found after 10.4 values."""
    # The same table: 10.4. Standard deviation of the run length about 6.
    detector = CusumDetector(mean=0.0, sd=1.0, run_length=MONTGOMERY)
    lengths = run_lengths(np.random.default_rng(22), detector, shift, 4000, 200)
    assert np.mean(lengths) == pytest.approx(10.4, abs=0.3)


def test_the_sums_are_pages() -> None:
    """Both sums are max(0, sum ± z - k), over many blocks."""
    values = np.random.default_rng(23).normal(2.0, 3.0, 10_000)
    detector = CusumDetector(mean=2.0, sd=3.0, k=0.25)
    upper = lower = 0.0
    for value in values.tolist():
        deviate = (value - 2.0) / 3.0
        upper, lower = cusum_step(upper, deviate, 0.25), cusum_step(lower, -deviate, 0.25)
    assert detector.update_many(values).sums == pytest.approx((upper, lower), abs=1e-9)


def test_the_detector_is_free_of_units() -> None:
    """Values and reference in another unit raise the same alarm."""
    values = np.random.default_rng(24).normal(0.3, 1.0, 5000)
    plain = CusumDetector(mean=0.0, sd=1.0).update_many(values)
    scaled = CusumDetector(mean=20.0, sd=1000.0).update_many(20.0 + 1000.0 * values)
    assert plain.detected_at == scaled.detected_at


def test_a_wild_value_leaves_the_other_sum_exact() -> None:
    """A value of any size raises the alarm and spoils no digit of what follows."""
    wild = CusumDetector(mean=0.0, sd=1.0).update_many([-1.0, 1e308, 0.2, -3.0, -1.0])
    assert wild.direction == "up"
    assert wild.sums[1] == pytest.approx(3.0, abs=1e-9)
    tiny = CusumDetector(mean=-1e308, sd=1e-300).update(1e308)
    assert tiny == CusumDetector(mean=-1e308, sd=1e-300).update_many([1e308])
    json.dumps(tiny.to_dict(), allow_nan=False)


def test_a_restart_sets_the_sums_to_zero() -> None:
    """After a restart both sums are exactly 0, in the middle of a block as at its end."""
    for n in (1, 4095, 4096, 5000):
        restarted = CusumDetector(mean=0.0, sd=1.0).update_many(np.full(n, 2.0)).restart()
        assert restarted.sums == (0.0, 0.0)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("mean", math.nan), ("mean", "0"), ("sd", 0.0), ("sd", -1.0), ("sd", math.inf), ("sd", math.nan)),
        *(("k", 0.0), ("k", 11.0), ("k", math.nan), ("run_length", 1.0), ("run_length", math.inf)),
    ],
)
def test_an_impossible_setting_is_refused(argument: str, value: object) -> None:
    """A setting outside its range is refused by name."""
    settings: dict[str, Any] = {"mean": 0.0, "sd": 1.0, argument: value}
    with pytest.raises(InvalidInputError) as error:
        CusumDetector(**settings)
    assert error.value.argument == argument
