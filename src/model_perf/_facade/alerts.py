"""Alerts as an inbox, what the policy may do about them by itself, and the round of everything that is due."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from model_perf import _inbox as inbox
from model_perf._facade.shared import Shared
from model_perf.records import Alert, AutomationSwitch, Resolution, Severity

if TYPE_CHECKING:
    from model_perf.results import ChecksReport


class AlertCalls(Shared):
    """What the facade answers about alerts, and the round of all that is due."""

    async def active_alerts(
        self,
        machine_id: UUID | str | None = None,
        model_type: str | None = None,
        severity: Severity | str | None = None,
        limit: int = 100,
        *,
        include_snoozed: bool = True,
    ) -> list[Alert]:
        """The open alerts, worst and newest first; for more than *limit* see `AlertRepo.list_active`."""
        page = await self.alerts.list_active(
            machine_id=machine_id,
            model_type=model_type,
            severity=severity,
            limit=limit,
            include_snoozed=include_snoozed,
        )
        return list(page.items)

    async def acknowledge_alert(
        self, alert_id: UUID | str, *, by: str, note: str | None = None, notes: str | None = None
    ) -> Alert:
        """Say that somebody looks after an alert; the first one is kept, the second gets a `ConflictError`."""
        return await self.alerts.acknowledge(alert_id, by=by, notes=inbox.one_of(note, notes))

    async def snooze_alert(
        self,
        alert_id: UUID | str,
        *,
        by: str,
        until: datetime | None = None,
        hours: float | None = None,
        note: str | None = None,
        notes: str | None = None,
    ) -> Alert:
        """Put an open alert aside until a time, or for some hours; one that becomes worse comes back at once."""
        end = inbox.snoozed_until(until, hours, self._executor.moment())
        return await self.alerts.snooze(alert_id, until=end, by=by, notes=inbox.one_of(note, notes))

    async def resolve_alert(
        self,
        alert_id: UUID | str,
        *,
        resolution: Resolution | str = "manual",
        by: str | None = None,
        note: str | None = None,
        notes: str | None = None,
    ) -> Alert:
        """Close an alert; one of performance or data starts what added up to it again from zero, both or neither.

        What the charts have learned is kept: a degradation that goes on is found again, and opens a new alert.
        `AlertRepo.resolve` closes the alert only.

        Parameters
        ----------
        resolution : "recovered", "retrained", "false_positive" or "manual"
        note, notes : str, optional
            Why; two names of the same.
        """
        comment = inbox.one_of(note, notes)
        return await inbox.resolve(self._executor, alert_id, resolution=resolution, by=by, notes=comment)

    async def set_automation(
        self,
        model_type: str,
        machine_id: UUID | str | None = None,
        *,
        enabled: bool,
        by: str,
        reason: str | None = None,
    ) -> AutomationSwitch:
        """Let the policy act by itself for a machine and model type, or stop it, for every process from now on.

        It stops `MonitoringPolicy.automation` and `retrain_on`; what somebody asks for is done all the same.
        """
        from model_perf.repos.automation import AutomationRepo

        repo = AutomationRepo(self._executor)
        return await repo.set_switch(model_type, machine_id, enabled=enabled, by=by, reason=reason)

    async def automation(self, model_type: str, machine_id: UUID | str | None = None) -> AutomationSwitch | None:
        """The switch that `set_automation` sets; None where nobody ever has, and the policy may act."""
        from model_perf.repos.automation import AutomationRepo

        return await AutomationRepo(self._executor).fetch_switch(model_type, machine_id)

    async def run_checks(self) -> ChecksReport:
        """Do what is due over the whole fleet: once a minute or once an hour, from a cron job or the host's scheduler.

        Ends runs without a worker, opens and resolves the alerts of failed runs and of models that nobody evaluates any
        more, concludes A/B tests past their end, resolves alerts that a new version has answered, and tells the
        channels. Many processes may do it at once: what is due is done once. A step that fails is told in the report,
        and keeps no other.
        """
        from model_perf._checks import Checks

        return await Checks(self._whole, self._executor).run()

    async def resolve_retrained(self, run_id: UUID | str | None = None) -> tuple[Alert, ...]:
        """Resolve the alerts of performance and data that a completed run answers: *run_id*, or any.

        The version it made is newer than theirs. Where it started an A/B test, they wait until its version has won.
        """
        from model_perf._checks import Checks

        checks = Checks(self._whole, self._executor)
        resolved = await checks.resolve_retrained(run_id)
        if checks.failed:
            raise checks.failed[0][1]
        return resolved
