"""One round of everything that is due. A step that fails is told, and the others are done all the same."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

from model_perf import _inbox
from model_perf.errors import ConflictError, NotFoundError
from model_perf.records import Alert
from model_perf.repos._executor import Executor
from model_perf.repos.checks import ChecksRepo, Retrained
from model_perf.results import ChecksReport, CheckStep, DeliveryReport

if TYPE_CHECKING:
    from model_perf.tracker import ModelPerformanceTracker

Step = Callable[[], Awaitable[object]]


class Checks:
    """The steps of one call, in order: what a step does may be due by what the one before it found."""

    def __init__(self, tracker: ModelPerformanceTracker, executor: Executor) -> None:
        self._tracker = tracker
        self._executor = executor
        self._repo = ChecksRepo(executor)
        self._now = executor.moment()
        self.failed: list[tuple[str, Exception]] = []
        self._refused: list[str] = []
        self.steps: dict[str, Step] = {
            "expired_runs": lambda: self._repo.fail_expired(self._now),
            "failures": lambda: self._repo.tell_failures(self._now),
            "failures_mended": lambda: self._repo.mend_failures(self._now),
            "stale": lambda: self._repo.tell_stale(self._now),
            "heard_again": lambda: self._repo.hear_again(self._now),
            "concluded_tests": self._conclude_due,
            "retrained": self.resolve_retrained,
        }
        # Last: what the steps before have done is told at once. A host's transaction must not wait for its receivers.
        if tracker._channels and not executor.is_bound:
            self.steps["notifications"] = self._deliver

    async def run(self) -> ChecksReport:
        found: dict[str, object] = {}
        steps = []
        for name, work in self.steps.items():
            begin, self.failed, self._refused = time.perf_counter(), [], []
            try:
                found[name] = await work()
            except Exception as error:  # whatever it is, the other steps are due, and the report says so
                self.failed.append(("", error))
            errors = [f"{what}{type(error).__name__}: {error}" for what, error in self.failed]
            duration = time.perf_counter() - begin
            steps.append(CheckStep(name=name, duration_s=duration, errors=(*errors, *self._refused)))
        return ChecksReport(started_at=self._now, steps=tuple(steps), **found)  # type: ignore[arg-type]

    async def resolve_retrained(self, run_id: UUID | str | None = None) -> tuple[Alert, ...]:
        """Resolve the alerts that completed runs answer; one that cannot be is in `failed`, and keeps no other."""
        resolved = [await self._resolve(each) for each in await self._repo.list_retrained(self._now, run_id)]
        return tuple(alert for alert in resolved if alert is not None)

    async def _resolve(self, answered: Retrained) -> Alert | None:
        try:
            with suppress(ConflictError, NotFoundError):  # somebody else was first, or has deleted it
                return await _inbox.resolve(
                    self._executor, answered.alert_id, resolution="retrained", by="model_perf", notes=answered.notes
                )
        except Exception as error:
            self.failed.append((f"alert {answered.alert_id}: ", error))
        return None

    async def _deliver(self) -> DeliveryReport:
        report = await self._tracker.deliver_notifications()
        self._refused = [f"channel {name}: {error}" for name, error in report.errors.items()]
        return report

    async def _conclude_due(self) -> tuple[UUID, ...]:
        concluded = []
        for test in await self._tracker.ab_tests.list_due(self._now):
            try:
                with suppress(ConflictError, NotFoundError):
                    if (await self._tracker.ab_test_results(test.id)).test_status != "running":
                        concluded.append(test.id)
            except Exception as error:
                self.failed.append((f"test {test.id}: ", error))
        return tuple(concluded)
