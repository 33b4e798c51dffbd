"""The HTTP API: which routes there are, and who may use them. It knows the tracker and nothing below it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

from attrs import frozen
from fastapi import APIRouter, Depends
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute

from model_perf import InvalidInputError, ModelPerformanceTracker
from model_perf.web import schemas, view_schemas
from model_perf.web._endpoints import Endpoints
from model_perf.web._parameters import METRICS_BODY, OBSERVATIONS_BODY, refuse_garbled, refuse_repeated, remember_user
from model_perf.web._problems import ProblemRoute, documented
from model_perf.web._views import Views


@frozen
class _Route:
    """One line of the API."""

    method: Literal["GET", "POST"]
    path: str
    endpoint: Callable[..., Any]
    answer: Any
    problems: tuple[int, ...] = ()
    openapi_extra: dict[str, Any] | None = None


def _routes(to: Endpoints) -> list[_Route]:
    return [
        _Route(
            *("POST", "/metrics/record", to.model_perf_record_metrics, schemas.ModelPerfRecorded, (409, 413, 415)),
            openapi_extra=METRICS_BODY,
        ),
        _Route("GET", "/metrics/trend", to.model_perf_get_trend, schemas.ModelPerfTrend, (404,)),
        _Route("POST", "/drift/check", to.model_perf_check_drift, schemas.ModelPerfDriftCheck, (409,)),
        _Route("POST", "/retrain/trigger", to.model_perf_trigger_retraining, schemas.ModelPerfRetraining),
        _Route("GET", "/training", to.model_perf_list_training_runs, list[schemas.ModelPerfTrainingRun]),
        _Route("GET", "/training/{run_id}", to.model_perf_get_training_run, schemas.ModelPerfTrainingRun, (404,)),
        _Route("POST", "/ab-test/start", to.model_perf_start_ab_test, schemas.ModelPerfStartedABTest, (409,)),
        _Route("GET", "/ab-test", to.model_perf_list_ab_tests, list[schemas.ModelPerfABTest]),
        _Route(
            *("POST", "/ab-test/{test_id}/observations", to.model_perf_observe, schemas.ModelPerfObserved),
            (404, 409, 413, 415),
            openapi_extra=OBSERVATIONS_BODY,
        ),
        _Route(
            *("GET", "/ab-test/{test_id}/results", to.model_perf_get_ab_test_results),
            *(schemas.ModelPerfABTestResult, (404,)),
        ),
        _Route(
            *("POST", "/ab-test/{test_id}/conclude", to.model_perf_conclude_ab_test),
            *(schemas.ModelPerfABTestResult, (404, 409)),
        ),
        _Route("GET", "/alerts/active", to.model_perf_list_active_alerts, list[schemas.ModelPerfAlert]),
        _Route(
            *("POST", "/alerts/{alert_id}/acknowledge", to.model_perf_acknowledge_alert),
            *(schemas.ModelPerfAlert, (404, 409)),
        ),
        _Route(
            *("POST", "/alerts/{alert_id}/snooze", to.model_perf_snooze_alert), *(schemas.ModelPerfAlert, (404, 409))
        ),
        _Route(
            *("POST", "/alerts/{alert_id}/resolve", to.model_perf_resolve_alert), *(schemas.ModelPerfAlert, (404, 409))
        ),
        _Route(
            *("GET", "/alerts/{alert_id}/events", to.model_perf_list_alert_events),
            *(list[schemas.ModelPerfAlertEvent], (404,)),
        ),
        _Route("GET", "/automation", to.model_perf_get_automation, schemas.ModelPerfAutomation),
        _Route("POST", "/automation/set", to.model_perf_set_automation, schemas.ModelPerfAutomation),
        _Route("GET", "/summary", to.model_perf_get_summary, schemas.ModelPerfSummary),
        _Route("GET", "/fleet", to.model_perf_list_fleet, list[schemas.ModelPerfFleetRow]),
        _Route("GET", "/health", to.model_perf_get_health, schemas.ModelPerfHealth),
    ]


def _views(to: Views) -> list[_Route]:
    """What the dashboard asks for, once per view."""
    return [
        _Route("GET", "/views/alerts", to.model_perf_view_alerts, view_schemas.ModelPerfAlertsView),
        _Route("GET", "/views/fleet", to.model_perf_view_fleet, view_schemas.ModelPerfFleetView),
        _Route("GET", "/views/model", to.model_perf_view_model, view_schemas.ModelPerfModelView),
        _Route("GET", "/views/drift", to.model_perf_view_drift, view_schemas.ModelPerfDriftView),
        _Route("GET", "/views/ab-tests", to.model_perf_view_ab_tests, view_schemas.ModelPerfABTestsView),
        _Route(
            "GET", "/views/ab-tests/{test_id}", to.model_perf_view_ab_test, view_schemas.ModelPerfABTestView, (404,)
        ),
        _Route("GET", "/views/training", to.model_perf_view_training, view_schemas.ModelPerfTrainingView),
    ]


def create_router(
    tracker: ModelPerformanceTracker,
    *,
    dependencies: Sequence[Dependency] | None = None,
    write_dependencies: Sequence[Dependency] = (),
    user: Callable[..., Any] | None = None,
    allow_anonymous: bool = False,
) -> APIRouter:
    """The routes of the HTTP API, for ``app.include_router(..., prefix="/api/v1/model-performance")``.

    Parameters
    ----------
    tracker : ModelPerformanceTracker
        Made from ``lambda: app.state.pool`` where the pool is born after the router; until then every route answers
        503 and says so.
    dependencies : sequence of fastapi.Depends
        Who may read: the host's authentication. Asked for.
    write_dependencies : sequence of fastapi.Depends
        Who may change something, beside *dependencies*: asked by every POST.
    user : callable, optional
        A dependency of the host that gives the name of who is logged in; kept with what they did. Without it the
        parameter ``by`` says so.
    allow_anonymous : bool
        Without *dependencies*: yes, whoever reaches the application may read and write.

    Raises
    ------
    InvalidInputError
        Neither *dependencies* nor *allow_anonymous* was given.
    """
    if not dependencies and not allow_anonymous:
        raise InvalidInputError(
            "dependencies",
            "give the host's authentication, as in [Depends(current_user)], or allow_anonymous=True to let all in",
        )
    router = APIRouter(route_class=ProblemRoute, generate_unique_id_function=_operation_id)
    readers, writers = list(dependencies or ()), list(write_dependencies)
    who = [] if user is None else [Depends(remember_user(user))]
    for route in [*_routes(Endpoints(tracker)), *_views(Views(tracker))]:
        first = [*readers, *(writers if route.method == "POST" else ()), *who]
        guards = [*first, Depends(refuse_garbled), Depends(refuse_repeated(route.endpoint))]
        _add(router, route, guards)
    return router


def _add(router: APIRouter, route: _Route, guards: list[Dependency]) -> None:
    """With and without a slash at the end: a redirect would name the host that the proxy hides."""
    for path, is_shown in ((route.path, True), (f"{route.path}/", False)):
        router.add_api_route(
            path,
            route.endpoint,
            methods=[route.method],
            response_model=route.answer,
            responses=documented(422, 503, *route.problems),
            dependencies=guards,
            summary=route.endpoint.__name__.removeprefix("model_perf_").replace("_", " ").capitalize(),
            openapi_extra=route.openapi_extra,
            include_in_schema=is_shown,
        )


def _operation_id(route: APIRoute) -> str:
    """Unique also where a host includes the router twice, and whatever its own rule makes of routes without tags."""
    return re.sub(r"\W+", "_", f"{route.name}{route.path_format}").strip("_")
