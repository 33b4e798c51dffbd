"""Every threshold and budget of the monitoring, with its default and its reason; and what may follow by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from attrs import field, frozen

from model_perf import _validation as check
from model_perf.errors import InvalidInputError
from model_perf.records import SEVERITIES, Severity, as_optional_model_type


def _as_direction(higher_is_better: bool) -> bool:
    return check.as_bool(higher_is_better, "higher_is_better")


@frozen(kw_only=True)
class MetricDefinition:
    """What is good and what is a loss, for one metric.

    Parameters
    ----------
    name : str
    higher_is_better : bool
    best : float
        The value that cannot be beaten: 0 of an error (the default), 1 of a score (to be said). The loss is the
        distance to it, in the metric's unit times `scale`, raised to `power`.
    power : float
        Exponent that turns the distance into the loss that is tested (1/2 for R²: relative RMSE).
    scale : float
        Factor of the distance (2 for an AUC, which spans only half of [0, 1]).
    min_change : float
        Smallest increase of the loss that matters, in units of the loss.
    """

    name: str
    higher_is_better: bool = field(converter=_as_direction)
    best: float = field()
    power: float = 1.0
    scale: float = 1.0
    min_change: float = 0.0

    @best.default
    def _best_of_an_error(self) -> float:
        if self.higher_is_better:
            raise InvalidInputError("best", f"say which value of {self.name!r} cannot be beaten, as in best=1.0")
        return 0.0

    def __attrs_post_init__(self) -> None:
        check.as_text(self.name, "name", max_length=200)
        check.as_float(self.best, "best")
        check.as_float(self.min_change, "min_change", low=0.0)
        for argument in ("power", "scale"):
            if check.as_float(getattr(self, argument), argument) <= 0.0:
                raise InvalidInputError(argument, f"{getattr(self, argument)} is not positive")

    def loss(self, value: float) -> float:
        """The loss that is tested: 0 at best, growing as the model gets worse."""
        distance = self.best - value if self.higher_is_better else value - self.best
        return math.pow(max(0.0, min(self.scale * min(distance, 1e307), 1e307)), self.power)

    @property
    def floor_distance(self) -> float:
        """The distance to `best`, in the metric's unit, whose loss is `floor`."""
        return math.pow(self.floor, 1.0 / self.power) / self.scale

    @property
    def floor(self) -> float:
        """Losses below it are taken as equal to it, so that a baseline near zero does not explode."""
        return self.min_change or 1e-12 * max(1.0, abs(self.best))


def _score(name: str) -> MetricDefinition:
    return MetricDefinition(name=name, higher_is_better=True, best=1.0, min_change=0.01)


def _error(name: str, min_change: float = 0.0) -> MetricDefinition:
    return MetricDefinition(name=name, higher_is_better=False, min_change=min_change)


KNOWN_METRICS: tuple[MetricDefinition, ...] = (
    MetricDefinition(name="r_squared", higher_is_better=True, best=1.0, power=0.5, min_change=0.005),
    _score("f1_score"),
    _error("rmse"),
    _error("mae"),
    _error("mape", min_change=0.01),
    _score("precision"),
    _score("recall"),
    _score("accuracy"),
    MetricDefinition(name="roc_auc", higher_is_better=True, best=1.0, scale=2.0, min_change=0.01),
    _error("log_loss"),
    _error("brier_score", min_change=0.01),
)
"""In the order of preference as a model's primary metric."""


ACTED_ON = ("performance_degradation", "data_drift")
"""Alerts that a policy can act on: those that a new version may answer."""


@frozen(kw_only=True)
class AutomationRule:
    """What follows by itself from an alert.

    Parameters
    ----------
    alert_type : "performance_degradation", "data_drift" or None
        None = both.
    min_severity : "info", "warning" or "critical", default "critical"
    model_type : str, optional
        None = every.
    retrain : bool, default False
        Open a training run.
    start_ab_test : bool, default False
        Let the version that the run makes be tested against the one in service, instead of trusting it at once.
    """

    alert_type: str | None = None
    min_severity: Severity = "critical"
    model_type: str | None = None
    retrain: bool = False
    start_ab_test: bool = False

    def __attrs_post_init__(self) -> None:
        if self.alert_type is not None:
            check.as_choice(self.alert_type, "alert_type", ACTED_ON)
        check.as_choice(self.min_severity, "min_severity", SEVERITIES)
        as_optional_model_type(self.model_type)
        for argument in ("retrain", "start_ab_test"):
            check.as_bool(getattr(self, argument), argument)
        if self.start_ab_test and not self.retrain:
            raise InvalidInputError("start_ab_test", "needs a run to make the version: give retrain=True too")

    def fits(self, alert_type: str, severity: str, model_type: str) -> bool:
        """Whether the rule speaks of such an alert."""
        return (
            self.alert_type in (None, alert_type)
            and self.model_type in (None, model_type)
            and SEVERITIES.index(severity) >= SEVERITIES.index(self.min_severity)
        )


def _as_rules(rules: Iterable[AutomationRule]) -> tuple[AutomationRule, ...]:
    found = check.as_items(rules, "rules")
    for rule in found:
        if not isinstance(rule, AutomationRule):
            raise InvalidInputError("rules", f"{rule!r} is not an AutomationRule")
    return found


@frozen(kw_only=True)
class AutomationPolicy:
    """What the library may do by itself about an alert: nothing, unless there is a rule.

    Parameters
    ----------
    rules : iterable of AutomationRule
        The first that fits an alert decides.
    cooldown_s : float, default 86,400
        No run by itself so soon after the last run of the machine and model type, whoever asked for that: a new version
        needs evaluations before they can say anything of it.
    max_per_day : int, default 3
        Runs by itself in 24 hours, for the same; what a shorter cooldown would allow is cut there.
    dry_run : bool, default False
        Write on the alert what would have been done, and do nothing.
    """

    rules: tuple[AutomationRule, ...] = field(default=(), converter=_as_rules)
    cooldown_s: float = 86_400.0
    max_per_day: int = 3
    dry_run: bool = False

    def __attrs_post_init__(self) -> None:
        check.as_float(self.cooldown_s, "cooldown_s", low=0.0, high=1e9)
        check.as_int(self.max_per_day, "max_per_day", low=1, high=10_000)
        check.as_bool(self.dry_run, "dry_run")

    def rule_for(self, alert_type: str, severity: str, model_type: str) -> AutomationRule | None:
        """The rule that decides about an alert; None where there is none."""
        return next((rule for rule in self.rules if rule.fits(alert_type, severity, model_type)), None)


NOTHING_BY_ITSELF = AutomationPolicy()


def _as_tuple(verdicts: Iterable[str]) -> tuple[str, ...]:
    if isinstance(verdicts, str):
        raise InvalidInputError("retrain_on", f"{verdicts!r} is text; give a tuple, as in ({verdicts!r},)")
    return check.as_items(verdicts, "retrain_on")


def _by_name(
    definitions: Iterable[MetricDefinition] | Mapping[str, MetricDefinition],
) -> Mapping[str, MetricDefinition]:
    known = {definition.name: definition for definition in KNOWN_METRICS}
    own = check.as_items(definitions.values() if isinstance(definitions, Mapping) else definitions, "metrics")
    for definition in own:
        if not isinstance(definition, MetricDefinition):
            raise InvalidInputError("metrics", f"{definition!r} is not a MetricDefinition")
    return known | {definition.name: definition for definition in own}


@frozen(kw_only=True)
class MonitoringPolicy:
    """When a change counts, and what is done about it.

    Parameters
    ----------
    metrics : iterable of MetricDefinition
        The host's own metrics, or its own idea of a known one; they join the known ones. After construction
        a mapping by name. A metric without a definition is stored and shown, and never judged.
    false_alarm_run_length : float, default 500
        At most one false critical verdict per so many evaluations of a model that has not changed (on
        average): the budget from which every critical threshold follows. 500 daily evaluations are 16 months.
    alpha : float, default 0.05
        Level of warnings, trends and comparisons, which are shown and never alerted.
    min_degradation : float, default 0.10
        A degradation below it (as `drift_score`, relative) is not worth anybody's time, however certain.
    baseline_days : float, default 30
        The first evaluations of a version, over so many days, are what the later ones are compared with.
    baseline_min : int, default 8
        Evaluations that a baseline must have, however long that takes; fewer give an interval too wide to act on.
    cusum_k : float, default 0.5
        Reference value of the chart: half of the shift, in standard deviations, that it finds fastest.
    cusum_min : int, default 12
        Evaluations before the chart starts; before, its estimates of level and spread are too rough.
    max_autocorrelation : float, default 0.9
        The chart assumes no more lag-1 autocorrelation than this.
    drift_warning, drift_critical : float, default 0.10 and 0.25
        Population stability index, beyond chance, from which a changed input counts and is critical: a shift of a
        normal column by about .33 and .5 standard deviations.
    min_share_change : float, default 0.01
        Smallest change of the share of missing or unseen values that counts.
    min_range_change : float, default 0.005
        The same for values beyond the reference's 0.1% and 99.9%.
    recover_after : int, default 3
        Good evaluations in a row after which an open alert resolves itself. Where half the way to the limit is one
        standard deviation, a model that stays at its limit has three in a row once in 300 evaluations, two once in 46.
    flap_days : float, default 7
        An alarm within so many days of a recovery doubles `recover_after` for the next, up to 8 times.
    retrain_on : tuple of str, default ()
        Verdicts whose new alert opens a training run by itself: ``("critical",)`` switches it on. The alert's repeats
        open no further run.
    max_attempts : int, default 3
        Times that a training run is tried.
    automation : AutomationPolicy
        What else may follow from an alert by itself, with its limits; nothing by default.
    challenge_champion : bool, default False
        A completed training run starts a test of the champion against the new version by itself.
    """

    metrics: Mapping[str, MetricDefinition] = field(default=(), converter=_by_name)
    false_alarm_run_length: float = 500.0
    alpha: float = 0.05
    min_degradation: float = 0.10
    baseline_days: float = 30.0
    baseline_min: int = 8
    cusum_k: float = 0.5
    cusum_min: int = 12
    max_autocorrelation: float = 0.9
    drift_warning: float = 0.10
    drift_critical: float = 0.25
    min_share_change: float = 0.01
    min_range_change: float = 0.005
    recover_after: int = 3
    flap_days: float = 7.0
    retrain_on: tuple[str, ...] = field(default=(), converter=_as_tuple)
    max_attempts: int = 3
    automation: AutomationPolicy = NOTHING_BY_ITSELF
    challenge_champion: bool = False

    def __attrs_post_init__(self) -> None:
        check.as_float(self.false_alarm_run_length, "false_alarm_run_length", low=20.0, high=1e6)
        check.as_open_fraction(self.alpha, "alpha")
        check.as_float(self.min_degradation, "min_degradation", low=0.0)
        check.as_float(self.baseline_days, "baseline_days", low=0.0)
        check.as_int(self.baseline_min, "baseline_min", low=5)
        check.as_float(self.cusum_k, "cusum_k", low=0.1, high=2.0)
        check.as_int(self.cusum_min, "cusum_min", low=8)
        check.as_float(self.max_autocorrelation, "max_autocorrelation", low=0.0, high=0.95)
        check.as_float(self.drift_warning, "drift_warning", low=0.0)
        check.as_float(self.drift_critical, "drift_critical", low=self.drift_warning)
        check.as_float(self.min_share_change, "min_share_change", low=0.0, high=1.0)
        check.as_float(self.min_range_change, "min_range_change", low=0.0, high=1.0)
        check.as_int(self.recover_after, "recover_after", low=1, high=1000)
        check.as_float(self.flap_days, "flap_days", low=0.0)
        check.as_int(self.max_attempts, "max_attempts", low=1, high=100)
        check.as_bool(self.challenge_champion, "challenge_champion")
        if not isinstance(self.automation, AutomationPolicy):
            raise InvalidInputError("automation", f"{self.automation!r} is not an AutomationPolicy")
        for verdict in self.retrain_on:
            check.as_choice(verdict, "retrain_on", ("critical",))

    def definition(self, metric: str) -> MetricDefinition | None:
        """How the metric is judged, or None where nobody has said which direction is good."""
        return self.metrics.get(metric)

    def primary_metric(self, names: Iterable[str]) -> str | None:
        """The metric to look at when none was asked for: r_squared, else f1_score, else the first known one."""
        present = list(names)
        for name in ("r_squared", "f1_score"):
            if name in present:
                return name
        return next((name for name in present if name in self.metrics), None)


def degradation(definition: MetricDefinition, loss: float, baseline_loss: float) -> float:
    """How much worse than the baseline, relative: .12 = 12% (the contract's `drift_score`).

    For errors it is the error's own growth; for R² and other scores the growth of 1 - score. Both are floored,
    so that a baseline near zero does not explode. Negative = better.
    """
    difference = math.log(max(loss, definition.floor)) - math.log(max(baseline_loss, definition.floor))
    return math.expm1(min(difference / definition.power, 700.0))
