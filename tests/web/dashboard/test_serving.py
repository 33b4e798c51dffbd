"""The page of `model-perf serve` in a real Chromium."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect
from tests.web.dashboard.conftest import Shown, listen
from tests.web.dashboard.world import World
from tests.web.serving import served

from model_perf import ModelPerformanceTracker
from model_perf.web._serving import PAGE, create_app


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("write", [False, True])
async def test_read_only_is_shown(
    page: Page, tracker: ModelPerformanceTracker, world: World, write: bool, width: int
) -> None:
    """A word in the head and no buttons, or buttons and no word; nothing is pushed out of the window."""
    async with served(create_app(tracker, write=write)) as address:
        shown = Shown(page, address + PAGE)
        listen(page, shown.complaints)
        await page.set_viewport_size({"width": width, "height": 900})
        await shown.open("alerts")
        assert (await page.locator("[data-act]").count() > 0) == write
        word = page.get_by_text("Read-only", exact=True)
        await expect(word).to_have_count(0 if write else 1)
        if not write:
            await expect(word).to_be_in_viewport(ratio=1)
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        assert shown.complaints == []


async def test_the_token_is_asked_for(page: Page, tracker: ModelPerformanceTracker, world: World) -> None:
    """Once a tab; a wrong one is told so, with the right one the models are there."""
    async with served(create_app(tracker, token="right")) as address:
        shown = Shown(page, address + PAGE)
        await shown.open("fleet")
        await expect(page.locator(".state.error")).to_contain_text("Log in first")
        for token in ("wrong", "right"):
            await page.fill("#token", token)
            await page.keyboard.press("Enter")
            if token == "wrong":
                await expect(page.locator(".state.error")).to_contain_text("was refused")
        await expect(page.locator("[data-number=shown]")).to_have_text("3")
        await page.reload()
        await expect(page.locator("[data-number=shown]")).to_have_text("3")
