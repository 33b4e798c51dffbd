"""What the views of a dashboard show, each read at once. Nothing is judged and nothing is written here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from attrs import field, frozen

from model_perf import _validation as check
from model_perf._slot import missing_worker
from model_perf._trends import find_trend
from model_perf.drift import DriftReport
from model_perf.records import NO_MACHINE, ABTest, Alert, ModelRef, Severity, TrainingRun
from model_perf.repos import AlarmPoint, FleetEntry, Page, StoredReport
from model_perf.results import SlotSummary, Trend

if TYPE_CHECKING:
    from model_perf.drift import DataDriftReport
    from model_perf.tracker import ModelPerformanceTracker

N_RECENT = 24
"""Values of a sparkline."""
RESOLVED_WITHIN = timedelta(days=7)


@frozen(kw_only=True)
class AlertsView:
    """The inbox: a page of the open alerts, worst and newest first, and what was resolved lately."""

    now: datetime
    page: Page[Alert]
    resolved: tuple[Alert, ...] = ()


@frozen(kw_only=True)
class FleetView:
    """Every model, with the newest values of its primary metric."""

    now: datetime
    page: Page[FleetEntry]


@frozen(kw_only=True)
class ModelView:
    """A slot (machine and model type) over a period.

    Attributes
    ----------
    machine_name : str
        As the directory has it, else as it was registered, else its id.
    summary : SlotSummary
        Its versions.
    trend : Trend
    reports : mapping of (model_id, model_version) to DriftReport
        The newest verdict on each version, as it was stored; the one evaluated last first.
    alerts : tuple of Alert
        Open ones, then those of the period, newest first; 100 at most.
    runs : tuple of TrainingRun
        The newest.
    tests : tuple of ABTest
        The newest.
    """

    now: datetime
    machine_name: str
    summary: SlotSummary
    trend: Trend
    reports: Mapping[tuple[UUID, int], DriftReport]
    alerts: tuple[Alert, ...]
    runs: tuple[TrainingRun, ...]
    tests: tuple[ABTest, ...]


@frozen(kw_only=True)
class DriftView:
    """Whether a slot's input and performance have changed.

    Attributes
    ----------
    ref : ModelRef or None
        The deployment whose data were checked last, else the one evaluated last; None where there is neither.
    performance : DriftReport or None
        The newest verdict on its performance, as it was stored.
    data : DataDriftReport or None
        The newest verdict on its input; None = never checked.
    histograms : mapping of str to mapping
        By column, as `model_perf.drift` counted them; without what an earlier release has checked.
    alarm : tuple of AlarmPoint
        The windows of the period, newest first, over all versions.
    """

    now: datetime
    ref: ModelRef | None = None
    performance: DriftReport | None = None
    data: DataDriftReport | None = None
    histograms: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    alarm: tuple[AlarmPoint, ...] = ()


@frozen(kw_only=True)
class TrainingView:
    """A page of the training runs, and why those wait that no worker is there for, by their id."""

    now: datetime
    page: Page[TrainingRun]
    notices: Mapping[UUID, str] = field(factory=dict)


class DashboardViews:
    """Reads what a view needs, for a page that asks once per view."""

    def __init__(self, tracker: ModelPerformanceTracker, clock: Callable[[], datetime]) -> None:
        self._tracker = tracker
        self.now = clock

    async def alerts(
        self,
        *,
        machine_id: UUID | str | None = None,
        model_type: str | None = None,
        severity: Severity | None = None,
        limit: int = 200,
        cursor: str | None = None,
    ) -> AlertsView:
        """A page of the open alerts; with the first one what was resolved in the last seven days, twenty at most."""
        repo, now = self._tracker.alerts, self.now()
        page = await repo.list_active(
            machine_id=machine_id, model_type=model_type, severity=severity, limit=limit, cursor=cursor
        )
        if cursor is not None:
            return AlertsView(now=now, page=page)
        resolved = await repo.list_resolved(
            since=now - RESOLVED_WITHIN, machine_id=machine_id, model_type=model_type, severity=severity
        )
        return AlertsView(now=now, page=page, resolved=resolved)

    async def fleet(
        self,
        *,
        machine_id: UUID | str | None = None,
        model_type: str | None = None,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> FleetView:
        """A page of the fleet, each model with the newest 24 values of its primary metric."""
        page = await self._tracker.fleet(
            model_type=model_type, machine_id=machine_id, n_recent=N_RECENT, limit=limit, cursor=cursor
        )
        return FleetView(now=self.now(), page=page)

    async def model(
        self, model_type: str, machine_id: UUID | str | None = None, *, days: float = 90, metric: str | None = None
    ) -> ModelView:
        """A slot over the last *days*: versions, trend, verdicts, alerts, training runs and tests."""
        tracker, machine, kind = self._tracker, _machine(machine_id), check.as_text(model_type, "model_type")
        since, now = self._tracker._period(None, None, days)
        points = await tracker.metrics.list_slot_points(kind, machine, since=since, until=now)
        # The trend of many points takes as long as all that can be read meanwhile.
        trend, others = await asyncio.gather(
            asyncio.to_thread(find_trend, points, metric, since, now, tracker.policy),
            self._beside_trend(kind, machine, since),
        )
        return ModelView(now=now, trend=trend, **others)

    async def _beside_trend(self, model_type: str, machine: UUID, since: datetime) -> dict[str, Any]:
        tracker = self._tracker
        judged = await tracker.metrics.list_newest_judged(model_type, machine)
        return {
            "machine_name": (await tracker.machine_names([machine]))[machine],
            "summary": await tracker.summary(model_type, machine),
            "reports": {(e.ref.model_id, e.ref.model_version): DriftReport.from_dict(e.drift_details) for e in judged},
            "alerts": await tracker.alerts.list_slot(model_type, machine, since=since),
            "runs": (await tracker.training.list_runs(model_type=model_type, machine_id=machine, limit=20)).items,
            "tests": (await tracker.ab_tests.list_tests(model_type=model_type, machine_id=machine, limit=20)).items,
        }

    async def drift(self, model_type: str, machine_id: UUID | str | None = None, *, days: float = 90) -> DriftView:
        """The newest verdicts on a slot's input and performance, and how its alarm developed in the last *days*."""
        tracker, machine = self._tracker, _machine(machine_id)
        since, now = self._tracker._period(None, None, days)
        alarm = await tracker.drift.list_alarm(model_type, machine, since=since)
        judged = await tracker.metrics.list_newest_judged(model_type, machine)
        ref = alarm[0].ref if alarm else judged[0].ref if judged else None
        stored = None
        if ref is not None:
            stored = await (
                tracker.drift.fetch_report(ref, alarm[0].id) if alarm else tracker.drift.fetch_newest_report(ref)
            )
        own = next((DriftReport.from_dict(each.drift_details) for each in judged if each.ref == ref), None)
        return DriftView(now=now, ref=ref, performance=own, alarm=alarm, **_data_of(stored))

    async def training(
        self,
        *,
        model_type: str | None = None,
        machine_id: UUID | str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> TrainingView:
        """A page of the training runs, newest first."""
        tracker, now = self._tracker, self.now()
        page = await tracker.training.list_runs(
            model_type=model_type, machine_id=machine_id, limit=limit, cursor=cursor
        )
        waiting = [run for run in page.items if run.training_status == "pending"]
        seen = await tracker.workers.list_sightings({run.model_type for run in waiting})
        said = {run.id: missing_worker(run, *seen[run.model_type], now) for run in waiting}
        return TrainingView(now=now, page=page, notices={run: text for run, text in said.items() if text is not None})


def _data_of(stored: StoredReport | None) -> dict[str, Any]:
    if stored is None:
        return {}
    from model_perf._data_drift import read_report

    return {"data": read_report(stored), "histograms": stored.report.get("histograms") or {}}


def _machine(machine_id: UUID | str | None) -> UUID:
    return NO_MACHINE if machine_id is None else check.as_uuid(machine_id, "machine_id")
