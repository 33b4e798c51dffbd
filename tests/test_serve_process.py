"""`model-perf serve` and `model-perf demo --serve` as processes: what they listen on, and how they end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from tests.servers import KillableServer, pgbouncer

from model_perf import ModelPerformanceTracker

ROOT = Path(__file__).parents[1]
API = "/api/v1/model-performance"
TOKEN = "not-a-secret-of-anybody"
NO_SERVER = "postgresql://postgres@127.0.0.1:1/x"
PATIENCE_S = 60


def environment(**variables: str) -> dict[str, str]:
    """Of ours, without what names a server or a token."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "MODEL_PERF"))}
    return clean | variables


@contextmanager
def started(*args: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """The command on a free port, and a client of the address that it says; killed at the end if it is still there."""
    command = [sys.executable, "-m", "model_perf", *args, "--port", "0"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(**variables),
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        said = ""
        while (found := re.search(r"Dashboard: (http://\S+)/ ", said)) is None:
            line = process.stdout.readline()
            assert line, f"it has ended: {said}"
            said += line
        # It listens when it says so: the first request is answered, without a second try.
        with httpx.Client(base_url=found[1], trust_env=False, timeout=PATIENCE_S) as client:
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def serving(database: str, tracker: ModelPerformanceTracker) -> tuple[str, ...]:
    return "serve", "--dsn", database, "--schema", tracker.schema


def refusal(*args: str, **variables: str) -> str:
    """What the command says on stderr when it ends with 1."""
    command = [sys.executable, "-m", "model_perf", *args]
    done = subprocess.run(
        *(command,), capture_output=True, text=True, timeout=PATIENCE_S, env=environment(**variables), check=False
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def listening(process: subprocess.Popen[str]) -> list[str]:
    connections = psutil.Process(process.pid).net_connections("tcp")
    return [each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_loopback_read_only_until_a_signal(
    tracker: ModelPerformanceTracker, database: str, number: signal.Signals
) -> None:
    """By default: 127.0.0.1 only, reads answered, acts refused; the signal ends it with 0, its connections are gone."""
    await tracker.register_model("demand", machine="press 7")

    def serve_and_end() -> None:
        with started(*serving(database, tracker)) as (process, client):
            assert listening(process) == ["127.0.0.1"]
            assert client.get("/", follow_redirects=True).headers["content-type"].startswith("text/html")
            assert [each["model_type"] for each in client.get(f"{API}/views/fleet").json()["models"]] == ["demand"]
            act = client.post(f"{API}/retrain/trigger", params={"model_type": "x", "machine_id": str(uuid4())})
            assert (act.status_code, act.json()["code"]) == (403, "read_only")
            process.send_signal(number)
            assert process.wait(20) == 0

    await asyncio.to_thread(serve_and_end)
    assert (await tracker.training.list_runs()).items == ()


async def test_with_write_it_acts(tracker: ModelPerformanceTracker, database: str, tmp_path: Path) -> None:
    """--write, at the time that --options gives, on IPv6's loopback."""
    (tmp_path / "options_of_a_test.py").write_text(
        "from datetime import UTC, datetime\ndef given(): return {'clock': lambda: datetime(2031, 5, 6, tzinfo=UTC)}\n"
    )
    slot = {"model_type": "demand", "machine_id": str(uuid4())}
    args = ("--write", "--host", "::1", "--options", "options_of_a_test:given")

    def serve_and_act() -> httpx.Response:
        path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        with started(*serving(database, tracker), *args, PYTHONPATH=path) as (process, client):
            assert (client.base_url.host, listening(process)) == ("::1", ["::1"])
            return client.post(f"{API}/retrain/trigger", params=slot)

    answer = await asyncio.to_thread(serve_and_act)
    [run] = (await tracker.training.list_runs()).items
    assert answer.json()["training_job_id"] == str(run.id)
    assert run.run_after == datetime(2031, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize("way", ["option", "variable"])
async def test_with_a_token_others_may_reach_it(tracker: ModelPerformanceTracker, database: str, way: str) -> None:
    """From the option or the environment; the page comes without it, the data do not."""
    args, variables = (("--token", TOKEN), {}) if way == "option" else ((), {"MODEL_PERF_TOKEN": TOKEN})

    def serve() -> list[int]:
        with started(*serving(database, tracker), "--host", "0.0.0.0", *args, **variables) as (process, client):
            assert listening(process) == ["0.0.0.0"]
            asked = [None, "wrong", TOKEN]
            headers = [{} if each is None else {"authorization": f"Bearer {each}"} for each in asked]
            assert client.get("/", follow_redirects=True).status_code == 200
            return [client.get(f"{API}/views/fleet", headers=each).status_code for each in headers]

    assert await asyncio.to_thread(serve) == [401, 401, 200]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_without_a_token_others_may_not(host: str) -> None:
    """Refused before anything is connected to or listened on, with the mend; an empty variable is no token."""
    told = refusal("serve", "--dsn", NO_SERVER, "--host", host, MODEL_PERF_TOKEN="")
    assert "MODEL_PERF_TOKEN" in told or host == ""
    assert "127.0.0.1" in told or "address of this machine" in told


@pytest.mark.parametrize("token", ["", "two words", "schlüssel", "line\n"])
def test_a_token_that_no_header_takes_is_refused(token: str) -> None:
    """And not repeated."""
    told = refusal("serve", "--dsn", NO_SERVER, "--token", token)
    assert "token" in told
    assert not token or token not in told


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    assert port in refusal("serve", "--dsn", NO_SERVER, "--port", port)


async def test_a_port_that_is_taken_is_refused(tracker: ModelPerformanceTracker, database: str) -> None:
    """With the mend; the demo says it before its story."""

    def serve_twice() -> list[str]:
        with started(*serving(database, tracker)) as (_, client):
            port = str(client.base_url.port)
            commands = [serving(database, tracker), ("demo", "--serve")]
            return [refusal(*command, "--port", port) for command in commands]

    told = await asyncio.to_thread(serve_twice)
    assert all("--port 0" in each for each in told)


async def test_it_serves_through_a_pooler(database: str, tracker: ModelPerformanceTracker) -> None:
    """PgBouncer in transaction mode, with one server for two of them: neither trips over the other's statements."""

    def serve_twice() -> list[int]:
        with pgbouncer(database, pool_size=1) as dsn:
            command = serving(dsn, tracker)
            with started(*command) as (_, first), started(*command) as (_, second):
                return [client.get(f"{API}/views/fleet").status_code for client in (first, second) * 3]

    assert await asyncio.to_thread(serve_twice) == [200] * 6


async def test_it_serves_whoever_reads_what_it_says(tracker: ModelPerformanceTracker, database: str) -> None:
    """Where stdout leads to nobody any more, as of a supervisor that has gone; it ends with 0 all the same."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "model_perf", *serving(database, tracker), "--port", str(port)]

    def serve() -> None:
        process = subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE, text=True, env=environment())
        os.close(writing)
        try:
            transport = httpx.HTTPTransport(retries=10)  # with 0.5 s, 1 s, 2 s ... between them
            with httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
                assert client.get(f"{API}/views/fleet").json()["models"] == []
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=20)[1] == ""
            assert process.returncode == 0
        finally:
            process.kill()
            process.wait()

    await asyncio.to_thread(serve)


@pytest.mark.parametrize("module", ["uvicorn", "fastapi"])
@pytest.mark.parametrize("command", [["serve"], ["demo", "--serve"]])
def test_what_is_missing_is_said(module: str, command: list[str]) -> None:
    """1, and what to install, before the demo starts its story."""
    script = f"import sys; sys.modules[{module!r}] = None; from model_perf.cli import main; sys.exit(main({command!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'model-perf[serve]'" in done.stderr


def test_a_schema_without_tables_is_said(database: str) -> None:
    """Before it listens: 1, with the command that makes them."""
    assert "model-perf migrate" in refusal("serve", "--dsn", database, "--schema", "nothing_here")


def test_a_dsn_that_is_none_is_said() -> None:
    """It would never be there: 1."""
    assert "dsn" in refusal("serve", "--dsn", "mysql://x").lower()


@pytest.mark.parametrize("command", ["serve", "status"])
@pytest.mark.parametrize("password", ["se/krit", "se#krit", "se?krit"])
def test_a_password_that_is_not_escaped_is_not_told(command: str, password: str) -> None:
    """1 with the mend, in one line, and no part of it: what stands before the / would be the port."""
    told = refusal(command, "--dsn", f"postgresql://u:{password}@h.invalid/x")
    assert "with %.." in told
    assert "'se'" not in told
    assert "krit" not in told


async def test_a_request_under_way_is_answered(tracker: ModelPerformanceTracker, database: str) -> None:
    """SIGTERM: no new connection is taken, the act that waits for a lock is done, answered, and then it ends with 0."""
    slot = {"model_type": "demand", "machine_id": str(uuid4())}
    own = await asyncpg.connect(database)
    with_write = started(*serving(database, tracker), "--write")
    process, client = await asyncio.to_thread(with_write.__enter__)
    try:
        transaction = own.transaction()
        await transaction.start()
        await own.execute(f"LOCK TABLE {tracker.schema}.model_training_history IN ACCESS EXCLUSIVE MODE")
        act = asyncio.create_task(asyncio.to_thread(client.post, f"{API}/retrain/trigger", params=slot))
        await _until(own, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass", tracker.schema)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(1)
        assert process.poll() is None
        with pytest.raises(httpx.ConnectError):
            await asyncio.to_thread(httpx.get, f"{client.base_url}", trust_env=False)
        await transaction.rollback()
        answer = await act
        assert (answer.status_code, answer.json()["triggered"]) == (200, True)
        assert await asyncio.to_thread(process.wait, 20) == 0
    finally:
        await own.close()
        await asyncio.to_thread(with_write.__exit__, None, None, None)
    assert len((await tracker.training.list_runs()).items) == 1


async def _until(connection: asyncpg.Connection, query: str, schema: str) -> None:
    for _ in range(PATIENCE_S * 50):
        if await connection.fetchval(query, f"{schema}.model_training_history"):
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(query)


def test_a_second_signal_ends_it_at_once(database: str) -> None:
    """An act that never ends does not keep it."""
    asyncio.run(_migrate(database, "second_signal"))
    try:
        with started("serve", "--dsn", database, "--schema", "second_signal", "--write") as (process, client):
            asyncio.run(_hang(database, process, client))
    finally:
        asyncio.run(_drop(database, "second_signal"))


async def _migrate(database: str, schema: str) -> None:
    async with ModelPerformanceTracker.connect(database, schema=schema) as tracker:
        await tracker.migrate()


async def _drop(database: str, schema: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close()


async def _hang(database: str, process: subprocess.Popen[str], client: httpx.Client) -> None:
    own = await asyncpg.connect(database)
    transaction = own.transaction()
    await transaction.start()
    await own.execute("LOCK TABLE second_signal.model_training_history IN ACCESS EXCLUSIVE MODE")
    slot = {"model_type": "demand", "machine_id": str(uuid4())}
    act = asyncio.create_task(asyncio.to_thread(client.post, f"{API}/retrain/trigger", params=slot))
    await _until(own, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass", "second_signal")
    process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 5) == -signal.SIGTERM
    with pytest.raises(httpx.TransportError):
        await act
    await transaction.rollback()
    await own.close()


def test_a_database_that_is_down_is_waited_for(killable_server: KillableServer) -> None:
    """At the start and later: 503 with the page still there, and data as soon as it is back, from the same process."""
    asyncio.run(_migrate(killable_server.dsn, "model_perf"))
    killable_server.stop()
    with started("serve", "--dsn", killable_server.dsn) as (process, client):
        for _ in range(2):
            answer = client.get(f"{API}/views/fleet")
            assert (answer.status_code, answer.json()["code"]) == (503, "storage")
            assert client.get("/model-performance/").status_code == 200
            killable_server.start()
            assert _first_answer(client).json()["models"] == []
            killable_server.kill()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def _first_answer(client: httpx.Client) -> httpx.Response:
    deadline = time.monotonic() + 20
    while (answer := client.get(f"{API}/views/fleet")).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


@pytest.mark.parametrize("write", [False, True])
def test_the_demo_serves_its_story(write: bool) -> None:
    """From its embedded server, at the time of the story's end; Ctrl-C, which all its processes get, ends it all."""
    with started("demo", "--serve", *(["--write"] if write else [])) as (process, client):
        view = client.get(f"{API}/views/fleet").json()
        assert ([each["model_type"] for each in view["models"]], view["now"][:4]) == (["demand"], "2014")
        slot = {key: view["models"][0][key] for key in ("model_type", "machine_id")}
        trend = client.get(f"{API}/views/model", params=slot).json()["trend"]
        assert trend["metrics"][-1]["evaluation_date"] == view["models"][0]["evaluation_date"] < view["now"]
        assert client.post(f"{API}/retrain/trigger", params=slot).status_code == (200 if write else 403)
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
    assert [each for each in children if each.is_running()] == []


def test_the_demo_serves_a_given_database(database: str) -> None:
    """With --json, stdout is the JSON alone."""
    command = [sys.executable, "-m", "model_perf", "demo", "--dsn", database, "--json", "--serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert process.stderr is not None
    assert process.stdout is not None
    try:
        address = process.stderr.readline().split()[1]
        models = httpx.get(f"{address}{API[1:]}/views/fleet", trust_env=False).json()["models"]
        assert "demand" in {each["model_type"] for each in models}
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=30)[0]
        assert told.startswith("{")
        assert told.rstrip().endswith("}")
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
