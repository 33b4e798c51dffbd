"""How often a call waits for the network: counted between asyncpg and the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import asyncpg
import numpy as np
import pytest
from tests.factories import make_evaluation, make_id, make_ref
from tests.faults.counting_proxy import RoundTrips, counting_proxy
from tests.faults.states import BASELINE_DAYS, learn_baseline
from tests.writers import record

from model_perf import ABTestResult, ModelPerformanceTracker, MonitoringPolicy
from model_perf.drift import CusumDetector

REF = make_ref()


@pytest.fixture
async def proxied(database: str) -> AsyncIterator[tuple[str, RoundTrips]]:
    async with counting_proxy(database) as (dsn, trips):
        yield dsn, trips


@pytest.fixture
async def far_pool(proxied: tuple[str, RoundTrips]) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(proxied[0], min_size=1, max_size=1) as pool:
        yield pool


@pytest.fixture
def trips(proxied: tuple[str, RoundTrips]) -> RoundTrips:
    return proxied[1]


@pytest.fixture
async def far(far_pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> ModelPerformanceTracker:
    """A tracker on the other side of the proxy, whose next evaluation of REF is judged in earnest."""
    far = ModelPerformanceTracker(far_pool, schema=tracker.schema)
    await learn_baseline(far, REF)
    return far


async def count(trips: RoundTrips, call: Callable[[], Awaitable[object]]) -> int:
    before = trips.n
    await call()
    return trips.n - before


async def test_the_proxy_counts_what_it_should(far_pool: asyncpg.Pool, trips: RoundTrips) -> None:
    """A statement in asyncpg's cache is one round trip, a new one two, and the pool's reset one."""
    async with far_pool.acquire() as connection:
        assert await count(trips, lambda: connection.execute("SELECT 1")) == 1
        assert await count(trips, lambda: connection.fetchval("SELECT $1::int", 1)) == 2
        assert await count(trips, lambda: connection.fetchval("SELECT $1::int", 2)) == 1
        before = trips.n
    assert trips.n - before == 1


@pytest.mark.parametrize("rmse", [10.0, 30.0])
async def test_record_through_a_pool_takes_three(far: ModelPerformanceTracker, trips: RoundTrips, rmse: float) -> None:
    """One read, one writing statement and the pool's reset, with an alert and without."""
    await record(far, make_evaluation(REF, day=BASELINE_DAYS, metrics={"rmse": rmse}))
    evaluation = make_evaluation(REF, day=BASELINE_DAYS + 1, metrics={"rmse": rmse})
    assert await count(trips, lambda: record(far, evaluation)) == 3


@pytest.mark.parametrize("rmse", [10.0, 30.0])
async def test_record_in_the_hosts_transaction_takes_four(
    far: ModelPerformanceTracker, far_pool: asyncpg.Pool, trips: RoundTrips, rmse: float
) -> None:
    """A savepoint, one read, one writing statement and the savepoint's release."""
    await record(far, make_evaluation(REF, day=BASELINE_DAYS, metrics={"rmse": rmse}))
    evaluation = make_evaluation(REF, day=BASELINE_DAYS + 1, metrics={"rmse": rmse})
    async with far_pool.acquire() as connection, connection.transaction():
        bound = far.bind(connection)
        assert await count(trips, lambda: record(bound, evaluation)) == 4


async def test_record_by_a_tracker_that_is_only_ever_bound_takes_four(
    tracker: ModelPerformanceTracker, far_pool: asyncpg.Pool, trips: RoundTrips
) -> None:
    """The schema is looked at once per tracker, not once per bind()."""
    only_bound = ModelPerformanceTracker(far_pool, schema=tracker.schema)
    counts = []
    async with far_pool.acquire() as connection:
        for day in range(3):
            async with connection.transaction():
                bound = only_bound.bind(connection)
                counts.append(await count(trips, partial(record, bound, make_evaluation(REF, day=day))))
    assert counts[-1] == 4


async def test_a_repeat_reads_once_or_twice_more(far: ModelPerformanceTracker, trips: RoundTrips) -> None:
    """A repeated evaluation is looked for and read back."""
    evaluation = make_evaluation(REF, day=BASELINE_DAYS)
    await record(far, evaluation)
    await record(far, evaluation)
    assert await count(trips, lambda: record(far, evaluation)) <= 5


async def test_a_training_run_costs_one_statement_more(far: ModelPerformanceTracker, trips: RoundTrips) -> None:
    """Where the policy retrains, runs whose workers are lost may have to be ended before one can be opened."""
    far.policy = MonitoringPolicy(retrain_on=("critical",))
    await record(far, make_evaluation(REF, day=BASELINE_DAYS, metrics={"rmse": 30.0}))
    evaluation = make_evaluation(REF, day=BASELINE_DAYS + 1, metrics={"rmse": 30.0})
    assert await count(trips, lambda: record(far, evaluation)) <= 4


async def test_a_recovery_costs_nothing_more(far: ModelPerformanceTracker, trips: RoundTrips) -> None:
    """The evaluation that resolves an alert takes the same read, writing statement and reset as any other."""
    counts = []
    for days in (range(BASELINE_DAYS, BASELINE_DAYS + 4), range(BASELINE_DAYS + 30, BASELINE_DAYS + 34)):
        for day, rmse in zip(days, (30.0, 10.0, 10.0, 10.0), strict=True):
            call = partial(record, far, make_evaluation(REF, day=day, metrics={"rmse": rmse}))
            counts.append(await count(trips, call))
    assert counts[4:] == [3] * 4
    assert [alert.resolution for alert in (await far.alerts.list_alerts()).items] == ["recovered"] * 2


CALLS: dict[str, tuple[int, Callable[[ModelPerformanceTracker], Awaitable[object]]]] = {
    "active_alerts": (2, lambda tracker: tracker.active_alerts()),
    "check_drift": (4, lambda tracker: tracker.check_drift(REF)),
    "trigger_retraining": (5, lambda tracker: tracker.trigger_retraining(model_type="baseline")),
    "run_checks": (14, lambda tracker: tracker.run_checks()),
    "fleet": (2, lambda tracker: tracker.fleet()),
    "summary": (2, lambda tracker: tracker.summary("baseline", REF.machine_id)),
    "trend": (2, lambda tracker: tracker.trend(REF)),
    "register_model": (2, lambda tracker: tracker.register_model("baseline", model_id=make_id("one"))),
}


@pytest.mark.parametrize("name", CALLS)
async def test_other_calls_take_their_statements_and_the_reset(
    far: ModelPerformanceTracker, trips: RoundTrips, name: str
) -> None:
    """A call with its statements in asyncpg's cache waits once for each, and once for the pool's reset."""
    expected, call = CALLS[name]
    await call(far)
    assert await count(trips, lambda: call(far)) == expected


async def test_an_update_of_a_stream_takes_a_read_and_a_write(far: ModelPerformanceTracker, trips: RoundTrips) -> None:
    """With the pool's reset after each; a repeat reads only, and a batch takes what a value takes."""
    watched = far.stream(REF, "error", detector=CusumDetector(mean=0.4, sd=0.25))
    await watched.update(0.4, 0)
    assert await count(trips, lambda: watched.update(0.4, 1)) == 4
    assert await count(trips, lambda: watched.update(0.4, 1)) == 2
    assert await count(trips, lambda: watched.update_many([0.4] * 10_000, range(2, 10_002))) == 4


async def test_a_look_takes_three_statements(far: ModelPerformanceTracker, trips: RoundTrips) -> None:
    """The test with its looks, the moments, and the look that is kept; with the pool's resets six round trips.

    Telling a batch takes one, since the test is known.
    """
    test = await far.start_ab_test(name="n", model_a=REF, model_b=make_ref(version=2), metric="mae")
    batch: dict[str, Any] = {"arms": ["a", "b"] * 150, "values": np.random.default_rng(1).normal(size=300)}
    for _ in range(2):
        await far.observe_many(test.id, **batch)
        await far.ab_test_results(test.id)
    assert await count(trips, lambda: far.observe_many(test.id, **batch)) == 2
    assert await count(trips, lambda: far.ab_test_results(test.id)) == 6
    assert await count(trips, lambda: far.ab_test_results(test.id)) == 4


async def test_a_look_that_concludes_takes_as_many(far: ModelPerformanceTracker, trips: RoundTrips) -> None:
    """And what it answers is what later looks do."""
    test = await far.start_ab_test(name="n", model_a=REF, model_b=make_ref(version=2), metric="mae")
    values = np.random.default_rng(1).normal(size=300)
    answers: list[ABTestResult] = []

    async def look() -> None:
        answers.append(await far.ab_test_results(test.id))

    await far.observe_many(test.id, arms=["a", "b"] * 150, values=values)
    await look()
    await far.observe_many(test.id, arms=["a", "b"] * 500, values=np.random.default_rng(2).normal(size=1000))
    await far.observe_many(test.id, arms=["b", "a"] * 500, values=[9.0, 1.0] * 500)
    await far.ab_tests.fetch_moments(test.id)  # prepares it, on whichever connection
    assert await count(trips, look) <= 7  # one more to prepare what concludes
    assert answers[-1].test_status == "completed"
    await look()
    assert answers[-1] == answers[-2]
