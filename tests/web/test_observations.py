"""Observations over HTTP: bad bodies are named and write nothing, repeats count once."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import httpx
import pytest
from tests.factories import make_id
from tests.repos.contents import nothing_written
from tests.web.calls import World, make_world
from tests.web.problems import assert_refused

from model_perf import ModelPerformanceTracker

GOOD: dict[str, Any] = {"arms": ["a", "b"], "values": [0.1, 2]}


@pytest.fixture
async def world(tracker: ModelPerformanceTracker) -> World:
    return await make_world(tracker)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"arms": None}, "arms"),
        ({"arms": "ab"}, "arms"),
        ({"arms": ["a", "c"]}, "arms"),
        ({"arms": ["a"]}, "arms"),
        ({"arms": ["a", 1]}, "arms"),
        ({"values": {}}, "values"),
        ({"values": [0.1, True]}, "values"),
        ({"values": [0.1, None]}, "values"),
        ({"values": [0.1, "2"]}, "values"),
        ({"values": [0.1, 1e91]}, "values"),
        ({"units": ["u"]}, "units"),
        ({"units": ["u", ""]}, "unit"),
        ({"units": ["u", 1.5]}, "units"),
        ({"units": ["u", "\ud800"]}, "unit"),
        ({"covariates": [1.0, 2.0]}, "covariates"),
        ({"weights": [1.0, 2.0]}, "body"),
    ],
)
async def test_a_bad_column_is_named(
    client: httpx.AsyncClient,
    tracker: ModelPerformanceTracker,
    pool: asyncpg.Pool,
    world: World,
    changes: dict[str, Any],
    argument: str,
) -> None:
    """Missing, of another type, of another length, unknown: a 422 that names the column, and nothing is in."""
    url = f"/ab-test/{world.test_id}/observations"
    async with nothing_written(pool, tracker.schema):
        assert_refused(await client.post(url, content=json.dumps({**GOOD, **changes})), argument)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"arms": ["a"], "values": [NaN]}', b"\xff", b'{"arms": [], "arms": []}']
)
async def test_a_body_that_is_no_object_is_refused(client: httpx.AsyncClient, world: World, body: bytes) -> None:
    """No JSON, no object, numbers that JSON does not have, a key twice."""
    assert_refused(await client.post(f"/ab-test/{world.test_id}/observations", content=body), "body")


async def test_a_repeat_counts_once(client: httpx.AsyncClient, tracker: ModelPerformanceTracker, world: World) -> None:
    """Under a batch id; an empty body of columns is nothing new."""
    url, params = f"/ab-test/{world.test_id}/observations", {"batch_id": str(make_id("batch"))}
    answers = [(await client.post(url, params=params, json=GOOD)).json() for _ in range(2)]
    assert [(each["n"], each["is_new"]) for each in answers] == [(2, True), (2, False)]
    empty = (await client.post(url, json={"arms": [], "values": []})).json()
    assert (empty["n"], empty["is_new"]) == (0, False)
    assert sum(row["n"] for row in await tracker.ab_tests.fetch_moments(world.test_id)) == 2
