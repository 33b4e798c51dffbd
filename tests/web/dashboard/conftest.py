"""The dashboard of a host, in a real Chromium that must not complain of anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
from attrs import field, frozen
from fastapi import FastAPI
from playwright.async_api import Browser, ConsoleMessage, Page, Route, async_playwright, expect
from tests.web.chromium import launch, needs_chromium
from tests.web.dashboard.world import World, make_world
from tests.web.serving import served

from model_perf import ModelPerformanceTracker, ModelRef
from model_perf.web import create_dashboard, create_router

API = "/api/v1/model-performance"
MOUNT = "/model-performance"
PATIENCE_MS = 30_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "page" in getattr(item, "fixturenames", ()):
            item.add_marker(needs_chromium)


@frozen
class Shown:
    """The page of a browser, where its dashboard is, and what the browser complained of."""

    page: Page
    address: str
    complaints: list[str] = field(factory=list)

    async def open(self, view: str, **query: object) -> None:
        """Open a view, and wait until it is there."""
        await self.page.goto(f"{self.address}/#/{view}{'?' + urlencode(query) if query else ''}")
        await self.is_there()

    async def is_there(self) -> None:
        await expect(self.page.locator("main[aria-busy]")).to_have_count(0, timeout=PATIENCE_MS)

    async def number(self, name: str) -> str:
        return await self.page.locator(f'[data-number="{name}"]').first.inner_text()

    async def fact(self, name: str) -> str:
        return await self.page.locator(f'[data-fact="{name}"]').first.inner_text()

    async def table(self, caption: str) -> list[list[str]]:
        """The cells of a table, row by row."""
        await expect(self.page.locator(f'[aria-label="{caption}"]')).to_be_visible()
        rows = self.page.locator(f'[aria-label="{caption}"] tbody tr')
        return [await row.locator("td").all_inner_texts() for row in await rows.all()]

    async def act(self, button: str, confirm: str, **fields: str) -> None:
        """Press a button, fill in the dialog's fields, and confirm."""
        await self.page.locator(f'[data-act="{button}"]').first.click()
        for name, value in fields.items():
            control = self.page.locator(f"#field-{name}")
            is_select = await control.evaluate("node => node.tagName === 'SELECT'")
            await (control.select_option(value) if is_select else control.fill(value))
        await self.page.locator("#dialog [type=submit]").get_by_text(confirm, exact=True).click()


async def hold(page: Page, pattern: str) -> asyncio.Event:
    """Keep requests waiting until the event is set."""
    release = asyncio.Event()

    async def wait(route: Route) -> None:
        await release.wait()
        await route.continue_()

    await page.route(pattern, wait)
    return release


def slot(ref: ModelRef) -> dict[str, str]:
    return {"model_type": ref.model_type, "machine_id": str(ref.machine_id)}


def make_host(tracker: ModelPerformanceTracker, **options: Any) -> FastAPI:
    """A host that has mounted both, in two lines."""
    app = FastAPI(openapi_url=None)
    app.include_router(create_router(tracker, **(options or {"allow_anonymous": True})), prefix=API)
    app.mount(MOUNT, create_dashboard())
    return app


@pytest.fixture
async def world(tracker: ModelPerformanceTracker) -> World:
    return await make_world(tracker)


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        yield browser
        await browser.close()


@pytest.fixture
async def page(chromium: Browser) -> AsyncIterator[Page]:
    """A page of its own context; in UTC, so that times read as SQL has them."""
    context = await chromium.new_context(timezone_id="UTC", viewport={"width": 1280, "height": 900})
    yield await context.new_page()
    await context.close()


def listen(page: Page, complaints: list[str]) -> None:
    def note(message: ConsoleMessage) -> None:
        complaints.append(f"{message.type}: {message.text}")

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))


@pytest.fixture
async def address(tracker: ModelPerformanceTracker) -> AsyncIterator[str]:
    async with served(make_host(tracker)) as address:
        yield f"{address}{MOUNT}"


@pytest.fixture
async def shown(page: Page, address: str) -> AsyncIterator[Shown]:
    """Fails on any message of the console, a refusal of the content security policy among them."""
    found = Shown(page, address)
    listen(page, found.complaints)
    yield found
    assert found.complaints == []


def written(value: float | None, digits: int = 4) -> str:
    """A number as the page writes it."""
    if value is None:
        return "–"
    return f"{float(f'{value:.{digits}g}'):,.10f}".rstrip("0").rstrip(".").replace("-", "−")
