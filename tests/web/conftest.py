"""A host's application with the router, and a client of it to which a 500 is an exception."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from tests.web.calls import PREFIX

from model_perf import ModelPerformanceTracker
from model_perf.web import create_router


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
