"""The host's event loop is never blocked above 50 ms, whatever the library is given to do."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.earlier_installation import DDL, statements
from tests.factories import START, make_evaluation, make_ref

from model_perf import ModelPerformanceTracker
from model_perf.drift import Adwin, profile

LIMIT_S = 0.050
REF = make_ref()
DAY = timedelta(days=1)


@asynccontextmanager
async def watched(longest: list[float]) -> AsyncIterator[None]:
    """Appends the longest time that a task which only sleeps a millisecond was kept waiting."""
    worst, is_over = 0.0, False

    async def watch() -> None:
        nonlocal worst
        while not is_over:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - before - 0.001)

    task = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    yield
    is_over = True
    await task
    longest.append(worst)


def minutes(n: int, **changes: Any) -> dict[str, Any]:
    begin = np.datetime64("2024-01-01") + np.arange(n).astype("m8[m]")
    return {
        **{name: getattr(REF, name) for name in ("model_id", "model_type", "model_version", "machine_id")},
        "evaluation_start": begin,
        "evaluation_end": begin + np.timedelta64(1, "m"),
        "rmse": np.linspace(1, 2, n),
        "r_squared": np.full(n, 0.9),
        "sample_count": np.arange(n),
    } | changes


Work = Callable[[], Awaitable[object]]


async def columns(t: ModelPerformanceTracker) -> Work:
    batch = minutes(100_000, metrics={"own": np.arange(100_000.0)})
    return lambda: t.record_many(batch)


async def many_deployments(t: ModelPerformanceTracker) -> Work:
    batch = minutes(100_000, model_version=np.arange(100_000) % 2_000)
    return lambda: t.record_many(batch)


async def repeated_columns(t: ModelPerformanceTracker) -> Work:
    rng = np.random.default_rng(1)
    ids = [f"{int.from_bytes(rng.bytes(16), 'big'):032x}" for _ in range(100_000)]
    batch = minutes(100_000, evaluation_id=ids)
    await t.record_many(batch)
    return lambda: t.record_many(batch)


async def records(t: ModelPerformanceTracker) -> Work:
    step = timedelta(minutes=1)
    batch = [
        make_evaluation(evaluation_start=START + i * step, evaluation_end=START + (i + 1) * step, id=None)
        for i in range(100_000)
    ]
    return lambda: t.record_many(batch)


async def trend(t: ModelPerformanceTracker) -> Work:
    await t.record_many(minutes(10_000))
    return lambda: t.trend(REF, since=START, until=START + 99 * DAY)


async def evaluate(t: ModelPerformanceTracker) -> Work:
    y = np.random.default_rng(1).normal(size=1_000_000)
    return lambda: t.evaluate(REF, y, y + 0.1, evaluation_start=START, evaluation_end=START + DAY)


async def evaluate_lists(t: ModelPerformanceTracker) -> Work:
    y = [float(i % 100) for i in range(1_000_000)]
    return lambda: t.evaluate(REF, y, y, evaluation_start=START, evaluation_end=START + DAY)


async def judge(t: ModelPerformanceTracker) -> Work:
    await t.record_many(minutes(2_000))
    return lambda: t.judge(REF)


async def prune(t: ModelPerformanceTracker) -> Work:
    await t.record_many(minutes(5_000))
    return lambda: t.prune(START + 3 * DAY)


async def many_records(t: ModelPerformanceTracker) -> Work:
    async def write() -> None:
        for i in range(50):
            e = make_evaluation(day=i)
            await t.record(
                e.ref, evaluation_start=e.evaluation_start, evaluation_end=e.evaluation_end, metrics=e.metrics
            )

    return write


async def ab_test(t: ModelPerformanceTracker) -> Work:
    other = make_ref(version=2)
    await t.record_many(minutes(4_900))
    await t.record_many(minutes(4_900, model_version=2))
    test = await t.start_ab_test(name="n", model_a=REF, model_b=other, start=START, duration=4 * DAY, metric="rmse")
    return lambda: t.ab_test_results(test.id)


def million(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {f"x{i}": rng.normal(size=1_000_000) for i in range(5)}


async def reference(t: ModelPerformanceTracker) -> Work:
    data = million(1)
    return lambda: t.set_reference(REF, data)


async def check_data(t: ModelPerformanceTracker) -> Work:
    await t.set_reference(REF, million(1))
    data = million(2)
    return lambda: t.check_data_drift(REF, data)


async def check_names(t: ModelPerformanceTracker) -> Work:
    names = np.random.default_rng(1).integers(0, 100_000, 300_000).astype(str).astype(object)
    await t.set_reference(REF, {"name": names})
    return lambda: t.check_data_drift(REF, {"name": names})


def many_columns(shift: float = 0.0) -> dict[str, Any]:
    return {f"x{i}": np.random.default_rng(i).normal(shift, 1.0, 2000) for i in range(1000)}


async def check_many_columns(t: ModelPerformanceTracker) -> Work:
    await t.set_reference(REF, many_columns())
    data = many_columns(0.5)  # of a column that has changed more is written down, and in an alert once more
    return lambda: t.check_data_drift(REF, data)


async def reference_of_names(t: ModelPerformanceTracker) -> Work:
    names = np.arange(9000).astype(str).astype(object)
    counted = profile({f"name{i}": names for i in range(50)})
    return lambda: t.set_reference(REF, counted)


def frame(seed: int) -> pl.DataFrame:
    names = np.random.default_rng(seed).integers(0, 100_000, 1_000_000)
    return pl.DataFrame({**million(seed), "name": pl.Series(names).cast(pl.String)})


async def reference_frame(t: ModelPerformanceTracker) -> Work:
    data = frame(1)
    return lambda: t.set_reference(REF, data)


async def check_frame(t: ModelPerformanceTracker) -> Work:
    await t.set_reference(REF, frame(1))
    data = frame(2)
    return lambda: t.check_data_drift(REF, data)


async def drift_reports(t: ModelPerformanceTracker) -> Work:
    data = many_columns(0.5)
    counted = profile(data, reference=await t.set_reference(REF, data))
    for _ in range(8):
        await t.check_data_drift(REF, counted)
    day_ago = datetime.now(UTC) - DAY
    return lambda: t.drift.list_reports(REF, since=day_ago, until=day_ago + 2 * DAY)


async def check_drift(t: ModelPerformanceTracker) -> Work:
    await (await check_many_columns(t))()
    return lambda: t.check_drift(REF)


async def stream(t: ModelPerformanceTracker) -> Work:
    values = np.random.default_rng(1).random(1_000_000)
    await t.stream(REF, "error", detector=Adwin()).update(0.5)
    return lambda: t.stream(REF, "error").update_many(values)


async def earlier_rows(t: ModelPerformanceTracker) -> Work:
    source = f"{t.schema}_earlier"
    async with t.pool.acquire() as connection:
        await connection.execute(statements(DDL, source))
        await connection.execute(
            f"INSERT INTO {source}.model_performance_metrics (model_id, model_type, evaluation_date, rmse, metadata)"
            f" SELECT '{REF.model_id}', 'baseline', '2024-01-01'::timestamptz + n * interval '1 hour', n, '{{}}'"
            " FROM generate_series(1, 5000) n"
        )
    return lambda: t.import_earlier(source)


WORK = [
    columns,
    many_deployments,
    repeated_columns,
    records,
    trend,
    evaluate,
    evaluate_lists,
    judge,
    prune,
    many_records,
    ab_test,
    reference,
    check_data,
    check_names,
    check_many_columns,
    reference_of_names,
    reference_frame,
    check_frame,
    drift_reports,
    check_drift,
    stream,
    earlier_rows,
]


@pytest.mark.parametrize("prepare", WORK, ids=lambda work: work.__name__)
async def test_the_loop_goes_on(
    tracker: ModelPerformanceTracker,
    prepare: Callable[[ModelPerformanceTracker], Awaitable[Work]],
    record_property: Callable[[str, object], None],
    request: pytest.FixtureRequest,
) -> None:
    """A task beside the work is never kept waiting for more than 50 ms; the best of three runs counts."""
    longest: list[float] = []
    work = await prepare(tracker)
    await tracker.list_models()  # the connection and the schema's check are not what is measured
    # Nor is a full garbage collection over what the test itself holds: that is the caller's, and 250 ms for 100,000
    # records.
    gc.collect()
    gc.freeze()
    request.addfinalizer(gc.unfreeze)
    for _ in range(1 if prepare is judge else 3):
        async with watched(longest):
            await work()
        if longest[-1] <= LIMIT_S:  # on a busy machine the scheduler itself may take 50 ms, but not at the same place
            break
    record_property("blocked_ms", [round(1e3 * each, 1) for each in longest])
    assert min(longest) <= LIMIT_S, longest
