"""What the contract's clients read: keys and types of the seven endpoints, order, pages, paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import Depends, FastAPI, Query
from tests.factories import make_ref
from tests.web.calls import MACHINE, METRICS, MODEL_TYPE, NEW, OLD, VALID, World, make_world, operations, valid_request

from model_perf import ModelPerformanceTracker
from model_perf.web import create_router

SLOT = {"model_type": MODEL_TYPE, "machine_id": str(MACHINE)}
NUMBER, INTEGER, BOOLEAN, TEXT, OBJECT = "number", "integer", "boolean", "text", "object"
ID, TIME = "id", "time"
OR_NULL = " or null"

RECORDED = {"metric_id": ID, "drift_detected": BOOLEAN, "drift_score": NUMBER, "recommendation": TEXT} | {
    "verdict": TEXT,
    "alert_id": ID + OR_NULL,
    "training_job_id": ID + OR_NULL,
}
POINT = {"id": ID, "model_id": ID, "model_type": TEXT, "machine_id": ID, "model_version": INTEGER} | {
    "evaluation_date": TIME,
    **dict.fromkeys(("r_squared", "rmse", "mae", "mape", "precision", "recall", "f1_score"), NUMBER + OR_NULL),
    "drift_detected": BOOLEAN,
    "drift_score": NUMBER,
    "sample_count": INTEGER,
    "data_completeness": NUMBER + OR_NULL,
}
TREND = {"model_type": TEXT, "machine_id": ID, "machine_name": TEXT, "trend_direction": TEXT} | dict.fromkeys(
    ("degradation_rate", "slope_per_day", "pvalue", "days_to_threshold"), NUMBER + OR_NULL
)
DRIFT = {"drift_detected": BOOLEAN, "drift_score": NUMBER, "drift_type": TEXT, "recommendation": TEXT} | {
    "threshold": NUMBER,
    "current_performance": OBJECT,
    "baseline_performance": OBJECT,
    "verdict": TEXT,
}
RETRAINING = {"triggered": BOOLEAN, "trigger_type": TEXT, "reason": TEXT, "training_job_id": ID} | {
    "estimated_completion": TIME + OR_NULL
}
STARTED = {"test_id": ID, "status": TEXT, "test_end": TIME, "message": TEXT}
RESULTS = {"test_id": ID, "test_name": TEXT, "model_a_version": INTEGER, "model_b_version": INTEGER, "winner": TEXT} | {
    "confidence": NUMBER,
    "model_a_metrics": OBJECT,
    "model_b_metrics": OBJECT,
    "recommendation": TEXT,
    "decision": TEXT,
    "test_status": TEXT,
}
ALERT = {"id": ID, "alert_type": TEXT, "severity": TEXT, "model_type": TEXT, "machine_id": ID, "machine_name": TEXT} | {
    "alert_message": TEXT,
    "alert_timestamp": TIME,
    "is_resolved": BOOLEAN,
    "auto_action_taken": BOOLEAN,
    "occurrences": INTEGER,
}


@pytest.fixture
async def world(tracker: ModelPerformanceTracker) -> World:
    """A model of two versions, an alert, a test and a training run."""
    return await make_world(tracker)


def assert_has(answer: Mapping[str, Any], keys: Mapping[str, str]) -> None:
    """Every key is there and of its type: a number is no text, a boolean no number, a time has its zone."""
    assert {key: _fits(answer[key], kind) for key, kind in keys.items()} == dict.fromkeys(keys, True)


def _fits(value: object, kind: str) -> bool:
    if kind.endswith(OR_NULL):
        return value is None or _fits(value, kind.removesuffix(OR_NULL))
    if kind in (ID, TIME):
        parse = UUID if kind == ID else datetime.fromisoformat
        return isinstance(value, str) and getattr(parse(value), "tzinfo", True) is not None
    types = {NUMBER: (int, float), INTEGER: (int,), BOOLEAN: (bool,), TEXT: (str,), OBJECT: (dict,)}[kind]
    return type(value) in types


async def test_the_seven_endpoints_have_their_keys(client: httpx.AsyncClient, world: World) -> None:
    """Clients and page of the host go on: all names of the contract, with types that do not change."""
    requests = {operation.path: valid_request(operation, world) for operation in operations()}
    assert_has((await client.request(**requests["/metrics/record"])).json(), RECORDED)
    assert_has((await client.request(**requests["/drift/check"])).json(), DRIFT)
    assert_has((await client.request(**requests["/retrain/trigger"])).json(), RETRAINING)
    assert_has((await client.request(**requests["/ab-test/{test_id}/results"])).json(), RESULTS)
    [alert] = (await client.get("/alerts/active")).json()
    assert_has(alert, ALERT)
    trend = (await client.request(**requests["/metrics/trend"])).json()
    assert_has(trend, TREND)
    for point in trend["metrics"]:
        assert_has(point, POINT)
    await client.request(**requests["/ab-test/{test_id}/conclude"])
    assert_has((await client.request(**requests["/ab-test/start"])).json(), STARTED)


async def test_unknown_things_keep_their_type(client: httpx.AsyncClient) -> None:
    """Without a count, a score or a baseline the same keys are there, with a flag that says so."""
    [record] = [operation for operation in operations() if operation.path == "/metrics/record"]
    names = record.parameters.keys() - {"sample_count", "data_completeness"}
    query = {name: VALID[name] for name in names} | {"model_version": "3"}
    recorded = (await client.post("/metrics/record", params=query, json=METRICS)).json()
    assert_has(recorded, RECORDED)
    assert (recorded["drift_detected"], recorded["drift_score"], recorded["drift_score_known"]) == (False, 0.0, False)
    [point] = (await client.get("/metrics/trend", params=SLOT | {"days": "36525"})).json()["metrics"]
    assert_has(point, POINT)
    assert (point["sample_count"], point["sample_count_known"], point["mae"]) == (0, False, None)
    drift = (await client.post("/drift/check", params=SLOT | {"model_id": VALID["model_id"]})).json()
    assert_has(drift, DRIFT)
    assert (drift["verdict"], drift["drift_score_known"], drift["model_version"]) == ("insufficient_data", False, 3)


async def test_a_trend_ascends(client: httpx.AsyncClient, world: World) -> None:
    """The oldest evaluation comes first; a period without any is a 404."""
    points = (await client.get("/metrics/trend", params=SLOT | {"days": "36525"})).json()["metrics"]
    dates = [datetime.fromisoformat(point["evaluation_date"]) for point in points]
    assert dates == sorted(dates)
    assert len(dates) > 40
    assert (await client.get("/metrics/trend", params=SLOT | {"model_type": "none"})).status_code == 404


async def test_alerts_are_ordered_by_rank_and_walked_by_links(
    client: httpx.AsyncClient, tracker: ModelPerformanceTracker
) -> None:
    """Critical before warning before info, then the newest; the Link headers lead through all of them, once each."""
    for i in range(24):
        severity = ("warning", "critical", "info")[i % 3]
        await tracker.alerts.open_or_repeat(make_ref(), alert_type=f"type {i}", severity=severity, message="look")
    await tracker.alerts.open_or_repeat(make_ref(machine="x"), alert_type="other", severity="info", message="look")
    alerts = await walk(client, "/alerts/active", SLOT | {"limit": "5"})
    whole = (await client.get("/alerts/active", params=SLOT)).json()
    assert alerts == whole
    assert len({alert["id"] for alert in alerts}) == 24
    assert [alert["severity"] for alert in alerts] == ["critical"] * 8 + ["warning"] * 8 + ["info"] * 8
    times = [alert["alert_timestamp"] for alert in alerts if alert["severity"] == "critical"]
    assert times == sorted(times, reverse=True)
    assert len(await walk(client, "/alerts/active", {"severity": "info", "limit": "1"})) == 9


async def test_the_other_lists_are_walked_by_links(client: httpx.AsyncClient, tracker: ModelPerformanceTracker) -> None:
    """Runs, tests and the fleet come whole, one by one; the last page leads nowhere."""
    for i in range(5):
        old, new = (make_ref(f"model {i}", version=version, machine=f"press {i}") for version in (1, 2))
        await tracker.register_model(old.model_type, machine_id=old.machine_id, model_id=old.model_id, model_version=1)
        await tracker.trigger_retraining(model_type=old.model_type, machine_id=old.machine_id)
        await tracker.start_ab_test(name="n", model_a=old, model_b=new, metric="rmse")
    for path, key in (("/training", "id"), ("/ab-test", "id"), ("/fleet", "machine_id")):
        rows = await walk(client, path, {"limit": "1"})
        assert rows == (await client.get(path)).json()
        assert len({row[key] for row in rows}) == 5


async def test_both_spellings_of_a_path_answer(client: httpx.AsyncClient, world: World) -> None:
    """With and without a slash at the end the route itself answers; nothing is redirected."""
    for operation in operations():
        request = valid_request(operation, world)
        with_slash = await client.request(**request | {"url": f"{request['url']}/"})
        plain = await client.request(**request)
        assert with_slash.status_code in (200, 409)
        assert plain.status_code in (200, 409)
        assert with_slash.headers["cache-control"] == plain.headers["cache-control"] == "no-store"


async def test_a_second_trigger_is_told_of_the_first(client: httpx.AsyncClient) -> None:
    """Already open: 200, not triggered, the reason says so, and the job is the same."""
    first = (await client.post("/retrain/trigger", params=SLOT | {"reason": "first"})).json()
    response = await client.post("/retrain/trigger", params=SLOT | {"reason": "second"})
    second = response.json()
    assert (response.status_code, second["triggered"]) == (200, False)
    assert "already in progress" in second["reason"]
    assert second["training_job_id"] == first["training_job_id"]


async def test_a_repeat_with_other_values_is_a_conflict(client: httpx.AsyncClient) -> None:
    """The same evaluation_id writes once; with other metrics it is a 409, as is a model under another type."""
    [record] = [operation for operation in operations() if operation.path == "/metrics/record"]
    query = {name: value for name, value in VALID.items() if name in record.parameters}
    answers = [(await client.post("/metrics/record", params=query, json=METRICS)).json() for _ in range(2)]
    assert [answer["is_new"] for answer in answers] == [True, False]
    assert answers[0]["metric_id"] == answers[1]["metric_id"] == query["evaluation_id"]
    assert (await client.post("/metrics/record", params=query, json=METRICS | {"rmse": 11})).status_code == 409
    other = query | {"model_type": "other"}
    assert (await client.post("/metrics/record", params=other, json=METRICS)).status_code == 409
    arms = {"model_a_id": str(OLD.model_id), "model_b_id": str(NEW.model_id), "model_b_version": "2"}
    start = SLOT | arms | {"model_type": "other", "test_name": "n"}
    assert (await client.post("/ab-test/start", params=start)).status_code == 409


async def walk(client: httpx.AsyncClient, path: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    """All rows of a list, page by page as the relative addresses of the Link headers say."""
    response = await client.get(path, params=parameters)
    rows: list[dict[str, Any]] = response.json()
    while link := response.headers.get("link"):
        assert len(response.json()) == int(parameters["limit"])
        found = re.fullmatch(r'<(\?[!-~]+)>; rel="next"', link)
        assert found is not None
        response = await client.get(response.request.url.join(found[1]))
        rows += response.json()
    return rows


async def test_what_a_hosts_dependency_takes_may_be_repeated(tracker: ModelPerformanceTracker) -> None:
    """Only our own parameters are taken once: of the host's we know nothing."""
    seen: list[list[str]] = []

    async def take_tags(tag: Annotated[list[str], Query()]) -> None:
        seen.append(tag)

    app = FastAPI()
    app.include_router(create_router(tracker, dependencies=[Depends(take_tags)]))
    for name in ("one", "two"):
        await tracker.register_model("baseline", machine=name)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host") as client:
        answer = await client.get("/fleet?tag=a&tag=b&limit=1")
        address = re.fullmatch(r'<(\S+)>; rel="next"', answer.headers["link"])
        assert address is not None
        rest = await client.get(f"/fleet{address[1]}")
    assert (len(answer.json()), len(rest.json())) == (1, 1)
    assert seen == [["a", "b"], ["a", "b"]]
