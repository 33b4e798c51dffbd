"""A tracker's own pool: opened when awaited or entered, closed with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from model_perf.sql._connection import Pool


class Closable(Protocol):
    async def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Opening(Generic[T]):
    """A tracker on its way: ``await`` it, or ``async with`` it, which closes it at the end."""

    def __init__(self, open_tracker: Callable[[], Awaitable[T]]) -> None:
        self._open = open_tracker
        self._tracker: T | None = None

    def __await__(self) -> Generator[Any, None, T]:
        return self._open().__await__()

    async def __aenter__(self) -> T:
        self._tracker = await self._open()
        return self._tracker

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._tracker is not None:
            await self._tracker.close()


async def close_pool(pool: Pool) -> None:
    """Wait for the calls under way, ten seconds at most."""
    try:
        await asyncio.wait_for(pool.close(), 10)
    except TimeoutError:
        pool.terminate()
