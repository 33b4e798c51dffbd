"""Evaluations and deployments: the record state machine, windows, models."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from attrs import evolve
from tests.factories import START, make_evaluation, make_id, make_ref
from tests.repos.contents import count_rows

from model_perf import ConflictError, Evaluation, InvalidInputError, ModelPerformanceTracker, ModelRef, NotFoundError
from model_perf.records import new_id
from model_perf.repos import MetricsRepo
from model_perf.repos._judged import Judgement, StoredEvaluation, StoredState
from model_perf.repos.alerts import fingerprint

DAY = timedelta(days=1)
NOW = START + timedelta(days=500)


@pytest.fixture
def metrics(bound: ModelPerformanceTracker) -> MetricsRepo:
    return bound.metrics


def judged(evaluation: Evaluation, *, n: int = 0, alert: bool = False, run: bool = False) -> Judgement:
    """A finding made by hand."""
    ref = evaluation.ref
    alert_row = {
        "id": str(new_id()),
        "alert_type": "x",
        "severity": "critical",
        "fingerprint": fingerprint("x", ref),
        "alert_message": "m ☃",
        "alert_timestamp": NOW.isoformat(),
        "alert_details": {"n": n},
        "current_metric_value": 1.1,
        "threshold_value": 5e-324,
        "baseline_metric_value": None,
    }
    wish = {"id": str(new_id()), "trigger_type": "degradation", "reason": "r", "max_attempts": 3}
    wish |= {"fingerprint": fingerprint("x", ref), "severity_rank": 3}
    return Judgement(
        evaluation=evolve(evaluation, verdict="critical", drift_detected=True, drift_score=0.1 + 0.2, created_at=NOW),
        state={"n": n},
        alerts=[alert_row] if alert else (),
        wish=wish if run else None,
    )


async def record(metrics: MetricsRepo, evaluation: Evaluation, **follows: Any) -> StoredEvaluation:
    def judge(stored: StoredState) -> Judgement:
        known = stored.state.get("n", 0)
        assert isinstance(known, int)
        return judged(evaluation, n=known + 1, **follows)

    return await metrics.record(evaluation, judge)


def as_read(evaluation: Evaluation) -> Evaluation:
    """The same with its date said aloud, as the table has it."""
    return evolve(evaluation, evaluation_date=evaluation.evaluation_date)


async def test_a_recorded_evaluation_is_read_back(metrics: MetricsRepo) -> None:
    """Every field that was written comes back, the verdict with it."""
    given = make_evaluation(
        metrics={"r_squared": -15.2, "rmse": 1e-310, "mae": 0.1, "mape": 1.7e308, "precision": 1, "recall": 0}
        | {"f1_score": 0.5, "own metric ☃": -1e-5, "'\"; --": 3},
        sample_count=2**62,
        evaluation_date=START + timedelta(hours=7, microseconds=1),
        created_by="Zoë",
        metadata={"a": [1, {"b": None}]},
    )
    stored = await record(metrics, given)
    expected = evolve(given, verdict="critical", drift_detected=True, drift_score=0.1 + 0.2, created_at=NOW)
    assert (stored.is_new, stored.evaluation) == (True, expected)
    assert await metrics.fetch_evaluation(given.ref, given.id) == expected
    assert await metrics.fetch_latest(given.ref) == expected


async def test_a_retried_record_with_the_same_id_writes_one_row(metrics: MetricsRepo) -> None:
    """A repeat gives what is stored, and neither judges, alerts nor counts again."""
    first = await record(metrics, make_evaluation(), alert=True, run=True)
    again = await record(metrics, make_evaluation(), alert=True, run=True)
    assert (again.is_new, again.alert, again.training_run) == (False, None, None)
    assert again.evaluation == as_read(first.evaluation)
    await record(metrics, make_evaluation(day=1), alert=True)
    seen = await metrics.list_evaluations(make_ref(), since=START, until=NOW)
    assert len(seen.items) == 2


CHANGES: list[dict[str, Any]] = [
    {"metrics": {"r_squared": 0.93, "rmse": 12.500000000000002}},
    {"metrics": {"r_squared": 0.93}},
    {"metrics": {"r_squared": 0.93, "rmse": 12.5, "own": 0.0}},
    {"sample_count": 1009},
    {"sample_count": None},
    {"data_completeness": None},
    {"evaluation_start": START + timedelta(microseconds=1)},
    {"evaluation_end": START + 2 * DAY, "evaluation_date": START + DAY},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_the_same_id_with_another_payload_is_a_conflict(metrics: MetricsRepo, change: dict[str, Any]) -> None:
    """Whatever differs, by record or in bulk, the error carries what is stored, and that stays."""
    first = as_read((await record(metrics, make_evaluation())).evaluation)
    with pytest.raises(ConflictError) as conflict:
        await record(metrics, make_evaluation(**change))
    assert conflict.value.existing == first
    assert await metrics.fetch_latest(make_ref()) == first


async def test_an_id_belongs_to_its_date(metrics: MetricsRepo) -> None:
    """The key is deployment, evaluation_date and id: the same id at another date is another evaluation."""
    await record(metrics, make_evaluation())
    assert (await record(metrics, make_evaluation(evaluation_end=START + 2 * DAY))).is_new


async def test_a_repeat_is_answered_with_its_own_row(metrics: MetricsRepo) -> None:
    """Where one id has come to two dates, a repeat of the older is told of the older."""
    older, newer = make_evaluation(), make_evaluation(evaluation_end=START + 2 * DAY)
    await record(metrics, older)
    await record(metrics, newer)
    assert (await record(metrics, older)).evaluation.evaluation_end == older.evaluation_end


async def test_an_alert_and_a_run_come_with_the_evaluation(bound: ModelPerformanceTracker) -> None:
    """What record answers is what the repositories read: every value, however it travelled."""
    stored = await record(bound.metrics, make_evaluation(), alert=True, run=True)
    assert stored.alert is not None
    assert stored.training_run is not None
    assert stored.alert == await bound.alerts.fetch(stored.alert.id)
    assert stored.training_run == await bound.training.fetch_run(stored.training_run.id)
    assert (stored.alert.threshold_value, stored.alert.alert_timestamp) == (5e-324, NOW)


@pytest.mark.parametrize("zone", ["Asia/Istanbul", "America/St_Johns", "UTC"])
async def test_the_session_zone_changes_nothing(
    bound: ModelPerformanceTracker, connection: asyncpg.Connection, zone: str
) -> None:
    """Times that travel as JSON are right in any time zone and date style of the session."""
    await connection.execute(f"SET LOCAL timezone = '{zone}'; SET LOCAL datestyle = 'SQL, DMY'")
    stored = await record(bound.metrics, make_evaluation(), alert=True, run=True)
    assert stored.alert is not None
    assert stored.training_run is not None
    assert stored.alert.alert_timestamp == NOW
    assert stored.training_run.run_after == NOW


async def test_a_second_alert_or_run_is_the_open_one(bound: ModelPerformanceTracker) -> None:
    """The condition's open alert counts the repeat, which asks for no further run."""
    first = await record(bound.metrics, make_evaluation(), alert=True, run=True)
    second = await record(bound.metrics, make_evaluation(day=1), alert=True, run=True)
    assert first.alert is not None
    assert second.alert is not None
    assert (second.alert.id, second.alert.occurrences, second.alert.alert_details) == (first.alert.id, 2, {"n": 2})
    assert first.training_run is not None
    assert second.training_run is None


async def test_a_run_whose_worker_is_lost_does_not_stop_the_next(bound: ModelPerformanceTracker) -> None:
    """A run that lost its last lease is failed, and the degradation opens a new one."""
    lost, _ = await bound.training.open_run(
        model_type="baseline", machine_id=make_ref().machine_id, max_attempts=1, now=START
    )
    await bound.training.claim("w", lease=timedelta(minutes=1), now=START)
    stored = await record(bound.metrics, make_evaluation(), alert=True, run=True)
    assert stored.training_run is not None
    assert stored.training_run.id != lost.id


async def test_every_writer_of_a_race_is_judged_by_the_one_before(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """Sixteen evaluations at once are each judged on the state the previous left: none is lost or judged twice."""
    await asyncio.gather(*(record(tracker.metrics, make_evaluation(day=i), alert=True) for i in range(16)))
    (alert,) = (await tracker.alerts.list_active()).items
    assert alert.occurrences == 16
    assert await pool.fetchval(f"SELECT state ->> 'n' FROM {tracker.schema}.model_drift_state") == "16"


async def test_one_id_from_eight_writers_at_once_is_one_row(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """Eight equal records at once write once; the seven others are repeats."""
    stored = await asyncio.gather(*(record(tracker.metrics, make_evaluation(), alert=True) for _ in range(8)))
    assert sorted(one.is_new for one in stored) == [False] * 7 + [True]
    assert await count_rows(pool, tracker.schema, "model_performance_metrics") == 1


@pytest.mark.parametrize("same", [True, False])
async def test_a_record_that_waits_for_a_batch_is_a_repeat(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, same: bool
) -> None:
    """A record whose key a batch is just writing waits, and is then a repeat, or a conflict by its payload."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await tracker.bind(connection).record_many([make_evaluation()])
        change: dict[str, Any] = {} if same else {"sample_count": 5}
        waiting = asyncio.create_task(record(tracker.metrics, make_evaluation(**change)))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await transaction.commit()
    if same:
        assert not (await waiting).is_new
    else:
        with pytest.raises(ConflictError):
            await waiting


async def test_a_known_model_with_another_type_is_a_conflict(metrics: MetricsRepo) -> None:
    """A model_id has one model_type: in the same deployment, in a new version, in bulk and in register."""
    await record(metrics, make_evaluation())
    for ref in (make_ref(model_type="other"), make_ref(model_type="other", version=2, machine="lathe")):
        with pytest.raises(ConflictError, match="model_type"):
            await record(metrics, make_evaluation(ref))
        with pytest.raises(ConflictError, match="model_type"):
            await metrics.register_model(ref, NOW)
    assert len((await metrics.list_models()).items) == 1


async def test_two_types_of_a_new_model_at_once(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Of first sights of one model with two types at once, one type stands in all rows."""
    refs = [make_ref(model_type=f"kind {i % 2}", version=i) for i in range(8)]
    found = await asyncio.gather(
        *(record(tracker.metrics, make_evaluation(ref)) for ref in refs), return_exceptions=True
    )
    assert all(isinstance(one, StoredEvaluation | ConflictError) for one in found), found
    query = f"SELECT count(DISTINCT model_type) FROM {tracker.schema}.model_performance_metrics"
    assert await pool.fetchval(query) == 1


async def test_a_page_of_evaluations_is_half_open(metrics: MetricsRepo) -> None:
    """An evaluation dated at since is in, one dated at until is not; newest first."""
    for day in range(5):
        await record(metrics, make_evaluation(day=day))
    page = await metrics.list_evaluations(make_ref(), since=START + 2 * DAY, until=START + 4 * DAY)
    assert [e.evaluation_date for e in page.items] == [START + 3 * DAY, START + 2 * DAY]
    points = await metrics.list_points(make_ref(), since=START + 2 * DAY, until=START + 4 * DAY)
    assert [p.id for p in points] == [e.id for e in reversed(page.items)]


@pytest.mark.parametrize("argument", ["since", "until"])
async def test_a_naive_bound_is_refused(metrics: MetricsRepo, argument: str) -> None:
    """No list reads a naive time in the zone of the process."""
    window: dict[str, Any] = {"since": START, "until": NOW, argument: datetime(2024, 1, 1)}  # noqa: DTZ001
    ref = make_ref()
    for call in (
        lambda: metrics.list_evaluations(ref, **window),
        lambda: metrics.list_points(ref, **window),
        lambda: metrics.list_slot_points(ref.model_type, ref.machine_id, **window),
        lambda: metrics.list_pairs(ref, make_ref(version=2), **window),
    ):
        with pytest.raises(InvalidInputError) as refused:
            await call()
        assert refused.value.argument == argument


async def test_points_carry_their_metrics(metrics: MetricsRepo) -> None:
    """A point has the metrics with columns and those without."""
    given = make_evaluation(metrics={"rmse": 2.5, "own": -1.0})
    await record(metrics, given)
    (point,) = await metrics.list_slot_points("baseline", given.ref.machine_id, since=START, until=NOW)
    assert (point.metrics, point.verdict, point.sample_count) == ({"rmse": 2.5, "own": -1.0}, "critical", 1008)
    assert (point.model_id, point.model_version) == (given.ref.model_id, 1)


@pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=1), timedelta(days=3)])
async def test_a_point_has_all_its_times(metrics: MetricsRepo, late: timedelta) -> None:
    """The date as it was given, which is the end of the window or later."""
    end = START + timedelta(days=1)
    await record(metrics, make_evaluation(evaluation_date=end + late))
    (point,) = await metrics.list_points(make_ref(), since=START, until=NOW)
    assert (point.evaluation_start, point.evaluation_end, point.evaluation_date) == (START, end, end + late)


async def test_pairs_are_the_windows_inside(metrics: MetricsRepo) -> None:
    """Both models' evaluations on windows within [since, until], other models and machines left out."""
    a, b = make_ref(), make_ref("b", version=2)
    for ref in (a, b, make_ref("c"), make_ref(machine="lathe")):
        for day in range(5):
            await record(metrics, make_evaluation(ref, day=day))
    pairs = await metrics.list_pairs(a, b, since=START + DAY, until=START + 3 * DAY)
    expected = {(a.model_id, START + DAY), (a.model_id, START + 2 * DAY)}
    expected |= {(b.model_id, start) for _, start in expected}
    assert {(p.model_id, p.evaluation_start) for p in pairs} == expected


async def test_what_is_not_there(metrics: MetricsRepo) -> None:
    """An unknown evaluation is a `NotFoundError`; an unknown deployment has no latest one and no points."""
    with pytest.raises(NotFoundError):
        await metrics.fetch_evaluation(make_ref(), uuid4())
    assert await metrics.fetch_latest(make_ref()) is None
    assert await metrics.list_points(make_ref(), since=START, until=NOW) == []


async def test_the_latest_is_one_per_slot(metrics: MetricsRepo) -> None:
    """Of all versions and models of a machine and model type the newest evaluation counts."""
    newest = make_evaluation(make_ref("other", version=1), day=9)
    for evaluation in (
        make_evaluation(make_ref(version=2), day=8),
        newest,
        make_evaluation(make_ref(version=3), day=1),
    ):
        await record(metrics, evaluation)
    await record(metrics, make_evaluation(make_ref(machine="lathe")))
    page = await metrics.list_latest()
    assert len(page.items) == 2
    assert newest.id in {e.id for e in page.items}


async def test_models_are_listed_and_filtered(metrics: MetricsRepo) -> None:
    """The deployments with their names, by any of model type, machine and model."""
    refs = [make_ref(), make_ref(version=2), make_ref("other", model_type="kind", machine="lathe")]
    for ref in refs:
        await metrics.register_model(ref, NOW, machine_name="Presse ☃", version_label=f"v{ref.model_version}")
    page = await metrics.list_models()
    assert {m.ref for m in page.items} == set(refs)
    assert {(m.machine_name, m.first_seen_at) for m in page.items} == {("Presse ☃", NOW)}
    press = str(make_id("machine press"))
    assert [m.ref for m in (await metrics.list_models(machine_id=press)).items] == refs[:2]
    assert [m.ref for m in (await metrics.list_models(model_type="kind")).items] == refs[2:]
    assert (await metrics.list_models(model_id=refs[2].model_id, model_type="baseline")).items == ()


async def test_registering_again_fills_in_what_was_unknown(metrics: MetricsRepo) -> None:
    """A name or date that was unknown is taken, and nothing known is lost."""
    await record(metrics, make_evaluation())
    model = await metrics.register_model(make_ref(), NOW, machine_name="press 1")
    assert (model.machine_name, model.training_data_end) == ("press 1", None)
    model = await metrics.register_model(make_ref(), NOW, training_data_end=START)
    assert (model.machine_name, model.training_data_end) == ("press 1", START)


def history_ids(history: Sequence[Evaluation]) -> list[UUID]:
    return [e.id for e in history]


async def test_rejudge_sees_the_history_in_order(metrics: MetricsRepo) -> None:
    """The whole history comes oldest first; the verdicts and the state that come back are stored."""
    seen: list[list[UUID]] = []
    evaluations = [make_evaluation(day=day) for day in (3, 1, 2)]
    for evaluation in evaluations:
        await record(metrics, evaluation)

    def judge_all(history: Sequence[Evaluation], stored: StoredState) -> tuple[list[Evaluation], dict[str, object]]:
        seen.append(history_ids(history))
        assert stored.version == 3
        return [evolve(history[0], verdict="ok", drift_details={"x": 1.5})], {"n": 99}

    await metrics.rejudge(make_ref(), judge_all, NOW, fingerprint="x")
    assert seen == [[make_evaluation(day=day).id for day in (1, 2, 3)]]
    first = await metrics.fetch_evaluation(make_ref(), seen[0][0])
    assert (first.verdict, first.drift_detected, first.drift_details) == ("ok", True, {"x": 1.5})
    stored = await record(metrics, make_evaluation(day=7), alert=True)
    assert stored.alert is not None
    assert stored.alert.alert_details == {"n": 100}


FAR = [
    (datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC), datetime(1, 1, 2, tzinfo=UTC)),
    (datetime(9999, 12, 30, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999998, tzinfo=UTC)),
    (datetime.min.replace(tzinfo=UTC), datetime(1, 1, 2, tzinfo=UTC)),
    (datetime(9999, 12, 30, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
]


@pytest.mark.parametrize("window", FAR, ids=str)
async def test_the_ends_of_the_calendar(bound: ModelPerformanceTracker, window: tuple[datetime, datetime]) -> None:
    """A window of the first or last day that a datetime knows is read back as it was, or refused by name."""
    try:
        given = make_evaluation(evaluation_start=window[0], evaluation_end=window[1])
        await record(bound.metrics, given)
    except InvalidInputError as error:
        assert error.argument in ("evaluation_start", "evaluation_end")  # noqa: PT017
        return
    found = await bound.metrics.fetch_latest(given.ref)
    assert found is not None
    assert (found.evaluation_start, found.evaluation_end) == window


async def test_a_deployment_is_its_whole_key(metrics: MetricsRepo) -> None:
    """Evaluations of another version or machine of the same model stay apart."""
    refs: list[ModelRef] = [make_ref(), make_ref(version=2), make_ref(machine="lathe")]
    for ref in refs:
        await record(metrics, make_evaluation(ref, id=make_id("shared")))
    for ref in refs:
        assert (await metrics.fetch_evaluation(ref, make_id("shared"))).ref == ref
