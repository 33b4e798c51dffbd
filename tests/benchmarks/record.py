"""Yardstick 3: `record` one by one, verdict and all, beside a raw INSERT and a naive transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import numpy as np
from tests.benchmarks._evaluations import START, make_refs
from tests.benchmarks._lines import Line, Target
from tests.benchmarks._setting import Setting
from tests.benchmarks._timing import Work, interleave

from model_perf import Evaluation, ModelPerformanceTracker, ModelRef
from model_perf.records import METRIC_COLUMNS, new_id
from model_perf.sql._connection import Connection

HISTORY_DAYS = 40
"""Evaluations of each deployment before the first that is timed: its baseline is full, its chart runs."""

INSERT = (
    "INSERT INTO bench_record.twin (model_id, model_version, machine_id, evaluation_date, id, model_type,"
    " evaluation_start, evaluation_end, sample_count, data_completeness, r_squared, rmse, mae, mape, precision, recall,"
    " f1_score, metrics, drift_detected, drift_score, drift_threshold, drift_details, verdict, created_by, created_at,"
    f" metadata) VALUES ({', '.join(f'${i}' for i in range(1, 27))})"
)
BASELINE = (
    "SELECT avg(rmse), stddev(rmse), avg(r_squared), stddev(r_squared) FROM bench_record.twin"
    " WHERE model_id = $1 AND model_version = $2 AND machine_id = $3 AND evaluation_date < $4"
)
OPEN_ALERT = "SELECT id FROM bench_record.twin_alerts WHERE fingerprint = $1 AND NOT is_resolved"
INSERT_ALERT = (
    "INSERT INTO bench_record.twin_alerts (id, alert_type, severity, model_type, machine_id, fingerprint,"
    " alert_message, alert_timestamp, last_seen_at) VALUES ($1, 'degradation', 'critical', $2, $3, $4, 'worse', $5, $5)"
)


class Stream:
    """Evaluations of a stationary model, day after day, over some deployments in turn."""

    def __init__(self, refs: Sequence[ModelRef]) -> None:
        self._refs = refs
        self._turn = count()
        self._noise = np.random.default_rng(2)

    def next_evaluation(self) -> dict[str, Any]:
        """The arguments of the next `record`."""
        turn = next(self._turn)
        start = START + timedelta(days=HISTORY_DAYS + turn // len(self._refs))
        rmse = 12.0 + float(self._noise.standard_normal())
        return {
            "ref": self._refs[turn % len(self._refs)],
            "evaluation_start": start,
            "evaluation_end": start + timedelta(days=1),
            "metrics": {"r_squared": 1.0 - rmse**2 / 2_000.0, "rmse": rmse, "mae": 0.8 * rmse},
            "sample_count": 1_008,
            "data_completeness": 0.98,
        }


async def measure(setting: Setting) -> list[Line]:
    rounds, n_many = (200, 50) if setting.quick else (1_500, 500)
    async with setting.tracker("bench_record") as tracker:
        await _make_twins(tracker)
        refs = make_refs(1 + n_many)
        await _make_history(tracker, refs)
        lines = []
        for name, own in (("one deployment", refs[:1]), (f"{n_many} deployments", refs[1:])):
            lines += await _measure_pooled(tracker, name, own, rounds)
            lines += await _measure_bound(tracker, name, own, rounds)
        return lines


async def _measure_pooled(
    tracker: ModelPerformanceTracker, name: str, refs: Sequence[ModelRef], rounds: int
) -> list[Line]:
    stream, row = Stream(refs), await _sample_row(tracker, refs)

    async def raw() -> None:
        async with tracker.pool.acquire() as connection:
            await connection.execute(INSERT, *row())

    async def rival() -> None:
        async with tracker.pool.acquire() as connection, connection.transaction():
            await _naive(connection, row())

    works = {
        "ours": Work(run=lambda: tracker.record(**stream.next_evaluation())),
        "limit": Work(run=raw),
        "rival": Work(run=rival),
    }
    return _lines(f"record by pool: {name}", await interleave(rounds, works, warm_up=20))


async def _measure_bound(
    tracker: ModelPerformanceTracker, name: str, refs: Sequence[ModelRef], rounds: int
) -> list[Line]:
    stream, row = Stream(refs), await _sample_row(tracker, refs)
    async with tracker.pool.acquire() as connection:

        async def in_transaction(write: Callable[[], Awaitable[object]]) -> None:
            async with connection.transaction():
                await write()

        works = {
            "ours": Work(
                run=lambda: in_transaction(lambda: tracker.bind(connection).record(**stream.next_evaluation()))
            ),
            "limit": Work(run=lambda: in_transaction(lambda: connection.execute(INSERT, *row()))),
            "rival": Work(run=lambda: in_transaction(lambda: _naive(connection, row()))),
        }
        samples = await interleave(rounds, works, warm_up=20)
    return _lines(f"record bound, with BEGIN and COMMIT: {name}", samples)


def _lines(work: str, samples: dict[str, list[float]]) -> list[Line]:
    once = dict.fromkeys(samples, 1.0)
    return [Line(work=work, samples=samples, target=Target(sense=">=", value=0.4), units=once, unit="calls")]


async def _make_twins(tracker: ModelPerformanceTracker) -> None:
    """Tables with the same columns, keys and checks for the limit and the rival, so that none pays for another."""
    async with tracker.pool.acquire() as connection:
        for twin, table in (("twin", "model_performance_metrics"), ("twin_alerts", "model_alerts")):
            await connection.execute(f"CREATE TABLE bench_record.{twin} (LIKE bench_record.{table} INCLUDING ALL)")


async def _make_history(tracker: ModelPerformanceTracker, refs: Sequence[ModelRef]) -> None:
    noise = np.random.default_rng(3).standard_normal((len(refs), HISTORY_DAYS))
    await tracker.record_many(
        [
            Evaluation(
                ref=ref,
                evaluation_start=START + timedelta(days=day),
                evaluation_end=START + timedelta(days=day + 1),
                metrics={"r_squared": 1.0 - rmse**2 / 2_000.0, "rmse": rmse, "mae": 0.8 * rmse},
                sample_count=1_008,
            )
            for ref, values in zip(refs, (12.0 + noise).tolist(), strict=True)
            for day, rmse in enumerate(values)
        ]
    )
    for ref in refs:
        await tracker.rebuild_state(ref)
    async with tracker.pool.acquire() as connection:
        await connection.execute("INSERT INTO bench_record.twin SELECT * FROM bench_record.model_performance_metrics")
        await connection.execute("ANALYZE")


async def _sample_row(tracker: ModelPerformanceTracker, refs: Sequence[ModelRef]) -> Callable[[], tuple[Any, ...]]:
    """Rows as `record` writes them, its report inside, for the deployments in turn: each a new one."""
    pattern = {**Stream(refs).next_evaluation(), "evaluation_id": uuid4()}
    async with tracker.pool.acquire() as connection, _rolled_back(connection):
        done = (await tracker.bind(connection).record(**pattern)).evaluation
        report = await connection.fetchval(
            "SELECT drift_details::text FROM bench_record.model_performance_metrics WHERE id = $1", done.id
        )
    metrics = [done.metrics.get(name) for name in METRIC_COLUMNS]
    turn = count()

    def next_row() -> tuple[Any, ...]:
        i = next(turn)
        ref, start = refs[i % len(refs)], done.evaluation_start + timedelta(days=i // len(refs))
        end = start + timedelta(days=1)
        return (
            *(ref.model_id, ref.model_version, ref.machine_id, end, new_id(), ref.model_type, start, end),
            *(done.sample_count, done.data_completeness, *metrics, "{}", done.drift_detected, done.drift_score),
            *(done.drift_threshold, report, done.verdict, None, done.created_at, "{}"),
        )

    return next_row


@asynccontextmanager
async def _rolled_back(connection: Connection) -> AsyncIterator[None]:
    """A transaction that leaves nothing."""
    transaction: Any = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def _naive(connection: Connection, row: tuple[Any, ...]) -> None:
    """What a host writes itself, inside its BEGIN and COMMIT."""
    model_id, version, machine_id, moment, number, model_type = row[:6]
    await connection.fetchrow(BASELINE, model_id, version, machine_id, START + timedelta(days=30))
    await connection.execute(INSERT, *row)
    fingerprint = str(number)
    await connection.fetchval(OPEN_ALERT, fingerprint)
    await connection.execute(INSERT_ALERT, number, model_type, machine_id, fingerprint, moment)
