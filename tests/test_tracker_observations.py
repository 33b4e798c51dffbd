"""A/B tests on observations: told once, merged exactly, looked at as often as one likes, concluded once."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import warnings
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import attrs
import numpy as np
import pandas as pd
import pytest
from tests.factories import START, Clock, make_evaluation, make_id, make_ref
from tests.slow_values import SlowValues
from tests.writers import record

from model_perf import (
    ABTest,
    ConflictError,
    HostDirectory,
    InvalidInputError,
    ModelPerformanceTracker,
    ModelRef,
    NotFoundError,
    assign_many,
)
from model_perf._experiments import THREAD_ROWS
from model_perf._observer import Observer
from model_perf.aggregates import Aggregates

A, B = make_ref(version=1), make_ref(version=2)
DAY = timedelta(days=1)


async def start(tracker: ModelPerformanceTracker, **options: Any) -> ABTest:
    given: dict[str, Any] = {"metric": "mae", "direction": "lower", "planned_n": 2000, "duration": 10 * DAY}
    return await tracker.start_ab_test(name="old or new", **{"model_a": A, "model_b": B} | given | options)


def draw(n: int, seed: int, shift: float = 0.0) -> dict[str, Any]:
    """As many observations, alternating, whose b is *shift* larger."""
    rng = np.random.default_rng(seed)
    arms = np.array(["a", "b"])[np.arange(n) % 2]
    return {"arms": arms, "values": rng.normal(10.0, 1.0, n) + shift * (arms == "b")}


async def test_a_better_model_wins(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """The first look that excludes 0 decides, concludes and stays; the effect and its interval are Welch's, widened."""
    test = await start(timed)
    clock.now += DAY
    data = draw(1000, 1, shift=-0.5)
    await timed.observe_many(test.id, **data)
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.winner, result.test_status) == ("superior_b", "model_b", "completed")
    is_b = data["arms"] == "b"
    assert result.effect == pytest.approx(data["values"][is_b].mean() - data["values"][~is_b].mean(), rel=1e-9)
    assert (result.n_a, result.n_b, result.source) == (500, 500, "observations")
    interval = result.confidence_interval
    assert interval is not None
    assert interval.low < -0.5 < interval.high < 0.0
    assert result.pvalue is not None
    assert result.confidence == 1.0 - result.pvalue > 0.95
    assert result.model_b_metrics["mae"] == pytest.approx(data["values"][is_b].mean())
    assert result.recommendation.startswith("Switch to model_b (version 2)")
    clock.now += 20 * DAY
    again = await timed.ab_test_results(test.id)
    assert attrs.evolve(again, test=result.test) == result
    assert again.test.decided_at == START + DAY


async def test_higher_is_better_where_it_is(timed: ModelPerformanceTracker) -> None:
    """A larger value of b is a loss of b where less is better, and a gain where more is."""
    for direction, winner in (("lower", "model_a"), ("higher", "model_b")):
        test = await start(timed, metric="own", direction=direction)
        await timed.observe_many(test.id, **draw(1000, 1, shift=0.5))
        assert (await timed.ab_test_results(test.id)).winner == winner


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


async def test_a_repeated_batch_counts_once(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Under its id a batch is in once, also when it is sent again after the end."""
    test, data, batch = await start(timed), draw(500, 4), make_id("batch")
    assert await timed.observe_many(test.id, **data, batch_id=batch)
    assert not await timed.observe_many(test.id, **data, batch_id=batch)
    clock.now += 11 * DAY
    assert not await timed.observe_many(test.id, **data, batch_id=str(batch))
    result = await timed.ab_test_results(test.id)
    assert (result.n_a + result.n_b, result.test.late_observations) == (500, 0)


async def test_a_batch_is_told_metric_by_metric(timed: ModelPerformanceTracker) -> None:
    """Rows under one id have outcomes of several metrics, and were served: each is in, once."""
    test, batch = (
        await start(timed, guardrails=[{"metric": "ms", "direction": "lower", "margin": 1.0}]),
        make_id("batch"),
    )
    for is_new in (True, False):
        for metric in (None, "ms"):
            assert await timed.observe_many(test.id, **draw(10, 1), metric=metric, batch_id=batch) is is_new
        assert not await timed.observe_many(test.id, **draw(10, 1), metric="mae", batch_id=str(batch))
        assert await timed.count_served(test.id, a=5, b=5, batch_id=batch) is is_new
    told = await timed.ab_tests.fetch_moments(test.id)
    assert {name: sum(row["n"] for row in told if row["metric"] == name) for name in ("mae", "ms")} == {
        "mae": 10,
        "ms": 10,
    }


async def test_batches_merge_exactly(timed: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Merged by the database, the moments are those of all values together, also near 1e9, with their covariate."""
    test = await start(timed, metric="own", direction="lower", covariate="size")
    rng = np.random.default_rng(5)
    values, sizes = 1e9 + rng.gamma(2.0, 1.0, 4000), rng.normal(size=4000)
    arms, units = rng.choice(["a", "b"], 4000), rng.integers(0, 900, 4000).tolist()
    for part in np.array_split(np.arange(4000), 23):
        await timed.observe_many(
            test.id,
            arms=arms[part],
            values=values[part],
            units=[units[i] for i in part],
            covariates=sizes[part],
        )
    rows = await timed.ab_tests.fetch_moments(test.id)
    from model_perf._ab_results import read_cells

    for arm in "ab":
        found = Aggregates.merged(cell for (_, which, _), cell in read_cells(rows).items() if which == arm)
        expected = Aggregates.from_values(values[arms == arm], sizes[arms == arm])
        assert found.n == expected.n
        assert found.mean == pytest.approx(expected.mean, rel=1e-12)
        assert found.variance == pytest.approx(expected.variance, rel=1e-6)
        assert found.covariance == pytest.approx(expected.covariance, rel=1e-3, abs=1e-4)
        assert found.skewness == pytest.approx(expected.skewness, rel=1e-3)
    assert await pool.fetchval(f"SELECT count(*) FROM {timed.schema}.model_ab_moments") > 400


async def test_values_near_zero_merge(timed: ModelPerformanceTracker) -> None:
    """Squares and cubes that are no 64-bit floats any more refuse no batch; ordinary values beside them keep theirs."""
    test = await start(timed, metric="brier", covariate="size")
    tiny = [1e-174, 9e-171, 3e-110, 2e-64, 5e-324, 0.0, -7e-130]
    parts = [*([value] for value in tiny), tiny, [*tiny, 0.5], [1e-150, 0.25], [0.5]]
    for part in parts:
        given = [value if value < 0.1 else 1.0 for value in part]
        await timed.observe_many(
            test.id, arms=["a"] * len(part), values=part, units=["u"] * len(part), covariates=given
        )
    [row] = await timed.ab_tests.fetch_moments(test.id)
    expected = Aggregates.from_values([value for part in parts for value in part])
    assert row["n"] == expected.n
    assert (row["mean"], row["m2"], row["m3"]) == pytest.approx((expected.mean, expected.m2, expected.m3), rel=1e-12)


async def test_too_little_is_said(timed: ModelPerformanceTracker) -> None:
    """Below a hundred observations of a model nothing is decided, however large the difference; none has no loser."""
    test = await start(timed)
    await timed.observe_many(test.id, arms=["a"] * 50, values=np.random.default_rng(1).normal(size=50))
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.winner, result.confidence) == ("insufficient_data", "no_winner", 0.0)
    assert result.reason == "model_a has 50 observations; 100 are needed"
    await timed.observe_many(test.id, arms=["b"] * 99, values=np.random.default_rng(2).normal(99.0, 1.0, 99))
    await timed.observe_many(test.id, arms=["a"] * 60, values=np.random.default_rng(3).normal(size=60))
    assert "model_b has 99 observations" in (await timed.ab_test_results(test.id)).reason


async def test_rare_events_and_heavy_tails(timed: ModelPerformanceTracker) -> None:
    """Few events of a binary metric, or a skewness that needs more, are not enough; a cap mends the latter."""
    test = await start(timed, metric="returned", direction="lower", kind="binary")
    values = np.zeros(1000)
    values[:7] = 1.0
    await timed.observe_many(test.id, arms=["a", "b"] * 500, values=values)
    assert "model_a has 4 events in 500 observations" in (await timed.ab_test_results(test.id)).reason
    await timed.ab_tests.cancel(test.id)
    wild = np.random.default_rng(6).lognormal(0.0, 2.5, 1000)
    test = await start(timed, metric="cost")
    await timed.observe_many(test.id, arms=["a", "b"] * 500, values=wild)
    result = await timed.ab_test_results(test.id)
    assert result.decision == "insufficient_data"
    assert "skewness" in result.reason
    assert "a cap on the values" in result.reason
    await timed.ab_tests.cancel(test.id)
    test = await start(timed, metric="cost", cap=20.0)
    await timed.observe_many(test.id, arms=["a", "b"] * 500, values=wild)
    result = await timed.ab_test_results(test.id)
    assert result.decision == "undecided"
    assert result.model_a_metrics["cost"] == pytest.approx(np.minimum(wild[::2], 20.0).mean())


async def test_constants_are_no_evidence(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """As long as all outcomes are alike there is no measure of chance: no look claims [0, 0], and no later one is bound
    by it."""
    test = await start(timed, metric="cost", margin=0.3)
    await timed.observe_many(test.id, arms=["a", "b"] * 150, values=np.zeros(300))
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.confidence_interval) == ("insufficient_data", None)
    assert "no spread" in result.reason
    clock.now += DAY
    await timed.observe_many(test.id, **draw(4000, 1, shift=-3.0))
    assert (await timed.ab_test_results(test.id)).decision == "superior_b"


async def test_a_constant_guardrail_shows_no_absence_of_harm(timed: ModelPerformanceTracker) -> None:
    """A hundred times nothing says little of what happens once in a thousand."""
    test = await start(timed, guardrails=[{"metric": "crash", "direction": "lower", "margin": 0.001}])
    await timed.observe_many(test.id, **draw(1000, 12, shift=-0.5))
    await timed.observe_many(test.id, arms=["a", "b"] * 100, values=np.zeros(200), metric="crash")
    result = await timed.ab_test_results(test.id)
    assert result.decision == "undecided"
    assert "guardrail crash has too few observations, or no spread among them" in result.reason


async def test_equivalent_models(timed: ModelPerformanceTracker) -> None:
    """Within the margin they are equivalent, which ends the test."""
    test = await start(timed, margin=0.3)
    await timed.observe_many(test.id, **draw(4000, 7))
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.winner) == ("equivalent", "no_winner")
    assert result.recommendation.startswith("Take whichever costs less")


async def test_a_wrong_ratio_makes_it_invalid(timed: ModelPerformanceTracker) -> None:
    """Outcomes that got lost for one model end the test, whatever the difference; so do units that were not split."""
    test = await start(timed)
    data = draw(4000, 8, shift=-0.5)
    lost = (data["arms"] == "b") & (np.arange(4000) % 4 == 1)
    await timed.observe_many(test.id, arms=data["arms"][~lost], values=data["values"][~lost])
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.winner, result.confidence) == ("invalid", "no_winner", 0.0)
    assert "33.33% of 3,000 observations are model_b's, 50.00% were planned" in result.reason
    test = await start(timed)
    await timed.count_served(test.id, a=4000, b=5000)
    await timed.observe_many(test.id, **draw(1000, 8))
    result = await timed.ab_test_results(test.id)
    assert result.decision == "invalid"
    assert "55.56% of 9,000 units served are model_b's, 50.00% were planned" in result.reason


async def test_units_that_were_served_are_no_observations(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Counted beside a test on evaluations, they leave the finding to these, unless their ratio is wrong."""
    for served_b, decision in ((1000, "superior_b"), (2000, "invalid")):
        test = await start(timed, metric="rmse", direction=None)
        for day in range(10):
            for arm, rmse in ((A, 12.0), (B, 11.0 + 0.1 * (day % 3))):
                await record(timed, make_evaluation(arm, day=day, metrics={"rmse": rmse + day % 4}))
        await timed.count_served(test.id, a=1000, b=served_b)
        clock.now = test.test_end + DAY
        assert (await timed.ab_test_results(test.id)).decision == decision
        clock.now = START


async def test_counts_of_any_size_are_looked_at(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Beyond what the test of the ratio takes they are held to the ratio all the same, and the test concludes."""
    for b, decision in ((10**12, "insufficient_data"), (9 * 10**11, "invalid")):
        test = await start(timed)
        await timed.observe(test.id, "a", 1.0)
        for _ in range(3):
            assert await timed.count_served(test.id, a=10**12, b=b)
        clock.now = test.test_end
        assert [result.decision for result in await timed.conclude_due_ab_tests()] == [decision]
        clock.now = START


async def test_numpys_counts_do_not_overflow(timed: ModelPerformanceTracker) -> None:
    """Two counts of eight bits are a sum of more."""
    test = await start(timed)
    given: Any = np.int8(100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await timed.count_served(test.id, a=given, b=given)
    assert not await timed.count_served(test.id)
    async with timed.pool.acquire() as connection:
        told = await connection.fetchval(f"SELECT sum(n) FROM {timed.schema}.model_ab_batches")
    assert told == 200


@pytest.mark.parametrize("count", [-1, 1.0, True, "1", None, 10**12 + 1, 2**63 - 1])
async def test_bad_counts_are_refused(timed: ModelPerformanceTracker, count: Any) -> None:
    """By name, and nothing is counted."""
    test = await start(timed)
    with pytest.raises(InvalidInputError) as error:
        await timed.count_served(test.id, b=count)
    assert error.value.argument == "b"
    assert await timed.ab_tests.fetch_moments(test.id) == []


async def test_the_ratio_of_units_with_many_rows(timed: ModelPerformanceTracker) -> None:
    """A unit that orders fifty times on one side is no mismatch."""
    test = await start(timed, traffic_split=0.3)
    rng = np.random.default_rng(9)
    units = np.repeat([f"customer {i}" for i in range(300)], rng.integers(1, 60, 300)).tolist()
    await timed.observe_many(test.id, arms=assign_many(test, units), values=rng.normal(size=len(units)), units=units)
    result = await timed.ab_test_results(test.id)
    assert result.decision == "undecided"
    assert result.sample_ratio_pvalue is not None
    assert result.sample_ratio_pvalue > 0.001
    assert result.notes == ()


async def test_rows_of_a_unit_are_not_independent(timed: ModelPerformanceTracker) -> None:
    """The standard error is that between units, three times that of the rows; without units the result says so."""
    rng = np.random.default_rng(10)
    own = rng.normal(size=400)
    units = np.repeat(np.arange(400), 20)
    values = own[units] + 0.3 * rng.normal(size=8000)
    errors = {}
    for given in (True, False):
        test = await start(timed)
        arms = assign_many(test, [f"{unit}" for unit in units])
        named = [f"{unit}" for unit in units] if given else None
        await timed.observe_many(test.id, arms=arms, values=values, units=named)
        result = await timed.ab_test_results(test.id)
        errors[given] = result.standard_error
        assert any("one row per unit" in note for note in result.notes) is not given
        if result.test_status == "running":
            await timed.ab_tests.cancel(test.id)
    by_unit, by_row = errors[True], errors[False]
    assert by_unit is not None
    assert by_row is not None
    assert 3.0 < by_unit / by_row < 6.0


async def test_a_covariate_narrows_the_interval(timed: ModelPerformanceTracker) -> None:
    """CUPED takes out what was known before: a correlation of .9 leaves less than half of the standard error."""
    rng = np.random.default_rng(11)
    before = rng.normal(size=2000)
    values = before + 0.48 * rng.normal(size=2000)
    errors = []
    for covariate in (None, "before"):
        test = await start(timed, **({} if covariate is None else {"covariate": covariate}))
        covariates = None if covariate is None else before
        await timed.observe_many(test.id, arms=["a", "b"] * 1000, values=values, covariates=covariates)
        errors.append((await timed.ab_test_results(test.id)).standard_error)
        await timed.ab_tests.cancel(test.id)
    plain, narrowed = errors
    assert plain is not None
    assert narrowed is not None
    assert 0.38 < narrowed / plain < 0.5


async def test_a_guardrail_holds_up_the_winner(timed: ModelPerformanceTracker) -> None:
    """The better model does not win before its harm is shown to be below the margin."""
    rails = [{"metric": "latency_ms", "direction": "lower", "margin": 5.0}]
    test = await start(timed, guardrails=rails)
    await timed.observe_many(test.id, **draw(1000, 12, shift=-0.5))
    assert "guardrail latency_ms has too few observations" in (await timed.ab_test_results(test.id)).reason
    rng = np.random.default_rng(13)
    arms = np.array(["a", "b"] * 200)
    slow = rng.normal(100.0, 3.0, 400) + 6.0 * (arms == "b")
    await timed.observe_many(test.id, arms=arms, values=slow, metric="latency_ms")
    result = await timed.ab_test_results(test.id)
    assert result.decision == "undecided"
    assert "guardrail latency_ms: b may be worse by 6.7" in result.reason
    await timed.ab_tests.cancel(test.id)
    test = await start(timed, guardrails=rails)
    await timed.observe_many(test.id, **draw(1000, 12, shift=-0.5))
    await timed.observe_many(test.id, arms=arms, values=slow - 6.0 * (arms == "b"), metric="latency_ms")
    assert (await timed.ab_test_results(test.id)).decision == "superior_b"


async def test_the_minimum_runtime(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Before it even a large difference decides nothing."""
    test = await start(timed, minimum_runtime=7 * DAY)
    await timed.observe_many(test.id, **draw(1000, 1, shift=-0.5))
    assert "nothing is decided before" in (await timed.ab_test_results(test.id)).reason
    clock.now += 7 * DAY
    assert (await timed.ab_test_results(test.id)).decision == "superior_b"


async def test_shadow_tests_pair_what_both_scored(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Errors on the same items are compared item by item, in parts of the test that are over."""
    test = await start(timed, pairing="shadow", planned_n=3000)
    rng = np.random.default_rng(14)
    n = 3000
    y = rng.normal(50.0, 20.0, n)
    hard = rng.normal(0.0, 3.0, n)
    times = [START + timedelta(seconds=10 * 86_400 * i / n) for i in range(n)]
    clock.now = START + 5 * DAY
    await timed.observe_paired(test.id, y_true=y, pred_a=y + hard, pred_b=y + 0.8 * hard, timestamps=times)
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.metric) == ("superior_b", "mae")
    difference = np.abs(0.8 * hard) - np.abs(hard)
    assert result.effect == pytest.approx(difference[: n // 2].mean(), rel=0.02)
    assert (result.n_a, result.n_b) == (3000, 3000)
    assert result.model_a_metrics["mae"] == pytest.approx(np.abs(hard).mean())


async def test_a_part_that_is_over_is_something_new(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Pairs told before enter when their part of the test is over: such a look is kept, and binds later ones."""
    test = await start(timed, pairing="shadow")
    rng = np.random.default_rng(21)
    times = [START + i * timedelta(minutes=14) for i in range(1000)]
    clock.now = START + 4 * DAY
    y, a, b = rng.normal(size=(3, 1000))
    await timed.observe_paired(test.id, y_true=y, pred_a=a, pred_b=b, timestamps=times)
    lows = []
    for hour in (96, 120, 120, 168, 232):
        clock.now = START + timedelta(hours=hour)
        result = await timed.ab_test_results(test.id)
        assert result.confidence_interval is not None
        lows.append(result.confidence_interval.low)
    assert len(result.looks) == 4
    assert lows == sorted(lows)


async def test_shadow_tests_of_right_and_wrong(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Accuracy on the same items; the moments hold McNemar's counts."""
    test = await start(timed, metric="accuracy", direction="higher", kind="binary", pairing="shadow")
    rng = np.random.default_rng(15)
    y = rng.integers(0, 2, 2000)
    a, b = (np.where(rng.random(2000) < right, y, 1 - y) for right in (0.7, 0.85))
    times = [START + timedelta(minutes=7 * i) for i in range(2000)]
    clock.now = START + 10 * DAY - timedelta(seconds=1)
    await timed.observe_paired(test.id, y_true=y, pred_a=a, pred_b=b, timestamps=times)
    result = await timed.ab_test_results(test.id)
    assert result.decision == "superior_b"
    assert result.model_b_metrics["accuracy"] == pytest.approx((b == y).mean())


async def test_the_plan_comes_from_the_directory(pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> None:
    """Without planned_n it is the traffic that the host expects, else 10,000, and the result says which."""

    class Host(HostDirectory):
        async def expected_samples(self, ref: ModelRef, start: datetime, end: datetime) -> int:
            return round((end - start).total_seconds() / 60.0)

    known = ModelPerformanceTracker(pool, schema=tracker.schema, directory=Host())
    test = await start(known, planned_n=None)
    assert (test.design["planned_n"], test.design["planned_n_source"]) == (14_400, "expected traffic")
    await known.ab_tests.cancel(test.id)
    test = await start(tracker, planned_n=None)
    assert (test.design["planned_n"], test.design["planned_n_source"]) == (10_000, "default")
    await tracker.observe_many(test.id, **draw(400, 1))
    assert "planned_n = 10000 (default)" in (await tracker.ab_test_results(test.id)).notes


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


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"planned_n": 0}, "planned_n"),
        ({"planned_n": 2.5}, "planned_n"),
        ({"planned_n": 10**5000}, "planned_n"),
        ({"guardrails": None}, "guardrails"),
        ({"guardrails": 5}, "guardrails"),
        ({"alpha": 0.0}, "alpha"),
        ({"margin": -1.0}, "margin"),
        ({"kind": "ratio"}, "kind"),
        ({"pairing": "both"}, "pairing"),
        ({"direction": "up"}, "direction"),
        ({"metric": "own", "direction": None}, "metric"),
        ({"minimum_runtime": 11 * DAY}, "minimum_runtime"),
        ({"guardrails": [{"metric": "x"}]}, "guardrails"),
        ({"guardrails": [{"metric": "x", "margin": 1.0}]}, "guardrails.direction"),
        ({"guardrails": [{"metric": "mae", "margin": 1.0}]}, "guardrails"),
        ({"guardrails": [{"metric": "rmse", "margin": 1.0}]}, "guardrails.metric"),
        ({"covariate": "size", "pairing": "shadow"}, "covariate"),
        ({"traffic_split": 0.0}, "traffic_split"),
        ({"traffic_split": 1e-120}, "traffic_split"),
        ({"traffic_split": 1.0 - 1e-16}, "traffic_split"),
        ({"cap": 0.0}, "cap"),
        ({"covariate": ""}, "covariate"),
        ({"salt": "x"}, "salt"),
    ],
)
async def test_a_bad_design_is_refused(timed: ModelPerformanceTracker, options: dict[str, Any], argument: str) -> None:
    """By name, and no test is started."""
    with pytest.raises(InvalidInputError) as error:
        await start(timed, **options)
    assert error.value.argument == argument
    assert (await timed.ab_tests.list_tests()).items == ()


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"arms": ["a", "c"]}, "arms"),
        ({"arms": ["a"]}, "arms"),
        ({"arms": "ab"}, "arms"),
        ({"arms": [0, 1]}, "arms"),
        ({"values": [1.0, math.nan]}, "values"),
        ({"values": [1.0, math.inf]}, "values"),
        ({"values": [1.0, 1e91]}, "values"),
        ({"values": ["x", "y"]}, "values"),
        ({"values": np.ma.masked_equal([1.0, -99.0], -99.0)}, "values"),
        ({"arms": np.ma.masked_equal(["a", "b"], "b")}, "arms"),
        ({"arms": [["a"], ["a", "b"]]}, "arms"),
        ({"arms": pd.Series(["a", pd.NA], dtype="string")}, "arms"),
        ({"values": [[1.0], [1.0, 2.0]]}, "values"),
        ({"units": "ab"}, "units"),
        ({"units": 5}, "units"),
        ({"units": [10**5000, 1]}, "unit"),
        ({"units": ["u"]}, "units"),
        ({"units": ["u", None]}, "unit"),
        ({"covariates": [1.0, 2.0]}, "covariates"),
        ({"metric": "other"}, "metric"),
        ({"batch_id": "one"}, "batch_id"),
        ({"test_id": "one"}, "test_id"),
    ],
)
async def test_bad_observations_are_refused(
    timed: ModelPerformanceTracker, arguments: dict[str, Any], argument: str
) -> None:
    """By name, and nothing of the batch is in."""
    test = await start(timed)
    given: dict[str, Any] = {"test_id": test.id, "arms": ["a", "b"], "values": [1.0, 2.0], **arguments}
    with pytest.raises(InvalidInputError) as error:
        await timed.observe_many(given.pop("test_id"), **given)
    assert error.value.argument == argument
    assert await timed.ab_tests.fetch_moments(test.id) == []


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"y_true": np.ma.masked_equal([1.0, -99.0], -99.0)}, "y_true"),
        ({"pred_b": np.ma.masked_equal([1.0, -99.0], -99.0)}, "pred_b"),
        ({"pred_a": [1.0]}, "pred_a"),
        ({"pred_b": [1.0, math.nan]}, "pred_b"),
        ({"pred_a": [[1.0], [1.0, 2.0]]}, "pred_a"),
        ({"timestamps": [START]}, "timestamps"),
        ({"timestamps": 5}, "timestamps"),
        ({"timestamps": (START - i * DAY for i in range(2))}, "timestamps"),
        ({"timestamps": pd.Series([START - DAY, START], index=[7, 8])}, "timestamps"),
        ({"timestamps": [START.replace(tzinfo=None)] * 2}, "timestamps"),
    ],
)
async def test_bad_pairs_are_refused(timed: ModelPerformanceTracker, arguments: dict[str, Any], argument: str) -> None:
    """By name, and nothing of the batch is in."""
    test = await start(timed, pairing="shadow")
    given: dict[str, Any] = {"y_true": [1.0, 2.0], "pred_a": [1.0, 2.0], "pred_b": [1.0, 2.0], **arguments}
    with pytest.raises(InvalidInputError) as error:
        await timed.observe_paired(test.id, **given)
    assert error.value.argument == argument
    assert await timed.ab_tests.fetch_moments(test.id) == []


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"arm": "c"}, "arm"),
        ({"arm": ["a"]}, "arm"),
        ({"value": math.nan}, "value"),
        ({"value": None}, "value"),
        ({"value": [1.0]}, "value"),
        ({"unit": 1.5}, "unit"),
        ({"covariate": 1.0}, "covariate"),
        ({"metric": "other"}, "metric"),
    ],
)
async def test_a_bad_observation_is_refused(
    timed: ModelPerformanceTracker, arguments: dict[str, Any], argument: str
) -> None:
    """By the names of the call for one, which has no columns."""
    test = await start(timed)
    with pytest.raises(InvalidInputError, match=rf"^{argument}: ") as error:
        await timed.observe(test.id, **{"arm": "a", "value": 1.0, **arguments})
    assert error.value.argument == argument


@pytest.mark.parametrize("by", ["", "\x00", 5, "x" * 201])
@pytest.mark.parametrize("n", [0, 400])
async def test_who_concludes_is_named(timed: ModelPerformanceTracker, n: int, by: Any) -> None:
    """On observations and on evaluations."""
    test = await start(timed)
    await timed.observe_many(test.id, **draw(n, 2))
    with pytest.raises(InvalidInputError) as error:
        await timed.conclude_ab_test(test.id, by=by)
    assert error.value.argument == "by"
    assert (await timed.ab_tests.fetch(test.id)).test_status == "running"


async def test_what_the_kept_moments_cannot_answer(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Metrics of whole samples, unknown tests, the other kind of test, and times outside of it are refused."""
    test = await start(timed, metric="r_squared")
    with pytest.raises(
        InvalidInputError, match=r"metric='mse', or compare raw predictions by model_perf\.stats\.diebold_mariano"
    ):
        await timed.observe_many(test.id, **draw(10, 1))
    with pytest.raises(InvalidInputError, match="use observe_many"):
        await timed.observe_paired(test.id, y_true=[1.0], pred_a=[1.0], pred_b=[1.0])
    with pytest.raises(NotFoundError):
        await timed.observe(make_id("unknown"), "a", 1.0)
    await timed.ab_tests.cancel(test.id)
    test = await start(timed, pairing="shadow", start=START + DAY)
    with pytest.raises(ConflictError, match="begins at"):
        await timed.observe_paired(test.id, y_true=[1.0], pred_a=[1.0], pred_b=[1.0])
    clock.now += 2 * DAY
    with pytest.raises(InvalidInputError, match="use observe_paired"):
        await timed.observe(test.id, "a", 1.0)
    for moment in (START, START + 12 * DAY):
        with pytest.raises(InvalidInputError, match="outside the test"):
            await timed.observe_paired(test.id, y_true=[1.0], pred_a=[1.0], pred_b=[1.0], timestamps=[moment])
    own = await start_elsewhere(timed)
    with pytest.raises(InvalidInputError, match="is not known; start the test with one of mae"):
        await timed.observe_paired(own.id, y_true=[1.0], pred_a=[1.0], pred_b=[1.0])


async def start_elsewhere(tracker: ModelPerformanceTracker) -> ABTest:
    a, b = make_ref(machine="elsewhere", version=1), make_ref(machine="elsewhere", version=2)
    return await tracker.start_ab_test(
        name="n", model_a=a, model_b=b, duration=DAY, metric="own", direction="lower", pairing="shadow"
    )
