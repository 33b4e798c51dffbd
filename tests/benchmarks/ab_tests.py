"""Yardstick 8: results of an A/B test cost the same at 10^3 and 10^8 observations; and what telling one costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import asyncpg
import numpy as np
from tests.benchmarks._lines import Line, Target
from tests.benchmarks._setting import Setting
from tests.benchmarks._timing import Work, interleave
from tests.benchmarks.drift import action
from tests.factories import make_ref

from model_perf import ABTest, ModelPerformanceTracker, assign_many
from model_perf.stats import sequence_multipliers

RAW_ROWS = 1_000_000
MANY = 100_000


async def measure(setting: Setting) -> list[Line]:
    pool = await asyncpg.create_pool(setting.dsn, min_size=1, max_size=2)
    tracker = ModelPerformanceTracker(pool, schema="ab_benchmark")
    try:
        await tracker.migrate()
        lines = [await _results(setting, tracker, pool, n) for n in (1_000, 100_000_000)]
        return [*lines, await _observe(setting, tracker), await _looks(setting), await _assign(setting, tracker)]
    finally:
        await pool.execute("DROP SCHEMA IF EXISTS ab_benchmark CASCADE")
        await pool.close()


async def _start(tracker: ModelPerformanceTracker, name: str) -> ABTest:
    a, b = make_ref(name, machine=name, version=1), make_ref(name, machine=name, version=2)
    begin = datetime.now(UTC) - timedelta(days=1)
    return await tracker.start_ab_test(
        name=name, model_a=a, model_b=b, metric="own", direction="lower", start=begin, duration=timedelta(days=30)
    )


async def _results(setting: Setting, tracker: ModelPerformanceTracker, pool: asyncpg.Pool, n: int) -> Line:
    """Every look sees new observations, so that it is kept; the rival adds up a million raw rows."""
    test = await _start(tracker, f"results {n}")
    rng = np.random.default_rng(1)
    units = rng.integers(0, 10**6, 2000).tolist()
    arms = assign_many(test, units)
    await tracker.observe_many(test.id, arms=arms, values=rng.normal(size=2000), units=units)
    moments = f"{tracker.schema}.model_ab_moments"
    # As many more of the same: moments of n observations look like those of 2,000.
    await pool.execute(
        f"UPDATE {moments} SET n = n * $2, m2 = m2 * $2, m3 = m3 * $2 WHERE test_id = $1", test.id, max(1, n // 2000)
    )
    await pool.execute(
        f"CREATE TABLE IF NOT EXISTS {tracker.schema}.raw AS SELECT n % 2 AS arm, random() AS value"
        f" FROM generate_series(1, {RAW_ROWS}) n"
    )

    async def tell() -> None:
        await tracker.observe(test.id, "a", 0.1, unit=1)

    async def add_up() -> None:
        query = f"SELECT arm, count(*), avg(value), var_samp(value) FROM {tracker.schema}.raw GROUP BY arm"
        await pool.fetch(query)

    async def point() -> None:
        await tracker.ab_tests.fetch(test.id)

    works = {
        "ours": Work(run=lambda: tracker.ab_test_results(test.id), prepare=tell),
        "limit": Work(run=point),
        "rival": Work(run=add_up, every=5),
    }
    samples = await interleave(20 if setting.quick else 60, works)
    target = Target(sense=">=", value=1, against="rival")
    return Line(work=f"A/B results, {n:,} observations (rival: 1e6 raw rows)", samples=samples, target=target)


async def _observe(setting: Setting, tracker: ModelPerformanceTracker) -> Line:
    """Through the buffer, with a unit each, flushes included; the limit appends a tuple."""
    test = await _start(tracker, "observe")
    values = np.random.default_rng(2).normal(size=MANY).tolist()

    async def tell() -> None:
        async with tracker.observer(test.id, flush_every_s=60.0) as observer:
            observe = observer.observe
            for i, value in enumerate(values):
                observe("ab"[i & 1], value, unit=i)

    def append() -> None:
        kept: list[tuple[str, float, int]] = []
        for i, value in enumerate(values):
            kept.append(("ab"[i & 1], value, i))

    samples = await interleave(3 if setting.quick else 9, {"ours": Work(run=tell), "limit": Work(run=action(append))})
    return Line(
        work="observe through the buffer", samples=samples, units={"ours": MANY, "limit": MANY}, unit="observations"
    )


async def _looks(setting: Setting) -> Line:
    looks = np.arange(1, 10_001) * 100
    works = {
        "ours": Work(run=action(lambda: sequence_multipliers(looks, planned_n=500_000))),
        "limit": Work(run=action(lambda: np.sqrt(looks))),
    }
    return Line(work="intervals of 10,000 looks", samples=await interleave(9, works))


async def _assign(setting: Setting, tracker: ModelPerformanceTracker) -> Line:
    test = await _start(tracker, "assign")
    units = [str(UUID(int=i)) for i in range(MANY if setting.quick else 1_000_000)]
    works = {
        "ours": Work(run=action(lambda: assign_many(test, units))),
        "limit": Work(run=action(lambda: [sha256(unit.encode()).digest() for unit in units])),
    }
    samples = await interleave(3, works)
    return Line(work=f"assign {len(units):,} units", samples=samples)
