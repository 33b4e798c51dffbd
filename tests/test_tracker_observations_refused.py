"""What a test on observations refuses, by the name of the argument."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.factories import START, Clock, make_id
from tests.observations import DAY, draw, start, start_elsewhere

from model_perf import ConflictError, InvalidInputError, ModelPerformanceTracker, NotFoundError


@pytest.mark.parametrize("count", [-1, 1.0, True, "1", None, 10**12 + 1, 2**63 - 1])
async def test_bad_counts_are_refused(timed: ModelPerformanceTracker, count: Any) -> None:
    """By name, and nothing is counted."""
    test = await start(timed)
    with pytest.raises(InvalidInputError) as error:
        await timed.count_served(test.id, b=count)
    assert error.value.argument == "b"
    assert await timed.ab_tests.fetch_moments(test.id) == []


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
