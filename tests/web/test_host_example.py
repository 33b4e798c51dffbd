"""The host application of docs/how-to/fastapi.md, over HTTP and on a real database."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import Depends, FastAPI
from tests.web.host import (
    API,
    MACHINE,
    MODEL,
    OPERATOR,
    READER,
    SLOT,
    VERSION,
    client_of,
    host_database,
    load_host,
    read_host,
    running,
)

from model_perf import ModelPerformanceTracker
from model_perf.web import create_router

END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
EVALUATION = {
    **SLOT,
    "model_id": str(MODEL),
    "evaluation_start": (END - timedelta(days=1)).isoformat(),
    "evaluation_end": END.isoformat(),
    "sample_count": "108",
}
METRICS = {"rmse": 12.1}
_BODIES = {"record": METRICS, "observations": {"arms": ["a"], "values": [0.1]}}
LATE = 2.0
"""Seconds after which an answer of the directory is not used."""

# A value for each parameter that some route asks for.
_VALUES = {
    **EVALUATION,
    "model_a_id": str(MODEL),
    "model_b_id": str(UUID(int=2)),
    "test_name": "old or new",
    "model_version": "1",
    "model_a_version": "1",
    "model_b_version": "2",
    "enabled": "true",
}


def requests(app: FastAPI) -> list[tuple[str, str, dict[str, str]]]:
    """Method, path and parameters of every route of ours, with and without a slash at the end."""
    found = []
    for path, methods in app.openapi()["paths"].items():
        if path.startswith(API):
            for method, operation in methods.items():
                names = {each["name"] for each in operation["parameters"]} if "parameters" in operation else set()
                given = {name: value for name, value in _VALUES.items() if name in names}
                concrete = re.sub(r"\{\w+\}", str(UUID(int=1)), path)
                found += [(method.upper(), concrete, given), (method.upper(), f"{concrete}/", given)]
    return found


NOT_STARTED = load_host("postgresql://nowhere")
REQUESTS = requests(NOT_STARTED)
ROUTES = pytest.mark.parametrize(("method", "path", "params"), REQUESTS, ids=[f"{m} {p}" for m, p, _ in REQUESTS])


async def ask(client: httpx.AsyncClient, method: str, path: str, params: dict[str, str]) -> httpx.Response:
    word = path.rstrip("/").rpartition("/")[2]
    return await client.request(method, path, params=params, json=_BODIES.get(word))


@pytest.fixture
async def host_dsn(server_dsn: str) -> AsyncIterator[str]:
    async with host_database(server_dsn) as dsn:
        yield dsn


@pytest.fixture
async def host(host_dsn: str) -> AsyncIterator[FastAPI]:
    """The host, started."""
    async with running(load_host(host_dsn)) as app:
        yield app


@pytest.fixture
async def client(host: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who may write."""
    async with client_of(host, OPERATOR) as client:
        yield client


async def record(client: httpx.AsyncClient, **further: str) -> dict[str, Any]:
    answer = await client.post(f"{API}/metrics/record", params=EVALUATION | further, json=METRICS)
    assert answer.status_code == 200, answer.text
    recorded: dict[str, Any] = answer.json()
    return recorded


def test_the_page_begins_with_the_host() -> None:
    """The first fence that is shown on the page is the host, of about 60 lines, with its three lines."""
    lines = read_host().splitlines()
    start = lines.index("# The three lines.")
    assert 50 <= len(lines) <= 80
    assert [line.split("(")[0] for line in lines[start + 1 : start + 4]] == [
        "tracker = ModelPerformanceTracker",
        'guards = {"dependencies": [Depends',
        "app.include_router",
    ]


def test_every_route_is_asked() -> None:
    """The requests of these tests reach all routes, each by two addresses."""
    assert len(REQUESTS) == 2 * 28


@ROUTES
async def test_before_the_pool_exists_a_route_says_how_to_mend_it(
    method: str, path: str, params: dict[str, str]
) -> None:
    """Before the host has started, every route answers 503 and names the lambda and the lifespan."""
    async with client_of(NOT_STARTED, OPERATOR) as client:
        answer = await ask(client, method, path, params)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["code"] == "storage"
    assert "ModelPerformanceTracker(lambda: app.state.pool)" in answer.json()["detail"]
    assert "lifespan" in answer.json()["detail"]


async def test_after_the_start_every_route_works(client: httpx.AsyncClient) -> None:
    """After the start every route answers 200, or 404 for what is not there; none redirects."""
    statuses = {}
    for method, path, params in [REQUESTS[0], *REQUESTS]:
        statuses[f"{method} {path}"] = (await ask(client, method, path, params)).status_code
    for name, status in statuses.items():
        assert status == (404 if str(UUID(int=1)) in name else 409 if "ab-test/start/" in name else 200), name


@ROUTES
async def test_without_a_token_nobody_is_let_in(method: str, path: str, params: dict[str, str]) -> None:
    """Without a token every route answers 401, in the host's own words, whether it has started or not."""
    async with client_of(NOT_STARTED) as client:
        answer = await ask(client, method, path, params)
    assert (answer.status_code, answer.json()) == (401, {"detail": "log in first"})


@ROUTES
async def test_a_reader_may_not_write(method: str, path: str, params: dict[str, str]) -> None:
    """Who may read only is refused by every POST, and by no GET."""
    async with client_of(NOT_STARTED, READER) as client:
        answer = await ask(client, method, path, params)
    assert answer.status_code == (403 if method == "POST" else 503)


async def test_who_is_logged_in_is_kept(client: httpx.AsyncClient, host: FastAPI) -> None:
    """What somebody did is kept with the name that the host knows, and nobody may give another one."""
    await record(client)
    job = (await client.post(f"{API}/retrain/trigger", params=SLOT)).json()
    run = (await client.get(f"{API}/training/{job['training_job_id']}")).json()
    other = await client.post(f"{API}/retrain/trigger", params={**SLOT, "by": "ana"})
    stored = await host.state.pool.fetchval("SELECT created_by FROM model_perf.model_performance_metrics")
    assert (run["triggered_by"], stored, other.status_code) == ("bo", "bo", 422)


async def test_nobody_has_no_name(client: httpx.AsyncClient, host: FastAPI) -> None:
    """Where the host's dependency says None, nobody is logged in: nothing is kept, unless `by` says who."""
    anonymous = create_router(host.state.tracker, allow_anonymous=True, user=lambda: None)
    host.include_router(anonymous, prefix="/anonymous")
    for machine, by in ((1, {}), (2, {"by": "cy"})):
        params = {**SLOT, "machine_id": str(UUID(int=machine)), **by}
        assert (await client.post("/anonymous/retrain/trigger", params=params)).status_code == 200
    runs = (await client.get(f"{API}/training")).json()
    assert {run["machine_id"]: run["triggered_by"] for run in runs} == {str(UUID(int=1)): None, str(UUID(int=2)): "cy"}


async def test_an_answer_has_what_the_directory_knows(client: httpx.AsyncClient) -> None:
    """The version comes from the host's directory, the completeness from its expected samples, the name from it."""
    recorded = await record(client)
    trend = (await client.get(f"{API}/metrics/trend", params=SLOT)).json()
    assert (recorded["model_version"], recorded["data_completeness"]) == (VERSION, 108 / 144)
    assert (trend["machine_name"], trend["metrics"][0]["data_completeness"]) == ("press 7", 108 / 144)


async def test_more_samples_than_expected_are_complete(client: httpx.AsyncClient) -> None:
    """Completeness is 1 at most."""
    assert (await record(client, sample_count="1000"))["data_completeness"] == 1.0


async def test_without_a_version_anywhere_the_parameter_is_named(client: httpx.AsyncClient) -> None:
    """A model that neither the directory nor we know is a 422 that asks for model_version."""
    params = EVALUATION | {"model_id": str(UUID(int=9))}
    answer = await client.post(f"{API}/metrics/record", params=params, json=METRICS)
    assert (answer.status_code, answer.json()["parameters"]) == (422, ["model_version"])


async def test_a_check_under_another_model_type_is_refused(client: httpx.AsyncClient) -> None:
    """A known model that is asked for with another model type is a 409, as it is when it is recorded."""
    await record(client)
    params = {**SLOT, "model_id": str(MODEL), "model_type": "forecast"}
    answer = await client.post(f"{API}/drift/check", params=params)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_a_directory_that_fails_costs_its_answers_only(
    client: httpx.AsyncClient, host: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the host's tables are gone, evaluations are stored with the known version, and names are ids."""
    await record(client)
    await host.state.pool.execute("DROP TABLE machines, deployed_models")
    with caplog.at_level(logging.WARNING, "model_perf.directory"):
        again = await record(client)
        trend = (await client.get(f"{API}/metrics/trend", params=SLOT)).json()
    assert (again["model_version"], trend["machine_name"]) == (VERSION, str(MACHINE))
    assert {entry.args[0] for entry in caplog.records if isinstance(entry.args, tuple)} == {
        "model_version",
        "machine_names",
    }


async def test_a_slow_directory_is_not_waited_for(client: httpx.AsyncClient, host: FastAPI, host_dsn: str) -> None:
    """Where the host's tables are locked, an answer comes after 2 s, without what the directory knows."""
    await record(client)
    locker = await asyncpg.connect(host_dsn)
    async with locker.transaction():
        await locker.execute("LOCK TABLE machines, deployed_models IN ACCESS EXCLUSIVE MODE")
        started = datetime.now(UTC)
        trend = (await client.get(f"{API}/metrics/trend", params=SLOT)).json()
        again = await record(client)
        took = (datetime.now(UTC) - started).total_seconds()
    await locker.close()
    assert (again["model_version"], trend["machine_name"]) == (VERSION, str(MACHINE))
    assert 2 * LATE <= took < 2 * LATE + 2.0
    assert (await client.get(f"{API}/metrics/trend", params=SLOT)).json()["machine_name"] == "press 7"


async def test_a_machine_without_a_name_costs_its_own_name_only(client: httpx.AsyncClient, host: FastAPI) -> None:
    """Where the host has a machine whose name is NULL, the names of the others are still shown."""
    nameless = UUID(int=8)
    await host.state.pool.execute("ALTER TABLE machines ALTER name DROP NOT NULL")
    await host.state.pool.execute("INSERT INTO machines VALUES ($1, NULL, 'press')", nameless)
    await record(client)
    await record(client, machine_id=str(nameless))
    fleet = (await client.get(f"{API}/fleet")).json()
    assert {row["machine_id"]: row["machine_name"] for row in fleet} == {
        str(MACHINE): "press 7",
        str(nameless): str(nameless),
    }


async def test_without_a_directory_unknown_stays_unknown(client: httpx.AsyncClient, host: FastAPI) -> None:
    """Without a directory the version must be given once, the completeness is null and the name is the id."""
    bare = create_router(ModelPerformanceTracker(lambda: host.state.pool), allow_anonymous=True)
    host.include_router(bare, prefix="/bare")
    first = await client.post("/bare/metrics/record", params=EVALUATION, json=METRICS)
    given = await client.post("/bare/metrics/record", params={**EVALUATION, "model_version": 3}, json=METRICS)
    trend = (await client.get("/bare/metrics/trend", params=SLOT)).json()
    assert (first.status_code, first.json()["parameters"]) == (422, ["model_version"])
    assert (given.status_code, given.json()["data_completeness"]) == (200, None)
    assert trend["machine_name"] == str(MACHINE)


def without_ours(spec: dict[str, Any]) -> dict[str, Any]:
    paths = {path: item for path, item in spec["paths"].items() if not path.startswith(API)}
    schemas = {name: item for name, item in spec["components"]["schemas"].items() if not name.startswith("ModelPerf")}
    return {**spec, "paths": paths, "components": {**spec["components"], "schemas": schemas}}


def test_the_hosts_openapi_is_unchanged() -> None:
    """Apart from our paths and our components, the host's OpenAPI document is the same with and without the router."""
    source = re.sub(r"^app\.include_router\(.*$", "", read_host(), flags=re.MULTILINE)
    alone = load_host("postgresql://nowhere", source).openapi()
    mounted = NOT_STARTED.openapi()
    ours = set(mounted["paths"]) - set(alone["paths"])
    assert (len(ours), all(path.startswith(API) for path in ours)) == (28, True)
    validation_errors = {"HTTPValidationError", "ValidationError"} - set(alone["components"]["schemas"])
    assert not validation_errors & set(mounted["components"]["schemas"])
    assert without_ours(mounted) == alone


def test_included_twice_nothing_clashes(recwarn: pytest.WarningsRecorder) -> None:
    """Under two prefixes every operation id is unique, the components stay the same, and FastAPI does not warn."""
    once = NOT_STARTED.openapi()
    app = load_host("postgresql://nowhere")
    router = create_router(app.state.tracker, dependencies=[Depends(lambda: None)])
    app.include_router(router, prefix="/second")
    app.include_router(router, prefix="/third")
    twice = app.openapi()
    ids = [operation["operationId"] for item in twice["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids)) == 3 * 28 + 1
    assert twice["components"] == once["components"]
    assert [str(warning.message) for warning in recwarn] == []
