"""A backend is terminated in the middle of a call: the error says what is known, and the pool is well again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
import numpy as np
import pytest
from tests.factories import START, make_evaluation, make_evaluations, make_id, make_ref
from tests.faults.states import BASELINE_DAYS, check_alert, check_state, count_rows, learn_baseline
from tests.faults.waits import check_pool, locked, terminate_waiting
from tests.servers import free_port
from tests.writers import NOW, record

from model_perf import DataDriftReport, ModelPerformanceTracker, StorageError
from model_perf.drift import CusumDetector

RUN = make_id("run")
CUSUM = CusumDetector(mean=0.1, sd=0.3)


async def record_without_id(tracker: ModelPerformanceTracker) -> object:
    end = START + timedelta(days=1)
    return await tracker.record(make_ref(), evaluation_start=START, evaluation_end=end, metrics={"rmse": 1.0})


async def open_alert(tracker: ModelPerformanceTracker) -> object:
    return await tracker.alerts.open_or_repeat(make_ref(), alert_type="own", severity="info", message="look")


CALLS: dict[str, tuple[str, bool, Callable[[ModelPerformanceTracker], Awaitable[object]]]] = {
    # name: table that it hangs at, whether a repeat is harmless, call
    "record": ("model_performance_metrics", True, lambda tracker: record(tracker, make_evaluation())),
    "record without an id": ("model_performance_metrics", False, record_without_id),
    "record_many at the models": ("models", True, lambda tracker: tracker.record_many(make_evaluations([1.0, 2.0]))),
    "record_many in the COPY": (
        "model_performance_metrics", True, lambda tracker: tracker.record_many(make_evaluations([1.0, 2.0])),
    ),
    "trigger_retraining": (
        "model_training_history", True, lambda tracker: tracker.trigger_retraining(model_type="baseline"),
    ),
    "register_model": ("models", True, lambda tracker: tracker.register_model("baseline", machine="press")),
    "register_model with a label": ("models", True, lambda tracker: tracker.register_model("baseline", version="a")),
    "open_or_repeat": ("model_alerts", False, open_alert),
    "set_reference": (
        "model_reference_profiles", True, lambda tracker: tracker.set_reference(make_ref(), {"load": [1.0, 2.0]}),
    ),
    "stream with ids": (
        "model_drift_state", True, lambda tracker: tracker.stream(make_ref(), "error", detector=CUSUM).update(0.1, 1),
    ),
    "stream without ids": (
        "model_drift_state", False, lambda tracker: tracker.stream(make_ref(), "error", detector=CUSUM).update(0.1),
    ),
    "complete": ("model_training_history", True, lambda tracker: tracker.training.complete(RUN, 1, now=NOW)),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
async def test_a_terminated_call_says_what_is_known(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, pool: asyncpg.Pool, name: str
) -> None:
    """The outcome is unknown, `retry_safe` is true where a repeat writes nothing twice, and nothing was written."""
    table, is_repeatable, call = CALLS[name]
    before = await count_rows(host, tracker.schema)
    error = await _terminate(host, f"{tracker.schema}.{table}", lambda: call(tracker))
    assert error.outcome_unknown
    assert error.retry_safe == is_repeatable
    assert error.__cause__ is not None
    await check_pool(pool)
    assert await count_rows(host, tracker.schema) == before


async def test_the_repeat_of_a_terminated_record_succeeds(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection
) -> None:
    """The pool heals by itself: the same call again stores the evaluation once."""
    evaluation = make_evaluation()
    await _terminate(host, f"{tracker.schema}.model_performance_metrics", lambda: record(tracker, evaluation))
    assert (await record(tracker, evaluation)).is_new
    await check_state(tracker, evaluation.ref, n=1)


async def test_a_terminated_check_of_data_counts_nothing(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    """Report, alarm and alert of a window are written together or not at all; the repeat writes them once."""
    rng = np.random.default_rng(1)
    await tracker.set_reference(make_ref(), {"load": rng.normal(size=1000)})
    window, before = {"load": rng.normal(3.0, 1.0, 200)}, await count_rows(host, tracker.schema)

    async def check() -> DataDriftReport:
        return await tracker.check_data_drift(make_ref(), window, check_id=make_id("check"), window_end=NOW)

    for table in ("model_drift_reports", "model_alerts", "model_drift_state"):
        error = await _terminate(host, f"{tracker.schema}.{table}", check)
        assert (error.outcome_unknown, error.retry_safe) == (True, True)
        assert await count_rows(host, tracker.schema) == before
    await check_pool(pool)
    assert (await check()).alarm_value == (await check()).alarm_value
    after = await count_rows(host, tracker.schema)
    assert {table: n - before[table] for table, n in after.items() if n != before[table]} == {
        "model_drift_reports": 1,
        "model_alerts": 1,
        "model_alert_events": 1,
    }


@pytest.mark.parametrize("has_id", [True, False])
async def test_a_terminated_bound_call_has_written_nothing(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, pool: asyncpg.Pool, has_id: bool
) -> None:
    """In the host's transaction the outcome is known: it was not committed, so that a repeat is always safe."""
    evaluation = make_evaluation()

    async with pool.acquire() as connection:
        await connection.transaction().start()
        bound = tracker.bind(connection)
        table = f"{tracker.schema}.model_performance_metrics"
        error = await _terminate(host, table, lambda: record(bound, evaluation) if has_id else record_without_id(bound))
    assert error.retry_safe
    assert not error.outcome_unknown
    await check_pool(pool)
    assert sum((await count_rows(host, tracker.schema)).values()) == 0


async def test_idle_connections_that_died_cost_one_call_each_at_most(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    """After all idle backends were terminated the calls work, or fail with a safe repeat, and soon work."""
    await asyncio.gather(*(tracker.active_alerts() for _ in range(10)))
    dead = pool.get_size()
    await host.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    failures = 0
    for _ in range(dead + 1):
        try:
            await tracker.active_alerts()
        except StorageError as error:
            failures += error.retry_safe
        else:
            break
    assert failures <= dead
    assert await tracker.active_alerts() == []
    await check_pool(pool)


async def test_judge_that_died_before_its_alert_opens_it_when_repeated(
    tracker: ModelPerformanceTracker, host: asyncpg.Connection
) -> None:
    """Verdict and alert of `judge` are written together or not at all, so that a repeat finds the alert to open."""
    ref = make_ref()
    await learn_baseline(tracker, ref)
    await tracker.record_many([make_evaluation(ref, day=BASELINE_DAYS, metrics={"rmse": 30.0})])
    await _terminate(host, f"{tracker.schema}.model_alerts", lambda: tracker.judge(ref))
    await tracker.judge(ref)
    assert await check_alert(tracker, ref) == 1


async def test_a_server_that_is_not_there_is_a_storage_error() -> None:
    """`connect` to a closed port raises the library's own error, with the driver's as its cause."""
    with pytest.raises(StorageError) as caught:
        await ModelPerformanceTracker.connect(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres")
    assert caught.value.retry_safe
    assert not caught.value.outcome_unknown
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_pool_whose_server_went_away_is_a_storage_error() -> None:
    """A host's pool that can connect to nothing gives an error that says that nothing happened."""
    pool = await asyncpg.create_pool(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres", min_size=0)
    with pytest.raises(StorageError, match="no connection") as caught:
        await ModelPerformanceTracker(pool).active_alerts()
    assert caught.value.retry_safe
    assert not caught.value.outcome_unknown
    await pool.close()


async def _terminate(host: asyncpg.Connection, table: str, call: Callable[[], Awaitable[Any]]) -> StorageError:
    async with locked(host, table):
        calling = asyncio.ensure_future(call())
        await terminate_waiting(host)
        with pytest.raises(StorageError) as caught:
            await calling
    return caught.value
