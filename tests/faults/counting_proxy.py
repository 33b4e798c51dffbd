"""A TCP proxy before a PostgreSQL server that counts how often the client waits for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

_CHUNK = 1 << 16


class RoundTrips:
    """What a client sends, in however many pieces, followed by what the server sends, is one round trip."""

    def __init__(self) -> None:
        self.n = 0


class _Relay:
    """One client's connection; the client's turn ends with the server's first answer."""

    def __init__(self, trips: RoundTrips) -> None:
        self._trips = trips
        self._is_clients_turn = False

    async def forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_client: bool) -> None:
        while data := await source.read(_CHUNK):
            if self._is_clients_turn and not is_client:
                self._trips.n += 1
            self._is_clients_turn = is_client
            sink.write(data)
            await sink.drain()
        sink.close()


@asynccontextmanager
async def counting_proxy(dsn: str) -> AsyncIterator[tuple[str, RoundTrips]]:
    """The dsn of the same database by way of the proxy, and the round trips of all its clients."""
    trips = RoundTrips()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await _connect(dsn)
        relay = _Relay(trips)
        await asyncio.gather(
            relay.forward(reader, upstream_writer, is_client=True),
            relay.forward(upstream_reader, writer, is_client=False),
            return_exceptions=True,
        )

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port, parts = server.sockets[0].getsockname()[1], urlsplit(dsn)
    login = parts.netloc.rsplit("@", 1)[0] if "@" in parts.netloc else "postgres"
    async with server:
        yield f"postgresql://{login}@127.0.0.1:{port}{parts.path}?sslmode=disable", trips


async def _connect(dsn: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    host, port = parts.hostname or query["host"][0], parts.port or int(query.get("port", ["5432"])[0])
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)
