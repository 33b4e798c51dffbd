"""Bad bodies of ``/metrics/record``: a 4xx that says what is wrong, and nothing written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from tests.repos.contents import nothing_written
from tests.web.calls import MACHINE, MODEL_TYPE, OLD
from tests.web.problems import assert_refused

from model_perf import ModelPerformanceTracker

RECORD = "/metrics/record"
QUERY = {
    "model_id": str(OLD.model_id),
    "model_type": MODEL_TYPE,
    "machine_id": str(MACHINE),
    "model_version": "1",
    "evaluation_start": "2024-11-03T00:00:00Z",
    "evaluation_end": "2024-11-04T00:00:00Z",
}
NOT_METRICS = (
    *(b"", b" ", b"\x00", b"null", b"true", b"5", b"-0.0", b'"rmse"', b"[]", b'[{"rmse": 1}]', b"rmse=1", b"<rmse/>"),
    *(
        b"{",
        b'{"rmse"',
        b'{"rmse": 1',
        b'{"rmse": 1}}',
        b'{"rmse": 1}{}',
        b"{'rmse': 1}",
        b'{"rmse": 1,}',
        b"{rmse: 1}",
    ),
    *(b'{"rmse": 01}', b'{"rmse": +1}', b'{"rmse": .5}', b'{"rmse": 0x1}', b'{"rmse": 1_0}', b'{"rmse": 1 /* mm */}'),
    *(
        b'{"rmse": NaN}',
        b'{"rmse": Infinity}',
        b'{"rmse": -Infinity}',
        b'{"rmse": nan}',
        b'{"rmse": ' + b"9" * 5000 + b"}",
    ),
    *(b'{"rmse": 1, "rmse": 2}', b'{"rmse": 1, "rmse": 1}', b'{"rmse": 1, "rms\\u0065": 2}', b'{"\x01": 1}'),
    *(b"\xff\xfe", b'{"rmse\xff": 1}', b'{"\xed\xa0\x80": 1}', b'{"\xc3\x28": 1}', b'{"rmse": 1}\x00'),
    *('{"rmse": 1}'.encode(encoding) for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be")),
    *(b"[" * 255 + b"]" * 255, b"[" * 100_000 + b"]" * 100_000, b"[" * 200_000),
    *(
        b'{"a": ' * 20_000 + b"1" + b"}" * 20_000,
        b'{"a": ' * 20_000,
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ),
)
BAD_METRICS = (
    *('{"rmse": true}', '{"rmse": false}', '{"rmse": null}', '{"rmse": "1"}', '{"rmse": ""}', '{"rmse": []}'),
    *('{"rmse": {}}', '{"rmse": [1]}', '{"rmse": 1e400}', '{"rmse": -1e400}', '{"rmse": 1' + "0" * 400 + "}"),
    *('{"rmse": -1e-300}', '{"mae": -1}', '{"mape": -1}', '{"r_squared": 1.0000001}', '{"precision": 1.1}'),
    *('{"recall": -0.1}', '{"f1_score": 2}', '{"own": null}', '{"own": {"a": {"b": 1}}}', '{"rmse": 1, "own": null}'),
    '{"own": ' + "[" * 255 + "]" * 255 + "}",
)
BAD_NAMES = (
    *("{}", '{"": 1}', '{" ": 1}', '{"\\u0000": 1}', '{"a\\u0000b": 1}', '{"\\ud800": 1}', '{"\\udc00\\ud800": 1}'),
    json.dumps({"x" * 201: 1}),
)


@pytest.fixture(autouse=True)
async def unchanged(pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> AsyncIterator[None]:
    """Fails if a test of this file wrote anything it has not taken back."""
    async with nothing_written(pool, tracker.schema):
        yield


async def test_a_body_that_is_no_object_of_metrics_is_refused(client: httpx.AsyncClient) -> None:
    """No JSON, not in UTF-8, no object, a key twice, nested endlessly, numbers that JSON does not have."""
    for body in NOT_METRICS:
        response = await client.post(RECORD, params=QUERY, content=body)
        problem = json.loads(response.content)
        assert response.status_code == 422, (body[:50], problem)
        assert_refused(response, "metrics['a']" if "metrics['a']" in problem["parameters"] else "body")


async def test_a_metric_that_is_no_number_is_named(client: httpx.AsyncClient) -> None:
    """Booleans, nulls, texts, what no float can hold, and what the metric cannot be."""
    for body in BAD_METRICS:
        metric = "own" if "own" in body else next(iter(json.loads(body)))
        assert_refused(await client.post(RECORD, params=QUERY, content=body), f"metrics[{metric!r}]")


async def test_a_name_that_is_no_text_is_refused(client: httpx.AsyncClient) -> None:
    """No metric at all, names of nothing, NUL, lone surrogates, too long."""
    for body in BAD_NAMES:
        assert_refused(await client.post(RECORD, params=QUERY, content=body), "metrics")


async def test_a_hundred_thousand_metrics_are_refused(client: httpx.AsyncClient) -> None:
    """What is small in itself and comes by the thousand is too large."""
    body = json.dumps({f"metric {i}": 1 for i in range(100_000)})
    assert_refused(await client.post(RECORD, params=QUERY, content=body), "body", 413)


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain", "text/html", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "*/*", ""),
        *("application/octet-stream", "application/xml", "application/jsonp", "text/json", "json", "x" * 5_000),
        *("application/json, text/plain", "application/+json", "<script>", "caf\xe9"),
    ],
)
async def test_a_wrong_content_type_is_refused(client: httpx.AsyncClient, kind: str) -> None:
    """What is not sent as JSON is not read as JSON."""
    headers = {b"content-type": kind.encode("latin-1")}
    response = await client.post(RECORD, params=QUERY, content=b'{"rmse": 1}', headers=headers)
    assert_refused(response, "body", 415)


async def test_ten_megabytes_are_refused(client: httpx.AsyncClient) -> None:
    """A body with its length before it, far above what metrics need."""
    for body in (b"x" * 10_000_000, b'{"rmse": 1, "own": "' + b"x" * 10_000_000 + b'"}', b" " * 10_000_000):
        assert_refused(await client.post(RECORD, params=QUERY, content=body), "body", 413)


async def test_a_body_without_a_length_is_cut_off_early(client: httpx.AsyncClient) -> None:
    """Of ten megabytes in chunks no more is read than it takes to know that they are too many."""
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 1_000
            yield b" " * 1_000

    response = await client.post(RECORD, params=QUERY, content=chunks())
    assert "content-length" not in response.request.headers
    assert_refused(response, "body", 413)
    assert sent < 500_000


async def test_a_bad_body_is_refused_beside_bad_parameters(client: httpx.AsyncClient) -> None:
    """Where both are wrong, one of them is named."""
    response = await client.post(RECORD, params=QUERY | {"model_id": "x"}, content=b"[]")
    assert_refused(response, "body")


@pytest.mark.parametrize(
    "body", [b'\xef\xbb\xbf{"rmse": 1}', b' \t\r\n{"rmse": 1} \n', b'{"\\u0072mse": 1.0e0}', b'{"rmse":1}']
)
async def test_what_json_allows_is_taken(
    client: httpx.AsyncClient, pool: asyncpg.Pool, tracker: ModelPerformanceTracker, body: bytes
) -> None:
    """A byte order mark, space around, escapes: the same metrics."""
    response = await client.post(RECORD, params=QUERY, content=body)
    assert response.status_code == 200, response.text
    table = f"{tracker.schema}.model_performance_metrics"
    assert await pool.fetch(f"SELECT rmse, metrics::text FROM {table}") == [(1.0, "{}")]
    await pool.execute(f"TRUNCATE {table}, {tracker.schema}.models, {tracker.schema}.model_drift_state CASCADE")


@pytest.mark.parametrize(
    "kind", [None, "application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"]
)
async def test_json_by_any_name_is_read(client: httpx.AsyncClient, kind: str | None) -> None:
    """JSON may have parameters and other names; without a content type it is assumed."""
    headers = {} if kind is None else {"content-type": kind}
    assert_refused(await client.post(RECORD, params=QUERY, content=b"[]", headers=headers), "body")
