"""The state of the fleet and of one slot, and when a training run should end."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve
from tests.factories import START, make_evaluation, make_evaluations, make_id, make_ref
from tests.writers import record

from model_perf import (
    HostDirectory,
    InvalidInputError,
    MetricDefinition,
    ModelPerformanceTracker,
    MonitoringPolicy,
)
from model_perf._slot import estimated_end
from model_perf.records import METRIC_COLUMNS

PRESS, LATHE = make_ref(), make_ref("other", machine="lathe")
HOUR = timedelta(hours=1)


class Host(HostDirectory):
    async def model_version(self, model_id: UUID) -> int | None:
        return 1

    async def machine_names(self, machine_ids: Collection[UUID]) -> Mapping[UUID, str]:
        return {PRESS.machine_id: "Press 7"}


def with_host(tracker: ModelPerformanceTracker) -> ModelPerformanceTracker:
    return ModelPerformanceTracker(tracker.pool, schema=tracker.schema, directory=Host())


async def test_the_fleet_shows_the_newest_evaluation_of_each_slot(tracker: ModelPerformanceTracker) -> None:
    """Over all versions of the slot, with the deployment that it belongs to."""
    await tracker.record_many(make_evaluations([1.0, 2.0], ref=PRESS))
    newest = make_evaluation(evolve(PRESS, model_version=2), day=5, metrics={"rmse": 3.0, "own": 4.0})
    await record(tracker, newest)
    await tracker.record_many(make_evaluations([5.0], ref=make_ref(machine="press", model_type="forecast", name="f")))
    entries = {(e.machine_id, e.model_type): e for e in (await tracker.fleet()).items}
    assert list(entries) == [(PRESS.machine_id, "baseline"), (PRESS.machine_id, "forecast")]
    entry = entries[PRESS.machine_id, "baseline"]
    assert (entry.model_id, entry.model_version) == (PRESS.model_id, 2)
    assert entry.evaluation is not None
    assert (entry.evaluation.id, entry.evaluation.metrics) == (newest.id, {"rmse": 3.0, "own": 4.0})
    assert (entry.evaluation.verdict, entry.evaluation.data_completeness) == ("insufficient_data", 0.98)


async def test_a_slot_that_was_never_evaluated_is_in_the_fleet(tracker: ModelPerformanceTracker) -> None:
    """It shows its newest version, and no evaluation: unknown, not fine."""
    for label in ("first", "second"):
        await tracker.register_model("baseline", machine="press", version=label)
    (entry,) = (await tracker.fleet()).items
    assert (entry.model_version, entry.version_label, entry.machine_name) == (2, "second", "press")
    assert entry.evaluation is None
    assert (entry.n_open_alerts, entry.worst_severity, entry.test_id, entry.run_id) == (0, None, None, None)


async def test_the_fleet_shows_what_is_open(tracker: ModelPerformanceTracker) -> None:
    """Open alerts with the worst severity, the running test, the open run: of the slot, and no longer open ones not."""
    for ref in (PRESS, LATHE):
        await tracker.metrics.register_model(ref, START)
    for kind, severity in (("one", "info"), ("two", "critical"), ("three", "warning")):
        await tracker.alerts.open_or_repeat(PRESS, alert_type=kind, severity=severity, message="look")
    closed = await tracker.alerts.open_or_repeat(LATHE, alert_type="x", severity="critical", message="look")
    await tracker.alerts.resolve(closed.id)
    test = await tracker.start_ab_test(name="new", model_a=PRESS, model_b=evolve(PRESS, model_version=2))
    run = (await tracker.trigger_retraining(model_type="baseline", machine_id=PRESS.machine_id)).run
    await tracker.training.cancel((await tracker.trigger_retraining(model_type="other")).run.id)
    by_machine = {entry.machine_id: entry for entry in (await tracker.fleet()).items}
    press, lathe = by_machine[PRESS.machine_id], by_machine[LATHE.machine_id]
    assert (press.n_open_alerts, press.worst_severity) == (3, "critical")
    assert (press.test_id, press.test_name, press.run_id, press.training_status) == (test.id, "new", run.id, "pending")
    assert (lathe.n_open_alerts, lathe.worst_severity, lathe.test_id, lathe.run_id) == (0, None, None, None)


async def test_the_fleet_is_filtered(tracker: ModelPerformanceTracker) -> None:
    """By machine, by model type, by both."""
    refs = [make_ref(f"{m} {t}", machine=m, model_type=t) for m in ("press", "lathe") for t in ("a", "b")]
    for ref in refs:
        await tracker.metrics.register_model(ref, START)

    async def slots(**filters: Any) -> set[tuple[UUID, str]]:
        return {(entry.machine_id, entry.model_type) for entry in (await tracker.fleet(**filters)).items}

    press, lathe = make_id("machine press"), make_id("machine lathe")
    assert await slots(machine_id=str(press)) == {(press, "a"), (press, "b")}
    assert await slots(model_type="a") == {(press, "a"), (lathe, "a")}
    assert await slots(model_type="b", machine_id=lathe) == {(lathe, "b")}
    assert await slots(model_type="c") == set()


async def test_the_fleet_shows_the_newest_values(tracker: ModelPerformanceTracker) -> None:
    """Of the version shown, oldest first, as many as were asked for; an evaluation without the metric gives none."""
    await tracker.record_many(make_evaluations([9.0, 8.0], ref=PRESS))
    newer = evolve(PRESS, model_version=2)
    await tracker.record_many(make_evaluations([0.1, 1.7976931348623157e308, 3.0, 4.0], ref=newer, first_day=5))
    await record(tracker, make_evaluation(newer, day=6, id=make_id("late"), metrics={"mae": 5.0}))
    await tracker.metrics.register_model(LATHE, START)

    async def values(n: int) -> dict[UUID, tuple[float, ...]]:
        return {entry.machine_id: entry.recent_values for entry in (await tracker.fleet(n_recent=n)).items}

    assert await values(10) == {PRESS.machine_id: (0.1, 1.7976931348623157e308, 3.0, 4.0), LATHE.machine_id: ()}
    assert (await values(2))[PRESS.machine_id] == (3.0, 4.0)
    assert (await values(0))[PRESS.machine_id] == ()
    with pytest.raises(InvalidInputError, match="n_recent"):
        await values(-1)


async def test_the_values_are_of_the_primary_metric(tracker: ModelPerformanceTracker) -> None:
    """Whatever metrics an evaluation has, SQL takes the one that the policy takes."""
    own = [MetricDefinition(name=name, higher_is_better=False) for name in ("yield", "aaaaa", "zz")]
    tracker = ModelPerformanceTracker(tracker.pool, schema=tracker.schema, policy=MonitoringPolicy(metrics=own))
    names = [*METRIC_COLUMNS, "accuracy", "log_loss", "yield", "aaaaa", "zz", "unknown"]
    chosen = [names[first:last] for first in range(len(names)) for last in range(first + 1, len(names) + 1)]
    for place, some in enumerate(chosen):
        metrics = {name: (names.index(name) + 1) / 100 for name in some}
        await record(tracker, make_evaluation(make_ref(f"{place}", machine=f"{place}"), metrics=metrics))
    entries = (await tracker.fleet(n_recent=1)).items
    assert len(entries) == len(chosen)
    for entry in entries:
        assert entry.evaluation is not None
        primary = tracker.policy.primary_metric(entry.evaluation.metrics)
        expected = () if primary is None else (entry.evaluation.metrics[primary],)
        assert entry.recent_values == expected, entry.evaluation.metrics


async def test_the_directory_names_the_fleet(tracker: ModelPerformanceTracker) -> None:
    """A name of the host comes before the registered one, which stays where the host has none."""
    for ref in (PRESS, LATHE):
        await tracker.metrics.register_model(ref, START, machine_name="registered")
    names = {entry.machine_id: entry.machine_name for entry in (await with_host(tracker).fleet()).items}
    assert names == {PRESS.machine_id: "Press 7", LATHE.machine_id: "registered"}


async def test_a_summary_lists_the_versions_newest_first(tracker: ModelPerformanceTracker) -> None:
    """Each with its newest evaluation and the rows of its training; in service is the one evaluated last."""
    await record(tracker, make_evaluation(evolve(PRESS, model_version=2), day=3, metrics={"r_squared": 0.0}))
    await record(tracker, make_evaluation(PRESS, day=1, metrics={"rmse": 2.0}))
    await tracker.metrics.register_model(evolve(PRESS, model_version=3), START)
    run, _ = await tracker.training.open_run(model_type="baseline", machine_id=PRESS.machine_id)
    claimed = await tracker.training.claim("worker", lease=HOUR)
    assert claimed is not None
    await tracker.training.complete(run.id, 1, model_version=2, sample_count=5000)
    slot = await tracker.summary("baseline", PRESS.machine_id)
    assert [version.model_version for version in slot.versions] == [3, 2, 1]
    assert [version.training_samples for version in slot.versions] == [None, 5000, None]
    assert [v.evaluation and v.evaluation.metrics for v in slot.versions] == [None, {"r_squared": 0.0}, {"rmse": 2.0}]
    assert slot.active is slot.versions[1]
    by_host = await with_host(tracker).summary("baseline", str(PRESS.machine_id))
    assert by_host.active is by_host.versions[2]


async def test_a_slot_without_models_has_an_empty_summary(tracker: ModelPerformanceTracker) -> None:
    """Nothing is in service where nothing is known."""
    slot = await tracker.summary("baseline")
    assert (slot.machine_id, slot.versions, slot.active) == (UUID(int=0), (), None)
    await tracker.register_model("baseline")
    slot = await tracker.summary("baseline")
    assert slot.active is slot.versions[0]


async def train(tracker: ModelPerformanceTracker, day: int, duration: timedelta) -> None:
    now = START + timedelta(days=day)
    run, _ = await tracker.training.open_run(model_type="baseline", machine_id=PRESS.machine_id, now=now)
    await tracker.training.claim("worker", lease=timedelta(days=1), now=now)
    await tracker.training.complete(run.id, 1, now=now + duration)


async def test_the_completion_is_estimated_from_past_runs(tracker: ModelPerformanceTracker) -> None:
    """By the median of the slot's completed runs; nothing where there is none, and failed ones do not count."""
    slot: dict[str, Any] = {"model_type": "baseline", "machine_id": PRESS.machine_id}
    now = START + timedelta(days=9)
    tracker = ModelPerformanceTracker(tracker.pool, schema=tracker.schema, clock=lambda: now)
    first = await tracker.trigger_retraining(**slot)
    assert (first.triggered, first.estimated_completion) == (True, None)
    await tracker.training.cancel(first.run.id)
    for day, hours in enumerate((1, 2, 30)):
        await train(tracker, day, hours * HOUR)
    assert await tracker.training.fetch_usual_duration("baseline", PRESS.machine_id) == 2 * HOUR
    assert await tracker.training.fetch_usual_duration("other", PRESS.machine_id) is None
    opened = await tracker.trigger_retraining(**slot)
    repeated = await tracker.trigger_retraining(**slot)
    assert (opened.triggered, repeated.triggered) == (True, False)
    assert opened.estimated_completion == repeated.estimated_completion == now + 2 * HOUR


@pytest.mark.parametrize(
    ("status", "started_h", "now_h", "expected_h"),
    [
        ("running", 1, 2, 3),
        ("running", 1, 3, None),
        ("running", 1, 5, None),
        ("pending", None, 2, 4),
        ("pending", 1, 0, 2),
    ],
)
async def test_a_run_that_takes_longer_has_no_estimate(
    tracker: ModelPerformanceTracker, status: Any, started_h: int | None, now_h: int, expected_h: int | None
) -> None:
    """From its start where it runs, from now where it waits; none where that is over already."""

    def at(hours: int | None) -> datetime | None:
        return None if hours is None else START + hours * HOUR

    run, _ = await tracker.training.open_run(model_type="baseline", machine_id=PRESS.machine_id, now=START)
    run = evolve(run, training_status=status, training_start=at(started_h))
    now = at(now_h)
    assert now is not None
    assert estimated_end(run, 2 * HOUR, now) == at(expected_h)
    assert estimated_end(run, None, now) is None
