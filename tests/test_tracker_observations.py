"""A/B tests on observations: told once, merged exactly, looked at as often as one likes, concluded once."""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import attrs
import numpy as np
import pytest
from tests.factories import START, Clock, make_evaluation, make_id
from tests.observations import DAY, A, B, draw, start
from tests.writers import record

from model_perf import HostDirectory, ModelPerformanceTracker, ModelRef, assign_many
from model_perf.aggregates import Aggregates


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
