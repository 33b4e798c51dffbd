"""Of twenty requests at once one does it, and the others are told so."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest
from tests.factories import make_id
from tests.web.calls import MACHINE, METRICS, MODEL_TYPE, VALID, World, make_world, operations
from tests.web.problems import read_problem

from model_perf import ModelPerformanceTracker

N = 20
SLOT = {"model_type": MODEL_TYPE, "machine_id": str(MACHINE)}


@pytest.fixture
async def world(tracker: ModelPerformanceTracker) -> World:
    """An alert and a test that twenty want to end."""
    return await make_world(tracker)


@pytest.mark.parametrize("by", ["user", "model_perf"])
@pytest.mark.parametrize(
    "path", ["/ab-test/{test_id}/conclude", "/alerts/{alert_id}/acknowledge", "/alerts/{alert_id}/resolve"]
)
async def test_one_of_twenty_ends_it(client: httpx.AsyncClient, world: World, path: str, by: str) -> None:
    """One is answered 200 and nineteen 409, whoever they say they are; what the one said is kept."""
    url = path.format(test_id=world.test_id, alert_id=world.alert_id)
    names = [by if by == "model_perf" else f"{by} {i}" for i in range(N)]
    responses = await asyncio.gather(*(client.post(url, params={"by": name}) for name in names))
    assert Counter(response.status_code for response in responses) == {200: 1, 409: N - 1}
    for response in responses:
        if response.status_code == 409:
            assert read_problem(response)["code"] == "conflict"
    [winner] = [name for name, response in zip(names, responses, strict=True) if response.status_code == 200]
    [response] = [response for response in responses if response.status_code == 200]
    if "acknowledge" in path or "resolve" in path:
        assert winner in (response.json()["acknowledged_by"], response.json()["resolved_by"])
    else:
        assert [test["decided_by"] for test in (await client.get("/ab-test")).json()] == [winner]


async def test_one_of_twenty_triggers_opens_the_run(client: httpx.AsyncClient) -> None:
    """All are answered 200 with the same job; one has triggered it, and its reason is the one kept."""
    reasons = [f"reason {i}" for i in range(N)]
    responses = await asyncio.gather(
        *(client.post("/retrain/trigger", params=SLOT | {"reason": reason}) for reason in reasons)
    )
    assert {response.status_code for response in responses} == {200}
    answers = [response.json() for response in responses]
    [winner] = [answer for answer in answers if answer["triggered"]]
    assert len({answer["training_job_id"] for answer in answers}) == 1
    assert all("already in progress" in answer["reason"] for answer in answers if not answer["triggered"])
    assert [run["reason"] for run in (await client.get("/training")).json()] == [winner["reason"]]


async def test_one_of_twenty_equal_records_is_new(client: httpx.AsyncClient) -> None:
    """The same evaluation_id twenty times: one row, one `is_new`, one id."""
    responses = await asyncio.gather(*(_record(client, "rmse", 10.2) for _ in range(N)))
    assert {response.status_code for response in responses} == {200}
    answers = [response.json() for response in responses]
    assert sum(answer["is_new"] for answer in answers) == 1
    assert {answer["metric_id"] for answer in answers} == {VALID["evaluation_id"]}
    trend = await client.get("/metrics/trend", params=SLOT | {"days": "36525"})
    assert len(trend.json()["metrics"]) == 1


async def test_one_of_twenty_different_records_with_one_id_is_kept(client: httpx.AsyncClient) -> None:
    """The same evaluation_id with twenty different values: one is stored, nineteen are a conflict."""
    responses = await asyncio.gather(*(_record(client, "rmse", float(i)) for i in range(N)))
    assert Counter(response.status_code for response in responses) == {200: 1, 409: N - 1}


async def test_one_of_twenty_tests_starts(client: httpx.AsyncClient) -> None:
    """One slot holds one running test; the others are told which."""
    arms = {f"model_{arm}_id": str(make_id(arm)) for arm in "ab"} | {"model_a_version": "1", "model_b_version": "2"}
    parameters = SLOT | arms | {"metric": "rmse"}
    responses = await asyncio.gather(
        *(client.post("/ab-test/start", params=parameters | {"test_name": f"test {i}"}) for i in range(N))
    )
    assert Counter(response.status_code for response in responses) == {200: 1, 409: N - 1}
    [name] = [test["test_name"] for test in (await client.get("/ab-test")).json()]
    assert all(name in response.json()["detail"] for response in responses if response.status_code == 409)


async def _record(client: httpx.AsyncClient, metric: str, value: float) -> httpx.Response:
    [record] = [operation for operation in operations() if operation.path == "/metrics/record"]
    query = {name: text for name, text in VALID.items() if name in record.parameters}
    return await client.post("/metrics/record", params=query, json=METRICS | {metric: value})
