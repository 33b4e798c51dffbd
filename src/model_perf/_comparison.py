"""From the evaluations of two models to the finding of their A/B test (statistics from `stats`, no SQL)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from model_perf.policy import MonitoringPolicy
from model_perf.records import ABTest, Decision, Evaluation, ModelRef
from model_perf.repos import Point
from model_perf.repos.ab_tests import WINNERS
from model_perf.results import ABTestResult

if TYPE_CHECKING:
    from model_perf.stats import EvaluationsComparison

Window = tuple[datetime, datetime]

_STORED = (
    *("metric", "confidence", "effect", "statistic", "pvalue"),
    *("n_windows", "n_evaluations_a", "n_evaluations_b"),
)


def plan(newest: Evaluation | None, duration: timedelta, alpha: float) -> dict[str, object]:
    """How many windows of *newest*'s length a test will hold, and whether they can decide anything."""
    if newest is None:
        return {"n_windows": None, "can_decide": None, "note": "model_a has no evaluation to plan from"}
    from model_perf.stats import plan_evaluations

    window = newest.evaluation_end - newest.evaluation_start
    planned = plan_evaluations(duration, window, alpha=alpha)
    return {
        "n_windows": planned.n_windows,
        "window_s": window.total_seconds(),
        "can_decide": planned.can_decide,
        "note": planned.reason,
    }


def is_due(result: ABTestResult, now: datetime) -> bool:
    """Whether a look may conclude the test: over, and its last windows evaluated or given up."""
    return now >= result.test.test_end and not _is_waiting(result.test, result.n_windows, now)


def _is_waiting(test: ABTest, n_windows: int, now: datetime) -> bool:
    """Windows end with the test, so their evaluations come after it: one window's length is left for them."""
    planned, length = test.design.get("n_windows"), test.design.get("window_s")
    if not isinstance(planned, int) or not isinstance(length, int | float):
        return False
    return n_windows < planned and (now - test.test_end).total_seconds() < length


def newest_per_window(points: Iterable[Point]) -> list[Point]:
    """One point per version and window: the one of the latest date, of equal ones that recorded last.

    Late labels are evaluated again; `model_perf.drift.replay` counts the same ones. One without samples stands for its
    window only where there is no other.
    """
    # By the number of the UUID: the hash of a UUID is a function in Python.
    newest: dict[tuple[int, int, datetime, datetime], Point] = {}
    for point in points:
        window = (point.model_id.int, point.model_version, point.evaluation_start, point.evaluation_end)
        other = newest.setdefault(window, point)
        if other is not point:
            newest[window] = max(other, point, key=lambda p: (has_weight(p), p.evaluation_date, p.created_at, p.id))
    return sorted(newest.values(), key=lambda p: (p.evaluation_end, p.id))


def has_weight(point: Point) -> bool:
    """No samples carry no weight; an unknown number does."""
    return point.sample_count != 0


def compare(test: ABTest, points: Sequence[Point], policy: MonitoringPolicy, now: datetime) -> ABTestResult:
    """What the common windows say of the test at *now*; decided once the test is over, `undecided` before."""
    counted = list(filter(has_weight, newest_per_window(points)))
    of_a, of_b = _of_arm(counted, test.model_a), _of_arm(counted, test.model_b)
    metric = _metric(test, counted, policy)
    common = [(of_a[w], of_b[w]) for w in of_a if w in of_b and _has(of_a[w], metric) and _has(of_b[w], metric)]
    found = _compare_values(common, metric, policy, test.design.get("alpha"))
    decision, reason = _decision(test, found, now)
    return ABTestResult(
        test=test,
        metric=metric,
        decision=decision,
        winner=WINNERS.get(decision, "no_winner"),
        reason=reason,
        recommendation=_recommendation(decision, test, reason),
        # Before the end the p-value is that of a peek, which nobody may trust.
        confidence=0.0 if found.pvalue is None or now < test.test_end else 1.0 - found.pvalue,
        effect=found.effect,
        confidence_interval=found.confidence_interval,
        statistic=found.statistic,
        pvalue=found.pvalue,
        n_windows=found.n_windows,
        n_evaluations_a=len(of_a),
        n_evaluations_b=len(of_b),
        model_a_metrics=_means([a for a, _ in common]),
        model_b_metrics=_means([b for _, b in common]),
    )


def to_stored(result: ABTestResult) -> dict[str, object]:
    """The finding as it is kept with a concluded test: evaluations that come later change nothing."""
    interval = result.confidence_interval
    stored: dict[str, object] = {name: getattr(result, name) for name in _STORED}
    return stored | {
        "model_a": dict(result.model_a_metrics),
        "model_b": dict(result.model_b_metrics),
        "confidence_interval": None if interval is None else [interval.low, interval.high],
    }


def concluded_elsewhere(model_a: Mapping[str, float], model_b: Mapping[str, float]) -> dict[str, object]:
    """The finding of a test that another rule concluded, as `from_stored` reads it: evaluations change nothing."""
    nothing = {"metric": None, "confidence": 0.0, "effect": None, "statistic": None, "pvalue": None}
    counts = {"n_windows": 0, "n_evaluations_a": 0, "n_evaluations_b": 0}
    return {**nothing, **counts, "model_a": dict(model_a), "model_b": dict(model_b), "confidence_interval": None}


def from_stored(test: ABTest) -> ABTestResult | None:
    """The finding of a concluded test as `to_stored` kept it; None where there is none."""
    stored: Mapping[str, Any] = test.winner_metrics
    if test.decision is None or not stored.keys() >= {*_STORED, "model_a", "model_b", "confidence_interval"}:
        return None
    from model_perf.stats import ConfidenceInterval

    interval, reason = stored["confidence_interval"], test.decision_reason or ""
    return ABTestResult(
        test=test,
        decision=test.decision,
        winner=WINNERS.get(test.decision, "no_winner"),
        reason=reason,
        recommendation=_recommendation(test.decision, test, reason),
        confidence_interval=None if interval is None else ConfidenceInterval(low=interval[0], high=interval[1]),
        model_a_metrics=stored["model_a"],
        model_b_metrics=stored["model_b"],
        **{name: stored[name] for name in _STORED},
    )


def _of_arm(points: Sequence[Point], ref: ModelRef) -> dict[Window, Point]:
    key = (ref.model_id, ref.model_version)
    return {
        (point.evaluation_start, point.evaluation_end): point
        for point in points
        if (point.model_id, point.model_version) == key
    }


def _metric(test: ABTest, points: Sequence[Point], policy: MonitoringPolicy) -> str | None:
    """The metric of the design; a test that started before any evaluation takes the primary one they have."""
    frozen = test.design.get("metric")
    if isinstance(frozen, str):
        return frozen
    names = [name for point in points for name in point.metrics]
    return policy.primary_metric(dict.fromkeys(names))


def _has(point: Point, metric: str | None) -> bool:
    return metric in point.metrics


def _compare_values(
    common: Sequence[tuple[Point, Point]], metric: str | None, policy: MonitoringPolicy, alpha: object
) -> EvaluationsComparison:
    from model_perf.stats import EvaluationsComparison, compare_evaluations

    if metric is None:
        return EvaluationsComparison(
            decision="insufficient_data", reason="no common window has a metric with a known direction", n_windows=0
        )
    definition = policy.definition(metric)
    return compare_evaluations(
        [a.metrics[metric] for a, _ in common],
        [b.metrics[metric] for _, b in common],
        higher_is_better=None if definition is None else definition.higher_is_better,
        alpha=alpha if isinstance(alpha, float) else policy.alpha,
    )


def _decision(test: ABTest, found: EvaluationsComparison, now: datetime) -> tuple[Decision, str]:
    if test.decision is not None:
        return test.decision, test.decision_reason or ""
    if test.test_status == "cancelled":
        return "undecided", f"cancelled: {test.decision_reason or 'no reason given'}"
    if now < test.test_end:
        return "undecided", f"runs until {test.test_end.isoformat()} and decides then, once; so far: {found.reason}"
    if test.test_status == "running" and _is_waiting(test, found.n_windows, now):
        return "undecided", f"waits for the last windows to be evaluated; so far: {found.reason}"
    return found.decision, found.reason


def _recommendation(decision: Decision, test: ABTest, reason: str) -> str:
    advice = {
        "superior_a": f"Keep model_a (version {test.model_a.model_version})",
        "superior_b": f"Switch to model_b (version {test.model_b.model_version})",
        "insufficient_data": "Keep model_a, and test again with more common windows",
    }
    if test.test_status == "running":
        default = "Wait for the end of the test"
    elif test.decided_at is not None and test.decided_at < test.test_end:
        default = "Keep model_a: nothing was decided"
    else:
        default = "Keep model_a: no difference found"
    return f"{advice.get(decision, default)} ({reason})"


def _means(points: Sequence[Point]) -> dict[str, float]:
    names = dict.fromkeys(name for point in points for name in point.metrics)
    return {
        name: math.fsum(value / len(values) for value in values)
        for name in names
        if (values := [point.metrics[name] for point in points if name in point.metrics])
    }
