"""Yardstick 4: the 30-day trend of one model, beside its raw query with and without the index."""

from __future__ import annotations

from datetime import timedelta

from tests.benchmarks._filled import NOW, Filled, fill
from tests.benchmarks._lines import Line, Target
from tests.benchmarks._setting import Setting
from tests.benchmarks._timing import Work, interleave

from model_perf import ModelPerformanceTracker, ModelRef

SELECT = (
    "SELECT model_id, model_version, evaluation_date, evaluation_start, evaluation_end, id, sample_count, verdict,"
    " r_squared, rmse, mae, mape, t.precision, recall, f1_score, metrics::text AS metrics FROM bench_trend.{table} t"
    " WHERE model_id = $1 AND model_version = $2 AND machine_id = $3 AND evaluation_date >= $4 AND evaluation_date < $5"
    " ORDER BY evaluation_date, id"
)
UNTIL = NOW + timedelta(hours=1)


async def measure(setting: Setting) -> list[Line]:
    sizes = (10_000, 100_000) if setting.quick else (10_000, 100_000, 1_000_000, 5_000_000)
    lines = []
    async with setting.tracker("bench_trend", clock=lambda: UNTIL) as tracker:
        for n_rows in sizes:
            setting.say(f"trend: filling a table with {n_rows:,} rows")
            filled = await _fill_both(tracker, n_rows)
            rounds = 50 if setting.quick else 100
            lines.append(await _measure(tracker, "30 daily points", filled, filled.daily, rounds))
            lines.append(await _measure(tracker, "720 hourly points", filled, filled.hourly, rounds))
    return lines


async def _measure(tracker: ModelPerformanceTracker, name: str, filled: Filled, ref: ModelRef, rounds: int) -> Line:
    key = (ref.model_id, ref.model_version, ref.machine_id, UNTIL - timedelta(days=30), UNTIL)

    async def fetch(table: str) -> None:
        async with tracker.pool.acquire() as connection:
            await connection.fetch(SELECT.format(table=table), *key)

    works = {
        "ours": Work(run=lambda: tracker.trend(ref, metric="rmse", days=30)),
        "limit": Work(run=lambda: fetch("model_performance_metrics")),
        "rival": Work(run=lambda: fetch("unindexed"), every=rounds // 5),
    }
    samples = await interleave(rounds, works, warm_up=5)
    return Line(work=f"trend, {name}, of {filled.n_rows:,} rows", samples=samples, target=Target(sense="<=", value=1.5))


async def _fill_both(tracker: ModelPerformanceTracker, n_rows: int) -> Filled:
    async with tracker.pool.acquire() as connection:
        await connection.execute("DROP TABLE IF EXISTS bench_trend.unindexed")
        filled = await fill(connection, "bench_trend", n_rows)
        await connection.execute("CREATE TABLE bench_trend.unindexed AS TABLE bench_trend.model_performance_metrics")
        await connection.execute("VACUUM ANALYZE bench_trend.unindexed")
    return filled
