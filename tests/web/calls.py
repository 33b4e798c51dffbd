"""The routes as the OpenAPI document has them, requests that each of them takes, and rows for them to find."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import httpx
from attrs import frozen
from fastapi import FastAPI
from tests.factories import START, make_evaluation, make_id, make_ref
from tests.faults.states import BASELINE_DAYS
from tests.writers import noisy_evaluation, record

from model_perf import ModelPerformanceTracker
from model_perf.web import create_router

PREFIX = "/api/v1/model-performance"
OLD, NEW = make_ref(version=1), make_ref("new", version=2)
MODEL_TYPE, MACHINE = OLD.model_type, OLD.machine_id
METRICS = {"rmse": 10.2, "r_squared": 0.93}
OBSERVATIONS = {"arms": ["a", "b"], "values": [0.1, 0.2], "units": ["press 7", 8]}


@frozen(kw_only=True)
class Operation:
    """One route of the document; *parameters* are the schemas of what it takes, by name, without those of the path."""

    method: str
    path: str
    id: str
    parameters: Mapping[str, Mapping[str, Any]]
    required: frozenset[str]
    path_parameters: frozenset[str]
    has_body: bool


@frozen(kw_only=True)
class World:
    """What `make_world` has stored."""

    alert_id: UUID
    run_id: UUID
    test_id: UUID


def document() -> dict[str, Any]:
    """The OpenAPI document of a host that has included the router, without a prefix."""
    app = FastAPI()
    tracker = ModelPerformanceTracker(lambda: app.state.pool)
    app.include_router(create_router(tracker, allow_anonymous=True))
    return app.openapi()


@cache
def operations() -> tuple[Operation, ...]:
    """Every route that the document shows."""
    paths = document()["paths"].items()
    return tuple(_operation(method, path, spec) for path, item in paths for method, spec in item.items())


def _operation(method: str, path: str, spec: Mapping[str, Any]) -> Operation:
    named = {where: [p for p in spec.get("parameters", ()) if p["in"] == where] for where in ("query", "path")}
    return Operation(
        method=method.upper(),
        path=path,
        id=spec["operationId"],
        parameters={p["name"]: _without_null(p["schema"]) for p in named["query"]},
        required=frozenset(p["name"] for p in named["query"] if p["required"]),
        path_parameters=frozenset(p["name"] for p in named["path"]),
        has_body="requestBody" in spec,
    )


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    given = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    return schema | given[0] if given else schema


async def make_world(tracker: ModelPerformanceTracker) -> World:
    """A model of two versions with a baseline until yesterday, an alert, a test that runs, and a training run."""
    yesterday = (datetime.now(UTC) - START).days - 1
    await tracker.record_many([noisy_evaluation(OLD, yesterday - 1 - day) for day in range(BASELINE_DAYS)])
    await tracker.judge(OLD)
    stored = await record(tracker, make_evaluation(OLD, day=yesterday, metrics={"rmse": 30.0, "r_squared": -15.2}))
    assert stored.alert is not None
    await record(tracker, noisy_evaluation(NEW, yesterday))
    trigger = await tracker.trigger_retraining(model_type=MODEL_TYPE, machine_id=MACHINE, reason="by hand")
    test = await tracker.start_ab_test(
        name="old or new", model_a=OLD, model_b=NEW, duration=timedelta(days=30), metric="mse", direction="lower"
    )
    return World(alert_id=stored.alert.id, run_id=trigger.run.id, test_id=test.id)


def valid_request(operation: Operation, world: World) -> dict[str, Any]:
    """What httpx needs for a request that the route takes, with every parameter given that may stand beside others."""
    path = operation.path.format(test_id=world.test_id, alert_id=world.alert_id, run_id=world.run_id)
    parameters = {name: value for name, value in VALID.items() if name in operation.parameters}
    if "until" in parameters:  # a snooze has one end
        del parameters["hours"]
    body = {"json": OBSERVATIONS if "observations" in path else METRICS} if operation.has_body else {}
    return {"method": operation.method, "url": path, "params": parameters, **body}


# A valid value of every parameter of any route; a cursor is given out.
VALID: Mapping[str, str] = {
    "model_id": str(OLD.model_id),
    "model_type": MODEL_TYPE,
    "machine_id": str(MACHINE),
    "evaluation_start": "2024-11-03T00:00:00Z",
    "evaluation_end": "2024-11-04T00:00:00Z",
    "model_version": "1",
    "sample_count": "1008",
    "data_completeness": "0.98",
    "evaluation_id": str(make_id("evaluation")),
    "by": "ada",
    "days": "36525",
    "metric": "mse",
    "direction": "lower",
    "planned_n": "5000",
    "margin": "0.5",
    "batch_id": str(make_id("batch")),
    "trigger_type": "drift_detected",
    "reason": "by hand",
    "limit": "100",
    "test_name": "again",
    "model_a_id": str(OLD.model_id),
    "model_b_id": str(NEW.model_id),
    "duration_hours": "24",
    "traffic_split": "0.5",
    "model_a_version": "1",
    "model_b_version": "2",
    "severity": "critical",
    "resolution": "retrained",
    "notes": "new belt",
    "include_snoozed": "false",
    "hours": "24",
    "until": "2999-01-01T00:00:00Z",
    "enabled": "false",
}


async def send(client: httpx.AsyncClient, request: Mapping[str, Any], **changes: Any) -> httpx.Response:
    """The request with other parameters; those that are None are left out."""
    parameters = {name: value for name, value in (request["params"] | changes).items() if value is not None}
    return await client.request(**{**request, "params": parameters})
