"""From a verdict to all that is written with it: the judged evaluation, its alert, its training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

from attrs import evolve

from model_perf.drift import DriftReport, PerformanceState, judge_performance, replay, restart_chart
from model_perf.policy import MonitoringPolicy
from model_perf.records import SEVERITIES, Alert, Evaluation, ModelRef, as_ref, new_id
from model_perf.repos._judged import Judgement, Recovered, StoredState
from model_perf.repos.alerts import fingerprint

PERFORMANCE_ALERT = "performance_degradation"
DATA_ALERT = "data_drift"


def judge_evaluation(
    evaluation: Evaluation, stored: StoredState, policy: MonitoringPolicy
) -> tuple[DriftReport, Judgement]:
    """The verdict on a new evaluation, and what follows from it by the policy; `created_at` is the time of both."""
    state = PerformanceState.from_dict(stored.state) if stored.version else PerformanceState()
    report, after = judge_performance(state, evaluation, policy, training_data_end=stored.training_data_end)
    assert evaluation.created_at is not None
    is_critical = report.verdict == "critical"
    if is_critical and not after.recovery.is_open:  # late, or of training data: it opens an alert all the same
        after = evolve(after, recovery=after.recovery.alarmed((), evaluation.evaluation_end, policy))
    is_over = state.recovery.is_open and not after.recovery.is_open
    return report, Judgement(
        evaluation=with_verdict(evaluation, report),
        state=after.to_dict(),
        recovered=_recovered(evaluation.ref, state, policy) if is_over else None,
        alerts=[_alert_row(evaluation.ref, report, evaluation.created_at)] if is_critical else (),
        wish=find_performance_wish(evaluation.ref, report, policy) if is_critical else None,
    )


def find_news(reports: Sequence[DriftReport], is_new: Sequence[bool]) -> list[DriftReport]:
    """Of a history the verdicts after the last one that was known before, the newest first."""
    news = takewhile(lambda pair: pair[1], zip(reversed(reports), reversed(is_new), strict=True))
    return [report for report, _ in news]


def find_alarm(news: Sequence[DriftReport], state: PerformanceState) -> list[DriftReport]:
    """The last critical verdict of *news*, if its alarm is not over by what came after it: the one to be alerted.

    A batch often ends with a good window: by that alone nothing is over.
    """
    critical = [report for report in news if report.verdict == "critical"]
    return critical[:1] if critical and (state.recovery.is_open or critical[0] is news[0]) else []


def find_recovered(ref: ModelRef, state: PerformanceState, policy: MonitoringPolicy) -> list[Recovered]:
    """The alarm that is over by the end of a replay, if there was one."""
    is_over = not state.recovery.is_open and state.recovery.recovered_at is not None
    return [_recovered(ref, state, policy)] if is_over else []


def _recovered(ref: ModelRef, state: PerformanceState, policy: MonitoringPolicy) -> Recovered:
    notes = f"{state.recovery.needed(policy)} good evaluations in a row"
    return Recovered(fingerprint=performance_fingerprint(ref), notes=notes)


def replay_stored(
    history: Sequence[Evaluation], stored: StoredState, policy: MonitoringPolicy
) -> tuple[list[DriftReport], PerformanceState]:
    """The verdicts on a whole history and the state after it; the charts restart where they were restarted."""
    reports, state = replay(
        history,
        policy,
        training_data_end=stored.training_data_end,
        restarted_after=PerformanceState.from_dict(stored.state).restarted_after,
    )
    return reports, state


def with_alert(state: PerformanceState, *, is_alerted: bool) -> Mapping[str, object]:
    """A replayed state as it is stored: good evaluations are counted for an alert that the replay knows nothing of."""
    if is_alerted and not state.recovery.is_open:
        state = evolve(state, recovery=evolve(state.recovery, n_good=0))
    return state.to_dict()


def performance_fingerprint(ref: ModelRef) -> str:
    """What makes two critical verdicts the same condition."""
    return fingerprint(PERFORMANCE_ALERT, as_ref(ref))


def restart_charts(state: Mapping[str, object]) -> Mapping[str, object]:
    """The stored state of a deployment with its charts at zero."""
    return restart_chart(PerformanceState.from_dict(state)).to_dict()


def with_verdict(evaluation: Evaluation, report: DriftReport) -> Evaluation:
    return evolve(
        evaluation,
        verdict=report.verdict,
        drift_detected=report.drift_detected,
        drift_score=report.drift_score,
        drift_threshold=report.drift_threshold,
        drift_details=report.to_dict(),
    )


def alert_content(ref: ModelRef, report: DriftReport) -> dict[str, Any]:
    """What an alert says; the metrics are inside, so that one collapse is one alert."""
    worst = report.worst
    return {
        "alert_type": PERFORMANCE_ALERT,
        "severity": "critical",
        "message": f"{ref.model_type} version {ref.model_version}: {report.recommendation}",
        "details": report.to_dict(),
        "current_metric_value": None if worst is None else worst.current_value,
        "threshold_value": None if worst is None else worst.threshold_value,
        "baseline_metric_value": None if worst is None else worst.baseline_value,
    }


def _alert_row(ref: ModelRef, report: DriftReport, now: datetime) -> dict[str, object]:
    content = alert_content(ref, report)
    content["alert_message"], content["alert_details"] = content.pop("message"), content.pop("details")
    return content | {
        "id": str(new_id()),
        "fingerprint": performance_fingerprint(ref),
        "alert_timestamp": now.isoformat(),
    }


def find_performance_wish(ref: ModelRef, report: DriftReport, policy: MonitoringPolicy) -> Mapping[str, object] | None:
    """The training run that the policy wishes for after a critical verdict."""
    number = performance_fingerprint(ref)
    wish = find_wish(PERFORMANCE_ALERT, "critical", ref, number, report.recommendation, policy)
    if wish is None and report.verdict in policy.retrain_on:
        return _wish("degradation", "critical", number, report.recommendation, policy)
    return wish


def is_asked_for(alert: Alert, now: datetime) -> bool:
    """Whether a run is asked for by this occurrence: the first, or the first after a limit that has put it off."""
    put_off_until = alert.auto_action.get("retry_at")
    return alert.occurrences == 1 or (put_off_until is not None and datetime.fromisoformat(str(put_off_until)) <= now)


def find_wish(
    alert_type: str, severity: str, ref: ModelRef, number: str, reason: str, policy: MonitoringPolicy
) -> dict[str, object] | None:
    """The run that a rule of the policy wishes for, with its limits; whether it may be is decided where it is written.

    Parameters
    ----------
    number : str
        The alert's fingerprint.
    """
    automation = policy.automation
    rule = automation.rule_for(alert_type, severity, ref.model_type)
    if rule is None or not rule.retrain:
        return None
    trigger = "degradation" if alert_type == PERFORMANCE_ALERT else "drift"
    limits = {"cooldown_s": automation.cooldown_s, "max_per_day": automation.max_per_day}
    wish = _wish(trigger, severity, number, reason, policy) | limits | {"dry_run": automation.dry_run}
    # A run that is open already is no dry run, and its version would be tested.
    return wish | {"start_ab_test": True} if rule.start_ab_test and not automation.dry_run else wish


def _wish(trigger_type: str, severity: str, number: str, reason: str, policy: MonitoringPolicy) -> dict[str, object]:
    return {
        "id": str(new_id()),
        "fingerprint": number,
        "severity_rank": SEVERITIES.index(severity) + 1,
        "trigger_type": trigger_type,
        "reason": reason,
        "max_attempts": policy.max_attempts,
    }
