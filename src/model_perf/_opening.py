"""A tracker's own pool: opened when awaited or entered, closed with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

import asyncpg

from model_perf import _validation as check
from model_perf.errors import InvalidInputError, StorageError
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


async def open_pool(dsn: str | None, min_size: int = 1, max_size: int = 10, statement_cache_size: int = 100) -> Pool:
    """A pool of our own; what is wrong with the DSN or the server is said at once."""
    check.as_optional_text(dsn, "dsn")
    check.as_int(max_size, "max_size", low=1)
    check.as_int(min_size, "min_size", high=max_size)
    check.as_int(statement_cache_size, "statement_cache_size", high=100_000)
    try:
        pool: Pool = await asyncpg.create_pool(
            dsn, min_size=min_size, max_size=max_size, statement_cache_size=statement_cache_size
        )
    except (ValueError, OverflowError) as error:
        raise refused(error) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        told = str(error) or type(error).__name__
        raise StorageError(f"no connection to PostgreSQL: {told}", retry_safe=True) from error
    return pool


def refused(error: Exception) -> InvalidInputError:
    """What asyncpg says of a DSN. Most quotes what could not be read, which may be a part of the password."""
    is_harmless = isinstance(error, asyncpg.InterfaceError) and "@" not in str(error)
    told = str(error) if is_harmless else "it cannot be read"
    mend = "give a URI, as postgresql://user:password@host:5432/database, with %.. for what is no letter or digit"
    return InvalidInputError("dsn", f"{told}; {mend}")


async def close_pool(pool: Pool) -> None:
    """Wait for the calls under way, ten seconds at most."""
    try:
        await asyncio.wait_for(pool.close(), 10)
    except TimeoutError:
        pool.terminate()
