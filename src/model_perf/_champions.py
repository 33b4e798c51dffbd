"""Promotion and rollback: a record first, then the host is told."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from model_perf import _validation as check
from model_perf._training import describe
from model_perf.errors import InvalidInputError
from model_perf.records import NO_MACHINE, Champion, ModelRef, as_ref
from model_perf.results import Promotion
from model_perf.sql._connection import Connection

if TYPE_CHECKING:
    from model_perf.tracker import ModelPerformanceTracker

OnPromotion = Callable[[Champion], Awaitable[object]]

log = logging.getLogger("model_perf.champions")


async def promote(
    tracker: ModelPerformanceTracker, ref: ModelRef, replaces: Champion | int | None, options: dict[str, Any]
) -> Promotion:
    """Register the version and promote it: both or, where another change came first, neither."""
    number, now = _number(replaces, as_ref(ref).model_type, ref.machine_id), tracker._executor.moment()

    async def register_and_promote(connection: Connection) -> tuple[Champion, bool]:
        bound = tracker._nest(connection)
        await bound.metrics.register_model(ref, now)
        return await bound.champions.promote(ref, replaces=number, now=now, **options)

    return await _tell(tracker, *await tracker._executor.run(register_and_promote, transaction=True))


async def roll_back(
    tracker: ModelPerformanceTracker,
    model_type: str,
    machine_id: UUID | str | None,
    replaces: Champion | int | None,
    options: dict[str, Any],
) -> Promotion:
    machine = NO_MACHINE if machine_id is None else check.as_uuid(machine_id, "machine_id")
    number = _number(replaces, model_type, machine)
    champion = await tracker.champions.roll_back(model_type, machine, replaces=number, **options)
    return await _tell(tracker, champion, True)


async def _tell(tracker: ModelPerformanceTracker, champion: Champion, is_new: bool) -> Promotion:
    """Call the host's callbacks; what is recorded stays so whatever they raise."""
    failed: list[str] = []
    for callback in () if tracker._executor.is_bound else tracker._promotion_callbacks:
        try:
            await _call(callback, champion)
        except Exception as error:  # the host's own code
            log.exception("champion %s of %s: on_promotion failed", champion.number, champion.ref.model_type)
            failed.append(describe(error)[0])
    return Promotion(champion=champion, is_new=is_new, callback_error="; ".join(failed) or None)


async def _call(callback: OnPromotion, champion: Champion) -> None:
    """A callback that cancels itself has failed; the cancellation of who promotes goes through."""
    try:
        answer = callback(champion)
        if inspect.isawaitable(answer):
            await answer
    except asyncio.CancelledError as cancelled:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError(f"it was cancelled {cancelled}".rstrip()) from cancelled


def _number(replaces: Champion | int | None, model_type: str, machine_id: UUID) -> int | None:
    """Of a champion of this slot: those of other slots have the same numbers."""
    if not isinstance(replaces, Champion):
        return replaces
    if (replaces.ref.model_type, replaces.ref.machine_id) != (model_type, machine_id):
        other = replaces.ref
        raise InvalidInputError("replaces", f"is a champion of {other.model_type!r} on machine {other.machine_id}")
    return replaces.number
