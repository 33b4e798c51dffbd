"""A host's application with the router, and a client of it to which a 500 is an exception."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from tests.web.calls import PREFIX

from model_perf import ModelPerformanceTracker
from model_perf.web import create_router

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]


@pytest.fixture
def app(tracker: ModelPerformanceTracker) -> FastAPI:
    """A host that lets everybody in, on the test's own schema."""
    app = FastAPI()
    app.include_router(create_router(tracker, allow_anonymous=True), prefix=PREFIX)
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Paths are those below the router's prefix."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://host{PREFIX}") as client:
        yield client


@pytest.fixture
def fetch(pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> Fetch:
    """Rows of a SELECT in which {schema} stands for the test's own."""

    async def run(query: str, *args: object) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await pool.fetch(query.replace("{schema}", f'"{tracker.schema}"'), *args)
        return rows

    return run
