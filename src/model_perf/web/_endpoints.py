"""What each route does: read the parameters, call the tracker, answer. The names are what OpenAPI and clients see."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response
from pydantic_core import to_json

from model_perf import (
    InvalidInputError,
    ModelPerformanceTracker,
    ModelRef,
    NotFoundError,
    Page,
    StorageError,
    TrainingRun,
    __version__,
)
from model_perf.records import Alert
from model_perf.web import _answers as answers
from model_perf.web import _parameters as given

HEADERS = {"cache-control": "no-store"}
NOT_KNOWN = "not known"
"""Who did it, where neither the host nor the request says so."""


class Endpoints:
    """The routes of one tracker."""

    def __init__(self, tracker: ModelPerformanceTracker) -> None:
        self._tracker = tracker

    async def model_perf_record_metrics(
        self,
        model_id: given.ModelId,
        model_type: given.ModelType,
        machine_id: given.MachineId,
        evaluation_start: given.Start,
        evaluation_end: given.End,
        metrics: given.Metrics,
        by: given.By,
        model_version: given.ModelVersion = None,
        sample_count: given.SampleCount = None,
        data_completeness: given.Completeness = None,
        evaluation_id: given.EvaluationId = None,
    ) -> Response:
        """Store how a model performed on a window, with its verdict and its alert."""
        ref = await self._tracker.find_model(
            model_id, model_type=model_type, machine_id=machine_id, model_version=model_version
        )
        stored = await self._tracker.record(
            ref,
            evaluation_start=evaluation_start,
            evaluation_end=evaluation_end,
            metrics=metrics,
            sample_count=sample_count,
            data_completeness=data_completeness,
            evaluation_id=evaluation_id,
            created_by=by,
        )
        return _json(answers.recorded(stored))

    async def model_perf_get_trend(
        self,
        model_type: given.ModelType,
        machine_id: given.MachineId,
        days: given.Days = 30,
        metric: given.Metric = None,
    ) -> Response:
        """The evaluations of a machine's model and where they are going; 404 where there are none."""
        found = await self._tracker.trend(model_type=model_type, machine_id=machine_id, metric=metric, days=days)
        if not found.evaluations:
            raise NotFoundError(f"no evaluation of a {model_type} model of machine {machine_id} in {days:g} days")
        names = await self._tracker.machine_names([machine_id])
        return _json(answers.trend(found, model_type, machine_id, names))

    async def model_perf_check_drift(
        self,
        model_id: given.ModelId,
        model_type: given.ModelType,
        machine_id: given.MachineId,
        model_version: given.ModelVersion = None,
    ) -> Response:
        """The verdict on the newest evaluation, with its grounds; judged now where that has not been done."""
        ref = await self._tracker.find_model(
            model_id, model_type=model_type, machine_id=machine_id, model_version=model_version
        )
        await self._tracker.metrics.check_model_type(ref)
        return _json(answers.drift_check(ref, await self._tracker.check_drift(ref)))

    async def model_perf_trigger_retraining(
        self,
        model_type: given.ModelType,
        machine_id: given.MachineId,
        by: given.By,
        trigger_type: given.TriggerType = "manual",
        reason: given.Reason = None,
    ) -> Response:
        """Open a training run, unless one is pending or running for that machine and model type."""
        trigger = await self._tracker.trigger_retraining(
            model_type=model_type, machine_id=machine_id, trigger_type=trigger_type, reason=reason, triggered_by=by
        )
        return _json(answers.retraining(trigger))

    async def model_perf_list_training_runs(
        self,
        model_type: given.FilterModelType = None,
        machine_id: given.FilterMachineId = None,
        limit: given.Limit = 100,
        cursor: given.Cursor = None,
        *,
        request: Request,
    ) -> Response:
        """The training runs, newest first."""
        page = await self._tracker.training.list_runs(
            model_type=model_type, machine_id=machine_id, limit=limit, cursor=cursor
        )
        names = await self._tracker.machine_names(run.machine_id for run in page.items)
        return _page([answers.training_run(run, names) for run in page.items], page, request)

    async def model_perf_get_training_run(self, run_id: given.PathId) -> Response:
        """One training run."""
        return await self._training_run(await self._tracker.training.fetch_run(run_id))

    async def model_perf_start_ab_test(
        self,
        test_name: given.ABTestName,
        model_type: given.ModelType,
        machine_id: given.MachineId,
        model_a_id: given.ModelId,
        model_b_id: given.ModelId,
        by: given.By,
        duration_hours: given.DurationHours = 24,
        traffic_split: given.TrafficSplit = 0.5,
        metric: given.Metric = None,
        direction: given.BetterDirection = None,
        planned_n: given.PlannedN = None,
        margin: given.Margin = None,
        model_a_version: given.ModelVersion = None,
        model_b_version: given.ModelVersion = None,
    ) -> Response:
        """Start a test of two versions: on observations, or on evaluations of the same windows."""
        model_a = await self._arm("model_a", model_a_id, model_type, machine_id, model_a_version)
        model_b = await self._arm("model_b", model_b_id, model_type, machine_id, model_b_version)
        test = await self._tracker.start_ab_test(
            name=test_name,
            model_a=model_a,
            model_b=model_b,
            duration=timedelta(hours=duration_hours),
            traffic_split=traffic_split,
            metric=metric,
            created_by=by,
            **_given(direction=direction, planned_n=planned_n, margin=margin),
        )
        return _json(answers.started_ab_test(test))

    async def model_perf_observe(
        self,
        test_id: given.PathId,
        observations: given.Observations,
        metric: given.Metric = None,
        batch_id: given.BatchId = None,
    ) -> Response:
        """Tell outcomes of a test, each of the model that served it; 409 where they come late."""
        is_new = await self._tracker.observe_many(test_id, **observations, metric=metric, batch_id=batch_id)
        return _json({"test_id": test_id, "n": len(observations["values"]), "is_new": is_new})

    async def model_perf_list_ab_tests(
        self,
        model_type: given.FilterModelType = None,
        machine_id: given.FilterMachineId = None,
        limit: given.Limit = 100,
        cursor: given.Cursor = None,
        *,
        request: Request,
    ) -> Response:
        """The tests, newest first."""
        page = await self._tracker.ab_tests.list_tests(
            model_type=model_type, machine_id=machine_id, limit=limit, cursor=cursor
        )
        names = await self._tracker.machine_names(test.machine_id for test in page.items)
        return _page([answers.ab_test(test, names) for test in page.items], page, request)

    async def model_perf_get_ab_test_results(self, test_id: given.PathId) -> Response:
        """What a test has found; a look that decides, or the first after its end, concludes it, once."""
        return _json(answers.ab_test_result(await self._tracker.ab_test_results(test_id)))

    async def model_perf_conclude_ab_test(self, test_id: given.PathId, by: given.By) -> Response:
        """End a test now, by a last look; from evaluations nothing is decided before its end."""
        return _json(answers.ab_test_result(await self._tracker.conclude_ab_test(test_id, by=by)))

    async def model_perf_list_active_alerts(
        self,
        machine_id: given.FilterMachineId = None,
        model_type: given.FilterModelType = None,
        severity: given.FilterSeverity = None,
        include_snoozed: given.IncludeSnoozed = True,
        limit: given.Limit = 100,
        cursor: given.Cursor = None,
        *,
        request: Request,
    ) -> Response:
        """The open alerts, worst and newest first."""
        page = await self._tracker.alerts.list_active(
            machine_id=machine_id,
            model_type=model_type,
            severity=severity,
            include_snoozed=include_snoozed,
            limit=limit,
            cursor=cursor,
        )
        names = await self._tracker.machine_names(alert.machine_id for alert in page.items)
        return _page([answers.alert(alert, names) for alert in page.items], page, request)

    async def model_perf_acknowledge_alert(
        self, alert_id: given.PathId, by: given.By, notes: given.Notes = None
    ) -> Response:
        """Say that somebody looks after an alert."""
        return await self._alert(await self._tracker.acknowledge_alert(alert_id, by=by or NOT_KNOWN, notes=notes))

    async def model_perf_snooze_alert(
        self,
        alert_id: given.PathId,
        by: given.By,
        hours: given.SnoozeHours = None,
        until: given.SnoozeUntil = None,
        notes: given.Notes = None,
    ) -> Response:
        """Put an alert aside for a while; one that becomes worse comes back at once."""
        if until is None and hours is None:
            hours = 24.0
        alert = await self._tracker.snooze_alert(alert_id, by=by or NOT_KNOWN, until=until, hours=hours, notes=notes)
        return await self._alert(alert)

    async def model_perf_list_alert_events(self, alert_id: given.PathId) -> Response:
        """What happened to an alert, oldest first."""
        return _json([answers.alert_event(each) for each in await self._tracker.alerts.list_events(alert_id)])

    async def model_perf_resolve_alert(
        self, alert_id: given.PathId, by: given.By, resolution: given.Resolution = "manual", notes: given.Notes = None
    ) -> Response:
        """Close an alert; one of degraded performance starts its model's charts again from zero."""
        alert = await self._tracker.resolve_alert(alert_id, resolution=resolution, by=by, notes=notes)
        return await self._alert(alert)

    async def model_perf_get_automation(self, model_type: given.ModelType, machine_id: given.MachineId) -> Response:
        """Whether the policy may act by itself for a machine and model type."""
        switch = await self._tracker.automation(model_type, machine_id)
        return _json(answers.automation(switch, model_type, machine_id))

    async def model_perf_set_automation(
        self,
        model_type: given.ModelType,
        machine_id: given.MachineId,
        enabled: given.Enabled,
        by: given.By,
        reason: given.Reason = None,
    ) -> Response:
        """Let the policy act by itself for a machine and model type, or stop it."""
        switch = await self._tracker.set_automation(
            model_type, machine_id, enabled=enabled, by=by or NOT_KNOWN, reason=reason
        )
        return _json(answers.automation(switch, model_type, machine_id))

    async def model_perf_get_summary(self, model_type: given.ModelType, machine_id: given.MachineId) -> Response:
        """Which model a machine has, and its versions."""
        slot = await self._tracker.summary(model_type, machine_id)
        return _json(answers.summary(slot, await self._tracker.machine_names([machine_id])))

    async def model_perf_list_fleet(
        self,
        model_type: given.FilterModelType = None,
        machine_id: given.FilterMachineId = None,
        limit: given.Limit = 1000,
        cursor: given.Cursor = None,
        *,
        request: Request,
    ) -> Response:
        """How every model is doing, and what is open there."""
        page = await self._tracker.fleet(model_type=model_type, machine_id=machine_id, limit=limit, cursor=cursor)
        return _page([answers.fleet_row(entry, self._tracker.policy) for entry in page.items], page, request)

    async def model_perf_get_health(self) -> Response:
        """Whether the database answers and its tables fit; 503 where not."""
        status = await self._tracker.check_schema()
        return _json({"status": "ok", "version": __version__, "schema_version": max(status.applied)})

    async def _arm(
        self, arm: str, model_id: UUID, model_type: str, machine_id: UUID, model_version: int | None
    ) -> ModelRef:
        try:
            return await self._tracker.find_model(
                model_id, model_type=model_type, machine_id=machine_id, model_version=model_version
            )
        except InvalidInputError as error:
            raise InvalidInputError(f"{arm}_version", str(error).removeprefix(f"{error.argument}: ")) from None

    async def _alert(self, alert: Alert) -> Response:
        try:
            names = await self._tracker.machine_names([alert.machine_id])
        except StorageError:  # the alert is written already: an error would say that it was not
            names = {alert.machine_id: str(alert.machine_id)}
        return _json(answers.alert(alert, names))

    async def _training_run(self, run: TrainingRun) -> Response:
        return _json(answers.training_run(run, await self._tracker.machine_names([run.machine_id])))


def _given(**options: Any) -> Any:
    """The options that a request names; the others have the tracker's defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _json(answer: object, headers: dict[str, str] | None = None) -> Response:
    """Straight to bytes: FastAPI would check and copy what mypy has checked already."""
    return Response(content=to_json(answer), media_type="application/json", headers=HEADERS | (headers or {}))


def _page(rows: list[Any], page: Page[Any], request: Request) -> Response:
    """A bare array; the next page's address is relative, so that it is right behind any proxy and prefix."""
    if page.next_cursor is None:
        return _json(rows)
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    query = urlencode([*kept, ("cursor", page.next_cursor)])
    return _json(rows, {"link": f'<?{query}>; rel="next"'})
