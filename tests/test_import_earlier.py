"""The import of an earlier installation, on a real one: what comes over, what is listed, what is left as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from attrs import evolve
from tests.earlier_installation import (
    BAD_ROWS,
    MACHINE,
    MODEL,
    TABLES,
    create_earlier,
    parsed,
    read_rows,
    same,
    statements,
)
from tests.faults.every_call import check_json
from tests.faults.test_host_codecs import set_all
from tests.repos.contents import read_contents

from model_perf import (
    ConflictError,
    ImportReport,
    InvalidInputError,
    ModelPerformanceTracker,
    ModelRef,
    NotFoundError,
    StorageError,
)
from model_perf.repos import _earlier_source

COLUMN_OF = {
    "model_performance_metrics": {"precision_score": "precision", "recall_score": "recall"},
    "model_training_history": {"training_samples": "sample_count"},
    "model_ab_tests": {"traffic_split_b": "traffic_split"},
    "model_alerts": {"resolved_at": "resolved_timestamp", "resolution_action": "resolution"},
}
JUDGED = {"drift_detected", "drift_score", "drift_threshold", "drift_details"}
NO_COLUMN: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "winner_model_id": lambda new: new["model_b_id"] if new["winner_model"] == "model_b" else None,
    "auto_action_type": lambda new: parsed(new["auto_action"]).get("type"),
    "auto_action_result": lambda new: parsed(new["auto_action"]).get("result"),
}
WORDS = {"normal": "info"}
NOTHING = (None, UUID(int=0), "imported: was running when it was copied")
REF = ModelRef(model_id=MODEL, model_type="baseline", model_version=3, machine_id=MACHINE)
START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
async def bad(pool: asyncpg.Pool, earlier: str) -> str:
    """The same with rows that ours cannot hold."""
    await pool.execute(statements(BAD_ROWS, earlier))
    return earlier


async def digest(pool: asyncpg.Pool, schema: str) -> list[str]:
    one = f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {schema}.{{}} t"
    return [await pool.fetchval(one.format(table)) for table in TABLES]


def counts(report: ImportReport) -> dict[str, tuple[int, int, int, int]]:
    return {one.table: (one.n_read, one.n_imported, one.n_already_there, len(one.rejected)) for one in report.tables}


def is_accounted(table: str, name: str, old: Any, new: Mapping[str, Any]) -> bool:
    """Whether an old value is in our column or, under its old name, in metadata.imported."""
    imported = parsed(new["metadata"])["imported"]
    if name in imported:
        return same(old, imported[name])
    home = NO_COLUMN[name](new) if name in NO_COLUMN else new.get(COLUMN_OF[table].get(name, name))
    if name in JUDGED:
        return old is None
    if old is None:
        return home in NOTHING or name in imported.get("filled_in", ())
    if name == "metadata":
        return bool(parsed(home) == parsed(old) | {"imported": imported})
    return same(WORDS.get(old, old) if isinstance(old, str) else old, home)


async def test_every_value_of_every_row_is_accounted_for(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """Each old value stands in our column or in metadata.imported, for every column of every row."""
    report = await tracker.import_earlier(earlier)
    assert counts(report) == {table: (n, n, 0, 0) for table, n in zip(TABLES, (42, 4, 5, 4), strict=True)}
    for table in TABLES:
        old, new = await read_rows(pool, earlier, table), await read_rows(pool, tracker.schema, table)
        assert old.keys() == new.keys()
        lost = [
            (table, row["id"], name, value)
            for number, row in old.items()
            for name, value in row.items()
            if not is_accounted(table, name, value, new[number])
        ]
        assert lost == []


async def test_a_second_import_finds_everything_there(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """Imported twice: nothing is written, every row is already there."""
    first = await tracker.import_earlier(earlier)
    stored = await read_contents(pool, tracker.schema)
    second = await tracker.import_earlier(earlier)
    assert counts(second) == {name: (n, 0, n, 0) for name, (n, *_) in counts(first).items()}
    assert await read_contents(pool, tracker.schema) == stored


async def test_the_import_needs_only_select_on_the_source(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, database: str, earlier: str
) -> None:
    """A role that may read the source and nothing else there imports it, and every old row is as it was."""
    role, before = f"reader_{uuid4().hex[:8]}", await digest(pool, earlier)
    await pool.execute(
        f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA {earlier}, {tracker.schema} TO {role};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {earlier} TO {role};"
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {tracker.schema} TO {role}"
    )
    try:
        async with asyncpg.create_pool(database, min_size=1, max_size=2, server_settings={"role": role}) as own:
            reader = ModelPerformanceTracker(own, schema=tracker.schema)
            assert (await reader.import_earlier(earlier)).n_imported == 55
            await pool.execute(f"REVOKE SELECT ON {earlier}.model_alerts FROM {role}")
            with pytest.raises(StorageError, match="SELECT on its tables"):
                await reader.import_earlier(earlier)
    finally:
        await pool.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert await digest(pool, earlier) == before


async def test_bad_rows_are_listed_and_the_good_ones_of_their_batch_arrive(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, bad: str
) -> None:
    """Each row that ours could not hold is listed with its id and what is wrong, and no other row is lost."""
    report = await tracker.import_earlier(bad)
    wanted_counts = ((49, 42, 0, 7), (5, 4, 0, 1), (7, 5, 0, 2), (6, 4, 0, 2))
    assert counts(report) == dict(zip(TABLES, wanted_counts, strict=True))
    told = {row.id: row.reason for row in report.rejected}
    wanted = {
        "r2": "r_squared",
        "nan": "r_squared: nan",
        "rmse": "rmse",
        "complete": "data_completeness",
        "none": "metrics: is empty",
        "window": "model_performance_metrics_window",
        "type": "models_one_type_per_model",
        "status": "training_status: 'exploded'",
        "arms": "model_ab_tests_two_models",
        "ends": "model_ab_tests_window",
        "when": "model_alerts_resolved",
        "typeless": "model_type",
    }
    ids = {name: str(UUID(md5(name.encode()).hexdigest())) for name in wanted}
    assert told.keys() == set(ids.values())
    assert [name for name, part in wanted.items() if part not in told[ids[name]]] == []


async def test_a_row_that_is_mended_arrives_with_the_next_import(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, bad: str
) -> None:
    """What was rejected is tried again by the next import."""
    await tracker.import_earlier(bad)
    await pool.execute(f"UPDATE {bad}.model_alerts SET resolved_at = alert_timestamp WHERE is_resolved")
    report = await tracker.import_earlier(bad)
    assert counts(report)["model_alerts"] == (6, 1, 4, 1)


@pytest.mark.parametrize("replace", [False, True])
async def test_a_dry_run_tells_the_truth_and_leaves_nothing(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, bad: str, replace: bool
) -> None:
    """A dry run counts and lists what the import then counts and lists, and no table has changed."""
    before, source = await read_contents(pool, tracker.schema), await digest(pool, bad)
    dry = await tracker.import_earlier(bad, dry_run=True, replace_with_views=replace)
    assert await read_contents(pool, tracker.schema) == before
    assert await digest(pool, bad) == source
    done = await tracker.import_earlier(bad, replace_with_views=replace)
    assert evolve(dry, dry_run=False) == done


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
async def test_naive_timestamps_are_read_in_the_zone_that_is_given(
    tracker: ModelPerformanceTracker, database: str, pool: asyncpg.Pool, schema: str, zone: str
) -> None:
    """Timestamps without a zone are those of time_zone, whatever the session's zone is."""
    name = f"{schema}_earlier"
    async with asyncpg.create_pool(
        database, min_size=1, max_size=2, server_settings={"TimeZone": "Pacific/Auckland"}
    ) as far:
        try:
            await create_earlier(far, name, time="timestamp")
            await ModelPerformanceTracker(far, schema=schema).import_earlier(name, time_zone=zone)
            old = await read_rows(pool, name, TABLES[0])
            new = await read_rows(pool, schema, TABLES[0])
            for number, row in old.items():
                moment = row["evaluation_date"].replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
                assert new[number]["evaluation_date"] == moment
        finally:
            await pool.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


async def test_another_time_zone_cannot_bring_the_evaluations_in_twice(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, schema: str
) -> None:
    """A repeat that would shift the dates, which are part of the key, is refused."""
    name = f"{schema}_earlier"
    try:
        await create_earlier(pool, name, time="timestamp")
        await tracker.import_earlier(name)
        stored = await read_contents(pool, tracker.schema)
        with pytest.raises(ConflictError, match="time_zone of the first"):
            await tracker.import_earlier(name, time_zone="Asia/Tokyo")
        assert await read_contents(pool, tracker.schema) == stored
    finally:
        await pool.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


async def test_an_import_that_broke_off_is_completed_by_the_next(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches before the failure stay, and the repeat brings the rest in."""
    monkeypatch.setattr(_earlier_source, "BATCH_ROWS", 10)
    # The third batch meets a constraint of the host's that fails like a server that goes away.
    await pool.execute(
        f"CREATE FUNCTION {tracker.schema}.leave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF (SELECT count(*) FROM {tracker.schema}.model_performance_metrics) >= 20 THEN "
        "PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NEW; END $$;"
        f"CREATE TRIGGER leave BEFORE INSERT ON {tracker.schema}.model_performance_metrics "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {tracker.schema}.leave()"
    )
    with pytest.raises(StorageError) as lost:
        await tracker.import_earlier(earlier)
    assert lost.value.retry_safe
    assert await pool.fetchval(f"SELECT count(*) FROM {tracker.schema}.model_performance_metrics") == 20
    await pool.execute(f"DROP TRIGGER leave ON {tracker.schema}.model_performance_metrics")
    report = await tracker.import_earlier(earlier)
    assert counts(report)[TABLES[0]] == (42, 22, 20, 0)


async def test_a_hosts_codecs_change_nothing(
    tracker: ModelPerformanceTracker, database: str, pool: asyncpg.Pool, earlier: str
) -> None:
    """On a pool with codecs for jsonb and uuid the same rows arrive, as objects."""
    async with asyncpg.create_pool(database, min_size=1, max_size=2, init=set_all, statement_cache_size=0) as own:
        report = await ModelPerformanceTracker(own, schema=tracker.schema).import_earlier(earlier)
    assert report.n_imported == 55
    async with pool.acquire() as connection:
        assert await check_json(connection, tracker.schema) >= 8
    assert (await tracker.import_earlier(earlier)).n_imported == 0


async def test_imported_history_is_judged_and_has_a_trend(tracker: ModelPerformanceTracker, earlier: str) -> None:
    """Imported evaluations are a baseline, their names are known, and the last one gets a verdict."""
    await tracker.import_earlier(earlier)
    (model,) = [each for each in (await tracker.list_models()).items if each.ref == REF]
    assert model.machine_name == "press 7"
    assert {e.verdict for e in (await tracker.metrics.list_evaluations(REF, since=START, until=END)).items} == {
        "not_judged"
    }
    report = await tracker.check_drift(REF)
    assert report.verdict == "ok"
    trend = await tracker.trend(REF, metric="rmse", since=START, until=END)
    assert (len(trend.points), trend.direction) == (39, "stable")


async def test_imported_tests_answer_what_was_declared(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """The declared winner is the answer; a test past its end has none, one that runs goes on."""
    await tracker.import_earlier(earlier)
    found = {
        test.test_name: await tracker.ab_test_results(test.id) for test in (await tracker.ab_tests.list_tests()).items
    }
    told = {name: (each.test_status, each.decision, each.winner) for name, each in found.items()}
    assert told == {
        "a or b": ("completed", "superior_b", "model_b"),
        "forgotten": ("completed", "undecided", "no_winner"),
        "same id": ("completed", "undecided", "no_winner"),
        "open": ("running", "undecided", "no_winner"),
        "cancelled": ("cancelled", "undecided", "no_winner"),
    }
    assert found["a or b"].reason == "imported: b is better"
    assert found["a or b"].model_b_metrics == {"rmse": 9.5}


async def test_runs_that_were_open_arrive_as_failed(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """No worker can claim an imported run; an error message of its own is kept."""
    await tracker.import_earlier(earlier)
    runs = {run.triggered_by: run for run in (await tracker.training.list_runs()).items if run.sample_count is None}
    assert {(run.training_status, run.error_message) for run in runs.values()} == {
        ("failed", "imported: was running when it was copied"),
        ("failed", "no slot"),
    }
    assert await tracker.training.claim("worker", lease=timedelta(hours=1)) is None


async def test_alerts_that_are_open_stay_open(tracker: ModelPerformanceTracker, earlier: str) -> None:
    """Two open alerts of one kind both come over, and can be resolved."""
    await tracker.import_earlier(earlier)
    first, second = await tracker.active_alerts()
    assert (first.severity, first.fingerprint, second.severity) == ("critical", f"imported:{first.id}", "warning")
    assert first.auto_action == {"type": "retrain", "result": {"run": 5}}
    assert (await tracker.resolve_alert(first.id)).is_resolved


async def test_columns_that_an_installation_lacks_are_assumed_and_told(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """Without windows and versions a day and version 1 are assumed; columns of the host's own are kept."""
    await pool.execute(
        f"ALTER TABLE {earlier}.model_performance_metrics DROP COLUMN evaluation_start, DROP COLUMN evaluation_end,"
        "DROP COLUMN model_version, ADD COLUMN shift text DEFAULT 'late'"
    )
    report = await tracker.import_earlier(earlier)
    assert [note for note in report.notes if "evaluation_start is missing in 42 of the rows" in note]
    page = await tracker.metrics.list_evaluations(evolve(REF, model_version=1), since=START, until=END)
    (day,) = {e.evaluation_end - e.evaluation_start for e in page.items}
    assert day == timedelta(days=1)
    imported = page.items[0].metadata["imported"]
    assert isinstance(imported, dict)
    assert imported["shift"] == "late"
    assert {"evaluation_start", "evaluation_end", "model_version"} <= set(imported["filled_in"])


async def test_an_installation_without_some_tables_is_imported(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """A table that is not there is told, and the others arrive; without machines there are no names."""
    await pool.execute(f"DROP TABLE {earlier}.model_ab_tests, {earlier}.machines CASCADE")
    report = await tracker.import_earlier(earlier)
    assert f"{earlier}.model_ab_tests is not there" in report.notes
    assert len(report.tables) == 3


async def test_what_cannot_be_imported_is_refused_by_name(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier: str
) -> None:
    """Its own schema, another one of model_perf, none of the tables, an unknown zone, a bound tracker."""
    with pytest.raises(InvalidInputError, match=r"source: .* schema of this tracker"):
        await tracker.import_earlier(tracker.schema)
    with pytest.raises(InvalidInputError, match=r"source: .* is a table of model_perf"):
        await ModelPerformanceTracker(pool, schema=await other_schema(pool, earlier)).import_earlier(tracker.schema)
    with pytest.raises(NotFoundError, match="none of the tables"):
        await tracker.import_earlier("nowhere")
    with pytest.raises(InvalidInputError, match="time_zone"):
        await tracker.import_earlier(earlier, time_zone="Mars/Olympus")
    async with pool.acquire() as connection, connection.transaction():
        with pytest.raises(StorageError, match="not on bind"):
            await tracker.bind(connection).import_earlier(earlier)


async def other_schema(pool: asyncpg.Pool, earlier: str) -> str:
    await pool.execute(f"DROP SCHEMA {earlier} CASCADE")
    await ModelPerformanceTracker(pool, schema=earlier).migrate()
    return earlier
