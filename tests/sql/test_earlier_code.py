"""While deployments roll, processes of the release before work on the schema that this one has migrated.

Its statements are kept in ``version_4/`` as they were shipped with migrations 1 to 4.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.factories import START, make_id, make_ref

from model_perf import ModelPerformanceTracker, sql
from model_perf.sql import add_filters, load_migrations, load_queries
from model_perf.sql import migrate as migrating

STEMS = ("metrics", "training", "ab_tests", "alerts", "drift")
KEY = (make_ref().model_id, make_ref().model_version, make_ref().machine_id)
MODEL, VERSION, MACHINE = KEY
LATER = START + timedelta(days=1)


@pytest.fixture
def earlier_queries(monkeypatch: pytest.MonkeyPatch, tracker: ModelPerformanceTracker) -> dict[str, Mapping[str, str]]:
    """The named queries of the release before, for the tracker's schema."""
    with monkeypatch.context() as patch:
        patch.setattr(sql, "_folder", lambda: Path(__file__).parent / "version_4")
        return {stem: load_queries.__wrapped__(stem, tracker.schema) for stem in STEMS}


@pytest.fixture
async def earlier(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, earlier_queries: dict[str, Mapping[str, str]]
) -> AsyncIterator[Any]:
    """Runs a statement of the release before, by stem and name; its first row as a mapping."""
    async with pool.acquire() as connection:

        async def run(stem: str, name: str, *args: object) -> dict[str, Any]:
            row = await connection.fetchrow(earlier_queries[stem][name], *args)
            return {} if row is None else dict(row)

        yield run


async def test_every_statement_fits_the_new_schema(
    pool: asyncpg.Pool, earlier_queries: dict[str, Mapping[str, str]]
) -> None:
    """Each is prepared, lists with all of their columns too; none asks for what was renamed or taken away."""
    n = 0
    async with pool.acquire() as connection, connection.transaction():
        for queries in earlier_queries.values():
            if "create_staging" in queries:
                await connection.execute(queries["create_staging"])
            for query in queries.values():
                await connection.prepare(add_filters(query, []))
                n += 1
    assert n == 70


async def test_the_release_before_accepts_the_new_schema(
    monkeypatch: pytest.MonkeyPatch, pool: asyncpg.Pool, tracker: ModelPerformanceTracker
) -> None:
    """It knows four migrations, sees a newer one that breaks nothing, and goes on."""
    known = tuple(migration for migration in load_migrations() if migration.version <= 4)
    monkeypatch.setattr(migrating, "load_migrations", lambda: known)
    async with pool.acquire() as connection:
        status = await migrating.check(connection, tracker.schema)
    assert status.newer == tuple(m.version for m in load_migrations() if m.version > 4)
    assert not status.is_foreign


async def test_it_records_alerts_and_resolves(earlier: Any, tracker: ModelPerformanceTracker) -> None:
    """An evaluation with its alert and its run; what it does with the alert is logged for the new release to see."""
    alert, run = make_id("alert"), make_id("run")
    at = START.isoformat()
    alerts = [
        {
            "id": str(alert),
            "alert_type": "performance_degradation",
            "severity": "critical",
            "fingerprint": "f",
            "alert_message": "worse",
            "alert_timestamp": at,
            "alert_details": {},
            "current_metric_value": 2.0,
            "threshold_value": 1.5,
            "baseline_metric_value": 1.0,
        }
    ]
    runs = [
        {
            "id": str(run),
            "trigger_type": "degradation",
            "triggered_by": "policy",
            "reason": "worse",
            "max_attempts": 3,
        }
    ]
    state = await earlier("metrics", "fetch_state", *KEY)
    assert state["version"] is None
    written = await earlier(
        "metrics",
        "record_with_alerts",
        *(*KEY, LATER, make_id("evaluation"), "baseline", START, LATER, 100, 1.0),
        *(0.9, 2.0, None, None, None, None, None, "{}", True, 0.5, 0.1, "{}", "critical", "host", START, "{}"),
        *(0, "{}", json.dumps(alerts), json.dumps(runs)),
    )
    assert (written["inserted"], json.loads(written["alert"])["id"]) == (True, str(alert))
    assert json.loads(written["run"])["id"] == str(run)
    repeated = await earlier(
        "alerts",
        "open_or_repeat",
        *(make_id("other"), "performance_degradation", "critical", "baseline", MACHINE, MODEL, VERSION, "f", "worse"),
        *(LATER, "{}", 2.5, 1.5, 1.0, "{}"),
    )
    assert (repeated["id"], repeated["occurrences"]) == (alert, 2)
    assert (await earlier("alerts", "acknowledge", alert, "ana", LATER))["acknowledged_by"] == "ana"
    assert (await earlier("alerts", "resolve", alert, "manual", "ana", "seen", LATER))["is_resolved"]
    events = await tracker.pool.fetch(  # type: ignore[attr-defined]
        f"SELECT event, actor FROM {tracker.schema}.model_alert_events ORDER BY id"
    )
    assert [tuple(row) for row in events] == [("opened", None), ("acknowledged", "ana"), ("resolved", "ana")]
    assert (await tracker.alerts.fetch(alert)).resolution == "manual"


async def test_it_trains(earlier: Any, tracker: ModelPerformanceTracker) -> None:
    """A run that one release opened and claimed is finished by the other."""
    run = make_id("run")
    opened = await earlier(
        "training",
        "open_run",
        *(run, "baseline", MACHINE, MODEL, VERSION, "manual", "ana", None, None, None, "{}", 3, START, START, "{}"),
    )
    assert opened["triggered"]
    claimed = await earlier("training", "claim", "old worker", LATER, START)
    assert (claimed["id"], claimed["attempt"]) == (run, 1)
    assert (await earlier("training", "heartbeat", run, 1, LATER, 0.5))["progress"] == 0.5
    done = await tracker.training.complete(run, 1, model_version=2, sample_count=10)
    assert (done.training_status, done.model_version) == ("completed", 2)
    new, _ = await tracker.training.open_run(model_type="baseline", machine_id=MACHINE, now=START)
    claimed = await earlier("training", "claim", "old worker", LATER, START)
    assert claimed["id"] == new.id
    finished = await earlier(
        "training",
        "complete",
        *(new.id, 1, LATER, MODEL, 3, None, None, 10, 0.1, "{}", ["load"], "{}", "{}"),
    )
    assert finished["training_status"] == "completed"


async def test_it_compares(earlier: Any, tracker: ModelPerformanceTracker) -> None:
    """A test of the one is fed by the other and concluded by a look of the first."""
    test = make_id("test")
    started = await earlier(
        "ab_tests",
        "start",
        *(test, "name", "baseline", MACHINE, MODEL, 1, MODEL, 2, START, LATER, 0.5, '{"metric": "mae"}', None, START),
        "{}",
    )
    assert started["started"]
    cell = {"metric": "mae", "arm": "a", "slot": 0, "n": 2, "mean": 1.0, "m2": 0.5, "m3": 0.0}
    rest = {"covariate_mean": None, "covariate_m2": None, "covariate_cross": None}
    added = await earlier("ab_tests", "add_moments", test, make_id("batch"), START, 2, json.dumps([cell | rest]))
    assert (added["is_late"], added["is_repeat"]) == (False, False)
    assert (await tracker.ab_tests.fetch_moments(test))[0]["n"] == 2
    look = (test, START, 2, 0, "undecided", "too few", None, None, None, None, None, None)
    concluded = await earlier("ab_tests", "conclude_by_look", *look, "no_winner", "{}", "ana")
    assert concluded["test_status"] == "completed"
    assert (await tracker.ab_tests.fetch(test)).decided_by == "ana"


async def test_it_watches_data(earlier: Any, tracker: ModelPerformanceTracker) -> None:
    """A reference, and a stream's state, that the new release reads."""
    reference = make_id("reference")
    args = (*KEY, "baseline", "", reference, b"profile", 10, 1, "host", START, "data")
    assert (await earlier("drift", "set_reference", *args))["id"] == reference
    assert (await tracker.drift.fetch_reference(make_ref())).id == reference
    saved = await earlier("drift", "save_stream", *KEY, "baseline", "stream:error", 0, "{}", START)
    assert saved["version"] == 1
