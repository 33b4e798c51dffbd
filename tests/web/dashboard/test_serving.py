"""The page of `model-perf serve` in a real Chromium."""

from __future__ import annotations

import pytest
from playwright.async_api import BrowserContext, expect
from tests.web.chromium import needs_chromium
from tests.web.dashboard.screen import watch
from tests.web.dashboard.world import World
from tests.web.serving import served

from model_perf import ModelPerformanceTracker
from model_perf.web._serving import create_app

pytestmark = needs_chromium


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("write", [False, True])
async def test_read_only_is_shown(
    context: BrowserContext, tracker: ModelPerformanceTracker, world: World, write: bool, width: int
) -> None:
    """A word in the head and no buttons, or buttons and no word; nothing is pushed out of the window."""
    async with served(create_app(tracker, write=write)) as address:
        screen = watch(await context.new_page(), address)
        await screen.page.set_viewport_size({"width": width, "height": 900})
        await screen.open("#/alerts")
        buttons = await screen.page.locator("[data-act]").count()
        await expect(screen.page.get_by_text("Read-only", exact=True)).to_have_count(0 if write else 1)
        if not write:
            await expect(screen.page.get_by_text("Read-only", exact=True)).to_be_in_viewport(ratio=1)
        assert (buttons > 0) == write
        assert await screen.page.evaluate("document.documentElement.scrollWidth") == width
        assert screen.complaints == []


async def test_the_token_is_asked_for(context: BrowserContext, tracker: ModelPerformanceTracker, world: World) -> None:
    """Once a tab; a wrong one is told so, with the right one the models are there."""
    async with served(create_app(tracker, token="right")) as address:
        screen = watch(await context.new_page(), address)
        await screen.open("#/fleet")
        await expect(screen.page.locator(".state.error")).to_contain_text("Log in first")
        for token in ("wrong", "right"):
            await screen.page.fill("#token", token)
            await screen.page.keyboard.press("Enter")
            if token == "wrong":
                await expect(screen.page.locator(".state.error")).to_contain_text("was refused")
        await expect(screen.page.locator("[data-number=shown]")).to_have_text("3")
        await screen.page.reload()
        await expect(screen.page.locator("[data-number=shown]")).to_have_text("3")
