"""What stands on the page while there is nothing, not yet, no answer, no right; and text that means harm."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPBearer
from playwright.async_api import Page, expect
from tests.web.dashboard.conftest import MOUNT, PATIENCE_MS, Shown, hold, listen, make_host, slot
from tests.web.dashboard.world import DAY, TODAY
from tests.web.serving import served

from model_perf import ModelPerformanceTracker

MARKUP = "<img src=x onerror=\"document.title='owned'\"> & <b>"


def browser_notes(shown: Shown, status: int) -> bool:
    """Whether the browser itself noted failed fetches of that status, and nothing else; the list is emptied."""
    notes = list(shown.complaints)
    shown.complaints.clear()
    return bool(notes) and all(f"status of {status}" in note for note in notes)


@pytest.mark.parametrize(
    ("view", "heading"),
    [
        ("alerts", "Nothing needs you"),
        ("fleet", "No model yet"),
        ("model", "No model yet"),
        ("drift", "No model yet"),
        ("tests", "No test yet"),
        ("training", "No training run yet"),
    ],
)
async def test_nothing_stored_is_said_in_words(shown: Shown, view: str, heading: str) -> None:
    """An installation without a row shows an invitation in each view."""
    await shown.open(view)
    assert await shown.page.locator(".state h2").inner_text() == heading


async def test_a_model_without_evaluations_is_unknown(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """Never evaluated, never checked: unknown everywhere, and fine nowhere."""
    ref = await tracker.register_model("energy", machine="press 7")
    for view in ("model", "drift"):
        await shown.open(view, **slot(ref))
        states = [await each.get_attribute("data-state") for each in await shown.page.locator(".badge").all()]
        assert "insufficient_data" in states
        assert "ok" not in states


async def test_hostile_text_is_text(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """Markup in names, metrics, alerts, reasons and tests is shown as it was written, in every view."""
    ref = await tracker.register_model(MARKUP, machine=MARKUP, version=MARKUP)
    other = await tracker.register_model(MARKUP, machine=MARKUP, version="2")
    values = {MARKUP: 1.0, "rmse": 2.0}
    await tracker.record(ref, evaluation_start=TODAY - DAY, evaluation_end=TODAY, metrics=values)
    await tracker.alerts.open_or_repeat(ref, alert_type=MARKUP, severity="critical", message=MARKUP)
    await tracker.trigger_retraining(model_type=MARKUP, machine_id=ref.machine_id, reason=MARKUP)
    test = await tracker.start_ab_test(
        name=MARKUP, model_a=ref, model_b=other, duration=DAY, metric=MARKUP, direction="lower"
    )
    reference = {MARKUP: [MARKUP, "b"] * 50}
    await tracker.set_reference(ref, reference)
    await tracker.check_data_drift(ref, {MARKUP: [f"{MARKUP}2", "b"] * 50})
    views: list[tuple[str, dict[str, object]]] = [
        ("alerts", {}), ("fleet", {}), ("model", {}), ("model", dict(slot(ref))), ("drift", dict(slot(ref))),
        ("model", {**slot(ref), "metric": MARKUP}), ("tests", {}), ("test", {"id": test.id}), ("training", {}),
    ]  # fmt: skip
    for view, query in views:
        await shown.open(view, **query)
        for summary in await shown.page.locator("main summary").all():
            await summary.click()
        assert MARKUP in await shown.page.locator("main").inner_text(), view
        assert await shown.page.locator("main img, main b b").count() == 0
        assert "Model performance" in await shown.page.title()


async def test_a_slow_answer_is_waited_for_in_sight(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """While an answer is on its way the page says so; nothing of the view before stays under the new name."""
    one = await tracker.register_model("energy", machine="press 7")
    two = await tracker.register_model("energy", machine="lathe 1")
    for ref in (one, two):
        await tracker.record(ref, evaluation_start=TODAY - DAY, evaluation_end=TODAY, metrics={"rmse": 2.0})
    await shown.open("model", **slot(one))
    await expect(shown.page.locator(".plot canvas")).to_be_visible()
    release = await hold(shown.page, "**/views/model*")
    await shown.page.evaluate(f"location.hash = '#/model?model_type=energy&machine_id={two.machine_id}'")
    await expect(shown.page.locator("main .skeleton")).to_be_visible()
    assert await shown.page.locator("canvas").count() == 0
    assert "press 7" not in await shown.page.locator("main").inner_text()
    release.set()
    await expect(shown.page.locator("h1")).to_contain_text("lathe 1", timeout=PATIENCE_MS)


async def test_the_answer_that_comes_too_late_is_dropped(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """Of two views asked for one after the other the second is shown, whichever answer comes first."""
    ref = await tracker.register_model("energy", machine="press 7")
    await shown.open("alerts")
    release = await hold(shown.page, "**/views/model*")
    await shown.page.evaluate(f"location.hash = '#/model?model_type=energy&machine_id={ref.machine_id}'")
    await expect(shown.page.locator("main .skeleton")).to_be_visible()
    await shown.page.evaluate("location.hash = '#/fleet'")
    await expect(shown.page.locator("table.fleet")).to_be_visible()
    release.set()
    await shown.page.wait_for_timeout(300)
    assert await shown.page.locator("h1").inner_text() == "Fleet"


async def test_an_error_says_what_the_api_said(page: Page, tracker: ModelPerformanceTracker) -> None:
    """A 503 is shown with the mend, and a second try shows the view."""
    broken = ModelPerformanceTracker(lambda: holder["pool"], schema=tracker.schema)
    holder: dict[str, Any] = {}
    async with served(make_host(broken)) as address:
        shown = Shown(page, f"{address}{MOUNT}")
        listen(page, shown.complaints)
        await shown.open("fleet")
        assert "the pool does not exist yet" in await page.locator(".state.error").inner_text()
        assert browser_notes(shown, 503)
        holder["pool"] = tracker.pool
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator(".state h2")).to_have_text("No model yet")
        assert shown.complaints == []


async def test_what_cannot_be_refreshed_is_kept_and_marked_as_old(
    shown: Shown, tracker: ModelPerformanceTracker
) -> None:
    """A poll that fails leaves the data, and says that they are old."""
    await tracker.register_model("energy", machine="press 7")
    await shown.open("fleet")
    await shown.page.route("**/views/fleet*", lambda route: route.fulfill(status=503, body="{}"))
    await shown.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(shown.page.locator("#freshness.stale")).to_contain_text("Could not be refreshed")
    assert await shown.number("shown") == "1"
    assert browser_notes(shown, 503)


async def test_an_id_that_is_not_there_is_said(shown: Shown) -> None:
    """A link to what was deleted leads to a page that says so."""
    await shown.open("test", id="00000000-0000-4000-8000-000000000001")
    assert await shown.page.locator(".state h2").inner_text() == "This is not there"
    assert browser_notes(shown, 404)


_BEARER = Depends(HTTPBearer(auto_error=False))


async def _current_user(token: Any = _BEARER) -> None:
    if token is None or token.credentials != "secret":
        raise HTTPException(401, "log in first", {"WWW-Authenticate": "Bearer"})


async def test_a_token_is_asked_for_once(page: Page, tracker: ModelPerformanceTracker) -> None:
    """401: the page says what to do; a wrong token is refused, a right one is kept for the tab."""
    async with served(make_host(tracker, dependencies=[Depends(_current_user)])) as address:
        shown = Shown(page, f"{address}{MOUNT}")
        listen(page, shown.complaints)
        await shown.open("fleet")
        assert "log in first" in await page.locator(".state.error").inner_text()
        await page.fill("#token", "wrong")
        await page.get_by_role("button", name="Go on").click()
        await expect(page.locator(".state.error")).to_contain_text("was refused")
        await page.fill("#token", "secret")
        await page.get_by_role("button", name="Go on").click()
        await expect(page.locator(".state h2")).to_have_text("No model yet")
        assert browser_notes(shown, 401)
        await page.reload()
        await expect(page.locator(".state h2")).to_have_text("No model yet")
        assert shown.complaints == []
        assert await page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


async def test_a_session_that_has_ended_is_no_data(shown: Shown) -> None:
    """A host that answers with its login page: the page asks to log in, and shows no form for a token."""
    await shown.page.route("**/api/**", lambda route: route.fulfill(content_type="text/html", body="<h1>Log in</h1>"))
    await shown.open("alerts")
    assert await shown.page.locator(".state h2").inner_text() == "Log in first"
    assert await shown.page.locator("#token").count() == 0


async def test_the_hosts_cookies_go_along(page: Page, tracker: ModelPerformanceTracker) -> None:
    """A session cookie of the host is all that a host with sessions needs."""

    async def with_cookie(request: Request) -> None:
        if request.cookies.get("session") != "ana":
            raise HTTPException(401, "log in first")

    async with served(make_host(tracker, dependencies=[Depends(with_cookie)])) as address:
        await page.context.add_cookies([{"name": "session", "value": "ana", "url": address}])
        shown = Shown(page, f"{address}{MOUNT}")
        await shown.open("alerts")
        assert await page.locator(".state h2").inner_text() == "Nothing needs you"


async def test_a_route_that_is_not_there_hides_its_button(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """An API of an older release: the first try says so, and the button is gone."""
    ref = await tracker.register_model("energy", machine="press 7")
    await tracker.alerts.open_or_repeat(ref, alert_type="x", severity="info", message="m")
    await shown.page.route(
        "**/snooze*",
        lambda route: route.fulfill(status=404, content_type="application/json", body='{"detail":"Not Found"}'),
    )
    await shown.open("alerts")
    await shown.act("Snooze", "Snooze")
    await expect(shown.page.locator("dialog .problem")).to_contain_text("newer release")
    assert await shown.page.locator('[data-act="Snooze"]').count() == 0
    assert await shown.page.locator('[data-act="Resolve"]').count() == 1
    assert browser_notes(shown, 404)


async def test_a_hidden_tab_asks_nothing(shown: Shown) -> None:
    """Polling stops while nobody looks, and the first look asks at once."""
    await shown.page.clock.install()
    await shown.open("alerts")
    asked: list[str] = []
    shown.page.on("request", lambda request: asked.append(request.url))

    async def turn(hidden: bool) -> None:
        await shown.page.evaluate(
            """hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
                           document.dispatchEvent(new Event('visibilitychange')); }""",
            hidden,
        )

    await turn(True)
    await shown.page.clock.run_for(600_000)
    assert asked == []
    await turn(False)
    for _ in range(100):
        if asked:
            break
        await asyncio.sleep(0.05)
    assert len(asked) == 1
