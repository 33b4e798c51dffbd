"""Runs statements on the host's pool, or on one connection it lent, and leaves both as they were found.

The only place that knows asyncpg's exceptions and the habits of its pools.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from time import perf_counter
from typing import TypeVar

import asyncpg

from model_perf import _validation as check
from model_perf.errors import ConflictError, ModelPerfError, SchemaError, StorageError
from model_perf.repos._counters import Counters
from model_perf.sql import quote_schema
from model_perf.sql._connection import Connection, Pool, Row
from model_perf.sql.migrate import check as check_schema

T = TypeVar("T")
PoolSource = Pool | Callable[[], Pool]

ATTEMPTS = 4
"""Tries of one call whose transaction PostgreSQL rolled back to end a deadlock or a serialization failure."""

_ROLLED_BACK = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_NOT_MIGRATED = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
)
_CONFLICTS = {
    "models_one_type_per_model": "the model_id is known with another model_type; a model_id has one model_type",
}
_CONNECTION_LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Executor:
    """A pool (or the way to find it), or one connection in the host's transaction."""

    def __init__(
        self,
        source: PoolSource | None,
        schema: str,
        *,
        acquire_timeout_s: float = 10.0,
        clock: Callable[[], datetime] = utc_now,
        connection: Connection | None = None,
    ) -> None:
        quote_schema(schema)
        self._clock = clock
        self._source = source
        self._connection = connection
        self.acquire_timeout_s = acquire_timeout_s
        self._schema_seen = _SchemaSeen()
        self._is_busy = False
        self._is_nested = False
        self.schema = schema
        self.counters = Counters()

    @property
    def pool(self) -> Pool:
        """The pool; looked up at each use, for hosts whose pool is born after their routers."""
        try:
            # Only a function is called: asyncpg's pools are objects with methods, and not callable themselves.
            pool = self._source() if callable(self._source) else self._source
        except (AttributeError, KeyError):  # app.state.pool, before the host has set it
            pool = None
        if pool is None:
            raise StorageError(
                "the pool does not exist yet: ModelPerformanceTracker(lambda: app.state.pool) looks it up at each "
                "call, so make the pool before the first one (in the host's lifespan)",
                retry_safe=True,
            )
        return pool

    @property
    def is_bound(self) -> bool:
        return self._connection is not None

    def bind(self, connection: Connection) -> Executor:
        """The same on one connection, inside the transaction that its owner has opened."""
        _demand_transaction(connection)
        bound = Executor(
            self._source,
            self.schema,
            acquire_timeout_s=self.acquire_timeout_s,
            clock=self._clock,
            connection=connection,
        )
        bound._schema_seen = self._schema_seen
        bound.counters = self.counters
        return bound

    def nest(self, connection: Connection) -> Executor:
        """The same inside a `run` of our own, which alone tells and repeats what goes wrong."""
        nested = self.bind(connection)
        nested._is_nested = True
        return nested

    def moment(self, now: datetime | None = None) -> datetime:
        """The time that a call is given, else the clock's; with a time zone."""
        return check.as_timestamp(self._clock() if now is None else now, "now")

    async def run(
        self, work: Callable[[Connection], Awaitable[T]], *, transaction: bool = False, repeatable: bool = True
    ) -> T:
        """Do *work* on a connection: in a savepoint of the host's transaction, or on one from the pool.

        Parameters
        ----------
        transaction : bool
            All statements of *work* take effect together; else each by itself.
        repeatable : bool
            A second call with the same arguments writes nothing twice; goes into the error's `retry_safe`.
        """
        if self._is_nested:
            return await self._run(work, transaction, repeatable)  # a part of a call that is counted already
        return await self._counted(self._run(work, transaction, repeatable))

    async def _counted(self, call: Awaitable[T]) -> T:
        started = perf_counter()
        try:
            return await call
        except ModelPerfError as error:
            self.counters.errors[type(error).__name__] += 1
            raise
        finally:
            self.counters.ended(perf_counter() - started)

    async def _run(self, work: Callable[[Connection], Awaitable[T]], transaction: bool, repeatable: bool) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._session(transaction) as connection:
                    await self._check_once(connection)
                    return await work(connection)
            except ModelPerfError:
                raise
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
                if self._is_nested:
                    raise
                if attempt == ATTEMPTS or not self._may_repeat(error):
                    raise _translate(error, repeatable, self._connection) from error
                self.counters.retries += 1
                await asyncio.sleep(random.uniform(0, 0.01 * 4**attempt))
        raise AssertionError("unreachable")

    async def run_unchecked(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do *work* on a connection that has nothing of ours around it, for what looks after the schema itself."""
        return await self._counted(self._run_unchecked(work))

    async def _run_unchecked(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            if self._connection is not None:
                return await work(self._connection)
            async with self._acquired() as connection:
                return await work(connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            raise _translate(error, True, self._connection) from error

    async def _check_once(self, connection: Connection) -> None:
        if not self._schema_seen.fits:
            await check_schema(connection, self.schema)
            self._schema_seen.fits = True

    def _may_repeat(self, error: BaseException) -> bool:
        """Whether the same call, done again, finds another state of things: the savepoint or transaction is gone."""
        if isinstance(error, asyncpg.UniqueViolationError):
            # Somebody else's transaction held the key, unseen, and has committed by now.
            return bool(error.constraint_name == "model_performance_metrics_pkey")
        return isinstance(error, _ROLLED_BACK) and not self.is_bound

    async def fetch(self, query: str, *args: object) -> Sequence[Row]:
        return await self.run(lambda connection: connection.fetch(query, *args))

    async def fetchrow(self, query: str, *args: object) -> Row | None:
        return await self.run(lambda connection: connection.fetchrow(query, *args))

    @asynccontextmanager
    async def _session(self, transaction: bool) -> AsyncIterator[Connection]:
        if self._connection is not None:
            async with self._savepoint(self._connection):
                yield self._connection
            return
        async with self._acquired() as connection:
            if transaction:
                async with connection.transaction():
                    yield connection
            else:
                yield connection

    @asynccontextmanager
    async def _savepoint(self, connection: Connection) -> AsyncIterator[None]:
        """Our failure must leave the host's transaction usable; savepoints of two tasks would end each other's."""
        if self._is_busy:
            raise StorageError("a bound tracker serves one task at a time; await its calls in turn", retry_safe=True)
        _demand_transaction(connection)
        self._is_busy = True
        try:
            async with connection.transaction():
                yield
        finally:
            self._is_busy = False

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        lease = self.pool.acquire(timeout=self.acquire_timeout_s)
        try:
            connection = await lease.__aenter__()
        except TimeoutError as error:
            raise StorageError(
                f"no connection came free within {self.acquire_timeout_s:g} s; inside your own transaction use "
                "tracker.bind(connection), else enlarge the pool",
                retry_safe=True,
            ) from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            told = str(error) or type(error).__name__
            raise StorageError(f"no connection to PostgreSQL: {told}", retry_safe=True) from error
        try:
            yield connection
        except BaseException as error:
            _give_up_closed(connection)
            await lease.__aexit__(type(error), error, error.__traceback__)
            raise
        else:
            await lease.__aexit__(None, None, None)


def as_texts(values: Iterable[object]) -> list[str | None]:
    """Values as PostgreSQL reads them: asyncpg knows text[], other arrays it looks up on the host's connection."""
    return [
        None if value is None else value.isoformat() if isinstance(value, datetime) else str(value) for value in values
    ]


class _SchemaSeen:
    """Whether the schema was found to fit, for a tracker and all that are bound from it."""

    fits = False


def _demand_transaction(connection: Connection) -> None:
    try:
        is_open = connection.is_closed() or connection.is_in_transaction()  # a lost connection says so by itself
    except asyncpg.InterfaceError as error:
        raise StorageError(
            f"the bound connection is no longer yours ({error}); bind again inside a transaction", retry_safe=False
        ) from error
    if not is_open:
        raise StorageError(
            "bind() needs an open transaction: use `async with connection.transaction():` around it and all its calls",
            retry_safe=True,
        )


def _give_up_closed(connection: Connection) -> None:
    """asyncpg before 0.32 never gets a connection back that its protocol aborted: the pool would shrink by it."""
    with suppress(asyncpg.InterfaceError):  # raised where the pool has it back already
        if connection.is_closed():
            connection.terminate()


def _translate(error: BaseException, repeatable: bool, bound: Connection | None) -> ModelPerfError:
    if isinstance(error, asyncpg.IntegrityConstraintViolationError) and error.constraint_name in _CONFLICTS:
        return ConflictError(_CONFLICTS[error.constraint_name])
    if isinstance(error, _NOT_MIGRATED):
        return SchemaError(f"{error}; run `model-perf migrate` (or `model-perf status` to see what is there)")
    if isinstance(error, _ROLLED_BACK):
        return StorageError(f"PostgreSQL rolled the call back: {error}; repeat it", retry_safe=True)
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return StorageError(
            f"{error}; a writer needs SELECT, INSERT and UPDATE, a pruner SELECT and DELETE: "
            "`model-perf migrate --sql --writer ROLE --pruner ROLE` prints the rights to grant",
            retry_safe=False,
        )
    if isinstance(error, asyncpg.QueryCanceledError | asyncpg.LockNotAvailableError):
        return StorageError(f"PostgreSQL gave up waiting: {error}; nothing was written", retry_safe=True)
    if isinstance(error, TimeoutError):
        return StorageError(
            "the pool's command_timeout ended the call; whether it took effect is unknown",
            retry_safe=repeatable,
            outcome_unknown=True,
        )
    if _is_connection_lost(error):
        return _lost(error, repeatable) if bound is None else _lost_transaction(error, bound)
    if isinstance(error, asyncpg.InsufficientResourcesError | asyncpg.OperatorInterventionError):
        return StorageError(f"PostgreSQL refused for now: {error}", retry_safe=True)
    return StorageError(f"PostgreSQL refused: {error}", retry_safe=False)


def _is_connection_lost(error: BaseException) -> bool:
    """asyncpg speaks of a dead backend in several ways, one of them while rolling back."""
    return isinstance(error, _CONNECTION_LOST) or isinstance(error.__context__, _CONNECTION_LOST)


def _is_closed(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has it back
        return False


def _lost_transaction(error: BaseException, connection: Connection) -> StorageError:
    if isinstance(error, asyncpg.InterfaceError) and not (_is_closed(connection) or error.__context__):
        return StorageError(
            f"the bound connection was not free for this call ({error}); one task at a time, inside its transaction",
            retry_safe=False,
        )
    return StorageError(
        f"the connection was lost ({type(error).__name__}: {error}), and your transaction with it: nothing of it was "
        "committed; repeat it on another connection",
        retry_safe=True,
    )


def _lost(error: BaseException, repeatable: bool) -> StorageError:
    advice = "repeating the same call is safe" if repeatable else "a repeat may write it twice: give ids of your own"
    return StorageError(
        f"the connection was lost ({type(error).__name__}: {error}); whether the call took effect is unknown, {advice}",
        retry_safe=repeatable,
        outcome_unknown=True,
    )
