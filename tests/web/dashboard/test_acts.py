"""What people do on the page is done in the tables, once, under their name; what cannot be done is said."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.async_api import expect
from tests.factories import make_ref
from tests.web.conftest import Fetch
from tests.web.dashboard.conftest import PATIENCE_MS, Shown, slot
from tests.web.dashboard.world import World

from model_perf import Alert, ModelPerformanceTracker

REF = make_ref()


@pytest.fixture
async def alert(tracker: ModelPerformanceTracker) -> Alert:
    return await tracker.alerts.open_or_repeat(REF, alert_type="no_data", severity="warning", message="nothing came")


@pytest.mark.parametrize(
    ("button", "confirm", "expected"),
    [
        ("Acknowledge", "Acknowledge", {"acknowledgement_notes": "new belt", "is_resolved": False}),
        ("Resolve", "Resolve", {"resolution": "manual", "resolution_notes": "new belt", "is_resolved": True}),
        (
            *("False positive", "Resolve as a false positive"),
            {"resolution": "false_positive", "resolution_notes": "new belt", "is_resolved": True},
        ),
        ("Snooze", "Snooze", {"snooze_notes": "new belt", "is_resolved": False}),
    ],
)
async def test_an_alert_is_acted_on_with_a_comment(
    shown: Shown, alert: Alert, fetch: Fetch, button: str, confirm: str, expected: dict[str, object]
) -> None:
    """The dialog's comment is stored with the act, and the page shows the new state."""
    await shown.open("alerts")
    await shown.act(button, confirm, notes="new belt")
    await expect(shown.page.locator("#notice")).to_be_visible(timeout=PATIENCE_MS)
    [row] = await fetch("SELECT * FROM {schema}.model_alerts")
    assert {name: row[name] for name in expected} == expected
    if row["is_resolved"]:
        await expect(shown.page.locator("[data-alert]")).to_have_count(0)
        [resolved] = await shown.table("Resolved in the last 7 days")
        assert resolved[5] == "new belt"
    else:
        await expect(shown.page.locator("[data-alert] .done")).to_contain_text("new belt")
    if button == "Snooze":
        assert abs(row["snoozed_until"] - row["snoozed_at"] - timedelta(hours=24)) < timedelta(seconds=5)
        await expect(shown.page.locator(".quiet [data-alert]")).to_have_count(1)
        assert await shown.number("open") == "0"


async def test_the_history_of_an_alert_is_its_log(shown: Shown, alert: Alert, fetch: Fetch) -> None:
    """Opened on demand: every event in order, with who and why."""
    await shown.open("alerts")
    await shown.act("Acknowledge", "Acknowledge", notes="I look")
    await expect(shown.page.locator("[data-alert] .done")).to_be_visible()
    await shown.page.locator("[data-alert] summary").click()
    stored = await fetch("SELECT * FROM {schema}.model_alert_events ORDER BY id")
    rows = await shown.table("What happened")
    assert [(row[1].lower(), row[3]) for row in rows] == [(event["event"], event["notes"]) for event in stored]
    assert [event["event"] for event in stored] == ["opened", "acknowledged"]


async def test_what_somebody_else_did_first_is_said(
    shown: Shown, alert: Alert, tracker: ModelPerformanceTracker, fetch: Fetch
) -> None:
    """The dialog stays, says why not, and changes nothing; cancelled, it is gone."""
    await shown.open("alerts")
    await tracker.resolve_alert(alert.id, resolution="recovered", by="bo")
    await shown.act("Resolve", "Resolve", notes="too late")
    problem = shown.page.locator("dialog .problem")
    await expect(problem).to_contain_text("resolved (recovered) already")
    [row] = await fetch("SELECT resolved_by, resolution_notes FROM {schema}.model_alerts")
    assert (row["resolved_by"], row["resolution_notes"]) == ("bo", None)
    await shown.page.get_by_role("button", name="Cancel").click()
    await expect(shown.page.locator("dialog")).not_to_be_visible()
    await expect(shown.page.locator("[data-alert]")).to_have_count(0)
    # The browser itself notes the 409 of a fetch, whatever the page makes of it.
    [note] = shown.complaints
    assert "409" in note
    shown.complaints.clear()


async def test_cancelling_does_nothing(shown: Shown, alert: Alert, fetch: Fetch) -> None:
    """Escape leaves the dialog and the alert as they were."""
    await shown.open("alerts")
    await shown.page.locator('[data-act="Resolve"]').click()
    await shown.page.keyboard.press("Escape")
    await expect(shown.page.locator("dialog")).not_to_be_visible()
    [row] = await fetch("SELECT is_resolved FROM {schema}.model_alerts")
    assert not row["is_resolved"]


async def test_a_test_is_started_watched_and_concluded(
    shown: Shown, world: World, tracker: ModelPerformanceTracker, fetch: Fetch
) -> None:
    """From the form to the decision: the stored test has what was filled in, and the page follows its counts."""
    await tracker.conclude_ab_test(world.test_id)
    await shown.open("tests", **slot(world.worse))
    await shown.page.locator('[data-act="Start a test"]').click()
    await expect(shown.page.locator("#field-model_b option:checked")).to_have_text("v1 (2025.1)")
    fields = {"test_name": "by page", "metric": "abs_error", "duration_hours": "48", "traffic_split": "0.25"}
    for name, value in fields.items():
        await shown.page.fill(f"#field-{name}", value)
    await shown.page.select_option("#field-direction", "lower")
    await shown.page.get_by_role("button", name="Start the test").click()
    await shown.page.wait_for_url("**/#/test?id=*")
    await shown.is_there()
    [row] = await fetch("SELECT * FROM {schema}.model_ab_tests WHERE test_name = 'by page'")
    assert (row["test_status"], row["traffic_split"], row["model_a_version"]) == ("running", 0.25, 2)
    assert row["test_end"] - row["test_start"] == timedelta(hours=48)
    await tracker.observe_many(row["id"], arms=["a", "a", "a", "b"] * 50, values=[1.0, 1.1, 0.9, 0.5] * 50)
    await shown.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(shown.page.locator('[data-fact^="a:"]')).to_have_text("150", timeout=PATIENCE_MS)
    assert await shown.page.locator('[data-fact^="b:"]').inner_text() == "50"
    await shown.act("Conclude", "Conclude the test")
    await expect(shown.page.locator(".heading .badge")).to_have_text("Completed", timeout=PATIENCE_MS)
    [row] = await fetch("SELECT * FROM {schema}.model_ab_tests WHERE test_name = 'by page'")
    assert row["test_status"] == "completed"
    assert await shown.page.locator(".lead .badge").get_attribute("data-state") == row["decision"]


async def test_a_retraining_is_followed_until_it_is_done(
    shown: Shown, tracker: ModelPerformanceTracker, fetch: Fetch
) -> None:
    """Queued, then its progress, then what came of it: without a touch of the page after the start."""
    ref = await tracker.register_model("energy", machine="press 7")
    await shown.open("training", **slot(ref))
    await shown.act("Retrain", "Start retraining", reason="new sensor")
    run = shown.page.locator("[data-run]")
    await expect(run.locator(".badge")).to_have_text("Queued", timeout=PATIENCE_MS)
    [row] = await fetch("SELECT * FROM {schema}.model_training_history")
    assert (row["reason"], row["trigger_type"]) == ("new sensor", "manual")
    claimed = await tracker.training.claim("worker", lease=timedelta(minutes=5))
    assert claimed is not None
    await tracker.training.heartbeat(claimed.id, claimed.attempt, lease=timedelta(minutes=5), progress=0.4)
    await expect(run.locator(".progress-line")).to_have_text("40%", timeout=PATIENCE_MS)
    await tracker.training.complete(claimed.id, claimed.attempt, model_version=2, performance_improvement=0.125)
    await expect(run.locator(".badge")).to_have_text("Completed", timeout=PATIENCE_MS)
    assert await shown.number("improvement") == "+12.5%"


async def test_a_second_retraining_names_the_first(
    shown: Shown, tracker: ModelPerformanceTracker, fetch: Fetch
) -> None:
    """A run that is under way is not doubled, and the page says so."""
    ref = await tracker.register_model("energy", machine="press 7")
    await tracker.trigger_retraining(model_type=ref.model_type, machine_id=ref.machine_id)
    await shown.open("model", **slot(ref))
    await shown.act("Retrain", "Start retraining")
    await expect(shown.page.locator("#notice")).to_contain_text("already in progress")
    assert len(await fetch("SELECT id FROM {schema}.model_training_history")) == 1
