"""The documentation is run: what it shows works, what it prints is printed, what it links to and lists is there."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import attrs
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter
from tests.pages import ROOT, Chunk, read_chunks
from tests.servers import with_database

import model_perf
from model_perf import cli, notify, records, repos, results
from model_perf.sql.migrate import migrate
from model_perf.web import create_router
from model_perf.web.schemas import ModelPerfProblem

REFERENCE = ROOT / "docs" / "reference"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_SHELL_OPERATORS = {"&&", "||", "|", ">", ">>", "<", ";"}

COLUMNS = """
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = $1 AND c.relkind IN ('r', 'v')
GROUP BY c.relname
"""


def relative(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


PAGES_THAT_RUN = [page for page in PAGES if {chunk.language for chunk in read_chunks(page)} & {"python", "sql"}]


@pytest.fixture
async def page_dsn(server_dsn: str) -> AsyncIterator[str]:
    """A database of the page's own, so that it can use the schema's default name; roles that it made go with it."""
    name = f"model_perf_docs_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(server_dsn)
    try:
        before = await _roles(connection)
        await connection.execute(f"CREATE DATABASE {name}")
        yield with_database(server_dsn, name)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        for role in await _roles(connection) - before:
            await connection.execute(f'DROP ROLE "{role}"')
    finally:
        await connection.close()


async def _roles(connection: asyncpg.Connection) -> set[str]:
    return {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}


@pytest.fixture
async def page_pool(page_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(page_dsn, min_size=1, max_size=10) as pool:
        async with pool.acquire() as connection:
            await migrate(connection)
        yield pool


@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=relative)
async def test_a_page_runs(page: Path, page_dsn: str, page_pool: asyncpg.Pool) -> None:
    """The Python and SQL of a page run from top to bottom, and the Python prints what the page says it prints."""
    namespace: dict[str, Any] = {"__name__": "__main__", "dsn": page_dsn, "pool": page_pool}
    printed: str | None = None
    for chunk in read_chunks(page):
        if chunk.language == "text" and printed is not None:
            _check_output(page, chunk, printed)
        printed = None
        if chunk.language == "python":
            printed = await _run_python(page, chunk, namespace)
        elif chunk.language == "sql":
            async with page_pool.acquire() as connection:
                await connection.execute(chunk.text)


async def _run_python(page: Path, chunk: Chunk, namespace: dict[str, Any]) -> str:
    source = "\n" * (chunk.line - 1) + chunk.text
    code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, namespace)
        else:
            # In a thread, where a script's asyncio.run() finds no running loop.
            await asyncio.to_thread(exec, code, namespace)
    return printed.getvalue()


def _check_output(page: Path, chunk: Chunk, printed: str) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(chunk.text, printed, flags):
        pytest.fail(f"{relative(page)}:{chunk.line} shows\n{chunk.text}\nand this was printed:\n{printed}")


def shell_commands() -> Iterator[tuple[str, list[str]]]:
    """Every call of ``model-perf`` in a shell fence: where it stands, and its arguments."""
    for page in PAGES:
        for chunk in read_chunks(page):
            if chunk.language == "sh":
                for line in chunk.text.replace("\\\n", " ").splitlines():
                    words = shlex.split(line, comments=True)
                    for i, word in enumerate(words):
                        if word.rsplit("/", 1)[-1] == "model-perf" and words[0] != "pip":
                            end = next((j for j in range(i, len(words)) if words[j] in _SHELL_OPERATORS), len(words))
                            yield f"{relative(page)}: {line.strip()}", words[i + 1 : end]


@pytest.mark.parametrize(("where", "arguments"), [pytest.param(*each, id=each[0]) for each in shell_commands()])
def test_a_shell_command_is_understood(where: str, arguments: list[str]) -> None:
    """Every call of ``model-perf`` that a page shows is one that the command takes."""
    ends_well = arguments in (["--help"], ["--version"])
    with pytest.raises(SystemExit, match=r"^0$") if ends_well else contextlib.nullcontext():
        assert callable(cli._parser().parse_args(arguments).run), where


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub's anchors."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there, and a heading that it has."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_no_figure_is_missing() -> None:
    """No page waits for a measurement."""
    waiting = [relative(page) for page in PAGES if "<!-- figure:" in page.read_text(encoding="utf-8")]
    assert waiting == []


def test_every_page_is_in_the_index() -> None:
    """From docs/README.md every other page can be reached."""
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in _LINK.findall(index.read_text(encoding="utf-8"))}
    assert set(PAGES[2:]) - {index} <= linked


def documented_words() -> set[str]:
    """Every word that stands in code style on a reference page."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted(REFERENCE.glob("*.md")))
    return code_words(text)


def code_words(text: str) -> set[str]:
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", code)}


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(model_perf.__all__, id="model_perf"),
        pytest.param(model_perf.stats.__all__, id="stats"),
        pytest.param(model_perf.drift.__all__, id="drift"),
        pytest.param(notify.__all__, id="notify"),
    ],
)
def test_every_public_name_is_in_the_reference(names: list[str]) -> None:
    """Each name that users can import stands on a page of the reference."""
    assert set(names) - documented_words() == set()


def public_members(cls: type) -> set[str]:
    """Its own and those of its parts; not those of a base that is not ours."""
    ours = [each for each in cls.__mro__ if each.__module__.startswith("model_perf")]
    return {name for each in ours for name in vars(each) if not name.startswith("_")}


@pytest.mark.parametrize(
    "cls",
    [
        *(model_perf.ModelPerformanceTracker, repos.MetricsRepo, repos.TrainingRepo, repos.ABTestRepo),
        *(repos.AlertRepo, model_perf.MonitoringPolicy, model_perf.MetricDefinition, model_perf.DriftReport),
        *(records.ModelRef, records.Model, records.Evaluation, records.TrainingRun, records.ABTest, records.Alert),
        *(results.RecordedEvaluation, results.RetrainingTrigger, results.Trend, results.VersionTrend),
        *(results.ABTestResult, repos.Page, repos.Point, repos.RecordedBatch, model_perf.stats.MetricTrend),
        *(model_perf.drift.MetricCheck, model_perf.SchemaStatus, model_perf.HostDirectory, repos.FleetEntry),
        *(model_perf.drift.DatasetProfile, model_perf.drift.NumericProfile, model_perf.drift.CategoricalProfile),
        *(model_perf.drift.DataDriftReport, model_perf.drift.ColumnDrift, model_perf.drift.ColumnCheck),
        *(model_perf.PruneReport, model_perf.ForgetReport, model_perf.TrackerStats, model_perf.TableStats),
        *(model_perf.TableSize, model_perf.Diagnosis, model_perf.Finding),
        *(records.Champion, records.SeenWorker, results.Promotion, repos.ChampionRepo, repos.WorkerRepo),
        *(model_perf.TrainingOutcome, model_perf.TrainingContext, model_perf.Worker),
        *(repos.NotificationRepo, model_perf.Notification, results.DeliveryReport, notify.Channel, notify.Message),
        *(repos.SlotVersion, results.SlotSummary, results.ImportReport, results.TableImport, results.RejectedRow),
    ],
)
def test_every_method_and_field_is_in_the_reference(cls: type) -> None:
    """The reference lists each public method, property and field of the classes that users meet."""
    fields = {field.name.lstrip("_") for field in attrs.fields(cls)} if attrs.has(cls) else set()
    internal = {"rejudge", "register_label"}  # the facade calls them, nobody else
    assert (public_members(cls) | fields) - internal - documented_words() == set()


def test_every_option_of_the_command_is_in_the_reference() -> None:
    """docs/reference/cli.md names each command and each of its options."""
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    [commands] = [action for action in cli._parser()._actions if action.choices]
    assert commands.choices is not None
    for name, parser in dict(commands.choices).items():
        assert f"## `model-perf {name}`" in text
        for action in parser._actions:
            for option in action.option_strings:
                assert option in text, f"{name} {option}"


def test_every_route_is_in_the_reference() -> None:
    """docs/reference/http.md has a section for each route with its parameters, and lists every field of the answers."""
    app = FastAPI()
    tracker = model_perf.ModelPerformanceTracker(lambda: app.state.pool)
    app.include_router(create_router(tracker, allow_anonymous=True))
    spec = app.openapi()
    parts = re.split(r"^## (.+)$", (REFERENCE / "http.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = {title: code_words(body) for title, body in zip(parts[1::2], parts[2::2], strict=True)}
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            listed = sections.pop(f"`{method.upper()} {path}`")
            assert {each["name"] for each in operation.get("parameters", [])} - listed == set(), path
    assert list(sections) == ["Errors"]
    components = {**spec["components"]["schemas"], "ModelPerfProblem": TypeAdapter(ModelPerfProblem).json_schema()}
    for name, component in components.items():
        words = {word for part in parts if f"`{name}`" in part for word in code_words(part)}
        assert set(component["properties"]) - words == set(), name


async def test_every_column_is_in_the_reference(pool: asyncpg.Pool, schema: str) -> None:
    """docs/reference/tables.md lists the tables and views of a fresh schema, column by column, in their order."""
    async with pool.acquire() as connection:
        await migrate(connection, schema)
        stored = {row["relname"]: row["columns"] for row in await connection.fetch(COLUMNS, schema)}
    sections = re.split(r"^## `(\w+)`$", (REFERENCE / "tables.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    listed = {
        name: [
            column for cell in re.findall(r"^\| (`.+?) \|", body, re.MULTILINE) for column in re.findall(r"\w+", cell)
        ]
        for name, body in zip(sections[1::2], sections[2::2], strict=True)
    }
    assert listed == stored
