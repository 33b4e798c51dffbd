"""Bad input of the facade: a typed error that names the argument, and no table changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import numpy as np
import pytest
from tests.factories import START, make_evaluation, make_id, make_ref
from tests.repos.contents import TABLES, nothing_written

from model_perf import (
    ConflictError,
    InvalidInputError,
    ModelPerformanceTracker,
    ModelRef,
    NaiveTimestampError,
    NotFoundError,
    SchemaError,
)

DAY = timedelta(days=1)
NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001  (naive on purpose)
NAN, INF = float("nan"), float("inf")
REF = make_ref()


@pytest.fixture
def bound(connection: asyncpg.Connection) -> ModelPerformanceTracker:
    """A tracker inside a transaction that is rolled back."""
    return ModelPerformanceTracker(lambda: pytest.fail("a bound tracker asked for the pool")).bind(connection)


async def contents(connection: asyncpg.Connection) -> list[object]:
    return [await connection.fetch(f"SELECT * FROM model_perf.{table}") for table in TABLES]


def recording(**changes: Any) -> Callable[[ModelPerformanceTracker], Awaitable[object]]:
    given: dict[str, Any] = {"ref": REF, "evaluation_start": START, "evaluation_end": START + DAY}
    return lambda t: t.record(**given | {"metrics": {"rmse": 1.0}} | changes)


def ab_testing(**changes: Any) -> Callable[[ModelPerformanceTracker], Awaitable[object]]:
    given: dict[str, Any] = {"name": "n", "model_a": REF, "model_b": make_ref(version=2), "metric": "rmse"}
    return lambda t: t.start_ab_test(**given | changes)


CASES: list[tuple[str, Callable[[ModelPerformanceTracker], Any]]] = [
    # record
    ("evaluation_start", recording(evaluation_start=NAIVE)),
    ("evaluation_end", recording(evaluation_end=NAIVE)),
    ("evaluation_date", recording(evaluation_date=NAIVE)),
    ("evaluation_start", recording(evaluation_start="2024-01-01")),
    ("evaluation_start", recording(evaluation_start=None)),
    ("evaluation_end", recording(evaluation_end=START)),
    ("evaluation_end", recording(evaluation_end=START - DAY)),
    ("metrics", recording(metrics={})),
    ("metrics", recording(metrics=None)),
    ("metrics", recording(metrics=[("rmse", 1.0)])),
    ("metrics", recording(metrics={"": 1.0})),
    ("metrics", recording(metrics={"a\0b": 1.0})),
    ("metrics", recording(metrics={"\ud800": 1.0})),
    ("metrics", recording(metrics={5: 1.0})),
    ("metrics['rmse']", recording(metrics={"rmse": NAN})),
    ("metrics['rmse']", recording(metrics={"rmse": INF})),
    ("metrics['own']", recording(metrics={"own": -INF})),
    ("metrics['own']", recording(metrics={"own": np.float64("nan")})),
    ("metrics['own']", recording(metrics={"own": Decimal("NaN")})),
    ("metrics['own']", recording(metrics={"own": Decimal("sNaN")})),
    ("metrics['own']", recording(metrics={"own": True})),
    ("metrics['own']", recording(metrics={"own": np.bool_(True)})),
    ("metrics['own']", recording(metrics={"own": "1.0"})),
    ("metrics['own']", recording(metrics={"own": None})),
    ("metrics['own']", recording(metrics={"own": 1j})),
    ("metrics['own']", recording(metrics={"own": 10**400})),
    ("metrics['rmse']", recording(metrics={"rmse": -0.1})),
    ("metrics['r_squared']", recording(metrics={"r_squared": 1.0000001})),
    ("metrics['recall']", recording(metrics={"recall": 1.1})),
    ("data_completeness", recording(data_completeness=1.01)),
    ("data_completeness", recording(data_completeness=-0.01)),
    ("data_completeness", recording(data_completeness=NAN)),
    ("data_completeness", recording(data_completeness=True)),
    ("sample_count", recording(sample_count=-1)),
    ("sample_count", recording(sample_count=1.0)),
    ("sample_count", recording(sample_count=False)),
    ("sample_count", recording(sample_count=2**63)),
    ("evaluation_id", recording(evaluation_id="42")),
    ("evaluation_id", recording(evaluation_id=42)),
    ("created_by", recording(created_by="\0")),
    ("created_by", recording(created_by="x" * 201)),
    ("metadata.a[1]", recording(metadata={"a": [1, NAN]})),
    ("metadata.a", recording(metadata={"a": {1, 2}})),
    ("metadata", recording(metadata=[1])),
    ("metadata", recording(metadata={1: 2})),
    ("metadata.a", recording(metadata={"a": "\ud800"})),
    ("ref", recording(ref="baseline")),
    ("ref", recording(ref=None)),
    ("ref", recording(ref=REF.model_id)),
    # deployments
    ("model_id", lambda t: ModelRef(model_id="press", model_type="x", model_version=1)),
    ("model_id", lambda t: ModelRef(model_id=5, model_type="x", model_version=1)),  # type: ignore[arg-type]
    ("machine_id", lambda t: ModelRef(model_id=uuid4(), machine_id="m", model_type="x", model_version=1)),
    ("model_version", lambda t: ModelRef(model_id=uuid4(), model_type="x", model_version="1")),  # type: ignore[arg-type]
    ("model_version", lambda t: ModelRef(model_id=uuid4(), model_type="x", model_version=-1)),
    ("model_version", lambda t: ModelRef(model_id=uuid4(), model_type="x", model_version=2**31)),
    ("model_version", lambda t: ModelRef(model_id=uuid4(), model_type="x", model_version=True)),
    ("model_type", lambda t: ModelRef(model_id=uuid4(), model_type="", model_version=1)),
    ("model_type", lambda t: t.register_model("\ud800")),
    ("model_type", lambda t: t.register_model(None)),  # type: ignore[arg-type]
    ("machine", lambda t: t.register_model("x", machine="\0")),
    ("machine", lambda t: t.register_model("x", machine="")),
    ("machine", lambda t: t.register_model("x", machine="press", machine_id=uuid4())),
    ("machine_id", lambda t: t.register_model("x", machine_id="press")),
    ("machine_id", lambda t: t.register_model("x", machine_id="")),
    ("model_id", lambda t: t.register_model("x", model_id="")),
    ("version", lambda t: t.register_model("x", version="2024.1", model_version=1)),
    ("version", lambda t: t.register_model("x", version="")),
    ("model_version", lambda t: t.register_model("x", model_version=1.5)),  # type: ignore[arg-type]
    ("training_data_end", lambda t: t.register_model("x", training_data_end=NAIVE)),
    # reading
    ("ref", lambda t: t.trend()),
    ("ref", lambda t: t.trend("baseline")),  # type: ignore[arg-type]
    ("ref", lambda t: t.check_drift("baseline")),  # type: ignore[arg-type]
    ("ref", lambda t: t.judge(None)),  # type: ignore[arg-type]
    ("ref", lambda t: t.rebuild_state("x")),  # type: ignore[arg-type]
    ("since", lambda t: t.trend(REF, since=NAIVE)),
    ("until", lambda t: t.trend(REF, until=NAIVE)),
    ("since", lambda t: t.trend(REF, since=START, until=START)),
    ("days", lambda t: t.trend(REF, days=0)),
    ("days", lambda t: t.trend(REF, days=NAN)),
    ("days", lambda t: t.trend(REF, days=True)),
    ("machine_id", lambda t: t.trend(model_type="baseline", machine_id="press")),
    ("model_type", lambda t: t.trend(model_type="")),
    ("since", lambda t: t.judge(REF, since=NAIVE)),
    ("severity", lambda t: t.active_alerts(severity="normal")),
    ("alert_id", lambda t: t.acknowledge_alert("42", by="ana")),
    ("by", lambda t: t.acknowledge_alert(uuid4(), by="")),
    ("note", lambda t: t.acknowledge_alert(uuid4(), by="ana", note="\0")),
    ("alert_id", lambda t: t.snooze_alert(None, by="ana", hours=1)),  # type: ignore[arg-type]
    ("run_id", lambda t: t.resolve_retrained("42")),
    ("since", lambda t: t.alerts.list_alerts(since=NAIVE)),
    ("since", lambda t: t.alerts.false_positive_rates(NAIVE)),
    ("alert_id", lambda t: t.alerts.list_events("42")),
    ("machine_id", lambda t: t.active_alerts(machine_id="press")),
    ("limit", lambda t: t.active_alerts(limit=0)),
    ("model_type", lambda t: t.active_alerts(model_type="\0")),
    # training
    ("trigger_type", lambda t: t.trigger_retraining(model_type="x", trigger_type="sometimes")),
    ("machine_id", lambda t: t.trigger_retraining(model_type="x", machine_id="press")),
    ("model_type", lambda t: t.trigger_retraining(model_type=" ")),
    ("reason", lambda t: t.trigger_retraining(model_type="x", reason="\0")),
    ("run_id", lambda t: t.fail_training("seven", 1, "e")),
    ("attempt", lambda t: t.fail_training(uuid4(), "1", "e")),  # type: ignore[arg-type]
    ("attempt", lambda t: t.fail_training(uuid4(), None, "e", is_final=True)),  # type: ignore[arg-type]
    ("attempt", lambda t: t.fail_training(uuid4(), True, "e")),
    ("error", lambda t: t.fail_training(uuid4(), 1, None)),  # type: ignore[arg-type]
    ("error", lambda t: t.fail_training(uuid4(), 1, {"no": "data"})),  # type: ignore[arg-type]
    ("is_final", lambda t: t.fail_training(uuid4(), 1, "e", is_final="no")),  # type: ignore[arg-type]
    ("delay", lambda t: t.fail_training(uuid4(), 1, "e", delay=5)),  # type: ignore[arg-type]
    ("delay", lambda t: t.fail_training(uuid4(), 1, "e", delay=-DAY)),
    ("delay", lambda t: t.fail_training(uuid4(), 1, "e", delay=timedelta.max)),
    ("outcome", lambda t: t.complete_training(uuid4(), 1, {"model_version": 2})),  # type: ignore[arg-type]
    ("run", lambda t: t.start_challenge(uuid4())),  # type: ignore[arg-type]
    ("run", lambda t: t.training.fetch_wish(None)),  # type: ignore[arg-type]
    ("held", lambda t: t.training.claim_many("w", model_types=["x"], limit=1, lease=DAY, held=["seven"])),  # type: ignore[list-item]
    ("held", lambda t: t.training.claim_many("w", model_types=["x"], limit=1, lease=DAY, held=7)),  # type: ignore[arg-type]
    ("model_types", lambda t: t.workers.start("w", "baseline")),
    ("model_types", lambda t: t.workers.start("w", ["\0"])),
    ("model_types", lambda t: t.workers.start("w", None)),  # type: ignore[arg-type]
    ("training_metrics['rmse']", lambda t: t.training.complete(uuid4(), 1, training_metrics={"rmse": NAN})),
    # A/B tests
    ("metric", ab_testing(metric=["rmse"])),
    ("model_b", ab_testing(model_b=REF)),
    ("model_b", ab_testing(model_b=make_ref(version=2, machine="lathe"))),
    ("model_b", ab_testing(model_b=make_ref("b", model_type="other"))),
    ("model_a", ab_testing(model_a="a")),
    ("model_b", ab_testing(model_b=None)),
    ("duration", ab_testing(duration=-DAY)),
    ("duration", ab_testing(duration=timedelta(0))),
    ("duration", ab_testing(duration=24)),
    ("duration", ab_testing(duration=timedelta.max)),
    ("traffic_split", ab_testing(traffic_split=0)),
    ("traffic_split", ab_testing(traffic_split=1.0)),
    ("traffic_split", ab_testing(traffic_split=NAN)),
    ("start", ab_testing(start=NAIVE)),
    ("metric", ab_testing(metric="own")),
    ("metric", ab_testing(metric=5)),
    ("name", ab_testing(name="")),
    ("test_id", lambda t: t.ab_test_results("x")),
    ("test_id", lambda t: t.conclude_ab_test(5)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("argument", "call"), CASES, ids=[f"{i} {name}" for i, (name, _) in enumerate(CASES)])
async def test_bad_input_is_refused_by_name(
    bound: ModelPerformanceTracker,
    connection: asyncpg.Connection,
    argument: str,
    call: Callable[[ModelPerformanceTracker], Any],
) -> None:
    """The `InvalidInputError` carries the argument's name, in text and attribute, and nothing is written."""
    await bound.record_many([make_evaluation()])
    before = await contents(connection)
    with pytest.raises(InvalidInputError) as refused:
        await call(bound)
    assert refused.value.argument == argument
    assert str(refused.value).startswith(f"{argument}: ")
    assert await contents(connection) == before


@pytest.mark.parametrize("argument", ["evaluation_start", "evaluation_end", "evaluation_date"])
async def test_a_naive_time_has_its_own_error(bound: ModelPerformanceTracker, argument: str) -> None:
    """A time without a zone is told apart, and the message says how to add one."""
    with pytest.raises(NaiveTimestampError, match="tzinfo"):
        await recording(**{argument: NAIVE})(bound)


async def test_an_impossible_clock_is_refused(pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> None:
    """A clock that gives naive times is refused at the first use of it."""
    bad = ModelPerformanceTracker(pool, schema=tracker.schema, clock=lambda: NAIVE)
    async with nothing_written(pool, tracker.schema):
        with pytest.raises(NaiveTimestampError, match="now"):
            await recording()(bad)


@pytest.mark.parametrize("schema", ['a"b', "", "pg_x", "x" * 64, 5])
def test_a_bad_schema_is_refused_at_once(schema: Any) -> None:
    """The constructor refuses what it cannot quote, before any connection."""
    with pytest.raises(InvalidInputError, match="schema"):
        ModelPerformanceTracker(lambda: pytest.fail("no pool is needed to refuse"), schema=schema)


@pytest.mark.parametrize("seconds", [0, -1, NAN, True, "10"])
def test_a_bad_timeout_is_refused_at_once(seconds: Any) -> None:
    """acquire_timeout_s is a positive number of seconds."""
    with pytest.raises(InvalidInputError, match="acquire_timeout_s"):
        ModelPerformanceTracker(lambda: pytest.fail("no pool is needed to refuse"), acquire_timeout_s=seconds)


async def test_what_is_not_there_is_not_found(bound: ModelPerformanceTracker) -> None:
    """An A/B test that never was is a `NotFoundError`."""
    for call in (bound.ab_test_results(uuid4()), bound.conclude_ab_test(str(uuid4()))):
        with pytest.raises(NotFoundError):
            await call


async def test_a_known_model_with_another_type_is_a_conflict(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """By record, in bulk or by registering, the second type of a model_id is refused and nothing is written."""
    await recording()(tracker)
    async with nothing_written(pool, tracker.schema):
        for ref in (make_ref(model_type="other"), make_ref(model_type="other", version=2)):
            for call in (
                recording(ref=ref)(tracker),
                tracker.record_many([make_evaluation(ref)]),
                tracker.register_model("other", model_id=ref.model_id, machine_id=ref.machine_id, model_version=2),
            ):
                with pytest.raises(ConflictError, match="model_type"):
                    await call


async def test_a_second_end_is_a_conflict(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """A second conclude, and resolving what is resolved, carry what stands."""
    test = await tracker.start_ab_test(name="n", model_a=REF, model_b=make_ref(version=2), metric="rmse")
    first = await tracker.conclude_ab_test(test.id)
    alert = await tracker.alerts.open_or_repeat(REF, alert_type="x", severity="info", message="m")
    resolved = await tracker.alerts.resolve(alert.id)
    async with nothing_written(pool, tracker.schema):
        with pytest.raises(ConflictError) as conflict:
            await tracker.conclude_ab_test(test.id)
        assert conflict.value.existing == first.test
        with pytest.raises(ConflictError) as conflict:
            await tracker.alerts.resolve(alert.id)
        assert conflict.value.existing == resolved


async def test_an_unmigrated_database_is_a_schema_error(pool: asyncpg.Pool, schema: str) -> None:
    """Every call says which command makes the tables."""
    tracker = ModelPerformanceTracker(pool, schema=schema)
    for call in (
        recording()(tracker),
        tracker.record_many([make_evaluation()]),
        tracker.trend(REF),
        tracker.active_alerts(),
        tracker.check_drift(REF),
        tracker.check_schema(),
    ):
        with pytest.raises(SchemaError, match="model-perf migrate"):
            await call


async def test_a_schema_of_a_newer_breaking_version_is_left_alone(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """A library that a newer version has left behind says so and writes nothing."""
    await pool.execute(
        f"INSERT INTO {tracker.schema}.schema_migrations (version, name, sha256, breaking)"
        " VALUES (9001, 'split_table', 'x', true)"
    )
    old = ModelPerformanceTracker(pool, schema=tracker.schema)
    async with nothing_written(pool, tracker.schema):
        for call in (
            recording()(old),
            old.record_many([make_evaluation()]),
            old.trigger_retraining(model_type="x"),
            old.register_model("x"),
            old.migrate(),
        ):
            with pytest.raises(SchemaError, match=r"9001.*upgrade"):
                await call
    assert make_id("x") != REF.model_id
