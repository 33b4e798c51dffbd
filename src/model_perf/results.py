"""What the facade answers: stored records together with what was found in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from attrs import asdict, field, frozen

from model_perf.drift import DriftReport
from model_perf.records import ABTest, ABTestStatus, Alert, Champion, Decision, Evaluation, Look, TrainingRun, Winner
from model_perf.repos import Point, SlotVersion

if TYPE_CHECKING:
    from model_perf.drift import Detector
    from model_perf.stats import ConfidenceInterval, MetricTrend, TrendDirection


@frozen(kw_only=True)
class RecordedEvaluation:
    """What one `record` left behind.

    Attributes
    ----------
    alert : Alert or None
        The open alert of the condition, new or repeated; None where the verdict is not critical.
    training_run : TrainingRun or None
        The run that a new alert opened (or found open in the slot), if the policy asks for retraining.
    recovered : Alert or None
        The alert that this evaluation, the last of several good ones, resolved.
    is_new : bool
        False for a repeated call, which wrote nothing; alert, training_run and recovered are None then.
    """

    evaluation: Evaluation
    drift: DriftReport
    alert: Alert | None = None
    training_run: TrainingRun | None = None
    recovered: Alert | None = None
    is_new: bool = True


@frozen(kw_only=True)
class CheckStep:
    """One step of `run_checks`: how long it took, and what went wrong; nothing, where *errors* is empty."""

    name: str
    duration_s: float
    errors: tuple[str, ...] = ()


@frozen(kw_only=True)
class ChecksReport:
    """What one `run_checks` found and did; of a step that failed None, which is not nothing.

    Attributes
    ----------
    started_at : datetime
        By the tracker's clock.
    steps : tuple of CheckStep
        In the order in which they were done.
    expired_runs : int or None
        Training runs that lost their lease in the last attempt, and have failed by it.
    failures, failures_mended : tuple of Alert, or None
        Of training runs that failed: opened or counted, and resolved by a later run.
    stale, heard_again : tuple of Alert, or None
        Of models that nobody evaluates any more: opened, and resolved since evaluations come again.
    concluded_tests : tuple of UUID, or None
        A/B tests past their end that were concluded.
    retrained : tuple of Alert, or None
        Of performance and data, resolved since a new version is there.
    notifications : DeliveryReport or None
        What the channels were told; None also without channels, and on a bound tracker, where the step is left out.
    """

    started_at: datetime
    steps: tuple[CheckStep, ...]
    expired_runs: int | None = None
    failures: tuple[Alert, ...] | None = None
    failures_mended: tuple[Alert, ...] | None = None
    stale: tuple[Alert, ...] | None = None
    heard_again: tuple[Alert, ...] | None = None
    concluded_tests: tuple[UUID, ...] | None = None
    retrained: tuple[Alert, ...] | None = None
    notifications: DeliveryReport | None = None

    @property
    def is_ok(self) -> bool:
        """Whether every step did all of its work."""
        return not any(step.errors for step in self.steps)

    @property
    def duration_s(self) -> float:
        """Of all steps."""
        return sum(step.duration_s for step in self.steps)

    def to_dict(self) -> dict[str, object]:
        """A JSON object: ids in the place of alerts, null for what a failed step does not know."""
        found: dict[str, object] = {"started_at": self.started_at.isoformat(), "is_ok": self.is_ok}
        for step in self.steps:
            found[step.name] = _as_json(getattr(self, step.name))
        found["steps"] = [asdict(step) for step in self.steps]
        return found


def _as_json(found: int | tuple[Alert | UUID, ...] | DeliveryReport | None) -> object:
    if isinstance(found, DeliveryReport):
        return asdict(found)
    if isinstance(found, tuple):
        return [str(each.id if isinstance(each, Alert) else each) for each in found]
    return found


@frozen(kw_only=True)
class StreamUpdate:
    """What one update of a stream did.

    Attributes
    ----------
    detector : Detector
        As it is kept now.
    n_new : int
        Values that were no replays, missing ones included.
    is_new_alarm : bool
        This update raised the alarm. A repeat of it does not say so again; `drift_detected` does until the restart.
    """

    detector: Detector
    n_new: int
    is_new_alarm: bool

    @property
    def drift_detected(self) -> bool:
        """Whether the alarm stands."""
        return self.detector.drift_detected


@frozen(kw_only=True)
class DeliveryReport:
    """What one call of `deliver_notifications` did, in this process.

    Attributes
    ----------
    n_routed : int
        Notifications made of new events, one for each channel that takes them.
    n_delivered, n_retried, n_dead : int
        By what came of their attempt: told, to be tried again, given up.
    n_dropped : int
        Events that no channel takes or whose alert is snoozed, and notifications that have waited too long.
    n_overtaken : int
        Told, but so late that another process has taken them over and tells them again, under the same id.
    errors : mapping of str to str
        By channel, the newest failure.
    """

    n_routed: int = 0
    n_delivered: int = 0
    n_retried: int = 0
    n_dead: int = 0
    n_dropped: int = 0
    n_overtaken: int = 0
    errors: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class RetrainingTrigger:
    """The open training run of a slot, and whether this call opened it.

    Attributes
    ----------
    estimated_completion : datetime or None
        By the median duration of the slot's last runs; None where there was none, or the run has taken longer.
    workers_seen_at : datetime or None
        When a worker that trains the model type was seen last; None where none ever was. Hosts that claim runs by
        themselves have none.
    notice : str or None
        "queued, no worker seen since ...": nobody is there to take the run up.
    """

    triggered: bool
    reason: str
    run: TrainingRun
    estimated_completion: datetime | None = None
    workers_seen_at: datetime | None = None
    notice: str | None = None


@frozen(kw_only=True)
class Promotion:
    """A change of the version that serves, and what came of telling the host.

    Attributes
    ----------
    champion : Champion
        As it serves now.
    is_new : bool
        False for the repeat of a promotion, which wrote nothing and told the host again.
    callback_error : str or None
        What a callback raised. The record stands all the same; a repeat of the promotion tells the host again.
    """

    champion: Champion
    is_new: bool = True
    callback_error: str | None = None


@frozen(kw_only=True)
class SlotSummary:
    """The versions of the model of a slot (machine and model type), newest first.

    Attributes
    ----------
    active : SlotVersion or None
        The version in service: as the host's directory says, else the champion, else the one evaluated last, else the
        newest.
    """

    model_type: str
    machine_id: UUID
    versions: tuple[SlotVersion, ...] = ()
    active: SlotVersion | None = None


@frozen(kw_only=True)
class VersionTrend:
    """The trend of one version, over the newest evaluation of each of its windows, oldest first."""

    model_version: int
    trend: MetricTrend
    points: tuple[Point, ...]


@frozen(kw_only=True)
class Trend:
    """How a metric develops, a series per version; the headline is that of the version evaluated last.

    Attributes
    ----------
    metric : str or None
        The metric looked at; None where no evaluation of the period has one with a known direction.
    series : tuple of VersionTrend
        In the order of their first evaluations.
    evaluations : tuple of Point
        The newest evaluation of every window and version, oldest first: those without the metric and those without
        samples, which no series has, too.
    """

    metric: str | None
    since: datetime
    until: datetime
    series: tuple[VersionTrend, ...] = ()
    evaluations: tuple[Point, ...] = ()
    current: MetricTrend = field()

    @current.default
    def _newest(self) -> MetricTrend:
        if self.newest_series is not None:
            return self.newest_series.trend
        from model_perf.stats import MetricTrend

        return MetricTrend(direction="insufficient_data", reason="no evaluation in the period has the metric", n=0)

    @property
    def newest_series(self) -> VersionTrend | None:
        """The series of the version evaluated last."""
        return max(self.series, key=lambda one: one.points[-1].evaluation_end, default=None)

    @property
    def points(self) -> tuple[Point, ...]:
        """The points of all series, oldest first."""
        return tuple(sorted((p for one in self.series for p in one.points), key=lambda p: (p.evaluation_date, p.id)))

    @property
    def direction(self) -> TrendDirection:
        """Of the current version, in terms of goodness."""
        return self.current.direction

    @property
    def degradation_rate(self) -> float | None:
        """Percent per day, positive = getting worse."""
        return self.current.degradation_rate

    @property
    def slope_per_day(self) -> float | None:
        """Of the current version, in units of the metric."""
        return self.current.slope_per_day

    @property
    def confidence_interval(self) -> ConfidenceInterval | None:
        """The interval of slope_per_day at 1 - alpha."""
        return self.current.confidence_interval

    @property
    def pvalue(self) -> float | None:
        """Of the trend of the current version, two-sided."""
        return self.current.pvalue


@frozen(kw_only=True)
class ABTestResult:
    """What a test has found, or how far it is.

    Attributes
    ----------
    decision, winner
        From evaluations `undecided` and `no_winner` until the test has ended: it looks once, at its end.
    confidence : float
        1 - pvalue; 0.0 when insufficient. Not the probability that the decision is right.
    effect, confidence_interval
        Mean of b - a over the common windows, in units of the metric.
    standard_error : float or None
        Of the effect, from observations: allowing for units with several rows, or for dependence in time.
    source : {"evaluations", "observations"}
        What it rests on. From observations a test may be looked at at any time; effect and interval are then those of
        all looks so far together, and pvalue the smallest.
    n_a, n_b : int
        Observations of each model.
    looks : tuple of Look
        The looks at the observations, oldest first; the newest 200.
    sample_ratio_pvalue : float or None
        Of the planned split of the observations; below .001 the test is invalid.
    n_windows : int
        Windows that both models were evaluated on.
    n_evaluations_a, n_evaluations_b : int
        Evaluations of each model within the test, common windows or not.
    model_a_metrics, model_b_metrics : mapping of str to float
        Means over the common windows, or of the observations; empty where there is none.
    notes : tuple of str
        What the result assumes.
    recommendation : str
        The same in words, with what to do.
    """

    test: ABTest
    metric: str | None
    decision: Decision
    winner: Winner
    reason: str
    recommendation: str
    confidence: float = 0.0
    effect: float | None = None
    confidence_interval: ConfidenceInterval | None = None
    statistic: float | None = None
    pvalue: float | None = None
    standard_error: float | None = None
    source: Literal["evaluations", "observations"] = "evaluations"
    n_a: int = 0
    n_b: int = 0
    looks: tuple[Look, ...] = ()
    sample_ratio_pvalue: float | None = None
    notes: tuple[str, ...] = ()
    n_windows: int = 0
    n_evaluations_a: int = 0
    n_evaluations_b: int = 0
    model_a_metrics: Mapping[str, float] = field(factory=dict)
    model_b_metrics: Mapping[str, float] = field(factory=dict)

    @property
    def test_status(self) -> ABTestStatus:
        """Where the test is in its life: planned, running, completed or cancelled."""
        return self.test.test_status


@frozen(kw_only=True)
class RejectedRow:
    """A row of the earlier installation that our tables could not hold, and why."""

    table: str
    id: str
    reason: str


@frozen(kw_only=True)
class TableImport:
    """What became of the rows of one table; n_read = n_imported + n_already_there + the rejected ones."""

    table: str
    n_read: int
    n_imported: int
    n_already_there: int
    rejected: tuple[RejectedRow, ...] = ()


@frozen(kw_only=True)
class ImportReport:
    """What an import of the earlier installation found and did.

    Attributes
    ----------
    source : str
        The schema it was read from.
    dry_run : bool
        Everything was tried, and nothing was kept.
    tables : tuple of TableImport
        Those that were read.
    replaced : tuple of str
        The tables in whose place there are views now.
    notes : tuple of str
        What had to be assumed, what was left alone and why.
    """

    source: str
    dry_run: bool
    tables: tuple[TableImport, ...] = ()
    replaced: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def n_imported(self) -> int:
        """The rows that came in, of all tables."""
        return sum(one.n_imported for one in self.tables)

    @property
    def rejected(self) -> tuple[RejectedRow, ...]:
        """The rows that did not, of all tables."""
        return tuple(row for one in self.tables for row in one.rejected)
