"""What follows from an alert by itself: asked for once, within its limits, with the reason on the alert."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import numpy as np
import pytest
from tests.factories import START, Clock, make_evaluation, make_evaluations, make_ref
from tests.writers import record

from model_perf import (
    Alert,
    AutomationPolicy,
    AutomationRule,
    AutomationSwitch,
    InvalidInputError,
    ModelPerformanceTracker,
    ModelRef,
    MonitoringPolicy,
    RecordedEvaluation,
    TrainingOutcome,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CALM = [1.00, 1.02, 0.98, 1.01, 0.99, 1.03, 0.97, 1.00, 1.01, 0.99, 1.02, 0.98, 1.00, 1.01]
BAD = 2.0
REF = make_ref()
RETRAIN = AutomationRule(retrain=True)

Make = Callable[..., ModelPerformanceTracker]


@pytest.fixture
def acting(tracker: ModelPerformanceTracker, pool: asyncpg.Pool, clock: Clock) -> Make:
    """A tracker with the test's own time that retrains, with these limits."""

    def make(*rules: AutomationRule, **limits: Any) -> ModelPerformanceTracker:
        automation = AutomationPolicy(rules=rules or (RETRAIN,), **limits)
        policy = MonitoringPolicy(automation=automation)
        return ModelPerformanceTracker(pool, schema=tracker.schema, clock=clock, policy=policy)

    return make


async def degrade(tracker: ModelPerformanceTracker, ref: ModelRef = REF) -> RecordedEvaluation:
    """A baseline and a collapse on day 14."""
    for one in make_evaluations([*CALM, BAD], ref=ref):
        recorded = await record(tracker, one)
    assert recorded.alert is not None
    return recorded


async def again(tracker: ModelPerformanceTracker, day: int, ref: ModelRef = REF) -> Alert:
    recorded = await record(tracker, make_evaluation(ref, day=day, metrics={"rmse": BAD}))
    assert recorded.alert is not None
    return recorded.alert


async def end_run(tracker: ModelPerformanceTracker) -> None:
    run = await tracker.training.claim("w", lease=HOUR)
    assert run is not None
    await tracker.training.fail(run.id, run.attempt, error_message="x")


async def runs(tracker: ModelPerformanceTracker) -> int:
    return len((await tracker.training.list_runs()).items)


async def test_nothing_follows_by_default(tracker: ModelPerformanceTracker) -> None:
    """Without a rule there is no run, and nothing is written on the alert."""
    recorded = await degrade(tracker)
    assert recorded.alert is not None
    assert (recorded.training_run, recorded.alert.auto_action, recorded.alert.auto_action_taken) == (None, {}, False)
    assert await runs(tracker) == 0


async def test_a_rule_opens_a_run_with_the_alert(acting: Make) -> None:
    """In one statement: the run knows its alert, the alert its run, and the log says what was done and why."""
    tracker = acting(AutomationRule(retrain=True, start_ab_test=True))
    recorded = await degrade(tracker)
    alert, run = recorded.alert, recorded.training_run
    assert alert is not None
    assert run is not None
    assert (run.alert_id, run.trigger_type, run.triggered_by, run.max_attempts) == (
        alert.id,
        "degradation",
        "policy",
        3,
    )
    assert run.reason == recorded.drift.recommendation
    assert alert.auto_action_taken
    assert alert.auto_action == {
        "action": "retrain",
        "outcome": "requested",
        "reason": "requested",
        "run_id": str(run.id),
        "start_ab_test": True,
    }
    assert await tracker.training.fetch_run(run.id) == run
    events = await tracker.alerts.list_events(alert.id)
    assert [(each.event, each.notes) for each in events][1:] == [("acted", "requested")]


async def test_repeats_ask_for_nothing_more(acting: Make) -> None:
    """Until somebody resolves the alert it trains once, even where that run has failed."""
    tracker = acting(cooldown_s=0.0)
    await degrade(tracker)
    await end_run(tracker)
    for day in range(15, 20):
        alert = await again(tracker, day)
    assert alert.occurrences == 6
    assert await runs(tracker) == 1
    assert [each.event for each in await tracker.alerts.list_events(alert.id)] == ["opened", "acted"]


async def test_a_dry_run_says_what_it_would_do(acting: Make) -> None:
    """On the alert and in the log; no run is opened."""
    tracker = acting(dry_run=True)
    recorded = await degrade(tracker)
    assert recorded.alert is not None
    assert recorded.training_run is None
    assert not recorded.alert.auto_action_taken
    assert recorded.alert.auto_action["outcome"] == "dry_run"
    assert recorded.alert.auto_action["reason"] == "dry run: a training run would have been opened"
    assert await runs(tracker) == 0


async def test_the_cooldown_puts_it_off(acting: Make, clock: Clock) -> None:
    """After a run of anybody's: the alert says until when, and the first occurrence after that asks again."""
    tracker = acting(cooldown_s=7200.0)
    await tracker.trigger_retraining(model_type="baseline", machine_id=REF.machine_id)
    await end_run(tracker)
    clock.now += HOUR
    recorded = await degrade(tracker)
    assert recorded.alert is not None
    assert recorded.training_run is None
    assert recorded.alert.auto_action["outcome"] == "skipped"
    assert recorded.alert.auto_action["reason"] == "skipped: cooldown until 2024-01-01T02:00:00Z"
    clock.now = START + 2 * HOUR - timedelta(seconds=1)
    assert not (await again(tracker, 15)).auto_action_taken
    clock.now = START + 2 * HOUR
    alert = await again(tracker, 16)
    assert (alert.auto_action["outcome"], alert.auto_action_taken) == ("requested", True)
    assert await runs(tracker) == 2
    assert (await again(tracker, 17)).auto_action == alert.auto_action
    assert [e.event for e in await tracker.alerts.list_events(alert.id)] == ["opened", "acted", "acted"]


async def test_the_daily_cap_holds(acting: Make, clock: Clock) -> None:
    """Two runs by itself in 24 hours; the third is put off until the first is a day old."""
    tracker = acting(cooldown_s=0.0, max_per_day=2)
    outcomes = []
    for version in (1, 2, 3):
        recorded = await degrade(tracker, make_ref(version=version))
        assert recorded.alert is not None
        outcomes.append(recorded.alert.auto_action["reason"])
        if recorded.training_run is not None:
            await end_run(tracker)
        clock.now += HOUR
    assert outcomes == ["requested", "requested", "skipped: daily cap of 2 reached, until 2024-01-02T00:00:00Z"]
    clock.now = START + DAY
    assert (await again(tracker, 15, make_ref(version=3))).auto_action_taken


async def test_a_day_of_the_cap_has_24_hours(tracker: ModelPerformanceTracker, database: str, clock: Clock) -> None:
    """Where the session's zone changes to summer time in between, too: at 23 hours the day after has begun there."""
    policy = MonitoringPolicy(automation=AutomationPolicy(rules=[RETRAIN], cooldown_s=0.0, max_per_day=1))
    clock.now = datetime(2024, 3, 30, 12, tzinfo=UTC)
    async with asyncpg.create_pool(database, min_size=1, server_settings={"TimeZone": "Europe/Berlin"}) as own:
        acting = ModelPerformanceTracker(own, schema=tracker.schema, clock=clock, policy=policy)
        await degrade(acting)
        await end_run(acting)
        clock.now += 23 * HOUR
        capped = (await degrade(acting, make_ref(version=2))).alert
        assert capped is not None
        assert capped.auto_action["reason"] == "skipped: daily cap of 1 reached, until 2024-03-31T12:00:00Z"


async def test_a_later_act_is_logged_when_it_is_done(acting: Make, clock: Clock) -> None:
    """Not when the alert was last seen: what a completed run starts comes hours after."""
    tracker = acting()
    alert = (await degrade(tracker)).alert
    assert alert is not None
    clock.now += 5 * HOUR
    await tracker.alerts.note_act(alert.id, {"reason": "test t started"})
    log = await tracker.alerts.list_events(alert.id)
    assert [(each.event, each.notes, each.occurred_at - START) for each in log] == [
        ("opened", alert.alert_message, timedelta(0)),
        ("acted", "requested", timedelta(0)),
        ("acted", "test t started", 5 * HOUR),
    ]


async def test_an_open_run_is_enough(acting: Make) -> None:
    """It is answered instead of a second one, and the alert says why none was opened."""
    tracker = acting(cooldown_s=0.0)
    open_run = (await tracker.trigger_retraining(model_type="baseline", machine_id=REF.machine_id)).run
    recorded = await degrade(tracker)
    assert recorded.alert is not None
    assert recorded.training_run == open_run
    assert recorded.alert.auto_action["reason"] == "skipped: a run is open already"
    assert recorded.alert.auto_action["run_id"] == str(open_run.id)
    assert not recorded.alert.auto_action_taken


@pytest.mark.parametrize("dry_run", [False, True])
async def test_the_version_of_a_run_that_was_open_is_tested(acting: Make, dry_run: bool) -> None:
    """The rule wants a new version tested: who asked for the run is no matter. A dry run starts nothing."""
    tracker = acting(AutomationRule(retrain=True, start_ab_test=True), dry_run=dry_run)
    await tracker.promote(REF)
    run = (await tracker.trigger_retraining(model_type="baseline", machine_id=REF.machine_id)).run
    recorded = await degrade(tracker)
    assert recorded.alert is not None
    assert recorded.alert.auto_action["run_id"] == str(run.id)
    assert await tracker.training.claim("w", lease=HOUR) is not None
    made = TrainingOutcome(model_id=REF.model_id, model_version=2)
    await tracker.complete_training(run.id, 1, made)
    tests = (await tracker.ab_tests.list_tests()).items
    assert [test.training_run_id for test in tests] == ([] if dry_run else [run.id])
    action = (await tracker.alerts.fetch(recorded.alert.id)).auto_action
    assert action.get("test_id") == (None if dry_run else str(tests[0].id))


@pytest.mark.parametrize("how", ["rule", "retrain_on"])
async def test_the_switch_stops_it(acting: Make, pool: asyncpg.Pool, how: str) -> None:
    """For that machine and model type alone, by name and with the reason; for `retrain_on` too."""
    tracker = acting()
    if how == "retrain_on":
        policy = MonitoringPolicy(retrain_on=("critical",))
        tracker = ModelPerformanceTracker(pool, schema=tracker.schema, policy=policy)
    assert await tracker.automation("baseline", REF.machine_id) is None
    switch = await tracker.set_automation("baseline", REF.machine_id, enabled=False, by="ana", reason="rebuilding")
    assert await tracker.automation("baseline", REF.machine_id) == switch
    assert isinstance(switch, AutomationSwitch)
    assert (switch.is_enabled, switch.changed_by, switch.reason) == (False, "ana", "rebuilding")
    recorded = await degrade(tracker)
    assert recorded.alert is not None
    assert recorded.training_run is None
    assert recorded.alert.auto_action["reason"] == "switched off by ana: rebuilding"
    elsewhere = await degrade(tracker, make_ref("m", machine="lathe"))
    assert elsewhere.training_run is not None
    await tracker.set_automation("baseline", REF.machine_id, enabled=True, by="bob")
    other = await degrade(tracker, make_ref(version=2))
    assert other.training_run is not None


async def test_the_first_rule_that_fits_decides(acting: Make) -> None:
    """By type of alert, severity and type of model; one that says no keeps the later ones from saying yes."""
    tracker = acting(
        AutomationRule(model_type="quiet", retrain=False),
        AutomationRule(alert_type="data_drift", retrain=True),
        AutomationRule(alert_type="performance_degradation", model_type="baseline", retrain=True),
        AutomationRule(model_type="quiet", retrain=True),
    )
    assert (await degrade(tracker)).training_run is not None
    assert (await degrade(tracker, make_ref("q", model_type="quiet"))).training_run is None
    assert (await degrade(tracker, make_ref("f", model_type="forecast"))).training_run is None


async def test_data_drift_is_acted_on_too(acting: Make) -> None:
    """In the statement of its report; a warning that becomes critical acts when it does."""
    tracker = acting(AutomationRule(alert_type="data_drift", retrain=True))
    rng = np.random.default_rng(1)
    await tracker.set_reference(REF, {"load": rng.normal(size=5000), "flag": rng.random(5000) < 0.5})
    span: dict[str, Any] = {"window_start": START, "window_end": START + DAY}
    mild = {"load": rng.normal(0.42, 1.0, 2000), "flag": rng.random(2000) < 0.5}
    assert (await tracker.check_data_drift(REF, mild, **span)).verdict == "warning"
    [alert] = await tracker.active_alerts()
    assert (alert.severity, alert.auto_action) == ("warning", {})
    span = {"window_start": START + DAY, "window_end": START + 2 * DAY}
    await tracker.check_data_drift(REF, {**mild, "load": rng.normal(2.0, 1.0, 2000)}, **span)
    [alert] = await tracker.active_alerts()
    assert (alert.severity, alert.auto_action["outcome"], alert.auto_action_taken) == ("critical", "requested", True)
    [run] = (await tracker.training.list_runs()).items
    assert (run.alert_id, run.trigger_type, run.reason) == (alert.id, "drift", alert.alert_message)


async def test_a_judged_batch_is_acted_on_too(acting: Make) -> None:
    """What record would have done, judge does, with the same words."""
    tracker = acting()
    await tracker.record_many(make_evaluations([*CALM, BAD]))
    await tracker.judge(REF)
    [alert] = await tracker.active_alerts()
    [run] = (await tracker.training.list_runs()).items
    assert (alert.auto_action["outcome"], alert.auto_action["run_id"]) == ("requested", str(run.id))
    assert (run.alert_id, run.triggered_by) == (alert.id, "policy")


async def test_what_was_put_off_is_asked_for_by_a_judged_batch(acting: Make, clock: Clock) -> None:
    """The first judgement after the cooldown, and none before; once."""
    tracker = acting(cooldown_s=7200.0)
    await tracker.trigger_retraining(model_type="baseline", machine_id=REF.machine_id)
    await end_run(tracker)
    await tracker.record_many(make_evaluations([*CALM, BAD]))
    outcomes = []
    for day, waited in enumerate((0.0, 1.99, 2.0, 3.0), 15):
        clock.now = START + waited * HOUR
        await tracker.record_many(make_evaluations([BAD], first_day=day))
        await tracker.judge(REF)
        [alert] = await tracker.active_alerts()
        outcomes.append(alert.auto_action["outcome"])
    assert outcomes == ["skipped", "skipped", "requested", "requested"]
    assert alert.auto_action_taken
    assert await runs(tracker) == 2


async def test_of_forty_versions_at_once_one_run(acting: Make) -> None:
    """Forty deployments of one slot degrade at once: one run, one alert that says it asked, the others why not."""
    tracker = acting(cooldown_s=0.0, max_per_day=100)
    refs = [make_ref(version=version) for version in range(40)]
    for ref in refs:
        await tracker.record_many(make_evaluations(CALM, ref=ref))
        await tracker.judge(ref)
    found = await asyncio.gather(
        *(record(tracker, make_evaluation(ref, day=14, metrics={"rmse": BAD})) for ref in refs)
    )
    [run] = (await tracker.training.list_runs()).items
    assert {each.training_run and each.training_run.id for each in found} == {run.id}
    alerts = [await tracker.alerts.fetch(each.alert.id) for each in found if each.alert is not None]
    assert [alert.id for alert in alerts if alert.auto_action_taken] == [run.alert_id]
    assert sorted({str(alert.auto_action["reason"]) for alert in alerts}) == [
        "requested", "skipped: a run is open already",
    ]  # fmt: skip


async def test_of_forty_repeats_at_once_one_run(acting: Make, clock: Clock) -> None:
    """Forty occurrences after the cooldown: the first asks, once."""
    tracker = acting(cooldown_s=3600.0)
    await tracker.trigger_retraining(model_type="baseline", machine_id=REF.machine_id)
    await end_run(tracker)
    await degrade(tracker)
    clock.now += 2 * HOUR
    await asyncio.gather(*(again(tracker, day) for day in range(15, 55)))
    [alert] = await tracker.active_alerts()
    assert (alert.occurrences, alert.auto_action["outcome"], await runs(tracker)) == (41, "requested", 2)
    assert [e.event for e in await tracker.alerts.list_events(alert.id)] == ["opened", "acted", "acted"]


@pytest.mark.parametrize(
    ("argument", "make"),
    [
        ("alert_type", lambda: AutomationRule(alert_type="stale_model")),
        ("min_severity", lambda: AutomationRule(min_severity="bad")),  # type: ignore[arg-type]
        ("model_type", lambda: AutomationRule(model_type=" ")),
        ("retrain", lambda: AutomationRule(retrain=1)),  # type: ignore[arg-type]
        ("start_ab_test", lambda: AutomationRule(start_ab_test=True)),
        ("rules", lambda: AutomationPolicy(rules=["critical"])),  # type: ignore[list-item]
        ("rules", lambda: AutomationPolicy(rules=RETRAIN)),  # type: ignore[arg-type]
        ("cooldown_s", lambda: AutomationPolicy(cooldown_s=-1.0)),
        ("max_per_day", lambda: AutomationPolicy(max_per_day=0)),
        ("dry_run", lambda: AutomationPolicy(dry_run="no")),  # type: ignore[arg-type]
        ("automation", lambda: MonitoringPolicy(automation=RETRAIN)),  # type: ignore[arg-type]
        ("recover_after", lambda: MonitoringPolicy(recover_after=0)),
        ("flap_days", lambda: MonitoringPolicy(flap_days=-1.0)),
    ],
)
def test_a_policy_refuses_by_name(argument: str, make: Callable[[], object]) -> None:
    """What cannot be meant is refused where it is written."""
    with pytest.raises(InvalidInputError) as refused:
        make()
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    ("argument", "fields"),
    [
        ("enabled", {"enabled": 0}),
        ("by", {"by": ""}),
        ("reason", {"reason": "a\0"}),
        ("machine_id", {"machine_id": "x"}),
    ],
)
async def test_a_switch_refuses_by_name(
    tracker: ModelPerformanceTracker, argument: str, fields: dict[str, Any]
) -> None:
    """And is not set."""
    given: dict[str, Any] = {"enabled": False, "by": "ana"} | fields
    with pytest.raises(InvalidInputError) as refused:
        await tracker.set_automation("baseline", **given)
    assert refused.value.argument == argument
    assert await tracker.automation("baseline") is None
