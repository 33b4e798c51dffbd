"""Promotion and rollback: a record first, then the host is told."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from model_perf.records import Champion, ModelRef
from model_perf.results import Promotion

if TYPE_CHECKING:
    from model_perf.tracker import ModelPerformanceTracker

OnPromotion = Callable[[Champion], Awaitable[object]]

log = logging.getLogger("model_perf.champions")


async def promote(
    tracker: ModelPerformanceTracker, ref: ModelRef, replaces: Champion | int | None, options: dict[str, Any]
) -> Promotion:
    await tracker.metrics.register_model(ref, tracker._executor.moment())
    champion, is_new = await tracker.champions.promote(ref, replaces=_number(replaces), **options)
    return await _tell(tracker, champion, is_new)


async def roll_back(
    tracker: ModelPerformanceTracker,
    model_type: str,
    machine_id: UUID | str | None,
    replaces: Champion | int | None,
    options: dict[str, Any],
) -> Promotion:
    champion = await tracker.champions.roll_back(model_type, machine_id, replaces=_number(replaces), **options)
    return await _tell(tracker, champion, True)


async def _tell(tracker: ModelPerformanceTracker, champion: Champion, is_new: bool) -> Promotion:
    """Call the host's callbacks; what is recorded stays so whatever they raise."""
    failed: list[str] = []
    for callback in () if tracker._executor.is_bound else tracker._promotion_callbacks:
        try:
            await callback(champion)
        except Exception as error:  # the host's own code
            log.exception("champion %s of %s: on_promotion failed", champion.number, champion.ref.model_type)
            failed.append(f"{type(error).__name__}: {error}")
    return Promotion(champion=champion, is_new=is_new, callback_error="; ".join(failed) or None)


def _number(replaces: Champion | int | None) -> int | None:
    return replaces.number if isinstance(replaces, Champion) else replaces
