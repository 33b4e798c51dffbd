"""Two models compared by their evaluations: decisions, planning, and the error rates of the test."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import nct, t

from model_perf.errors import InvalidInputError
from model_perf.stats import compare_evaluations, plan_evaluations

DAY = timedelta(days=1)
NOISE = np.array([0.1, -0.2, 0.15, 0.05, -0.1, 0.2, -0.15, 0.1, -0.05, 0.0])
LEVEL = np.linspace(10.0, 14.0, 10)


@pytest.mark.parametrize(
    ("difference", "higher_is_better", "decision"),
    [
        (1.0, False, "superior_a"),
        (-1.0, False, "superior_b"),
        (1.0, True, "superior_b"),
        (-1.0, True, "superior_a"),
        (0.0, True, "undecided"),
        (1.0, None, "undecided"),
    ],
)
def test_decision(difference: float, higher_is_better: bool | None, decision: str) -> None:
    """The better model is named, whichever it is; without a difference or a direction none is."""
    result = compare_evaluations(LEVEL, LEVEL + difference + NOISE, higher_is_better=higher_is_better)
    assert result.decision == decision
    assert result.effect == pytest.approx(difference + NOISE.mean())
    assert result.n_windows == 10
    assert result.mean_b is not None
    assert result.mean_a is not None
    assert result.mean_b - result.mean_a == pytest.approx(result.effect)


def test_pairing_takes_out_what_windows_share() -> None:
    """A difference of 1 is found although the windows differ by 400."""
    level = np.array([0.0, 400.0] * 5)
    assert compare_evaluations(level, level + 1 + NOISE, higher_is_better=True).decision == "superior_b"


@pytest.mark.parametrize("n", [0, 1, 7])
def test_fewer_than_eight_windows_decide_nothing(n: int) -> None:
    """An arm without data never loses, nor one with seven windows, however bad they are."""
    result = compare_evaluations(LEVEL[:n], 100.0 + LEVEL[:n], higher_is_better=False)
    assert result.decision == "insufficient_data"
    assert result.reason == f"{n} common windows; 8 are needed, {8 - n} more"
    assert result.pvalue is None
    assert result.confidence_interval is None
    assert (result.effect is None) == (n == 0)


def test_equal_differences_decide_by_the_sign_test() -> None:
    """Eight equal differences are worth 2^-7: enough at 5%, not at 0.5%."""
    a = np.arange(8.0)
    found, not_found = (compare_evaluations(a, a + 0.25, higher_is_better=True, alpha=x) for x in (0.05, 0.005))
    assert found.pvalue == 2.0**-7
    assert (found.decision, not_found.decision) == ("superior_b", "undecided")
    assert "sign test" in found.reason


def test_identical_models_are_undecided() -> None:
    """Two models with the same values are no finding."""
    result = compare_evaluations(LEVEL, LEVEL, higher_is_better=True)
    assert (result.decision, result.pvalue, result.effect) == ("undecided", 1.0, 0.0)
    assert result.reason == "both models have the same values on all 10 windows"


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"values_a": [1.0] * 9}, "values_b"),
        ({"values_b": [math.nan] * 10}, "values_b"),
        ({"values_a": ["x"] * 10}, "values_a"),
        ({"alpha": 1.0}, "alpha"),
        ({"min_windows": 1}, "min_windows"),
    ],
)
def test_bad_input_is_refused_by_name(arguments: dict[str, Any], argument: str) -> None:
    """What cannot be compared is refused with the argument's name."""
    call: dict[str, Any] = {"values_a": LEVEL, "values_b": LEVEL} | arguments
    with pytest.raises(InvalidInputError) as refused:
        compare_evaluations(higher_is_better=True, **call)
    assert refused.value.argument == argument


@pytest.mark.parametrize("n", [8, 14, 60])
def test_the_minimum_detectable_effect_has_the_power_asked_for(n: int) -> None:
    """A mean difference of that size is found with probability .8 (scipy.stats.nct)."""
    effect = plan_evaluations(n * DAY, DAY).minimum_detectable_effect
    assert effect is not None
    critical = t.ppf(0.975, n - 1)
    assert nct.sf(critical, n - 1, effect * math.sqrt(n)) == pytest.approx(0.8, abs=1e-6)


def test_the_plan_counts_whole_windows() -> None:
    """Seven days and 23 hours hold seven daily windows, which decide nothing."""
    plan = plan_evaluations(timedelta(days=7, hours=23), DAY)
    assert (plan.n_windows, plan.can_decide, plan.minimum_detectable_effect) == (7, False, None)
    assert "run it at least 8 days" in plan.reason
    assert plan_evaluations(8 * DAY, DAY).can_decide


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"duration": timedelta(0)}, "duration"),
        ({"window": -DAY}, "window"),
        ({"power": 0.01}, "power"),
        ({"power": 1.0}, "power"),
        ({"alpha": 0.0}, "alpha"),
    ],
)
def test_a_bad_plan_is_refused_by_name(arguments: dict[str, Any], argument: str) -> None:
    """A plan without time, or with impossible probabilities, is refused with the argument's name."""
    call: dict[str, Any] = {"duration": 8 * DAY, "window": DAY} | arguments
    with pytest.raises(InvalidInputError) as refused:
        plan_evaluations(**call)
    assert refused.value.argument == argument


def _decided(a: NDArray[np.float64], differences: NDArray[np.float64]) -> int:
    found = (compare_evaluations(a, a + d, higher_is_better=True).decision for d in differences)
    return sum(decision != "undecided" for decision in found)


@pytest.mark.parametrize("k", [8, 14, 60])
def test_size(
    k: int, autoregressive: Callable[..., NDArray[np.float64]], most_often: Callable[[float, int], int]
) -> None:
    """Equal models are told apart in at most 5% when the windows are independent; bound at .999 on 5,000."""
    differences = autoregressive(0.0, 5000, k, seed=k)
    assert _decided(np.arange(float(k)), differences) <= most_often(0.05, 5000)


@pytest.mark.parametrize(("phi", "low", "high"), [(0.3, 0.12, 0.17), (0.6, 0.29, 0.35)])
def test_autocorrelated_differences_mislead(
    phi: float, low: float, high: float, autoregressive: Callable[..., NDArray[np.float64]]
) -> None:
    """The documented limit: with differences of AR .3 about 14% of equal models are told apart, with .6 about 32%."""
    # Simulated with 20,000: .138 and .326 at 14 windows.
    decided = _decided(np.arange(14.0), autoregressive(phi, 4000, 14, seed=16))
    assert low < decided / 4000 < high


def test_power_at_the_minimum_detectable_effect(autoregressive: Callable[..., NDArray[np.float64]]) -> None:
    """The effect that the plan names is found in 80%, within 3 standard errors on 4,000."""
    effect = plan_evaluations(14 * DAY, DAY).minimum_detectable_effect
    assert effect is not None
    decided = _decided(np.arange(14.0), effect + autoregressive(0.0, 4000, 14, seed=17))
    assert decided / 4000 == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / 4000))
