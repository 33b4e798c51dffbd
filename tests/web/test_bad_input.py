"""Bad parameters, of every route that the OpenAPI document has: a 4xx that names the parameter, and nothing written."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import httpx
import pytest
from tests.repos.contents import nothing_written, read_contents
from tests.web.bad_values import NAIVE, SPACED, bad_values
from tests.web.calls import PREFIX, VALID, Operation, World, make_world, operations, valid_request
from tests.web.problems import assert_no_driver_words, assert_refused, read_problem

from model_perf import ModelPerformanceTracker

OPERATIONS = {operation.id: operation for operation in operations()}
HOSTILE = (
    *("'; DROP TABLE model_alerts; --", "' OR '1'='1", '"; SELECT pg_sleep(10); --', "$1", "%s %(x)s {0}", "\\'; --"),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{7*7}}", "${7*7}", "\r\nset-cookie: a=b"),
    *("\u202etxet", "\ufffe", "\U0001f600", "e\u0301" * 50, "\x7f\x1b[2J", "../../etc/passwd", "%2527", "NULL", "nan"),
)
CONTRADICTIONS: tuple[tuple[str, Mapping[str, str | None], str], ...] = (
    ("/metrics/record", {"evaluation_end": "2024-11-03T00:00:00Z"}, "evaluation_end"),
    ("/metrics/record", {"evaluation_end": "2024-11-02T00:00:00Z"}, "evaluation_end"),
    ("/metrics/record", {"model_id": str(uuid4()), "model_version": None}, "model_version"),
    ("/drift/check", {"model_id": str(uuid4()), "model_version": None}, "model_version"),
    ("/ab-test/start", {"model_a_id": str(uuid4()), "model_a_version": None}, "model_a_version"),
    ("/ab-test/start", {"model_b_id": str(uuid4()), "model_b_version": None}, "model_b_version"),
    ("/ab-test/start", {"metric": "own", "direction": None}, "metric"),
    ("/ab-test/start", {"model_b_id": VALID["model_a_id"], "model_b_version": "1"}, "model_b_id"),
    ("/metrics/trend", {"days": "0"}, "days"),
    ("/metrics/trend", {"days": "-1"}, "days"),
    ("/metrics/trend", {"days": "1000000000"}, "days"),
    ("/alerts/active", {"severity": "normal"}, "severity"),
    ("/alerts/active", {"limit": "0"}, "limit"),
    ("/alerts/active", {"limit": "1001"}, "limit"),
)


@pytest.fixture
async def world(tracker: ModelPerformanceTracker) -> World:
    """Rows that a wrong request could harm."""
    return await make_world(tracker)


@pytest.fixture
async def unchanged(pool: asyncpg.Pool, tracker: ModelPerformanceTracker, world: World) -> AsyncIterator[None]:
    """Fails if the test wrote anything: rows by table and a digest of their values."""
    async with nothing_written(pool, tracker.schema):
        yield


def test_every_parameter_has_a_valid_value() -> None:
    """A parameter that a route gains has to be added to the valid requests, which the bad ones are made from."""
    known = {name for operation in OPERATIONS.values() for name in operation.parameters}
    assert known == VALID.keys() | {"cursor"}
    assert len(OPERATIONS) == 28


async def test_a_valid_request_is_answered(client: httpx.AsyncClient, world: World) -> None:
    """What the bad requests differ from is right: 200, or the conflict with the test that runs."""
    for operation in OPERATIONS.values():
        response = await client.request(**valid_request(operation, world))
        assert response.status_code == (409 if operation.path == "/ab-test/start" else 200), response.text


async def test_a_missing_parameter_is_named(client: httpx.AsyncClient, world: World, unchanged: None) -> None:
    """Each required parameter that is left out is named, and so are all of them at once."""
    for operation in OPERATIONS.values():
        for name in operation.required:
            assert_refused(await _send(client, operation, world, {name: None}), name)
        if operation.required:
            response = await _send(client, operation, world, dict.fromkeys(operation.parameters))
            assert set(read_problem(response)["parameters"]) == operation.required


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
async def test_a_bad_value_is_named(
    client: httpx.AsyncClient, operation: Operation, world: World, unchanged: None
) -> None:
    """Malformed, out of range, empty, overlong, not decodable: each parameter is refused by its own name."""
    for name, schema in operation.parameters.items():
        for value in bad_values(name, schema):
            assert_refused(await _send(client, operation, world, {name: value}), name)


async def test_a_repeated_parameter_is_named(client: httpx.AsyncClient, world: World, unchanged: None) -> None:
    """Given twice, equal or not, a parameter is refused."""
    for operation in OPERATIONS.values():
        for name in operation.parameters:
            value = VALID.get(name, "1")
            for second in (value, "", "x"):
                assert_refused(await _send(client, operation, world, {name: f"{value}&{name}={second}"}), name)


async def test_a_malformed_id_in_the_path_is_named(client: httpx.AsyncClient, world: World, unchanged: None) -> None:
    """Malformed ids of the path are a 422, unknown ones a 404, and neither writes anything."""
    for operation in OPERATIONS.values():
        for name in operation.path_parameters:
            for value in ("x", "1", "%00", "%FF", "0" * 33, "' OR 1=1 --", "null", "0" * 5_000):
                assert_refused(await _send(client, operation, world, {}, **{name: value}), name)
            response = await _send(client, operation, world, {}, **{name: str(uuid4())})
            assert response.status_code == 404
            assert read_problem(response)["code"] == "not_found"


async def test_a_uuid_may_be_written_in_each_of_its_forms(client: httpx.AsyncClient, world: World) -> None:
    """Upper case, without hyphens, in braces, as a URN: the same id."""
    for operation in OPERATIONS.values():
        for name, schema in operation.parameters.items():
            if schema.get("format") == "uuid":
                value = VALID[name]
                for form in (value.upper(), value.replace("-", ""), f"{{{value}}}", f"urn:uuid:{value}"):
                    response = await _send(client, operation, world, {name: form})
                    assert response.status_code in (200, 409), response.text


@pytest.mark.parametrize("text", HOSTILE)
async def test_sql_and_html_in_a_text_are_text(
    client: httpx.AsyncClient, pool: asyncpg.Pool, tracker: ModelPerformanceTracker, world: World, text: str
) -> None:
    """Whatever a text says, it is stored or refused as that text; no table is harmed and no header gained."""
    before = await read_contents(pool, tracker.schema)
    for operation in OPERATIONS.values():
        for name, schema in operation.parameters.items():
            if schema["type"] == "string" and not {"format", "enum"} & schema.keys():
                response = await _send(client, operation, world, {name: quote(text)})
                assert "set-cookie" not in response.headers
                if response.status_code != 200:
                    assert response.status_code in (404, 409, 422)
                    read_problem(response)
    after = await read_contents(pool, tracker.schema)
    assert all(after[table][0] >= n for table, (n, _) in before.items())


@pytest.mark.parametrize("name", ["evaluation_start", "evaluation_end"])
async def test_the_mend_of_a_wrong_time_is_told(client: httpx.AsyncClient, world: World, name: str) -> None:
    """A naive time is told to need a zone; a plus that became a space is told how to be written."""
    record = _by_path("/metrics/record")
    for value in NAIVE:
        problem = assert_refused(await _send(client, record, world, {name: value}), name)
        assert "time zone" in problem["detail"].replace("timezone", "time zone")
    for value in SPACED:
        problem = assert_refused(await _send(client, record, world, {name: value}), name)
        assert "%2B" in problem["detail"]


async def test_what_only_the_rest_of_a_request_makes_wrong_is_named(
    client: httpx.AsyncClient, world: World, unchanged: None
) -> None:
    """Values that are right by themselves are refused by the name under which the caller gave them."""
    for path, changes, name in CONTRADICTIONS:
        assert_refused(await _send(client, _by_path(path), world, changes), name)


@pytest.mark.parametrize("path", ["/alerts/active", "/ab-test", "/training", "/fleet"])
async def test_the_cursor_of_another_list_is_refused(
    client: httpx.AsyncClient, tracker: ModelPerformanceTracker, world: World, path: str
) -> None:
    """A cursor that another list gave out is refused, or leads to a page; the server does not fail."""
    await tracker.trigger_retraining(model_type="other")
    page = await tracker.training.list_runs(limit=1)
    assert page.next_cursor is not None
    response = await client.get(path, params={"cursor": page.next_cursor})
    assert response.status_code in (200, 422)
    assert_no_driver_words(response)


async def test_many_wrong_parameters_are_named_together(client: httpx.AsyncClient, world: World) -> None:
    """One answer names all that is wrong, so that a caller mends it once."""
    changes = {"model_id": "x", "sample_count": "-1", "data_completeness": "2", "evaluation_start": "2024-11-03"}
    problem = assert_refused(await _send(client, _by_path("/metrics/record"), world, changes), "model_id")
    assert set(problem["parameters"]) == changes.keys()


async def test_a_long_value_is_not_sent_back(client: httpx.AsyncClient, world: World) -> None:
    """An answer shows the beginning of what was wrong; it does not multiply its request."""
    response = await _send(client, _by_path("/metrics/record"), world, {"model_id": "x" * 50_000})
    assert len(response.content) < 2_000


def _by_path(path: str) -> Operation:
    [operation] = [each for each in OPERATIONS.values() if each.path == path]
    return operation


async def _send(
    client: httpx.AsyncClient, operation: Operation, world: World, changes: Mapping[str, str | None], **path: str
) -> httpx.Response:
    """The valid request with other values, which are put into the URL as they are; None leaves one out."""
    request = valid_request(operation, world)
    query = {name: quote(value) for name, value in request.pop("params").items()} | dict(changes)
    url = operation.path.format(**path) if path else request["url"]
    text = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
    target = httpx.URL("http://host").copy_with(raw_path=_raw(f"{PREFIX}{url}?{text}"))
    return await client.request(request["method"], target, json=request.get("json"))


def _raw(target: str) -> bytes:
    """As a careless client writes it: percent signs untouched, the rest escaped where HTTP demands it."""
    return re.sub(rb"[^!$-~]", lambda found: b"%%%02X" % found[0][0], target.encode())
