"""`forget_machine` and `forget_model`: every row of every table, all or none, and nobody else's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from tests.factories import Clock, make_ref
from tests.lives import POLICY, count_all, live
from tests.repos.contents import nothing_written

from model_perf import ConflictError, InvalidInputError, ModelPerformanceTracker, StorageError
from model_perf.repos.operations import OF_MACHINE, OF_MODEL

PRESS, OVEN = make_ref(machine="press"), make_ref(machine="oven")

TELLS_NOTHING = {"model_workers", "model_notification_channels", "schema_migrations"}
"""Tables whose rows tell of no machine and no model."""

# A table tells of a machine or a model by a column, or belongs to a row that does, by a foreign key.
COLUMNS = """
SELECT c.relname::text AS name, array_agg(a.attname::text) AS columns, (
    SELECT array_agg(p.relname::text) FROM pg_constraint f JOIN pg_class p ON p.oid = f.confrelid
    WHERE f.conrelid = c.oid AND f.contype = 'f') AS parents
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
GROUP BY c.oid, c.relname
"""


@pytest.fixture
async def lived(timed: ModelPerformanceTracker, clock: Clock) -> ModelPerformanceTracker:
    """One model on two machines."""
    timed.policy = POLICY
    for machine in ("press", "oven"):
        await live(timed, clock, machine)
    return timed


async def digest(pool: asyncpg.Pool, schema: str, table: str, condition: str, number: object) -> Any:
    rows = f'SELECT t.*::text AS row FROM "{schema}".{table} t WHERE {condition}'.replace("{schema}", f'"{schema}"')
    return await pool.fetchval(f"SELECT string_agg(row, '|' ORDER BY row) FROM ({rows.replace('t.*', 't')}) r", number)


@pytest.mark.parametrize(("words", "covered"), [(("machine_id",), OF_MACHINE), (("model_id", "model_a_id"), OF_MODEL)])
async def test_no_table_is_left_out(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, words: tuple[str, ...], covered: dict[str, str]
) -> None:
    """Every table with such a column, and every table that hangs on one, is forgotten; a new one fails here."""
    rows = {row["name"]: row for row in await pool.fetch(COLUMNS, tracker.schema)}
    telling = {name for name, row in rows.items() if set(words) & set(row["columns"])}
    while more := {name for name, row in rows.items() if telling & set(row["parents"] or ())} - telling:
        telling |= more
    assert set(covered) == telling
    # What is in neither list must be looked at: it may tell of a machine in a column of another name.
    assert set(rows) - set(OF_MACHINE) <= TELLS_NOTHING


async def test_a_machine_is_forgotten_and_its_neighbour_is_not(
    lived: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """Not a row is left of the press, and every row of the oven is what it was."""
    schema = lived.schema
    before = await count_all(pool, schema)
    oven = {table: await digest(pool, schema, table, each, OVEN.machine_id) for table, each in OF_MACHINE.items()}
    assert all(oven.values())
    async with nothing_written(pool, schema):
        planned = await lived.forget_machine(PRESS.machine_id, dry_run=True)
    assert planned.running_tests == ("on press",)
    done = await lived.forget_machine(str(PRESS.machine_id), force=True)
    after = await count_all(pool, schema)
    assert planned.deleted == done.deleted == {table: before[table] - after[table] for table in OF_MACHINE}
    assert (done.kind, done.id, done.n_deleted) == ("machine", PRESS.machine_id, sum(done.deleted.values()))
    assert all(done.deleted.values())
    for table, condition in OF_MACHINE.items():
        assert await digest(pool, schema, table, condition, PRESS.machine_id) is None
        assert await digest(pool, schema, table, condition, OVEN.machine_id) == oven[table]
    assert (await lived.forget_machine(PRESS.machine_id)).n_deleted == 0


async def test_a_model_is_forgotten_on_all_machines(lived: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Its id stands in no row of any table but the switches of the slots, whoever else served there."""
    other = make_ref("other", machine="oven")
    await lived.alerts.open_or_repeat(other, alert_type="own", severity="info", message="look")
    done = await lived.forget_model(PRESS.model_id, force=True)
    assert sorted(done.running_tests) == ["on oven", "on press"]
    assert all(done.deleted.values())
    left = {table: n for table, n in (await count_all(pool, lived.schema)).items() if n}
    of_another = dict.fromkeys(("model_alerts", "model_alert_events", "model_notifications"), 1)
    assert left == of_another | {"model_automation": 2, "model_workers": 6}
    for table in OF_MODEL:
        rows = await pool.fetch(f'SELECT t::text AS row FROM "{lived.schema}".{table} t')
        assert not any(str(PRESS.model_id) in row["row"] for row in rows), table


async def test_no_other_version_serves_unasked(timed: ModelPerformanceTracker) -> None:
    """Where a forgotten model serves nobody does on record; elsewhere a rollback passes over its gap."""
    a, b, c = (make_ref(name) for name in "abc")
    for ref in (a, b, c):
        await timed.promote(ref)
    await timed.forget_model(b.model_id)
    assert await timed.champion("baseline", a.machine_id) == c
    assert (await timed.roll_back("baseline", a.machine_id)).champion.ref == a
    await timed.forget_model(a.model_id)
    assert await timed.champion("baseline", a.machine_id) is None
    assert (await timed.champion_history("baseline", a.machine_id)).items == ()


@pytest.mark.parametrize("what", ["machine", "model"])
async def test_a_running_test_stops_it(lived: ModelPerformanceTracker, pool: asyncpg.Pool, what: str) -> None:
    """Nothing is deleted, and the error names the test and the way out."""
    call: Callable[[Any], Awaitable[object]] = getattr(lived, f"forget_{what}")
    async with nothing_written(pool, lived.schema):
        with pytest.raises(ConflictError, match=r"on press.*force=True"):
            await call(getattr(PRESS, f"{what}_id"))


async def test_it_is_all_or_none(lived: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """What fails at the last table has deleted nothing of the first."""
    await pool.execute(
        f"CREATE FUNCTION {lived.schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'no'; END$$;"
        f"CREATE TRIGGER refuse BEFORE DELETE ON {lived.schema}.models FOR EACH ROW"
        f" EXECUTE FUNCTION {lived.schema}.refuse()"
    )
    async with nothing_written(pool, lived.schema):
        with pytest.raises(StorageError, match="no"):
            await lived.forget_machine(PRESS.machine_id, force=True)


async def test_it_goes_with_a_host_that_changes_its_mind(lived: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Bound, it is part of the host's transaction."""
    async with nothing_written(pool, lived.schema), pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert (await lived.bind(connection).forget_machine(PRESS.machine_id, force=True)).n_deleted > 0
        await transaction.rollback()


async def test_what_is_no_id_is_refused(timed: ModelPerformanceTracker) -> None:
    """By the argument's name."""
    for call, argument in ((timed.forget_machine, "machine_id"), (timed.forget_model, "model_id")):
        with pytest.raises(InvalidInputError) as refused:
            await call("press")
        assert refused.value.argument == argument
