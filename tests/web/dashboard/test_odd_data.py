"""Data that are seldom: what the page makes of them is right, or is called unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import expect
from tests.web.dashboard.conftest import PATIENCE_MS, Shown, slot
from tests.web.dashboard.world import DAY, TODAY, World

from model_perf import ModelPerformanceTracker, ModelRef
from model_perf.records import Evaluation

NAMES = ["constructor", "__proto__", "toString", "sample_count", "model_version", "verdict"]
SIZES = [[1e12, 1e12 + 1e-3], [1e-300, 2e-300], [1e300, -1e300], [0.0, -0.0], [5e-324, 0.0], [1e-12, 1e12], [7.0]]


def rows(ref: ModelRef, values: list[float], metric: str = "rmse") -> list[Evaluation]:
    """One evaluation a day, the last ends today."""
    first = TODAY - len(values) * DAY
    return [
        Evaluation(
            ref=ref,
            evaluation_start=first + day * DAY,
            evaluation_end=first + (day + 1) * DAY,
            metrics={metric: value},
            sample_count=777,
        )
        for day, value in enumerate(values)
    ]


async def record(tracker: ModelPerformanceTracker, evaluations: list[Evaluation]) -> None:
    for row in evaluations:
        await tracker.record(
            row.ref, evaluation_start=row.evaluation_start, evaluation_end=row.evaluation_end, metrics=row.metrics
        )


async def test_a_value_that_does_not_change_is_drawn(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """The baseline of two equal values is their next neighbour: no grid fits between, and none is looked for."""
    ref = await tracker.register_model("energy", machine="press 7")
    await record(tracker, rows(ref, [3.0, 3.0]))
    await shown.open("model", **slot(ref))
    await expect(shown.page.locator(".plot canvas")).to_be_visible()
    assert await shown.page.evaluate("1 + 1") == 2


async def test_every_size_is_drawn(shown: Shown) -> None:
    """The chart alone, on values that no metric has."""
    await shown.open("alerts")
    for values in SIZES:
        n = await shown.page.evaluate(
            """async (values) => {
                const { timeChart } = await import("./chart.js");
                const chart = timeChart({ title: "t", summary: "s", table: { heads: [], rows: () => [] },
                    series: [{ label: "v", points: values.map((value, place) => [1.7e9 + 86400 * place, value]) }] });
                document.getElementById("main").replaceChildren(chart);
                await new Promise((done) => setTimeout(done, 300));
                return chart.querySelectorAll("canvas").length;
            }""",
            values,
        )
        assert n == 1, values


async def test_a_metric_may_have_any_name(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """Also that of a member of every object, or of another field of an evaluation."""
    ref = await tracker.register_model("energy", machine="press 7")
    own = dict.fromkeys(NAMES, 5.25), dict.fromkeys(NAMES, 6.5)
    for day, metrics in enumerate(({"rmse": 1.0}, *own)):
        start = TODAY - (3 - day) * DAY
        await tracker.record(ref, evaluation_start=start, evaluation_end=start + DAY, metrics=metrics)
    for name in NAMES:
        await shown.open("model", **slot(ref), metric=name)
        assert await shown.fact(f"Latest {name.replace('_', ' ')}") == "6.5", name
        await shown.page.locator("[data-chart] summary").click()
        found = await shown.table(f"{name.replace('_', ' ')} of press 7 · energy")
        assert [row[2] for row in found] == ["–", "5.25", "6.5"], name


async def test_a_metric_of_one_version_only(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """The means of a test: what the other has not is a dash, whatever its name."""
    begin = datetime.now(UTC) - 20 * DAY
    refs = [await tracker.register_model("energy", machine="press 7", version=label) for label in ("1", "2")]
    earlier = ModelPerformanceTracker(tracker.pool, schema=tracker.schema, clock=lambda: begin)
    test = await earlier.start_ab_test(
        name="old or new", model_a=refs[0], model_b=refs[1], duration=15 * DAY, metric="rmse", direction="lower"
    )
    for day in range(15):
        for place, ref in enumerate(refs):
            metrics = {"rmse": 10.0 + 0.3 * ((day * 7) % 5)} | ({} if place else {"constructor": 4.0})
            window = (begin + day * DAY, begin + (day + 1) * DAY)
            await tracker.record(ref, evaluation_start=window[0], evaluation_end=window[1], metrics=metrics)
    await shown.open("test", id=test.id)
    means = await shown.table("Means of both")
    assert ["constructor", "4", "–"] in means


async def test_a_metric_that_is_not_chosen_can_be_chosen(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """No metric that the policy knows: none is shown as chosen, so that choosing the first one is a choice."""
    ref = await tracker.register_model("energy", machine="press 7")
    await record(tracker, rows(ref, [5.25, 6.5], "own score"))
    await shown.open("model", **slot(ref))
    await expect(shown.page.locator('[data-focus="metric"] option:checked')).to_have_text("Choose …")
    await shown.page.select_option('[data-focus="metric"]', "own score")
    await expect(shown.page.locator('[data-fact="Latest own score"]')).to_have_text("6.5", timeout=PATIENCE_MS)


async def test_a_period_of_the_address_is_the_one_that_is_shown(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """Also where it is none of the list."""
    ref = await tracker.register_model("energy", machine="press 7")
    await record(tracker, rows(ref, [5.25, 6.5]))
    await shown.open("model", **slot(ref), days=1.5)
    await expect(shown.page.locator('[data-focus="days"] option:checked')).to_have_text("1.5 days")


async def test_what_was_not_judged_is_not_fine(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """The verdict is of the newest evaluation; that of an earlier one is shown as that of an earlier one."""
    ref = await tracker.register_model("energy", machine="press 7")
    found = rows(ref, [3.0 + 0.1 * ((day * 7) % 5) + (9 if day >= 30 else 0) for day in range(35)])
    await record(tracker, found[:30])
    await tracker.record_many(found[30:])
    await shown.open("model", **slot(ref))
    assert await shown.page.locator(".heading .badge").get_attribute("data-state") == "not_judged"
    assert await shown.fact("Degradation") == "–"
    assert "was not judged" in await shown.page.locator(".lead").first.inner_text()
    panel = shown.page.locator(".panel", has_text="How an earlier evaluation was judged")
    assert await panel.locator("time").get_attribute("datetime") == found[29].evaluation_end.isoformat().replace(
        "+00:00", "Z"
    )
    await shown.open("drift", **slot(ref))
    lead = shown.page.locator(".panel", has_text="Performance").locator(".lead time")
    assert await lead.count() == 1


async def test_models_with_ids_of_their_own_are_told_apart(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """Two ids, both version 1: two lines, and the newest is judged by its own baseline."""
    machine = uuid4()
    refs = [ModelRef(model_id=uuid4(), model_version=1, model_type="energy", machine_id=machine) for _ in range(2)]
    await record(tracker, rows(refs[0], [10.0 + 0.1 * (day % 3) for day in range(12)])[:-1])
    await record(tracker, rows(refs[1], [1.0 + 0.01 * (day % 3) for day in range(12)]))
    await shown.open("model", **slot(refs[1]))
    assert await shown.fact("Latest RMSE") == "1.02"
    note = await shown.page.locator('dd[data-fact="Latest RMSE"] + .note').inner_text()
    assert 0.9 < float(note.split()[1]) < 1.1
    names = await shown.page.locator(".legend li").all_inner_texts()
    assert {f"v1 of {ref.model_id}" for ref in refs} <= set(names)
    assert "of 2 versions" in await shown.page.locator(".chart .summary").inner_text()


async def test_a_model_of_no_machine(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """The nil UUID is no name."""
    ref = await tracker.register_model("cluster")
    await shown.open("fleet")
    assert await shown.page.locator("td.cell-model b").inner_text() == "no machine"
    await shown.open("model", **slot(ref))
    assert await shown.page.locator("h1 span").inner_text() == "no machine"


@pytest.mark.parametrize("width", [360, 1280])
async def test_long_names_stay_on_the_screen(shown: Shown, tracker: ModelPerformanceTracker, width: int) -> None:
    """Names as long as they may be, without a space."""
    ref = await tracker.register_model("t" * 200, machine="m" * 200)
    await record(tracker, rows(ref, [5.25, 6.5], "x" * 100))
    await tracker.alerts.open_or_repeat(ref, alert_type="k" * 60, severity="critical", message="z" * 500)
    await shown.page.set_viewport_size({"width": width, "height": 800})
    for view, query in (("alerts", {}), ("fleet", {}), ("model", slot(ref)), ("training", slot(ref))):
        await shown.open(view, **query)
        assert await shown.page.evaluate("document.documentElement.scrollWidth") <= width, view


async def test_a_name_comes_through_the_address(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """From the fleet to the model and back by the browser's button."""
    names = ["a/b#c?d%e&f=g+h", "שלום עולם", "🚀 🔥", "../..", "%2F", "a\nb"]
    for place, name in enumerate(names):
        ref = await tracker.register_model(name, machine=f"press {place}")
        await record(tracker, rows(ref, [5.25]))
    await shown.open("fleet")
    for place, name in enumerate(names):
        await shown.page.locator("td.cell-model a", has_text=f"press {place}").click()
        await expect(shown.page.locator('[data-fact="Latest RMSE"]')).to_have_text("5.25", timeout=PATIENCE_MS)
        assert await shown.page.locator("h1 small").text_content() == name
        await shown.page.go_back()
        await expect(shown.page.locator("table.fleet")).to_be_visible(timeout=PATIENCE_MS)


async def test_an_old_open_alert_is_not_hidden_by_newer_resolved_ones(
    shown: Shown, tracker: ModelPerformanceTracker
) -> None:
    """More alerts than a view has: what is open comes first, and what is left out is said."""
    ref = await tracker.register_model("energy", machine="press 7")
    await record(tracker, rows(ref, [5.25]))
    long_ago = datetime.now(UTC) - 5 * DAY
    await tracker.alerts.open_or_repeat(ref, alert_type="old", severity="critical", message="look", now=long_ago)
    for number in range(100):
        alert = await tracker.alerts.open_or_repeat(ref, alert_type=f"k{number}", severity="info", message="m")
        await tracker.resolve_alert(alert.id, by="ana")
    await shown.open("model", **slot(ref))
    link = shown.page.get_by_role("link", name="1 open alert")
    assert await link.locator(".badge").get_attribute("data-state") == "critical"
    assert "Not all of it" in await shown.page.locator(".panel", has_text="What happened").inner_text()
    assert "100 or more alerts" in await shown.page.locator(".chart .summary").inner_text()


async def test_nothing_is_called_nothing_only_where_all_was_asked_for(
    shown: Shown, tracker: ModelPerformanceTracker
) -> None:
    """A snoozed alert is open; so may be those of other models, severities and pages."""
    ref = await tracker.register_model("energy", machine="press 7")
    other = await tracker.register_model("energy", machine="lathe 1")
    alert = await tracker.alerts.open_or_repeat(ref, alert_type="x", severity="critical", message="m")
    await tracker.snooze_alert(alert.id, until=datetime.now(UTC) + DAY, by="ana")
    heading = shown.page.locator(".state h2")
    await shown.open("alerts")
    assert await heading.inner_text() == "Nothing needs you now"
    assert "snoozed" in await shown.page.locator(".state p").inner_text()
    await shown.open("alerts", **slot(other))
    assert await heading.inner_text() == "No open alert of this model"
    await shown.page.get_by_role("button", name="Show all alerts").click()
    await expect(shown.page.locator("[data-alert]")).to_have_count(1, timeout=PATIENCE_MS)
    await shown.open("alerts", severity="warning")
    assert await heading.inner_text() == "No open warning alert"
    await tracker.alerts.open_or_repeat(other, alert_type="y", severity="info", message="m")
    await shown.open("alerts", limit=1)
    assert await heading.inner_text() == "Nothing on this page needs you"
    await shown.page.get_by_role("button", name="Show further alerts").click()
    await expect(shown.page.locator(".tally")).to_contain_text("1 on this page", timeout=PATIENCE_MS)
    for view, word in (("tests", "test"), ("training", "training run")):
        await shown.open(view, **slot(other))
        assert await heading.inner_text() == f"No {word} of this model yet"
        assert await shown.page.locator("[data-filter]").inner_text() == "of energy"


async def test_a_snooze_ends_while_the_page_is_open(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """Nothing stored changes then: the alert is back among those that need somebody all the same."""
    ref = await tracker.register_model("energy", machine="press 7")
    alert = await tracker.alerts.open_or_repeat(ref, alert_type="x", severity="critical", message="m")
    await tracker.snooze_alert(alert.id, until=datetime.now(UTC) + timedelta(seconds=4), by="ana")
    await shown.open("alerts")
    assert await shown.number("open") == "0"
    await shown.page.wait_for_timeout(4500)
    await shown.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(shown.page.locator('[data-number="open"]')).to_have_text("1", timeout=PATIENCE_MS)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"decision": "superior_b", "confidence": 1 - 1e-9, "pvalue": 1e-9}, "> 99.99%"),
        ({"decision": "superior_b", "confidence": 0.98, "pvalue": 0.02}, "98%"),
        ({"decision": "insufficient_data", "confidence": 0.0, "pvalue": None}, "–"),
        ({"decision": "invalid", "confidence": 0.0, "pvalue": 0.02}, "–"),
    ],
)
async def test_nobody_is_told_a_certainty(shown: Shown, world: World, found: dict[str, Any], expected: str) -> None:
    """However small p is; and where nothing was found, there is no confidence either: the API's zero stands for it."""

    async def answer(route: Any) -> None:
        given = await route.fetch()
        view = await given.json()
        await route.fulfill(response=given, json={**view, "result": view["result"] | found})

    await shown.page.route("**/views/ab-tests/*", answer)
    await shown.open("test", id=world.test_id)
    assert await shown.fact("Confidence") == expected


async def test_a_test_that_was_concluded_early_has_ended(
    shown: Shown, world: World, tracker: ModelPerformanceTracker
) -> None:
    """The list has when it was decided, not when it would have ended."""
    await shown.open("tests")
    [[*_, planned]] = await shown.table("A/B tests")
    done = await tracker.conclude_ab_test(world.test_id)
    assert done.test.decided_at is not None
    await shown.open("fleet")
    await shown.open("tests")
    [[*_, ended]] = await shown.table("A/B tests")
    assert ended == f"{done.test.decided_at:%-d %b %Y, %H:%M}".replace("Sep ", "Sept ")
    assert ended != planned


async def test_lists_that_are_cut_say_so(shown: Shown, tracker: ModelPerformanceTracker) -> None:
    """The resolved alerts, the columns with a histogram, and the models of a page."""
    ref = await tracker.register_model("energy", machine="press 7")
    for number in range(21):
        alert = await tracker.alerts.open_or_repeat(ref, alert_type=f"k{number}", severity="info", message="m")
        await tracker.resolve_alert(alert.id, by="ana")
    await shown.open("alerts")
    await expect(shown.page.get_by_role("heading", name="the newest 20")).to_be_visible()
    names = [f"c{number:03d}" for number in range(101)]
    await tracker.set_reference(ref, {name: [1.0, 2.0, 3.0] * 50 for name in names})
    await tracker.check_data_drift(ref, {name: [1.0, 2.0, 3.0] * 50 for name in names})
    await shown.open("drift", **slot(ref))
    await shown.page.get_by_role("button", name="Show all 101 columns").click()
    assert await shown.page.get_by_text("kept of the first 100 columns only").count() == 1
    await shown.page.route("**/views/fleet*", _one_model_a_page)
    await shown.open("model")
    await expect(shown.page.locator(".panel")).to_contain_text("Only the first 1 models are listed")


async def _one_model_a_page(route: Any) -> None:
    answer = await route.fetch()
    await route.fulfill(response=answer, json={**await answer.json(), "next_cursor": "more"})
