"""The page as a host mounts it: its files, headers and size, proxies, colours, the keyboard, narrow screens."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI
from playwright.async_api import Browser, Page, expect
from tests.pages import ROOT
from tests.web.dashboard.conftest import API, MOUNT, Shown, listen, make_host, slot
from tests.web.dashboard.world import World, make_world
from tests.web.serving import PREFIX, proxied, served

from model_perf import InvalidInputError, ModelPerformanceTracker
from model_perf.web import create_dashboard

STATIC = ROOT / "src" / "model_perf" / "web" / "static"
ASSETS = [path for path in sorted(STATIC.rglob("*")) if path.is_file()]
LIMIT_BYTES = 200_000
COLOURS = "(({ backgroundColor, color }) => [backgroundColor, color])(getComputedStyle(document.body))"


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host")


@pytest.fixture
def host() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.mount(MOUNT, create_dashboard())
    return app


def test_all_assets_together_are_small() -> None:
    """Fewer than 200 kB when compressed."""
    size = sum(len(gzip.compress(path.read_bytes(), 6)) for path in ASSETS)
    assert size < LIMIT_BYTES, size


def test_what_is_not_ours_is_what_its_author_published() -> None:
    """Version, licence and checksums of the manifest are those of the files, and no other file lies there."""
    manifest = json.loads((STATIC / "vendor" / "manifest.json").read_text())
    there = {path.relative_to(STATIC / "vendor").as_posix() for path in ASSETS if "vendor" in path.parts}
    told = {f"{name}/{file}" for name, each in manifest.items() for file in each["files"]}
    assert there == told | {"manifest.json"}
    for name, each in manifest.items():
        for file, digest in each["files"].items():
            content = (STATIC / "vendor" / name / file).read_bytes()
            assert sha256(content).hexdigest() == digest, file
        assert f"(v{each['version']})" in (STATIC / "vendor" / name / "uPlot.esm.js").read_text()[:400]
        assert "MIT" in (STATIC / "vendor" / name / "LICENSE").read_text()


@pytest.mark.parametrize("path", [p for p in ASSETS if "vendor" not in p.parts], ids=lambda p: p.name)
def test_nothing_is_inline_and_nothing_from_elsewhere(path: Path) -> None:
    """No markup from text, no style or handler in an attribute, no address of another host."""
    text = path.read_text(encoding="utf-8")
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "https://",
        "style=",
        "onclick=",
    ):
        assert word not in text, word
    assert "http://" not in text.replace("http://www.w3.org/", "")


async def test_every_file_is_sent_with_its_policy(host: FastAPI) -> None:
    """Media type, policy and tag of each file; the same tag again is answered without the content."""
    async with client_of(host) as client:
        for path in ASSETS:
            address = f"{MOUNT}/{path.relative_to(STATIC).as_posix()}"
            answer = await client.get(address)
            assert answer.status_code == 200, address
            assert "default-src 'self'" in answer.headers["content-security-policy"]
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-cache"
            kept = await client.get(address, headers={"if-none-match": f'"x", W/{answer.headers["etag"]}'})
            assert (kept.status_code, kept.content) == (304, b"")
            head = await client.head(address)
            assert (head.status_code, head.headers["etag"]) == (200, answer.headers["etag"])
        kinds = {
            p: (await client.get(f"{MOUNT}/{p}")).headers["content-type"]
            for p in ("", "app.js", "style.css", "icon.svg")
        }
    assert kinds == {
        "": "text/html; charset=utf-8",
        "app.js": "text/javascript; charset=utf-8",
        "style.css": "text/css; charset=utf-8",
        "icon.svg": "image/svg+xml",
    }


async def test_the_tag_of_the_page_follows_its_api(host: FastAPI) -> None:
    """Two hosts' pages differ in one attribute, and so do their tags; its value is escaped."""
    other = FastAPI(openapi_url=None)
    other.mount(MOUNT, create_dashboard(api='../"><script>', read_only=True))
    async with client_of(host) as one, client_of(other) as two:
        first, second = await one.get(f"{MOUNT}/"), await two.get(f"{MOUNT}/")
    assert first.headers["etag"] != second.headers["etag"]
    assert 'content="../api/v1/model-performance"' in first.text
    assert 'content="../&quot;&gt;&lt;script&gt;"' in second.text
    assert 'name="model-perf-read-only" content="yes"' in second.text


@pytest.mark.parametrize("api", ["https://elsewhere/api", "//elsewhere/api", "", " ", "../api?x=1", "../api#x"])
def test_an_api_of_another_origin_is_refused(api: str) -> None:
    """The page's policy would not let it through."""
    with pytest.raises(InvalidInputError, match="api"):
        create_dashboard(api)


@pytest.mark.parametrize("path", ["nope.js", "../dashboard.py", "%2e%2e/dashboard.py", "vendor/", "views/nope.js"])
async def test_nothing_else_is_there(host: FastAPI, path: str) -> None:
    """No other file of the package, and no list of a folder."""
    async with client_of(host) as client:
        answer = await client.get(f"{MOUNT}/{path}")
        assert answer.status_code == 404
        assert (await client.post(f"{MOUNT}/")).status_code == 405


async def test_the_missing_slash_is_added_relative_to_the_address(host: FastAPI) -> None:
    """Routed to the dashboard too, the mount's address without its slash leads to the one with it."""
    host.add_route(MOUNT, create_dashboard())  # type: ignore[arg-type]
    async with client_of(host) as client:
        answer = await client.get(MOUNT)
    assert (answer.status_code, answer.headers["location"]) == (307, "model-performance/")


@pytest.mark.parametrize("word", ["https:2130706433", "%5C%5Cevil", "%D0%B6", "a%0Dset-cookie:b", "a%20b", "a%25b"])
async def test_a_word_that_is_no_file_leads_nowhere_else(host: FastAPI, word: str) -> None:
    """It comes back escaped: the redirect stays at the mount, and no byte of it ends the header."""
    async with client_of(host) as client:
        answer = await client.get(f"{MOUNT}/{word}")
        assert answer.status_code == 307
        location = answer.headers["location"]
        assert not set(location) & set("\\:\r\n ")
        assert unquote(location) == f"{unquote(word)}/"
        assert (await client.get(f"{MOUNT}/{location}")).status_code == 404


def test_a_wheel_has_every_file(tmp_path: Path) -> None:
    """What `pip install` unpacks is what lies here: the page is served from it in a process that sees nothing else."""
    pytest.importorskip("hatchling")
    build = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wheel = tmp_path / done.stdout.split()[-1]
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name.removeprefix("model_perf/web/static/") for name in names if "web/static/" in name}
    assert shipped == {path.relative_to(STATIC).as_posix() for path in ASSETS}
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from model_perf.web import dashboard
assert dashboard.__file__.startswith(sys.argv[1]), dashboard.__file__
print(len(dashboard.create_dashboard().files))
"""
    # From the zip itself: the files are read as resources, not as paths.
    served_from = subprocess.run(
        [sys.executable, "-c", script, str(wheel)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert int(served_from.stdout) == len(ASSETS) + 1
    assert files("model_perf.web").joinpath("static").is_dir()


@asynccontextmanager
async def behind_proxy(tracker: ModelPerformanceTracker, *, strips: bool) -> AsyncIterator[str]:
    outer = FastAPI(openapi_url=None)
    host = make_host(tracker)
    host.add_route(MOUNT, create_dashboard())  # type: ignore[arg-type]
    outer.mount("" if strips else PREFIX, host)
    async with served(outer) as upstream, proxied(upstream, strips=strips) as address:
        yield f"{address}{MOUNT}"


@pytest.mark.parametrize("strips", [True, False], ids=["stripping", "non-stripping"])
@pytest.mark.parametrize("slash", ["/", ""], ids=["slash", "no slash"])
async def test_behind_a_proxy_it_is_the_same(
    page: Page, tracker: ModelPerformanceTracker, strips: bool, slash: str
) -> None:
    """Below a prefix that is cut off or passed on, with the slash and without, the page shows data and can act."""
    ref = await tracker.register_model("energy", machine="press 7")
    async with behind_proxy(tracker, strips=strips) as address:
        shown = Shown(page, address)
        listen(page, shown.complaints)
        await page.goto(f"{address}{slash}#/fleet")
        await shown.is_there()
        assert await shown.number("shown") == "1"
        await shown.open("training", **slot(ref))
        await shown.act("Retrain", "Start retraining")
        await expect(page.locator("[data-run]")).to_have_count(1)
    assert shown.complaints == []


async def test_dark_and_light_follow_the_system(chromium: Browser, address: str, world: World) -> None:
    """Background, text and the chart's axes change with the scheme, also while the page is open."""
    found = {}
    page = await chromium.new_page()
    shown = Shown(page, address)
    listen(page, shown.complaints)
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        await shown.open("model", **slot(world.worse))
        await expect(page.locator(".plot canvas")).to_be_visible()
        found[scheme] = await page.evaluate(COLOURS)
    before = await page.locator(".plot canvas").evaluate("node => node.toDataURL()")
    await page.emulate_media(color_scheme="light")
    await page.wait_for_timeout(200)
    assert await page.locator(".plot canvas").evaluate("node => node.toDataURL()") != before
    assert (_brightness(found["light"][0]) > 200, _brightness(found["dark"][0]) < 60) == (True, True)
    assert (_brightness(found["light"][1]) < 80, _brightness(found["dark"][1]) > 200) == (True, True)
    assert shown.complaints == []


def _brightness(colour: str) -> float:
    numbers = [float(each) for each in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(numbers) / 3


async def test_the_keyboard_is_enough(shown: Shown, world: World, tracker: ModelPerformanceTracker) -> None:
    """Skip link, menu, a chart's cursor, a table, and an act with its dialog: without a mouse."""
    page = shown.page
    await shown.open("fleet")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.id") == "skip"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    assert page.url.endswith("#/fleet")
    await page.locator('nav a[aria-current="page"]').focus()
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await page.locator("tr a", has_text="press 7").focus()
    await page.keyboard.press("Enter")
    await shown.is_there()
    plot = page.locator(".plot").first
    await expect(plot.locator("canvas")).to_be_visible()
    await plot.focus()
    await page.keyboard.press("End")
    last = await page.locator(".readout").first.inner_text()
    await page.keyboard.press("ArrowLeft")
    before = await page.locator(".readout").first.inner_text()
    assert last.split(":")[0] != before.split(":")[0]
    assert "v2" in last
    await shown.open("alerts")
    await page.locator('[data-act="Acknowledge"]').first.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("dialog")).to_be_visible()
    await page.locator("#field-notes").focus()
    await page.keyboard.type("by keys")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator(".done").first).to_contain_text("by keys")
    alerts = await tracker.active_alerts()
    assert [alert.acknowledgement_notes for alert in alerts].count("by keys") == 1


async def test_no_view_is_wider_than_the_screen(chromium: Browser, address: str, world: World) -> None:
    """From 360 to 1920 pixels nothing but a table scrolls sideways."""
    page = await chromium.new_page()
    shown = Shown(page, address)
    views: list[tuple[str, dict[str, object]]] = [
        ("alerts", {}), ("fleet", {}), ("tests", {}), ("training", {}), ("test", {"id": world.test_id}),
        ("model", dict(slot(world.worse))), ("drift", dict(slot(world.drifted))), ("model", {}),
    ]  # fmt: skip
    for width in (360, 768, 1920):
        await page.set_viewport_size({"width": width, "height": 800})
        for view, query in views:
            await shown.open(view, **query)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, (width, view)


async def test_every_view_can_be_seen_in_the_menu(shown: Shown) -> None:
    """On no width is a word of it cut off or out of sight."""
    await shown.open("alerts")
    for width in (360, 390, 640, 641, 768, 900, 1000, 1001, 1280):
        await shown.page.set_viewport_size({"width": width, "height": 800})
        for link in await shown.page.locator("nav a").all():
            await expect(link).to_be_in_viewport(ratio=1)
        hidden = "[...document.querySelectorAll('nav')].some(nav => nav.scrollWidth > nav.clientWidth)"
        assert not await shown.page.evaluate(hidden), width


async def test_a_read_only_page_has_no_button_that_changes(page: Page, tracker: ModelPerformanceTracker) -> None:
    """read_only=True leaves out every act, and shows the rest."""
    world = await make_world(tracker)
    app = make_host(tracker)
    app.mount("/reading", create_dashboard(api=f"..{API}", read_only=True))
    async with served(app) as address:
        shown = Shown(page, f"{address}/reading")
        for view, query in (("alerts", {}), ("training", {}), ("tests", {}), ("model", slot(world.worse))):
            await shown.open(view, **query)
            assert await page.locator("[data-act]").count() == 0
        assert await page.locator(".plot canvas").is_visible()
