"""Every public call of the tracker and its repositories, once at least, with answers that can be compared."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import numpy as np
import pytest
from tests.factories import START, make_evaluation, make_evaluations, make_id, make_ref
from tests.faults.states import BASELINE_DAYS
from tests.writers import NOW, noisy_evaluation, record

from model_perf import (
    Alert,
    AutomationPolicy,
    AutomationRule,
    ConflictError,
    ModelPerformanceTracker,
    ModelRef,
    MonitoringPolicy,
    NotFoundError,
    Page,
    StorageError,
    TrainingOutcome,
)
from model_perf.drift import CusumDetector
from model_perf.repos import (
    ABTestRepo,
    AlertRepo,
    ChampionRepo,
    DriftRepo,
    MetricsRepo,
    NotificationRepo,
    TrainingRepo,
    WorkerRepo,
)
from model_perf.repos.automation import AutomationRepo
from model_perf.repos.checks import ChecksRepo

CLASSES: Sequence[type] = (
    *(ModelPerformanceTracker, MetricsRepo, TrainingRepo, ABTestRepo, AlertRepo, DriftRepo, ChampionRepo, WorkerRepo),
    *(AutomationRepo, ChecksRepo, NotificationRepo),
)
NOT_ON_A_HOSTS_POOL = {"ModelPerformanceTracker.close"}
REF = make_ref()
MACHINE = REF.machine_id
LEASE = timedelta(hours=1)


async def make_every_call(tracker: ModelPerformanceTracker) -> None:
    """Write something into every table by every call that writes, and read it by every call that reads."""
    tracker.policy = MonitoringPolicy(retrain_on=("critical",))
    await write_evaluations(tracker)
    await pass_through_training(tracker)
    await pass_through_work(tracker)
    await pass_through_ab_tests(tracker)
    await pass_through_alerts(tracker)
    await pass_through_data_drift(tracker)
    await pass_through_streams(tracker)
    await pass_through_notifications(tracker)
    await tracker.check_schema()
    # Bound it refuses, for it runs transactions of its own.
    with pytest.raises((NotFoundError, StorageError)):
        await tracker.import_earlier("no_such_installation")
    await look_after(tracker)
    await read_everything(tracker)


async def look_after(tracker: ModelPerformanceTracker) -> None:
    """What is for operators, as far as it deletes nothing: what comes after needs the rows."""
    if not tracker._executor.is_bound:  # prune() runs transactions of its own
        assert (await tracker.prune(START, dry_run=True)).n_deleted == 0
    assert (await tracker.forget_machine(MACHINE, dry_run=True)).n_deleted > 0
    assert (await tracker.forget_model(REF.model_id, dry_run=True)).n_deleted > 0
    assert (await tracker.table_stats()).deployments > 0
    assert (await tracker.diagnose()).schema == tracker.schema
    assert tracker.stats().calls > 0


async def write_evaluations(tracker: ModelPerformanceTracker) -> None:
    await tracker.register_model("baseline", machine="press", training_data_end=START)
    await tracker.register_model("baseline", machine="press", version="2024.1")
    await tracker.record_many([noisy_evaluation(REF, day) for day in range(BASELINE_DAYS)])
    assert len(await tracker.judge(REF)) == BASELINE_DAYS
    day = BASELINE_DAYS
    critical = make_evaluation(REF, day=day, metrics={"rmse": 30.0, "own": 1.5}, metadata={"of": ["press", 1]})
    stored = await record(tracker, critical)
    assert stored.alert is not None
    assert stored.training_run is not None
    repeat = await record(tracker, critical)
    assert (repeat.is_new, repeat.evaluation) == (False, stored.evaluation)
    with pytest.raises(ConflictError):
        await record(tracker, make_evaluation(REF, day=day, metrics={"rmse": 31.0}))
    batch = make_evaluations([10.0, 11.0, 12.0], ref=make_ref("other"))
    assert (await tracker.record_many(batch[:2])).n_inserted == 2
    assert (await tracker.record_many(batch)).n_repeated == 2
    columns = {
        "model_id": make_id("third"),
        "model_type": "baseline",
        "model_version": 1,
        "machine_id": str(MACHINE),
        "evaluation_id": [make_id("a"), make_id("b")],
        "evaluation_start": np.array(["2024-01-01", "2024-01-02"], dtype="M8[us]"),
        "evaluation_end": np.array(["2024-01-02", "2024-01-03"], dtype="M8[us]"),
        "rmse": np.array([1.0, 2.0]),
        "metrics": {"own": [3.0, 4.0]},
    }
    assert (await tracker.record_many(columns)).n_inserted == 2
    assert (await tracker.record_many(columns)).n_repeated == 2
    end = START + timedelta(days=1)
    await tracker.evaluate(
        make_ref("fourth"), [1.0, 2.0, 3.0], [1.1, 2.0, 2.9], evaluation_start=START, evaluation_end=end
    )
    await tracker.rebuild_state(REF)


async def pass_through_training(tracker: ModelPerformanceTracker) -> None:
    assert not (await tracker.trigger_retraining(model_type="baseline", machine_id=MACHINE)).triggered
    training = tracker.training
    held = await training.claim("worker", lease=LEASE, now=NOW + timedelta(days=9000))
    assert held is not None
    await training.heartbeat(held.id, 1, lease=LEASE, progress=0.5)
    await training.hand_back_unheard("worker", [NOW + timedelta(days=9000)], held=[held.id])
    await training.hand_back(held.id, 1)
    held = await training.claim("worker", lease=LEASE, model_type="baseline")
    assert held is not None
    await training.retry(held.id, held.attempt, run_after=NOW, error_message="out of memory")
    held = await training.claim("worker", lease=LEASE)
    assert held is not None
    await training.complete(
        held.id,
        held.attempt,
        hyperparameters={"depth": 3},
        feature_names=["temperature", "hour"],
        training_metrics={"rmse": 9.0},
        validation_metrics={"rmse": 9.5},
    )
    run, _ = await training.open_run(model_type="other", machine_id=MACHINE, hyperparameters={"depth": 4})
    await training.cancel(run.id, reason="no data")
    run, _ = await training.open_run(model_type="third", machine_id=str(MACHINE), metadata={"by": "hand"})
    claimed = await training.claim("worker", lease=LEASE)
    assert claimed is not None
    assert claimed.id == run.id
    await training.fail(run.id, 1, error_message="no data", error_traceback="line 1")


async def pass_through_work(tracker: ModelPerformanceTracker) -> None:
    """A worker's calls, by hand: a bound tracker has none. Its run makes a version that is promoted."""
    training, workers = tracker.training, tracker.workers
    await workers.start("w", ["worked"])
    await training.fail_expired()
    for version, ending in enumerate(("hand over", "fail", "complete")):
        trigger = await tracker.trigger_retraining(model_type="worked", machine_id=MACHINE)
        (run,) = await training.claim_many("w", model_types=["worked"], limit=2, lease=LEASE, upkeep=not version)
        await training.hand_over(run.id, run.attempt, lease=LEASE, external_id="job")
        assert (run.id, trigger.notice) == (trigger.run.id, None)
        if ending == "fail":
            await tracker.fail_training(run.id, run.attempt, ValueError("no data"), is_final=True)
        else:
            outcome = TrainingOutcome(
                model_id=make_id("worked"),
                model_version=version,
                validation_metrics={"rmse": 1.0},
                previous_validation_metrics={"rmse": 2.0},
            )
            run = await tracker.complete_training(run.id, run.attempt, outcome)
    refs = [
        ModelRef(model_id=make_id("worked"), model_type="worked", model_version=version, machine_id=MACHINE)
        for version in (0, 2)
    ]
    for ref in refs:
        await tracker.promote(ref, by="host")
    await tracker.roll_back("worked", MACHINE, reason="slow")
    assert await tracker.champion("worked", MACHINE) == refs[0]
    assert (
        await tracker.champions.fetch("worked", MACHINE) == (await tracker.champion_history("worked", MACHINE)).items[0]
    )
    test = await tracker.start_challenge(run, metric="rmse")
    assert test is not None
    await tracker.ab_tests.cancel(test.id)
    await workers.stop("w")


async def pass_through_ab_tests(tracker: ModelPerformanceTracker) -> None:
    new = make_ref(version=2)
    await tracker.record_many(make_evaluations([9.0, 9.5], ref=new))
    test = await tracker.start_ab_test(
        name="old or new", model_a=REF, model_b=new, start=START, duration=timedelta(days=9000)
    )
    await tracker.ab_test_results(test.id)
    with pytest.raises(ConflictError):
        await tracker.start_ab_test(name="again", model_a=REF, model_b=new)
    await tracker.conclude_ab_test(test.id, by="host")
    test = await tracker.ab_tests.start(
        name="third",
        model_a=REF,
        model_b=new,
        start=START,
        duration=LEASE,
        metadata={"a": 1},
        design={"metric": "rmse"},
    )
    await tracker.ab_tests.cancel(test.id, reason="wrong version")
    await pass_through_observations(tracker, new)


async def pass_through_observations(tracker: ModelPerformanceTracker, new: ModelRef) -> None:
    """A routed test that a buffer feeds and a look concludes, and a paired one that is concluded by hand."""
    rng = np.random.default_rng(1)
    test = await tracker.start_ab_test(
        name="observed", model_a=REF, model_b=new, metric="mae", start=START, duration=timedelta(days=9000)
    )
    values = rng.normal(size=400)
    for _ in range(2):
        await tracker.observe_many(test.id, arms=["a", "b"] * 200, values=values, batch_id=make_id("observations"))
    await tracker.observe(test.id, "a", 0.1, unit="press")
    await tracker.count_served(test.id, a=300, b=300)
    if not tracker._executor.is_bound:  # whose buffer would write beside the calls of its one task
        async with tracker.observer(test.id) as observer:
            observer.observe("b", 0.2, unit="press")
    assert (await tracker.ab_test_results(test.id)).decision == "undecided"
    await tracker.observe_many(test.id, arms=["b"] * 400, values=rng.normal(size=400) - 3.0)
    assert (await tracker.ab_test_results(test.id)).decision == "invalid"
    paired = await tracker.start_ab_test(
        name="paired",
        model_a=REF,
        model_b=new,
        metric="mae",
        start=START,
        duration=timedelta(days=9000),
        pairing="shadow",
    )
    await tracker.observe_paired(paired.id, y_true=[1.0, 2.0], pred_a=[1.0, 2.5], pred_b=[1.5, 2.0])
    await tracker.conclude_ab_test(paired.id, by="host")
    assert await tracker.conclude_due_ab_tests() == []
    assert len(await tracker.ab_tests.fetch_moments(test.id)) > 4


async def pass_through_alerts(tracker: ModelPerformanceTracker) -> None:
    own = [
        await tracker.alerts.open_or_repeat(
            REF, alert_type="own", severity=severity, message="look", details={"n": 1}, metadata={"m": 2}
        )
        for severity in ("info", "critical")
    ]
    assert (own[1].occurrences, own[1].severity) == (2, "critical")
    await tracker.alerts.acknowledge(own[0].id, by="host")
    await tracker.snooze_alert(own[0].id, hours=1.0, by="host", note="later")
    assert (await tracker.alerts.list_active(include_snoozed=False)).items
    (drift,) = [alert for alert in await tracker.active_alerts(machine_id=MACHINE) if alert.alert_type != "own"]
    await tracker.resolve_alert(drift.id, by="host", notes="retrained", resolution="retrained")
    await tracker.alerts.resolve(own[0].id, by="host")
    events = [each.event for each in await tracker.alerts.list_events(own[0].id)]
    assert events == ["opened", "escalated", "acknowledged", "snoozed", "resolved"]
    await tracker.alerts.note_act(own[0].id, {"reason": "none"})
    for kind in ("one", "two", "three"):
        alert = await tracker.alerts.open_or_repeat(REF, alert_type=kind, severity="warning", message="look")
    await tracker.acknowledge_alert(alert.id, by="host", note="seen")
    assert (await tracker.alerts.false_positive_rates(START))["own"].n_resolved == 1
    await pass_through_recovery(tracker)
    await pass_through_automation(tracker)


async def pass_through_recovery(tracker: ModelPerformanceTracker) -> None:
    """A relapse and its end, by records and by a batch that is judged."""
    ref = make_ref("recovering")
    await tracker.record_many([noisy_evaluation(ref, day) for day in range(BASELINE_DAYS)])
    await tracker.judge(ref)
    for day, value in enumerate((30.0, 10.0, 10.0, 10.0), BASELINE_DAYS):
        stored = await record(tracker, make_evaluation(ref, day=day, metrics={"rmse": value}))
    assert stored.recovered is not None
    await record(tracker, make_evaluation(ref, day=BASELINE_DAYS + 30, metrics={"rmse": 30.0}))
    await tracker.record_many(make_evaluations([10.0] * 3, ref=ref, first_day=BASELINE_DAYS + 31))
    await tracker.judge(ref)
    assert [alert for alert in await tracker.active_alerts() if alert.model_id == ref.model_id] == []


async def pass_through_automation(tracker: ModelPerformanceTracker) -> None:
    ref, policy = make_ref("automatic", model_type="own", machine="lathe"), tracker.policy
    tracker.policy = MonitoringPolicy(automation=AutomationPolicy(rules=[AutomationRule(retrain=True)]))
    await tracker.record_many(make_evaluations([*[10.0, 10.1] * 10, 30.0], ref=ref))
    await tracker.judge(ref)
    await tracker.set_automation("own", ref.machine_id, enabled=False, by="host", reason="enough")
    assert (await tracker.automation("own", ref.machine_id)) is not None
    tracker.policy = policy
    run = (await tracker.training.list_runs(machine_id=ref.machine_id)).items[0]
    held = await tracker.training.claim("worker", lease=LEASE, model_type="own")
    assert held is not None
    assert (held.id, held.triggered_by) == (run.id, "policy")
    await tracker.training.complete(held.id, held.attempt, model_version=2)
    assert len(await tracker.resolve_retrained(held.id)) == 1
    report = await tracker.run_checks()
    assert report.is_ok, report.steps
    assert report.failures
    assert report.stale is not None


async def pass_through_data_drift(tracker: ModelPerformanceTracker) -> None:
    rng = np.random.default_rng(1)
    await tracker.set_reference(REF, {"load": rng.normal(size=1000)}, created_by="host")
    for day, shift in enumerate((0.0, 2.0)):
        start = START + timedelta(days=day)
        await tracker.check_data_drift(
            REF,
            {"load": rng.normal(shift, 1.0, 200)},
            check_id=make_id(f"check {day}"),
            window_start=start,
            window_end=start + timedelta(days=1),
        )
    (alert,) = [alert for alert in await tracker.active_alerts() if alert.alert_type == "data_drift"]
    await tracker.resolve_alert(alert.id)
    assert (await tracker.drift.fetch_reference(REF)).profile


async def pass_through_streams(tracker: ModelPerformanceTracker) -> None:
    stream = tracker.stream(REF, "error", detector=CusumDetector(mean=0.1, sd=0.3))
    assert (await stream.update_many([0.1, 1.0, 0.0] * 50, range(150))).n_new == 150
    assert (await stream.update(0.1, 149)).n_new == 0
    assert await tracker.stream(REF, "error").restart() == await stream.fetch()
    kept = await tracker.drift.in_turn(REF, "error", lambda repo: repo.fetch_stream(REF, "error"))
    assert kept == await tracker.drift.fetch_stream(REF, "error")


async def pass_through_notifications(tracker: ModelPerformanceTracker) -> None:
    """What was written of the alerts above, routed to a channel and settled in every way."""
    outbox = tracker.notifications
    everything = {"events": ["opened", "escalated", "resolved"], "severities": ["info", "warning", "critical"]}
    channel = {"channel": "ops", "model_types": ["baseline"], "alert_types": None, **everything}
    assert list(await outbox.list_due()) == [""]
    assert (await outbox.route([channel, channel | {"channel": "other"}])).n_routed >= 10
    held = await outbox.claim("ops", lease=LEASE, limit=5)
    await outbox.mark_delivered(held[:1])
    await outbox.mark_dead(held[1].id, 1, error_message="HTTP 404")
    await outbox.mark_dead(held[2].id, 1, error_message="HTTP 404")
    await outbox.retry_later(held[3].id, 1, run_after=NOW, error_message="HTTP 500")
    await outbox.hand_back(held[4:])
    await outbox.requeue(held[1].id)
    assert await outbox.requeue_dead("ops") == 1
    limited = await outbox.claim("other", lease=LEASE, limit=5, allowance=lambda spent, now, n: (2, lambda n: now))
    assert len(limited) == 2
    assert await outbox.drop_late(START, reason="too old") == 0
    await outbox.rest("other", NOW + timedelta(days=9000))
    if tracker._executor.is_bound:
        with pytest.raises(StorageError):
            await tracker.deliver_notifications()
    else:
        await tracker.deliver_notifications(max_age=timedelta(days=9000))


async def read_everything(tracker: ModelPerformanceTracker) -> dict[str, Any]:
    """The answers of all calls that read, page by page where there are pages."""
    metrics, training, tests, alerts = tracker.metrics, tracker.training, tracker.ab_tests, tracker.alerts
    period: dict[str, Any] = {"since": START, "until": NOW}
    answers: dict[str, Any] = {
        "status": await tracker.read_status(),
        "latest": await metrics.fetch_latest(REF),
        "points": await metrics.list_points(REF, **period),
        "slot points": await metrics.list_slot_points("baseline", MACHINE, **period),
        "pairs": await metrics.list_pairs(REF, make_ref(version=2), **period),
        "trend": await tracker.trend(REF, metric="rmse", **period),
        "slot trend": await tracker.trend(model_type="baseline", machine_id=MACHINE, **period),
        "drift": await tracker.check_drift(REF),
        "models": await tracker.list_models(model_type="baseline"),
        "evaluations": await _pages(lambda cursor: metrics.list_evaluations(REF, **period, limit=15, cursor=cursor)),
        "fleet": await _pages(lambda cursor: tracker.fleet(n_recent=5, limit=1, cursor=cursor)),
        "summary": await tracker.summary("baseline", MACHINE),
        "names": await tracker.machine_names([MACHINE]),
        "version": await tracker.find_model(REF.model_id, model_type="baseline", machine_id=MACHINE),
        "duration": await training.fetch_usual_duration("baseline", MACHINE),
        "data": await tracker.drift.fetch_newest_report(REF),
        "reports": await _pages(lambda cursor: tracker.drift.list_reports(REF, **period, limit=1, cursor=cursor)),
        "slots": await _pages(lambda cursor: metrics.list_latest(limit=1, cursor=cursor)),
        "judged": await metrics.list_newest_judged("baseline", MACHINE),
        "alarm": await tracker.drift.list_alarm("baseline", MACHINE, since=START),
        "slot alerts": await alerts.list_slot("baseline", MACHINE, since=START),
        "resolved": await alerts.list_resolved(since=START),
        "deployments": await _pages(lambda cursor: metrics.list_models(limit=2, cursor=cursor)),
        "wish": await training.fetch_wish((await training.list_runs(model_type="worked")).items[0]),
        "outlook": await training.fetch_outlook("worked", MACHINE),
        "sightings": await tracker.workers.list_sightings(["worked", "never seen"]),
        "workers": await tracker.workers.list_workers(since=START),
        "champions": await _pages(lambda c: tracker.champions.list_changes("worked", MACHINE, limit=1, cursor=c)),
        "runs": await _pages(lambda cursor: training.list_runs(limit=1, cursor=cursor)),
        "tests": await _pages(lambda cursor: tests.list_tests(limit=1, cursor=cursor)),
        "running": await tests.list_active(model_type="baseline"),
        "alerts": await _pages(lambda cursor: alerts.list_active(limit=1, machine_id=MACHINE, cursor=cursor)),
        "critical": await tracker.active_alerts(severity="critical"),
        "due": await tracker.notifications.list_due(),
        "told": await _pages(lambda cursor: tracker.notifications.list_notifications(limit=5, cursor=cursor)),
        "history": await _pages(lambda cursor: alerts.list_alerts(limit=2, cursor=cursor)),
        "switch": await tracker.automation("own", make_ref(machine="lathe").machine_id),
        "switches": await _pages(lambda cursor: AutomationRepo(tracker._executor).list_switches(cursor=cursor)),
    }
    first: Alert = answers["alerts"][0]
    answers["report"] = await tracker.drift.fetch_report(REF, answers["data"].id)
    answers["alert"] = await alerts.fetch(str(first.id))
    answers["events"] = await alerts.list_events(first.id)
    answers["notification"] = await tracker.notifications.fetch_notification(answers["told"][0].id)
    answers["run"] = await training.fetch_run(answers["runs"][0].id)
    answers["test"] = await tests.fetch(answers["tests"][0].id)
    answers["evaluation"] = await metrics.fetch_evaluation(REF, answers["latest"].id)
    return answers


async def check_json(connection: asyncpg.Connection, schema: str) -> int:
    """Every value of every jsonb column is an object, never the text of one; returns how many have content."""
    columns = await connection.fetch(
        "SELECT table_name::text, column_name::text FROM information_schema.columns"
        " WHERE table_schema = $1 AND data_type = 'jsonb' AND table_name LIKE 'model%'",
        schema,
    )
    filled = 0
    for table, column in columns:
        counts = f"SELECT jsonb_typeof({column}), count(*) FILTER (WHERE {column} <> '{{}}')"
        rows = await connection.fetch(f"{counts} FROM {schema}.{table} GROUP BY 1")
        assert {row[0] for row in rows} <= {"object"}, f"{table}.{column}"
        filled += any(row[1] for row in rows)
    return filled


def find_public_calls() -> set[str]:
    """The names of all public coroutine methods, as ``Class.method``."""
    return {
        f"{owner.__name__}.{name}"
        for owner in CLASSES
        for name, _ in inspect.getmembers(owner, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }


@contextmanager
def calls_noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The names of the public coroutine methods that are called inside."""
    called: set[str] = set()
    with monkeypatch.context() as patch:
        for full in find_public_calls():
            owner = next(each for each in CLASSES if each.__name__ == full.split(".")[0])
            patch.setattr(owner, full.split(".")[1], _noting(full, getattr(owner, full.split(".")[1]), called))
        yield called


def _noting(name: str, method: Any, called: set[str]) -> Any:
    async def noted(*args: Any, **options: Any) -> Any:
        called.add(name)
        return await method(*args, **options)

    return noted


async def _pages(read: Any) -> list[Any]:
    items: list[Any] = []
    cursor: str | None = None
    while True:
        page: Page[Any] = await read(cursor)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            assert items
            return items
