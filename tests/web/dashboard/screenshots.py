"""Pictures of every view, for eyes: ``python -m tests.web.dashboard.screenshots DIRECTORY``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

from fastapi import FastAPI
from playwright.async_api import async_playwright
from tests.servers import session_server
from tests.web.chromium import launch
from tests.web.dashboard.world import World, make_world
from tests.web.serving import served

from model_perf import ModelPerformanceTracker, ModelRef
from model_perf.web import create_dashboard, create_router

SIZES = {"wide": (1280, 900), "narrow": (360, 740)}


def _slot(ref: ModelRef) -> str:
    return urlencode({"model_type": ref.model_type, "machine_id": ref.machine_id})


def addresses(world: World) -> Mapping[str, str]:
    """The views by name."""
    return {
        "alerts": "#/alerts",
        "fleet": "#/fleet",
        "model": f"#/model?{_slot(world.worse)}",
        "drift": f"#/drift?{_slot(world.drifted)}",
        "tests": "#/tests",
        "test": f"#/test?id={world.test_id}",
        "training": "#/training",
        "picker": "#/model",
    }


async def _take(dsn: str, folder: Path) -> None:
    async with ModelPerformanceTracker.connect(dsn) as tracker:
        await tracker.migrate()
        world = await make_world(tracker, n_others=36)
        app = FastAPI()
        app.include_router(create_router(tracker, allow_anonymous=True), prefix="/api/v1/model-performance")
        app.mount("/model-performance", create_dashboard())
        async with served(app) as address, async_playwright() as playwright:
            browser = await launch(playwright)
            for size, (width, height) in SIZES.items():
                for scheme in ("light", "dark"):
                    page = await browser.new_page(
                        viewport={"width": width, "height": height},
                        color_scheme=scheme,
                    )
                    for name, anchor in addresses(world).items():
                        await page.goto(f"{address}/model-performance/{anchor}")
                        await page.wait_for_selector("main:not([aria-busy])")
                        await page.wait_for_timeout(250)
                        await page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
                    await page.close()
            await browser.close()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with session_server() as server:
        asyncio.run(_take(server, target))
