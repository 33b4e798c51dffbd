"""What is measured of each metric of one evaluation: its place in the baseline, its chart, whether it matters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from attrs import evolve, frozen

from model_perf._multiplicity import holm
from model_perf.drift._cusum import SelfStartingCusum, cusum_limit
from model_perf.drift._losses import log_loss, matters, spread_floor
from model_perf.drift._prediction import Baseline, Prediction, predict
from model_perf.drift._state import MetricState, PerformanceState
from model_perf.policy import MetricDefinition, MonitoringPolicy
from model_perf.records import Evaluation

_NEW = MetricState()


@frozen(kw_only=True)
class Reading:
    """One metric of one evaluation.

    Attributes
    ----------
    definition : MetricDefinition
    value, log_loss : float
    metric : MetricState
        As it was before this evaluation.
    phi : float
        The autocorrelation allowed for.
    floor : float
        The smallest standard deviation believed.
    prediction : Prediction or None
        None while the baseline is too short.
    matters : bool
        Worse by `min_degradation` and `min_change` at least.
    adjusted_pvalue : float
        After that filter and Holm.
    chart : SelfStartingCusum
        With this evaluation in it, if it counts and the chart runs.
    chart_limit : float or None
        None where the chart did not move.
    """

    definition: MetricDefinition
    value: float
    log_loss: float
    metric: MetricState
    phi: float
    floor: float
    prediction: Prediction | None
    matters: bool
    adjusted_pvalue: float
    chart: SelfStartingCusum
    chart_limit: float | None

    @property
    def baseline(self) -> Baseline:
        return self.metric.baseline

    @property
    def is_charted_out(self) -> bool:
        """The chart is above its limit."""
        return self.chart_limit is not None and self.chart.value > self.chart_limit


def read_metrics(
    state: PerformanceState,
    evaluation: Evaluation,
    policy: MonitoringPolicy,
    definitions: Sequence[MetricDefinition],
    *,
    counts: bool,
) -> list[Reading]:
    """Measure the metrics that have a definition; the charts move only if the evaluation *counts*."""
    metrics = [_settled(state.metrics.get(each.name, _NEW), evaluation, policy) for each in definitions]
    losses = [log_loss(each, evaluation.metrics[each.name]) for each in definitions]
    floors = [spread_floor(each, policy) for each in definitions]
    phis = _phis(metrics, policy)
    rows = list(zip(definitions, metrics, losses, phis, floors, strict=True))
    predictions = [_prediction(evaluation, policy, *row[1:]) for row in rows]
    relevant = [
        prediction is not None and matters(definition, policy, loss, metric.baseline.mean)
        for prediction, (definition, metric, loss, _, _) in zip(predictions, rows, strict=True)
    ]
    limit = _chart_limit(state, policy, definitions) if counts else None
    charts = [_moved(evaluation, policy, limit, *row[1:]) for row in rows]
    return [
        Reading(
            definition=definition,
            value=evaluation.metrics[definition.name],
            log_loss=loss,
            metric=metric,
            phi=phi,
            floor=floor,
            prediction=prediction,
            matters=is_relevant,
            adjusted_pvalue=adjusted,
            chart=metric.chart if chart is None else chart,
            chart_limit=None if chart is None else limit,
        )
        for (definition, metric, loss, phi, floor), prediction, is_relevant, adjusted, chart in zip(
            rows, predictions, relevant, _adjusted(predictions, relevant), charts, strict=True
        )
    ]


def _settled(metric: MetricState, evaluation: Evaluation, policy: MonitoringPolicy) -> MetricState:
    """The metric with its baseline closed, if it is full and its time is over."""
    if metric.frozen or metric.start is None or metric.baseline.n < policy.baseline_min:
        return metric
    # Lengths are compared, not times: start + baseline_days may lie beyond the year 9999.
    if (evaluation.evaluation_end - metric.start) / timedelta(days=1) <= policy.baseline_days:
        return metric
    return evolve(metric, frozen=True)


def _phis(metrics: Sequence[MetricState], policy: MonitoringPolicy) -> list[float]:
    """Each metric's autocorrelation, at least the mean over the metrics.

    The mean alone, of metrics with autocorrelation 0, 0, .6 and .6, gave a false alarm per 135 evaluations.
    """
    own = [metric.chart.learned.autocorrelation(policy.max_autocorrelation) for metric in metrics]
    mean = sum(own) / len(own)
    return [max(phi, mean) for phi in own]


def _prediction(
    evaluation: Evaluation, policy: MonitoringPolicy, metric: MetricState, loss: float, phi: float, floor: float
) -> Prediction | None:
    if metric.baseline.n < policy.baseline_min:
        return None
    return predict(metric.baseline, loss, phi, weight=metric.baseline.weight(evaluation.sample_count), floor=floor)


def _adjusted(predictions: Sequence[Prediction | None], relevant: Sequence[bool]) -> list[float]:
    """Holm's p-values over the metrics that have one; what does not matter enters as 1."""
    tested = [i for i, prediction in enumerate(predictions) if prediction is not None]
    pvalues = [p.pvalue if is_relevant else 1.0 for p, is_relevant in zip(predictions, relevant, strict=True) if p]
    adjusted = [1.0] * len(predictions)
    for i, pvalue in zip(tested, holm(pvalues), strict=True):
        adjusted[i] = pvalue
    return adjusted


def _chart_limit(state: PerformanceState, policy: MonitoringPolicy, definitions: Sequence[MetricDefinition]) -> float:
    n_charts = len(state.metrics.keys() | {each.name for each in definitions})
    return cusum_limit(2.0 * policy.false_alarm_run_length * n_charts, policy.cusum_k)


def _moved(
    evaluation: Evaluation,
    policy: MonitoringPolicy,
    limit: float | None,
    metric: MetricState,
    loss: float,
    phi: float,
    floor: float,
) -> SelfStartingCusum | None:
    """The chart with this evaluation in it; None where it does not count or the chart does not run yet."""
    if limit is None:
        return None
    weight = metric.baseline.weight(evaluation.sample_count)
    deviate = metric.chart.deviate(loss, phi, minimum=policy.cusum_min, weight=weight, floor=floor)
    if deviate is None:
        return None
    return metric.chart.moved(deviate, policy.cusum_k, limit=limit, window_start=evaluation.evaluation_start)
