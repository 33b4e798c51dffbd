"""A process that serves the HTTP API and the dashboard, and nothing else (extra ``serve``)."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

try:
    import fastapi  # noqa: F401 - only to say what is missing
    import uvicorn
except ImportError as error:
    raise ImportError(f"serving needs FastAPI and uvicorn ({error}): pip install 'model-perf[serve]'") from error

from model_perf import InvalidInputError, ModelPerfError, ModelPerformanceTracker, StorageError
from model_perf._loading import load_options
from model_perf._opening import refused
from model_perf.web._serving import create_app, is_loopback

CONNECTIONS = 5
GRACE_S = 10
"""That requests have to finish at the end."""


async def run(args: argparse.Namespace) -> None:
    """Serve the given database until a signal; while the database is down, answer so."""
    listener = listen(args.host, args.port, args.token)
    with listener:
        options = load_options(args.options) | {"schema": args.schema}
        async with ModelPerformanceTracker.connect(
            args.dsn, min_size=0, max_size=CONNECTIONS, statement_cache_size=0, **options
        ) as tracker:
            await _look_at(tracker)
            await serve(tracker, listener, token=args.token, write=args.write)


def listen(host: str, port: int, token: str | None) -> socket.socket:
    """The address taken, before anything else is done; other machines' only with a token."""
    if token is not None and not (token.isascii() and token.isprintable() and token.split() == [token]):
        raise InvalidInputError("token", "is empty, or has characters that no header takes; `openssl rand -hex 24`")
    if not 0 <= port <= 65535:  # getaddrinfo would take its last 16 bits
        raise InvalidInputError("port", f"{port} is none; give one up to 65535, or 0 for a free one")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise InvalidInputError("host", f"{host!r}, port {port}: {error}; give an address of this machine") from error
    if token is None and not is_loopback(str(address[0])):
        raise InvalidInputError(
            "host",
            f"{host!r} can be reached from other machines; set a token in the environment's MODEL_PERF_TOKEN, "
            "or listen on 127.0.0.1",
        )
    try:
        return _bind(family, kind, address)
    except OSError as error:
        raise InvalidInputError(
            "port", f"{host}:{port} cannot be taken ({error}); --port 0 takes a free one"
        ) from error


def _bind(family: int, kind: int, address: Any) -> socket.socket:
    listener = socket.socket(family, kind)
    try:
        if sys.platform != "win32":  # there it would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


async def _look_at(tracker: ModelPerformanceTracker) -> None:
    """A database that is down may come back; one that is not migrated does not migrate itself."""
    try:
        await tracker.check_schema()
    except ModelPerfError as error:
        if not isinstance(error, StorageError) or not error.retry_safe or isinstance(error.__cause__, ValueError):
            raise
        print(f"model-perf: {error}; requests are answered with 503 until it is there", file=sys.stderr)
    except (ValueError, OverflowError) as error:  # of asyncpg, which reads the DSN when it first connects
        raise refused(error) from None


def _say(line: str) -> None:
    """Whoever started it may have gone: that is no reason not to serve."""
    try:
        print(line, flush=True)
    except OSError:  # at the end Python would flush it again, and fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def serve(
    tracker: ModelPerformanceTracker,
    listener: socket.socket,
    *,
    token: str | None = None,
    write: bool = False,
    say: Callable[[str], None] = _say,
) -> None:
    """Serve on a bound socket until SIGINT or SIGTERM, and say where once it listens."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    host, port = listener.getsockname()[:2]
    app = create_app(tracker, token=token, write=write, is_loopback=is_loopback(host))
    config = uvicorn.Config(
        *(app,), lifespan="off", ws="none", log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    server = _Server(config)
    mode = "acts are carried out" if write else "read-only: --write lets it act"
    shown = f"[{host}]" if ":" in host else host
    server.on_started = lambda: say(f"Dashboard: http://{shown}:{port}/ ({mode}). Ctrl-C ends it.")
    _stop_at_signals(server)
    await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again, before the tracker is closed."""

    on_started: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started()

    def install_signal_handlers(self) -> None:
        """Of uvicorn before 0.29."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _stop_at_signals(server: uvicorn.Server) -> None:
    """The first one ends it in good order, the second as signals do by themselves."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows, where Ctrl-C ends asyncio.run by itself
            loop.add_signal_handler(number, stop)
