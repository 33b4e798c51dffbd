"""A verdict that explains itself: one object for Python, JSON, pages and the text of an alert."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from attrs import NOTHING, fields, frozen

from model_perf.policy import MonitoringPolicy
from model_perf.records import Verdict

if TYPE_CHECKING:
    from model_perf.drift._data_report import DataDriftReport
    from model_perf.stats import ConfidenceInterval

Direction = Literal["higher_is_better", "lower_is_better"]
DriftType = Literal["concept_drift", "data_drift", "no_drift", "insufficient_data"]

VERDICTS: tuple[Verdict, ...] = ("critical", "warning", "insufficient_data", "ok", "not_judged")
"""From the one that decides over all others to the one that decides nothing: what is unknown is never shown as fine."""


@frozen(kw_only=True)
class BaselineWindow:
    """What an evaluation was compared with.

    Attributes
    ----------
    n : int
        Evaluations in it, the judged one excluded.
    start, end : datetime
        From the start of its first window to the end of its last.
    frozen : bool
        Complete: later evaluations no longer change it.
    """

    n: int
    start: datetime
    end: datetime
    frozen: bool


@frozen(kw_only=True)
class MetricCheck:
    """What was found for one metric.

    Attributes
    ----------
    metric : str
    direction : "higher_is_better" or "lower_is_better"
    current_value : float
    baseline_value : float or None
        The value whose loss is the baseline's geometric mean.
    threshold_value : float or None
        Values worse than it are critical by themselves; the chart finds smaller ones that last.
    degradation : float or None
        Relative to the baseline, .12 = 12% worse (`model_perf.policy.degradation`); negative = better.
    threshold : float
        The degradation below which nothing is reported (`min_degradation`).
    confidence_interval : ConfidenceInterval or None
        Of the degradation, two-sided at 1 - alpha.
    confidence_level : float
    statistic : float or None
        Student's t of this evaluation in the baseline's prediction distribution.
    pvalue, adjusted_pvalue : float or None
        One-sided in the bad direction; after the filter by `min_degradation` and `min_change`, and Holm.
    alpha : float
        The adjusted p-value at or below which the verdict is critical.
    chart_value, chart_limit : float or None
        The CUSUM and its limit, in standard deviations; None while it does not run.
    chart_since : datetime or None
        When the chart left zero: the estimated time of the change.
    autocorrelation : float or None
        Lag-1, allowed for by both tests.
    n_effective : float or None
        Independent evaluations that the baseline is worth.
    n_missing : int
        Evaluations until there is a baseline to judge by.
    baseline : BaselineWindow or None
    verdict : str
    reason : str
    """

    metric: str
    direction: Direction
    current_value: float
    baseline_value: float | None = None
    threshold_value: float | None = None
    degradation: float | None = None
    threshold: float
    confidence_interval: ConfidenceInterval | None = None
    confidence_level: float
    statistic: float | None = None
    pvalue: float | None = None
    adjusted_pvalue: float | None = None
    alpha: float
    chart_value: float | None = None
    chart_limit: float | None = None
    chart_since: datetime | None = None
    autocorrelation: float | None = None
    n_effective: float | None = None
    n_missing: int = 0
    baseline: BaselineWindow | None = None
    verdict: Verdict
    reason: str

    @property
    def n_baseline(self) -> int:
        """Evaluations in the baseline."""
        return self.baseline.n if self.baseline else 0


@frozen(kw_only=True)
class DriftReport:
    """The verdict on one evaluation, with its grounds.

    Attributes
    ----------
    verdict : str
        "critical", "warning" (shown, never alerted), "ok", "insufficient_data" or "not_judged".
    drift_score : float or None
        The largest relative degradation among the judged metrics (.12 = 12%); None where none was judged.
    drift_threshold : float
        The degradation below which nothing is reported.
    drift_types : tuple of str
        "concept_drift" when the performance has degraded, "data_drift" when the input has changed.
    metrics : tuple of MetricCheck
        The deciding one first.
    recommendation : str
    window_start, window_end : datetime or None
        The evaluation's window; None where there is no evaluation.
    sample_count : int or None
    since : datetime or None
        Since when the performance is degraded: the chart's estimate, else the start of this window.
    data : DataDriftReport or None
        The newest verdict on the deployment's input, where there is one; it does not change the verdict.
    notes : tuple of str
        What else to know: metrics without a direction, a late evaluation, an overlap with the training data.
    """

    verdict: Verdict
    drift_score: float | None
    drift_threshold: float
    drift_types: tuple[DriftType, ...] = ()
    metrics: tuple[MetricCheck, ...] = ()
    recommendation: str
    window_start: datetime | None = None
    window_end: datetime | None = None
    sample_count: int | None = None
    since: datetime | None = None
    data: DataDriftReport | None = None
    notes: tuple[str, ...] = ()

    @property
    def drift_detected(self) -> bool | None:
        """True for critical only, None where nothing could be judged."""
        if self.verdict in ("insufficient_data", "not_judged"):
            return None
        return self.verdict == "critical"

    @property
    def drift_type(self) -> DriftType:
        """Degraded performance (concept drift) comes before changed input (data drift)."""
        for found in ("concept_drift", "data_drift"):
            if found in self.drift_types:
                return cast(DriftType, found)
        return "insufficient_data" if self.drift_detected is None else "no_drift"

    @property
    def worst(self) -> MetricCheck | None:
        """The metric that decides the verdict."""
        return self.metrics[0] if self.metrics else None

    @property
    def baseline(self) -> BaselineWindow | None:
        """What the deciding metric was compared with."""
        return self.metrics[0].baseline if self.metrics else None

    @classmethod
    def without_evaluations(cls, policy: MonitoringPolicy) -> DriftReport:
        """The answer for a deployment that has no evaluation yet."""
        return cls(
            verdict="insufficient_data",
            drift_score=None,
            drift_threshold=policy.min_degradation,
            recommendation=f"Record evaluations: there is none yet, and the baseline needs {policy.baseline_min}.",
        )

    def to_dict(self) -> dict[str, object]:
        """A JSON object, times as ISO 8601, without what is None, empty or its default; `from_dict` reads it back."""
        report = _as_json(self)
        if self.metrics:
            report["metrics"] = [_check_as_json(check) for check in self.metrics]
        for name in ("drift_types", "notes"):
            if name in report:
                report[name] = list(getattr(self, name))
        if self.data is not None:
            report["data"] = self.data.to_dict()
        if self.drift_detected is not None:
            report["drift_detected"] = self.drift_detected
        report["drift_type"] = self.drift_type
        return report

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DriftReport:
        """The report that `to_dict` wrote; keys of newer versions are passed over.

        An empty mapping, as `record_many` leaves it, is the report of an evaluation that nobody has judged yet.
        """
        if not data:
            advice = "Judge it: nobody has yet; see ModelPerformanceTracker.judge()."
            return cls(verdict="not_judged", drift_score=None, drift_threshold=0.0, recommendation=advice)
        known = _known(cls, data)
        known.setdefault("drift_score", None)
        known["metrics"] = tuple(_check_from_json(check) for check in data.get("metrics", ()))
        for name in ("drift_types", "notes"):
            known[name] = tuple(data.get(name, ()))
        for name in ("window_start", "window_end", "since"):
            known[name] = _time(data.get(name))
        known["data"] = _data_from_json(data.get("data"))
        return cls(**known)


_DEFAULTS: dict[type, dict[str, object]] = {
    cls: {field.name: None if field.default is NOTHING else field.default for field in fields(cls)}
    for cls in (BaselineWindow, MetricCheck, DriftReport)
}


def _as_json(record: MetricCheck | DriftReport | BaselineWindow) -> dict[str, object]:
    found = {}
    for name, default in _DEFAULTS[type(record)].items():
        value = getattr(record, name)
        if value is not None and value != default:
            found[name] = value.isoformat() if isinstance(value, datetime) else value
    return found


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in _DEFAULTS[cls] if name in data}


def _check_as_json(check: MetricCheck) -> dict[str, object]:
    record = _as_json(check)
    if check.baseline is not None:
        record["baseline"] = _as_json(check.baseline)
    if check.confidence_interval is not None:
        record["confidence_interval"] = {"low": check.confidence_interval.low, "high": check.confidence_interval.high}
    return record


def _check_from_json(data: Mapping[str, Any]) -> MetricCheck:
    from model_perf.stats import ConfidenceInterval

    known = _known(MetricCheck, data)
    if interval := data.get("confidence_interval"):
        known["confidence_interval"] = ConfidenceInterval(**interval)
    if baseline := data.get("baseline"):
        known["baseline"] = BaselineWindow(
            n=baseline["n"],
            start=datetime.fromisoformat(baseline["start"]),
            end=datetime.fromisoformat(baseline["end"]),
            frozen=baseline["frozen"],
        )
    known["chart_since"] = _time(data.get("chart_since"))
    return MetricCheck(**known)


def _data_from_json(data: Mapping[str, Any] | None) -> DataDriftReport | None:
    if data is None:
        return None
    from model_perf.drift._data_report import DataDriftReport

    return DataDriftReport.from_dict(data)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
