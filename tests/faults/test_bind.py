"""In the host's transaction: what is ours commits or vanishes with it, and our errors leave it usable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import cast

import asyncpg
import pytest
from tests.factories import START, make_evaluation, make_evaluations, make_id, make_ref
from tests.faults.every_call import check_json, make_every_call
from tests.faults.states import count_rows
from tests.writers import NOW, record

from model_perf import (
    ConflictError,
    Evaluation,
    InvalidInputError,
    ModelPerfError,
    ModelPerformanceTracker,
    NotFoundError,
    SchemaError,
    StorageError,
)
from model_perf.records import Decision


@pytest.fixture
async def notes(host: asyncpg.Connection, tracker: ModelPerformanceTracker) -> str:
    """A table of the host's."""
    name = f"{tracker.schema}.notes_of_the_host"
    await host.execute(f"CREATE TABLE {name} (n int)")
    return name


async def test_the_hosts_rollback_removes_everything(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, notes: str
) -> None:
    """Every call inside a transaction that is rolled back leaves no row."""
    transaction = host.transaction()
    await transaction.start()
    await host.execute(f"INSERT INTO {notes} VALUES (1)")
    await make_every_call(tracker.bind(host))
    assert min((await count_rows(host, tracker.schema)).values()) > 0
    await transaction.rollback()
    assert sum((await count_rows(host, tracker.schema)).values()) == 0
    assert await host.fetchval(f"SELECT count(*) FROM {notes}") == 0


async def test_the_hosts_commit_keeps_everything(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, notes: str
) -> None:
    """Every call inside a transaction that commits is there afterwards, for others too, and not before."""
    async with host.transaction():
        await host.execute(f"INSERT INTO {notes} VALUES (1)")
        await make_every_call(tracker.bind(host))
        inside = await count_rows(host, tracker.schema)
        async with tracker.pool.acquire() as other:
            assert sum((await count_rows(cast(asyncpg.Connection, other), tracker.schema)).values()) == 0
    async with tracker.pool.acquire() as other:
        assert await count_rows(cast(asyncpg.Connection, other), tracker.schema) == inside
        assert min(inside.values()) > 0
        assert await other.fetchval(f"SELECT count(*) FROM {notes}") == 1
    await check_json(host, tracker.schema)


async def bad_metrics(tracker: ModelPerformanceTracker) -> object:
    end = START + timedelta(days=1)
    return await tracker.record(make_ref(), evaluation_start=START, evaluation_end=end, metrics={"rmse": float("nan")})


async def broken_constraint(tracker: ModelPerformanceTracker) -> object:
    test = (await tracker.ab_tests.list_tests()).items[0]
    return await tracker.ab_tests.conclude(test.id, decision=cast(Decision, "perhaps"), reason="none", now=NOW)


OTHER = make_evaluation(metrics={"rmse": 99.0})
ERRORS: dict[str, tuple[type[ModelPerfError], Callable[[ModelPerformanceTracker], Awaitable[object]]]] = {
    "bad input": (InvalidInputError, bad_metrics),
    "conflict": (ConflictError, lambda tracker: record(tracker, OTHER)),
    "conflict in a batch": (
        ConflictError,
        lambda tracker: tracker.record_many([*make_evaluations([1.0], first_day=9), OTHER]),
    ),
    "another model_type": (
        ConflictError,
        lambda tracker: tracker.record_many([make_evaluation(make_ref(version=7, model_type="x"))]),
    ),
    "another model_type, by the trigger": (
        ConflictError,
        lambda tracker: record(tracker, make_evaluation(make_ref(version=7, model_type="x"))),
    ),
    "nothing there": (NotFoundError, lambda tracker: tracker.ab_test_results(make_id("nowhere"))),
    "broken constraint": (ModelPerfError, broken_constraint),
    "migrate": (SchemaError, lambda tracker: tracker.migrate()),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_our_error_leaves_the_hosts_transaction_usable(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, notes: str, name: str
) -> None:
    """After our error the host goes on in the same transaction, and commits its own and our earlier rows."""
    kind, call = ERRORS[name]
    async with host.transaction():
        bound = tracker.bind(host)
        await record(bound, make_evaluation())
        test_args = {"name": "old or new", "model_a": make_ref(), "model_b": make_ref(version=2)}
        await bound.start_ab_test(**test_args)  # type: ignore[arg-type]
        before = await count_rows(host, tracker.schema)
        with pytest.raises(kind):
            await call(bound)
        assert await count_rows(host, tracker.schema) == before
        await host.execute(f"INSERT INTO {notes} VALUES (1)")
        assert (await record(bound, make_evaluation(day=1))).is_new
    assert await host.fetchval(f"SELECT count(*) FROM {notes}") == 1
    assert (await count_rows(host, tracker.schema))["model_performance_metrics"] == 2


async def test_an_unmigrated_schema_leaves_the_hosts_transaction_usable(
    pool: asyncpg.Pool, host: asyncpg.Connection, schema: str
) -> None:
    """The check of the schema fails without breaking the host's transaction."""
    async with host.transaction():
        with pytest.raises(SchemaError, match="model-perf migrate"):
            await ModelPerformanceTracker(pool, schema=schema).bind(host).active_alerts()
        assert await host.fetchval("SELECT 1") == 1


async def test_a_call_with_a_null_answer_of_the_trigger_is_a_conflict(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection
) -> None:
    """Two deployments of one model with two types, first seen at once: the second writer is told so, whole."""
    first, second = make_evaluation(make_ref(version=1)), make_evaluation(make_ref(version=2, model_type="other"))
    async with host.transaction():
        await record(tracker.bind(host), first)
        waiting = asyncio.ensure_future(record(tracker, second))
        await asyncio.sleep(0.1)
    with pytest.raises(ConflictError, match="model_type"):
        await waiting
    rows = await count_rows(host, tracker.schema)
    assert (rows["models"], rows["model_performance_metrics"], rows["model_drift_state"]) == (1, 1, 1)


async def test_bind_outside_a_transaction_is_refused(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection
) -> None:
    """Without an open transaction there is nothing to be part of."""
    with pytest.raises(StorageError, match="open transaction"):
        tracker.bind(host)


async def test_a_bound_tracker_is_of_no_use_after_the_transaction(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection
) -> None:
    """A call after the host's commit is refused; it would commit by itself."""
    async with host.transaction():
        bound = tracker.bind(host)
    with pytest.raises(StorageError, match="open transaction"):
        await record(bound, make_evaluation())
    assert sum((await count_rows(host, tracker.schema)).values()) == 0


async def test_a_bound_tracker_keeps_the_clock(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    """The host's clock counts in its transaction too."""
    at_noon = ModelPerformanceTracker(pool, schema=tracker.schema, clock=lambda: NOW)
    async with host.transaction():
        stored: Evaluation = (await record(at_noon.bind(host), make_evaluation())).evaluation
    assert stored.created_at == NOW


async def test_two_tasks_on_one_bound_tracker_are_told_so(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection
) -> None:
    """One task at a time: the others get an error that does not speak of a lost connection, and the host goes on."""
    async with host.transaction():
        bound = tracker.bind(host)
        calls = (record(bound, make_evaluation(day=day)) for day in range(4))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        assert len(errors) < 4
        for error in errors:
            assert isinstance(error, StorageError)
            assert not error.outcome_unknown, error
        assert await host.fetchval("SELECT 1") == 1
    stored = (await count_rows(host, tracker.schema))["model_performance_metrics"]
    assert stored == 4 - len(errors)
