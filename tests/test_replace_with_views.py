"""Views in the place of the earlier tables: boards go on working, or nothing has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from tests.earlier_installation import MACHINE, TABLES, create_earlier, read_rows, same
from tests.factories import make_evaluation, make_ref
from tests.writers import record

from model_perf import ConflictError, ModelPerformanceTracker, StorageError
from model_perf.repos import _earlier_replacing

# What arrives in another state, by the rules of the import.
CHANGED = {"training_status", "error_message", "test_status"}
BOARDS = (
    "SELECT model_type, count(*), avg(r_squared), max(rmse), sum(true_positives) FROM {s}.model_performance_metrics"
    " WHERE machine_id = '{machine}' AND evaluation_date >= '2024-01-05' GROUP BY model_type ORDER BY 1",
    "SELECT severity, count(*) FROM {s}.model_alerts WHERE severity = 'normal' OR NOT is_resolved"
    " GROUP BY 1 ORDER BY 1",
    "SELECT id, array_length(feature_names, 1), training_samples, trigger_type, hyperparameters ->> 'depth'"
    " FROM {s}.model_training_history WHERE training_status = 'completed'",
    "SELECT test_name, winner_model_id, traffic_split_a, model_a_metrics ->> 'rmse' FROM {s}.model_ab_tests"
    " WHERE winner_model_id IS NOT NULL ORDER BY 1",
    "SELECT * FROM {s}.v_latest_model_performance ORDER BY model_type, machine_id",
    "SELECT * FROM {s}.v_active_ab_tests ORDER BY id",
    "SELECT * FROM {s}.v_unresolved_model_alerts",
    "SELECT * FROM {s}.worst_machines",
)
HOST_VIEW = """
CREATE VIEW {s}.worst_machines WITH (security_barrier=true) AS
SELECT l.machine_name, count(a.id) AS open_alerts, min(l.r_squared) AS r_squared
FROM {s}.v_latest_model_performance l JOIN {s}.v_unresolved_model_alerts a USING (machine_name) GROUP BY l.machine_name;
COMMENT ON VIEW {s}.worst_machines IS 'The host''s own';
"""


@asynccontextmanager
async def nothing_changed(pool: asyncpg.Pool, schema: str) -> AsyncIterator[None]:
    """Fails if the block renamed, made or dropped anything in *schema*."""
    query = "SELECT oid, relname::text, relkind, relacl::text FROM pg_class WHERE relnamespace = $1::regnamespace"
    before = sorted(map(tuple, await pool.fetch(query, schema)))
    yield
    assert sorted(map(tuple, await pool.fetch(query, schema))) == before


async def read_boards(pool: asyncpg.Pool, schema: str) -> list[list[dict[str, Any]]]:
    return [[dict(row) for row in await pool.fetch(board.format(s=schema, machine=MACHINE))] for board in BOARDS]


def differences(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [
        (number, name)
        for number, row in old.items()
        for name, value in row.items()
        if not same(value, new[number][name])
    ]


async def test_the_views_hold_every_value_of_the_old_tables(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """Row by row and column by column, in the old order, what the table held; states excepted that an import ends."""
    before = {table: await read_rows(pool, earlier, table) for table in TABLES}
    report = await tracker.import_earlier(earlier, replace_with_views=True)
    assert report.replaced == TABLES
    for table in TABLES:
        after = await read_rows(pool, earlier, table)
        assert after.keys() == before[table].keys()
        assert [list(row) for row in after.values()] == [list(row) for row in before[table].values()]
        assert {name for _, name in differences(before[table], after)} <= CHANGED
        assert await read_rows(pool, earlier, f"{table}_imported") == before[table]


async def test_boards_answer_the_same_before_and_after(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """Queries on the tables, the installation's views and a host's view on top of those."""
    await pool.execute(HOST_VIEW.format(s=earlier))
    await pool.execute(f"UPDATE {earlier}.model_ab_tests SET test_status = 'completed' WHERE test_name = 'forgotten'")
    before = await read_boards(pool, earlier)
    await tracker.import_earlier(earlier, replace_with_views=True)
    assert await read_boards(pool, earlier) == before
    name = f"{earlier}.worst_machines"
    assert await pool.fetchval("SELECT obj_description($1::text::regclass, 'pg_class')", name) == "The host's own"
    assert await pool.fetchval("SELECT reloptions FROM pg_class WHERE oid = $1::text::regclass", name) == [
        "security_barrier=true"
    ]


async def test_rows_recorded_later_appear_in_the_views(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """An R² that the old DECIMAL could not hold, an alert of severity info, a run and a test."""
    await tracker.import_earlier(earlier, replace_with_views=True)
    ref = make_ref(machine="press")
    stored = await record(tracker, make_evaluation(ref, metrics={"r_squared": -15.2, "precision": 0.5}))
    await tracker.alerts.open_or_repeat(ref, alert_type="own", severity="info", message="look")
    await tracker.trigger_retraining(model_type="other", machine_id=MACHINE, trigger_type="drift")
    test = await tracker.start_ab_test(
        name="new",
        model_a=make_ref("c", model_type="third"),
        model_b=make_ref("d", model_type="third"),
        traffic_split=0.3,
    )
    seen = (await read_rows(pool, earlier, TABLES[0]))[str(stored.evaluation.id)]
    assert (seen["r_squared"], seen["precision_score"], seen["sample_count"]) == (
        Decimal("-15.2"),
        Decimal("0.5"),
        1008,
    )
    assert seen["true_positives"] is None
    assert (
        await pool.fetchval(f"SELECT severity::text FROM {earlier}.model_alerts WHERE alert_type = 'own'") == "normal"
    )
    run = await pool.fetchrow(f"SELECT * FROM {earlier}.model_training_history WHERE model_type = 'other'")
    assert (run["trigger_type"], run["training_status"]) == ("drift_detected", "pending")
    shares = (await read_rows(pool, earlier, TABLES[2]))[str(test.id)]
    assert (shares["traffic_split_a"], shares["traffic_split_b"]) == (Decimal("0.7"), Decimal("0.3"))


async def test_a_verdict_that_is_judged_later_is_what_a_board_sees(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """drift_detected is ours once an evaluation is judged, and theirs until then."""
    await tracker.import_earlier(earlier, replace_with_views=True)
    query = f"""SELECT (o.drift_detected, n.verdict = 'critical', i.drift_detected)::text
        FROM {earlier}.model_performance_metrics o JOIN {tracker.schema}.model_performance_metrics n USING (id)
        JOIN {earlier}.model_performance_metrics_imported i USING (id)
        WHERE i.drift_detected AND n.verdict IN ('ok', 'warning', 'critical', 'not_judged') GROUP BY 1"""
    assert [row[0] for row in await pool.fetch(query)] == ["(t,f,t)"]
    for model in (await tracker.list_models()).items:
        await tracker.judge(model.ref)
    assert [row[0] for row in await pool.fetch(query)] == ["(f,f,t)"]


async def test_who_could_read_the_tables_can_read_the_views(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, database: str, earlier: str
) -> None:
    """SELECT on a table, on a view of the installation and on single columns stays what it was, and no more."""
    role = f"board_{uuid4().hex[:8]}"
    await pool.execute(
        f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA {earlier} TO {role};"
        f"GRANT SELECT ON {earlier}.model_alerts, {earlier}.v_latest_model_performance TO {role};"
        f"GRANT SELECT (id, test_name) ON {earlier}.model_ab_tests TO {role};"
        f"GRANT SELECT ON {earlier}.model_training_history TO PUBLIC"
    )
    try:
        await tracker.import_earlier(earlier, replace_with_views=True)
        async with asyncpg.create_pool(database, min_size=1, max_size=1, server_settings={"role": role}) as board:
            for what in (
                "* FROM {s}.model_alerts",
                "* FROM {s}.v_latest_model_performance",
                "test_name FROM {s}.model_ab_tests",
                "* FROM {s}.model_training_history",
            ):
                assert await board.fetch(f"SELECT {what.format(s=earlier)}")
            for what in ("* FROM {s}.model_performance_metrics", "decision FROM {s}.model_ab_tests"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await board.fetch(f"SELECT {what.format(s=earlier)}")
    finally:
        await pool.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
async def test_naive_timestamps_come_back_as_they_were(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, schema: str, zone: str
) -> None:
    """The views give local times without a zone where the tables did."""
    name = f"{schema}_earlier"
    try:
        await create_earlier(pool, name, time="timestamp")
        before = await read_rows(pool, name, TABLES[0])
        await tracker.import_earlier(name, replace_with_views=True, time_zone=zone)
        assert differences(before, await read_rows(pool, name, TABLES[0])) == []
    finally:
        await pool.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


async def write_meanwhile(tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str, resolved: bool) -> None:
    """As the old application would: a row comes in after the import has read its table."""
    insert = (
        f"INSERT INTO {earlier}.model_alerts (id, alert_type, model_type, alert_message, alert_timestamp, is_resolved)"
        f" VALUES (md5(''late'')::uuid, ''drift'', ''baseline'', ''late'', ''2024-03-01'', {resolved})"
        " ON CONFLICT DO NOTHING"
    )
    await pool.execute(
        f"CREATE FUNCTION {tracker.schema}.meanwhile() RETURNS trigger LANGUAGE plpgsql AS "
        f"'BEGIN {insert}; RETURN NULL; END';"
        f"CREATE TRIGGER meanwhile AFTER INSERT ON {tracker.schema}.model_alerts "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {tracker.schema}.meanwhile()"
    )


async def test_what_came_in_meanwhile_is_copied_under_the_lock(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """A row written after its table was read is in the views all the same."""
    await write_meanwhile(tracker, pool, earlier, resolved=False)
    report = await tracker.import_earlier(earlier, replace_with_views=True)
    assert (report.tables[3].n_read, report.tables[3].n_imported, report.replaced) == (5, 5, TABLES)
    assert await pool.fetchval(f"SELECT count(*) FROM {earlier}.model_alerts WHERE alert_message = 'late'") == 1


async def test_a_bad_row_that_came_in_meanwhile_stops_the_replacement(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """It is listed, and the tables stay."""
    await write_meanwhile(tracker, pool, earlier, resolved=True)
    async with nothing_changed(pool, earlier):
        report = await tracker.import_earlier(earlier, replace_with_views=True)
    assert (len(report.rejected), report.replaced) == (1, ())
    assert [note for note in report.notes if "were not replaced" in note]


async def test_a_second_call_says_that_the_tables_are_views(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """Asked again, with or without views, it does nothing and says why."""
    await tracker.import_earlier(earlier, replace_with_views=True)
    for replace in (False, True):
        async with nothing_changed(pool, earlier):
            report = await tracker.import_earlier(earlier, replace_with_views=replace)
        assert (report.n_imported, report.rejected, report.replaced) == (0, (), ())
        assert [note for note in report.notes if "is a view already" in note and "model_alerts_imported" in note]


async def test_a_dry_run_of_the_replacement_leaves_nothing(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """It says what would be replaced, and everything is as it was."""
    async with nothing_changed(pool, earlier):
        report = await tracker.import_earlier(earlier, dry_run=True, replace_with_views=True)
    assert report.replaced == TABLES
    assert (await tracker.list_models()).items == ()


async def test_the_renamed_tables_can_be_dropped(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """The views stand on our tables alone."""
    await tracker.import_earlier(earlier, replace_with_views=True)
    await pool.execute("; ".join(f"DROP TABLE {earlier}.{table}_imported" for table in TABLES))
    assert len(await read_rows(pool, earlier, "model_alerts")) == 4


async def test_a_table_in_use_is_not_waited_for_long(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a long query of somebody else it gives up, says so, and a repeat is safe."""
    monkeypatch.setattr(_earlier_replacing, "LOCK_TIMEOUT_S", 0.2)
    async with pool.acquire() as other, nothing_changed(pool, earlier), other.transaction():
        await other.execute(f"SELECT FROM {earlier}.model_alerts LIMIT 1")
        with pytest.raises(StorageError, match="gave up waiting") as waited:
            await tracker.import_earlier(earlier, replace_with_views=True)
        assert waited.value.retry_safe
    assert (await tracker.import_earlier(earlier, replace_with_views=True)).replaced == TABLES


REFUSED = {
    "a view that groups by the key": (
        "CREATE VIEW {s}.grouped AS SELECT id, alert_message, count(*) AS n FROM {s}.model_alerts GROUP BY id",
        r"grouped cannot be replaced or made anew",
    ),
    "a materialized view": (
        "CREATE MATERIALIZED VIEW {s}.stored AS SELECT count(*) AS n FROM {s}.model_alerts",
        r"materialized view \S*stored",
    ),
    "a view with a rule": (
        "CREATE VIEW {s}.ruled AS SELECT id FROM {s}.model_alerts;"
        "CREATE RULE r AS ON DELETE TO {s}.ruled DO INSTEAD NOTHING",
        r"view \S*ruled has triggers or rules",
    ),
    "a function that gives rows of a view": (
        "CREATE FUNCTION {s}.latest() RETURNS SETOF {s}.v_latest_model_performance LANGUAGE sql"
        " AS 'SELECT * FROM {s}.v_latest_model_performance'",
        r"v_latest_model_performance cannot be replaced",
    ),
    "a name that is taken": ("CREATE TABLE {s}.model_alerts_imported (x int)", r"model_alerts_imported exists already"),
    "policies": ("ALTER TABLE {s}.model_alerts ENABLE ROW LEVEL SECURITY", r"model_alerts has row level security"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_would_be_lost_stops_the_replacement(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str, case: str
) -> None:
    """What cannot be made anew is named, and nothing is renamed."""
    statement, told = REFUSED[case]
    await pool.execute(statement.format(s=earlier))
    async with nothing_changed(pool, earlier):
        with pytest.raises(ConflictError, match=told):
            await tracker.import_earlier(earlier, replace_with_views=True)


async def test_who_does_not_own_the_tables_is_told(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, database: str, earlier: str
) -> None:
    """A role that may import and not rename keeps what it imported, and learns what is missing."""
    role = f"writer_{uuid4().hex[:8]}"
    await pool.execute(
        f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA {earlier}, {tracker.schema} TO {role};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {earlier} TO {role};"
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {tracker.schema} TO {role}"
    )
    try:
        async with asyncpg.create_pool(database, min_size=1, max_size=2, server_settings={"role": role}) as own:
            with pytest.raises(StorageError, match="must own them"):
                await ModelPerformanceTracker(own, schema=tracker.schema).import_earlier(
                    earlier, replace_with_views=True
                )
        assert (await tracker.import_earlier(earlier)).n_imported == 0
    finally:
        await pool.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
