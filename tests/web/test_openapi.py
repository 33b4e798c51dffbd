"""The OpenAPI document: valid, in names of our own, and kept by every answer."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from tests.factories import START
from tests.faults.states import BASELINE_DAYS
from tests.web.calls import MACHINE, MODEL_TYPE, NEW, OLD, PREFIX, document, operations

from model_perf import ModelPerformanceTracker
from model_perf.web import create_router

SLOT = {"model_type": MODEL_TYPE, "machine_id": str(MACHINE)}
DAY = timedelta(days=1)


class Keeper:
    """Sends requests and holds each answer to what the document says of its route and status."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._document = _without_further_members(document())
        self.seen: Counter[tuple[str, str, int]] = Counter()

    async def send(self, method: str, path: str, url: str | None = None, **request: Any) -> httpx.Response:
        """Request the route *path*, at *url* where an id has to be filled in."""
        response = await self._client.request(method, url or path, **request)
        self.seen[method, path, response.status_code] += 1
        self._check(self._document["paths"][path][method.lower()], response)
        return response

    def _check(self, spec: Mapping[str, Any], response: httpx.Response) -> None:
        answers = spec["responses"]
        assert str(response.status_code) in answers, (spec["operationId"], response.status_code, response.text)
        content = answers[str(response.status_code)]["content"]
        assert response.headers["content-type"] in content, spec["operationId"]
        schema = content[response.headers["content-type"]]["schema"] | {"components": self._document["components"]}
        validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(_read_strictly(response))]
        assert errors == [], (spec["operationId"], response.status_code)


def test_the_document_is_valid() -> None:
    """openapi-spec-validator has nothing to say."""
    validate(document())


def test_names_are_our_own() -> None:
    """Schemas are ModelPerf..., operations model_perf_...: those of the host and of its clients stay what they are."""
    described = document()
    schemas = described["components"]["schemas"]
    assert [name for name in schemas if not name.startswith("ModelPerf")] == []
    ids = [operation.id for operation in operations()]
    assert [each for each in ids if not each.startswith("model_perf_")] == []
    assert len(set(ids)) == len(ids) == 28
    assert not any(path.endswith("/") for path in described["paths"])


def test_two_routers_in_one_host_do_not_clash() -> None:
    """Included twice, with routes of the host between, every operation keeps an id of its own."""
    app = FastAPI()

    @app.get("/metrics/record")
    async def record_metrics() -> dict[str, int]:
        return {}

    alone = app.openapi()["paths"]["/metrics/record"]
    app.openapi_schema = None
    for prefix in ("/one", "/two"):
        tracker = ModelPerformanceTracker(lambda: app.state.pool)
        app.include_router(create_router(tracker, allow_anonymous=True), prefix=prefix)
    described = app.openapi()
    validate(described)
    ids = [spec["operationId"] for item in described["paths"].values() for spec in item.values()]
    assert len(set(ids)) == len(ids) == 57
    assert described["paths"]["/metrics/record"] == alone


def test_every_parameter_of_text_has_a_limit() -> None:
    """Whoever makes a form from the document knows how much fits."""
    for operation in operations():
        for name, schema in operation.parameters.items():
            if schema["type"] == "string" and not {"format", "enum"} & schema.keys():
                assert "maxLength" in schema, (operation.id, name)


def test_every_route_documents_its_problems() -> None:
    """422 and 503 everywhere, as problem details; what has an id in its path may be unknown."""
    for path, item in document()["paths"].items():
        for spec in item.values():
            assert {"200", "422", "503"} <= spec["responses"].keys()
            assert ("404" in spec["responses"]) >= ("{" in path)
            for status, answer in spec["responses"].items():
                assert list(answer["content"]) == [
                    "application/json" if status == "200" else "application/problem+json"
                ]


async def test_every_answer_of_a_session_keeps_the_document(
    client: httpx.AsyncClient, tracker: ModelPerformanceTracker
) -> None:
    """All routes, before and after there is something to find, with their errors: documented status, type, schema."""
    keeper = Keeper(client)
    await _read_all(keeper)
    await _record(keeper)
    await _retrain(keeper, tracker)
    await _compare(keeper)
    await _work_on_alerts(keeper)
    await _read_all(keeper)
    await _ask_for_what_is_not_there(keeper)
    told = {
        (method, path): {s for m, p, s in keeper.seen if (m, p) == (method, path)} for method, path, _ in keeper.seen
    }
    assert told == {
        (method.upper(), path): {int(status) for status in spec["responses"]} - {503}
        for path, item in document()["paths"].items()
        for method, spec in item.items()
    }


@pytest.mark.parametrize("source", ["missing", "not migrated"])
async def test_a_503_keeps_the_document(tracker: ModelPerformanceTracker, source: str) -> None:
    """Without a pool, and without tables, every answer is one that is documented."""
    app = FastAPI()
    if source == "missing":
        broken = ModelPerformanceTracker(lambda: app.state.pool)
    else:
        broken = ModelPerformanceTracker(tracker.pool, schema=f"no_{tracker.schema}")
    app.include_router(create_router(broken, allow_anonymous=True), prefix=PREFIX)
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://host{PREFIX}") as client:
        keeper = Keeper(client)
        await _read_all(keeper)
        await keeper.send("POST", "/retrain/trigger", params=SLOT)
        await _record_day(keeper, 0, {"rmse": 1.0})
    assert {status for _, _, status in keeper.seen} == {503, 422}


async def _record(keeper: Keeper) -> None:
    for day in range(BASELINE_DAYS):
        await _record_day(keeper, day, {"rmse": 10 + day % 7 / 10, "r_squared": -15.2, "own": 0})
    worse = await _record_day(keeper, BASELINE_DAYS, {"rmse": 30}, evaluation_id=str(uuid4()))
    assert worse.json()["verdict"] == "critical"
    await _record_day(keeper, BASELINE_DAYS + 1, {"rmse": 10.0}, sample_count="0")
    await _record_day(keeper, 0, {"rmse": 1.0}, model_type="other")  # 409
    await _record_day(keeper, 0, {"rmse": -1.0})  # 422
    record: dict[str, Any] = {"params": _window(0)}
    await keeper.send("POST", "/metrics/record", **record, content=b" " * 1_000_000)
    await keeper.send("POST", "/metrics/record", **record, content=b"1", headers={"content-type": "text/csv"})
    await keeper.send("POST", "/drift/check", params=SLOT | {"model_id": str(OLD.model_id)})
    await keeper.send("POST", "/drift/check", params=SLOT | {"model_id": str(uuid4()), "model_version": "1"})
    await keeper.send("POST", "/drift/check", params=SLOT | {"model_id": str(OLD.model_id), "model_type": "other"})


async def _retrain(keeper: Keeper, tracker: ModelPerformanceTracker) -> None:
    await keeper.send("POST", "/retrain/trigger", params=SLOT)
    again = await keeper.send("POST", "/retrain/trigger", params=SLOT | {"trigger_type": "drift_detected"})
    run_id = again.json()["training_job_id"]
    await tracker.training.claim("worker", lease=DAY)
    await tracker.training.complete(
        run_id, 1, hyperparameters={"depth": [1, None]}, feature_names=["a"], sample_count=0
    )
    await keeper.send("GET", "/training/{run_id}", f"/training/{run_id}")


async def _compare(keeper: Keeper) -> None:
    await _record_day(keeper, 0, {"rmse": 9.0}, model_id=str(NEW.model_id), model_version="2")
    arms = {"model_a_id": str(OLD.model_id), "model_b_id": str(NEW.model_id)}
    started = await keeper.send("POST", "/ab-test/start", params=SLOT | arms | {"test_name": "first"})
    await keeper.send("POST", "/ab-test/start", params=SLOT | arms | {"test_name": "second"})  # 409
    await _observe(keeper, started.json()["test_id"])
    for _ in range(2):
        for method, word in (("GET", "results"), ("POST", "conclude")):
            url = f"/ab-test/{started.json()['test_id']}/{word}"
            await keeper.send(method, f"/ab-test/{{test_id}}/{word}", url)
    await keeper.send("GET", "/views/ab-tests/{test_id}", f"/views/ab-tests/{started.json()['test_id']}")


async def _observe(keeper: Keeper, test_id: str) -> None:
    """A test before this one, on observations: told, looked at, decided, and too late."""
    await keeper.send("POST", "/ab-test/{test_id}/conclude", f"/ab-test/{test_id}/conclude")
    arms = {"model_a_id": str(OLD.model_id), "model_b_id": str(NEW.model_id)}
    design = {"test_name": "observed", "metric": "own", "direction": "lower", "planned_n": "1000", "margin": "0.1"}
    started = await keeper.send("POST", "/ab-test/start", params=SLOT | arms | design)
    path, url = "/ab-test/{test_id}/observations", f"/ab-test/{started.json()['test_id']}/observations"
    for n in (30, 150):
        values = np.random.default_rng(n).normal(size=2 * n) + np.tile([0.0, -2.0], n)
        told = {"arms": ["a", "b"] * n, "values": values.tolist()}
        assert (await keeper.send("POST", path, url, json=told)).json()["is_new"]
        found = await keeper.send("GET", "/ab-test/{test_id}/results", url.replace("observations", "results"))
    assert found.json()["decision"] == "superior_b"
    assert len(found.json()["looks"]) == 2
    await keeper.send("POST", path, url, json=told)  # 409
    await keeper.send("POST", path, url, content=b" " * 1_000_000)
    await keeper.send("POST", path, url, content=b"1", headers={"content-type": "text/csv"})


async def _work_on_alerts(keeper: Keeper) -> None:
    [alert] = (await keeper.send("GET", "/alerts/active")).json()
    by = {"by": "ada", "notes": "a new belt"}
    for word in ("acknowledge", "acknowledge", "snooze", "resolve", "resolve", "acknowledge", "snooze"):
        given = by | ({"hours": "1"} if word == "snooze" else {})
        await keeper.send("POST", f"/alerts/{{alert_id}}/{word}", f"/alerts/{alert['id']}/{word}", params=given)
    events = await keeper.send("GET", "/alerts/{alert_id}/events", f"/alerts/{alert['id']}/events")
    assert [each["event"] for each in events.json()] == ["opened", "acknowledged", "snoozed", "resolved"]
    for enabled in ("false", "true"):
        await keeper.send("POST", "/automation/set", params=SLOT | {"enabled": enabled, "by": "ada"})
        await keeper.send("GET", "/automation", params=SLOT)


async def _read_all(keeper: Keeper) -> None:
    """The lists whole and by pages, the slot, and each with a parameter that is wrong."""
    views = ("/views/alerts", "/views/fleet", "/views/ab-tests", "/views/training")
    for path in ("/training", "/ab-test", "/alerts/active", "/fleet", *views):
        for parameters in ({}, {"limit": "1"}, {"limit": "0"}, {"cursor": "x"}, SLOT):
            await keeper.send("GET", path, params=parameters)
    days = {"days": "36525"}
    for parameters in (
        SLOT | days,
        SLOT | days | {"metric": "own"},
        SLOT | {"days": "0"},
        {**SLOT, "model_type": "none"},
    ):
        await keeper.send("GET", "/metrics/trend", params=parameters)
        await keeper.send("GET", "/summary", params=parameters)
        await keeper.send("GET", "/automation", params=parameters)
        await keeper.send("GET", "/views/model", params=parameters)
        await keeper.send("GET", "/views/drift", params=parameters)
    await keeper.send("GET", "/health")


async def _ask_for_what_is_not_there(keeper: Keeper) -> None:
    for operation in operations():
        if operation.path_parameters:
            for value in (str(uuid4()), "x"):
                url = operation.path.format(**dict.fromkeys(operation.path_parameters, value))
                body = {"json": {"arms": ["a"], "values": [0.1]}} if operation.has_body else {}
                await keeper.send(operation.method, operation.path, url, **body)
        else:
            await keeper.send(operation.method, operation.path, params={"by": ["a", "b"]})


async def _record_day(keeper: Keeper, day: int, metrics: Mapping[str, float], **changes: str) -> httpx.Response:
    return await keeper.send("POST", "/metrics/record", params=_window(day) | changes, json=metrics)


def _window(day: int) -> dict[str, str]:
    start = START + day * DAY
    times = {"evaluation_start": start.isoformat(), "evaluation_end": (start + DAY).isoformat()}
    return SLOT | times | {"model_id": str(OLD.model_id), "model_version": "1", "sample_count": "100"}


def _without_further_members(described: Mapping[str, Any]) -> dict[str, Any]:
    """The document, with answers that may have no members but those it names; problems may."""
    strict = copy.deepcopy(dict(described))
    for schema in strict["components"]["schemas"].values():
        assert set(schema["required"]) == schema["properties"].keys(), "every key is always there"
        schema["additionalProperties"] = False
    return strict


def _read_strictly(response: httpx.Response) -> Any:
    """JSON as it is defined: no NaN, no Infinity, no key twice."""
    return json.loads(response.content, parse_constant=pytest.fail, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)
