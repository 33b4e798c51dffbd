"""The host's look-ups: optional, brief, outside of transactions, and never the reason for a failure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.factories import START, make_evaluation, make_id, make_ref
from tests.writers import record

from model_perf import (
    ConflictError,
    HostDirectory,
    InvalidInputError,
    ModelPerformanceTracker,
    ModelRef,
    directory,
)

REF = make_ref()


class Host(HostDirectory):
    """Answers what it was made with; an exception is raised, a number of seconds is waited for."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[Any, ...]] = []

    async def _answer(self, name: str, *args: object) -> Any:
        self.asked.append((name, *args))
        answer = self.answers.get(name)
        if isinstance(answer, BaseException):
            raise answer
        return await answer() if callable(answer) else answer

    async def model_version(self, model_id: UUID) -> int | None:
        return await self._answer("model_version", model_id)  # type: ignore[no-any-return]

    async def machine_names(self, machine_ids: Collection[UUID]) -> Mapping[UUID, str]:
        return await self._answer("machine_names", *machine_ids) or {}

    async def expected_samples(self, ref: ModelRef, start: datetime, end: datetime) -> int | None:
        return await self._answer("expected_samples", ref, start, end)  # type: ignore[no-any-return]

    async def observed_samples(self, ref: ModelRef, start: datetime, end: datetime) -> int | None:
        return await self._answer("observed_samples", ref, start, end)  # type: ignore[no-any-return]


class NamesOnly:
    """Some of the methods will do."""

    async def machine_names(self, machine_ids: Collection[UUID]) -> dict[str, str]:
        return {str(number): "press" for number in machine_ids}


async def hang() -> None:
    await asyncio.sleep(60)


async def hang_and_ignore_the_end() -> None:
    for _ in range(3):
        try:
            await asyncio.sleep(0.3)
        except asyncio.CancelledError:
            continue


def on(tracker: ModelPerformanceTracker, host: object) -> ModelPerformanceTracker:
    return ModelPerformanceTracker(tracker.pool, schema=tracker.schema, directory=host)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", [object(), 5, "names", {}])
def test_what_has_no_look_up_is_refused(host: Any) -> None:
    """A directory without any of the methods is a mistake, and named."""
    with pytest.raises(InvalidInputError, match=r"directory: .*machine_names"):
        ModelPerformanceTracker(lambda: pytest.fail("asked"), directory=host)


@pytest.mark.parametrize(
    ("given", "observed", "expected", "share"),
    [
        (500, None, 1000, 0.5),
        (1500, None, 1000, 1.0),
        (0, None, 1000, 0.0),
        (None, 250, 1000, 0.25),
        (None, None, 1000, None),
        (500, None, None, None),
        (500, None, 0, None),
        (500, None, -5, None),
        (500, None, 1.5, None),
    ],
)
async def test_the_completeness_is_looked_up(
    tracker: ModelPerformanceTracker, given: int | None, observed: int | None, expected: Any, share: float | None
) -> None:
    """What was given or observed over what was expected, 1 at most, and unknown where one of them is."""
    host = Host(expected_samples=expected, observed_samples=observed)
    stored = await record(on(tracker, host), make_evaluation(REF, sample_count=given, data_completeness=None))
    assert (stored.evaluation.data_completeness, stored.evaluation.sample_count) == (share, given)


async def test_a_completeness_that_is_given_asks_nobody(tracker: ModelPerformanceTracker) -> None:
    """The caller knows better."""
    host = Host(expected_samples=10)
    stored = await record(on(tracker, host), make_evaluation(REF, data_completeness=0.25))
    assert (stored.evaluation.data_completeness, host.asked) == (0.25, [])


async def test_a_repeat_is_a_repeat_whatever_the_directory_says_by_then(tracker: ModelPerformanceTracker) -> None:
    """A looked-up completeness is no part of the payload, a given one is."""
    evaluation = make_evaluation(REF, data_completeness=None)
    first = await record(on(tracker, Host(expected_samples=RuntimeError("down"))), evaluation)
    again = await record(on(tracker, Host(expected_samples=2016)), evaluation)
    assert (first.is_new, again.is_new, again.evaluation) == (True, False, first.evaluation)
    with pytest.raises(ConflictError):
        await record(tracker, make_evaluation(REF, data_completeness=0.5))
    with pytest.raises(ConflictError):
        await record(tracker, make_evaluation(REF, data_completeness=None, metrics={"rmse": 1.0}))


async def test_a_host_is_not_asked_inside_its_transaction(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """A bound tracker asks nobody: the answer could wait for what the transaction holds."""
    host = Host(expected_samples=10, model_version=3)
    async with pool.acquire() as connection, connection.transaction():
        bound = on(tracker, host).bind(connection)
        stored = await record(bound, make_evaluation(REF, data_completeness=None))
        found = await bound.find_model(REF.model_id, model_type=REF.model_type, machine_id=REF.machine_id)
    assert (stored.evaluation.data_completeness, found, host.asked) == (None, REF, [])


@pytest.mark.parametrize("wrong", [RuntimeError("down"), hang, hang_and_ignore_the_end, "3", True, -1, 2**31])
async def test_a_directory_that_fails_is_unknown_and_logged(
    tracker: ModelPerformanceTracker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: Any
) -> None:
    """An error, silence or nonsense costs the answer: the newest known version is taken, and a warning says why."""
    monkeypatch.setattr(directory, "LIMIT_S", 0.1)
    await record(tracker, make_evaluation(make_ref(version=7)))
    with caplog.at_level(logging.WARNING, logger="model_perf"):
        async with asyncio.timeout(1.0):
            found = await on(tracker, Host(model_version=wrong)).find_model(REF.model_id, model_type=REF.model_type)
    assert found.model_version == 7
    assert [each.name for each in caplog.records] == ["model_perf.directory"]
    assert "model_version" in caplog.text


async def test_a_look_up_that_is_not_async_is_unknown(tracker: ModelPerformanceTracker) -> None:
    """A plain function's answer cannot be awaited; it costs the answer, not the call."""

    class Sync:
        def machine_names(self, machine_ids: Collection[UUID]) -> dict[UUID, str]:
            return {}

    number = make_id("machine press")
    assert await on(tracker, Sync()).machine_names([number]) == {number: str(number)}


async def test_cancelling_a_call_cancels_the_look_up(tracker: ModelPerformanceTracker) -> None:
    """Nothing of the host goes on for a caller that has left."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def note_the_end() -> None:
        begun.set()
        try:
            await hang()
        finally:
            ended.set()

    host = Host(expected_samples=note_the_end)
    call = asyncio.create_task(record(on(tracker, host), make_evaluation(REF, data_completeness=None)))
    await asyncio.wait_for(begun.wait(), 1.0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(ended.wait(), 1.0)


async def test_the_version_is_given_or_in_service_or_the_newest(tracker: ModelPerformanceTracker) -> None:
    """The parameter comes first, then the directory, then the newest known on the machine, then on any."""
    slot: dict[str, Any] = {"model_type": REF.model_type, "machine_id": REF.machine_id}
    with pytest.raises(InvalidInputError, match=r"model_version: no version of model .* is known"):
        await tracker.find_model(REF.model_id, **slot)
    for version in (2, 10, 9):
        await record(tracker, make_evaluation(make_ref(version=version)))
    await record(tracker, make_evaluation(make_ref(version=11, machine="lathe")))
    assert (await tracker.find_model(REF.model_id, **slot)).model_version == 10
    assert (await tracker.find_model(REF.model_id, model_type=REF.model_type)).model_version == 11
    assert (await on(tracker, Host(model_version=4)).find_model(REF.model_id, **slot)).model_version == 4
    host = Host(model_version=4)
    assert (await on(tracker, host).find_model(str(REF.model_id), **slot, model_version=0)).model_version == 0
    assert host.asked == []


async def test_the_name_of_a_machine_falls_back_to_its_id(tracker: ModelPerformanceTracker) -> None:
    """The directory's name, else the registered one, else the id; each machine is asked for once."""
    press, lathe, other = (make_id(f"machine {name}") for name in ("press", "lathe", "other"))
    await tracker.metrics.register_model(make_ref(machine="lathe"), START, machine_name="Lathe 2")
    host = Host(machine_names={press: "Press 7"})
    assert await on(tracker, host).machine_names([press, lathe, press, other]) == {
        press: "Press 7",
        lathe: "Lathe 2",
        other: str(other),
    }
    assert host.asked == [("machine_names", press, lathe, other)]
    assert await on(tracker, NamesOnly()).machine_names([press]) == {press: "press"}
    assert await tracker.machine_names([]) == {}
