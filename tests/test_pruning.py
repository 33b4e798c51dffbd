"""What a prune leaves behind is enough: a replay of it ends as a replay of everything does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pytest
from attrs import evolve
from tests.factories import START, make_evaluation, make_evaluations

from model_perf._pruning import History, find_removable, lasting
from model_perf.drift import PerformanceState, judge_performance, replay
from model_perf.policy import MonitoringPolicy
from model_perf.records import Evaluation

POLICY = MonitoringPolicy()


def noisy(seed: int, n: int, *, steps: float = 0.0, rho: float = 0.0) -> list[Evaluation]:
    """An error a day around 10: its log has a spread of 5% and autocorrelation *rho*, and steps up at half time."""
    rng = np.random.default_rng(seed)
    noise = np.zeros(n)
    for i in range(1, n):
        noise[i] = rho * noise[i - 1] + rng.normal(0.0, 0.05)
    noise[n // 2 : n // 2 + n // 6] += steps
    return make_evaluations(10.0 * np.exp(noise))


def old_part(evaluations: Sequence[Evaluation], n_old: int) -> History:
    return History(evaluations=evaluations[:n_old], is_old=[True] * n_old)


def without(evaluations: Sequence[Evaluation], gone: Sequence[Evaluation]) -> list[Evaluation]:
    ids = {e.id for e in gone}
    return [e for e in evaluations if e.id not in ids]


def final_state(evaluations: Sequence[Evaluation]) -> PerformanceState:
    """After a replay, what later verdicts depend on."""
    return lasting(replay(evaluations, POLICY)[1], POLICY)


@pytest.mark.parametrize("rho", [0.0, 0.6])
@pytest.mark.parametrize("steps", [0.0, 0.15, 0.6])
@pytest.mark.parametrize("seed", range(5))
def test_a_replay_of_what_is_left_is_the_same_after_every_bite(seed: int, steps: float, rho: float) -> None:
    """Calm, shifted and alarming series: whatever bites are gone, the state is the same."""
    evaluations = noisy(seed, 400, steps=steps, rho=rho)
    expected, gone = final_state(evaluations), list[Evaluation]()
    for bite in find_removable(old_part(evaluations, 350), POLICY, 40):
        gone += bite
        assert final_state(without(evaluations, gone)) == expected
    # 31 windows are the baseline's, and some are what the charts come from.
    assert len(gone) > 250


@pytest.mark.parametrize("seed", range(5))
def test_later_verdicts_are_the_same(seed: int) -> None:
    """Each of 60 further evaluations, half of them degraded, gets the very same report from either state."""
    evaluations = noisy(seed, 260)
    gone = [e for bite in find_removable(old_part(evaluations, 250), POLICY, 1000) for e in bite]
    whole, pruned = final_state(evaluations), final_state(without(evaluations, gone))
    assert len(gone) > 200
    rng = np.random.default_rng(seed)
    further = 10.0 * np.exp(rng.normal(0.0, 0.05, 60) + np.repeat([0.0, 0.3], 30))
    verdicts = set()
    for evaluation in make_evaluations(further, first_day=260):
        report, whole = judge_performance(whole, evaluation, POLICY)
        same, pruned = judge_performance(pruned, evaluation, POLICY)
        assert report == same
        verdicts.add(report.verdict)
    assert verdicts >= {"ok", "critical"}


def test_a_baseline_stays() -> None:
    """The windows of the first 30 days stay, and what the chart learned from."""
    evaluations = noisy(1, 200)
    gone = [e for bite in find_removable(old_part(evaluations, 190), POLICY, 1000) for e in bite]
    assert min(e.evaluation_end for e in gone) > START + timedelta(days=POLICY.baseline_days)


def test_an_alarm_that_nobody_resolved_keeps_its_evidence() -> None:
    """The chart has not been at zero since the degradation began, so that nothing after it may go."""
    values = 10.0 * np.exp(np.random.default_rng(3).normal(0.0, 0.05, 200))
    values[60:] *= 1.6
    evaluations = make_evaluations(values)
    gone = [e for bite in find_removable(old_part(evaluations, 190), POLICY, 10) for e in bite]
    assert gone
    assert max(e.evaluation_start for e in gone) < START + timedelta(days=61)
    assert final_state(without(evaluations, gone)) == final_state(evaluations)


def test_a_restart_ends_what_the_alarm_kept() -> None:
    """Once the alert was resolved the charts begin at zero there, and what came before may go."""
    values = 10.0 * np.exp(np.random.default_rng(3).normal(0.0, 0.05, 200))
    values[60:150] *= 1.6
    evaluations = make_evaluations(values)
    restarted = START + timedelta(days=150)
    history = evolve(old_part(evaluations, 190), restarted_after=restarted)
    gone = [e for bite in find_removable(history, POLICY, 1000) for e in bite]
    assert max(e.evaluation_start for e in gone) > restarted
    whole, left = (
        replay(each, POLICY, restarted_after=restarted)[1] for each in (evaluations, without(evaluations, gone))
    )
    assert lasting(left, POLICY) == lasting(whole, POLICY)


def test_nothing_goes_while_the_baseline_grows() -> None:
    """A deployment that has not learned enough keeps everything."""
    assert list(find_removable(old_part(noisy(1, 20), 20), POLICY, 1000)) == []


def test_what_is_never_judged_may_go() -> None:
    """Evaluations without a metric of known direction teach nothing, and nothing depends on them."""
    evaluations = make_evaluations(np.ones(50), metric="own")
    assert sum(map(len, find_removable(old_part(evaluations, 50), POLICY, 7))) == 50


def test_late_labels_are_replayed_as_before() -> None:
    """Of windows evaluated twice the later one counts, though the earlier one is old and the later one is not."""
    evaluations = noisy(2, 120)
    again = [
        make_evaluation(
            day=day, id=None, metrics={"rmse": 11.0 + day / 1000}, evaluation_date=START + timedelta(days=500)
        )
        for day in (50, 80)
    ]
    history = History(evaluations=[*evaluations, *again], is_old=[True] * 110 + [False] * 12)
    gone = [e for bite in find_removable(history, POLICY, 25) for e in bite]
    assert {e.id for e in again}.isdisjoint({e.id for e in gone})
    everything = [*evaluations, *again]
    assert final_state(without(everything, gone)) == final_state(everything)


@pytest.mark.parametrize("n_old", range(10, 20))
def test_a_later_restart_finds_what_it_needs(n_old: int) -> None:
    """A replay knows of the last restart only: once there is a later one, it goes through the stretch before the first.

    While the chart still learns an alarm comes, and is resolved by hand; the prune comes before it has learned enough.
    """
    policy = MonitoringPolicy(baseline_days=5.0, baseline_min=5)
    values = 10.0 * np.exp(np.random.default_rng(4).normal(0.0, 0.05, 40))
    values[8] *= 3.0
    evaluations = make_evaluations(values)
    first, second = (START + timedelta(days=days) for days in (10, 40))
    history = evolve(old_part(evaluations, n_old), restarted_after=first)
    gone = [e for bite in find_removable(history, policy, 1) for e in bite]
    for restarted in (first, second):
        whole, left = (
            replay(each, policy, restarted_after=restarted)[1] for each in (evaluations, without(evaluations, gone))
        )
        assert lasting(left, policy) == lasting(whole, policy), restarted
