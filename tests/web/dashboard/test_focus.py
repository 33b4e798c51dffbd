"""The keyboard's place on the page: kept when it is drawn anew, found again after a dialog, never lost."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Route, expect
from tests.web.dashboard.conftest import PATIENCE_MS, Shown, hold, slot
from tests.web.dashboard.world import DAY, TODAY, World

from model_perf import Alert, ModelPerformanceTracker, ModelRef

FOCUS = "document.activeElement.dataset.focus ?? document.activeElement.textContent"


@pytest.fixture
async def ref(tracker: ModelPerformanceTracker) -> ModelRef:
    ref = await tracker.register_model("energy", machine="press 7")
    await tracker.record(ref, evaluation_start=TODAY - DAY, evaluation_end=TODAY, metrics={"rmse": 2.0, "mae": 1.0})
    return ref


@pytest.fixture
async def alert(tracker: ModelPerformanceTracker, ref: ModelRef) -> Alert:
    return await tracker.alerts.open_or_repeat(ref, alert_type="x", severity="warning", message="look")


async def poll(shown: Shown) -> None:
    await shown.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


async def test_what_is_drawn_anew_keeps_the_focus(
    shown: Shown, tracker: ModelPerformanceTracker, ref: ModelRef, alert: Alert
) -> None:
    """A button, a link, a summary: after a poll that has brought another alert before it."""
    await shown.open("alerts")
    card = shown.page.locator(f'[data-alert="{alert.id}"]')
    for number, target in enumerate(("button", "a", "summary")):
        await card.locator(target).first.focus()
        before = await shown.page.evaluate(FOCUS)
        await tracker.alerts.open_or_repeat(ref, alert_type=f"k{number}", severity="critical", message="new")
        await poll(shown)
        await expect(shown.page.locator("[data-alert]")).to_have_count(number + 2, timeout=PATIENCE_MS)
        assert await shown.page.evaluate(FOCUS) == before, target
        assert await shown.page.evaluate("document.activeElement.isConnected")


async def test_a_metric_and_a_period_are_chosen_by_the_keyboard(shown: Shown, ref: ModelRef) -> None:
    """The list keeps the focus, though the view is asked for again."""
    await shown.open("model", **slot(ref))
    for key in ("days", "metric"):
        await shown.page.locator(f'[data-focus="{key}"]').focus()
        await shown.page.keyboard.press("ArrowUp" if key == "days" else "ArrowDown")
        await shown.page.wait_for_url(f"**{key}=*")
        await shown.is_there()
        await expect(shown.page.locator(f'[data-focus="{key}"]')).to_be_focused(timeout=PATIENCE_MS)
    await expect(shown.page.locator('[data-fact="Latest MAE"]').first).to_have_text("1", timeout=PATIENCE_MS)


async def test_the_menu_keeps_the_focus_and_a_link_leads_into_the_view(shown: Shown, ref: ModelRef) -> None:
    """The next Tab goes on where one was, or begins in the new view."""
    await shown.open("alerts")
    await shown.page.locator("nav a", has_text="Fleet").focus()
    await shown.page.keyboard.press("Enter")
    await expect(shown.page.locator("table.fleet")).to_be_visible(timeout=PATIENCE_MS)
    await expect(shown.page.locator("nav a", has_text="Fleet")).to_be_focused(timeout=PATIENCE_MS)
    await shown.page.locator("td.cell-model a").focus()
    await shown.page.keyboard.press("Enter")
    await expect(shown.page.locator("h1")).to_contain_text("press 7", timeout=PATIENCE_MS)
    await shown.is_there()
    await expect(shown.page.locator("#main")).to_be_focused(timeout=PATIENCE_MS)


async def test_the_search_keeps_text_and_caret(shown: Shown, tracker: ModelPerformanceTracker, ref: ModelRef) -> None:
    """Where models are picked and in the fleet, after a poll with another model."""
    for number, view in enumerate(("model", "fleet")):
        await shown.open(view)
        field = shown.page.locator('[data-focus="search"]')
        await field.click()
        await shown.page.keyboard.type("press")
        await shown.page.keyboard.press("ArrowLeft")
        await tracker.register_model("energy", machine=f"press {number + 10}")
        await poll(shown)
        found = shown.page.locator(".picker li" if view == "model" else "tbody tr")
        await expect(found).to_have_count(number + 2, timeout=PATIENCE_MS)
        await shown.page.keyboard.type("s")
        assert await field.input_value() == "presss"
        assert await shown.page.evaluate("document.activeElement.selectionStart") == 5


async def test_a_dialog_keeps_what_is_typed_and_gives_the_focus_back(
    shown: Shown, tracker: ModelPerformanceTracker, ref: ModelRef, alert: Alert
) -> None:
    """While polls draw the view under it anew."""
    await shown.open("alerts")
    button = shown.page.locator(f'[data-focus="{alert.id} Snooze"]')
    await button.focus()
    await shown.page.keyboard.press("Enter")
    await shown.page.locator("#field-notes").focus()
    await shown.page.keyboard.type("half a sen")
    await tracker.alerts.open_or_repeat(ref, alert_type="y", severity="critical", message="new")
    await poll(shown)
    await expect(shown.page.locator("[data-alert]")).to_have_count(2, timeout=PATIENCE_MS)
    await shown.page.keyboard.type("tence")
    assert await shown.page.locator("#field-notes").input_value() == "half a sentence"
    await shown.page.keyboard.press("Escape")
    await expect(button).to_be_focused()


async def test_a_dialog_goes_with_its_view(shown: Shown, alert: Alert) -> None:
    """The browser's button leads back, and takes the question along."""
    await shown.open("fleet")
    await shown.page.evaluate("location.hash = '#/alerts'")
    await shown.page.locator('[data-act="Resolve"]').click()
    await expect(shown.page.locator("dialog")).to_be_visible()
    await shown.page.go_back()
    await expect(shown.page.locator("table.fleet")).to_be_visible(timeout=PATIENCE_MS)
    await expect(shown.page.locator("dialog")).not_to_be_visible()


@pytest.mark.parametrize("is_refused", [False, True])
async def test_an_act_whose_dialog_was_closed_is_told(
    shown: Shown, tracker: ModelPerformanceTracker, alert: Alert, is_refused: bool
) -> None:
    """It is under way and cannot be taken back: done or refused, the page says so."""
    release = await hold(shown.page, "**/resolve*")
    await shown.open("alerts")
    await shown.act("Resolve", "Resolve", notes="belt")
    await shown.page.get_by_role("button", name="Close").click()
    await expect(shown.page.locator("dialog")).not_to_be_visible()
    if is_refused:
        await tracker.resolve_alert(alert.id, resolution="recovered", by="bo")
    release.set()
    notice = shown.page.locator("#notice")
    await expect(notice).to_contain_text("already" if is_refused else "Resolved.", timeout=PATIENCE_MS)
    if is_refused:
        shown.complaints.clear()  # the browser's own note of a 409
    else:
        await expect(shown.page.locator("[data-alert]")).to_have_count(0, timeout=PATIENCE_MS)


async def test_an_act_without_an_answer_is_not_called_undone(shown: Shown, alert: Alert) -> None:
    """The connection has broken: whether it was done is not known, and that is said."""
    await shown.page.route("**/resolve*", lambda route: route.abort())
    await shown.open("alerts")
    await shown.act("Resolve", "Resolve")
    await expect(shown.page.locator("dialog .problem")).to_contain_text("not known")
    shown.complaints.clear()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": 502, "content_type": "text/html", "body": "<b>no</b>"}, "Bad Gateway. Whether it was done is not"),
        ({"status": 422, "json": {"detail": [{"msg": "unit is missing"}, {"msg": "b"}]}}, "unit is missing; b"),
        ({"status": 422, "content_type": "application/problem+json", "body": '{"detail":"notes: x"}'}, "notes: x"),
        ({"status": 403, "json": {"detail": "readers look"}}, "You may not do this: readers look"),
        ({"status": 401, "json": {"detail": "x"}}, "You are logged in no longer"),
        ({"status": 200, "content_type": "text/html", "body": "<form>"}, "You are logged in no longer"),
    ],
    ids=["gateway", "fastapi", "ours", "right", "session", "login page"],
)
async def test_a_refusal_is_told_in_words(shown: Shown, alert: Alert, answer: dict[str, Any], expected: str) -> None:
    """In the dialog, which stays with what was typed."""
    await shown.page.route("**/resolve*", lambda route: route.fulfill(**answer))
    await shown.open("alerts")
    await shown.act("Resolve", "Resolve", notes="belt")
    await expect(shown.page.locator("dialog .problem")).to_contain_text(expected)
    assert await shown.page.locator("#field-notes").input_value() == "belt"
    shown.complaints.clear()  # the browser's own note of the status


async def test_a_question_whose_models_come_late_is_dropped(shown: Shown, world: World) -> None:
    """Nobody is asked on another view than that of the button; and once, however often it was pressed."""
    twice = "button => { button.click(); button.click(); }"  # faster than a dialog can come between them
    await shown.open("training")
    release = await hold(shown.page, "**/views/fleet*")
    await shown.page.locator('[data-act="Retrain"]').evaluate(twice)
    await shown.page.evaluate("location.hash = '#/alerts'")
    await expect(shown.page.locator("h1")).to_have_text("Alerts")
    release.set()
    await expect(shown.page.locator("#notice")).to_contain_text("dropped", timeout=PATIENCE_MS)
    assert not await shown.page.locator("dialog").is_visible()
    await shown.open("training")
    await shown.page.locator('[data-act="Retrain"]').evaluate(twice)
    await expect(shown.page.locator("dialog")).to_be_visible()
    await expect(shown.page.locator("dialog h2")).to_have_count(1)
    await shown.page.keyboard.press("Escape")
    await expect(shown.page.locator("dialog")).not_to_be_visible()


async def test_a_redirect_to_a_login_page_is_the_end_of_a_session(shown: Shown) -> None:
    """As of a proxy that logs people in elsewhere, where the page's own policy does not let it look."""

    async def away(route: Route) -> None:
        await route.fulfill(status=302, headers={"location": "https://login.example/"})

    await shown.page.route("**/api/**", away)
    await shown.open("alerts")
    assert await shown.page.locator(".state h2").inner_text() == "Log in first"
    assert shown.complaints == []


async def test_a_token_that_no_header_takes_is_not_kept(shown: Shown) -> None:
    """It would make every request of the tab impossible."""

    def refuse(route: Any) -> Any:
        return route.fulfill(status=401, headers={"www-authenticate": "Bearer"}, json={"detail": "no"})

    await shown.page.route("**/api/**", refuse)
    await shown.open("alerts")
    await shown.page.fill("#token", "schlüssel-ж")
    await shown.page.keyboard.press("Enter")
    assert await shown.page.evaluate("sessionStorage.length") == 0
    await shown.page.fill("#token", " right ")
    await shown.page.unroute("**/api/**")
    await shown.page.keyboard.press("Enter")
    await expect(shown.page.locator(".state h2")).to_have_text("Nothing needs you", timeout=PATIENCE_MS)
    shown.complaints.clear()  # the browser's own note of a 401


async def test_a_fault_of_the_page_is_said(shown: Shown) -> None:
    """An answer that it cannot draw, as of another release: no Loading for ever."""
    await shown.page.route("**/api/**/views/fleet*", lambda route: route.fulfill(json={"now": "2026-01-01T00:00:00Z"}))
    await shown.open("fleet")
    assert "The page has a fault" in await shown.page.locator(".state.error").inner_text()
    assert shown.complaints
    shown.complaints.clear()
