"""What the queue costs: a claim against a bare SKIP LOCKED loop on the same table and indexes, and an idle poll."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.benchmarks._lines import Line, Target
from tests.benchmarks._setting import Setting
from tests.benchmarks._timing import Work, interleave

from model_perf import ModelPerformanceTracker

LEASE = timedelta(minutes=5)
DUE = datetime(2025, 1, 1, tzinfo=UTC)

# What a queue by hand does; all that it keeps of a claim is who holds it until when.
_BARE = """
UPDATE {schema}.model_training_history
SET training_status = 'running', attempt = attempt + 1, worker = $1, lease_until = $2, run_after = $2
WHERE id = (
    SELECT id FROM {schema}.model_training_history
    WHERE training_status IN ('pending', 'running') AND run_after <= $3
    ORDER BY run_after FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING id
"""
_FILL = """
INSERT INTO {schema}.model_training_history
    (id, model_type, machine_id, training_status, trigger_type, run_after, created_at)
SELECT gen_random_uuid(), 'baseline', gen_random_uuid(), $3, 'manual', $2, $2
FROM generate_series(1, $1::integer)
"""


async def measure(setting: Setting) -> list[Line]:
    async with setting.tracker("worker_benchmark") as tracker:
        return [*await _claims(setting, tracker), await _idle(setting, tracker)]


async def _claims(setting: Setting, tracker: ModelPerformanceTracker) -> list[Line]:
    """Each claims *n* runs, of as many as are due, beside ten times as many that have ended."""
    n, rounds = (200, 5) if setting.quick else (500, 15)
    fill, bare = _FILL.format(schema=tracker.schema), _BARE.format(schema=tracker.schema)
    async with tracker.pool.acquire() as connection:
        await connection.execute(fill, 10 * n, DUE, "completed")

    async def queue() -> None:
        async with tracker.pool.acquire() as connection:
            await connection.execute(f"DELETE FROM {tracker.schema}.model_training_history WHERE run_after > $1", DUE)
            await connection.execute(fill, n, DUE, "pending")
            await connection.execute(f"VACUUM ANALYZE {tracker.schema}.model_training_history")

    async def one_by_one() -> None:
        for _ in range(n):
            assert await tracker.training.claim_many("w", model_types=["baseline"], limit=1, lease=LEASE)

    async def by_four() -> None:
        for _ in range(n // 4):
            found = await tracker.training.claim_many("w", model_types=["baseline"], limit=4, lease=LEASE)
            assert len(found) == 4

    async def by_hand() -> None:
        for _ in range(n):
            now = datetime.now(UTC)
            async with tracker.pool.acquire() as connection:
                assert await connection.fetchrow(bare, "w", now + LEASE, now)

    async def on_one_connection() -> None:
        async with tracker.pool.acquire() as connection:
            for _ in range(n):
                now = datetime.now(UTC)
                assert await connection.fetchrow(bare, "w", now + LEASE, now)

    works = {
        "one": Work(run=one_by_one, prepare=queue),
        "four": Work(run=by_four, prepare=queue),
        "hand": Work(run=by_hand, prepare=queue),
        "connection": Work(run=on_one_connection, prepare=queue),
    }
    samples = await interleave(rounds, works)
    target = Target(sense=">=", value=0.7)

    def line(work: str, ours: str, limit: str) -> Line:
        given = {"ours": samples[ours], "limit": samples[limit]}
        units = {"ours": n, "limit": n}
        return Line(work=work, samples=given, units=units, unit="claims", target=target)

    return [
        line("claim one run (bare loop through the pool)", "one", "hand"),
        line("claim one run (bare loop on one connection)", "one", "connection"),
        line("claim four at once (bare loop on one connection)", "four", "connection"),
    ]


async def _idle(setting: Setting, tracker: ModelPerformanceTracker) -> Line:
    """A poll that finds nothing, with 10,000 runs of the past and 1,000 that wait for later; the limit selects 1."""
    fill = _FILL.format(schema=tracker.schema)
    async with tracker.pool.acquire() as connection:
        await connection.execute(f"TRUNCATE {tracker.schema}.model_training_history")
        await connection.execute(fill, 10_000, DUE, "completed")
        await connection.execute(fill, 1_000, datetime(2100, 1, 1, tzinfo=UTC), "pending")
        await connection.execute(f"VACUUM ANALYZE {tracker.schema}.model_training_history")

    async def poll() -> None:
        assert not await tracker.training.claim_many("w", model_types=["baseline"], limit=2, lease=LEASE)

    async def select() -> None:
        async with tracker.pool.acquire() as connection:
            await connection.fetchval("SELECT 1")

    samples = await interleave(200 if setting.quick else 1000, {"ours": Work(run=poll), "limit": Work(run=select)})
    return Line(work="idle poll (SELECT 1)", samples=samples)
