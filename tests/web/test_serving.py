"""The application of `model-perf serve`: who gets past its guard, by real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.web.problems import MEMBERS
from tests.web.serving import served

from model_perf import ModelPerformanceTracker
from model_perf.web._serving import API, PAGE, create_app

TOKEN = "not a secret of anybody".replace(" ", "-")
BEARER = {"authorization": f"Bearer {TOKEN}"}
SLOT = {"model_type": "demand", "machine_id": str(uuid4())}
RETRAIN = f"{API}/retrain/trigger"
FLEET = f"{API}/views/fleet"


@asynccontextmanager
async def client_of(tracker: ModelPerformanceTracker, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        served(create_app(tracker, **options)) as address,
        httpx.AsyncClient(base_url=address, trust_env=False) as client,
    ):
        yield client


def refused(answer: httpx.Response, status: int, code: str, mend: str) -> bool:
    """A problem with all its members, in these words; asserted one by one for the message of a failure."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() >= MEMBERS
    assert answer.json()["code"] == code
    assert mend in answer.json()["detail"]
    return True


@pytest.mark.parametrize("path", ["/", PAGE])
async def test_the_root_leads_to_the_page(tracker: ModelPerformanceTracker, path: str) -> None:
    """By a relative address, so that no proxy's name or prefix is lost; the page asks the API where it is."""
    async with client_of(tracker) as client:
        first = await client.get(path)
        page = await client.get(path, follow_redirects=True)
        api = page.text.partition('name="model-perf-api" content="')[2].partition('"')[0]
        view = await client.get(page.url.join(f"{api}/views/fleet"))
    assert (first.status_code, first.headers["location"]) == (307, "model-performance/")
    assert (page.status_code, page.url.path) == (200, f"{PAGE}/")
    assert view.json()["models"] == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_read_only_it_changes_nothing(tracker: ModelPerformanceTracker, method: str) -> None:
    """403 with the option that would allow it, no run in the table, and a page without buttons."""
    async with client_of(tracker) as client:
        assert refused(await client.request(method, RETRAIN, params=SLOT), 403, "read_only", "--write")
        page = await client.get(f"{PAGE}/")
    assert (await tracker.training.list_runs()).items == ()
    assert 'name="model-perf-read-only" content="yes"' in page.text


async def test_with_write_it_acts(tracker: ModelPerformanceTracker) -> None:
    """The run is in the table, and the page has its buttons."""
    async with client_of(tracker, write=True) as client:
        answer = await client.post(RETRAIN, params=SLOT)
        page = await client.get(f"{PAGE}/")
    [run] = (await tracker.training.list_runs()).items
    assert answer.json()["training_job_id"] == str(run.id)
    assert 'name="model-perf-read-only" content="no"' in page.text


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer é"],
)
async def test_without_the_token_nothing_is_told(tracker: ModelPerformanceTracker, given: str | None) -> None:
    """401 with the header that makes the page ask for it, for the API and for what is not there."""
    headers = {} if given is None else {b"authorization": given.encode("latin-1")}
    async with client_of(tracker, token=TOKEN, write=True) as client:
        for method, path in (("GET", FLEET), ("POST", RETRAIN), ("GET", "/nothing"), ("GET", "/openapi.json")):
            answer = await client.request(method, path, params=SLOT, headers=headers)
            assert refused(answer, 401, "token", "Authorization: Bearer")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await client.get(f"{PAGE}/app.js")).status_code == 200
    assert (await tracker.training.list_runs()).items == ()


@pytest.mark.parametrize(
    "host", ["x/model-performance/?", "x/model-performance/#", "x\\model-performance/;", "x/?", "/"]
)
async def test_no_name_of_the_server_replaces_the_token(tracker: ModelPerformanceTracker, host: str) -> None:
    """Older releases of starlette make an address of the header as it comes; what is let through is what is routed."""
    async with served(create_app(tracker, token=TOKEN)) as address:
        for method, path in (("GET", FLEET), ("POST", RETRAIN)):
            reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(address).port)
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            assert (await reader.readline()).split()[1] in (b"400", b"401")
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer  {TOKEN}"])
async def test_with_the_token_it_is_told(tracker: ModelPerformanceTracker, given: str) -> None:
    """Under any name of the server: who has the token is no page that a browser was lured to."""
    headers = {"authorization": given, "host": "models.example"}
    async with client_of(tracker, token=TOKEN) as client:
        assert (await client.get(FLEET, headers=headers)).json()["models"] == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "127.9.9.9", "[::1]:8321"])
async def test_names_of_this_machine_are_answered(tracker: ModelPerformanceTracker, host: str) -> None:
    """With any port: a tunnel has one of its own."""
    async with client_of(tracker) as client:
        assert (await client.get(FLEET, headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8321", "127.0.0.1.evil.example", "localhost.", "10.0.0.7", "", "[::1", "@"]
)
async def test_other_names_are_refused(tracker: ModelPerformanceTracker, host: str) -> None:
    """DNS rebinding: a page elsewhere, whose name suddenly means 127.0.0.1, gets neither data nor the page."""
    async with client_of(tracker) as client:
        for path in (FLEET, f"{PAGE}/", "/"):
            answer = await client.get(path, headers={"host": host})
            assert refused(answer, 400, "host", "token"), path


async def test_no_name_is_refused(tracker: ModelPerformanceTracker) -> None:
    """HTTP/1.0 may leave it out."""
    async with served(create_app(tracker)) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(address).port)
        writer.write(f"GET {FLEET} HTTP/1.0\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),  # curl
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),  # typed into the address bar
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),  # another port of this machine
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "http://[::1"}, 403),
        # What a browser says of the site holds, whatever name the proxy has given the server.
        ({"origin": "https://models.example", "sec-fetch-site": "same-origin"}, 200),
    ],
)
async def test_pages_of_other_origins_are_refused(
    tracker: ModelPerformanceTracker, headers: dict[str, str], expected: int
) -> None:
    """Neither acts nor looks, which are kept."""
    async with client_of(tracker, write=True) as client:
        answers = [await client.post(RETRAIN, params=SLOT, headers=headers), await client.get(FLEET, headers=headers)]
    for answer in answers:
        assert answer.status_code == expected
        assert expected == 200 or refused(answer, 403, "cross_origin", "own address")
    assert len((await tracker.training.list_runs()).items) == (expected == 200)


async def test_a_page_of_its_own_origin_acts(tracker: ModelPerformanceTracker) -> None:
    """Also where the browser tells its origin only."""
    async with client_of(tracker, write=True) as client:
        own = {"origin": str(client.base_url).rstrip("/")}
        assert (await client.post(RETRAIN, params=SLOT, headers=own)).status_code == 200
