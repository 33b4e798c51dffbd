"""From what was measured to the verdict, and the words that explain it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from model_perf.drift._losses import metric_value, relative_degradation, smallest_that_matters
from model_perf.drift._prediction import Prediction
from model_perf.drift._reading import Reading
from model_perf.drift._report import VERDICTS, BaselineWindow, DriftReport, MetricCheck
from model_perf.drift._student import t_quantile
from model_perf.policy import MonitoringPolicy
from model_perf.records import Evaluation, Verdict

if TYPE_CHECKING:
    from model_perf.stats import ConfidenceInterval


def check_metric(reading: Reading, policy: MonitoringPolicy, *, n_metrics: int, is_in_sample: bool) -> MetricCheck:
    """The verdict on one of *n_metrics* metrics; good values on training data prove nothing (*is_in_sample*)."""
    definition, baseline, prediction = reading.definition, reading.baseline, reading.prediction
    verdict = _verdict(reading, policy, is_in_sample=is_in_sample)
    degradation = None
    if prediction is not None:
        degradation = relative_degradation(definition, reading.log_loss - baseline.mean)
    return MetricCheck(
        metric=definition.name,
        direction="higher_is_better" if definition.higher_is_better else "lower_is_better",
        current_value=reading.value,
        baseline_value=metric_value(definition, baseline.mean) if baseline.n else None,
        threshold_value=_threshold_value(reading, policy, n_metrics),
        degradation=degradation,
        threshold=policy.min_degradation,
        confidence_interval=_confidence_interval(reading, policy),
        confidence_level=1.0 - policy.alpha,
        statistic=prediction.statistic if prediction else None,
        pvalue=prediction.pvalue if prediction else None,
        adjusted_pvalue=reading.adjusted_pvalue if prediction else None,
        alpha=_level(policy),
        chart_value=None if reading.chart_limit is None else reading.chart.value,
        chart_limit=reading.chart_limit,
        chart_since=None if reading.chart_limit is None else reading.chart.since,
        autocorrelation=reading.phi if prediction else None,
        n_effective=prediction.n_effective if prediction else None,
        n_missing=max(0, policy.baseline_min - baseline.n),
        baseline=_baseline_window(reading),
        verdict=verdict,
        reason=_reason(reading, policy, verdict, degradation),
    )


def as_report(
    evaluation: Evaluation, policy: MonitoringPolicy, checks: Sequence[MetricCheck], notes: Sequence[str]
) -> DriftReport:
    """The verdict on the evaluation: that of its worst metric."""
    # Metrics that agree to the last digit keep the order in which they were given.
    ordered = sorted(checks, key=lambda check: (VERDICTS.index(check.verdict), -(check.degradation or 0.0)))
    verdict: Verdict = ordered[0].verdict if ordered else "not_judged"
    if evaluation.sample_count == 0:
        verdict = "insufficient_data"
    scores = [check.degradation for check in ordered if check.degradation is not None]
    return DriftReport(
        verdict=verdict,
        drift_score=max(scores, default=None),
        drift_threshold=policy.min_degradation,
        drift_types=("concept_drift",) if verdict == "critical" else (),
        metrics=tuple(ordered),
        recommendation=_recommendation(verdict, ordered, evaluation),
        window_start=evaluation.evaluation_start,
        window_end=evaluation.evaluation_end,
        sample_count=evaluation.sample_count,
        since=_since(ordered[0], evaluation) if verdict == "critical" else None,
        notes=tuple(notes),
    )


def _level(policy: MonitoringPolicy) -> float:
    """Of the interval: half of the budget of false alarms; the charts have the other half."""
    return 0.5 / policy.false_alarm_run_length


def _verdict(reading: Reading, policy: MonitoringPolicy, *, is_in_sample: bool) -> Verdict:
    if reading.prediction is None:
        return "insufficient_data"
    if reading.matters and (reading.adjusted_pvalue <= _level(policy) or reading.is_charted_out):
        return "critical"
    if reading.adjusted_pvalue <= policy.alpha:
        return "warning"
    return "insufficient_data" if is_in_sample else "ok"


def is_half_way(reading: Reading, policy: MonitoringPolicy, n_metrics: int) -> bool:
    """Whether the loss lies nearer to the baseline than to what would be critical now.

    While the chart is above half of its limit, that is the smallest degradation that matters; else the interval's end.
    """
    if reading.prediction is None:
        return False
    mean = reading.baseline.mean
    limit = smallest_that_matters(reading.definition, policy, mean)
    if reading.chart_limit is None or reading.chart.value <= 0.5 * reading.chart_limit:
        limit = max(limit, _upper_limit(reading, reading.prediction, _level(policy) / n_metrics))
    return reading.log_loss <= 0.5 * (mean + limit)


def _threshold_value(reading: Reading, policy: MonitoringPolicy, n_metrics: int) -> float | None:
    if reading.prediction is None:
        return None
    limit = _upper_limit(reading, reading.prediction, _level(policy) / n_metrics)
    limit = max(limit, smallest_that_matters(reading.definition, policy, reading.baseline.mean))
    return metric_value(reading.definition, limit)


def _upper_limit(reading: Reading, prediction: Prediction, tail: float) -> float:
    return reading.baseline.mean + t_quantile(tail, prediction.df) * prediction.standard_error


def _confidence_interval(reading: Reading, policy: MonitoringPolicy) -> ConfidenceInterval | None:
    prediction = reading.prediction
    if prediction is None:
        return None
    from model_perf.stats import ConfidenceInterval

    difference = reading.log_loss - reading.baseline.mean
    reach = t_quantile(0.5 * policy.alpha, prediction.df) * prediction.standard_error
    return ConfidenceInterval(
        low=relative_degradation(reading.definition, difference - reach),
        high=relative_degradation(reading.definition, difference + reach),
    )


def _baseline_window(reading: Reading) -> BaselineWindow | None:
    metric = reading.metric
    if metric.start is None or metric.end is None:
        return None
    return BaselineWindow(n=metric.baseline.n, start=metric.start, end=metric.end, frozen=metric.frozen)


def _reason(reading: Reading, policy: MonitoringPolicy, verdict: Verdict, degradation: float | None) -> str:
    if degradation is None:
        missing = policy.baseline_min - reading.baseline.n
        return f"{missing} of the {policy.baseline_min} evaluations that a baseline needs are missing"
    change = _change(degradation)
    if verdict == "insufficient_data":
        return f"{change} than the baseline, on training data: that does not show that the model is fine"
    if verdict == "ok":
        if degradation > 0.0 and not reading.matters:
            return f"{change} than the baseline, which is below what counts"
        return f"{change} than the baseline, within its prediction interval"
    return f"{change} than the baseline; {' and '.join(_grounds(reading, policy))}"


def _grounds(reading: Reading, policy: MonitoringPolicy) -> list[str]:
    grounds = []
    if reading.adjusted_pvalue <= policy.alpha:
        is_critical = reading.adjusted_pvalue <= _level(policy)
        level = _level(policy) if is_critical else policy.alpha
        grounds.append(f"beyond the prediction interval (adjusted p = {reading.adjusted_pvalue:.2g} <= {level:.2g})")
    if reading.is_charted_out:
        since = f" since {_day(reading.chart.since)}" if reading.chart.since else ""
        grounds.append(f"the CUSUM is at {reading.chart.value:.1f}, above {reading.chart_limit:.1f}{since}")
    return grounds


def _since(check: MetricCheck, evaluation: Evaluation) -> datetime:
    if check.chart_value is not None and check.chart_limit is not None and check.chart_value > check.chart_limit:
        return check.chart_since or evaluation.evaluation_start
    return evaluation.evaluation_start


def _recommendation(verdict: Verdict, checks: Sequence[MetricCheck], evaluation: Evaluation) -> str:
    if evaluation.sample_count == 0:
        return "Record an evaluation with samples: this one has none."
    if not checks:
        return "Record a known metric, or give the policy a MetricDefinition that says which direction is good."
    worst = checks[0]
    if verdict == "critical":
        since = _day(_since(worst, evaluation))
        return (
            f"Investigate or retrain: {worst.metric} is {_change(worst.degradation)} than its baseline, since {since}."
        )
    if verdict == "warning":
        return f"Watch the next evaluations: {worst.metric} is {_change(worst.degradation)} than its baseline."
    if verdict == "ok":
        return "No action needed."
    if worst.n_missing:
        return f"Keep recording: {worst.n_missing} more until {worst.metric} has a baseline."
    return "Evaluate on data from after the training."


def _change(degradation: float | None) -> str:
    if degradation is None:
        return "not known to be worse"
    percent = 100.0 * abs(degradation)
    if percent < 0.05:
        return "less than 0.1% worse" if degradation > 0.0 else "not worse"
    size = f"{percent:.{1 if percent < 0.95 else 0}f}%" if percent < 1e6 else f"{percent:.0e}%"
    return f"{size} {'worse' if degradation >= 0.0 else 'better'}"


def _day(time: datetime | None) -> str:
    return "" if time is None else time.date().isoformat()
