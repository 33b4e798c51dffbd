"""The board for Grafana: its SQL runs as Grafana would send it, and its colours do not say more than is known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.factories import START, make_evaluation, make_evaluations, make_id
from tests.writers import record

from model_perf import ModelPerformanceTracker, ModelRef

BOARD: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "docs" / "how-to" / "grafana" / "model_performance.json").read_text("utf-8")
)
PANELS: list[dict[str, Any]] = BOARD["panels"]
VARIABLES: dict[str, dict[str, Any]] = {each["name"]: each for each in BOARD["templating"]["list"]}
ALERTS, FLEET, COUNTS, METRIC, DRIFT, AB_TESTS, TRAINING = (each["targets"][0]["rawSql"] for each in PANELS)
DATASOURCE = {"type": "postgres", "uid": "${datasource}"}
HOSTILE = ["it's", 'press "7"', "'; DROP TABLE models; --", "back\\slash\\'", "50% $1 {x}"]
CALM = [1.00, 1.02, 0.98, 1.01, 0.99, 1.03, 0.97, 1.00, 1.01, 0.99, 1.02, 0.98, 1.00, 1.01]
DAY = timedelta(days=1)

Value = str | Sequence[str]


def quoted_in_9_5(value: Value) -> str:
    """``:sqlstring`` of Grafana 9.5: public/app/features/templating/formatRegistry.ts, FormatRegistryID.sqlString."""
    values = [value] if isinstance(value, str) else value
    return ",".join("'" + each.replace("'", "''") + "'" for each in values)


def quoted_since_scenes(value: Value) -> str:
    """``:sqlstring`` later: grafana/scenes, interpolation/formatRegistry.ts, sqlStringFormatter (scenes#433)."""
    values = [value] if isinstance(value, str) else value
    return ",".join("'" + each.replace("'", "''").replace('"', '\\"') + "'" for each in values)


def expand(
    sql: str, values: Mapping[str, Value], sqlstring: Callable[[Value], str], until: datetime | None = None
) -> str:
    """*sql* as it reaches PostgreSQL: first the variables, in the browser, then the macros, in Grafana's server."""
    formats: dict[str, Callable[[Value], str]] = {
        "sqlstring": sqlstring,
        "doublequote": lambda value: '"' + str(value).replace('"', '\\"') + '"',  # the same file, doubleQuote
    }
    assert "$" not in re.sub(r"\$\{\w+:\w+\}|\$__timeFilter\(", "", sql), "nothing else is expanded here"
    sql = re.sub(r"\$\{(\w+):(\w+)\}", lambda found: formats[found[2]](values[found[1]]), sql)
    # pkg/tsdb/grafana-postgresql-datasource/macros.go: sExpr finds a macro (no parenthesis within), and
    # "__timeFilter" is fmt.Sprintf("%s BETWEEN '%s' AND '%s'", column, from, to), both as RFC3339Nano in UTC.
    end = datetime.now(UTC) + DAY if until is None else until
    between = f"BETWEEN '{START.isoformat()}' AND '{end.isoformat()}'".replace("+00:00", "Z")
    return re.sub(r"\$__timeFilter\(([^)]*)\)", lambda found: f"{found[1]} {between}", sql)


class Grafana:
    """What a browser with the board open has chosen, and the queries that it sends."""

    def __init__(self, connection: Any, schema: str, sqlstring: Callable[[Value], str] = quoted_in_9_5) -> None:
        self.connection, self.sqlstring = connection, sqlstring
        self.values: dict[str, Value] = {"schema": schema, "metric": "rmse"}
        self.shown: dict[str, list[str]] = {}

    async def fetch(self, sql: str, until: datetime | None = None) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.connection.fetch(expand(sql, self.values, self.sqlstring, until))
        return rows

    async def load(self) -> Grafana:
        """Fill the query variables in their order: All of the multiple ones, the first of the others."""
        for name, variable in VARIABLES.items():
            if variable["type"] == "query":
                options = await self.fetch(variable["query"])
                self.shown[name] = [row["__text"] for row in options]
                found = [row["__value"] for row in options]
                # Without options: All is an empty list, a single value the empty text (MultiValueVariable.ts).
                self.values[name] = found if variable["multi"] else next(iter(found), "")
        return self


async def load(pool: asyncpg.Pool, tracker: ModelPerformanceTracker, **choice: Value) -> Grafana:
    board = await Grafana(pool, tracker.schema).load()
    board.values |= choice
    return board


@pytest.fixture
async def fleet(tracker: ModelPerformanceTracker) -> ModelRef:
    """Something for every panel and every verdict but one; the answer is a critical deployment."""
    ref = await tracker.register_model("forecast", machine="press 7", version="2024.11")
    newer = await tracker.register_model("forecast", machine="press 7", version="2024.12")
    for one in make_evaluations([*CALM, 9.0], ref=ref):
        await record(tracker, one)
    calm = await tracker.register_model("forecast", machine="lathe")
    for one in make_evaluations(CALM, ref=calm):
        await record(tracker, one)
    young = await tracker.register_model("forecast", machine="mill")
    await record(tracker, make_evaluation(young))
    await tracker.record_many([make_evaluation(await tracker.register_model("forecast", machine="saw"))])
    await tracker.start_ab_test(name="newer", model_a=ref, model_b=newer, start=START, duration=DAY)
    await tracker.trigger_retraining(model_type="forecast", machine_id=ref.machine_id)
    run = await tracker.training.claim("worker", lease=DAY)
    assert run is not None
    await tracker.training.fail(run.id, run.attempt, error_message="no memory")
    # A machine that nobody has registered or evaluated yet.
    await tracker.trigger_retraining(model_type="new kind", machine_id=make_id("new machine"))
    return ref


def queries() -> Iterator[tuple[str, str, set[str]]]:
    """Each query of the board: where it stands, its SQL, and the columns that the board names."""
    for name, variable in VARIABLES.items():
        if variable["type"] == "query":
            yield name, variable["query"], {"__text", "__value"}
    for panel in PANELS:
        columns = {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]}
        columns |= set(re.findall(r"__field\.labels\.(\w+)", json.dumps(panel["fieldConfig"])))
        columns |= {"time"} if panel["type"] == "timeseries" else set()
        for target in panel["targets"]:
            yield panel["title"], target["rawSql"], columns


EACH_QUERY = pytest.mark.parametrize(("sql", "columns"), [pytest.param(*each, id=where) for where, *each in queries()])


@EACH_QUERY
async def test_a_query_gives_the_columns_that_are_named(
    sql: str, columns: set[str], pool: asyncpg.Pool, tracker: ModelPerformanceTracker, fleet: ModelRef
) -> None:
    """Each query runs, finds something, and has the columns of the overrides and labels of its panel."""
    board = await load(pool, tracker)
    [first, *_] = await board.fetch(sql)
    assert columns <= set(first.keys())


@EACH_QUERY
async def test_a_query_runs_on_an_empty_schema(
    sql: str, columns: set[str], pool: asyncpg.Pool, tracker: ModelPerformanceTracker
) -> None:
    """Before the first evaluation there are no rows, and no errors from variables without options; counts are 0."""
    rows = await (await load(pool, tracker)).fetch(sql)
    assert [dict(row) for row in rows] == ([dict.fromkeys(columns, 0)] if sql == COUNTS else [])


async def test_a_role_with_select_is_enough(connection: asyncpg.Connection) -> None:
    """Every query runs for a role that may only read."""
    await connection.execute(
        "CREATE ROLE model_perf_board; GRANT USAGE ON SCHEMA model_perf TO model_perf_board;"
        "GRANT SELECT ON ALL TABLES IN SCHEMA model_perf TO model_perf_board; SET LOCAL ROLE model_perf_board"
    )
    board = await Grafana(connection, "model_perf").load()
    for _, sql, _ in queries():
        await board.fetch(sql)


@pytest.mark.parametrize("sqlstring", [quoted_in_9_5, quoted_since_scenes])
async def test_quotes_in_names_break_nothing(
    sqlstring: Callable[[Value], str], pool: asyncpg.Pool, tracker: ModelPerformanceTracker
) -> None:
    """Names of machines and model types with quotes of any kind are shown and found by the filters."""
    for name in HOSTILE:
        await record(tracker, make_evaluation(await tracker.register_model(name, machine=name)))
    board = await Grafana(pool, tracker.schema, sqlstring).load()
    assert set(board.shown["machine"]) == set(board.shown["model_type"]) == set(HOSTILE)
    assert {row["machine"] for row in await board.fetch(FLEET)} == set(HOSTILE)
    machines, types = [board.values["machine"], board.values["model_type"]]
    for machine, model_type in zip(machines, types, strict=True):
        board.values |= {"machine": [machine], "model_type": list(types)}
        assert len(await board.fetch(FLEET)) == 1
        board.values |= {"machine": list(machines), "model_type": [model_type]}
        assert len(await board.fetch(FLEET)) == 1
    for model in await board.fetch(VARIABLES["model"]["query"]):
        board.values["model"] = model["__value"]
        assert len(await board.fetch(METRIC)) == 1


@pytest.mark.parametrize("sqlstring", [quoted_in_9_5, quoted_since_scenes])
async def test_a_value_from_the_url_stays_a_value(
    sqlstring: Callable[[Value], str], pool: asyncpg.Pool, tracker: ModelPerformanceTracker, fleet: ModelRef
) -> None:
    """Text that somebody puts into the address is compared and not run."""
    board = await Grafana(pool, tracker.schema, sqlstring).load()
    for text in HOSTILE:
        board.values |= {"metric": text, "model": text, "model_type": [text]}
        assert await board.fetch(METRIC) == await board.fetch(DRIFT) == await board.fetch(FLEET) == []


async def test_machines_of_one_name_can_be_told_apart(pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> None:
    """Grafana drops options of equal text, so that these have different ones."""
    for i in (1, 2):
        ref = await tracker.register_model("kind", machine_id=make_id(f"machine {i}"))
        await tracker.metrics.register_model(ref, START, machine_name="press")
        await record(tracker, make_evaluation(ref))
    board = await load(pool, tracker)
    assert [len(set(board.shown[name])) for name in ("machine", "model")] == [2, 2]


async def test_all_is_everything(pool: asyncpg.Pool, tracker: ModelPerformanceTracker, fleet: ModelRef) -> None:
    """What has an alert, a test or a run but no evaluation is not lost behind the filters."""
    board = await load(pool, tracker)
    assert [row["severity"] for row in await board.fetch(ALERTS)] == ["critical"]
    assert {row["model_type"] for row in await board.fetch(TRAINING)} == {"forecast", "new kind"}
    assert (await board.fetch(AB_TESTS))[0]["elapsed_share"] > 1


async def test_the_verdicts_are_counted_as_what_they_are(
    pool: asyncpg.Pool, tracker: ModelPerformanceTracker, fleet: ModelRef
) -> None:
    """A slot counts under its own verdict, and the worst stands on top."""
    board = await load(pool, tracker)
    [counts] = await board.fetch(COUNTS)
    assert dict(counts) == {"critical": 1, "warning": 0, "ok": 1, "insufficient_data": 1, "not_judged": 1}
    verdicts = [row["verdict"] for row in await board.fetch(FLEET)]
    assert (verdicts[0], verdicts[-1]) == ("critical", "ok")


async def test_open_alerts_are_worst_first(pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> None:
    """By severity and not by its spelling."""
    ref = await tracker.register_model("kind", machine="press")
    for severity in ("info", "critical", "warning"):
        await tracker.alerts.open_or_repeat(ref, alert_type=severity, severity=severity, message="m")
    shown = [row["severity"] for row in await (await load(pool, tracker)).fetch(ALERTS)]
    assert shown == ["critical", "warning", "info"]


async def test_a_window_evaluated_twice_counts_once(
    pool: asyncpg.Pool, tracker: ModelPerformanceTracker, fleet: ModelRef
) -> None:
    """The newest evaluation of a window is drawn, at the window's end, as `trend` does."""
    # The third has no samples, so that it replaces nothing.
    for n_samples, rmse, day in ((1008, 0.5, 40), (0, 7.0, 41)):
        again: dict[str, Any] = {
            "id": None,
            "metrics": {"rmse": rmse},
            "sample_count": n_samples,
            "evaluation_date": START + day * DAY,
        }
        await record(tracker, make_evaluation(fleet, day=3, **again))
    # Of equal dates the last recorded counts, whatever its id.
    await record(tracker, make_evaluation(fleet, day=5, metrics={"rmse": 0.6}, id=UUID(int=1)))
    board = await load(pool, tracker, model=f"{fleet.machine_id} forecast")
    drawn = [(row["time"], row["value"]) for row in await board.fetch(METRIC)]
    points = (await tracker.trend(fleet, since=START, until=START + 60 * DAY)).series[0].points
    assert drawn == [(point.evaluation_end, point.metrics["rmse"]) for point in points]
    assert (dict(drawn)[START + 4 * DAY], dict(drawn)[START + 6 * DAY]) == (0.5, 0.6)
    before = {row["time"]: row["value"] for row in await board.fetch(METRIC, until=START + 39 * DAY)}
    assert before[START + 4 * DAY] == 1.01


async def test_each_version_is_a_series(pool: asyncpg.Pool, tracker: ModelPerformanceTracker, fleet: ModelRef) -> None:
    """Versions, and models of one slot with the same version, have names of their own; times ascend."""
    refs = [
        await tracker.register_model("forecast", machine="press 7", version="2024.12"),
        ModelRef(model_id=make_id("other"), model_type="forecast", model_version=2, machine_id=fleet.machine_id),
    ]
    for ref in refs:
        await record(tracker, make_evaluation(ref, day=5))
    rows = await (await load(pool, tracker, model=f"{fleet.machine_id} forecast")).fetch(METRIC)
    assert len({row["version"] for row in rows}) == 3
    assert len({(row["time"], row["version"]) for row in rows}) == len(rows)
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


@pytest.mark.parametrize("metric", VARIABLES["metric"]["query"].split(","))
async def test_each_metric_can_be_chosen(metric: str, pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> None:
    """The variable offers the seven columns, and the panel draws the one that is chosen."""
    values = dict.fromkeys(("r_squared", "rmse", "mae", "mape", "precision", "recall", "f1_score"), 0.5)
    await record(tracker, make_evaluation(await tracker.register_model("kind"), metrics=values | {metric: 0.25}))
    rows = await (await load(pool, tracker, metric=metric)).fetch(METRIC)
    assert [row["value"] for row in rows] == [0.25]
    assert [each["value"] for each in VARIABLES["metric"]["options"]] == list(values)


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """Every object within *node*."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from parts(child)


def test_the_data_source_is_the_variable() -> None:
    """Panels, targets and variables ask the data source that was chosen on top, and no other."""
    assert (VARIABLES["datasource"]["type"], VARIABLES["datasource"]["query"]) == ("datasource", "postgres")
    asking = [*PANELS, *(target for panel in PANELS for target in panel["targets"])]
    asking += [each for each in VARIABLES.values() if each["type"] == "query"]
    assert [each["datasource"] for each in asking] == [DATASOURCE] * len(asking)
    assert all(part["datasource"] == DATASOURCE for part in parts(BOARD) if "datasource" in part)
    assert [part["uid"] for part in parts(BOARD) if "uid" in part] == ["${datasource}"] * len(asking)


def test_the_import_clashes_with_nothing() -> None:
    """The board has no id of its own, its panels have different ones, and no panel covers another."""
    assert {"id", "uid", "version", "__inputs"}.isdisjoint(BOARD)
    assert [panel["id"] for panel in PANELS] == list(range(1, len(PANELS) + 1))
    assert BOARD["schemaVersion"] == 38  # Grafana 9.5's; later ones migrate it
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in PANELS
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)


def colours_of(panel: dict[str, Any], column: str) -> dict[str, str]:
    [found] = [each for each in panel["fieldConfig"]["overrides"] if each["matcher"]["options"] == column]
    [mapping] = [each["value"] for each in found["properties"] if each["id"] == "mappings"]
    return {text: shown["color"] for text, shown in mapping[0]["options"].items()}


def test_what_is_unknown_has_a_colour_of_its_own() -> None:
    """Each verdict has its own colour, the same in the table and in the counts, and only ok is green."""
    colours = colours_of(PANELS[1], "verdict")
    assert set(colours) == {"ok", "warning", "critical", "insufficient_data", "not_judged"}
    assert len(set(colours.values())) == len(colours)
    assert [verdict for verdict, colour in colours.items() if colour == "green"] == ["ok"]
    counts = {
        each["matcher"]["options"]: each["properties"][0]["value"]["steps"][-1]["color"]
        for each in PANELS[2]["fieldConfig"]["overrides"]
    }
    assert counts == colours


def test_nothing_is_green_by_default() -> None:
    """A value that no mapping knows, such as a verdict of a later version, is shown without a colour."""
    for panel in PANELS:
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"] == [{"color": "text", "value": None}]
    lowest = [part["steps"][0]["color"] for part in parts(BOARD) if "steps" in part]
    assert "green" not in lowest
