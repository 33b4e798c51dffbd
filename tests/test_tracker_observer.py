"""The buffer of observations: from threads, without the database, on tests that have ended."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import Any

import asyncpg
import numpy as np
import pytest
from tests.factories import Clock, make_id
from tests.observations import DAY, draw, start

from model_perf import InvalidInputError, ModelPerformanceTracker
from model_perf._observer import Observer


async def test_a_bound_tracker_has_no_buffer(timed: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """It would write beside the host's one task."""
    test = await start(timed)
    async with pool.acquire() as connection, connection.transaction():
        with pytest.raises(InvalidInputError, match="use observe_many"):
            timed.bind(connection).observer(test.id)


async def test_the_buffer(timed: ModelPerformanceTracker) -> None:
    """Observed one by one and flushed by size, by time and at the end, everything is in, once."""
    test = await start(timed)
    data = draw(2500, 16)
    async with timed.observer(test.id, flush_every_s=0.05, flush_at=300) as observer:
        for i, (arm, value) in enumerate(zip(data["arms"].tolist(), data["values"].tolist(), strict=True)):
            observer.observe(arm, value, unit=f"unit {i}")
            if i == 1000:
                await asyncio.sleep(0.15)
                moments = await timed.ab_tests.fetch_moments(test.id)
                assert sum(row["n"] for row in moments) == 1001
    result = await timed.ab_test_results(test.id)
    assert (result.n_a, result.n_b) == (1250, 1250)
    is_b = data["arms"] == "b"
    assert result.effect == pytest.approx(data["values"][is_b].mean() - data["values"][~is_b].mean(), rel=1e-9)


async def test_the_buffer_of_many_threads(timed: ModelPerformanceTracker) -> None:
    """Endpoints that are plain functions run in threads: each outcome stays with its model, and none is lost."""
    test, before = await start(timed), sys.getswitchinterval()

    def observe(observer: Observer, number: int) -> None:
        for i in range(10_000):
            observer.observe("ab"[number % 2], float(number % 2), unit=f"{number} {i}" if i % 2 else None)

    sys.setswitchinterval(1e-5)
    try:
        async with timed.observer(test.id, flush_every_s=0.02, flush_at=500) as observer:
            await asyncio.gather(*(asyncio.to_thread(observe, observer, number) for number in range(4)))
    finally:
        sys.setswitchinterval(before)
    moments = await timed.ab_tests.fetch_moments(test.id)
    assert sum(row["n"] for row in moments) == 40_000
    assert {(row["arm"], row["mean"], row["m2"]) for row in moments} == {("a", 0.0, 0.0), ("b", 1.0, 0.0)}


async def test_the_buffer_takes_covariates_and_units_of_any_kind(timed: ModelPerformanceTracker) -> None:
    """A wrong covariate leaves no half of an observation; numbers, UUIDs and any text are units."""
    test = await start(timed, covariate="size")
    async with timed.observer(test.id) as observer:
        units: list[Any] = ["press", 7, np.int64(8), make_id("unit"), "Zürich", None]
        right: list[Any] = [True, np.True_]
        for unit in units:
            observer.observe("a", right[bool(unit == 7)], unit=unit, covariate=2)
            with pytest.raises(InvalidInputError, match="covariate: "):
                observer.observe("a", 1.0, unit=unit, covariate=math.inf)
        with pytest.raises(InvalidInputError, match="covariate: the design's is 'size'"):
            observer.observe("a", 1.0)
    assert sum(row["n"] for row in await timed.ab_tests.fetch_moments(test.id)) == 6


async def test_the_buffer_outlives_the_database(
    timed: ModelPerformanceTracker, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written stays, bounded, and goes with a later flush; a lost answer counts once."""
    from model_perf import StorageError

    test, add = await start(timed), timed.ab_tests.add_moments
    fail = "before"

    async def failing(*args: Any, **more: Any) -> bool:
        if fail == "before":
            raise StorageError("away", retry_safe=True)
        done = await add(*args, **more)
        if fail == "after":
            raise StorageError("answer lost", retry_safe=True, outcome_unknown=True)
        return done

    monkeypatch.setattr(timed.ab_tests, "add_moments", failing)
    async with timed.observer(test.id, flush_every_s=60.0, flush_at=50) as observer:
        for i in range(1000):
            observer.observe("ab"[i % 2], 1.0 + i % 7, unit=i)
        for way in ("before", "after", "after"):
            fail = way
            with pytest.raises(StorageError):
                await observer.flush()
            observer.observe("a", 2.0, unit=1)
        fail = ""
    moments = await timed.ab_tests.fetch_moments(test.id)
    assert sum(row["n"] for row in moments) == 1003


async def test_the_buffer_outlives_errors_of_the_host(
    timed: ModelPerformanceTracker, pool: asyncpg.Pool, clock: Clock
) -> None:
    """A pool that the host looks up in vain for a while ends no flushes: what waited goes with a later one."""
    test, connected = await start(timed), True

    def find_pool() -> asyncpg.Pool:
        if not connected:
            raise RuntimeError("the application is not connected")
        return pool

    host = ModelPerformanceTracker(find_pool, schema=timed.schema, clock=clock)
    async with host.observer(test.id, flush_every_s=0.02) as observer:
        connected = False
        observer.observe("a", 1.0)
        await asyncio.sleep(0.1)
        connected = True
        observer.observe("b", 1.0)
        for _ in range(500):
            if sum(row["n"] for row in await timed.ab_tests.fetch_moments(test.id)) == 2:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("nothing was flushed any more")


async def test_the_buffer_of_an_ended_test(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """What comes after the end is counted by the buffer and with the test, and raises nothing in the service."""
    test = await start(timed)
    async with timed.observer(test.id) as observer:
        observer.observe("a", 1.0)
        clock.now += 11 * DAY
        observer.observe("b", 1.0)
    assert observer.n_late == 2
    assert (await timed.ab_tests.fetch(test.id)).late_observations == 2


async def test_the_buffer_takes_nothing_that_it_would_not_write(
    timed: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is closed, and after, an outcome is refused instead of lost."""
    test, add = await start(timed), timed.ab_tests.add_moments
    told = 0

    async def add_slowly(*args: Any, **options: Any) -> bool:
        await asyncio.sleep(0.1)
        return await add(*args, **options)

    async def observe_until_refused(observer: Observer) -> None:
        nonlocal told
        while True:
            observer.observe("a", 1.0)
            told += 1
            await asyncio.sleep(0.01)

    monkeypatch.setattr(timed.ab_tests, "add_moments", add_slowly)
    async with timed.observer(test.id) as observer:
        telling = asyncio.create_task(observe_until_refused(observer))
        await asyncio.sleep(0.03)
    with pytest.raises(InvalidInputError, match="observer: is not open"):
        await asyncio.wait_for(telling, 1)
    with pytest.raises(InvalidInputError, match="observer: is not open"):
        observer.observe("b", 1.0)
    assert sum(row["n"] for row in await timed.ab_tests.fetch_moments(test.id)) == told >= 1


async def test_closing_the_buffer_can_be_cancelled(
    timed: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that gives up while a flush of it ends is not held up by further flushes."""
    test, add = await start(timed), timed.ab_tests.add_moments
    begun = asyncio.Event()

    async def add_to_the_end(*args: Any, **options: Any) -> bool:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)  # as a driver does that tells the server to stop
        return await add(*args, **options)

    async def serve() -> None:
        async with timed.observer(test.id, flush_every_s=0.01) as observer:
            observer.observe("a", 1.0)
            await begun.wait()

    monkeypatch.setattr(timed.ab_tests, "add_moments", add_to_the_end)
    serving = asyncio.create_task(serve())
    await begun.wait()
    await asyncio.sleep(0.05)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(serving, 2)


async def test_the_buffer_of_a_deleted_test(timed: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Nothing waits for what never comes back, and nothing is raised in the service."""
    test = await start(timed)
    async with timed.observer(test.id) as observer:
        observer.observe("a", 1.0)
        await pool.execute(f"DELETE FROM {timed.schema}.model_ab_tests WHERE id = $1", test.id)
        await observer.flush()
        observer.observe("b", 1.0)
    assert observer.n_late == 2


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"arm": "c"}, "arm"),
        ({"arm": np.array(["a"])}, "arm"),
        ({"value": math.nan}, "value"),
        ({"value": "1"}, "value"),
        ({"value": 1e91}, "value"),
        ({"unit": ""}, "unit"),
        ({"unit": "\ud800"}, "unit"),
        ({"unit": 1.5}, "unit"),
        ({"covariate": 1.0}, "covariate"),
        ({"metric": "other"}, "metric"),
        ({"metric": ["mae"]}, "metric"),
        ({"unit": 10**5000}, "unit"),
    ],
)
async def test_the_buffer_refuses_at_once(
    timed: ModelPerformanceTracker, arguments: dict[str, Any], argument: str
) -> None:
    """The call that is wrong gets the error, and the others are kept."""
    test = await start(timed)
    async with timed.observer(test.id) as observer:
        observer.observe("a", 1.0, unit="u")
        with pytest.raises(InvalidInputError) as error:
            observer.observe(**{"arm": "a", "value": 1.0, "unit": "u", **arguments})
        assert error.value.argument == argument
    assert sum(row["n"] for row in await timed.ab_tests.fetch_moments(test.id)) == 1
