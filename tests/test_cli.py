"""The command `model-perf`, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from tests.factories import make_ref

import model_perf
from model_perf import InvalidInputError, ModelPerformanceTracker
from model_perf.cli import main

NO_SERVER = "postgresql://postgres@127.0.0.1:1/x"


def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The installed command in a process of its own, with nothing of the environment that names a server."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "MODEL_PERF"))}
    return subprocess.run(
        [sys.executable, "-m", "model_perf", *args],
        capture_output=True,
        text=True,
        timeout=60,
        env=clean | environment,
        check=False,
    )


def run_into(stdout: int, *args: str) -> subprocess.CompletedProcess[str]:
    """The same with an output of one's own."""
    command = [sys.executable, "-m", "model_perf", *args]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False)


def test_the_version() -> None:
    """--version names the installed version and ends with 0."""
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"model-perf {model_perf.__version__}\n", "")


def test_the_console_script_is_the_same_command() -> None:
    """The script `model-perf` beside the interpreter runs it too."""
    script = Path(sys.executable).with_name("model-perf")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"model-perf {model_perf.__version__}\n"


WRONG = [
    (),
    ("nonsense",),
    ("migrate", "--since", "x"),
    ("migrate", "--writer", "app"),  # without --sql nothing would be granted
    ("migrate", "--since", "4"),
    ("status", "--nonsense"),
    *(("prune", "--keep-days", days) for days in ("-1", "nan", "inf", "800000", "999999999", "x")),
]


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_wrong_usage_is_2(args: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Usage goes to stderr, nothing to stdout."""
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert (shown.out, "usage:" in shown.err) == ("", True)


async def test_migrate_and_status(database: str, schema: str) -> None:
    """Not migrated: 1 and the command to run; migrated: 0, as often as one likes."""
    given = ("--dsn", database, "--schema", schema)
    before = run("status", *given)
    assert before.returncode == 1
    assert "model-perf migrate" in before.stdout
    assert run("migrate", *given).returncode == 0
    again = run("migrate", *given)
    assert (again.returncode, again.stdout) == (0, f"schema {schema}: up to date\n")
    after = run("status", *given)
    assert (after.returncode, after.stderr) == (0, "")
    assert "ready" in after.stdout


async def test_the_dsn_comes_from_the_environment(database: str, schema: str) -> None:
    """MODEL_PERF_DSN is the default of --dsn."""
    assert run("migrate", "--schema", schema, MODEL_PERF_DSN=database).returncode == 0


async def test_a_newer_breaking_schema_is_told(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, database: str
) -> None:
    """status says what is newer and how to go on, and ends with 1."""
    await pool.execute(
        f"INSERT INTO {tracker.schema}.schema_migrations (version, name, sha256, breaking)"
        " VALUES (9001, 'split_table', 'x', true)"
    )
    done = run("status", "--dsn", database, "--schema", tracker.schema)
    assert done.returncode == 1
    assert "9001" in done.stdout
    assert "upgrade" in done.stdout


@pytest.mark.parametrize("name", ["plain", "My Schema", "it's"])
async def test_the_script_makes_a_usable_schema(pool: asyncpg.Pool, schema: str, name: str) -> None:
    """What `migrate --sql` prints, run by a DBA's client, is a schema that check() accepts and record writes to."""
    target = f"{schema} {name}"
    done = run("migrate", "--sql", "--schema", target)
    assert (done.returncode, done.stderr) == (0, "")
    try:
        await pool.execute(done.stdout)
        tracker = ModelPerformanceTracker(pool, schema=target)
        assert (await tracker.check_schema()).problem is None
        run_opened = await tracker.trigger_retraining(model_type="baseline")
        assert run_opened.triggered
    finally:
        await pool.execute(f'DROP SCHEMA IF EXISTS "{target}" CASCADE')


async def test_the_script_needs_no_server() -> None:
    """Printing the script opens no connection, whatever the environment says."""
    done = run("migrate", "--sql", "--since", "1", "--writer", 'odd"role', MODEL_PERF_DSN=NO_SERVER)
    assert done.returncode == 0
    assert "CREATE SCHEMA" not in done.stdout
    assert '"odd""role"' in done.stdout


async def test_import(database: str, pool: asyncpg.Pool, schema: str, earlier: str) -> None:
    """A dry run, an import, a repeat, views: 0; a row that is rejected is printed, and 1."""
    given = ("import", "--dsn", database, "--schema", schema, "--from", earlier)
    assert run("migrate", *given[1:5]).returncode == 0
    dry = run(*given, "--dry-run", "--time-zone", "Europe/Berlin")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert "dry run: nothing was kept" in dry.stdout
    done = run(*given)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split() == ["model_performance_metrics", "42", "42", "0", "0"]
    await pool.execute(f"UPDATE {earlier}.model_alerts SET is_resolved = true")
    await pool.execute(f"DELETE FROM {schema}.model_alerts")
    rejected = run(*given, "--replace-with-views")
    assert rejected.returncode == 1
    assert rejected.stdout.count("rejected  model_alerts ") == 2
    assert "not replaced" in rejected.stdout
    await pool.execute(f"UPDATE {earlier}.model_alerts SET resolved_at = alert_timestamp")
    replaced = run(*given, "--replace-with-views")
    assert replaced.returncode == 0
    assert replaced.stdout.splitlines()[-1].startswith("replaced  model_performance_metrics, ")


async def test_an_import_from_nowhere_is_told(database: str, tracker: ModelPerformanceTracker) -> None:
    """A schema without the tables, and the tracker's own, are refused on one line."""
    for source in ("nowhere", tracker.schema):
        done = run("import", "--dsn", database, "--schema", tracker.schema, "--from", source)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


FAILURES = [
    ("migrate", "--dsn", NO_SERVER),
    ("status", "--dsn", NO_SERVER),
    ("status", "--dsn", "postgresql:///x?host=/nowhere"),
    ("status", "--dsn", "nonsense://"),
    ("status", "--dsn", "postgresql://127.0.0.1:port/x"),
    ("migrate", "--sql", "--schema", 'a"b'),
    ("migrate", "--dsn", NO_SERVER, "--schema", "pg_own"),
    ("status", "--dsn", "postgresql://127.0.0.1:99999999/x"),
    ("migrate", "--sql", "--since", "-1"),
    ("migrate", "--sql", "--since", "99"),
    ("migrate", "--sql", "--writer", ""),
]


@pytest.mark.parametrize("args", FAILURES, ids=" ".join)
def test_what_cannot_be_done_is_told_in_one_line(args: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, one line on stderr that begins with the command's name, no traceback, nothing on stdout."""
    assert main(args) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err.startswith("model-perf: ")) == ("", True)
    assert "Traceback" not in shown.err


UNREADABLE = ["s3cret/x", "s3#cret", "s3[cret", "s3?cret", "s3c@ret/", "[s3cret]@", "s3cret@[s3cret]x"]


@pytest.mark.parametrize("password", UNREADABLE)
def test_no_part_of_a_password_is_shown(password: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a DSN that cannot be read since the password is not quoted, and of one that can."""
    assert main(["status", "--dsn", f"postgresql://user:{password}@127.0.0.1:1/x"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("model-perf: ")
    assert not any(part in shown for part in ("s3", "cret", "c@"))


async def test_a_pool_without_room_is_refused(database: str) -> None:
    """By the argument's name."""
    for size in (0, 1.5, True):
        with pytest.raises(InvalidInputError) as refused:
            await ModelPerformanceTracker.connect(database, max_size=size)  # type: ignore[arg-type]
        assert refused.value.argument == "max_size"
    with pytest.raises(InvalidInputError) as refused:
        await ModelPerformanceTracker.connect(database, min_size=3, max_size=2)
    assert refused.value.argument == "min_size"


COMMANDS = [("doctor",), ("status",), ("run-checks",), ("prune", "--keep-days", "30"), ("doctor", "--json")]


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("target", ["closed", "/dev/full"])
async def test_output_that_cannot_be_written_is_no_crash(
    database: str, tracker: ModelPerformanceTracker, args: tuple[str, ...], target: str
) -> None:
    """As by `| head`, which is nothing to tell of; a full disk is told in one line."""
    if target == "closed":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(target, os.O_WRONLY)
    done = run_into(writing, *args, "--dsn", database, "--schema", tracker.schema)
    os.close(writing)
    if target == "closed":
        assert (done.returncode, done.stderr) == (141, "")
    else:
        assert (done.returncode, done.stderr.startswith("model-perf: ")) == (1, True)
        assert done.stderr.count("\n") == 1


async def test_a_name_that_the_terminal_cannot_show_is_shown_all_the_same(
    database: str, pool: asyncpg.Pool, schema: str
) -> None:
    """Escaped; but a script is right or is not printed."""
    given, ascii_only = ("--schema", f"{schema} Zürich"), {"PYTHONIOENCODING": "ascii"}
    try:
        for command in ("migrate", "status", "doctor"):
            done = run(command, *given, "--dsn", database, **ascii_only)
            assert "Traceback" not in done.stderr
            assert "Z\\xfcrich" in done.stdout, command
        script = run("migrate", "--sql", *given, **ascii_only)
        assert (script.returncode, script.stdout, script.stderr.count("\n")) == (1, "", 1)
    finally:
        await pool.execute(f'DROP SCHEMA IF EXISTS "{schema} Zürich" CASCADE')


@pytest.mark.parametrize("args", [("migrate",), ("status",)])
async def test_an_unknown_database_or_role_is_told(database: str, args: tuple[str, ...]) -> None:
    """The server's refusal ends with 1 and its reason, without a traceback."""
    unknown = database.replace("/model_perf_", "/no_such_", 1)
    done = run(*args, "--dsn", unknown)
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not exist" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_foreign_table_stops_migrate(pool: asyncpg.Pool, database: str, schema: str) -> None:
    """A table of our name that is not ours is named on stderr, and nothing is made."""
    await pool.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.model_alerts (x int)")
    done = run("migrate", "--dsn", database, "--schema", schema)
    assert done.returncode == 1
    assert "model_alerts" in done.stderr
    assert "Traceback" not in done.stderr
    assert await pool.fetchval("SELECT to_regclass($1)", f"{schema}.models") is None


async def test_run_checks_tells_what_it_did(database: str, tracker: ModelPerformanceTracker) -> None:
    """A line per step or one JSON object, and exit 0; a second call finds nothing more."""
    await tracker.training.open_run(model_type="baseline", machine_id=UUID(int=0))
    run_ = await tracker.training.claim("w", lease=timedelta(hours=1))
    assert run_ is not None
    await tracker.training.fail(run_.id, 1, error_message="no rows")
    given = ("run-checks", "--dsn", database, "--schema", tracker.schema)
    first = run(*given)
    assert first.returncode == 0
    assert [line.split()[:2] for line in first.stdout.splitlines()][:2] == [["expired_runs", "0"], ["failures", "1"]]
    second = json.loads(run(*given, "--json").stdout)
    assert (second["is_ok"], second["failures"], len(second["steps"])) == (True, [], 7)


async def test_run_checks_tells_channels(
    database: str, tracker: ModelPerformanceTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that the host's options name; one that fails is told, and the command ends with 1."""
    (tmp_path / "channels_of_a_test.py").write_text(
        "from model_perf.notify import CallableChannel\n"
        "def tell(message): print('told', message.payload['alert']['type'])\n"
        "def refuse(message): raise ValueError('no pager')\n"
        "def good(): return {'channels': [CallableChannel(tell, name='a')]}\n"
        "def bad(): return {'channels': [CallableChannel(refuse, name='b')]}\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    given = ("run-checks", "--dsn", database, "--schema", tracker.schema, "--options")
    await tracker.alerts.open_or_repeat(make_ref(), alert_type="own", severity="warning", message="look")
    told = run(*given, "channels_of_a_test:good")
    assert (told.returncode, told.stdout.splitlines()[0]) == (0, "told own")
    assert "notifications" in told.stdout
    await tracker.alerts.open_or_repeat(make_ref(), alert_type="other", severity="warning", message="look")
    refused = run(*given, "channels_of_a_test:bad", "--json")
    assert refused.returncode == 1
    report = json.loads(refused.stdout)
    assert (report["notifications"]["n_retried"], report["is_ok"]) == (1, False)
    assert "channel b: " in report["steps"][-1]["errors"][0]


async def test_run_checks_ends_with_1_where_a_step_failed(
    database: str, tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """The report is printed all the same, with the reason."""
    await pool.execute(f"ALTER TABLE {tracker.schema}.model_ab_tests RENAME TO gone")
    done = run("run-checks", "--dsn", database, "--schema", tracker.schema)
    assert done.returncode == 1
    assert done.stdout.count("unknown") == done.stdout.count("failed: ") == 2
    assert "Traceback" not in done.stderr
