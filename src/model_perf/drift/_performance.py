"""Has the performance degraded? One evaluation against the baseline and the charts of its deployment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from attrs import evolve

from model_perf.drift._checks import as_report, check_metric, is_half_way
from model_perf.drift._reading import Reading, read_metrics
from model_perf.drift._report import DriftReport
from model_perf.drift._state import EMPTY, MetricState, PerformanceState, restart_chart, restarted_charts
from model_perf.policy import MonitoringPolicy
from model_perf.records import Evaluation

_FURTHEST_AHEAD = timedelta(days=366)
"""How long after its recording a window may end: one of a wrong year would make all that come after it late."""


def judge_performance(
    state: PerformanceState,
    evaluation: Evaluation,
    policy: MonitoringPolicy,
    *,
    training_data_end: datetime | None = None,
) -> tuple[DriftReport, PerformanceState]:
    """Judge one evaluation by those that came before it.

    It is critical when a metric lies beyond the baseline's one-sided prediction interval, or when the metric's
    self-starting CUSUM exceeds its limit; each spends half of the policy's budget of false alarms, shared by the
    metrics, and both need a degradation that matters (`min_degradation`, `min_change`).

    Parameters
    ----------
    state : PerformanceState
        Of this deployment; `EMPTY` before its first evaluation.
    evaluation : Evaluation
    policy : MonitoringPolicy
    training_data_end : datetime, optional
        Windows that begin before it are marked and enter neither baseline nor charts.

    Returns
    -------
    tuple of DriftReport and PerformanceState
        The state to judge the next evaluation by: the very same object where the evaluation does not count, because
        it is late or of a wrong year, overlaps the training data, has no samples or no metric with a known direction.

    Notes
    -----
    The mean number of evaluations until a false alarm is above `false_alarm_run_length` = 500, by simulation: 1480 with
    one metric, 1100, 1050, 1050, 890 with four at autocorrelation 0, .3, .6, .8, and 840 with eight at .6. It is a mean
    over baselines, of which some are lucky and some are not, and it is for log losses that are nearly normal and
    degradations of any size: with the tails of a t of 5 degrees it is 100, before `min_degradation` filters.
    A degradation that sets in right after a short baseline is partly taken for its spread and found later.

    After a critical verdict the state counts good evaluations: `ok`, with every loss nearer to its baseline than to
    what would be critical. After `recover_after` in a row the alarm is over and the charts restart; each alarm within
    `flap_days` of a recovery doubles that number, up to 8 times.

    References
    ----------
    [1] Hawkins, D. M. & Olwell, D. H. (1998). Cumulative Sum Charts and Charting for Quality Improvement, ch. 7.
    [2] Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scand. J. Statistics 6, 65-70.
    """
    definitions = [(name, policy.definition(name)) for name in evaluation.metrics]
    judged = [definition for _, definition in definitions if definition is not None]
    notes = _notes(state, evaluation, training_data_end, [name for name, known in definitions if known is None])
    if not judged or evaluation.sample_count == 0:
        return as_report(evaluation, policy, (), notes), state
    overlaps = _overlaps(evaluation, training_data_end)
    counts = not (overlaps or _is_late(state, evaluation) or _is_ahead(evaluation))
    readings = read_metrics(state, evaluation, policy, judged, counts=counts)
    checks = [check_metric(each, policy, n_metrics=len(readings), is_in_sample=overlaps) for each in readings]
    report = as_report(evaluation, policy, checks, notes)
    if not counts:
        return report, state
    state = _advance(state, evaluation, policy, readings, is_flagged=report.verdict == "critical")
    if report.verdict == "critical" or state.recovery.is_open:
        state = _followed(state, report, readings, policy)
    return report, state


def replay(
    evaluations: Sequence[Evaluation],
    policy: MonitoringPolicy,
    *,
    training_data_end: datetime | None = None,
    restarted_after: datetime | None = None,
) -> tuple[list[DriftReport], PerformanceState]:
    """Judge the whole history of a deployment in time order, from nothing.

    Of evaluations of the same window the newest counts (by evaluation_date, then created_at, then id) and the others
    are judged as late ones. The charts start again after *restarted_after*, as they did when an alert was resolved.

    Returns
    -------
    tuple of list of DriftReport, and PerformanceState
        The reports in the order of *evaluations*, and the state after the last.
    """
    state = EMPTY
    reports: dict[int, DriftReport] = {}
    steps = replay_steps(evaluations, policy, training_data_end=training_data_end, restarted_after=restarted_after)
    for i, report, state in steps:  # noqa: B007 - the last state is used
        reports[i] = report
    if restarted_after is not None:
        state = _restarted(state, restarted_after)
    return [reports[i] for i in range(len(evaluations))], state


def replay_steps(
    evaluations: Sequence[Evaluation],
    policy: MonitoringPolicy,
    *,
    training_data_end: datetime | None = None,
    restarted_after: datetime | None = None,
    state: PerformanceState = EMPTY,
) -> Iterator[tuple[int, DriftReport, PerformanceState]]:
    """The same one by one, from *state*: the index of each evaluation in the order of its turn, and what came of it."""
    # Two stable sorts: the newest first, then by window.
    order = sorted(range(len(evaluations)), key=lambda i: _recency(evaluations[i]), reverse=True)
    order.sort(key=lambda i: (evaluations[i].evaluation_end, evaluations[i].evaluation_start))
    for i in order:
        if restarted_after is not None and evaluations[i].evaluation_end > restarted_after:
            state = _restarted(state, restarted_after)
        report, state = judge_performance(state, evaluations[i], policy, training_data_end=training_data_end)
        yield i, report, state


def _restarted(state: PerformanceState, after: datetime) -> PerformanceState:
    """The state with its charts restarted, once."""
    return state if state.restarted_after else evolve(restart_chart(state), restarted_after=after)


def _recency(evaluation: Evaluation) -> tuple[datetime, datetime, int]:
    created_at = evaluation.created_at or datetime.min.replace(tzinfo=UTC)
    return evaluation.evaluation_date, created_at, evaluation.id.int


def _is_late(state: PerformanceState, evaluation: Evaluation) -> bool:
    return state.last_end is not None and evaluation.evaluation_end <= state.last_end


def _is_ahead(evaluation: Evaluation) -> bool:
    return evaluation.created_at is not None and evaluation.evaluation_end - evaluation.created_at > _FURTHEST_AHEAD


def _overlaps(evaluation: Evaluation, training_data_end: datetime | None) -> bool:
    return training_data_end is not None and evaluation.evaluation_start < training_data_end


def _notes(
    state: PerformanceState, evaluation: Evaluation, training_data_end: datetime | None, unknown: list[str]
) -> list[str]:
    notes = []
    if unknown:
        notes.append(f"no known direction: {', '.join(unknown)}; stored and shown, not judged")
    if evaluation.sample_count == 0:
        notes.append("no samples: carries no weight, not entered in baseline and chart")
    if _overlaps(evaluation, training_data_end):
        notes.append("overlaps the training data: not entered in baseline and chart")
    if _is_ahead(evaluation):
        notes.append(
            "ends more than a year after it was recorded: judged by the interval, not entered in baseline and chart"
        )
    elif _is_late(state, evaluation):
        notes.append("late evaluation: judged by the interval, not entered in baseline and chart")
    elif state.last_end is not None and evaluation.evaluation_start < state.last_end:
        notes.append("overlaps the window before it: shares data with the evaluation it follows")
    return notes


def _advance(
    state: PerformanceState,
    evaluation: Evaluation,
    policy: MonitoringPolicy,
    readings: Sequence[Reading],
    *,
    is_flagged: bool,
) -> PerformanceState:
    metrics = dict(state.metrics)
    for each in readings:
        metrics[each.definition.name] = _learnt(each, evaluation, policy, is_flagged=is_flagged)
    return PerformanceState(
        n=state.n + 1,
        last_start=evaluation.evaluation_start,
        last_end=evaluation.evaluation_end,
        restarted_after=state.restarted_after,
        metrics=metrics,
        recovery=state.recovery,
    )


def _followed(
    state: PerformanceState, report: DriftReport, readings: Sequence[Reading], policy: MonitoringPolicy
) -> PerformanceState:
    """The way from an alarm to its end, at which the charts restart: they would stay high for weeks.

    What is unknown counts neither way.
    """
    assert state.last_end is not None
    recovery = state.recovery
    if report.verdict == "critical":
        names = [check.metric for check in report.metrics if check.verdict == "critical"]
        return evolve(state, recovery=recovery.alarmed(names, state.last_end, policy))
    if report.verdict not in ("ok", "warning"):
        return state
    recovery = recovery.counted(is_good=_is_good(report, readings, recovery.names, policy))
    if not recovery.is_over(policy):
        return evolve(state, recovery=recovery)
    is_charted = bool(recovery.names) or any(each.is_charted_out for each in readings)
    metrics = restarted_charts(state.metrics) if is_charted else state.metrics
    return evolve(state, metrics=metrics, recovery=recovery.ended(state.last_end))


def _is_good(report: DriftReport, readings: Sequence[Reading], names: Sequence[str], policy: MonitoringPolicy) -> bool:
    """Ok, of all metrics that were critical, and none of them merely below its limit."""
    if report.verdict != "ok" or not {each.definition.name for each in readings}.issuperset(names):
        return False
    return all(is_half_way(each, policy, len(readings)) for each in readings)


def _learnt(reading: Reading, evaluation: Evaluation, policy: MonitoringPolicy, *, is_flagged: bool) -> MetricState:
    metric, chart, value = reading.metric, reading.chart, reading.log_loss
    if is_flagged:
        return evolve(metric, chart=chart.passed(None))
    # n pairs are n + 1 evaluations: where the baseline closed early, the chart learns on until it can start.
    if metric.frozen and chart.learned.n + 1 >= policy.cusum_min:
        return evolve(metric, chart=chart.passed(value))
    chart = chart.learnt(value)
    if metric.frozen:
        return evolve(metric, chart=chart)
    baseline = metric.baseline.add(value, evaluation.sample_count)
    return MetricState(baseline, metric.start or evaluation.evaluation_start, evaluation.evaluation_end, False, chart)
