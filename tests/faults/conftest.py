"""Processes and connections that the faults are made with."""

from __future__ import annotations

import multiprocessing
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor

import asyncpg
import pytest


@pytest.fixture(scope="session")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Eight processes that have model_perf loaded; a test uses all it names at once."""
    with ProcessPoolExecutor(8, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture
async def host(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the host's own, outside of the pool."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()
