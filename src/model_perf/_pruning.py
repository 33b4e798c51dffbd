"""Which old evaluations of a deployment nothing depends on any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from time import sleep

from attrs import evolve, frozen

from model_perf.drift import PerformanceState
from model_perf.drift._performance import replay_steps
from model_perf.drift._recovery import NOTHING as NO_ALARM
from model_perf.drift._state import EMPTY, restart_chart
from model_perf.policy import MonitoringPolicy
from model_perf.records import Evaluation

STRETCH = 20
"""Evaluations that are replayed in one go, 2 ms. Without the breath between them a `record` in the same process takes
twice as long, since each of its steps waits until the interpreter takes its lock away from the replaying thread."""

MOST_TRIED = 1024
"""Evaluations that a chart which is to forget gets for it; few need 10, and one that rises all the time never does."""


@frozen(kw_only=True)
class History:
    """The older part of what a deployment's charts are replayed from, and which of it may go by its age."""

    evaluations: Sequence[Evaluation]
    is_old: Sequence[bool]
    training_data_end: datetime | None = None
    restarted_after: datetime | None = None


def find_removable(history: History, policy: MonitoringPolicy, batch: int) -> Iterator[list[Evaluation]]:
    """The old evaluations without which a replay ends in the same state, in bites of *batch* at most, oldest first.

    A replay goes from state to state, and what follows depends on the state alone. So a stretch may go if a replay of
    what is left comes to its end in the state that a replay of everything comes to. The stretch begins after the last
    evaluation that baselines and charts learned from. It ends as many evaluations before its end as the charts need to
    forget where they came from: 0, 1, 2, 4, ... are tried until the states are the same. A chart that has risen for a
    long time has forgotten nothing of it, and nothing of it goes.

    Each bite is checked by itself: a prune that ends between two of them has changed no later verdict either. A replay
    knows of the last restart only, and there may be a later one: the charts, at zero from there, must then have learned
    the same without the restart that is known now.
    """
    played = _play(history, policy, batch)
    later = _play_without_restart(history, policy, played)
    begin = played.n_learning
    for end in sorted(end for end in played.states if end > begin):
        start = _find_start(history, policy, played, begin, end)
        if start > begin and later is not None and not _is_same_later(later, policy, played, start, end):
            continue
        bite = [history.evaluations[i] for i in played.order[begin:start] if history.is_old[i]]
        begin = start
        if bite:
            yield bite


@frozen(kw_only=True)
class _Played:
    """One replay: the turn of each evaluation, its verdict, and the states after so many of them.

    Attributes
    ----------
    n_learning : int
        Evaluations up to the last that baselines and charts learned from.
    learned : PerformanceState
        The state after it.
    """

    order: Sequence[int]
    verdicts: Sequence[str]
    states: dict[int, PerformanceState]
    n_learning: int
    learned: PerformanceState


@frozen(kw_only=True)
class _Later:
    """The history without the known restart, and the states that its replay comes to after so many evaluations."""

    history: History
    states: dict[int, PerformanceState]


def _play(history: History, policy: MonitoringPolicy, batch: int) -> _Played:
    order, verdicts, states = list[int](), list[str](), dict[int, PerformanceState]()
    before, n_learning, learned = EMPTY, 0, EMPTY
    last = 0, EMPTY, 0, EMPTY
    for n, (i, verdict, state) in enumerate(_steps(history, policy, range(len(history.evaluations)), EMPTY), 1):
        order.append(i)
        verdicts.append(verdict)
        if _knowledge(state) != _knowledge(before):
            n_learning, learned = n, state
        if history.is_old[i]:
            last = n, state, n_learning, learned
        if n % batch == 0:
            states[n] = state
        before = state
    end, state, n_learning, learned = last
    states = {n: each for n, each in states.items() if n < end} | {end: state}
    return _Played(order=order, verdicts=verdicts, states=states, n_learning=n_learning, learned=learned)


def _find_start(history: History, policy: MonitoringPolicy, played: _Played, begin: int, end: int) -> int:
    """From which turn on all must stay, so that a replay of what is left is the same at *end*; *begin* if from all."""
    back = least = _least_back(history, played, end)
    while end - back > begin and back <= least + MOST_TRIED:
        kept = [n for n in range(played.n_learning, end) if n >= end - back or not history.is_old[played.order[n]]]
        if _is_same(history, policy, played, kept, end):
            return end - back
        back = least + max(1, 2 * (back - least))
    return begin


def _least_back(history: History, played: _Played, end: int) -> int:
    """A chart that has risen since some window is the same only where it has risen from there."""
    charts = {name: metric.chart.since for name, metric in played.learned.metrics.items()}
    rises = [m.chart.since for name, m in played.states[end].metrics.items() if m.chart.since != charts.get(name)]
    first = min((since for since in rises if since is not None), default=None)
    if first is None:
        return 0
    return sum(history.evaluations[i].evaluation_start >= first for i in played.order[:end])


def _is_same(history: History, policy: MonitoringPolicy, played: _Played, kept: Sequence[int], end: int) -> bool:
    state = played.learned
    turns = {played.order[n]: n for n in kept}
    for i, verdict, state in _steps(history, policy, list(turns), played.learned):  # noqa: B007
        # What is still to be judged must be judged as before; the rest has its verdict.
        is_open = not history.is_old[i] and history.evaluations[i].verdict == "not_judged"
        if is_open and verdict != played.verdicts[turns[i]]:
            return False
    return lasting(state, policy) == lasting(played.states[end], policy)


def _play_without_restart(history: History, policy: MonitoringPolicy, played: _Played) -> _Later | None:
    """The states that a replay comes to at the same turns once a later restart has taken the place of the known one."""
    if history.restarted_after is None:
        return None
    history = evolve(history, restarted_after=None)
    wanted = {played.n_learning, *played.states}
    steps = enumerate(_steps(history, policy, range(len(history.evaluations)), EMPTY), 1)
    states = {n: state for n, (_, _, state) in steps if n in wanted}
    return _Later(history=history, states={0: EMPTY} | states)


def _is_same_later(later: _Later, policy: MonitoringPolicy, played: _Played, start: int, end: int) -> bool:
    is_old, left = later.history.is_old, later.states[played.n_learning]
    kept = [i for n, i in enumerate(played.order[:end]) if n >= played.n_learning and (n >= start or not is_old[i])]
    for _, _, state in _steps(later.history, policy, kept, left):
        left = state
    left, whole = (lasting(restart_chart(each), policy) for each in (left, later.states[end]))
    return left == whole


def _steps(
    history: History, policy: MonitoringPolicy, indices: Sequence[int], state: PerformanceState
) -> Iterator[tuple[int, str, PerformanceState]]:
    steps = replay_steps(
        [history.evaluations[i] for i in indices],
        policy,
        training_data_end=history.training_data_end,
        restarted_after=history.restarted_after,
        state=state,
    )
    for n, (i, report, after) in enumerate(steps, 1):
        if n % STRETCH == 0:
            sleep(0.0005)
        yield indices[i], report.verdict, after


def lasting(state: PerformanceState, policy: MonitoringPolicy) -> PerformanceState:
    """What later verdicts depend on: not how many evaluations it counted, nor a recovery too long ago to flap."""
    recovered_at, end = state.recovery.recovered_at, state.last_end
    if state.recovery.is_open or recovered_at is None or end is None:
        return evolve(state, n=0)
    is_past = (end - recovered_at) / timedelta(days=1) > policy.flap_days
    return evolve(state, n=0, recovery=NO_ALARM if is_past else state.recovery)


def _knowledge(state: PerformanceState) -> list[object]:
    """What the evaluations so far have taught, and a later one may still teach."""
    return [
        (name, metric.baseline, metric.start, metric.end, metric.frozen, metric.chart.learned)
        for name, metric in state.metrics.items()
    ]
