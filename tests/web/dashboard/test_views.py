"""Every view in a real Chromium: what it shows is what is stored, and nothing complains."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import asyncpg
import pytest
from fastapi import FastAPI
from playwright.async_api import BrowserContext, Error, Route, expect
from tests.web.chromium import needs_chromium
from tests.web.dashboard.screen import API, MOUNT, Screen, watch
from tests.web.dashboard.world import DAY, TODAY, World
from tests.web.serving import PREFIX, proxied, served

from model_perf import ModelPerformanceTracker, ModelRef

pytestmark = needs_chromium
HOSTILE = "<img src=x onerror=document.title='broken'>"


def slot(ref: ModelRef) -> str:
    return urlencode({"model_type": ref.model_type, "machine_id": ref.machine_id})


async def ask(tracker: ModelPerformanceTracker, query: str, *parameters: Any) -> Any:
    """One value by SQL of our own; {s} is the schema."""
    pool: asyncpg.Pool = tracker.pool
    async with pool.acquire() as connection:
        return await connection.fetchval(query.replace("{s}", tracker.schema), *parameters)


async def test_numbers_of_every_view_are_those_of_the_tables(
    screen: Screen, tracker: ModelPerformanceTracker, world: World
) -> None:
    """A number of each of the six views, and of a test's own page, next to SQL."""
    await screen.open("#/alerts")
    stored = await ask(tracker, "SELECT count(*) FROM {s}.model_alerts WHERE resolved_timestamp IS NULL")
    assert (await screen.number("open"), stored > 0) == (str(stored), True)

    await screen.open("#/fleet")
    machines = "SELECT count(DISTINCT (machine_id, model_type)) FROM {s}.models"
    assert await screen.number("shown") == str(await ask(tracker, machines)) == "3"

    await screen.open(f"#/model?{slot(world.worse)}")
    n = await ask(
        tracker,
        "SELECT count(*) FROM {s}.model_performance_metrics WHERE machine_id = $1 AND model_type = $2",
        world.worse.machine_id,
        world.worse.model_type,
    )
    assert await screen.page.locator("dd[data-fact=Evaluations]").inner_text() == str(n) == "57"

    await screen.open(f"#/drift?{slot(world.drifted)}")
    newest = "FROM {s}.model_drift_reports ORDER BY window_end DESC LIMIT 1"
    n_columns, n_drifted = [await ask(tracker, f"SELECT {name} {newest}") for name in ("n_columns", "n_drifted")]
    assert (await screen.number("headline")).startswith(f"{n_drifted} of {n_columns} columns")

    await screen.open(f"#/test?id={world.test_id}")
    told = await tracker.ab_test_results(world.test_id)
    facts = [await screen.page.locator(f"dd[data-fact^='{arm}: v']").first.inner_text() for arm in "ab"]
    assert facts == [str(told.n_a), str(told.n_b)] == ["720", "720"]

    await screen.open("#/training")
    stored_runs = await ask(tracker, "SELECT count(*) FROM {s}.model_training_history")
    assert await screen.page.locator("[data-run]").count() == stored_runs == 3
    improvement = await ask(tracker, "SELECT max(performance_improvement)::float8 FROM {s}.model_training_history")
    assert await screen.number("improvement") == f"+{100 * improvement:g}%"


async def test_work_on_alerts(screen: Screen, tracker: ModelPerformanceTracker, world: World) -> None:
    """Acknowledge, snooze, resolve, false positive: each with its comment in the tables and in the history."""
    refs = dict.fromkeys(("seen", "later", "done", "none"), world.worse)
    ids = {
        kind: str((await tracker.alerts.open_or_repeat(ref, alert_type=kind, severity="info", message=kind)).id)
        for kind, ref in refs.items()
    }
    await screen.open("#/alerts")
    for kind, act in (("seen", "Acknowledge"), ("later", "Snooze"), ("done", "Resolve"), ("none", "False positive")):
        card = screen.page.locator(f"[data-alert='{ids[kind]}']")
        await card.locator(f"[data-act='{act}']").click()
        await screen.page.fill("dialog textarea", f"comment on {kind}")
        await screen.page.locator("dialog button[type=submit]").click()
        await expect(screen.page.locator("dialog")).not_to_be_visible()
        await expect(screen.page.locator("#notice")).to_be_visible()
    found = {kind: await tracker.alerts.fetch(alert_id) for kind, alert_id in ids.items()}
    assert found["seen"].acknowledged_at is not None
    assert found["later"].snoozed_until is not None
    assert (found["done"].resolution, found["done"].resolution_notes) == ("manual", "comment on done")
    assert (found["none"].resolution, found["none"].resolution_notes) == ("false_positive", "comment on none")
    snoozed = screen.page.locator("[aria-label='Snoozed alerts']").locator(f"[data-alert='{ids['later']}']")
    await expect(snoozed).to_be_visible()
    await snoozed.locator("summary").click()
    await expect(snoozed.locator("table")).to_contain_text("comment on later")
    assert [each.event for each in await tracker.alerts.list_events(ids["later"])] == ["opened", "snoozed"]


async def test_a_test_and_a_training_run_by_hand(
    screen: Screen, tracker: ModelPerformanceTracker, world: World
) -> None:
    """The running test is concluded, another one started, and a retraining queued and followed until it is done."""
    await screen.open(f"#/test?id={world.test_id}")
    await screen.page.locator("[data-act=Conclude]").click()
    await screen.page.locator("dialog button[type=submit]").click()
    await expect(screen.page.locator("#notice")).to_have_text("The test is concluded.")
    assert (await tracker.ab_tests.fetch(world.test_id)).test_status != "running"

    await screen.open(f"#/tests?{slot(world.worse)}")
    await screen.page.locator("[data-act='Start a test']").click()
    await expect(screen.page.locator("#field-model_b option")).to_have_count(2)
    await screen.page.fill("#field-test_name", "by hand")
    await screen.page.locator("dialog button[type=submit]").click()
    await expect(screen.page.locator("h1")).to_contain_text("by hand")
    [started] = (await tracker.ab_tests.list_active(model_type=world.worse.model_type)).items
    assert (started.test_name, started.model_a != started.model_b) == ("by hand", True)

    await screen.open(f"#/model?{slot(world.drifted)}")
    await screen.page.locator("[data-act=Retrain]").click()
    await screen.page.fill("dialog textarea", "a new sensor")
    await screen.page.locator("dialog button[type=submit]").click()
    await expect(screen.page.locator("#notice")).to_have_text("The training run is queued.")
    run = await tracker.training.claim("worker 9", lease=DAY, model_type=world.drifted.model_type)
    assert run is not None
    assert run.reason == "a new sensor"
    await tracker.training.complete(run.id, run.attempt, sample_count=1234)
    await screen.open(f"#/training?{slot(world.drifted)}")
    await expect(screen.page.locator(f"[data-run='{run.id}']")).to_contain_text("1,234 rows")


async def test_hostile_text_stays_text(screen: Screen, tracker: ModelPerformanceTracker) -> None:
    """Markup in an alert, in a machine's name and in a metric's is shown as it was written, and does nothing."""
    ref = await tracker.register_model(HOSTILE, machine=HOSTILE)
    await tracker.record(ref, metrics={HOSTILE: 1.0, "rmse": 2.0}, evaluation_start=TODAY - DAY, evaluation_end=TODAY)
    await tracker.alerts.open_or_repeat(ref, alert_type=HOSTILE, severity="critical", message=HOSTILE)
    for anchor in ("#/alerts", "#/fleet", f"#/model?{slot(ref)}", f"#/drift?{slot(ref)}", "#/training", "#/tests"):
        await screen.open(anchor)
        assert await screen.page.locator("main img").count() == 0, anchor
        assert await screen.page.title() != "broken", anchor
    await screen.open("#/alerts")
    assert await screen.page.locator(".message").inner_text() == HOSTILE


async def test_empty_views(screen: Screen) -> None:
    """Each says that nothing is there, instead of nothing or a zero."""
    for anchor, text in (
        ("#/alerts", "No alert is open"),
        ("#/fleet", "No model yet"),
        ("#/tests", "No test yet"),
        ("#/training", "No training run yet"),
    ):
        await screen.open(anchor)
        await expect(screen.page.locator("main")).to_contain_text(text)


async def test_errors_are_told(context: BrowserContext, address: str) -> None:
    """503, 403 and 401 have each their words; after the token, which is sent, the view is there."""
    screen = watch(await context.new_page(), address)
    asked: list[str | None] = []

    async def refuse(route: Route) -> None:
        asked.append(route.request.headers.get("authorization"))
        if asked[-1] == "Bearer good":
            await route.continue_()
            return
        status = {1: 503, 2: 403}.get(len(asked), 401)
        headers = {"www-authenticate": "Bearer"} if status == 401 else {}
        await route.fulfill(status=status, headers=headers, json={"detail": f"said {status}"})

    await screen.page.route(f"**{API}/views/**", refuse)
    await screen.open("#/alerts")
    await expect(screen.page.locator(".state.error")).to_contain_text("said 503")
    await screen.page.get_by_role("button", name="Try again").click()
    await expect(screen.page.locator(".state.error")).to_contain_text("You may not see this")
    await screen.page.get_by_role("button", name="Try again").click()
    await expect(screen.page.locator(".state.error")).to_contain_text("Log in first")
    await screen.page.fill("#token", "good")
    await screen.page.keyboard.press("Enter")
    await expect(screen.page.locator("main")).to_contain_text("No alert is open")
    assert {text for text in screen.complaints if "status of" not in text} == set()


async def test_a_late_answer_is_not_shown_under_a_new_name(screen: Screen, world: World) -> None:
    """The first model's answer is held back until the second was asked for: the second's name and values stand."""
    is_held, may_go = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        if str(world.worse.machine_id) in route.request.url:
            is_held.set()
            await may_go.wait()
        with suppress(Error):  # the page has given it up
            await route.continue_()

    await screen.page.route(f"**{API}/views/model**", hold)
    await screen.page.goto(f"{screen.address}{MOUNT}/#/model?{slot(world.worse)}")
    await is_held.wait()
    await screen.page.evaluate("hash => { location.hash = hash }", f"#/model?{slot(world.drifted)}")
    await expect(screen.page.locator("h1")).to_contain_text("compressor 2")
    may_go.set()
    await screen.page.wait_for_timeout(300)
    await expect(screen.page.locator("h1")).to_contain_text("compressor 2")
    await expect(screen.page.locator("main")).not_to_contain_text("press 7")


@pytest.mark.parametrize("strips", [True, False])
async def test_behind_a_proxy(context: BrowserContext, host: FastAPI, address: str, world: World, strips: bool) -> None:
    """Below a prefix that the proxy cuts off or passes on; without the slash at the end as well."""
    if strips:
        upstream = served(host)
    else:
        outer = FastAPI()
        outer.mount(PREFIX, host)
        upstream = served(outer)
    async with upstream as inner, proxied(inner, strips=strips) as outside:
        screen = watch(await context.new_page(), outside)
        await screen.page.goto(f"{outside}{MOUNT}")
        await screen.open("#/fleet")
        assert await screen.number("shown") == "3"
        assert screen.complaints == []


async def test_dark_and_light(screen: Screen, world: World) -> None:
    """The ground is dark where the system's is, at once, and the text on it is not."""
    await screen.open(f"#/model?{slot(world.worse)}")
    light = {}
    for scheme in ("light", "dark"):
        await screen.page.emulate_media(color_scheme=scheme)
        for name in ("backgroundColor", "color"):
            text = await screen.page.evaluate(f"getComputedStyle(document.body).{name}")
            light[scheme, name] = sum(int(part) for part in re.findall(r"\d+", text)[:3]) / 765
    assert light["light", "backgroundColor"] > 0.8 > 0.4 > light["light", "color"]
    assert light["dark", "backgroundColor"] < 0.3 < 0.6 < light["dark", "color"]


async def test_by_keyboard_only(screen: Screen, tracker: ModelPerformanceTracker, world: World) -> None:
    """An alert is acknowledged, and a chart read, without a pointer."""
    await screen.open("#/alerts")
    await _tab_to(screen, "[data-act=Acknowledge]")
    await screen.page.keyboard.press("Enter")
    await expect(screen.page.locator("dialog")).to_be_visible()
    await _tab_to(screen, "dialog textarea")
    await screen.page.keyboard.type("by keyboard")
    await _tab_to(screen, "dialog button[type=submit]")
    await screen.page.keyboard.press("Enter")
    await expect(screen.page.locator("#notice")).to_have_text("Acknowledged.")
    seen = "SELECT count(*) FROM {s}.model_alerts WHERE acknowledgement_notes = 'by keyboard'"
    assert await ask(tracker, seen) == 1
    await screen.open(f"#/model?{slot(world.worse)}")
    await _tab_to(screen, ".plot")
    await screen.page.keyboard.press("Home")
    await expect(screen.page.locator(".readout").first).to_contain_text(": v")


async def _tab_to(screen: Screen, selector: str) -> None:
    for _ in range(60):
        await screen.page.keyboard.press("Tab")
        if await screen.page.evaluate("s => document.activeElement.matches(s)", selector):
            return
    pytest.fail(f"{selector} is not reached by the keyboard")
