"""What lies in the tables, to prove that a refused call wrote nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

TABLES = (
    *("models", "model_performance_metrics", "model_drift_state", "model_training_history"),
    *("model_ab_tests", "model_alerts", "model_reference_profiles", "model_drift_reports"),
    *("model_alert_events", "model_notifications", "model_automation"),
    *("model_ab_moments", "model_ab_batches", "model_ab_looks", "model_alert_events", "model_notifications"),
    *("model_workers", "model_champions", "model_automation"),
)


async def read_contents(pool: asyncpg.Pool, schema: str) -> dict[str, tuple[int, str | None]]:
    """The number of rows of each table and a digest of all their values."""
    one = "SELECT '{0}', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM \"{1}\".{0} t"
    rows = await pool.fetch(" UNION ALL ".join(one.format(table, schema) for table in TABLES))
    return {row[0]: (row[1], row[2]) for row in rows}


async def count_rows(pool: asyncpg.Pool, schema: str, table: str) -> int:
    found: int = await pool.fetchval(f'SELECT count(*) FROM "{schema}".{table}')
    return found


@asynccontextmanager
async def nothing_written(pool: asyncpg.Pool, schema: str) -> AsyncIterator[None]:
    """Fails if the block changed any table."""
    before = await read_contents(pool, schema)
    yield
    assert await read_contents(pool, schema) == before
