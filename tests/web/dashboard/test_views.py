"""What the six views show is what is stored: each number is read from the page and compared with SQL."""

from __future__ import annotations

import asyncpg
import pytest
from playwright.async_api import expect
from tests.web.conftest import Fetch
from tests.web.dashboard.conftest import Shown, slot, written
from tests.web.dashboard.world import DAY, DAYS, TODAY, World

from model_perf import ModelPerformanceTracker


async def test_the_inbox_has_every_open_alert(shown: Shown, world: World, fetch: Fetch) -> None:
    """Number, order, occurrences, values and texts of the open alerts are those of the table."""
    stored = await fetch(
        "SELECT * FROM {schema}.model_alerts WHERE NOT is_resolved ORDER BY severity_rank DESC, alert_timestamp DESC"
    )
    assert len(stored) == 2
    await shown.open("alerts")
    assert await shown.number("open") == str(len(stored))
    cards = await shown.page.locator("[data-alert]").all()
    assert [await card.get_attribute("data-alert") for card in cards] == [str(row["id"]) for row in stored]
    for card, row in zip(cards, stored, strict=True):
        assert await card.locator(".message").inner_text() == row["alert_message"]
        assert (await card.locator('[data-number="occurrences"]').inner_text()).split()[0] == str(row["occurrences"])
        values = await card.locator(".meta").inner_text()
        if row["baseline_metric_value"] is not None:
            assert f"value {written(row['current_metric_value'])}" in values
            assert f"baseline {written(row['baseline_metric_value'])}" in values


async def test_the_fleet_has_every_model_and_its_newest_values(shown: Shown, world: World, fetch: Fetch) -> None:
    """Verdict, key metric, degradation and sparkline of each model are of its newest evaluation; unknown is a state."""
    await shown.open("fleet")
    assert await shown.number("shown") == "3"
    for row in await fetch("SELECT * FROM {schema}.v_latest_model_performance"):
        line = shown.page.locator(f'tr[data-machine="{row["machine_id"]}"]')
        assert (await line.locator(".cell-metric b").inner_text()) == written(row["r_squared"])
        assert await line.locator(".badge").first.get_attribute("data-state") == row["verdict"]
        assert await line.locator(".cell-score").inner_text() == f"{written(100 * row['drift_score'], 2)}%"
        [count] = await fetch(
            """SELECT count(*) AS n FROM {schema}.model_performance_metrics
               WHERE machine_id = $1 AND model_version = $2""",
            *(row["machine_id"], row["model_version"]),
        )
        points = await line.locator("polyline").get_attribute("points")
        assert points is not None
        assert len(points.split()) == min(24, count["n"])
    boiler = shown.page.locator("tr", has_text="boiler 1")
    assert await boiler.locator(".badge").first.inner_text() == "Unknown"
    assert await boiler.locator(".cell-age").inner_text() == "never"
    assert await shown.page.locator('[data-tile="insufficient_data"] strong').inner_text() == "1"


async def test_the_fleet_is_searched_and_sorted(shown: Shown, world: World) -> None:
    """The search, a tile and a column's head choose rows, and the address keeps what was chosen."""
    await shown.open("fleet")
    await shown.page.locator('[data-focus="search"]').fill("PRESS 7")
    assert await shown.number("shown") == "1"
    await shown.page.locator('[data-focus="search"]').fill("")
    await shown.page.locator('[data-tile="insufficient_data"]').click()
    assert await shown.page.locator("tbody tr b").first.inner_text() == "boiler 1"
    assert "verdict=insufficient_data" in shown.page.url
    await shown.page.locator('[data-tile="insufficient_data"]').click()
    await shown.page.locator('[data-focus="sort model"]').click()
    names = await shown.page.locator("td.cell-model b").all_inner_texts()
    assert names == ["boiler 1", "compressor 2", "press 7"]


async def test_a_model_is_picked_by_its_name(shown: Shown, world: World, tracker: ModelPerformanceTracker) -> None:
    """By name, numbers in their order; what is not listed is counted, and the search finds it."""
    for number in range(250):
        await tracker.register_model("energy", machine=f"motor {number}")
    await shown.open("model")
    names = await shown.page.locator(".picker a span:nth-of-type(2)").all_inner_texts()
    assert names[:2] == ["boiler 1 · forecast", "compressor 2 · baseline"]
    assert names[2:] == [f"motor {number} · energy" for number in range(198)]
    assert await shown.page.locator(".picker li").last.inner_text() == "and 53 more: search for them"
    await shown.page.locator('[data-focus="search"]').fill("press 7")
    await shown.page.locator(".picker a").click()
    await expect(shown.page.locator("h1")).to_contain_text("press 7")


async def test_a_models_chart_has_every_evaluation(shown: Shown, world: World, fetch: Fetch) -> None:
    """The table behind the chart is the stored one, of the chosen metric; latest value, baseline and trend are told."""
    await shown.open("model", **slot(world.worse), metric="rmse", days=90)
    stored = await fetch(
        """SELECT * FROM {schema}.model_performance_metrics WHERE machine_id = $1
           ORDER BY evaluation_date, id""",
        world.worse.machine_id,
    )
    assert len(stored) == DAYS + 12
    await shown.page.locator('[data-chart^="RMSE"] summary').click()
    rows = await shown.table("RMSE of press 7 · energy")
    assert sorted((row[1], row[2]) for row in rows) == sorted(
        (str(row["model_version"]), written(row["rmse"], 6)) for row in stored
    )
    newest = [row for row in stored if row["model_version"] == 2][-1]
    assert await shown.fact("Latest RMSE") == written(newest["rmse"])
    canvas = shown.page.locator(".plot canvas")
    await expect(canvas).to_be_visible()
    summary = await shown.page.locator(".chart .summary").inner_text()
    assert summary.startswith(f"{len(stored)} evaluations of 2 versions")


async def test_an_alert_of_another_version_is_not_hidden(shown: Shown, world: World, fetch: Fetch) -> None:
    """The verdict is that of the version evaluated last, and says so; beside it the open alerts, which lead to them."""
    await shown.open("model", **slot(world.worse))
    [newest] = await fetch(
        "SELECT * FROM {schema}.v_latest_model_performance WHERE machine_id = $1", world.worse.machine_id
    )
    heading = shown.page.locator(".heading")
    assert await heading.locator(".badge").last.get_attribute("data-state") == newest["verdict"] == "ok"
    assert (await shown.page.locator(".lead").inner_text()).startswith(f"Version {newest['model_version']}: ")
    [open_] = await fetch(
        "SELECT * FROM {schema}.model_alerts WHERE NOT is_resolved AND machine_id = $1", world.worse.machine_id
    )
    assert open_["model_version"] != newest["model_version"]
    alerts = heading.get_by_role("link", name="1 open alert")
    assert await alerts.locator(".badge").get_attribute("data-state") == open_["severity"] == "critical"
    await alerts.click()
    await expect(shown.page.locator("[data-alert]")).to_have_count(1)


async def test_the_trend_is_the_facades(shown: Shown, world: World, tracker: ModelPerformanceTracker) -> None:
    """Direction and rate are what the library says of the same evaluations."""
    await shown.open("model", **slot(world.drifted), metric="rmse", days=90)
    trend = await tracker.trend(world.drifted, metric="rmse", days=90)
    assert trend.degradation_rate is not None
    state = await shown.page.locator('[data-fact="Trend"] .badge').get_attribute("data-state")
    assert state == trend.direction
    said = (await shown.fact("Change")).removesuffix("% a day").replace("−", "-").replace("+", "")
    assert float(said) == pytest.approx(trend.degradation_rate, rel=0.01, abs=1e-4)


async def test_drift_is_the_newest_report(
    shown: Shown, world: World, fetch: Fetch, tracker: ModelPerformanceTracker
) -> None:
    """Headline, columns, rows, shares of the histograms and the alarm are those of the newest stored report."""
    [row] = await fetch(
        """SELECT n_current, n_drifted, n_columns, alarm_limit, report::text AS report
           FROM {schema}.model_drift_reports ORDER BY window_end DESC LIMIT 1"""
    )
    await shown.open("drift", **slot(world.drifted))
    stored = await tracker.drift.fetch_newest_report(world.drifted)
    assert stored is not None
    assert await shown.number("headline") == f"{row['n_drifted']} of {row['n_columns']} columns have drifted"
    assert await shown.fact("Rows") == str(row["n_current"])
    columns = [each["name"] for each in stored.report["columns"]]
    shown_columns = shown.page.locator("[data-column]")
    assert [await each.get_attribute("data-column") for each in await shown_columns.all()] == columns
    await shown.page.locator('[data-column="material"] summary').click()
    cells = await shown.table("Distribution of material")
    drawn = stored.report["histograms"]["material"]
    assert [(cell[0], cell[1], cell[3]) for cell in cells] == [
        (name, f"{old:,}", f"{new:,}")
        for name, old, new in zip(drawn["names"], drawn["reference"], drawn["current"], strict=True)
    ]
    assert sum(drawn["current"]) == row["n_current"]
    bars = shown.page.locator('[data-column="load"] .of-current')
    assert await bars.count() == len(stored.report["histograms"]["load"]["current"])
    await shown.page.locator('[data-chart="Alarm of the input"] summary').click()
    assert len(await shown.table("Alarm of the input")) == 10


async def test_a_test_shows_counts_first_then_the_effect(shown: Shown, world: World, fetch: Fetch) -> None:
    """Counts, split, effect, interval and every look are those of the tables."""
    await shown.open("test", id=world.test_id)
    counts = {
        row["arm"]: row["n"]
        for row in await fetch(
            "SELECT arm, sum(n) AS n FROM {schema}.model_ab_moments WHERE test_id = $1 GROUP BY arm", world.test_id
        )
    }
    assert [await shown.fact("a: v1"), await shown.fact("b: v2")] == [str(counts["a"]), str(counts["b"])]
    looks = await fetch("SELECT * FROM {schema}.model_ab_looks WHERE test_id = $1 ORDER BY look_at", world.test_id)
    assert (await shown.fact("b − a in abs error")).replace("+", "") == written(looks[-1]["effect"])
    await shown.page.locator('[data-chart="Effect over time"] summary').click()
    rows = await shown.table("Effect over time")
    assert [row[3:6] for row in rows] == [
        [written(look["effect"]), written(look["confidence_low"]), written(look["confidence_high"])] for look in looks
    ]
    headings = await shown.page.locator("main h2").all_inner_texts()
    assert headings[:2] == ["Counts and split", "Effect"]


async def test_a_test_of_evaluations_decides_once(
    shown: Shown, tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """Its p is of one look at the end, and the page says so, with the windows that both have."""
    begin = TODAY - 20 * DAY
    earlier = ModelPerformanceTracker(pool, schema=tracker.schema, clock=lambda: begin)
    refs = [await tracker.register_model("energy", machine="press 7", version=label) for label in ("1", "2")]
    test = await earlier.start_ab_test(
        name="old or new", model_a=refs[0], model_b=refs[1], duration=15 * DAY, metric="rmse", direction="lower"
    )
    for day in range(15):
        for ref, gain in zip(refs, (0.0, 2.0), strict=True):
            window = (begin + day * DAY, begin + (day + 1) * DAY)
            metrics = {"rmse": 10.0 + 0.3 * ((day * 7) % 5) - gain + 0.1 * ((day * 3) % 4)}
            await tracker.record(ref, evaluation_start=window[0], evaluation_end=window[1], metrics=metrics)
    await shown.open("test", id=test.id)
    assert await shown.fact("Common windows") == "15"
    result = await tracker.ab_test_results(test.id)
    assert (result.decision, await shown.fact("p")) == ("superior_b", "< 0.0001")
    note = shown.page.locator('dd[data-fact="p"] + .note')
    assert await note.inner_text() == "decides once, at the end"


async def test_training_shows_what_came_of_each_run(shown: Shown, world: World, fetch: Fetch) -> None:
    """State, cause, reason, improvement and error of every run are those of the table, the newest first."""
    stored = await fetch("SELECT * FROM {schema}.model_training_history ORDER BY created_at DESC, id DESC")
    await shown.open("training")
    runs = await shown.page.locator("[data-run]").all()
    assert [await run.get_attribute("data-run") for run in runs] == [str(row["id"]) for row in stored]
    for run, row in zip(runs, stored, strict=True):
        text = await run.inner_text()
        assert await run.locator(".badge").get_attribute("data-state") == row["training_status"]
        for said in (row["reason"], row["error_message"]):
            assert said is None or said in text
        if row["performance_improvement"] is not None:
            improvement = await run.locator('[data-number="improvement"]').inner_text()
            assert improvement == f"+{written(100 * row['performance_improvement'], 3)}%"
            assert "RMSE 12.15 → 9.6" in text


async def test_a_run_says_why_it_waits(shown: Shown, world: World, tracker: ModelPerformanceTracker) -> None:
    """Where no worker is there, since when; where one is, that it waits for it."""
    await shown.open("training")
    waiting = shown.page.locator('[data-fact="waiting"]')
    assert await waiting.all_inner_texts() == ["Queued, no worker for 'energy' was ever seen"]
    await tracker.workers.start("worker 1", ["energy"])
    await shown.open("fleet")
    await shown.open("training")
    assert await waiting.all_inner_texts() == ["Queued, waits for a free worker"]


async def test_each_view_asks_once(shown: Shown, world: World) -> None:
    """One request to the API makes a view."""
    asked: list[str] = []
    shown.page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
    views: list[tuple[str, dict[str, object]]] = [
        ("alerts", {}), ("fleet", {}), ("tests", {}), ("training", {}), ("test", {"id": world.test_id}),
        ("model", dict(slot(world.worse))), ("drift", dict(slot(world.drifted))), ("model", {}),
    ]  # fmt: skip
    for view, query in views:
        asked.clear()
        await shown.open(view, **query)
        assert len(asked) == 1, (view, asked)
