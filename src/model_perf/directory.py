"""What only the host knows of its models and machines, and how it is asked: briefly, and never to be relied on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from model_perf import _validation as check
from model_perf.errors import InvalidInputError
from model_perf.records import ModelRef

T = TypeVar("T")

LIMIT_S = 2.0
"""Longest wait for an answer of the host; later ones are not used."""

_LOG = logging.getLogger(__name__)


class HostDirectory(Protocol):
    """The host's own look-ups. Each is optional: derive from this class, or give any object with some of them.

    They are asked outside of transactions and for 2 s at most. An answer that fails, is late or makes no sense counts
    as unknown, and is logged as a warning.
    """

    async def model_version(self, model_id: UUID) -> int | None:
        """The version of a model that is in service; None = unknown."""
        return None

    async def machine_names(self, machine_ids: Collection[UUID]) -> Mapping[UUID, str]:
        """The names of machines, without those that are unknown."""
        return {}

    async def expected_samples(self, ref: ModelRef, start: datetime, end: datetime) -> int | None:
        """How many samples the window [start, end) should have; None = unknown."""
        return None

    async def observed_samples(self, ref: ModelRef, start: datetime, end: datetime) -> int | None:
        """How many samples arrived in the window; asked where nobody gave a sample_count. None = unknown."""
        return None


class Lookups:
    """Asks a directory; whatever goes wrong there, the answer is None or empty."""

    def __init__(self, directory: HostDirectory | None) -> None:
        names = [name for name in vars(HostDirectory) if not name.startswith("_")]
        if directory is not None and not any(callable(getattr(directory, name, None)) for name in names):
            raise InvalidInputError("directory", f"{directory!r} has none of the methods {', '.join(names)}")
        self._directory = directory

    async def model_version(self, model_id: UUID) -> int | None:
        return await self._ask("model_version", _as_version, model_id)

    async def machine_names(self, machine_ids: Collection[UUID]) -> dict[UUID, str]:
        return await self._ask("machine_names", _as_names, machine_ids) or {} if machine_ids else {}

    async def completeness(self, ref: ModelRef, start: datetime, end: datetime, n: int | None) -> float | None:
        """The share of the expected samples that was there, 1 at most; *n* = how many were, None = unknown."""
        expected = await self.expected_samples(ref, start, end)
        if expected and n is None:
            n = await self._ask("observed_samples", _as_count, ref, start, end)
        return min(1.0, n / expected) if expected and n is not None else None

    async def expected_samples(self, ref: ModelRef, start: datetime, end: datetime) -> int | None:
        return await self._ask("expected_samples", _as_count, ref, start, end)

    async def _ask(self, name: str, read: Callable[[Any], T], *args: object) -> T | None:
        method = getattr(self._directory, name, None)
        if method is None:
            return None
        try:
            answer = await _within_limit(method, args)
            return None if answer is None else read(answer)
        except Exception as error:  # the host's code: its failure must cost an answer, not an evaluation
            _LOG.warning("the host's directory failed in %s: %r; its answer counts as unknown", name, error)
            return None


async def _within_limit(method: Callable[..., Any], args: tuple[object, ...]) -> object:
    """In a task of its own: one that does not heed its cancellation is left behind."""
    task = asyncio.ensure_future(method(*args))
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait({task}, timeout=LIMIT_S)
        if not task.done():
            raise TimeoutError(f"no answer within {LIMIT_S:g} s")
        if task.cancelled():
            raise RuntimeError("it cancelled itself")
        return task.result()
    finally:
        task.cancel()


def _as_version(answer: object) -> int:
    return check.as_int(answer, "model_version", high=check.INT4_MAX)  # type: ignore[arg-type]


def _as_count(answer: object) -> int:
    return check.as_int(answer, "samples")  # type: ignore[arg-type]


def _as_names(answer: Mapping[UUID | str, str | None]) -> dict[UUID, str]:
    """A machine without a name costs its own name only."""
    named = {number: name for number, name in answer.items() if name}
    return {check.as_uuid(number, "machine_id"): check.as_text(name, "name") for number, name in named.items()}
