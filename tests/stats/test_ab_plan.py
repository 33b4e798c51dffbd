"""The plan of a test that may be looked at at any time: against simulation, and its own inverses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model_perf.errors import InvalidInputError
from model_perf.stats import plan_ab_test, sequence_multipliers
from model_perf.stats._ab_plan import crossing_probability, sequential_drift


@pytest.mark.parametrize(("drift", "alpha"), [(0.0, 0.05), (2.5, 0.05), (3.668, 0.05), (4.24, 0.01)])
def test_the_crossing_probability_is_the_simulated_one(
    drift: float, alpha: float, most_often: Callable[[float, int], int]
) -> None:
    """Of 20,000 random walks with 80 looks as many leave the sequence as the recursion says."""
    rng, runs = np.random.default_rng(int(100 * drift)), 20_000
    times = np.geomspace(0.02, 1.0, 80)
    steps = np.diff(times, prepend=0.0)
    walk = np.cumsum(rng.standard_normal((runs, 80)) * np.sqrt(steps) + drift * steps, axis=1)
    bounds = sequence_multipliers(times * 1e6, planned_n=10**6, alpha=alpha) * np.sqrt(times)
    found, said = int((np.abs(walk) > bounds).any(axis=1).sum()), crossing_probability(drift, alpha)
    assert runs - most_often(1.0 - said, runs) <= found <= most_often(said, runs)
    if drift == 0.0:
        assert said < alpha


def test_a_planned_test_finds_its_effect(most_often: Callable[[float, int], int]) -> None:
    """Of 500 tests at the planned size, split 30 to 70, with the planned effect, 80% decide by then."""
    plan = plan_ab_test(2.0, minimum_detectable_effect=0.3, traffic_split=0.3)
    rng, runs, found = np.random.default_rng(2), 500, 0
    looks = np.unique(np.geomspace(400, plan.planned_n, 60).round().astype(int))
    for _ in range(runs):
        is_b = rng.random(plan.planned_n) < 0.3
        values = rng.normal(0.0, 2.0, plan.planned_n) + 0.3 * is_b
        n_b = np.cumsum(is_b)[looks - 1]
        sums = [np.cumsum(values * side)[looks - 1] for side in (~is_b, is_b)]
        effect = sums[1] / n_b - sums[0] / (looks - n_b)
        error = 2.0 * np.sqrt(1.0 / n_b + 1.0 / (looks - n_b))
        found += bool((np.abs(effect / error) > sequence_multipliers(looks, planned_n=plan.planned_n)).any())
    assert runs - most_often(0.2 + 0.03, runs) <= found <= most_often(0.8 + 0.03, runs)


def test_the_price_of_looking() -> None:
    """About 1.7 times the fixed sample at 80% power [the design's figure], 1.6 at 90%."""
    for power, ratio in ((0.8, 1.71), (0.9, 1.62)):
        plan = plan_ab_test(1.0, minimum_detectable_effect=0.05, power=power)
        assert plan.planned_n / plan.fixed_n == pytest.approx(ratio, abs=0.03)
    assert sequential_drift(0.05, 0.8) == pytest.approx(3.668, abs=0.02)


def test_size_and_effect_answer_each_other() -> None:
    """The effect that a size finds is found at that size; pairs need no split."""
    plan = plan_ab_test(3.0, planned_n=8000, observations_per_day=400, traffic_split=0.2)
    assert plan.days == 20.0
    again = plan_ab_test(3.0, minimum_detectable_effect=plan.minimum_detectable_effect, traffic_split=0.2)
    assert again.planned_n == pytest.approx(8000, abs=1)
    paired, routed = (
        plan_ab_test(1.0, planned_n=1000, paired=each).minimum_detectable_effect for each in (True, False)
    )
    assert routed == pytest.approx(2.0 * paired)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"standard_deviation": 0.0, "planned_n": 10}, "standard_deviation"),
        ({"standard_deviation": 1.0}, "planned_n"),
        ({"standard_deviation": 1.0, "planned_n": 10, "minimum_detectable_effect": 1.0}, "planned_n"),
        ({"standard_deviation": 1.0, "planned_n": 1}, "planned_n"),
        ({"standard_deviation": 1.0, "minimum_detectable_effect": -1.0}, "minimum_detectable_effect"),
        ({"standard_deviation": 1.0, "planned_n": 10, "power": 0.01}, "power"),
        ({"standard_deviation": 1.0, "planned_n": 10, "traffic_split": 1.0}, "traffic_split"),
        ({"standard_deviation": 1.0, "planned_n": 10, "observations_per_day": 0.0}, "observations_per_day"),
    ],
)
def test_bad_input(arguments: dict[str, Any], argument: str) -> None:
    """What cannot be planned is refused by name."""
    with pytest.raises(InvalidInputError) as error:
        plan_ab_test(**arguments)
    assert error.value.argument == argument
