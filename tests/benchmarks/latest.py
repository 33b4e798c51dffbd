"""Yardstick 5: the latest evaluation of each of 1,000 models, beside one index probe each, and DISTINCT ON."""

from __future__ import annotations

from tests.benchmarks._filled import fill
from tests.benchmarks._lines import Line, Target
from tests.benchmarks._setting import Setting
from tests.benchmarks._timing import Work, interleave

from model_perf import ModelPerformanceTracker

N_MODELS = 1_000
COLUMNS = (
    "e.model_id, e.model_version, e.machine_id, e.evaluation_date, e.id, e.model_type, e.evaluation_start,"
    " e.evaluation_end, e.sample_count, e.data_completeness, e.r_squared, e.rmse, e.mae, e.mape, e.precision, e.recall,"
    " e.f1_score, e.metrics::text AS metrics, e.drift_detected, e.drift_score, e.drift_threshold,"
    " e.drift_details::text AS drift_details, e.verdict, e.created_by, e.created_at, e.metadata::text AS metadata"
)
PROBES = (
    f"SELECT {COLUMNS} FROM bench_latest.models m CROSS JOIN LATERAL (SELECT * FROM"
    " bench_latest.model_performance_metrics p WHERE p.model_id = m.model_id AND p.model_version = m.model_version"
    " AND p.machine_id = m.machine_id ORDER BY p.evaluation_date DESC LIMIT 1) e"
)
DISTINCT_ON = (
    f"SELECT DISTINCT ON (e.machine_id, e.model_type) {COLUMNS} FROM bench_latest.model_performance_metrics e"
    " ORDER BY e.machine_id, e.model_type, e.evaluation_date DESC"
)


async def measure(setting: Setting) -> list[Line]:
    n_rows, rounds = (100_000, 15) if setting.quick else (1_000_000, 30)
    async with setting.tracker("bench_latest") as tracker:
        setting.say(f"latest: filling a table with {n_rows:,} rows")
        async with tracker.pool.acquire() as connection:
            await fill(connection, "bench_latest", n_rows, n_models=N_MODELS, hourly_days=0)
        works = {
            "ours": Work(run=lambda: _list_latest(tracker)),
            "limit": Work(run=lambda: _fetch(tracker, PROBES)),
            "rival": Work(run=lambda: _fetch(tracker, DISTINCT_ON), every=rounds // 5),
        }
        samples = await interleave(rounds, works, warm_up=2)
    work = f"latest of {N_MODELS:,} models, of {n_rows:,} rows"
    return [Line(work=work, samples=samples, target=Target(sense="<=", value=2.0))]


async def _list_latest(tracker: ModelPerformanceTracker) -> None:
    page = await tracker.metrics.list_latest(limit=N_MODELS)
    assert len(page.items) == N_MODELS


async def _fetch(tracker: ModelPerformanceTracker, query: str) -> None:
    async with tracker.pool.acquire() as connection:
        assert len(await connection.fetch(query)) == N_MODELS
