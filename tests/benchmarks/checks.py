"""One round of `run_checks` over 1,000 models: with nothing due, and with something due in each of them."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.benchmarks._filled import NOW, fill
from tests.benchmarks._lines import Line, Target
from tests.benchmarks._setting import Setting
from tests.benchmarks._timing import Work, interleave

from model_perf import ModelPerformanceTracker
from model_perf.sql._connection import Connection

N_MODELS = 1_000
LIMIT_S = 10.0
SCHEMA = "bench_checks"

# Every model is silent; three in ten have a failed run, two in ten an alert that a completed run answers.
_DUE = f"""
TRUNCATE {SCHEMA}.model_training_history, {SCHEMA}.model_alerts CASCADE;
INSERT INTO {SCHEMA}.model_training_history
    (id, model_type, machine_id, training_status, trigger_type, run_after, created_at, training_end, attempt,
     model_version, error_message)
SELECT gen_random_uuid(), m.model_type, m.machine_id, CASE WHEN i % 10 < 3 THEN 'failed' ELSE 'completed' END,
    'manual', '{NOW}', '{NOW}', '{NOW}', 1, 2, 'no rows'
FROM (SELECT *, row_number() OVER () AS i FROM {SCHEMA}.models) m WHERE i % 10 < 5;
INSERT INTO {SCHEMA}.model_alerts
    (id, alert_type, severity, model_type, machine_id, model_id, model_version, fingerprint, alert_message,
     alert_timestamp, last_seen_at)
SELECT gen_random_uuid(), 'data_drift', 'critical', m.model_type, m.machine_id, m.model_id, 1, 'f' || i, 'm',
    '{NOW}'::timestamptz - interval '1 hour', '{NOW}'
FROM (SELECT *, row_number() OVER () AS i FROM {SCHEMA}.models) m WHERE i % 10 IN (3, 4);
"""


async def measure(setting: Setting) -> list[Line]:
    n_rows, rounds = (100_000, 3) if setting.quick else (1_000_000, 9)
    clock = [NOW + timedelta(hours=1)]

    def now() -> datetime:
        return clock[0]

    async with setting.tracker(SCHEMA, now) as tracker:
        setting.say(f"checks: filling a table with {n_rows:,} rows")
        async with tracker.pool.acquire() as connection:
            await fill(connection, SCHEMA, n_rows, n_models=N_MODELS, hourly_days=0)

            async def make_due() -> None:
                await connection.execute(_DUE)
                clock[0] += timedelta(days=10)

            quiet = await interleave(rounds, {"ours": Work(run=lambda: _check(tracker, 0))}, warm_up=1)
            due = await interleave(
                rounds, {"ours": Work(run=lambda: _check(tracker, 1500), prepare=make_due)}, warm_up=1
            )
            await _empty(connection)
    target = Target(sense="<=", value=1.0)
    limit = {"limit": [LIMIT_S] * rounds}
    return [
        Line(
            work=f"run_checks, {N_MODELS:,} models of {n_rows:,} rows, nothing due",
            samples=quiet | limit,
            target=target,
        ),
        Line(work="the same, each silent, 300 failed runs, 200 alerts answered", samples=due | limit, target=target),
    ]


async def _check(tracker: ModelPerformanceTracker, n_found: int) -> None:
    report = await tracker.run_checks()
    found = (report.failures, report.stale, report.retrained)
    assert report.is_ok
    assert sum(len(alerts or ()) for alerts in found) == n_found, report.to_dict()


async def _empty(connection: Connection) -> None:
    await connection.execute(f"TRUNCATE {SCHEMA}.model_training_history, {SCHEMA}.model_alerts CASCADE")
