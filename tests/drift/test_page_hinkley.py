"""The Page-Hinkley test: its definition, its run length, errors of a classifier, and bad settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model_perf.drift import CusumDetector, PageHinkley
from model_perf.errors import InvalidInputError


def test_the_sums_are_those_of_the_definition() -> None:
    """The sums are m_T - min m_t of z - delta, and max - m_T of z + delta, with m_0 = 0."""
    # Gama, Sebastião & Rodrigues (2013), section 5.1.
    values = np.random.default_rng(31).normal(0.1, 0.3, 9000)
    deviates = (values - 0.1) / 0.3
    m = np.concatenate([[0.0], np.cumsum(deviates - 0.1)])
    upward = float((m - np.minimum.accumulate(m))[-1])
    m = np.concatenate([[0.0], np.cumsum(deviates + 0.1)])
    downward = float((np.maximum.accumulate(m) - m)[-1])
    found = PageHinkley(mean=0.1, sd=0.3, delta=0.1).update_many(values).sums
    assert found == pytest.approx((upward, downward), abs=1e-8)


def test_it_is_a_cusum_with_another_parameter() -> None:
    """With the CUSUM's limit as threshold and its k as delta both raise the same alarm."""
    cusum = CusumDetector(mean=0.0, sd=1.0, k=0.2, run_length=1000)
    test = PageHinkley(mean=0.0, sd=1.0, delta=0.2, threshold=cusum.limit)
    assert test.run_length == pytest.approx(1000)
    values = np.random.default_rng(32).normal(0.0, 1.0, 20_000)
    assert cusum.update_many(values).detected_at == test.update_many(values).detected_at is not None


def test_the_run_length_is_kept() -> None:
    """Unchanged normal values raise a false alarm once in `run_length`."""
    rng = np.random.default_rng(33)
    test = PageHinkley(mean=0.0, sd=1.0, delta=0.1, threshold=15.0)
    found = []
    for _ in range(1000):
        running = test
        while running.detected_at is None:
            running = running.update_many(rng.normal(0.0, 1.0, 1000))
        found.append(running.detected_at + 1)
    # Nearly exponential: 3.3 standard errors of 1/sqrt(1000), and 1% for the approximation.
    assert np.mean(found) == pytest.approx(test.run_length, rel=0.115)


def test_errors_of_a_classifier(most_often: Callable[[float, int], int]) -> None:
    """From 10% to 30% errors: found within 130 on average, with the false alarms that the run length allows."""
    rng = np.random.default_rng(34)
    test = PageHinkley(mean=0.1, sd=0.3, delta=0.1, threshold=50.0)
    false_alarms = sum(test.update_many(rng.random(10_000) < 0.1).drift_detected for _ in range(300))
    # Errors are skewed to the right, which costs a little: a third is allowed for it.
    assert false_alarms <= most_often(1.33 * 10_000 / test.run_length, 300)
    delays = [test.update_many(rng.random(2000) < 0.3).detected_at for _ in range(300)]
    assert None not in delays
    # Wald: threshold over the drift of z - delta = 50 / (2/3 - .1) = 88, plus the overshoot.
    assert np.mean([delay for delay in delays if delay is not None]) == pytest.approx(90, abs=5)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("mean", math.inf), ("sd", 0.0), ("sd", None), ("delta", 0.0), ("delta", -0.1), ("delta", 10.5)),
        *(("threshold", 0.0), ("threshold", math.nan), ("threshold", "50")),
    ],
)
def test_an_impossible_setting_is_refused(argument: str, value: object) -> None:
    """A setting outside its range is refused by name."""
    settings: dict[str, Any] = {"mean": 0.0, "sd": 1.0, argument: value}
    with pytest.raises(InvalidInputError) as error:
        PageHinkley(**settings)
    assert error.value.argument == argument
