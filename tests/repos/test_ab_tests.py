"""A/B tests: started once per slot, concluded or cancelled once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.factories import START, make_id, make_ref

from model_perf import ABTest, ConflictError, InvalidInputError, ModelPerformanceTracker, NotFoundError
from model_perf.repos import ABTestRepo

DAY = timedelta(days=1)


@pytest.fixture
def ab_tests(bound: ModelPerformanceTracker) -> ABTestRepo:
    return bound.ab_tests


async def start(ab_tests: ABTestRepo, *, machine: str = "press", **fields: Any) -> ABTest:
    given: dict[str, Any] = {
        "name": "old against new",
        "model_a": make_ref(machine=machine),
        "model_b": make_ref(version=2, machine=machine),
        "start": START,
        "duration": 14 * DAY,
        "now": START,
    }
    return await ab_tests.start(**given | fields)


async def test_a_test_keeps_every_field(ab_tests: ABTestRepo) -> None:
    """A test is read back as it was started."""
    fields: dict[str, Any] = {
        "traffic_split": 0.05,
        "design": {"metric": "rmse", "alpha": 0.05, "note": None},
        "created_by": "Zoë ☃",
        "metadata": {"ticket": "A-1"},
    }
    test = await start(ab_tests, **fields)
    assert {name: getattr(test, name) for name in fields} == fields
    assert (test.test_status, test.test_start, test.test_end) == ("running", START, START + 14 * DAY)
    assert (test.model_a, test.model_b) == (make_ref(), make_ref(version=2))
    assert (test.model_type, test.machine_id) == ("baseline", make_id("machine press"))
    assert (test.decision, test.winner_model, test.decided_at) == (None, None, None)
    assert await ab_tests.fetch(str(test.id)) == test


async def test_a_slot_holds_one_running_test(ab_tests: ABTestRepo) -> None:
    """A second start in the slot is a conflict that carries the running test; another slot is free."""
    first = await start(ab_tests)
    with pytest.raises(ConflictError, match="old against new") as conflict:
        await start(ab_tests, name="another", model_b=make_ref(version=3))
    assert conflict.value.existing == first
    await start(ab_tests, machine="lathe")


async def test_of_eight_starts_at_once_one_wins(tracker: ModelPerformanceTracker) -> None:
    """The losers are told the test that won."""
    started = await asyncio.gather(*(start(tracker.ab_tests, name=f"n{i}") for i in range(8)), return_exceptions=True)
    (winner,) = [one for one in started if isinstance(one, ABTest)]
    assert [one.existing for one in started if isinstance(one, ConflictError)] == [winner] * 7


@pytest.mark.parametrize(
    ("decision", "winner"),
    [
        ("superior_a", "model_a"),
        ("superior_b", "model_b"),
        ("equivalent", "no_winner"),
        ("undecided", "no_winner"),
        ("invalid", "no_winner"),
        ("insufficient_data", "no_winner"),
    ],
)
async def test_conclude_names_the_winner(ab_tests: ABTestRepo, decision: Any, winner: str) -> None:
    """Each decision of the contract is stored with its winner, reason and time."""
    test = await start(ab_tests)
    done = await ab_tests.conclude(
        test.id, decision=decision, reason="p = .01", now=START + DAY, winner_metrics={"rmse": 1.5}, decided_by="Ada"
    )
    assert (done.test_status, done.decision, done.winner_model) == ("completed", decision, winner)
    assert (done.decision_reason, done.decided_at, done.decided_by) == ("p = .01", START + DAY, "Ada")
    assert done.winner_metrics == {"rmse": 1.5}
    assert done.design == test.design


@pytest.mark.parametrize("decision", ["bogus", 5, None])
async def test_another_decision_is_refused_by_name(ab_tests: ABTestRepo, decision: Any) -> None:
    """A decision that is none of the contract's is refused, and the test runs on."""
    test = await start(ab_tests)
    with pytest.raises(InvalidInputError, match="decision"):
        await ab_tests.conclude(test.id, decision=decision, reason="x")
    assert await ab_tests.fetch(test.id) == test


@pytest.mark.parametrize("first", ["conclude", "cancel"])
@pytest.mark.parametrize("second", ["conclude", "cancel"])
async def test_an_ended_test_stays_as_it_is(ab_tests: ABTestRepo, first: str, second: str) -> None:
    """What is concluded or cancelled cannot be so again; the error carries it, and its slot is free."""
    test = await start(ab_tests)
    ended = await END[first](ab_tests, test)
    assert ended.test_status == {"conclude": "completed", "cancel": "cancelled"}[first]
    with pytest.raises(ConflictError, match=ended.test_status) as conflict:
        await END[second](ab_tests, test)
    assert conflict.value.existing == ended
    assert (await start(ab_tests)).id != test.id


async def conclude(ab_tests: ABTestRepo, test: ABTest) -> ABTest:
    return await ab_tests.conclude(test.id, decision="undecided", reason="no difference", now=START + DAY)


async def cancel(ab_tests: ABTestRepo, test: ABTest) -> ABTest:
    return await ab_tests.cancel(test.id, reason="model withdrawn", by="Ada", now=START + DAY)


END = {"conclude": conclude, "cancel": cancel}


async def test_of_eight_conclusions_at_once_one_is_written(tracker: ModelPerformanceTracker) -> None:
    """The seven others get a `ConflictError` with the finding that stands."""
    test = await start(tracker.ab_tests)
    decisions: list[Any] = ["superior_a", "superior_b"] * 4
    ended = await asyncio.gather(
        *(tracker.ab_tests.conclude(test.id, decision=d, reason=f"{i}") for i, d in enumerate(decisions)),
        return_exceptions=True,
    )
    (winner,) = [one for one in ended if isinstance(one, ABTest)]
    assert [one.existing for one in ended if isinstance(one, ConflictError)] == [winner] * 7


async def test_an_unknown_test_is_not_found(ab_tests: ABTestRepo) -> None:
    """Fetching, concluding or cancelling a test that never was is a `NotFoundError`."""
    unknown = uuid4()
    for call in (
        ab_tests.fetch(unknown),
        ab_tests.conclude(unknown, decision="undecided", reason="x"),
        ab_tests.cancel(unknown),
    ):
        with pytest.raises(NotFoundError):
            await call


async def test_the_active_list_shows_running_tests(ab_tests: ABTestRepo) -> None:
    """`list_active` leaves out what has ended, `list_tests` shows all; both newest first, by slot if asked."""
    ended = await cancel(ab_tests, await start(ab_tests))
    press = await start(ab_tests, start=START + DAY)
    lathe = await start(ab_tests, machine="lathe", start=START + 2 * DAY)
    assert (await ab_tests.list_active()).items == (lathe, press)
    assert (await ab_tests.list_tests()).items == (lathe, press, ended)
    machine = make_id("machine press")
    assert (await ab_tests.list_active(machine_id=str(machine))).items == (press,)
    assert (await ab_tests.list_tests(machine_id=machine, model_type="baseline")).items == (press, ended)
    assert (await ab_tests.list_tests(model_type="other")).items == ()


@pytest.mark.parametrize(
    ("argument", "fields"),
    [
        ("model_b", {"model_b": make_ref()}),
        ("model_b", {"model_b": make_ref(version=2, machine="lathe")}),
        ("model_b", {"model_b": make_ref(version=2, model_type="other")}),
        ("duration", {"duration": timedelta(0)}),
        ("duration", {"duration": -DAY}),
        ("duration", {"duration": 24}),
        ("duration", {"duration": timedelta.max}),
        ("traffic_split", {"traffic_split": 0.0}),
        ("traffic_split", {"traffic_split": 1}),
        ("traffic_split", {"traffic_split": float("nan")}),
        ("start", {"start": datetime(2024, 1, 1)}),  # noqa: DTZ001  (naive on purpose)
        ("name", {"name": " "}),
        ("name", {"name": "x" * 201}),
        ("created_by", {"created_by": "a\0b"}),
        ("design.x", {"design": {"x": float("inf")}}),
    ],
)
async def test_start_refuses_by_name(ab_tests: ABTestRepo, argument: str, fields: dict[str, Any]) -> None:
    """What cannot be compared or stored is refused by the argument's name, and no test starts."""
    with pytest.raises(InvalidInputError) as refused:
        await start(ab_tests, **fields)
    assert refused.value.argument == argument
    assert (await ab_tests.list_tests()).items == ()
