"""The routes of the dashboard without a browser: what each answers is what SQL and the routes beside it say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.web.conftest import Fetch
from tests.web.dashboard.world import World, make_world

from model_perf import ModelPerformanceTracker, ModelRef


@pytest.fixture
async def world(tracker: ModelPerformanceTracker) -> World:
    return await make_world(tracker)


def slot(ref: ModelRef) -> dict[str, str]:
    return {"model_type": ref.model_type, "machine_id": str(ref.machine_id)}


async def get(client: httpx.AsyncClient, path: str, **parameters: object) -> Any:
    answer = await client.get(path, params=parameters)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_alerts(client: httpx.AsyncClient, world: World, tracker: ModelPerformanceTracker, fetch: Fetch) -> None:
    """The open ones worst and newest first, by page; what was resolved in 7 days on the first page only."""
    await tracker.alerts.open_or_repeat(world.newer, alert_type="own", severity="warning", message="look")
    done = await tracker.alerts.open_or_repeat(world.newer, alert_type="done", severity="info", message="look")
    await tracker.resolve_alert(done.id, by="ana")
    stored = await fetch(
        "SELECT id FROM {schema}.model_alerts WHERE NOT is_resolved ORDER BY severity_rank DESC, alert_timestamp DESC"
    )
    first = await get(client, "/views/alerts", limit=2)
    second = await get(client, "/views/alerts", limit=2, cursor=first["next_cursor"])
    assert [each["id"] for each in first["alerts"] + second["alerts"]] == [str(row["id"]) for row in stored]
    assert [each["id"] for each in first["resolved"]] == [str(done.id)]
    assert (second["resolved"], second["next_cursor"]) == ([], None)
    only = await get(client, "/views/alerts", severity="warning", **slot(world.newer))
    assert [each["alert_type"] for each in only["alerts"]] == ["own"]


async def test_fleet(client: httpx.AsyncClient, world: World, fetch: Fetch) -> None:
    """Each row is that of /fleet, with the newest 24 values of its metric, oldest first."""
    view, plain = await get(client, "/views/fleet"), await get(client, "/fleet", limit=1000)
    assert [{k: v for k, v in row.items() if k != "recent_values"} for row in view["models"]] == plain
    assert len(view["models"]) == 3
    for row in view["models"]:
        values = await fetch(
            """SELECT r_squared FROM {schema}.model_performance_metrics
               WHERE machine_id = $1 AND model_type = $2 AND model_version = $3
               ORDER BY evaluation_end DESC, evaluation_date DESC, id DESC LIMIT 24""",
            *(row["machine_id"], row["model_type"], row["model_version"]),
        )
        assert row["recent_values"] == [each["r_squared"] for each in reversed(values)], row["machine_name"]


async def test_fleet_by_pages(client: httpx.AsyncClient, world: World) -> None:
    """Each model once; a filter that fits none gives none."""
    found, cursor = [], None
    for _ in range(3):
        page = await get(client, "/views/fleet", limit=1, **({"cursor": cursor} if cursor else {}))
        found += [row["machine_name"] for row in page["models"]]
        cursor = page["next_cursor"]
    assert (sorted(found), cursor) == (["boiler 1", "compressor 2", "press 7"], None)
    assert (await get(client, "/views/fleet", model_type="none"))["models"] == []


async def test_model(client: httpx.AsyncClient, world: World, fetch: Fetch) -> None:
    """Versions, trend, alerts, runs and tests are what the routes beside it answer; a verdict for each version."""
    view = await get(client, "/views/model", **slot(world.worse), days=90, metric="rmse")
    trend = await get(client, "/metrics/trend", **slot(world.worse), days=90, metric="rmse")
    assert view["summary"] == await get(client, "/summary", **slot(world.worse))
    moved = {"since": None, "until": None}  # with the time of the request
    assert view["trend"] | moved == trend | moved
    newest = await fetch(
        """SELECT DISTINCT ON (model_version) model_version, verdict, evaluation_end
           FROM {schema}.model_performance_metrics WHERE machine_id = $1 AND verdict <> 'not_judged'
           ORDER BY model_version DESC, evaluation_end DESC""",
        world.worse.machine_id,
    )
    assert [(each["model_version"], each["verdict"]) for each in view["checks"]] == [
        (row["model_version"], row["verdict"]) for row in newest
    ]
    for name, table in (("alerts", "model_alerts"), ("runs", "model_training_history"), ("tests", "model_ab_tests")):
        [row] = await fetch(
            f"SELECT array_agg(id::text) AS ids FROM {{schema}}.{table} WHERE machine_id = $1", world.worse.machine_id
        )
        assert sorted(each["id"] for each in view[name]) == sorted(row["ids"]), name


async def test_model_with_resolved_alerts(
    client: httpx.AsyncClient, world: World, tracker: ModelPerformanceTracker
) -> None:
    """What was resolved before the period is left out; what is open stays, however old."""
    long_ago = datetime.now(UTC) - timedelta(days=30)
    kept = await tracker.alerts.open_or_repeat(
        world.worse, alert_type="old", severity="info", message="look", now=long_ago
    )
    view = await get(client, "/views/model", **slot(world.worse), days=7)
    assert str(kept.id) in {each["id"] for each in view["alerts"]}
    await tracker.resolve_alert(kept.id, by="ana")
    view = await get(client, "/views/model", **slot(world.worse), days=7)
    assert str(kept.id) not in {each["id"] for each in view["alerts"]}


async def test_drift(client: httpx.AsyncClient, world: World, fetch: Fetch) -> None:
    """The newest report and its counts, and the alarm of every window of the period, oldest first."""
    view = await get(client, "/views/drift", **slot(world.drifted), days=90)
    stored = await fetch(
        "SELECT * FROM {schema}.model_drift_reports WHERE machine_id = $1 ORDER BY window_end",
        world.drifted.machine_id,
    )
    assert [each["alarm_value"] for each in view["alarm"]] == [row["alarm_value"] for row in stored]
    assert view["check"]["data"]["verdict"] == stored[-1]["verdict"] == "critical"
    columns = {each["column"]: each["checks"] for each in view["check"]["data"]["columns"]}
    assert columns.keys() == {"load", "temperature", "pressure", "shift", "material"}
    assert {each["column"] for each in view["histograms"]} == columns.keys()
    for each in view["histograms"]:
        [judged] = [one for one in columns[each["column"]] if one["name"] == "distribution"]
        assert (sum(each["reference"]), sum(each["current"])) == (judged["n_reference"], judged["n_current"])
        assert len(each["reference"]) == len(each["current"]) == len(each["names"] or each["edges"][1:])
    assert {each["verdict"] for each in view["check"]["metrics"]} == {"ok"}


async def test_training(
    client: httpx.AsyncClient, world: World, tracker: ModelPerformanceTracker, fetch: Fetch
) -> None:
    """Every run, newest first, and why the queued one waits: nobody, nobody any more, somebody."""
    stored = await fetch("SELECT id, training_status FROM {schema}.model_training_history ORDER BY created_at DESC")
    view = await get(client, "/views/training")
    assert [each["id"] for each in view["runs"]] == [str(row["id"]) for row in stored]
    waiting = str(next(row["id"] for row in stored if row["training_status"] == "pending"))
    assert view["notices"] == {waiting: "queued, no worker for 'energy' was ever seen"}
    await tracker.workers.start("of another type", ["forecast"])
    assert (await get(client, "/views/training"))["notices"] == view["notices"]
    gone = datetime.now(UTC) - timedelta(hours=1)
    await tracker.workers.start("w", ["energy", "forecast"], now=gone)
    notices = (await get(client, "/views/training"))["notices"]
    assert notices == {waiting: f"queued, no worker seen since {gone.isoformat()}"}
    await tracker.workers.start("w", ["energy", "forecast"])
    assert (await get(client, "/views/training"))["notices"] == {}
    await tracker.workers.stop("w")
    assert waiting in (await get(client, "/views/training"))["notices"]


async def test_ab_tests(client: httpx.AsyncClient, world: World) -> None:
    """The list has the test; its own view is a look, as that of the results."""
    listed = await get(client, "/views/ab-tests")
    assert [each["id"] for each in listed["tests"]] == [str(world.test_id)]
    view = await get(client, f"/views/ab-tests/{world.test_id}")
    results = await get(client, f"/ab-test/{world.test_id}/results")
    for name in ("effect", "pvalue", "confidence_interval", "n_a", "n_b", "decision"):
        assert view["result"][name] == results[name], name


@pytest.mark.parametrize("view", ["model", "drift"])
async def test_a_model_that_nobody_knows(client: httpx.AsyncClient, view: str) -> None:
    """Not an error: nothing is known, and nothing is called fine."""
    found = await get(client, f"/views/{view}", model_type="none", machine_id=str(uuid4()))
    if view == "model":
        assert (found["summary"]["has_model"], found["checks"], found["trend"]["metrics"]) == (False, [], [])
    else:
        assert (found["check"], found["histograms"], found["alarm"]) == (None, [], [])
