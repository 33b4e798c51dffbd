"""Trend, check_drift, judge and rebuild_state over a deployment's history; its names and versions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import pytest
from tests.factories import START, make_evaluation, make_evaluations, make_id, make_ref
from tests.repos.contents import count_rows

from model_perf import (
    NO_MACHINE,
    Evaluation,
    InvalidInputError,
    MetricDefinition,
    ModelPerformanceTracker,
    ModelRef,
    MonitoringPolicy,
)

DAY = timedelta(days=1)
REF = make_ref()
CALM = [10.0, 10.1, 9.9, 10.05, 9.95, 10.0, 10.1, 9.9, 10.05, 9.95, 10.0, 10.1]
NOW = START + 100 * DAY
ALWAYS: dict[str, Any] = {"since": START, "until": NOW}


@pytest.fixture
def bound(connection: asyncpg.Connection) -> ModelPerformanceTracker:
    """A tracker inside a transaction that is rolled back; its clock stands a hundred days after START."""
    return ModelPerformanceTracker(lambda: pytest.fail("no pool"), clock=lambda: NOW).bind(connection)


async def record(tracker: ModelPerformanceTracker, evaluation: Evaluation) -> Any:
    return await tracker.record(
        evaluation.ref,
        evaluation_start=evaluation.evaluation_start,
        evaluation_end=evaluation.evaluation_end,
        metrics=evaluation.metrics,
        sample_count=evaluation.sample_count,
        evaluation_id=evaluation.id,
    )


async def test_the_clock_is_bound_too(bound: ModelPerformanceTracker) -> None:
    """A bound tracker lives by the clock that it was given."""
    found = await record(bound, make_evaluation())
    assert found.evaluation.created_at == NOW
    assert (await bound.trigger_retraining(model_type="x")).run.created_at == NOW


async def test_a_trend_of_one_deployment(bound: ModelPerformanceTracker) -> None:
    """An error that grows by a tenth of its level a day is degrading, at 1 a day from 10."""
    await bound.record_many(make_evaluations([10.0 + i for i in range(20)]))
    trend = await bound.trend(REF, metric="rmse", **ALWAYS)
    assert (trend.metric, trend.direction) == ("rmse", "degrading")
    assert trend.slope_per_day == pytest.approx(1.0)
    assert trend.degradation_rate is not None
    assert trend.degradation_rate > 0
    assert [point.metrics["rmse"] for point in trend.points] == [10.0 + i for i in range(20)]


async def test_a_trend_of_a_slot_has_a_series_per_version(bound: ModelPerformanceTracker) -> None:
    """All versions of the machine and model type, the headline that of the version evaluated last."""
    await bound.record_many(make_evaluations([10.0 + i for i in range(10)]))
    await bound.record_many(make_evaluations([30.0 - i for i in range(10)], ref=make_ref(version=2), first_day=20))
    await bound.record_many(make_evaluations([1.0] * 10, ref=make_ref(machine="lathe")))
    trend = await bound.trend(model_type="baseline", machine_id=str(REF.machine_id), **ALWAYS)
    assert [(one.model_version, one.trend.direction) for one in trend.series] == [(1, "degrading"), (2, "improving")]
    assert (trend.direction, len(trend.points)) == ("improving", 20)
    assert (await bound.trend(make_ref(version=2), **ALWAYS)).series == trend.series[1:]
    assert (await bound.trend(model_type="baseline", **ALWAYS)).points == ()  # of no machine


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("rmse", "f1_score", "r_squared"), "r_squared"),
        (("rmse", "f1_score"), "f1_score"),
        (("own", "mae", "rmse"), "rmse"),
        (("own", "accuracy"), "accuracy"),
        (("own",), None),
    ],
)
async def test_the_metric_not_given(bound: ModelPerformanceTracker, names: Sequence[str], expected: str | None) -> None:
    """r_squared, else f1_score, else the first with a known direction; none of these is no trend."""
    await bound.record_many([make_evaluation(day=i, metrics=dict.fromkeys(names, 0.5)) for i in range(9)])
    trend = await bound.trend(REF, **ALWAYS)
    assert trend.metric == expected
    assert (trend.direction == "insufficient_data") == (expected is None)


async def test_a_period_is_half_open(bound: ModelPerformanceTracker) -> None:
    """An evaluation dated at since is in, one dated at until is out; days count back from until."""
    await bound.record_many(make_evaluations([1.0] * 10))  # dated START + 1 to START + 10
    trend = await bound.trend(REF, since=START + 2 * DAY, until=START + 5 * DAY)
    assert [point.evaluation_date for point in trend.points] == [START + n * DAY for n in (2, 3, 4)]
    trend = await bound.trend(REF, until=START + 5 * DAY, days=2)
    assert (trend.since, len(trend.points)) == (START + 3 * DAY, 2)


async def test_a_window_evaluated_twice_counts_once(connection: asyncpg.Connection) -> None:
    """Of two evaluations of one window the one that was recorded last counts, whatever their ids."""
    ids = [UUID(int=2**128 - 1 - i) for i in range(9)], [UUID(int=i + 1) for i in range(9)]
    for hours, own in enumerate(ids):
        now = NOW + timedelta(hours=hours)
        bound = ModelPerformanceTracker(lambda: pytest.fail("no pool"), clock=lambda now=now: now).bind(connection)  # type: ignore[misc]
        value = {"rmse": 1.0 + hours}
        await bound.record_many([make_evaluation(day=i, metrics=value, id=own[i]) for i in range(9)])
    trend = await bound.trend(REF, **ALWAYS)
    assert [point.metrics["rmse"] for point in trend.points] == [2.0] * 9
    newest = await bound.metrics.fetch_latest(REF)
    assert newest is not None
    assert newest.metrics == {"rmse": 2.0}


async def test_more_points_than_a_picture_holds(bound: ModelPerformanceTracker) -> None:
    """10,000 evaluations are a trend, one more is an error that says what to do."""
    n = 10_001
    start = np.datetime64("2024-01-01") + np.arange(n).astype("m8[m]")
    columns = {
        **{name: getattr(REF, name) for name in ("model_id", "model_type", "model_version", "machine_id")},
        "evaluation_start": start,
        "evaluation_end": start + np.timedelta64(1, "m"),
        "rmse": np.ones(n),
    }
    await bound.record_many(columns)
    with pytest.raises(InvalidInputError, match="10000") as refused:
        await bound.trend(REF, **ALWAYS)
    assert refused.value.argument == "since"
    last = START + timedelta(minutes=n)
    assert len((await bound.trend(REF, since=START, until=last)).points) == n - 1


async def test_no_evaluation_is_insufficient(bound: ModelPerformanceTracker) -> None:
    """A deployment without evaluations has no trend and no verdict, and neither is an error."""
    trend = await bound.trend(REF)
    assert (trend.direction, trend.degradation_rate, trend.metric) == ("insufficient_data", None, None)
    report = await bound.check_drift(REF)
    assert (report.verdict, report.drift_detected, report.drift_type) == (
        *("insufficient_data", None),
        "insufficient_data",
    )


async def judged_one_by_one(tracker: ModelPerformanceTracker, values: Sequence[float]) -> list[Any]:
    return [(await record(tracker, one)).drift for one in make_evaluations(values, ref=make_ref("other"))]


async def test_judge_finds_what_record_finds(bound: ModelPerformanceTracker) -> None:
    """A batch judged later has the verdicts that its evaluations would have had one by one."""
    values = [*CALM, 20.0, 21.0]
    expected = await judged_one_by_one(bound, values)
    await bound.record_many(list(reversed(make_evaluations(values))))
    reports = await bound.judge(REF)
    assert [report.verdict for report in reports] == [report.verdict for report in expected]
    assert [report.drift_score for report in reports] == [report.drift_score for report in expected]
    (alert,) = await bound.active_alerts(machine_id=REF.machine_id, limit=1)
    assert len({a.model_id for a in await bound.active_alerts()}) == 2
    assert alert.severity == "critical"
    assert await bound.judge(REF) == []


async def test_after_judge_record_goes_on(bound: ModelPerformanceTracker) -> None:
    """The next evaluation is judged on the baseline that judge left."""
    expected = await judged_one_by_one(bound, [*CALM, 20.0])
    await bound.record_many(make_evaluations(CALM))
    await bound.judge(REF)
    found = await record(bound, make_evaluation(day=12, metrics={"rmse": 20.0}))
    assert found.drift.drift_score == pytest.approx(expected[-1].drift_score)
    assert found.drift.verdict == "critical"


async def test_judge_since(bound: ModelPerformanceTracker) -> None:
    """Only evaluations dated from since on get a verdict; the earlier ones are learned from."""
    await bound.record_many(make_evaluations([*CALM, 20.0]))
    reports = await bound.judge(REF, START + 13 * DAY)
    assert [report.verdict for report in reports] == ["critical"]
    page = await bound.metrics.list_evaluations(REF, **ALWAYS)
    assert {e.verdict for e in page.items[1:]} == {"not_judged"}


async def test_check_drift_judges_what_was_not(bound: ModelPerformanceTracker) -> None:
    """The newest evaluation of a batch is judged at the first question, and not again at the second."""
    await bound.record_many(make_evaluations([*CALM, 20.0]))
    first = await bound.check_drift(REF)
    assert (first.verdict, first.window_end) == ("critical", START + 13 * DAY)
    assert await bound.check_drift(REF) == first
    (alert,) = await bound.active_alerts()
    assert alert.occurrences == 1


async def test_rebuild_state_forgets_and_learns_again(bound: ModelPerformanceTracker) -> None:
    """After a back-fill the baseline is that of the whole history; no verdict is rewritten."""
    for one in make_evaluations(CALM, first_day=20):
        await record(bound, one)
    await bound.record_many(make_evaluations([5.0, 5.05, 4.95, 5.02, 4.98, 5.0, 5.05, 4.95, 5.0, 5.0]))
    await bound.rebuild_state(REF)
    found = await record(bound, make_evaluation(day=40, metrics={"rmse": 10.0}))
    assert found.drift.worst is not None
    assert found.drift.worst.baseline_value is not None
    assert found.drift.worst.baseline_value < 9.0
    page = await bound.metrics.list_evaluations(REF, since=START, until=START + 11 * DAY)
    assert {e.verdict for e in page.items} == {"not_judged"}


async def test_what_is_not_known_stays_unknown(bound: ModelPerformanceTracker, connection: asyncpg.Connection) -> None:
    """Judging a deployment that was never seen leaves no trace of it."""
    assert await bound.judge(REF) == []
    await bound.rebuild_state(REF)
    assert await connection.fetchval("SELECT count(*) FROM model_perf.model_drift_state") == 0


async def test_a_metric_of_the_hosts_own(connection: asyncpg.Connection) -> None:
    """With a definition in the policy an own metric is judged like any other."""
    policy = MonitoringPolicy(metrics=[MetricDefinition(name="scrap", higher_is_better=False)])
    bound = ModelPerformanceTracker(lambda: pytest.fail("no pool"), policy=policy).bind(connection)
    for day, value in enumerate([*CALM, 20.0]):
        found = await record(bound, make_evaluation(day=day, metrics={"scrap": value}))
    assert found.drift.verdict == "critical"
    assert (await bound.trend(REF, **ALWAYS)).metric == "scrap"


# Names and versions


async def test_a_name_is_a_deployment(bound: ModelPerformanceTracker) -> None:
    """The same names give the same ids, other names other ids, and the names are kept."""
    first = await bound.register_model("baseline", machine="Presse ☃", version="2024.1")
    assert await bound.register_model("baseline", machine="Presse ☃", version="2024.1") == first
    assert (await bound.register_model("baseline", machine="Presse ☃", version="2024.2")).model_version == 2
    assert (await bound.register_model("forecast", machine="Presse ☃")).model_id != first.model_id
    assert (await bound.register_model("baseline", machine="lathe")).machine_id != first.machine_id
    (model, *_) = [m for m in (await bound.list_models()).items if m.ref == first]
    assert (model.machine_name, model.version_label) == ("Presse ☃", "2024.1")
    assert first.model_id.version == first.machine_id.version == 5


async def test_the_namespace_never_changes(bound: ModelPerformanceTracker) -> None:
    """A name gives the ids that it gave when this was written: hosts have them in their tables."""
    ref = await bound.register_model("baseline", machine="press 1")
    assert ref.machine_id == UUID("0e06f9e6-7111-59bd-b681-357219df7023")
    assert ref.model_id == UUID("1b4eddff-761c-56b8-81ca-ed599b2e6cc5")
    assert (await bound.register_model("baseline")).machine_id == NO_MACHINE


FORMS: list[Callable[[UUID], Any]] = [
    str,
    lambda u: str(u).upper(),
    lambda u: u.hex,
    lambda u: f"{{{u}}}",
    lambda u: u.urn,
]


@pytest.mark.parametrize("form", FORMS)
async def test_the_form_of_an_id_is_no_name(bound: ModelPerformanceTracker, form: Callable[[UUID], Any]) -> None:
    """One machine_id, however it is spelled, has one model of a type."""
    machine = make_id("machine")
    first = await bound.register_model("baseline", machine_id=machine)
    assert await bound.register_model("baseline", machine_id=form(machine)) == first


async def test_eight_labels_at_once_get_eight_versions(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Concurrent registrations of different labels get different integers, of the same label the same."""
    labels = [f"v{i % 8}" for i in range(24)]
    refs: list[ModelRef] = await asyncio.gather(
        *(tracker.register_model("baseline", machine="press", version=label) for label in labels)
    )
    assert {ref.model_version for ref in refs} == set(range(1, 9))
    assert len({(label, ref.model_version) for label, ref in zip(labels, refs, strict=True)}) == 8
    assert await count_rows(pool, tracker.schema, "models") == 8


async def test_training_data_end_keeps_windows_out_of_the_baseline(bound: ModelPerformanceTracker) -> None:
    """Evaluations of windows that the version was trained on are marked, and are no baseline."""
    ref = await bound.register_model("baseline", machine="press", training_data_end=START + 10 * DAY)
    for one in make_evaluations([1.0] * 10, ref=ref):
        found = await record(bound, one)
    assert found.drift.verdict in ("insufficient_data", "not_judged")
    for one in make_evaluations(CALM, ref=ref, first_day=10):
        found = await record(bound, one)
    assert found.drift.verdict == "ok"


async def test_a_days_float_reaches_back(bound: ModelPerformanceTracker) -> None:
    """days may be a fraction; a start before all calendars is refused by name."""
    trend = await bound.trend(REF, until=NOW, days=0.5)
    assert trend.since == NOW - DAY / 2
    with pytest.raises(InvalidInputError):
        await bound.trend(REF, until=datetime(2, 1, 1, tzinfo=START.tzinfo), days=3650)
