"""Looks at a test on observations: kept, at the end, by hand, and several at once."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.factories import START, Clock, make_id, make_ref
from tests.observations import DAY, draw, start
from tests.slow_values import SlowValues

from model_perf import ABTest, ConflictError, ModelPerformanceTracker
from model_perf._experiments import THREAD_ROWS


async def test_looks_are_kept_and_overlap(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """A look is kept where it saw something new; the interval is where all of them overlap, p the smallest."""
    test, lows = await start(timed), []
    for day in range(6):
        clock.now += DAY
        await timed.observe_many(test.id, **draw(300, day))
        for _ in range(2):
            result = await timed.ab_test_results(test.id)
        assert result.confidence_interval is not None
        lows.append(result.confidence_interval.low)
        assert len(result.looks) == day + 1
    assert result.decision == "undecided"
    assert lows == sorted(lows)
    pvalues = [look.pvalue for look in result.looks]
    assert pvalues == sorted(pvalues, reverse=True)  # type: ignore[type-var]
    assert [look.n_a for look in result.looks] == [150 * (day + 1) for day in range(6)]
    assert result.recommendation.startswith("Wait")


async def test_the_end_comes_by_itself(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """The first look after the end concludes an undecided test; what comes later is refused, and counted once."""
    test = await start(timed)
    await timed.observe_many(test.id, **draw(400, 2))
    clock.now += 10 * DAY
    late = make_id("late")
    for _ in range(2):
        with pytest.raises(ConflictError, match="200 observations came late") as error:
            await timed.observe_many(test.id, **draw(200, 3), batch_id=late)
        assert isinstance(error.value.existing, ABTest)
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.test_status, result.n_a) == ("undecided", "completed", 200)
    assert result.test.late_observations == 200
    assert result.recommendation.startswith("Keep model_a: no difference was found")
    with pytest.raises(ConflictError):
        await timed.observe(test.id, "a", 1.0)
    assert (await timed.ab_tests.fetch(test.id)).late_observations == 201


async def test_due_tests_are_concluded(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """One call concludes all that are past their end, with observations or without."""
    one = await start(timed)
    await timed.observe_many(one.id, **draw(400, 2))
    other = await timed.start_ab_test(
        name="n",
        model_a=make_ref(machine="other", version=1),
        model_b=make_ref(machine="other", version=2),
        duration=5 * DAY,
        metric="mae",
    )
    clock.now += 7 * DAY
    assert [result.test.id for result in await timed.conclude_due_ab_tests()] == [other.id]
    clock.now += 7 * DAY
    assert [result.decision for result in await timed.conclude_due_ab_tests()] == ["undecided"]
    assert await timed.conclude_due_ab_tests() == []


async def test_many_observations_are_read_in_a_thread(timed: ModelPerformanceTracker) -> None:
    """Lists become arrays beside the event loop, of routed and of paired observations."""
    routed = await start(timed)
    n = THREAD_ROWS + 1
    values = SlowValues([1.0] * n)
    assert await timed.observe_many(routed.id, arms=["a"] * n, values=values)
    paired = await start(
        timed, model_a=make_ref(machine="m"), model_b=make_ref(machine="m", version=2), pairing="shadow"
    )
    truth = SlowValues([1.0] * n)
    assert await timed.observe_paired(paired.id, y_true=truth, pred_a=[1.0] * n, pred_b=[2.0] * n)
    for read in (values, truth):
        assert read.threads
        assert threading.get_ident() not in read.threads


async def test_due_tests_that_somebody_else_ends_stop_no_other(
    timed: ModelPerformanceTracker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three that are due one is cancelled and one deleted before the look at it; the third is concluded."""
    cancelled, deleted, left = [
        await timed.start_ab_test(
            name="n",
            model_a=make_ref(machine=name, version=1),
            model_b=make_ref(machine=name, version=2),
            duration=5 * DAY,
            metric="mae",
            direction="lower",
        )
        for name in ("cancelled", "deleted", "left")
    ]
    for test in (cancelled, left):
        await timed.observe_many(test.id, **draw(400, 2))
    clock.now += 6 * DAY
    list_due, add_look = timed.ab_tests.list_due, timed.ab_tests.conclude_by_look

    async def list_and_delete() -> list[ABTest]:
        due = await list_due()
        async with timed.pool.acquire() as connection:
            await connection.execute(f"DELETE FROM {timed.schema}.model_ab_tests WHERE id = $1", deleted.id)
        return due

    async def cancel_first(test_id: UUID, *args: Any, **options: Any) -> ABTest:
        if test_id == cancelled.id:
            await timed.ab_tests.cancel(test_id)
        return await add_look(test_id, *args, **options)

    monkeypatch.setattr(timed.ab_tests, "list_due", list_and_delete)
    monkeypatch.setattr(timed.ab_tests, "conclude_by_look", cancel_first)
    assert [result.test.id for result in await timed.conclude_due_ab_tests()] == [left.id]
    assert (await timed.ab_tests.fetch(cancelled.id)).test_status == "cancelled"


async def test_the_minimum_runtime(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Before it even a large difference decides nothing."""
    test = await start(timed, minimum_runtime=7 * DAY)
    await timed.observe_many(test.id, **draw(1000, 1, shift=-0.5))
    assert "nothing is decided before" in (await timed.ab_test_results(test.id)).reason
    clock.now += 7 * DAY
    assert (await timed.ab_test_results(test.id)).decision == "superior_b"


async def test_two_looks_at_once_conclude_once(timed: ModelPerformanceTracker) -> None:
    """Twenty looks that would all decide give one conclusion, and the same answer."""
    test = await start(timed)
    await timed.observe_many(test.id, **draw(1000, 1, shift=-0.5))
    results = await asyncio.gather(*(timed.ab_test_results(test.id) for _ in range(20)))
    assert {result.decision for result in results} == {"superior_b"}
    assert len({result.test.decided_at for result in results}) == 1
    assert len(results[0].looks) == 1


async def test_a_look_at_a_test_that_is_just_cancelled(
    timed: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who only looks is told so, and not of a conflict."""
    test = await start(timed)
    await timed.observe_many(test.id, **draw(1000, 1, shift=-0.5))
    conclude = timed.ab_tests.conclude_by_look

    async def cancel_first(test_id: UUID, *args: Any, **options: Any) -> ABTest:
        await timed.ab_tests.cancel(test_id, reason="wrong version")
        return await conclude(test_id, *args, **options)

    monkeypatch.setattr(timed.ab_tests, "conclude_by_look", cancel_first)
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.winner, result.reason) == ("undecided", "no_winner", "cancelled: wrong version")


async def test_a_conclusion_by_hand(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """It takes a last look and keeps its decision; a second one is told who came first."""
    test = await start(timed)
    await timed.observe_many(test.id, **draw(400, 2))
    clock.now += DAY
    result = await timed.conclude_ab_test(test.id, by="ada")
    assert (result.decision, result.test.decided_by, result.test.decided_at) == ("undecided", "ada", START + DAY)
    with pytest.raises(ConflictError):
        await timed.conclude_ab_test(test.id, by="bob")


async def test_a_look_in_the_same_moment_gives_way(timed: ModelPerformanceTracker) -> None:
    """By a clock that stands, the look that decides is the one that is kept and answered ever after."""
    test = await start(timed)
    await timed.observe_many(test.id, **draw(400, 2))
    assert (await timed.ab_test_results(test.id)).decision == "undecided"
    await timed.observe_many(test.id, **draw(4000, 1, shift=-0.5))
    first, second = [await timed.ab_test_results(test.id) for _ in range(2)]
    assert (first.decision, first.n_a) == (second.decision, second.n_a) == ("superior_b", 2200)


async def test_a_clock_that_was_put_back_shows_no_other_look(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """The numbers of an ended test are those of the look that decided, however many others are dated after it."""
    test = await start(timed)
    for minute in range(205):
        await timed.observe_many(test.id, **draw(4, minute))
        clock.now = START + timedelta(minutes=minute)
        await timed.ab_test_results(test.id)
    clock.now = START + timedelta(seconds=30)
    await timed.observe_many(test.id, **draw(3000, 1, shift=-0.3))
    for _ in range(2):
        result = await timed.ab_test_results(test.id)
        assert (result.decision, result.n_a, result.n_b) == ("superior_b", 1910, 1910)
        assert result.effect == pytest.approx(-0.26, abs=0.04)


async def test_late_pairs_stay_late_by_a_clock_that_goes_back(
    timed: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """A clock that is put back within the call does not take their batch for one that is in."""
    test = await start(timed, pairing="shadow")
    last = test.test_end - timedelta(seconds=1)
    times = iter([test.test_end, test.test_end])
    host = ModelPerformanceTracker(pool, schema=timed.schema, clock=lambda: next(times, last))
    with pytest.raises(ConflictError, match="1 observations came late"):
        await host.observe_paired(test.id, y_true=[1.0], pred_a=[1.0], pred_b=[1.0])


async def test_a_cancelled_test_has_no_finding(timed: ModelPerformanceTracker) -> None:
    """Whatever its observations would say."""
    test = await start(timed)
    await timed.observe_many(test.id, **draw(1000, 1, shift=-0.5))
    await timed.ab_tests.cancel(test.id, reason="wrong version")
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.winner, result.reason) == ("undecided", "no_winner", "cancelled: wrong version")
