"""Yardstick 2: `record_many` of 100,000 evaluations, beside a COPY of ready tuples, and MLflow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.benchmarks import _mlflow
from tests.benchmarks._evaluations import as_columns, as_tuples, make_records
from tests.benchmarks._lines import Line, Samples, Target
from tests.benchmarks._setting import Setting
from tests.benchmarks._timing import Action, Work, interleave

from model_perf import Evaluation, ModelPerformanceTracker
from model_perf.records import METRIC_COLUMNS
from model_perf.repos._bulk import COPIED_COLUMNS

TABLE = "model_performance_metrics"


async def measure(setting: Setting) -> list[Line]:
    n, rounds = (20_000, 5) if setting.quick else (100_000, 7)
    async with setting.tracker("bench_bulk") as tracker:
        samples = await interleave(rounds, _works(tracker, n))
        lines = _lines(n, samples)
        return lines + await _against_mlflow(setting, tracker, n)


def _works(tracker: ModelPerformanceTracker, n: int) -> dict[str, Work]:
    records = make_records(n)
    columns, tuples = as_columns(records), as_tuples(records)

    def over(share: float) -> Action:
        # Every so many rows are there already, spread over the batch.
        there = tuples[:: round(1 / share)]
        return lambda: _start_with(tracker, there)

    return {
        "limit": Work(run=lambda: _copy(tracker, tuples), prepare=_over_nothing(tracker)),
        "columns": Work(run=lambda: tracker.record_many(columns), prepare=_over_nothing(tracker)),
        "objects": Work(run=lambda: tracker.record_many(records), prepare=_over_nothing(tracker)),
        "objects, made first": Work(run=lambda: _make_and_record(tracker, n), prepare=_over_nothing(tracker)),
        "10% repeats": Work(run=lambda: tracker.record_many(records), prepare=over(0.1)),
        "all repeats": Work(run=lambda: tracker.record_many(records), prepare=over(1.0)),
    }


def _lines(n: int, samples: Samples) -> list[Line]:
    targets = {"columns": 1.0, "objects": 0.5, "objects, made first": None, "10% repeats": 0.3, "all repeats": 0.3}
    return [
        Line(
            work=f"record_many {n:,}: {name}",
            samples={"ours": samples[name], "limit": samples["limit"]},
            target=None if value is None else Target(sense=">=", value=value),
            units={"ours": n, "limit": n},
            unit="rows",
        )
        for name, value in targets.items()
    ]


async def _against_mlflow(setting: Setting, tracker: ModelPerformanceTracker, n: int) -> list[Line]:
    if missing := _mlflow.missing():
        setting.say(f"MLflow is left out: {', '.join(missing)} not installed (extra 'bench')")
        return []
    n_runs = 4 if setting.quick else 10
    store = await asyncio.to_thread(_mlflow.MLflowStore, setting.dsn)
    columns = as_columns(make_records(n))
    works = {
        "ours": Work(run=lambda: tracker.record_many(columns), prepare=_over_nothing(tracker)),
        "rival": Work(
            run=lambda: asyncio.to_thread(store.log),
            prepare=lambda: asyncio.to_thread(store.make_runs, n_runs),
        ),
    }
    try:
        samples = await interleave(5, works)
    finally:
        await asyncio.to_thread(store.close)
    return [
        Line(
            work=f"record_many {n:,}: columns; rival MLflow log_batch",
            samples=samples,
            target=Target(sense=">=", value=60.0, against="rival"),
            units={"ours": n * len(METRIC_COLUMNS), "rival": n_runs * _mlflow.BATCH},
            unit="values",
        )
    ]


def _over_nothing(tracker: ModelPerformanceTracker) -> Action:
    return lambda: _start_with(tracker, ())


async def _start_with(tracker: ModelPerformanceTracker, tuples: Sequence[tuple[Any, ...]]) -> None:
    async with tracker.pool.acquire() as connection:
        await connection.execute(f"TRUNCATE {tracker.schema}.{TABLE}")
    if tuples:
        await _copy(tracker, tuples)


async def _copy(tracker: ModelPerformanceTracker, tuples: Sequence[tuple[Any, ...]]) -> None:
    async with tracker.pool.acquire() as connection:
        await connection.copy_records_to_table(
            TABLE, schema_name=tracker.schema, columns=COPIED_COLUMNS, records=tuples
        )


async def _make_and_record(tracker: ModelPerformanceTracker, n: int) -> None:
    records: list[Evaluation] = make_records(n)
    await tracker.record_many(records)
