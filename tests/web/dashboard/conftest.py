"""A host with the dashboard, and a browser that looks at it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from playwright.async_api import Browser, BrowserContext, async_playwright
from tests.web.chromium import launch
from tests.web.dashboard.screen import API, MOUNT, PATIENCE_MS, Screen, watch
from tests.web.dashboard.world import World, make_world
from tests.web.serving import served

from model_perf import ModelPerformanceTracker
from model_perf.web import create_dashboard, create_router


@pytest.fixture
def host(tracker: ModelPerformanceTracker) -> FastAPI:
    """A host that lets everybody in."""
    app = FastAPI()
    app.include_router(create_router(tracker, allow_anonymous=True), prefix=API)
    app.mount(MOUNT, create_dashboard())
    return app


@pytest.fixture
async def world(tracker: ModelPerformanceTracker) -> World:
    return await make_world(tracker)


@pytest.fixture
async def address(host: FastAPI) -> AsyncIterator[str]:
    async with served(host) as address:
        yield address


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        yield browser
        await browser.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    yield context
    await context.close()


@pytest.fixture
async def screen(context: BrowserContext, address: str) -> AsyncIterator[Screen]:
    """A page that at the end must have had nothing to complain of."""
    screen = watch(await context.new_page(), address)
    yield screen
    assert screen.complaints == []
