"""The host of docs/how-to/fastapi.md, as the page has it, on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
from fastapi import FastAPI
from tests.factories import make_id
from tests.pages import ROOT, read_chunks
from tests.servers import with_database

PAGE = ROOT / "docs" / "how-to" / "fastapi.md"
API = "/api/v1/model-performance"
READER = {"authorization": "Bearer token of ana"}
OPERATOR = {"authorization": "Bearer token of bo"}

MACHINE = make_id("machine press")
MODEL = make_id("model energy")
VERSION = 7
SLOT = {"model_type": "energy", "machine_id": str(MACHINE)}

_TABLES = """
CREATE TABLE machines (id uuid PRIMARY KEY, name text NOT NULL, type text NOT NULL);
CREATE TABLE deployed_models (id uuid PRIMARY KEY, version integer NOT NULL);
"""


def read_host() -> str:
    """The first fence of the page that makes an application."""
    return next(chunk.text for chunk in read_chunks(PAGE) if chunk.language == "python" and "FastAPI(" in chunk.text)


def load_host(dsn: str, source: str | None = None) -> FastAPI:
    """The application that the page's code makes; its pool is born in its lifespan."""
    namespace: dict[str, Any] = {"__name__": "host", "dsn": dsn}
    exec(compile(source or read_host(), str(PAGE), "exec", dont_inherit=True), namespace)
    app: FastAPI = namespace["app"]
    app.state.tracker = namespace["tracker"]
    return app


@asynccontextmanager
async def host_database(server_dsn: str) -> AsyncIterator[str]:
    """A database with the host's own tables, one machine and one model in service."""
    name = f"model_perf_host_{uuid4().hex[:8]}"
    server = await asyncpg.connect(server_dsn)
    try:
        await server.execute(f"CREATE DATABASE {name}")
        dsn = with_database(server_dsn, name)
        host = await asyncpg.connect(dsn)
        await host.execute(_TABLES)
        await host.execute("INSERT INTO machines VALUES ($1, 'press 7', 'press')", MACHINE)
        await host.execute("INSERT INTO deployed_models VALUES ($1, $2)", MODEL, VERSION)
        await host.close()
        yield dsn
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[FastAPI]:
    """The host between its start and its end."""
    async with app.router.lifespan_context(app):
        yield app


def client_of(app: FastAPI, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    """A client within the process; it does not start the host."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host", headers=headers)
