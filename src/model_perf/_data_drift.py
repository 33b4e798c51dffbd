"""From the verdict on a window of data to all that is written with it: the report, the alarm, its alert."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from attrs import evolve, frozen

from model_perf import _validation as check
from model_perf._judging import DATA_ALERT, find_wish
from model_perf.drift import DataDriftReport, DatasetProfile, DriftAlarm, DriftReport, advance_alarm
from model_perf.drift._alarm import watch_recovery
from model_perf.errors import ConflictError, InvalidInputError
from model_perf.policy import MonitoringPolicy
from model_perf.records import ModelRef, new_id
from model_perf.repos._judged import Recovered
from model_perf.repos.alerts import fingerprint
from model_perf.repos.drift import NewReport, StoredAlarm, StoredReport

_NAMED = 3

_KEPT = 30
"""Columns that an alert shows, those that moved most; its report has all of them."""


@frozen(kw_only=True)
class Window:
    """The time that the data are of; ``start`` is None where nobody said it."""

    start: datetime | None
    end: datetime


def as_window(start: datetime | None, end: datetime | None, now: datetime) -> Window:
    """The window as it was given; its end is now where it was not."""
    begin = None if start is None else check.as_timestamp(start, "window_start")
    last = now if end is None else check.as_timestamp(end, "window_end")
    if begin is not None and last <= begin:
        raise InvalidInputError("window_end", f"{last.isoformat()} is not after window_start {begin.isoformat()}")
    return Window(start=begin, end=last)


def refuse_empty(reference: DatasetProfile) -> None:
    """Of a query that found nothing: in the place of a good reference it would say nothing of any window."""
    if not reference.columns or not reference.n_rows:
        n_columns, n_rows = len(reference.columns), reference.n_rows
        raise InvalidInputError("data", f"has {n_columns} columns and {n_rows} rows; a reference needs some")


def data_fingerprint(ref: ModelRef, segment: str) -> str:
    """One condition per deployment and segment."""
    return fingerprint(DATA_ALERT, ref) + (f":{segment}" if segment else "")


def decide(
    alarm: StoredAlarm,
    report: DataDriftReport,
    said: Mapping[str, object],
    window: Window,
    ref: ModelRef,
    segment: str,
    reference_id: UUID,
    policy: MonitoringPolicy,
) -> NewReport:
    """What follows from the verdict; while an alert is open the alarm stands still, and repeats are counted."""
    if alarm.reference_id != reference_id:
        raise ConflictError("the reference was replaced while the window was judged by it; repeat the call")
    before = DriftAlarm.from_dict(alarm.state) if alarm.state else DriftAlarm()
    limit = policy.false_alarm_run_length
    if before.is_raised(limit) and not alarm.is_alerted:
        before = before.restart()  # the alert was resolved past the tracker
    span = _span(before, window)
    if span is None:
        after = before
    elif alarm.is_alerted:
        after = watch_recovery(before, report, window_start=span[0], window_end=span[1], policy=policy)
    else:
        after = advance_alarm(before, report, window_start=span[0], window_end=span[1])
    is_new_alarm = not alarm.is_alerted and after.is_raised(limit)
    if is_new_alarm:
        after = evolve(after, recovery=after.recovery.alarmed(report.drifted_columns, window.end, policy))
    alerts = (
        (_alert(report, said, ref, segment),) if is_new_alarm or (alarm.is_alerted and report.drift_detected) else ()
    )
    is_over = alarm.is_alerted and span is not None and not after.recovery.is_open
    return NewReport(
        reference_id=alarm.reference_id,
        window_start=window.start,
        window_end=window.end,
        findings={
            "verdict": report.verdict,
            "drift_detected": report.drift_detected,
            "pvalue": report.pvalue,
            "n_reference": report.n_reference,
            "n_current": report.n_current,
            "n_columns": len(report.columns),
            "n_drifted": len(report.drifted_columns),
        },
        alarm_value=after.value,
        alarm_limit=limit,
        report=said,
        state=after.to_dict(),
        alerts=alerts,
        wish=_wish(alerts[0], ref, policy) if alerts else None,
        recovered=_recovered(ref, segment, after, policy) if is_over else None,
    )


def _span(alarm: DriftAlarm, window: Window) -> tuple[datetime, datetime] | None:
    """A window whose start nobody said follows the one before; None where it lies in it."""
    if window.start is not None:
        return window.start, window.end
    start = window.end - timedelta(microseconds=1)
    return None if alarm.last_end is not None and start < alarm.last_end else (start, window.end)


def _recovered(ref: ModelRef, segment: str, after: DriftAlarm, policy: MonitoringPolicy) -> Recovered:
    notes = f"{after.recovery.needed(policy)} good windows in a row"
    return Recovered(fingerprint=data_fingerprint(ref, segment), notes=notes)


def _wish(alert: Mapping[str, object], ref: ModelRef, policy: MonitoringPolicy) -> Mapping[str, object] | None:
    number, reason = str(alert["fingerprint"]), str(alert["alert_message"])
    return find_wish(DATA_ALERT, str(alert["severity"]), ref, number, reason, policy)


def _alert(report: DataDriftReport, said: Mapping[str, object], ref: ModelRef, segment: str) -> dict[str, object]:
    names = report.drifted_columns
    where = f" of segment {segment}" if segment else ""
    what = f"{report.headline} ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
    if not names:
        most = min(report.columns.values(), key=lambda column: 1.0 if column.pvalue is None else column.pvalue)
        what = f"windows together show what this one alone does not, most in {most.name}"
    return {
        "id": str(new_id()),
        "alert_type": DATA_ALERT,
        "severity": "critical" if report.verdict == "critical" else "warning",
        "fingerprint": data_fingerprint(ref, segment),
        "alert_message": f"{ref.model_type} version {ref.model_version}: the input{where} has changed: {what}",
        "alert_details": _details(said) | {"segment": segment},
    }


def _details(said: Mapping[str, object]) -> dict[str, object]:
    """The report as the alert keeps it: it is read with every list of alerts, and sent to whoever is told."""
    details = {key: value for key, value in said.items() if key != "histograms"}
    for name in ("columns", "added_columns"):
        all_of_them = details[name]
        assert isinstance(all_of_them, list)
        details |= {name: all_of_them[:_KEPT], f"n_{name}": len(all_of_them)}
    return details


def read_report(stored: StoredReport) -> DataDriftReport:
    """The report as it was, with its window and the alarm as it stood after it."""
    return evolve(
        DataDriftReport.from_dict(stored.report),
        window_start=stored.window_start,
        window_end=stored.window_end,
        alarm_value=stored.alarm_value,
        alarm_limit=stored.alarm_limit,
    )


def join(performance: DriftReport, stored: StoredReport) -> DriftReport:
    """The verdict on the performance together with the newest one on the data, which does not change it."""
    data = read_report(stored)
    types = (*performance.drift_types, *(("data_drift",) if data.drift_detected else ()))
    return evolve(performance, drift_types=types, data=data)
