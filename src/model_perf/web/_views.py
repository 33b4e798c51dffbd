"""The routes of the dashboard: one request for each of its views. They read; only a look at an A/B test is kept."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from attrs import evolve
from fastapi import Response
from pydantic_core import to_json

from model_perf import DriftReport, ModelPerformanceTracker, ModelRef
from model_perf._dashboard import DriftView, FleetView, ModelView
from model_perf.web import _answers as answers
from model_perf.web import _parameters as given
from model_perf.web import schemas, view_schemas
from model_perf.web._endpoints import HEADERS


class Views:
    """The views of one tracker."""

    def __init__(self, tracker: ModelPerformanceTracker) -> None:
        self._tracker = tracker

    async def model_perf_view_alerts(
        self,
        machine_id: given.FilterMachineId = None,
        model_type: given.FilterModelType = None,
        severity: given.FilterSeverity = None,
        limit: given.Limit = 200,
        cursor: given.Cursor = None,
    ) -> Response:
        """The open alerts, and what was resolved lately."""
        found = await self._tracker.dashboard.alerts(
            machine_id=machine_id, model_type=model_type, severity=severity, limit=limit, cursor=cursor
        )
        shown = (*found.page.items, *found.resolved)
        names = await self._tracker.machine_names(alert.machine_id for alert in shown)
        view: view_schemas.ModelPerfAlertsView = {
            "now": found.now,
            "alerts": [answers.alert(alert, names) for alert in found.page.items],
            "resolved": [answers.alert(alert, names) for alert in found.resolved],
            "next_cursor": found.page.next_cursor,
        }
        return _json(view)

    async def model_perf_view_fleet(
        self,
        model_type: given.FilterModelType = None,
        machine_id: given.FilterMachineId = None,
        limit: given.Limit = 1000,
        cursor: given.Cursor = None,
    ) -> Response:
        """How every model is doing, with its newest values."""
        found = await self._tracker.dashboard.fleet(
            model_type=model_type, machine_id=machine_id, limit=limit, cursor=cursor
        )
        view: view_schemas.ModelPerfFleetView = {
            "now": found.now,
            "models": list(self._fleet_models(found)),
            "next_cursor": found.page.next_cursor,
        }
        return _json(view)

    async def model_perf_view_model(
        self,
        model_type: given.ModelType,
        machine_id: given.MachineId,
        days: given.Days = 90,
        metric: given.Metric = None,
    ) -> Response:
        """A machine's model: its versions, trend, verdicts, alerts, training runs and tests."""
        found = await self._tracker.dashboard.model(model_type, machine_id, days=days, metric=metric)
        return _json(_model(found, model_type, machine_id))

    async def model_perf_view_drift(
        self, model_type: given.ModelType, machine_id: given.MachineId, days: given.Days = 90
    ) -> Response:
        """The newest verdicts on a machine's model and its input, and how the alarm developed."""
        found = await self._tracker.dashboard.drift(model_type, machine_id, days=days)
        names = await self._tracker.machine_names([machine_id])
        view: view_schemas.ModelPerfDriftView = {
            "now": found.now,
            "model_type": model_type,
            "machine_id": machine_id,
            "machine_name": names[machine_id],
            "check": self._check(found),
            "histograms": list(_histograms(found)),
            "alarm": list(_alarm(found)),
        }
        return _json(view)

    async def model_perf_view_ab_tests(
        self,
        model_type: given.FilterModelType = None,
        machine_id: given.FilterMachineId = None,
        limit: given.Limit = 100,
        cursor: given.Cursor = None,
    ) -> Response:
        """The A/B tests, newest first."""
        page = await self._tracker.ab_tests.list_tests(
            model_type=model_type, machine_id=machine_id, limit=limit, cursor=cursor
        )
        names = await self._tracker.machine_names(test.machine_id for test in page.items)
        view: view_schemas.ModelPerfABTestsView = {
            "now": self._tracker.dashboard.now(),
            "tests": [answers.ab_test(test, names) for test in page.items],
            "next_cursor": page.next_cursor,
        }
        return _json(view)

    async def model_perf_view_ab_test(self, test_id: given.PathId) -> Response:
        """A test and what it has found; a look, as that of /ab-test/{test_id}/results."""
        result = await self._tracker.ab_test_results(test_id)
        names = await self._tracker.machine_names([result.test.machine_id])
        view: view_schemas.ModelPerfABTestView = {
            "now": self._tracker.dashboard.now(),
            "test": answers.ab_test(result.test, names),
            "result": answers.ab_test_result(result),
        }
        return _json(view)

    async def model_perf_view_training(
        self,
        model_type: given.FilterModelType = None,
        machine_id: given.FilterMachineId = None,
        limit: given.Limit = 100,
        cursor: given.Cursor = None,
    ) -> Response:
        """The training runs, newest first."""
        found = await self._tracker.dashboard.training(
            model_type=model_type, machine_id=machine_id, limit=limit, cursor=cursor
        )
        names = await self._tracker.machine_names(run.machine_id for run in found.page.items)
        view: view_schemas.ModelPerfTrainingView = {
            "now": found.now,
            "runs": [answers.training_run(run, names) for run in found.page.items],
            "notices": {str(run): text for run, text in found.notices.items()},
            "next_cursor": found.page.next_cursor,
        }
        return _json(view)

    def _fleet_models(self, found: FleetView) -> Iterator[view_schemas.ModelPerfFleetModel]:
        for entry in found.page.items:
            yield {**answers.fleet_row(entry, self._tracker.policy), "recent_values": list(entry.recent_values)}

    def _check(self, found: DriftView) -> schemas.ModelPerfDriftCheck | None:
        if found.ref is None:
            return None
        performance = found.performance or DriftReport.without_evaluations(self._tracker.policy)
        return answers.drift_check(found.ref, evolve(performance, data=found.data))


def _model(found: ModelView, model_type: str, machine_id: UUID) -> view_schemas.ModelPerfModelView:
    names = {machine_id: found.machine_name}

    def ref(key: tuple[UUID, int]) -> ModelRef:
        return ModelRef(model_id=key[0], model_version=key[1], model_type=model_type, machine_id=machine_id)

    return {
        "now": found.now,
        "summary": answers.summary(found.summary, names),
        "trend": answers.trend(found.trend, model_type, machine_id, names),
        "checks": [answers.drift_check(ref(key), report) for key, report in found.reports.items()],
        "alerts": [answers.alert(alert, names) for alert in found.alerts],
        "runs": [answers.training_run(run, names) for run in found.runs],
        "tests": [answers.ab_test(test, names) for test in found.tests],
    }


def _histograms(found: DriftView) -> Iterator[view_schemas.ModelPerfHistogram]:
    for column, drawn in found.histograms.items():
        yield {
            "column": column,
            "edges": drawn.get("edges"),
            "names": drawn.get("names"),
            "reference": drawn["reference"],
            "current": drawn["current"],
        }


def _alarm(found: DriftView) -> Iterator[view_schemas.ModelPerfAlarmPoint]:
    for point in reversed(found.alarm):
        yield {
            "check_id": point.id,
            "model_version": point.ref.model_version,
            "window_start": point.window_start,
            "window_end": point.window_end,
            "verdict": point.verdict,
            "n_columns": point.n_columns,
            "n_drifted": point.n_drifted,
            "alarm_value": point.alarm_value,
            "alarm_limit": point.alarm_limit,
        }


def _json(view: object) -> Response:
    return Response(content=to_json(view), media_type="application/json", headers=HEADERS)
