"""`diagnose` and `model-perf doctor`: each fault is found by its name, and what is not known is never called ok."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from tests.factories import Clock, make_evaluation, make_ref
from tests.lives import POLICY, live, on_day
from tests.repos.contents import nothing_written
from tests.servers import pgbouncer
from tests.test_cli import run
from tests.test_roles import KINDS, Roles, names, roles  # noqa: F401 - fixtures
from tests.writers import record

from model_perf import Diagnosis, Finding, ModelPerformanceTracker, StorageError, _diagnosis, migration_sql
from model_perf._diagnosis import CHECKS
from model_perf.sql import load_migrations

REF = make_ref()
NEWEST = load_migrations()[-1].version


def now() -> datetime:
    return datetime.now(UTC)


def found(diagnosis: Diagnosis, check: str) -> list[Finding]:
    return [finding for finding in diagnosis.findings if finding.check == check]


def worst(diagnosis: Diagnosis, check: str) -> str:
    findings = tuple(found(diagnosis, check))
    return Diagnosis(at=diagnosis.at, schema=diagnosis.schema, findings=findings).status


@pytest.fixture
async def healthy(tracker: ModelPerformanceTracker) -> ModelPerformanceTracker:
    """One deployment, evaluated just now."""
    at = now()
    await tracker.record(REF, evaluation_start=at - timedelta(days=1), evaluation_end=at, metrics={"rmse": 1.0})
    return tracker


async def test_a_healthy_installation(healthy: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Every check has an answer and nothing is amiss, but that the tests log in as the owner; nothing is written."""
    async with nothing_written(pool, healthy.schema):
        diagnosis = await healthy.diagnose()
    assert {finding.check for finding in diagnosis.findings} == set(CHECKS)
    amiss = [finding for finding in diagnosis.findings if finding.status != "ok"]
    assert [finding.check for finding in amiss] == ["rights"]
    assert "owns the log" in amiss[0].message
    assert (diagnosis.status, diagnosis.schema) == ("warning", healthy.schema)
    assert json.loads(json.dumps(diagnosis.to_dict()))["findings"][0]["check"] == "server"


Fault = Callable[[ModelPerformanceTracker, asyncpg.Pool], Awaitable[object]]


async def sql(tracker: ModelPerformanceTracker, pool: asyncpg.Pool, statement: str, *args: object) -> None:
    await pool.execute(statement.format(schema=tracker.schema), *args)


async def open_alert_days_ago(tracker: ModelPerformanceTracker, days: float) -> None:
    await tracker.alerts.open_or_repeat(
        REF, alert_type=f"of {days}", severity="info", message="look", now=now() - timedelta(days=days)
    )


async def outbox_was_delivered_once(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    await open_alert_days_ago(tracker, 2)
    await sql(tracker, pool, "UPDATE {schema}.model_notifications SET status = 'delivered', delivered_at = now()")
    await open_alert_days_ago(tracker, 1)


async def outbox_gave_up(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    await open_alert_days_ago(tracker, 2)
    await sql(tracker, pool, "UPDATE {schema}.model_notifications SET status = 'dead'")


async def open_run(tracker: ModelPerformanceTracker, minutes: float) -> None:
    at = now() - timedelta(minutes=minutes)
    await tracker.training.open_run(model_type="baseline", machine_id=REF.machine_id, now=at)


async def worker_seen(tracker: ModelPerformanceTracker, pool: asyncpg.Pool, seconds: float) -> None:
    await sql(
        tracker,
        pool,
        "INSERT INTO {schema}.model_workers (worker, model_types, started_at, seen_at) VALUES ('w', '{{}}', $1, $1)",
        now() - timedelta(seconds=seconds),
    )


async def run_with_worker(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    await open_run(tracker, 120)
    await worker_seen(tracker, pool, 1)


async def lease_expired(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    await open_run(tracker, 120)
    claimed = await tracker.training.claim("w", lease=timedelta(minutes=1), now=now() - timedelta(minutes=90))
    assert claimed is not None


async def overdue_test(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    await tracker.ab_tests.start(
        name="n",
        model_a=REF,
        model_b=make_ref(version=2),
        start=now() - timedelta(days=9),
        duration=timedelta(days=5),
    )


async def silent_deployment(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    await tracker.metrics.register_model(make_ref("silent"), now() - timedelta(days=3))


GONE = {
    "trigger model_alerts_log": "DROP TRIGGER model_alerts_log ON {schema}.model_alerts",
    "index model_training_history_one_open": "DROP INDEX {schema}.model_training_history_one_open",
    "view v_active_ab_tests": "DROP VIEW {schema}.v_active_ab_tests",
    "table model_notification_channels": "DROP TABLE {schema}.model_notification_channels",
}


def gone(what: str) -> Fault:
    return lambda tracker, pool: sql(tracker, pool, GONE[what])


FAULTS: dict[str, tuple[Fault, str, str, str]] = {
    "no worker": (lambda t, p: open_run(t, 120), "training", "problem", "no worker was ever seen"),
    "no worker yet": (lambda t, p: open_run(t, 20), "training", "warning", "no worker was ever seen"),
    "busy worker": (run_with_worker, "training", "warning", "a worker is alive"),
    "lost lease": (lease_expired, "training", "warning", "1 running training runs have lost their lease"),
    "never delivered": (lambda t, p: open_alert_days_ago(t, 1), "outbox", "warning", "oldest for 24 h"),
    "no longer delivered": (outbox_was_delivered_once, "outbox", "problem", "1 of them are due"),
    "given up": (outbox_gave_up, "outbox", "warning", "1 notifications were given up"),
    "overdue": (overdue_test, "tests", "warning", "past its end"),
    "silent": (silent_deployment, "deployments", "warning", "1 of them without any evaluation"),
    "trigger off": (
        lambda t, p: sql(t, p, "ALTER TABLE {schema}.model_alerts DISABLE TRIGGER model_alerts_log"),
        "objects",
        "problem",
        "trigger model_alerts_log",
    ),
    **{f"no {what}": (gone(what), "objects", "problem", f"not there: {what}") for what in GONE},
    "newer": (
        lambda t, p: sql(t, p, "INSERT INTO {schema}.schema_migrations VALUES (9000, 'x', 'x', false)"),
        "schema",
        "warning",
        "9000 newer than this library",
    ),
    "broken ledger": (
        lambda t, p: sql(t, p, "UPDATE {schema}.schema_migrations SET sha256 = 'x' WHERE version = 1"),
        "schema",
        "problem",
        "migration 1",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_found(healthy: ModelPerformanceTracker, pool: asyncpg.Pool, fault: str) -> None:
    """By its own check, with what mends it; all other checks say what they said before."""
    make, check, status, text = FAULTS[fault]
    before = {name: worst(await healthy.diagnose(), name) for name in CHECKS}
    await make(healthy, pool)
    diagnosis = await ModelPerformanceTracker(pool, schema=healthy.schema).diagnose()
    said = [finding for finding in found(diagnosis, check) if text in finding.message]
    assert [finding.status for finding in said] == [status]
    if status != "ok":
        assert said[0].mend
    others = {name: worst(diagnosis, name) for name in CHECKS if name != check}
    expected = {name: before[name] for name in others}
    if fault == "broken ledger":  # where nothing may be trusted, nothing is called ok
        assert set(others.values()) - {"ok"} == {"unknown"}
        assert others["server"] == "ok"
    else:
        assert others == expected


async def test_bloat_and_missing_statistics_are_told(healthy: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """20,000 rows, deleted and never vacuumed, that nobody has analyzed."""
    table = f"{healthy.schema}.model_workers"
    await pool.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    await pool.execute(
        f"INSERT INTO {table} (worker, model_types, started_at, seen_at)"
        " SELECT i::text, '{}', now(), now() FROM generate_series(1, 40000) i"
    )
    await pool.execute(f"DELETE FROM {table} WHERE worker::int > 20000")
    async with pool.acquire() as connection:
        while (
            await connection.fetchval(
                "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = $1::text::regclass", table
            )
            != 20_000
        ):
            await connection.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.2)")
    messages = [finding.message for finding in found(await healthy.diagnose(), "tables")]
    assert messages == [
        "model_workers: 20000 dead rows beside 20000 live ones",
        "model_workers: the planner has no statistics of it",
    ]
    await pool.execute(f"VACUUM ANALYZE {table}")
    assert worst(await healthy.diagnose(), "tables") == "ok"


@pytest.mark.parametrize(("seconds", "status"), [(0.0, "ok"), (5.0, "warning"), (-5.0, "warning"), (60.0, "problem")])
async def test_clocks_that_differ_are_told(
    healthy: ModelPerformanceTracker, pool: asyncpg.Pool, seconds: float, status: str
) -> None:
    """Of a process whose clock is so many seconds ahead."""
    skewed = ModelPerformanceTracker(pool, schema=healthy.schema, clock=lambda: now() + timedelta(seconds=seconds))
    [finding] = [each for each in found(await skewed.diagnose(), "server") if "clock" in each.message]
    assert finding.status == status
    assert f"{-seconds:+.1f}"[:2] in finding.message or not seconds


async def test_nothing_there_is_unknown_or_worse(pool: asyncpg.Pool, schema: str) -> None:
    """Without tables: the schema is the problem, the rest is unknown, and the server is well."""
    diagnosis = await ModelPerformanceTracker(pool, schema=schema).diagnose()
    assert diagnosis.status == worst(diagnosis, "schema") == "problem"
    assert {worst(diagnosis, name) for name in CHECKS if name not in ("server", "schema")} == {"unknown"}
    assert worst(diagnosis, "server") == "ok"


async def test_an_empty_installation_is_unknown(tracker: ModelPerformanceTracker) -> None:
    """No deployment: nobody can say that the models are well."""
    assert (await tracker.diagnose()).status == "unknown"


async def test_no_server_is_a_problem() -> None:
    """One look, not one for each check; and all that could not be looked at is unknown."""

    class NoServer:
        def acquire(self, *, timeout: float | None = None) -> object:
            raise OSError("connection refused")

    tracker = ModelPerformanceTracker(NoServer())  # type: ignore[arg-type]
    with pytest.raises((StorageError, OSError)):
        await record(tracker, make_evaluation())
    diagnosis = await tracker.diagnose()
    assert diagnosis.status == worst(diagnosis, "server") == "problem"
    assert {worst(diagnosis, name) for name in CHECKS if name != "server"} == {"unknown"}


async def test_a_locked_table_does_not_hold_up_the_rest(
    healthy: ModelPerformanceTracker, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has to do with is unknown, with the question that finds who holds it; the connection goes on."""
    monkeypatch.setattr(_diagnosis, "PATIENCE_S", 0.5)
    before = {name: worst(await healthy.diagnose(), name) for name in CHECKS}
    async with pool.acquire() as holder, holder.transaction():
        await holder.execute(f"LOCK TABLE {healthy.schema}.model_notifications IN ACCESS EXCLUSIVE MODE")
        diagnosis = await asyncio.wait_for(healthy.diagnose(), 20)
    [finding] = found(diagnosis, "outbox")
    assert (finding.status, finding.message) == ("unknown", "no answer within 0.5 s")
    assert "pg_blocking_pids" in str(finding.mend)
    # The size of a table waits for its lock too.
    assert {name: worst(diagnosis, name) for name in CHECKS} == before | {"outbox": "unknown", "tables": "unknown"}
    assert {name: worst(await healthy.diagnose(), name) for name in CHECKS} == before


async def test_read_only_transactions_are_a_problem(healthy: ModelPerformanceTracker, database: str) -> None:
    """As a managed server sets it when its disk is full: the rights are there, and nothing can be written."""
    settings = {"default_transaction_read_only": "on"}
    async with asyncpg.create_pool(database, min_size=1, max_size=1, server_settings=settings) as pool:
        tracker = ModelPerformanceTracker(pool, schema=healthy.schema)
        with pytest.raises(StorageError, match="read-only"):
            await record(tracker, make_evaluation())
        diagnosis = await tracker.diagnose()
    assert worst(diagnosis, "server") == "problem"
    assert any("read-only" in finding.message for finding in found(diagnosis, "server"))


async def test_a_pooler_between_is_seen(healthy: ModelPerformanceTracker, database: str) -> None:
    """With asyncpg's cache on it is a warning, with the cache off it is well."""
    with pgbouncer(database) as dsn:
        for size, status in ((100, "warning"), (0, "ok")):
            async with asyncpg.create_pool(dsn, min_size=1, max_size=1, statement_cache_size=size) as pool:
                diagnosis = await ModelPerformanceTracker(pool, schema=healthy.schema).diagnose()
            [finding] = [each for each in found(diagnosis, "server") if "pooler" in each.message]
            assert (finding.status, "there is a pooler" in finding.message) == (status, True)


async def test_each_role_is_told_what_it_may(roles: Roles) -> None:  # noqa: F811 - a fixture
    """Writer: well. Reader: reads only, which is a warning. Pruner: the same. Owner: may forge the log."""
    said = {kind: found(await roles[kind].diagnose(), "rights") for kind in KINDS}
    assert [finding.status for finding in said["writer"]] == ["ok", "ok"]
    assert "may not prune" in said["writer"][0].message
    assert [finding.status for finding in said["reader"]] == ["warning", "ok"]
    assert "may prune" in said["pruner"][0].message
    assert [finding.status for finding in said["owner"]] == ["ok", "warning"]


@pytest.mark.parametrize(
    "right", ["TRIGGER ON {schema}.model_notifications", "EXECUTE ON FUNCTION {schema}.model_alerts_log()"]
)
async def test_a_writer_that_could_forge_the_log_is_told(
    roles: Roles,  # noqa: F811
    pool: asyncpg.Pool,
    right: str,
) -> None:
    """By a trigger of its own, or with that of the log: until the script has taken the right away."""
    await pool.execute(f"GRANT {right.format(schema=roles.schema)} TO {roles.names['writer']}")
    [_, log] = found(await roles["writer"].diagnose(), "rights")
    assert (log.status, "could forge" in log.message) == ("warning", True)
    await pool.execute(migration_sql(roles.schema, since=NEWEST, **roles.names))
    assert worst(await roles["writer"].diagnose(), "rights") == "ok"


async def test_half_a_writer_is_a_problem(roles: Roles, pool: asyncpg.Pool) -> None:  # noqa: F811
    """A table that was left out of the grants is named."""
    await pool.execute(f"REVOKE INSERT ON {roles.schema}.model_champions FROM {roles.names['writer']}")
    [first, _] = found(await roles["writer"].diagnose(), "rights")
    assert (first.status, "model_champions" in first.message) == ("problem", True)
    await pool.execute(f"REVOKE SELECT ON {roles.schema}.models FROM {roles.names['writer']}")
    diagnosis = await roles["writer"].diagnose()
    assert found(diagnosis, "rights")[0].message == "this role may not read models"
    assert worst(diagnosis, "deployments") == "unknown"
    assert worst(diagnosis, "tests") == "ok"


async def test_a_host_goes_on_after_a_diagnosis_that_failed(
    roles: Roles,  # noqa: F811
    pool: asyncpg.Pool,
) -> None:
    """Bound, what may not be read leaves the host's transaction usable."""
    await pool.execute(f"REVOKE SELECT ON {roles.schema}.models FROM {roles.names['writer']}")
    async with roles.pools["writer"].acquire() as connection, connection.transaction():
        diagnosis = await roles["writer"].bind(connection).diagnose()
        assert worst(diagnosis, "deployments") == "unknown"
        assert await connection.fetchval("SELECT 1") == 1


async def test_the_command(healthy: ModelPerformanceTracker, pool: asyncpg.Pool, database: str) -> None:
    """0 with a warning, 1 with a problem, 3 with something unknown; --json is one object of the same."""
    given = ("doctor", "--dsn", database, "--schema", healthy.schema)
    done = run(*given)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"schema {healthy.schema}: warning"
    await open_run(healthy, 120)
    done = run(*given)
    assert done.returncode == 1
    assert "problem  training" in done.stdout
    said = run(*given, "--json")
    assert said.returncode == 1
    assert json.loads(said.stdout)["status"] == "problem"
    await pool.execute(f"TRUNCATE {healthy.schema}.models, {healthy.schema}.model_training_history")
    assert run(*given).returncode == 3


async def test_the_command_prunes(timed: ModelPerformanceTracker, clock: Clock, database: str) -> None:
    """A dry run says what a prune does, which says what it did."""
    timed.policy = POLICY
    await live(timed, clock)
    days = (now() - on_day(130)) / timedelta(days=1)
    given = ("prune", "--dsn", database, "--schema", timed.schema, "--keep-days", f"{days}")
    dry, done, again = run(*given, "--dry-run"), run(*given, "--batch", "10"), run(*given)
    assert (dry.returncode, done.returncode, again.returncode) == (0, 0, 0)
    assert dry.stdout.splitlines()[-1] == "dry run: nothing was deleted"
    assert (
        dry.stdout.splitlines()[0].split()
        == done.stdout.splitlines()[0].split()
        == [
            "model_performance_metrics",
            "87",
        ]
    )
    assert again.stdout.splitlines()[0].split()[1] == "0"


@pytest.mark.parametrize("days", ["-1", "nan", "1e300", "x"])
def test_the_command_refuses_nonsense(days: str, database: str) -> None:
    """The future, and what is no number of days; nothing is deleted."""
    done = run("prune", "--dsn", database, f"--keep-days={days}")
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
