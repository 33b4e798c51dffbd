"""The named queries: prepared against the migrated schema, used by their repository, served by their index."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.factories import START, make_id

import model_perf
from model_perf.errors import InvalidInputError
from model_perf.repos._bulk import _STAGED_AS_ARRAYS, _STAGED_AS_TABLE
from model_perf.sql import add_filters, load_migrations, load_queries, quote_schema

STEMS = (
    *("metrics", "training", "ab_tests", "alerts", "drift", "checks", "automation", "earlier", "operations"),
    *("workers", "champions", "notifications"),
)
NAMES = [(stem, name) for stem in STEMS for name in load_queries(stem, "model_perf")]
REPOS = Path(model_perf.__file__).parent / "repos"
USERS = {stem: [REPOS / f"{stem}.py"] for stem in STEMS} | {
    "metrics": [REPOS / "metrics.py", REPOS / "_bulk.py"],
    "earlier": [REPOS / "earlier.py", REPOS / "_earlier_replacing.py"],
}

FILTERS = {
    ("metrics", "list_models"): ("m__model_type", "m__machine_id", "m__model_id"),
    ("metrics", "list_fleet"): ("m__model_type", "m__machine_id"),
    ("training", "claim"): ("x__model_type",),
    ("training", "list_runs"): ("r__model_type", "r__machine_id"),
    ("ab_tests", "list_active"): ("t__model_type", "t__machine_id"),
    ("ab_tests", "list_tests"): ("t__model_type", "t__machine_id"),
    ("checks", "list_retrained"): ("c__id",),
    ("alerts", "list_active"): ("a__machine_id", "a__model_type", "a__severity"),
    ("notifications", "list_notifications"): ("n__status", "n__channel", "e__alert_id"),
    ("alerts", "list_awake"): ("a__machine_id", "a__model_type", "a__severity"),
    ("alerts", "list_alerts"): ("a__machine_id", "a__model_type", "a__alert_type"),
}


def strings(path: Path) -> Iterator[str]:
    """Every text constant of a module that is not a docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def subscripts(path: Path) -> Iterator[str]:
    """The names in ``queries["name"]`` and ``self._queries["name"]``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            value = node.value
            name = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
            if name in ("_queries", "queries"):
                yield str(node.slice.value)


def sql_files() -> Iterator[tuple[str, str]]:
    folder = files("model_perf.sql")
    for entry in folder.iterdir():
        if entry.name.endswith(".sql"):
            yield entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8")


def without_comments(query: str) -> str:
    return re.sub(r"--[^\n]*", "", query)


@pytest.fixture
async def bare(connection: asyncpg.Connection) -> asyncpg.Connection:
    """A rolled-back connection on which no schema is found by itself."""
    await connection.execute("SET LOCAL search_path = ''")
    return connection


@pytest.mark.parametrize(("stem", "name"), NAMES)
async def test_a_query_is_prepared_without_a_search_path(bare: asyncpg.Connection, stem: str, name: str) -> None:
    """Every named query fits the migrated tables and names its schema."""
    queries = load_queries(stem, "model_perf")
    if name in ("merge_staging", "find_conflict"):
        await bare.execute(queries["create_staging"])
    await bare.prepare(queries[name])


@pytest.mark.parametrize(("stem", "name"), sorted(FILTERS))
async def test_every_filter_fits_its_query(bare: asyncpg.Connection, stem: str, name: str) -> None:
    """A list with all of its filters set is a statement of its own, and prepared too."""
    args: list[object] = [None] * len(set(re.findall(r"\$\d+", load_queries(stem, "model_perf")[name])))
    query = add_filters(load_queries(stem, "model_perf")[name], args, **dict.fromkeys(FILTERS[stem, name], "x"))
    statement = await bare.prepare(query)
    assert len(statement.get_parameters()) == len(args)


@pytest.mark.parametrize("name", ["merge_staging", "find_conflict"])
async def test_the_staging_queries_take_arrays_too(bare: asyncpg.Connection, name: str) -> None:
    """For roles without temporary tables the same text reads from arrays."""
    query = load_queries("metrics", "model_perf")[name]
    assert _STAGED_AS_TABLE in query
    await bare.prepare(query.replace(_STAGED_AS_TABLE, _STAGED_AS_ARRAYS))


def test_every_sql_file_belongs_to_a_repository() -> None:
    """Repository stem = SQL stem."""
    assert sorted(stem for stem, _ in sql_files()) == sorted((*STEMS, "shared"))
    assert all((REPOS / f"{stem}.py").exists() for stem in STEMS)


def test_every_shared_block_is_used_by_several_files() -> None:
    """What one file alone uses stands in it."""
    texts = dict(sql_files())
    for name in re.findall(r"^-- name: (\w+)$", texts.pop("shared"), re.MULTILINE):
        assert sum(f"{{{name}}}" in text for text in texts.values()) > 1, name


@pytest.mark.parametrize("stem", STEMS)
def test_names_in_the_file_are_the_names_used(stem: str) -> None:
    """No query is written that nobody runs, and none is run that is not written."""
    written = set(load_queries(stem, "model_perf"))
    texts = {text for path in USERS[stem] for text in strings(path)}
    assert written - texts == set()
    assert {name for path in USERS[stem] for name in subscripts(path)} - written == set()


@pytest.mark.parametrize(("stem", "name"), NAMES)
def test_a_query_says_what_its_parameters_are(stem: str, name: str) -> None:
    """The comment of a query names each of its parameters."""
    query = load_queries(stem, "model_perf")[name]
    comment = "\n".join(line for line in query.splitlines() if line.startswith("--"))
    told = set(re.findall(r"\$(\d+)", comment))
    for first, last in re.findall(r"\$(\d+) to \$(\d+)", comment):
        told |= {str(number) for number in range(int(first), int(last) + 1)}
    assert set(re.findall(r"\$(\d+)", without_comments(query))) <= told


@pytest.mark.parametrize(("stem", "name"), NAMES)
def test_a_query_reads_no_clock_and_names_its_columns(stem: str, name: str) -> None:
    """No query calls a clock, and none gives out whatever columns a table has."""
    text = without_comments(load_queries(stem, "model_perf")[name])
    assert not re.search(r"\b(now\s*\(|current_(date|time|timestamp)|clock_timestamp|localtime)", text, re.I)
    # Inside a LATERAL a star costs nothing: the outermost list says what comes out.
    assert not re.match(r"\s*SELECT\s+(\w+\.)?\*", text, re.I)
    assert "IS NULL OR" not in text.upper()


@pytest.mark.parametrize("schema", ["", " ", 'a"b', "pg_own", "x" * 64, "é" * 32, "nul\0", "\ud800", None, 5])
def test_a_schema_name_that_needs_thought_is_refused(schema: Any) -> None:
    """Quotes, PostgreSQL's own prefix, more than 63 bytes, nothing, and what is no text are refused by name."""
    with pytest.raises(InvalidInputError) as refused:
        quote_schema(schema)
    assert refused.value.argument == "schema"


def test_the_schema_is_quoted_wherever_it_stands() -> None:
    """No placeholder is left, and every table of ours follows a quoted schema."""
    ours = "_performance_metrics|_drift_state|_ab_tests|_alerts|_training_history|_workers|_champions"
    for stem, name in NAMES:
        query = without_comments(load_queries(stem, "Schema")[name])
        assert "{" not in query
        for table in re.findall(rf"(\S*)\bmodel(?:s\b|{ours})", query):
            assert table.endswith('"Schema".'), (name, table)
    assert all("{schema}" not in migration.render("My Schema") for migration in load_migrations())


def test_a_filter_that_is_none_leaves_no_trace() -> None:
    """`add_filters` numbers the filters that are there after the arguments that are there."""
    args: list[object] = [1, 2]
    assert add_filters("a\n-- filters\nb", args, t__x=None, t__y=5, t__z="c") == "a\nAND t.y = $3 AND t.z = $4\nb"
    assert args == [1, 2, 5, "c"]


# The hot queries on tables with enough rows for an index to be worth it: a slot with 60 versions of 100 evaluations,
# and 1,500 other deployments of 10.
SEED = """
SET LOCAL search_path = model_perf;
INSERT INTO models (model_id, model_version, machine_id, model_type, first_seen_at)
SELECT md5('m')::uuid, v, '{machine}', 'baseline', '2024-01-01Z'::timestamptz FROM generate_series(1, 60) v
UNION ALL
SELECT md5('o' || i)::uuid, 1, md5('p' || i)::uuid, 'other', '2024-01-01Z'::timestamptz FROM generate_series(1, 1500) i;
INSERT INTO model_performance_metrics (model_id, model_version, machine_id, evaluation_date, id, model_type,
    evaluation_start, evaluation_end, rmse)
SELECT m.model_id, m.model_version, m.machine_id, d, md5(m.model_version || m.machine_id::text || n)::uuid,
    m.model_type, d - interval '1 day', d, n
FROM models m
CROSS JOIN LATERAL generate_series(1, CASE m.model_type WHEN 'baseline' THEN 100 ELSE 10 END) n
CROSS JOIN LATERAL (SELECT '2024-01-01Z'::timestamptz
    + n * interval '1 day') AS t (d);
INSERT INTO model_drift_state (model_id, model_version, machine_id, detector, version, state)
SELECT model_id, model_version, machine_id, 'performance', 1, '{{}}' FROM models;
INSERT INTO model_alerts (id, alert_type, severity, model_type, machine_id, fingerprint, alert_message,
    alert_timestamp, last_seen_at, is_resolved, resolved_timestamp)
SELECT md5('a' || i)::uuid, 'x', (ARRAY['info', 'warning', 'critical'])[1 + i % 3], 'baseline', md5('p' || i)::uuid,
    'f' || i, 'm', '2024-01-01Z'::timestamptz + i * interval '1 minute', '2024-01-01Z', i % 10 > 0,
    CASE WHEN i % 10 > 0 THEN '2024-01-02Z'::timestamptz END
FROM generate_series(1, 5000) i;
INSERT INTO model_training_history (id, model_type, machine_id, training_status, trigger_type, run_after, created_at)
SELECT md5('r' || i)::uuid, 'baseline', md5('p' || i)::uuid, CASE WHEN i % 10 = 0 THEN 'pending' ELSE 'completed' END,
    'manual', '2024-01-01Z'::timestamptz + i * interval '1 minute', '2024-01-01Z'::timestamptz
FROM generate_series(1, 5000) i;
INSERT INTO model_notifications (event_id, channel, status, run_after, created_at)
SELECT e.id, 'ops', CASE WHEN e.id % 10 = 0 THEN 'pending' ELSE 'delivered' END, e.occurred_at, e.occurred_at
FROM model_alert_events e;
ANALYZE models, model_performance_metrics, model_drift_state, model_alerts, model_training_history,
    model_notifications, model_alert_events;
SET LOCAL search_path = '';
"""

KEY = (UUID("6f8f5771-5090-da26-3245-3988d9a1501b"), 50, make_id("machine press"))  # md5('m') as a UUID
SINCE, UNTIL = START + timedelta(days=10), START + timedelta(days=40)
LAST_ID = UUID(int=2**128 - 1)
METRICS_KEY = "model_performance_metrics_pkey"


@pytest.fixture
async def seeded(connection: asyncpg.Connection) -> asyncpg.Connection:
    await connection.execute(SEED.format(machine=KEY[2]))
    assert await connection.fetchval("SELECT md5('m')::uuid") == KEY[0]
    return connection


async def plan_of(connection: asyncpg.Connection, query: str, *args: object) -> list[Mapping[str, Any]]:
    """The nodes of the generic plan, which is what a prepared statement ends up with."""
    await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    plan = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *args))[0]["Plan"]
    nodes: list[Mapping[str, Any]] = []
    waiting = [plan]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += node.get("Plans", [])
    return nodes


def indexes(nodes: list[Mapping[str, Any]]) -> set[str]:
    return {node["Index Name"] for node in nodes if "Index Name" in node}


def scanned(nodes: list[Mapping[str, Any]]) -> set[str]:
    return {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}


HOT: dict[str, tuple[str, str, tuple[object, ...], set[str]]] = {
    "list_points": ("metrics", "list_points", (*KEY, SINCE, UNTIL, 10_001), {METRICS_KEY}),
    "list_evaluations": (
        *("metrics", "list_evaluations"),
        (*KEY, SINCE, UNTIL, UNTIL, LAST_ID, 101),
        {METRICS_KEY},
    ),
    "list_history": ("metrics", "list_history", KEY, {METRICS_KEY}),
    "fetch_latest": ("metrics", "fetch_latest", KEY, {METRICS_KEY}),
    "fetch_evaluation": ("metrics", "fetch_evaluation", (*KEY, LAST_ID), {METRICS_KEY}),
    "fetch_state": ("metrics", "fetch_state", KEY, {"models_pkey", "model_drift_state_pkey"}),
    "list_slot_points": (
        *("metrics", "list_slot_points"),
        (KEY[2], "baseline", SINCE, UNTIL, 10_001),
        {METRICS_KEY, "models_slot"},
    ),
    "list_pairs": (
        *("metrics", "list_pairs"),
        (KEY[2], KEY[0], 50, KEY[0], 51, SINCE, UNTIL, 10_001),
        {METRICS_KEY},
    ),
    "list_latest": ("metrics", "list_latest", (21, UUID(int=0), ""), {METRICS_KEY, "models_slot"}),
    "list_fleet": ("metrics", "list_fleet", (21, UUID(int=0), "", [], 24), {METRICS_KEY, "models_slot"}),
    "list_versions": ("metrics", "list_versions", (KEY[2], "baseline", 100), {METRICS_KEY, "models_slot"}),
    "list_active": (
        *("alerts", "list_active"),
        (3, datetime.max.replace(tzinfo=START.tzinfo), LAST_ID, 101),
        {"model_alerts_inbox"},
    ),
    "claim": (
        *("training", "claim"),
        (START + timedelta(days=400), START + timedelta(days=401), "w"),
        {"model_training_history_due", "model_training_history_pkey"},
    ),
    **{
        name: (
            *("training", name),
            (START + timedelta(days=400), START + timedelta(days=401), "w", ["baseline"], []),
            {"model_training_history_due", "model_training_history_pkey"},
        )
        for name in ("claim_many", "claim_with_upkeep")
    },
    "list_due": ("notifications", "list_due", (START + timedelta(days=400),), {"model_notifications_due"}),
    "claim a notification": (
        *("notifications", "claim"),
        ("ops", START + timedelta(days=400), START + timedelta(days=401), 10, 8),
        {"model_notifications_due"},
    ),
    "list_notifications": (
        *("notifications", "list_notifications"),
        (datetime.max.replace(tzinfo=START.tzinfo), LAST_ID, 101),
        {"model_notifications_newest"},
    ),
    "fail_expired": ("training", "fail_expired", (START + timedelta(days=400),), {"model_training_history_due"}),
}


async def test_the_hot_queries_use_their_indexes(seeded: asyncpg.Connection) -> None:
    """Neither a generic plan of a hot query nor its execution reads a table whole."""
    for label, (stem, name, args, wanted) in HOT.items():
        nodes = await plan_of(seeded, load_queries(stem, "model_perf")[name], *args)
        assert not scanned(nodes) & {"model_performance_metrics", "model_alerts"}, label
        assert wanted <= indexes(nodes), (label, indexes(nodes))


async def test_record_looks_for_a_repeat_by_the_key(seeded: asyncpg.Connection) -> None:
    """`old`, the look inside `record` whether the key is there, is one probe of the primary key."""
    query = load_queries("metrics", "model_perf")["record_with_alerts"]
    empty = (None,) * 9  # sample_count, data_completeness and the seven metrics
    args = (*KEY, SINCE, LAST_ID, "baseline", SINCE, UNTIL, *empty, "{}", None, None, None, "{}", "ok", None, UNTIL)
    nodes = await plan_of(seeded, query, *args, "{}", 1, "{}", "[]", None)
    old = [n for n in nodes if n.get("Index Name") == METRICS_KEY]
    assert [n["Actual Rows"] for n in old] == [0]
    assert not scanned(nodes) & {"model_performance_metrics", "models", "model_drift_state", "model_alerts"}


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("metrics", "record"),
        ("metrics", "record_with_alerts"),
        ("metrics", "record_with_recovery"),
        ("drift", "record_report"),
        ("drift", "record_report_with_recovery"),
        ("alerts", "act"),
    ],
)
async def test_a_writing_statement_is_not_compiled(seeded: asyncpg.Connection, stem: str, name: str) -> None:
    """Its generic plan is estimated far below `jit_above_cost`: compiling takes longer than the work."""
    query = load_queries(stem, "model_perf")[name]
    n = len((await seeded.prepare(query)).get_parameters())
    await seeded.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    plan = json.loads(await seeded.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *[None] * n))[0]["Plan"]
    assert plan["Total Cost"] < 10_000  # of 100,000


async def test_the_latest_evaluations_cost_a_probe_per_deployment(seeded: asyncpg.Connection) -> None:
    """`list_latest`, `list_fleet` and the view read one evaluation per deployment, however many there are."""
    query = load_queries("metrics", "model_perf")["list_latest"]
    view = "SELECT * FROM model_perf.v_latest_model_performance"
    fleet = load_queries("metrics", "model_perf")["list_fleet"]
    every, page = (2000, UUID(int=0), ""), (21, KEY[2], "")
    for text, args, n in ((query, every, 1560), (fleet, (*every, [], 0), 1560), (view, (), 1560), (query, page, None)):
        nodes = await plan_of(seeded, text, *args)
        (probe,) = [node for node in nodes if node.get("Index Name") == METRICS_KEY and node["Actual Loops"]]
        assert probe["Actual Rows"] == 1
        # A page of 21 slots probes the deployments of 21 slots: 60 of the one, one of each other.
        assert probe["Actual Loops"] == n if n else probe["Actual Loops"] <= 81


async def test_the_values_of_the_fleet_are_a_short_scan_per_slot(seeded: asyncpg.Connection) -> None:
    """Of each slot of the page as many evaluations as were asked for, from the end of the primary key."""
    fleet = load_queries("metrics", "model_perf")["list_fleet"]
    nodes = await plan_of(seeded, fleet, 21, UUID(int=0), "", [], 5)
    scans = [node for node in nodes if node.get("Index Name") == METRICS_KEY]
    assert [node["Scan Direction"] for node in scans] == ["Backward", "Backward"]
    assert max(node["Actual Rows"] for node in scans) <= 5
    assert min(node["Actual Loops"] for node in scans) == 21
