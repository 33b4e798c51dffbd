"""The faults of an earlier implementation of the contract, none of which may come back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from tests.factories import Clock
from tests.faults.states import BASELINE_DAYS
from tests.repos.contents import nothing_written
from tests.web.calls import MACHINE, MODEL_TYPE, NEW, OLD
from tests.web.problems import assert_refused, read_problem

from model_perf import ModelPerformanceTracker, ModelRef
from model_perf.web import create_router

NOW = datetime(2024, 11, 3, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SLOT = {"model_type": MODEL_TYPE, "machine_id": str(MACHINE)}
ARMS = {
    "model_a_id": str(OLD.model_id),
    "model_b_id": str(NEW.model_id),
    "model_a_version": "1",
    "model_b_version": "2",
}
HTML = '<img src=x onerror=alert(1)> & "O\'Neill" \u2028 \U0001f600'


class Directory:
    """A host that expects a hundred samples in every window."""

    async def expected_samples(self, ref: ModelRef, start: datetime, end: datetime) -> int:
        return 100


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
async def tracker(schema: str, pool: asyncpg.Pool, clock: Clock) -> ModelPerformanceTracker:
    """On the test's own schema and time."""
    tracker = ModelPerformanceTracker(pool, schema=schema, clock=clock, directory=Directory())  # type: ignore[arg-type]
    await tracker.migrate()
    return tracker


async def record(client: httpx.AsyncClient, start: datetime, ref: ModelRef = OLD, **changes: Any) -> httpx.Response:
    """Record the day, or the window of *length*, that begins at *start*."""
    metrics, length = changes.pop("metrics", {"rmse": 10.0}), changes.pop("length", DAY)
    times = {"evaluation_start": start.isoformat(), "evaluation_end": (start + length).isoformat()}
    model = {"model_id": str(ref.model_id), "model_version": str(ref.model_version)}
    return await client.post("/metrics/record", params=SLOT | model | times | changes, json=metrics)


async def learn(client: httpx.AsyncClient) -> None:
    """A baseline that ends now: an rmse of 10 to 10.6."""
    for day in range(BASELINE_DAYS):
        metrics = {"rmse": 10 + day % 7 / 10}
        assert (await record(client, NOW - (BASELINE_DAYS - day) * DAY, metrics=metrics)).status_code == 200


async def read_point(client: httpx.AsyncClient, clock: Clock) -> dict[str, Any]:
    """The newest evaluation that the trend shows, some days later."""
    clock.now = NOW + 9 * DAY
    trend = await client.get("/metrics/trend", params=SLOT | {"days": "60"})
    newest: dict[str, Any] = trend.json()["metrics"][-1]
    return newest


async def test_zero_stays_zero(client: httpx.AsyncClient, clock: Clock) -> None:
    """A metric, a count and a completeness of 0 come back as 0, and are known."""
    names = ("r_squared", "rmse", "mae", "mape", "precision", "recall", "f1_score")
    await record(client, NOW - DAY, metrics=dict.fromkeys((*names, "own"), 0), sample_count="0", data_completeness="0")
    point = await read_point(client, clock)
    assert [point[name] for name in names] == [0.0] * 7
    assert point["further_metrics"] == {"own": 0.0}
    assert (point["sample_count"], point["sample_count_known"], point["data_completeness"]) == (0, True, 0.0)


async def test_an_improvement_is_no_drift(client: httpx.AsyncClient) -> None:
    """An error that falls to a third is not flagged, opens no alert and scores below 0; one that triples is."""
    await learn(client)
    better = (await record(client, NOW, metrics={"rmse": 3.0})).json()
    assert (better["verdict"], better["drift_detected"], better["alert_id"]) == ("ok", False, None)
    assert better["drift_score"] < 0
    worse = (await record(client, NOW + DAY, metrics={"rmse": 30.0})).json()
    assert worse["drift_detected"]
    assert worse["drift_score"] > 1
    assert worse["alert_id"] is not None


async def test_an_alert_that_fails_takes_its_evaluation_with_it(
    client: httpx.AsyncClient, pool: asyncpg.Pool, tracker: ModelPerformanceTracker
) -> None:
    """Where the alert cannot be written the evaluation is not there either, and the repeat stores both."""
    await learn(client)
    alerts = f"{tracker.schema}.model_alerts"
    await pool.execute(f"ALTER TABLE {alerts} ADD CONSTRAINT broken CHECK (false) NOT VALID")
    async with nothing_written(pool, tracker.schema):
        failed = await record(client, NOW, metrics={"rmse": 30.0})
        assert (failed.status_code, read_problem(failed)["code"]) == (503, "storage")
    await pool.execute(f"ALTER TABLE {alerts} DROP CONSTRAINT broken")
    repeat = (await record(client, NOW, metrics={"rmse": 30.0})).json()
    assert repeat["is_new"]
    assert [each["id"] for each in (await client.get("/alerts/active")).json()] == [repeat["alert_id"]]


async def test_completeness_never_exceeds_one(client: httpx.AsyncClient) -> None:
    """More samples than were expected are complete; a share above 1 that a caller gives is refused."""
    assert (await record(client, NOW - DAY, sample_count="150")).json()["data_completeness"] == 1.0
    assert (await record(client, NOW, sample_count="25")).json()["data_completeness"] == 0.25
    assert_refused(await record(client, NOW, data_completeness="1.01"), "data_completeness")


@pytest.mark.parametrize("value", [-15.2, -10.0001, -1e6, -1e300, 1.0])
async def test_r_squared_has_no_lower_bound(client: httpx.AsyncClient, clock: Clock, value: float) -> None:
    """An R² below -10 is stored, and comes back as the number it was."""
    assert (await record(client, NOW - DAY, metrics={"r_squared": value})).status_code == 200
    assert (await read_point(client, clock))["r_squared"] == value


@pytest.mark.parametrize("written", ["2024-11-03T02:00:00+02:00", "2024-11-02T18:30:00-05:30", "2024-11-03T00:00:00Z"])
async def test_a_time_is_the_same_instant_whatever_its_zone(
    client: httpx.AsyncClient, clock: Clock, written: str
) -> None:
    """Whatever offset it came with, an instant comes back in UTC."""
    response = await record(client, NOW, evaluation_start=written)
    assert response.status_code == 200, response.text
    point = await read_point(client, clock)
    assert point["evaluation_start"] == "2024-11-03T00:00:00Z"
    assert point["evaluation_end"] == "2024-11-04T12:00:00Z"


@pytest.mark.parametrize("name", ["evaluation_start", "evaluation_end"])
async def test_a_naive_time_is_refused(client: httpx.AsyncClient, name: str) -> None:
    """Nobody guesses the zone."""
    assert_refused(await record(client, NOW - 9 * DAY, OLD, **{name: "2024-11-03T00:00:00"}), name)


@pytest.mark.parametrize("with_data", ["none", "model_a", "model_b"])
async def test_a_variant_without_data_neither_wins_nor_loses(
    client: httpx.AsyncClient, clock: Clock, with_data: str
) -> None:
    """However long the other one was evaluated, nobody wins and there is no confidence."""
    test_id = await start_test(client, duration_hours="48")
    for hour in range(48):
        clock.now = NOW + (hour + 1) * HOUR
        for arm, ref in (("model_a", OLD), ("model_b", NEW)):
            if arm == with_data:
                await record(client, NOW + hour * HOUR, ref, length=HOUR, metrics={"rmse": 1 + hour % 5})
    clock.now = NOW + 9 * DAY
    result = (await client.get(f"/ab-test/{test_id}/results")).json()
    assert (result["winner"], result["confidence"], result["decision"]) == ("no_winner", 0.0, "insufficient_data")
    assert (result["model_a_metrics"], result["model_b_metrics"]) == ({}, {})


async def test_a_test_ends_by_itself(client: httpx.AsyncClient, clock: Clock) -> None:
    """The first look after its end concludes a test, without anybody asking for it, and names the better one."""
    test_id = await start_test(client, duration_hours="48")
    for hour in range(48):
        for ref, level in ((OLD, 10), (NEW, 5)):
            metrics = {"rmse": level + hour % 5 / 10}
            await record(client, NOW + hour * HOUR, ref, length=HOUR, metrics=metrics, sample_count="50")
    clock.now = NOW + 47 * HOUR
    assert (await client.get(f"/ab-test/{test_id}/results")).json()["test_status"] == "running"
    clock.now = NOW + 50 * HOUR
    result = (await client.get(f"/ab-test/{test_id}/results")).json()
    assert (result["test_status"], result["winner"], result["decision"]) == ("completed", "model_b", "superior_b")
    assert result["confidence"] > 0.95
    [listed] = (await client.get("/ab-test")).json()
    assert (listed["test_status"], listed["winner"], listed["decided_by"]) == ("completed", "model_b", "model_perf")
    assert (await client.post(f"/ab-test/{test_id}/conclude")).status_code == 409


async def test_an_expired_test_does_not_block_the_next(client: httpx.AsyncClient, clock: Clock) -> None:
    """A test that nobody looked at is concluded when the next one of its slot starts."""
    first = await start_test(client)
    clock.now = NOW + 9 * DAY
    assert await start_test(client) != first
    assert sorted(each["test_status"] for each in (await client.get("/ab-test")).json()) == ["completed", "running"]


async def test_the_same_model_twice_and_negative_durations_are_refused(
    client: httpx.AsyncClient, pool: asyncpg.Pool, tracker: ModelPerformanceTracker
) -> None:
    """A = A is no test, and none lasts less than nothing."""
    same = {"model_b_id": ARMS["model_a_id"], "model_b_version": "1"}
    async with nothing_written(pool, tracker.schema):
        for changes, name in (
            (same, "model_b_id"),
            *(({"duration_hours": hours}, "duration_hours") for hours in ("0", "-1", "-0.0", "-24", "1e9")),
            *(({"traffic_split": share}, "traffic_split") for share in ("0", "1", "-0.5", "1.5")),
        ):
            parameters = SLOT | ARMS | {"test_name": "n", "metric": "rmse"} | changes
            assert_refused(await client.post("/ab-test/start", params=parameters), name)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        *((word, word) for word in ("manual", "scheduled", "drift", "degradation")),
        ("drift_detected", "drift"),
        ("performance_degradation", "degradation"),
    ],
)
async def test_the_reason_is_saved(client: httpx.AsyncClient, given: str, stored: str) -> None:
    """What a retraining was asked for is kept with its trigger, of which the earlier names are taken too."""
    asked = {"trigger_type": given, "reason": "R² fell by 12%", "by": "ada"}
    trigger = (await client.post("/retrain/trigger", params=SLOT | asked)).json()
    assert (trigger["triggered"], trigger["trigger_type"], trigger["reason"]) == (True, stored, "R² fell by 12%")
    run = (await client.get(f"/training/{trigger['training_job_id']}")).json()
    assert (run["trigger_type"], run["reason"], run["triggered_by"]) == (stored, "R² fell by 12%", "ada")


async def test_html_comes_back_as_it_was(
    client: httpx.AsyncClient, tracker: ModelPerformanceTracker, clock: Clock
) -> None:
    """Texts are neither escaped nor cleaned: JSON carries them, the page shows them as text."""
    slot = SLOT | {"model_type": HTML}
    ref = await tracker.register_model(HTML, machine=HTML, model_version=1)
    alert = await tracker.alerts.open_or_repeat(ref, alert_type=HTML, severity="info", message=HTML)
    [shown] = (await client.get("/alerts/active", params={"model_type": HTML})).json()
    assert {shown[key] for key in ("alert_type", "alert_message", "model_type", "machine_name")} == {HTML}
    shown = (await client.post(f"/alerts/{alert.id}/acknowledge", params={"by": HTML})).json()
    assert shown["acknowledged_by"] == HTML
    shown = (await client.post(f"/alerts/{alert.id}/resolve", params={"by": HTML, "notes": HTML})).json()
    assert {shown["resolved_by"], shown["resolution_notes"]} == {HTML}
    await client.post("/retrain/trigger", params=slot | {"reason": HTML, "by": HTML})
    [run] = (await client.get("/training")).json()
    assert {run["model_type"], run["reason"], run["triggered_by"]} == {HTML}
    test_id = await start_test(client, test_name=HTML, by=HTML)
    [test] = (await client.get("/ab-test")).json()
    assert {test["test_name"], test["created_by"]} == {HTML}
    assert (await client.get(f"/ab-test/{test_id}/results")).json()["test_name"] == HTML
    await record(client, NOW - DAY, metrics={HTML: 1.5})
    assert (await read_point(client, clock))["further_metrics"] == {HTML: 1.5}


async def test_who_is_not_logged_in_has_no_name(tracker: ModelPerformanceTracker) -> None:
    """A host's user of None is nobody, not somebody called None."""
    app = FastAPI()
    app.include_router(create_router(tracker, allow_anonymous=True, user=lambda: None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host") as client:
        await client.post("/retrain/trigger", params=SLOT)
        assert [run["triggered_by"] for run in (await client.get("/training")).json()] == [None]


async def start_test(client: httpx.AsyncClient, **changes: str) -> UUID:
    """The id of a test of OLD against NEW."""
    parameters = SLOT | ARMS | {"test_name": "old or new", "metric": "rmse"} | changes
    response = await client.post("/ab-test/start", params=parameters)
    assert response.status_code == 200, response.text
    return UUID(response.json()["test_id"])
