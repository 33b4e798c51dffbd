"""A page that trusts the contract, in a real Chromium: what it shows is what is stored, and nothing breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from attrs import field, frozen
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from playwright.async_api import ConsoleMessage, Page, async_playwright, expect
from tests.factories import make_id
from tests.web.host import API, MACHINE, MODEL, OPERATOR, SLOT, VERSION, host_database, load_host, running
from tests.web.serving import PREFIX, proxied, served

from model_perf import ModelPerformanceTracker, ModelRef

CHROMIUM = Path("/usr/bin/chromium")
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 30_000
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")

REF = ModelRef(model_id=MODEL, model_type="energy", model_version=VERSION, machine_id=MACHINE)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

STORED = """
SELECT evaluation_date, model_version, r_squared, rmse, drift_score, drift_detected, sample_count
FROM model_perf.model_performance_metrics ORDER BY evaluation_date
"""


@frozen
class Browser:
    """A page of a real browser, and what it complained of."""

    page: Page
    complaints: list[str] = field(factory=list)

    async def open(self, address: str, machine: str = SLOT["machine_id"]) -> None:
        await self.page.goto(f"{address}/page/index.html?model_type=energy&machine_id={machine}")
        await expect(self.page.locator("#state")).not_to_have_text("loading", timeout=PATIENCE_MS)

    async def text(self, name: str) -> str:
        return await self.page.locator(f"#{name}").inner_text()

    async def table(self) -> list[list[str]]:
        rows = await self.page.locator("#evaluations tr").all()
        return [await row.locator("td").all_inner_texts() for row in rows]

    async def retrain(self) -> str:
        """Press the button; what the page then says."""
        before = await self.text("retraining")
        await self.page.click("#retrain")
        await expect(self.page.locator("#retraining")).not_to_have_text(before, timeout=PATIENCE_MS)
        return await self.text("retraining")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium, logged in as an operator; a test fails on any complaint that it has not taken out of the list."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS)
        found = Browser(await chromium.new_page(extra_http_headers=OPERATOR))

        def note(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                found.complaints.append(message.text)

        found.page.on("console", note)
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        yield found
        await chromium.close()
        assert found.complaints == []


@pytest.fixture
async def host(server_dsn: str) -> AsyncIterator[FastAPI]:
    """The host of the how-to page, with a page of its own, started."""
    async with host_database(server_dsn) as dsn:
        app = load_host(dsn)
        app.mount("/page", StaticFiles(directory=Path(__file__).parent / "page"))
        async with running(app):
            yield app


@pytest.fixture
async def address(host: FastAPI) -> AsyncIterator[str]:
    async with served(_started(host)) as address:
        yield address


def _started(host: FastAPI) -> FastAPI:
    """An application around one that runs already, so that it is not started twice."""
    around = FastAPI(openapi_url=None)
    around.mount("", host)
    return around


async def record(host: FastAPI, day: int, metrics: dict[str, float], sample_count: int | None = 1008) -> None:
    """An evaluation of one of the last days, written over HTTP as a host would."""
    end = TODAY - timedelta(days=20 - day)
    params: dict[str, Any] = {
        **SLOT,
        "model_id": str(MODEL),
        "evaluation_start": (end - timedelta(days=1)).isoformat(),
        "evaluation_end": end.isoformat(),
    }
    if sample_count is not None:
        params["sample_count"] = sample_count
    async with httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url="http://host") as client:
        answer = await client.post(f"{API}/metrics/record", params=params, json=metrics, headers=OPERATOR)
    assert answer.status_code == 200, answer.text


async def stored(host: FastAPI) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await host.state.pool.fetch(STORED)
    return rows


def as_shown(row: asyncpg.Record) -> list[str]:
    """A stored row as the page must show it; what is unknown is 0 in the two fields that are never null."""
    return [
        f"{row['evaluation_date'].astimezone(UTC):%Y-%m-%d}",
        str(row["model_version"]),
        *("–" if row[name] is None else f"{row[name]:.4f}" for name in ("r_squared", "rmse")),
        f"{row['drift_score'] or 0.0:.4f}",
        "true" if row["drift_detected"] else "false",
        f"{row['sample_count'] or 0:,}",
    ]


async def record_a_degradation(host: FastAPI) -> None:
    """Two weeks of a good model, and three days of a bad one."""
    for day in range(18):
        bad = 6.0 if day >= 15 else 0.0
        await record(host, day, {"r_squared": 0.93 - bad / 30, "rmse": 12.0 + 0.1 * (day % 3) + bad}, 1008 + day)


async def test_every_number_is_the_stored_one(host: FastAPI, address: str, browser: Browser) -> None:
    """Each row, the sum, the maximum and the alert on the page are those of the database."""
    await record_a_degradation(host)
    await browser.open(address)
    rows = await stored(host)
    assert await browser.table() == [as_shown(row) for row in rows]
    assert await browser.text("worst-score") == f"{max(row['drift_score'] or 0.0 for row in rows):.4f}"
    assert await browser.text("samples") == f"{sum(row['sample_count'] for row in rows):,}"
    assert (await browser.text("machine"), await browser.text("state")) == ("press 7", "loaded")
    [alert] = await host.state.pool.fetch("SELECT * FROM model_perf.v_unresolved_model_alerts")
    shown = f"{alert['severity']} {alert['occurrences']}× {alert['alert_message']}"
    assert await browser.page.locator("#alerts li").all_inner_texts() == [shown]
    assert shown.startswith("critical")


async def test_direction_and_rate_are_those_of_the_facade(host: FastAPI, address: str, browser: Browser) -> None:
    """What the page says of a model that gets worse is what the library says of the same evaluations."""
    for day in range(15):
        await record(host, day, {"r_squared": 0.93 - 0.004 * day - 0.001 * (day % 2)})
    await browser.open(address)
    tracker: ModelPerformanceTracker = host.state.tracker
    trend = await tracker.trend(REF)
    assert trend.degradation_rate is not None
    assert trend.degradation_rate > 0.1
    assert await browser.text("rate") == f"{trend.degradation_rate:.3f} % per day"
    assert await browser.text("direction") == trend.direction == "degrading"


async def test_zeros_stay_zeros(host: FastAPI, address: str, browser: Browser) -> None:
    """An error of 0, a score of 0, an R² of 0 and no samples are shown as zeros: neither blank nor NaN."""
    for day in range(15):
        await record(host, day, {"rmse": 0.0, "r_squared": 0.0})
    await record(host, 15, {"rmse": 0.0, "r_squared": 0.0}, sample_count=0)
    await browser.open(address)
    rows = await stored(host)
    assert [rows[-2]["drift_score"], rows[-1]["sample_count"]] == [0.0, 0]
    assert (await browser.table())[-2][2:] == ["0.0000", "0.0000", "0.0000", "false", "1,008"]
    assert (await browser.table())[-1][2:] == ["0.0000", "0.0000", "0.0000", "false", "0"]


async def test_nulls_are_where_the_contract_has_them(host: FastAPI, address: str, browser: Browser) -> None:
    """A metric that was not given is null; a count that nobody knows is 0; a rate that cannot be found is null."""
    await record(host, 0, {"rmse": 12.1}, sample_count=None)
    await browser.open(address)
    [row] = await stored(host)
    assert (row["r_squared"], row["drift_score"], row["sample_count"]) == (None, None, None)
    [shown] = await browser.table()
    assert shown[2:] == ["–", "12.1000", "0.0000", "false", "0"]
    assert (await browser.text("rate"), await browser.text("worst-score")) == ("–", "0.0000")


async def test_nothing_stored_is_no_data(address: str, browser: Browser) -> None:
    """A machine without evaluations has a 404 for a trend, which is "no data", and an empty list of alerts."""
    await browser.open(address, str(make_id("machine unknown")))
    assert (await browser.text("state"), await browser.text("n-alerts")) == ("no data", "0")
    # The browser itself notes the 404 of a fetch, whatever the page makes of it.
    [note] = browser.complaints
    assert "404" in note
    browser.complaints.clear()


async def test_a_second_retraining_names_the_first(host: FastAPI, address: str, browser: Browser) -> None:
    """The second press of the button is answered by 200 and `already in progress`, with the first run's id."""
    statuses: list[int] = []
    browser.page.on("response", lambda answer: statuses.append(answer.status) if "trigger" in answer.url else None)
    await record(host, 0, {"rmse": 12.1})
    await browser.open(address)
    first, second = await browser.retrain(), await browser.retrain()
    [run] = await host.state.pool.fetch("SELECT id, reason FROM model_perf.model_training_history")
    assert first == f"started {run['id']}"
    assert second.startswith("already in progress")
    assert second.endswith(f"({run['id']})")
    assert (run["reason"], statuses) == ("by hand", [200, 200])


async def test_an_alert_text_is_text(host: FastAPI, address: str, browser: Browser) -> None:
    """Markup in an alert arrives as it was written, and the page shows it as text."""
    await record(host, 0, {"rmse": 12.1})
    markup = '<img src=x onerror="document.title = 1"> & <b>'
    tracker: ModelPerformanceTracker = host.state.tracker
    await tracker.alerts.open_or_repeat(REF, alert_type="no_data", severity="warning", message=markup)
    await browser.open(address)
    assert await browser.page.locator("#alerts li").all_inner_texts() == [f"warning 1× {markup}"]
    assert await browser.page.locator("#alerts img").count() == 0
    assert await browser.page.title() == "Model performance"


@asynccontextmanager
async def behind_proxy(host: FastAPI, *, strips: bool) -> AsyncIterator[str]:
    """The host behind a prefix; where the proxy passes it on, the application is mounted below it, as the page says."""
    outer = FastAPI(openapi_url=None)
    outer.mount("" if strips else PREFIX, host)
    async with served(outer) as upstream, proxied(upstream, strips=strips) as address:
        yield address


@pytest.mark.parametrize("strips", [True, False], ids=["stripping", "non-stripping"])
async def test_behind_a_proxy_the_page_is_the_same(host: FastAPI, browser: Browser, strips: bool) -> None:
    """Below a prefix that a proxy cuts off or passes on, the page shows the same and its button works."""
    await record_a_degradation(host)
    async with behind_proxy(host, strips=strips) as address:
        await browser.open(address)
        assert await browser.table() == [as_shown(row) for row in await stored(host)]
        assert (await browser.retrain()).startswith("started")


@pytest.mark.parametrize("strips", [True, False], ids=["stripping", "non-stripping"])
async def test_behind_a_proxy_a_list_can_be_read_to_its_end(host: FastAPI, strips: bool) -> None:
    """The Link header, resolved against the address that the client asked, leads to the next page."""
    tracker: ModelPerformanceTracker = host.state.tracker
    for kind in ("one", "two", "three"):
        await tracker.alerts.open_or_repeat(REF, alert_type=kind, severity="warning", message=kind)
    async with (
        behind_proxy(host, strips=strips) as address,
        httpx.AsyncClient(headers=OPERATOR, trust_env=False) as client,
    ):
        found, url = [], httpx.URL(f"{address}{API}/alerts/active/?limit=1&machine_id={MACHINE}")
        while True:
            answer = await client.get(url)
            assert answer.status_code == 200
            found += [alert["alert_type"] for alert in answer.json()]
            if "next" not in answer.links:
                break
            url = url.join(answer.links["next"]["url"])
    assert sorted(found) == ["one", "three", "two"]
