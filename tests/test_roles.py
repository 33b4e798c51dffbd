"""Owner, writer, reader and pruner, each logged in as itself: what each may do, and what its error says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import asyncpg
import numpy as np
import pytest
from attrs import frozen
from tests.factories import START, make_evaluation, make_ref
from tests.faults.every_call import make_every_call, read_everything
from tests.repos.contents import nothing_written
from tests.writers import NOW, record

from model_perf import ModelPerformanceTracker, SchemaError, StorageError
from model_perf.sql import load_migrations
from model_perf.sql.migrate import migrate, sql

KINDS = ("owner", "writer", "reader", "pruner")
REF = make_ref()

RIGHTS = """
SELECT c.relname::text AS name, string_agg(a.privilege_type, ' ' ORDER BY a.privilege_type) AS rights
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL aclexplode(c.relacl) a
WHERE n.nspname = $1 AND a.grantee = $2::text::regrole
GROUP BY c.relname
"""


@frozen
class Roles:
    """A schema made by the script, and a tracker for each role that it names."""

    schema: str
    names: dict[str, str]
    trackers: dict[str, ModelPerformanceTracker]
    pools: dict[str, asyncpg.Pool]

    def __getitem__(self, kind: str) -> ModelPerformanceTracker:
        return self.trackers[kind]


@pytest.fixture
async def names(pool: asyncpg.Pool) -> AsyncIterator[dict[str, str]]:
    """Four roles that may connect; the owner may make a schema."""
    suffix = uuid4().hex[:8]
    names = {kind: f"mp_{kind}_{suffix}" for kind in KINDS}
    for name in names.values():
        await pool.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    database = await pool.fetchval("SELECT current_database()")
    await pool.execute(f'GRANT CREATE ON DATABASE "{database}" TO {names["owner"]}')
    yield names
    for name in names.values():
        await pool.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


@pytest.fixture
async def roles(pool: asyncpg.Pool, database: str, schema: str, names: dict[str, str]) -> AsyncIterator[Roles]:
    await pool.execute(sql(schema, since=0, **names))
    async with AsyncExitStack() as stack:
        pools = {
            kind: await stack.enter_async_context(
                asyncpg.create_pool(database, user=name, password="secret", min_size=1, max_size=4)
            )
            for kind, name in names.items()
        }
        trackers = {kind: ModelPerformanceTracker(own, schema=schema, clock=lambda: NOW) for kind, own in pools.items()}
        yield Roles(schema, names, trackers, pools)


async def test_the_rights_are_exactly_these(roles: Roles, pool: asyncpg.Pool) -> None:
    """Table by table; no right on a sequence, and none to truncate, refer or set triggers."""
    tables = await pool.fetch(
        "SELECT c.relname::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relkind IN ('r', 'v')",
        roles.schema,
    )
    every = [row["name"] for row in tables]
    log, ledger = "model_alert_events", "schema_migrations"
    expected = {
        "writer": dict.fromkeys(every, "INSERT SELECT UPDATE") | {log: "SELECT", ledger: "SELECT"},
        "reader": dict.fromkeys(every, "SELECT"),
        "pruner": dict.fromkeys(every, "DELETE SELECT") | {ledger: "SELECT"},
    }
    for kind, rights in expected.items():
        found = {row["name"]: row["rights"] for row in await pool.fetch(RIGHTS, roles.schema, roles.names[kind])}
        assert found == rights, kind


async def test_the_writer_can_do_all_that_an_application_does(roles: Roles) -> None:
    """Every call of the facade and the repositories, logged in with the writer's rights."""
    await make_every_call(roles["writer"])


async def test_the_owner_can_do_all_that_an_application_does(roles: Roles) -> None:
    """And nothing is pending for it."""
    await make_every_call(roles["owner"])
    assert await roles["owner"].migrate() == ()


async def test_the_reader_reads_what_the_writer_wrote(roles: Roles) -> None:
    """All calls that read give the reader the very answers that they give the writer."""
    await make_every_call(roles["writer"])
    assert await read_everything(roles["reader"]) == await read_everything(roles["writer"])
    plan = await roles["reader"].prune(NOW, dry_run=True)
    assert plan.dry_run
    assert (await roles["reader"].forget_machine(REF.machine_id, dry_run=True)).n_deleted > 0


Call = Callable[[ModelPerformanceTracker], Awaitable[object]]
WRITES: dict[str, Call] = {
    "record": lambda tracker: record(tracker, make_evaluation(day=300)),
    "record_many": lambda tracker: tracker.record_many([make_evaluation(day=301)]),
    "register_model": lambda tracker: tracker.register_model("other", machine="mill"),
    "rebuild_state": lambda tracker: tracker.rebuild_state(REF),
    "trigger_retraining": lambda tracker: tracker.trigger_retraining(model_type="other"),
    "claim": lambda tracker: tracker.training.claim("me", lease=NOW - START),
    "open_or_repeat": lambda tracker: tracker.alerts.open_or_repeat(
        REF, alert_type="own", severity="info", message="look"
    ),
    "set_reference": lambda tracker: tracker.set_reference(REF, {"load": np.arange(50.0)}),
    "start_ab_test": lambda tracker: tracker.start_ab_test(name="new", model_a=REF, model_b=make_ref(version=2)),
}
DELETES: dict[str, Call] = {
    "prune": lambda tracker: tracker.prune(NOW),
    "forget_machine": lambda tracker: tracker.forget_machine(REF.machine_id, force=True),
    "forget_model": lambda tracker: tracker.forget_model(REF.model_id, force=True),
}


@pytest.mark.parametrize(("kind", "calls"), [("reader", WRITES | DELETES), ("pruner", WRITES), ("writer", DELETES)])
async def test_what_a_role_may_not_is_told_and_not_done(
    roles: Roles, pool: asyncpg.Pool, kind: str, calls: dict[str, Call]
) -> None:
    """A `StorageError` that no retry mends, with the server's word, the right that is missing and the command."""
    await make_every_call(roles["writer"])
    async with nothing_written(pool, roles.schema):
        for name, call in calls.items():
            with pytest.raises(StorageError, match=r"permission denied.*a pruner SELECT and DELETE.*--pruner") as error:
                await call(roles[kind])
            assert not error.value.retry_safe, name


async def test_a_role_without_any_right_is_told_how_to_get_it(pool: asyncpg.Pool, database: str, roles: Roles) -> None:
    """Not even the ledger may be read: the first call says which script grants it."""
    name = f"mp_stranger_{uuid4().hex[:8]}"
    await pool.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    try:
        async with asyncpg.create_pool(database, user=name, password="secret", min_size=1, max_size=1) as own:
            with pytest.raises((SchemaError, StorageError), match="migrate --sql"):
                await ModelPerformanceTracker(own, schema=roles.schema).fleet()
    finally:
        await pool.execute(f"DROP ROLE {name}")


async def test_the_pruner_prunes_and_forgets(roles: Roles) -> None:
    """With SELECT and DELETE alone."""
    await make_every_call(roles["writer"])
    assert (await roles["pruner"].prune(NOW)).n_deleted > 0
    assert (await roles["pruner"].forget_machine(REF.machine_id, force=True)).n_deleted > 0
    assert (await roles["pruner"].forget_model(make_ref("other").model_id)).n_deleted >= 0


FORGERIES = {
    "insert": "INSERT INTO {schema}.model_alert_events (alert_id, event, occurred_at, severity)"
    " SELECT id, 'resolved', now(), severity FROM {schema}.model_alerts",
    "update": "UPDATE {schema}.model_alert_events SET actor = 'somebody else'",
    "delete": "DELETE FROM {schema}.model_alert_events",
    "truncate": "TRUNCATE {schema}.model_alert_events CASCADE",
    "drop the trigger": "DROP TRIGGER model_alerts_log ON {schema}.model_alerts",
    "silence the trigger": "SET session_replication_role = replica",
    "move the numbers": "SELECT setval(pg_get_serial_sequence('{schema}.model_alert_events', 'id'), 1)",
    "replace the function": "CREATE OR REPLACE FUNCTION {schema}.model_alerts_log() RETURNS trigger LANGUAGE plpgsql"
    " AS $$BEGIN RETURN NULL; END$$",
    # The function has its owner's rights: on a table of one's own it would log whatever one likes.
    "borrow the trigger": "CREATE TEMPORARY TABLE model_alerts (LIKE {schema}.model_alerts);"
    "CREATE TRIGGER mine AFTER INSERT ON pg_temp.model_alerts FOR EACH ROW"
    " EXECUTE FUNCTION {schema}.model_alerts_log()",
}


@pytest.mark.parametrize("kind", ["writer", "reader"])
@pytest.mark.parametrize("how", FORGERIES)
async def test_nobody_forges_the_log(roles: Roles, pool: asyncpg.Pool, kind: str, how: str) -> None:
    """Whatever way is tried, the server refuses it, and the log is what it was."""
    await roles["writer"].alerts.open_or_repeat(REF, alert_type="own", severity="info", message="look")
    query = f"SELECT array_agg(t::text) FROM {roles.schema}.model_alert_events t"
    before = await pool.fetchval(query)
    assert len(before) == 1
    async with roles.pools[kind].acquire() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(FORGERIES[how].format(schema=roles.schema))
    assert await pool.fetchval(query) == before


@pytest.mark.parametrize("how", FORGERIES)
async def test_generous_default_privileges_do_not_open_the_log(
    pool: asyncpg.Pool, database: str, schema: str, names: dict[str, str], how: str
) -> None:
    """A host whose owner gives all new tables and functions to everybody: the script takes back what is too much."""
    everybody = f"PUBLIC, {names['writer']}"
    for what in ("TABLES", "FUNCTIONS", "SEQUENCES"):
        await pool.execute(f"ALTER DEFAULT PRIVILEGES FOR ROLE {names['owner']} GRANT ALL ON {what} TO {everybody}")
    try:
        await pool.execute(sql(schema, since=0, **names))
        async with asyncpg.create_pool(database, user=names["writer"], password="secret", min_size=1) as own:
            tracker = ModelPerformanceTracker(own, schema=schema)
            await tracker.alerts.open_or_repeat(REF, alert_type="own", severity="info", message="look")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await own.execute(FORGERIES[how].format(schema=schema))
        assert await pool.fetchval(f"SELECT count(*) FROM {schema}.model_alert_events") == 1
    finally:
        await pool.execute(f"DROP OWNED BY {names['owner']} CASCADE")
        database_name = await pool.fetchval("SELECT current_database()")
        await pool.execute(f'GRANT CREATE ON DATABASE "{database_name}" TO {names["owner"]}')


async def test_an_owner_that_writes_too_goes_on_writing_alerts(
    pool: asyncpg.Pool, database: str, schema: str, names: dict[str, str]
) -> None:
    """One role for all: what no other writer may, its own trigger must."""
    one = names["owner"]
    await pool.execute(sql(schema, since=0, owner=one, writer=one, reader=one, pruner=one))
    async with asyncpg.create_pool(database, user=one, password="secret", min_size=1, max_size=4) as own:
        await make_every_call(ModelPerformanceTracker(own, schema=schema, clock=lambda: NOW))
        assert await ModelPerformanceTracker(own, schema=schema).migrate() == ()


async def test_a_role_may_write_and_prune(
    pool: asyncpg.Pool, database: str, schema: str, names: dict[str, str]
) -> None:
    """One role named twice has both rights, and still neither the ledger nor the log to write."""
    one = names["writer"]
    await pool.execute(sql(schema, since=0, owner=names["owner"], writer=one, pruner=one))
    async with asyncpg.create_pool(database, user=one, password="secret", min_size=1, max_size=4) as own:
        tracker = ModelPerformanceTracker(own, schema=schema, clock=lambda: NOW)
        await make_every_call(tracker)
        assert (await tracker.prune(NOW)).n_deleted > 0
        for how in ("insert", "update", "truncate", "borrow the trigger"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await own.execute(FORGERIES[how].format(schema=schema))
    rights = {row["name"]: row["rights"] for row in await pool.fetch(RIGHTS, schema, one)}
    assert (rights["schema_migrations"], rights["model_alert_events"]) == ("SELECT", "DELETE SELECT")


async def test_temporary_tables_of_our_names_change_nothing(roles: Roles, pool: asyncpg.Pool) -> None:
    """The trigger writes to its own schema's tables, whatever lies before them in the caller's search path."""
    names = ("model_alert_events", "model_notifications", "model_alerts", "models")
    async with roles.pools["writer"].acquire() as connection, connection.transaction():
        for name in names:
            await connection.execute(f"CREATE TEMPORARY TABLE {name} (LIKE {roles.schema}.{name}) ON COMMIT DROP")
        await connection.execute("SET LOCAL search_path = pg_temp, public")
        bound = roles["writer"].bind(connection)
        await bound.alerts.open_or_repeat(REF, alert_type="own", severity="info", message="look")
        assert [await connection.fetchval(f"SELECT count(*) FROM pg_temp.{name}") for name in names] == [0] * 4
    for name in names[:3]:
        assert await pool.fetchval(f"SELECT count(*) FROM {roles.schema}.{name}") == 1


@pytest.mark.parametrize("to_public", [False, True])
async def test_default_privileges_of_earlier_scripts_do_not_open_the_log(
    pool: asyncpg.Pool, database: str, schema: str, names: dict[str, str], to_public: bool
) -> None:
    """A schema of version 4 whose later tables the writer gets: after an upgrade it may still not write the log."""
    await pool.execute(until(4, sql(schema, since=0, **names)))
    if to_public:
        await pool.execute(
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {names['owner']} IN SCHEMA {schema} GRANT INSERT ON TABLES TO PUBLIC"
        )
    owner = await asyncpg.connect(database, user=names["owner"], password="secret")
    assert await migrate(owner, schema) == (5,)
    await owner.close()
    rights = {row["name"]: row["rights"] for row in await pool.fetch(RIGHTS, schema, names["writer"])}
    assert rights["model_alert_events"] == "SELECT"
    assert rights["model_notifications"] == "INSERT SELECT UPDATE"
    writer = await asyncpg.connect(database, user=names["writer"], password="secret")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await writer.execute(FORGERIES["insert"].format(schema=schema))
    await writer.close()


def until(version: int, script: str) -> str:
    """The script as the library printed it that knew migrations up to *version* only."""
    quoted = script.split("CREATE TABLE ")[1].split(".schema_migrations")[0].strip('"')
    for migration in load_migrations():
        if migration.version > version:
            script = script.replace(migration.render(quoted).strip(), "")
            script = "\n\n".join(part for part in script.split("\n\n") if f"VALUES ({migration.version}," not in part)
    later = ("REVOKE", "GRANT ALL", "GRANT EXECUTE")
    return "\n".join(line for line in script.splitlines() if not line.startswith(later))
