"""A/B tests from evaluations: undecided before the end, decided once at it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import pytest
from tests.factories import START, Clock, make_evaluation, make_evaluations, make_ref
from tests.repos.contents import nothing_written

from model_perf import ABTest, ConflictError, InvalidInputError, ModelPerformanceTracker, ModelRef

DAY = timedelta(days=1)
A, B = make_ref(), make_ref(version=2)
END = START + 14 * DAY

# B is better by 0.76 on average, with a t of about -12 over 14 windows.
RMSE_A = [12.1, 11.8, 12.4, 12.0, 12.9, 12.2, 11.9, 12.5, 12.3, 12.0, 12.6, 11.7, 12.2, 12.4]
RMSE_B = [11.2, 11.5, 11.6, 11.1, 12.0, 11.6, 11.3, 11.4, 11.5, 11.4, 11.7, 11.1, 11.4, 11.5]


async def start(tracker: ModelPerformanceTracker, **changes: Any) -> ABTest:
    given: dict[str, Any] = {"name": "old and new", "model_a": A, "model_b": B, "duration": 14 * DAY, "metric": "rmse"}
    return await tracker.start_ab_test(**given | changes)


async def evaluated(tracker: ModelPerformanceTracker, *, first_day: int = 0) -> None:
    for values, ref in ((RMSE_A, A), (RMSE_B, B)):
        await tracker.record_many(
            [make_evaluation(ref, day=i, metrics={"rmse": v}, id=None) for i, v in enumerate(values, first_day)]
        )


async def test_a_test_is_undecided_before_its_end(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """However clear the numbers are, a look before the end shows them and decides nothing."""
    test = await start(timed)
    await evaluated(timed)
    clock.now = END - timedelta(microseconds=1)
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.winner, result.test_status) == ("undecided", "no_winner", "running")
    assert result.pvalue is not None
    assert result.pvalue < 1e-6
    assert (result.n_windows, result.n_evaluations_a, result.n_evaluations_b) == (14, 14, 14)


async def test_the_first_look_after_the_end_decides(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """At the end the better model is named, with the numbers, and the test is over."""
    test = await start(timed)
    await evaluated(timed)
    clock.now = END
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.winner, result.test_status) == ("superior_b", "model_b", "completed")
    # numpy: the mean of b - a
    assert result.effect == pytest.approx(float(np.mean(np.subtract(RMSE_B, RMSE_A))))
    assert result.confidence_interval is not None
    assert result.effect is not None
    assert result.confidence_interval.low < result.effect < result.confidence_interval.high < 0
    assert result.confidence == 1 - (result.pvalue or 0)
    stored = await timed.ab_tests.fetch(test.id)
    assert (stored.decision, stored.winner_model, stored.decided_by) == ("superior_b", "model_b", "model_perf")
    assert stored.decided_at == END
    assert stored.winner_metrics["n_windows"] == 14


async def test_eight_looks_at_once_conclude_once(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """All of them get the same finding, and nobody an error."""
    test = await start(timed)
    await evaluated(timed)
    clock.now = END
    results = await asyncio.gather(*(timed.ab_test_results(test.id) for _ in range(8)))
    assert {(r.decision, r.test.decided_at, r.test_status) for r in results} == {("superior_b", END, "completed")}


async def test_a_finding_stays_as_it_was(timed: ModelPerformanceTracker, pool: asyncpg.Pool, clock: Clock) -> None:
    """Evaluations that come after the conclusion change neither the decision nor its numbers."""
    test = await start(timed)
    await evaluated(timed)
    clock.now = END
    first = await timed.ab_test_results(test.id)
    late = [make_evaluation(B, day=i, metrics={"rmse": 99.0}, id=None) for i in range(14)]
    await timed.record_many(late)
    async with nothing_written(pool, timed.schema):
        again = await timed.ab_test_results(test.id)
    assert (again.decision, again.winner, again.test) == ("superior_b", "model_b", first.test)
    assert (again.pvalue, again.effect) == (first.pvalue, first.effect)


async def test_an_early_conclusion_is_undecided(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Ended by hand before its end, a test has found nothing, and says who ended it."""
    test = await start(timed)
    await evaluated(timed)
    clock.now = END - DAY
    result = await timed.conclude_ab_test(test.id, by="Ada")
    assert (result.decision, result.winner, result.test_status) == ("undecided", "no_winner", "completed")
    assert "Ada" in result.reason
    assert (await timed.ab_test_results(test.id)).decision == "undecided"


async def test_a_conclusion_by_hand_after_the_end_decides(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """After the end a conclusion by hand is the finding, under the name of who asked."""
    test = await start(timed)
    await evaluated(timed)
    clock.now = END + DAY
    result = await timed.conclude_ab_test(test.id, by="Ada")
    assert (result.decision, result.test.decided_by) == ("superior_b", "Ada")
    with pytest.raises(ConflictError):
        await timed.conclude_ab_test(test.id, by="Bob")


async def test_the_metric_is_frozen_at_the_start(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Without a metric the primary one of model_a's newest evaluation is taken, and kept whatever comes later."""
    await timed.record_many([make_evaluation(A, day=-1, metrics={"rmse": 12.0, "mae": 9.0})])
    test = await start(timed, metric=None)
    assert test.design["metric"] == "rmse"
    for values, ref in ((RMSE_A, A), (RMSE_B, B)):
        await timed.record_many(
            [make_evaluation(ref, day=i, metrics={"rmse": v, "r_squared": 0.5}) for i, v in enumerate(values)]
        )
    clock.now = END
    result = await timed.ab_test_results(test.id)
    assert (result.metric, result.decision) == ("rmse", "superior_b")


async def test_the_start_says_whether_it_can_decide(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Fewer than eight windows within the duration cannot decide anything, and the design says so at once."""
    await timed.record_many([make_evaluation(A, day=-1, metrics={"rmse": 12.0})])
    short = await start(timed, duration=3 * DAY)
    assert (short.design["n_windows"], short.design["can_decide"]) == (3, False)
    await evaluated(timed)
    clock.now = START + 3 * DAY
    result = await timed.ab_test_results(short.id)
    assert (result.decision, result.confidence, result.n_windows) == ("insufficient_data", 0.0, 3)
    long = await start(timed)
    assert (long.design["n_windows"], long.design["can_decide"]) == (14, True)


async def test_an_arm_without_data_never_loses(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """With one arm evaluated, or the two on different windows, the data are insufficient."""
    test = await start(timed)
    await timed.record_many(make_evaluations(RMSE_A, ref=A))
    shifted = [
        make_evaluation(
            B, id=None, metrics={"rmse": 1.0},
            evaluation_start=START + i * DAY + timedelta(hours=1), evaluation_end=START + (i + 1) * DAY,
        )
        for i in range(14)
    ]  # fmt: skip
    await timed.record_many(shifted)
    clock.now = END
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.winner, result.n_windows) == ("insufficient_data", "no_winner", 0)
    assert (result.effect, result.pvalue, result.model_a_metrics) == (None, None, {})


async def test_only_windows_inside_the_test_count(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Evaluations of windows that begin before the start or end after the end are left out."""
    test = await start(timed)
    await evaluated(timed, first_day=-3)
    clock.now = END
    assert (await timed.ab_test_results(test.id)).n_windows == 11


async def test_a_window_evaluated_twice_counts_once(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Late labels: the newest evaluation of a window is compared, the older one is not."""
    test = await start(timed)
    await timed.record_many(make_evaluations([1.0] * 14, ref=B))
    clock.now = START + timedelta(seconds=1)
    for values, ref in ((RMSE_A, A), (RMSE_B, B)):
        await timed.record_many(
            [make_evaluation(ref, day=i, metrics={"rmse": v}, id=None) for i, v in enumerate(values)]
        )
    clock.now = END
    result = await timed.ab_test_results(test.id)
    assert (result.n_windows, result.n_evaluations_b) == (14, 14)
    assert result.model_b_metrics["rmse"] == pytest.approx(float(np.mean(RMSE_B)))


async def test_a_finished_test_makes_room_for_the_next(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """A start in a slot whose test is past its end concludes that one; within its time it is a conflict."""
    first = await start(timed)
    await evaluated(timed)
    clock.now = END - DAY
    with pytest.raises(ConflictError) as conflict:
        await start(timed, name="too early")
    assert isinstance(conflict.value.existing, ABTest)
    clock.now = END
    second = await start(timed, name="next", model_b=make_ref(version=3))
    assert second.test_start == END
    assert (await timed.ab_tests.fetch(first.id)).decision == "superior_b"


async def test_a_deleted_test_makes_room_for_the_next(
    timed: ModelPerformanceTracker, pool: asyncpg.Pool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is deleted while the start concludes it."""
    first, fetch = await start(timed), timed.ab_tests.fetch_with_looks
    clock.now = END

    async def delete_and_fetch(test_id: UUID) -> Any:
        await pool.execute(f"DELETE FROM {timed.schema}.model_ab_tests WHERE id = $1", test_id)
        return await fetch(test_id)

    monkeypatch.setattr(timed.ab_tests, "fetch_with_looks", delete_and_fetch)
    second = await start(timed)
    assert (await timed.ab_tests.list_tests()).items == (second,)
    assert second.id != first.id


async def test_a_cancelled_test_has_no_finding(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """After a cancel the result is undecided for good."""
    test = await start(timed)
    await evaluated(timed)
    await timed.ab_tests.cancel(test.id, reason="sensor broken")
    clock.now = END
    result = await timed.ab_test_results(test.id)
    assert (result.decision, result.test_status, result.winner) == ("undecided", "cancelled", "no_winner")
    assert "sensor broken" in result.reason


async def test_equal_models_have_no_winner(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Identical values on all windows decide nothing."""
    test = await start(timed)
    for ref in (A, B):
        await timed.record_many(make_evaluations(RMSE_A, ref=ref))
    clock.now = END
    assert (await timed.ab_test_results(test.id)).decision == "undecided"


async def test_a_long_test_of_short_windows_is_concluded(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """A week of minutes, 10,080 windows per arm, is a test like any other."""
    n = 7 * 24 * 60
    test = await start(timed, duration=7 * DAY)
    begin = np.datetime64("2024-01-01") + np.arange(n).astype("m8[m]")
    rng = np.random.default_rng(1)
    for ref, level in ((A, 12.0), (B, 11.0)):
        window = {"evaluation_start": begin, "evaluation_end": begin + np.timedelta64(1, "m")}
        await timed.record_many({**of(ref), **window, "rmse": level + rng.normal(0, 0.1, n)})
    clock.now = END
    try:
        result = await timed.ab_test_results(test.id)
    except InvalidInputError as error:
        pytest.fail(f"the test can never end: {error}")
    assert (result.decision, result.n_windows) == ("superior_b", n)


def of(ref: ModelRef) -> dict[str, Any]:
    return {name: getattr(ref, name) for name in ("model_id", "model_type", "model_version", "machine_id")}
