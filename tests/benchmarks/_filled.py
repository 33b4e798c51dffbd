"""Tables of a given size, filled by the server in the order in which evaluations arrive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from attrs import frozen

from model_perf import ModelRef
from model_perf.sql._connection import Connection

NOW = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 365
HOURLY = 900_000
"""Number of the deployment with hourly evaluations."""

# $1 and $2 first and last deployment, $3 step and $4 length of the period before $5 (now)
_FILL = """
INSERT INTO {schema}.model_performance_metrics
    (model_id, model_version, machine_id, evaluation_date, id, model_type, evaluation_start, evaluation_end,
     sample_count, data_completeness, r_squared, rmse, mae, mape, verdict, drift_detected, created_at)
SELECT lpad(to_hex(m), 32, '0')::uuid, 1, lpad(to_hex(m + 1000000), 32, '0')::uuid, t, gen_random_uuid(), 'baseline',
    t - $3::interval, t, 1008, 0.98, 0.9 + random() * 0.05, 12 + random(), 8 + random(), 0.1 + random() * 0.01,
    'ok', false, t
FROM generate_series($5::timestamptz - $4::interval + $3::interval, $5::timestamptz, $3::interval) AS t
CROSS JOIN generate_series($1::integer, $2::integer) AS m
"""
# $1 and $2 first and last deployment, $3 now
_DEPLOYMENTS = """
INSERT INTO {schema}.models (model_id, model_version, machine_id, model_type, first_seen_at)
SELECT lpad(to_hex(m), 32, '0')::uuid, 1, lpad(to_hex(m + 1000000), 32, '0')::uuid, 'baseline', $3
FROM generate_series($1::integer, $2::integer) AS m
"""


@frozen(kw_only=True)
class Filled:
    """A table with daily evaluations of many deployments and hourly ones of one."""

    n_rows: int
    daily: ModelRef
    hourly: ModelRef


def make_ref(number: int) -> ModelRef:
    return ModelRef(
        model_id=UUID(int=number), model_type="baseline", model_version=1, machine_id=UUID(int=number + 1_000_000)
    )


async def fill(
    connection: Connection, schema: str, n_rows: int, *, n_models: int | None = None, hourly_days: int = 30
) -> Filled:
    """Replace what is there by *n_rows* daily evaluations, of so many deployments or over a year, and hourly ones."""
    models = n_models or max(1, n_rows // DAYS)
    step, hour = timedelta(days=1), timedelta(hours=1)
    await connection.execute(f"TRUNCATE {schema}.models, {schema}.model_performance_metrics")
    await connection.execute(_DEPLOYMENTS.format(schema=schema), 1, models, NOW)
    statement = _FILL.format(schema=schema)
    await connection.execute(statement, 1, models, step, step * (n_rows // models), NOW)
    if hourly_days:
        await connection.execute(_DEPLOYMENTS.format(schema=schema), HOURLY, HOURLY, NOW)
        await connection.execute(statement, HOURLY, HOURLY, hour, step * hourly_days, NOW)
    await connection.execute(f"VACUUM ANALYZE {schema}.model_performance_metrics")
    await connection.execute(f"VACUUM ANALYZE {schema}.models")
    return Filled(n_rows=n_rows, daily=make_ref(max(1, models // 2)), hourly=make_ref(HOURLY))
