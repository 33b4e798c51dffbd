"""A schema for each tenant, one database and one pool: nobody sees, changes or waits for another's rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from attrs import frozen
from tests.factories import make_ref
from tests.faults.every_call import make_every_call, read_everything
from tests.lives import count_all
from tests.repos.contents import nothing_written
from tests.writers import NOW

from model_perf import ModelPerformanceTracker

REF = make_ref()


@frozen
class Tenants:
    """Two trackers on one pool. The second schema's name needs quotes and begins like the first."""

    a: ModelPerformanceTracker
    b: ModelPerformanceTracker
    pool: asyncpg.Pool


@pytest.fixture
async def tenants(pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> AsyncIterator[Tenants]:
    names = (tracker.schema, f"{tracker.schema} Tenant's 100% B")
    a, b = (ModelPerformanceTracker(pool, schema=name, clock=lambda: NOW) for name in names)
    await b.migrate()
    yield Tenants(a, b, pool)
    await pool.execute(f'DROP SCHEMA "{b.schema}" CASCADE')


async def test_what_one_writes_by_every_call_the_other_does_not_have(tenants: Tenants) -> None:
    """All calls of the one leave every table of the other empty, and in either order."""
    await make_every_call(tenants.a)
    assert set((await count_all(tenants.pool, tenants.b.schema)).values()) == {0}
    assert min(n for table, n in (await count_all(tenants.pool, tenants.a.schema)).items() if table in USED) > 0
    async with nothing_written(tenants.pool, tenants.a.schema):
        await make_every_call(tenants.b)


USED = ("models", "model_performance_metrics", "model_alerts", "model_alert_events", "model_notifications")


async def test_each_reads_its_own_by_every_call(tenants: Tenants) -> None:
    """With the same ids in both, and something else in one: every answer of the other is what it was."""
    await make_every_call(tenants.a)
    await make_every_call(tenants.b)
    before = await read_everything(tenants.a)
    run, _ = await tenants.b.training.open_run(model_type="theirs", machine_id=REF.machine_id, now=NOW)
    await tenants.b.alerts.open_or_repeat(REF, alert_type="theirs", severity="critical", message="look", now=NOW)
    await tenants.b.register_model("theirs", machine="theirs")
    assert await read_everything(tenants.a) == before
    assert run.id not in {each.id for each in (await tenants.a.training.list_runs()).items}


async def test_a_model_id_has_a_type_in_each(tenants: Tenants) -> None:
    """The rule of one model_type per model_id holds within a schema, not across."""
    await tenants.a.alerts.open_or_repeat(REF, alert_type="own", severity="info", message="look")
    await tenants.a.metrics.register_model(REF, NOW)
    other = make_ref(model_type="other")
    assert other.model_id == REF.model_id
    assert (await tenants.b.metrics.register_model(other, NOW)).ref == other


@pytest.mark.parametrize("call", ["prune", "forget_machine", "forget_model"])
async def test_what_one_deletes_the_other_keeps(tenants: Tenants, call: str) -> None:
    """Prune and forget look at the schema they were called on."""
    await make_every_call(tenants.a)
    await make_every_call(tenants.b)
    arguments: dict[str, dict[str, Any]] = {
        "prune": {"before": NOW},
        "forget_machine": {"machine_id": REF.machine_id, "force": True},
        "forget_model": {"model_id": REF.model_id, "force": True},
    }
    async with nothing_written(tenants.pool, tenants.a.schema):
        assert (await getattr(tenants.b, call)(**arguments[call])).n_deleted > 0


async def test_one_prunes_while_the_other_has_the_turn(tenants: Tenants) -> None:
    """The lock by which prunes take turns is the schema's own."""
    await make_every_call(tenants.b)
    async with tenants.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('model_perf prune ' || $1, 7307))", tenants.a.schema
        )
        assert (await tenants.b.prune(NOW)).n_deleted > 0
