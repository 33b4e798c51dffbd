"""The state and its JSON form."""

from __future__ import annotations

import json
import random

import pytest
from tests.factories import make_evaluation, make_evaluations

from model_perf.drift import EMPTY, PerformanceState, judge_performance, replay, restart_chart
from model_perf.errors import SchemaError
from model_perf.policy import MonitoringPolicy

POLICY = MonitoringPolicy()


def noisy(n: int, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [10.0 * rng.lognormvariate(0.0, 0.05) for _ in range(n)]


def test_the_state_survives_json() -> None:
    """Reading back what was written gives the same state, and the same verdict on the next evaluation."""
    _, state = replay(make_evaluations([*noisy(50), 12.0]), POLICY)
    again = PerformanceState.from_dict(json.loads(json.dumps(state.to_dict(), allow_nan=False)))
    assert again == state
    following = make_evaluation(day=60, metrics={"rmse": 13.0})
    assert judge_performance(again, following, POLICY) == judge_performance(state, following, POLICY)


def test_the_empty_state_survives_json() -> None:
    """Before the first evaluation too; an empty object counts as that."""
    assert PerformanceState.from_dict(EMPTY.to_dict()) == EMPTY == PerformanceState()
    assert PerformanceState.from_dict({}) == EMPTY


def test_the_state_knows_its_last_window() -> None:
    """Number and window of the last evaluation counted are there to be compared."""
    evaluations = make_evaluations(noisy(3))
    _, state = replay(evaluations, POLICY)
    assert state.n == 3
    assert (state.last_start, state.last_end) == (evaluations[2].evaluation_start, evaluations[2].evaluation_end)


def test_the_state_does_not_grow() -> None:
    """A thousand evaluations take no more room than a hundred."""
    sizes = [len(json.dumps(replay(make_evaluations(noisy(n)), POLICY)[1].to_dict())) for n in (100, 1000)]
    assert sizes[1] < 1.1 * sizes[0]


def test_a_newer_state_is_refused() -> None:
    """A state of a version that this code does not know is an error that names the mend."""
    with pytest.raises(SchemaError, match="upgrade model_perf"):
        PerformanceState.from_dict({"v": 2, "n": 0, "last": [None, None], "metrics": {}})


def test_a_restart_puts_the_charts_to_zero() -> None:
    """After a restart the charts are at zero, and baseline and estimates are what they were."""
    _, state = replay(make_evaluations([*noisy(40), *[13.0] * 5]), POLICY)
    restarted = restart_chart(state)
    before, after = state.metrics["rmse"], restarted.metrics["rmse"]
    assert before.chart.value > 0.0
    assert after.chart.value == 0.0
    assert (after.baseline, after.chart.learned) == (before.baseline, before.chart.learned)
    assert restarted.last_end == state.last_end
