"""Faults of the storage, at every route: a 503 in our own words that says whether to repeat, and a healthy pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from tests.faults.waits import check_pool, locked, terminate_waiting
from tests.repos.contents import TABLES, nothing_written
from tests.servers import KillableServer
from tests.web.calls import PREFIX, World, make_world, operations, send, valid_request
from tests.web.problems import MEMBERS, read_problem

from model_perf import ModelPerformanceTracker
from model_perf.web import create_router

NOBODY = World(alert_id=uuid4(), run_id=uuid4(), test_id=uuid4())
ANSWERS_WITHOUT_TABLES = {"/health"}


@asynccontextmanager
async def client_of(source: Any, schema: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application on that pool."""
    app = FastAPI()
    tracker = ModelPerformanceTracker(source, schema=schema, acquire_timeout_s=5)
    app.include_router(create_router(tracker, allow_anonymous=True), prefix=PREFIX)
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://host{PREFIX}") as client:
        yield client


async def send_all(client: httpx.AsyncClient, world: World = NOBODY) -> dict[str, httpx.Response]:
    """The answer of every route, by path, to a request that is right."""
    requests = {operation.path: valid_request(operation, world) for operation in operations()}
    return {path: await client.request(**request) for path, request in requests.items()}


def read_storage_problem(response: httpx.Response) -> dict[str, Any]:
    """The members, once the answer is found to be a 503 that says alike in words, members and header what to do."""
    problem = read_problem(response)
    assert (response.status_code, problem["code"]) == (503, "storage")
    assert problem.keys() == MEMBERS | {"retry_safe", "outcome_unknown"}
    assert ("retry-after" in response.headers) == problem["retry_safe"]
    return problem


def assert_safe(responses: Sequence[httpx.Response]) -> None:
    """Nothing happened, and the same request may be sent again."""
    for response in responses:
        problem = read_storage_problem(response)
        assert problem["retry_safe"], response.request.url
        assert not problem["outcome_unknown"], response.request.url
        assert int(response.headers["retry-after"]) > 0


async def test_a_pool_that_does_not_exist_yet(schema: str) -> None:
    """Every route says that the pool is missing and how to mend it."""
    app = FastAPI()
    async with client_of(lambda: app.state.pool, schema) as client:
        responses = (await send_all(client)).values()
    assert_safe([*responses])
    assert all("the pool does not exist yet" in each.json()["detail"] for each in responses)


async def test_a_pool_that_is_closed(database: str, tracker: ModelPerformanceTracker) -> None:
    """Every route says that nothing happened."""
    pool = await asyncpg.create_pool(database, min_size=1, max_size=2)
    await pool.close()
    async with client_of(pool, tracker.schema) as client:
        assert_safe([*(await send_all(client)).values()])


async def test_a_server_that_is_gone(killable_server: KillableServer) -> None:
    """Every route answers 503 while the server is down, and as before once it is up again."""
    async with (
        asyncpg.create_pool(killable_server.dsn, min_size=2, max_size=4, timeout=5) as pool,
        client_of(pool, "model_perf") as client,
    ):
        tracker = ModelPerformanceTracker(pool)
        await tracker.migrate()
        world = await make_world(tracker)
        await asyncio.gather(*(client.get("/alerts/active") for _ in range(8)))
        await asyncio.to_thread(killable_server.kill)
        for response in [*(await send_all(client, world)).values(), *(await send_all(client, world)).values()]:
            assert read_storage_problem(response)["retry_safe"]
        await asyncio.to_thread(killable_server.start)
        assert {path: each.status_code for path, each in (await send_all(client, world)).items()} == {
            operation.path: 409 if operation.path == "/ab-test/start" else 200 for operation in operations()
        }
        await check_pool(pool)


async def test_a_schema_without_tables(pool: asyncpg.Pool, schema: str) -> None:
    """Every route says which command makes the tables."""
    async with client_of(pool, schema) as client:
        for response in (await send_all(client)).values():
            problem = read_problem(response)
            assert (response.status_code, problem["code"]) == (503, "schema")
            assert "model-perf migrate" in problem["detail"]
    await check_pool(pool)


async def test_tables_that_went_away(pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> None:
    """Tables dropped under a running application are a 503 in our own words."""
    async with client_of(pool, tracker.schema) as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/fleet")).status_code == 200
        await pool.execute(f"DROP SCHEMA {tracker.schema} CASCADE; CREATE SCHEMA {tracker.schema}")
        for response in (await send_all(client)).values():
            assert (response.status_code, read_problem(response)["code"]) == (503, "schema")
    await check_pool(pool)


async def test_a_role_without_rights(database: str, tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """A role that may not read is not told to try again, and hears nothing of tables and grants."""
    role = f"role_{uuid4().hex[:12]}"
    await pool.execute(f"CREATE ROLE {role}")
    try:
        async with asyncpg.create_pool(database, min_size=1, max_size=4, server_settings={"role": role}) as poor:
            async with client_of(poor, tracker.schema) as client:
                for response in (await send_all(client)).values():
                    problem = read_problem(response)
                    assert response.status_code == 503
                    assert not problem.get("retry_safe", False)
                    assert "retry-after" not in response.headers
            await check_pool(poor)
    finally:
        await pool.execute(f"DROP ROLE {role}")


async def test_a_role_that_may_only_read(database: str, tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """It reads; what would write is a 503, and nothing is written."""
    world = await make_world(tracker)
    role = f"role_{uuid4().hex[:12]}"
    await pool.execute(
        f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA {tracker.schema} TO {role};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {tracker.schema} TO {role}"
    )
    try:
        async with asyncpg.create_pool(database, min_size=1, max_size=4, server_settings={"role": role}) as reader:
            async with nothing_written(pool, tracker.schema), client_of(reader, tracker.schema) as client:
                answers = await send_all(client, world)
            await check_pool(reader)
    finally:
        await pool.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    read_only = {each.path for each in operations() if each.method == "GET"} | {"/drift/check"}
    assert {path for path, answer in answers.items() if answer.status_code == 200} == read_only
    for path in answers.keys() - read_only:
        assert not read_storage_problem(answers[path])["retry_safe"]


@pytest.mark.parametrize("setting", ["statement_timeout", "lock_timeout"])
async def test_a_timeout_of_the_server(
    database: str, tracker: ModelPerformanceTracker, pool: asyncpg.Pool, setting: str
) -> None:
    """What the server gave up wrote nothing and may be repeated; it is answered once the lock is gone."""
    world = await make_world(tracker)
    async with (
        asyncpg.create_pool(database, min_size=1, max_size=4, server_settings={setting: "50ms"}) as hasty,
        client_of(hasty, tracker.schema) as client,
    ):
        async with nothing_written(pool, tracker.schema), pool.acquire() as host:
            assert (await client.get("/fleet")).status_code == 200
            async with host.transaction():
                for table in TABLES:
                    await host.execute(f"LOCK TABLE {tracker.schema}.{table} IN ACCESS EXCLUSIVE MODE")
                answers = await send_all(client, world)
        assert {answers[path].status_code for path in ANSWERS_WITHOUT_TABLES} == {200}
        assert_safe([answer for path, answer in answers.items() if path not in ANSWERS_WITHOUT_TABLES])
        assert (await client.get("/alerts/active")).status_code == 200
        await check_pool(hasty)


@pytest.mark.parametrize("has_id", [True, False])
async def test_a_write_whose_connection_died(
    client: httpx.AsyncClient, database: str, tracker: ModelPerformanceTracker, pool: asyncpg.Pool, has_id: bool
) -> None:
    """Its outcome is unknown; a repeat is safe where the caller gave an id, and only then advised."""
    [record] = [each for each in operations() if each.path == "/metrics/record"]
    request = valid_request(record, NOBODY)
    host = await asyncpg.connect(database)
    try:
        async with locked(host, f"{tracker.schema}.model_performance_metrics"):
            changes = {} if has_id else {"evaluation_id": None}
            calling = asyncio.ensure_future(send(client, request, **changes))
            await terminate_waiting(host)
            problem = read_storage_problem(await calling)
    finally:
        await host.close()
    assert (problem["retry_safe"], problem["outcome_unknown"]) == (has_id, True)
    assert "unknown" in problem["detail"]
    assert (await send(client, request)).json()["is_new"]
    await check_pool(pool)


async def test_a_pool_that_is_used_up(database: str, tracker: ModelPerformanceTracker) -> None:
    """Whoever waits too long for a connection is told to come again."""
    async with asyncpg.create_pool(database, min_size=1, max_size=1) as small:
        app = FastAPI()
        waiting = ModelPerformanceTracker(small, schema=tracker.schema, acquire_timeout_s=0.05)
        app.include_router(create_router(waiting, allow_anonymous=True))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host") as client:
            async with small.acquire():
                assert_safe([await client.get("/alerts/active")])
            assert (await client.get("/alerts/active")).status_code == 200
        await check_pool(small)


async def test_a_write_that_is_done_is_answered_whatever_else_fails(
    database: str, tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """The alert is acknowledged; that the machine's name cannot be read costs the name."""
    world = await make_world(tracker)
    async with (
        asyncpg.create_pool(database, min_size=1, max_size=2, server_settings={"lock_timeout": "50ms"}) as hasty,
        client_of(hasty, tracker.schema) as client,
        pool.acquire() as host,
        host.transaction(),
    ):
        assert (await client.get("/health")).status_code == 200
        await host.execute(f"LOCK TABLE {tracker.schema}.models IN ACCESS EXCLUSIVE MODE")
        answer = await client.post(f"/alerts/{world.alert_id}/acknowledge", params={"by": "ada"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["acknowledged_by"], answer.json()["machine_name"]) == ("ada", answer.json()["machine_id"])
