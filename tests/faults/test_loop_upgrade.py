"""Migration 5 under a running installation: old rows, old code beside new, rights that were granted before."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.factories import START, make_evaluation, make_evaluations, make_ref
from tests.writers import record

from model_perf import (
    AutomationPolicy,
    AutomationRule,
    ModelPerformanceTracker,
    MonitoringPolicy,
    StorageError,
)
from model_perf.sql import load_migrations

CALM = [1.00, 1.02, 0.98, 1.01, 0.99, 1.03, 0.97, 1.00, 1.01, 0.99, 1.02, 0.98, 1.00, 1.01]
REF = make_ref()

# The upsert of the version before, which knows no snooze, no recovery and no automation.
OLD_UPSERT = """
INSERT INTO {schema}.model_alerts AS a
    (id, alert_type, severity, model_type, machine_id, model_id, model_version, fingerprint, alert_message,
     alert_timestamp, last_seen_at)
VALUES (gen_random_uuid(), 'performance_degradation', $1, 'baseline', $2, $3, 1, $4, 'old', $5, $5)
ON CONFLICT (fingerprint) WHERE NOT is_resolved DO UPDATE
SET occurrences = a.occurrences + 1,
    severity = CASE WHEN excluded.severity_rank > a.severity_rank THEN excluded.severity ELSE a.severity END
RETURNING id
"""


@pytest.fixture
async def role(schema: str, pool: asyncpg.Pool) -> AsyncIterator[str]:
    """A role that was given a writer's rights on the tables of migration 4, table by table."""
    name = f"writer_{schema}"
    await pool.execute(f"CREATE SCHEMA {schema}")
    for migration in load_migrations()[:4]:
        await pool.execute(migration.render(schema))
    await pool.execute(
        f"CREATE ROLE {name} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA {schema} TO {name};"
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema} TO {name}"
    )
    yield name
    await pool.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


async def migrate(pool: asyncpg.Pool, schema: str) -> ModelPerformanceTracker:
    """The ledger as the runner would have left it, and then the runner."""
    ledger = f"{schema}.schema_migrations"
    await pool.execute(
        f"CREATE TABLE IF NOT EXISTS {ledger} (version integer NOT NULL PRIMARY KEY, name text NOT NULL,"
        " sha256 text NOT NULL, breaking boolean NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),"
        " metadata jsonb NOT NULL DEFAULT '{}')"
    )
    for each in load_migrations()[:4]:
        values = (each.version, each.name, each.sha256, each.breaking)
        await pool.execute(f"INSERT INTO {ledger} (version, name, sha256, breaking) VALUES ($1, $2, $3, $4)", *values)
    tracker = ModelPerformanceTracker(pool, schema=schema)
    assert (await tracker.migrate())[0] == 5
    return tracker


async def test_a_writer_of_before_goes_on_writing(pool: asyncpg.Pool, database: str, schema: str, role: str) -> None:
    """Alerts, their log, the policy's runs and the switch: none needs a right that was not granted; reading the log
    and the champions does, and says so."""
    owner = await migrate(pool, schema)
    await pool.execute(f"GRANT SELECT ON {schema}.schema_migrations TO {role}")
    policy = MonitoringPolicy(automation=AutomationPolicy(rules=[AutomationRule(retrain=True)]))
    async with asyncpg.create_pool(database, user=role, password="secret", min_size=1, max_size=2) as own:
        weak = ModelPerformanceTracker(own, schema=schema, policy=policy)
        for one in make_evaluations([*CALM, 2.0]):
            bad = await record(weak, one)
        assert bad.alert is not None
        assert bad.training_run is not None
        for day in (15, 16, 17):
            good = await record(weak, make_evaluation(day=day, metrics={"rmse": 1.0}))
        assert good.recovered is not None
        await owner.set_automation("baseline", REF.machine_id, enabled=False, by="ana")
        await weak.training.cancel(bad.training_run.id)
        again = await record(weak, make_evaluation(day=18, metrics={"rmse": 2.0}))
        assert again.alert is not None
        assert again.alert.auto_action["reason"] == "switched off by ana"
        [refused] = [step for step in (await weak.run_checks()).steps if step.errors]
        assert refused.name == "retrained"
        assert "rights to grant" in refused.errors[0]
        with pytest.raises(StorageError, match="rights to grant"):
            await weak.alerts.list_events(bad.alert.id)
    events = [each.event for each in await owner.alerts.list_events(bad.alert.id)]
    assert events == ["opened", "acted", "resolved"]
    assert await pool.fetchval(f"SELECT count(*) FROM {schema}.model_notifications WHERE channel = ''") == 3


async def test_an_alert_of_before_is_worked_on(pool: asyncpg.Pool, schema: str, role: str) -> None:
    """It has no log of its opening; it is snoozed, escalated by old code, and resolves itself."""
    fingerprint = f"performance_degradation:{REF.model_id}:1:{REF.machine_id}"
    upsert, where = OLD_UPSERT.format(schema=schema), (REF.machine_id, REF.model_id, fingerprint, START)
    number = await pool.fetchval(upsert, "warning", *where)
    tracker = await migrate(pool, schema)
    assert await tracker.alerts.list_events(number) == []
    await tracker.snooze_alert(number, hours=1.0, by="ana")
    assert await pool.fetchval(upsert, "critical", *where) == number
    for one in make_evaluations([*CALM, 2.0, 1.0, 1.0, 1.0]):
        last = await record(tracker, one)
    assert last.recovered is not None
    assert (last.recovered.id, last.recovered.occurrences) == (number, 3)
    events = [each.event for each in await tracker.alerts.list_events(number)]
    assert events == ["snoozed", "escalated", "resolved"]


async def test_failed_runs_of_before_are_told_once_per_slot(pool: asyncpg.Pool, schema: str, role: str) -> None:
    """Fifty old failures of a slot are one alert that counts them, where no later run has made them good."""
    await pool.execute(
        f"""INSERT INTO {schema}.model_training_history
            (id, model_type, machine_id, training_status, trigger_type, run_after, created_at, training_end, attempt,
             error_message)
        SELECT gen_random_uuid(), t, '{REF.machine_id}', 'failed', 'manual', '2024-01-01Z', '2024-01-01Z'::timestamptz
            + i * interval '1 hour', '2024-01-01Z'::timestamptz + i * interval '1 hour', 1, 'old'
        FROM generate_series(1, 50) i, unnest(ARRAY['bad', 'mended']) t;
        INSERT INTO {schema}.model_training_history
            (id, model_type, machine_id, training_status, trigger_type, run_after, created_at, training_end, attempt)
        VALUES (gen_random_uuid(), 'mended', '{REF.machine_id}', 'completed', 'manual', '2024-02-01Z', '2024-02-01Z',
            '2024-02-01Z', 1)"""
    )
    tracker = await migrate(pool, schema)
    [alert] = (await tracker.run_checks()).failures or ()
    assert (alert.model_type, alert.occurrences) == ("bad", 50)
    assert (await tracker.run_checks()).failures == ()
