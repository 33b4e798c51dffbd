"""A detector of a stream whose state is kept with its deployment, for any number of processes that feed it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve, fields
from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf._floats import length_of
from model_perf.errors import ConflictError, InvalidInputError, NotFoundError
from model_perf.records import ModelRef, as_ref
from model_perf.repos.drift import LOST_RACES, DriftRepo
from model_perf.results import StreamUpdate

if TYPE_CHECKING:
    from model_perf.drift import Detector

T = TypeVar("T")

THREAD_VALUES = 20_000
"""Values from which a batch is taken in by a thread."""


class Stream:
    """A named stream of one deployment; made by `ModelPerformanceTracker.stream`, without I/O.

    Every update reads the stored detector, takes the values in and writes it back if nobody else did meanwhile; who
    lost that race begins again with the winner's, and after a few losses keeps the others waiting.
    """

    def __init__(self, repo: DriftRepo, ref: ModelRef, name: str, detector: Detector | None) -> None:
        self._repo = repo
        self._ref = as_ref(ref)
        self._name = check.as_text(name, "name", max_length=200)
        self._start = None if detector is None else _as_detector(detector)

    async def fetch(self) -> Detector:
        """The detector as it is kept; `NotFoundError` where no update was ever made."""
        _, stored = await self._fetch(self._repo)
        if stored is None:
            raise NotFoundError(f"nothing is kept of the stream {self._name!r} yet; update it first")
        return stored

    async def update(self, value: float, id: int | None = None) -> StreamUpdate:  # noqa: A002 - the word users know
        """Take in one value; see `update_many`."""
        return await self._change(lambda detector: detector.update(value, id), 1, is_repeatable=id is not None)

    async def update_many(self, values: ArrayLike, ids: ArrayLike | None = None) -> StreamUpdate:
        """Take in values in time order.

        Parameters
        ----------
        values : array of float, shape (n,)
            NaN where one is missing.
        ids : array of int, shape (n,), optional
            Their numbers in the stream, rising. With them a repeated call changes nothing; without them every value
            counts as new.

        Raises
        ------
        ConflictError
            What is kept is another detector, or one with other settings, than the stream was asked for with.
        NotFoundError
            Nothing is kept yet, and the stream was asked for without a detector.
        """
        return await self._change(
            lambda detector: detector.update_many(values, ids), length_of(values), is_repeatable=ids is not None
        )

    async def restart(self) -> Detector:
        """End the alarm, once somebody has dealt with it; counts, ids and settings stay."""
        return (await self._change(lambda detector: detector.restart(), 0, is_repeatable=True)).detector

    async def replace(self, detector: Detector) -> Detector:
        """Keep *detector* from now on, whatever was kept, even if this version of model_perf cannot read it.

        The largest id so far goes on counting: values that were taken in before are no news to the new one.
        """
        new = _as_detector(detector)

        async def try_once(repo: DriftRepo) -> Detector | None:
            version, state = await repo.fetch_stream(self._ref, self._name)
            ids = [each for each in (new.last_id, state.get("last_id")) if isinstance(each, int)]
            kept = evolve(new, last_id=max(ids, default=None))
            return kept if await repo.save_stream(self._ref, self._name, version, kept.to_dict()) else None

        kept = await self._insist(try_once, is_repeatable=True)
        self._start = new
        return kept

    async def _fetch(self, repo: DriftRepo) -> tuple[int, Detector | None]:
        from model_perf.drift import detector_from_dict

        version, state = await repo.fetch_stream(self._ref, self._name)
        return version, detector_from_dict(state) if state else None

    async def _change(self, change: Callable[[Detector], Detector], size: int, *, is_repeatable: bool) -> StreamUpdate:
        async def try_once(repo: DriftRepo) -> StreamUpdate | None:
            version, stored = await self._fetch(repo)
            before = stored or self._start
            if before is None:
                raise NotFoundError(
                    f"nothing is kept of the stream {self._name!r} yet; say what to start with, as in "
                    "tracker.stream(ref, name, detector=CusumDetector(mean=..., sd=...))"
                )
            if stored is not None and self._start is not None:
                _demand_same(stored, self._start)
            after = await asyncio.to_thread(change, before) if size > THREAD_VALUES else change(before)
            is_done = after == stored or await repo.save_stream(
                self._ref, self._name, version, after.to_dict(), is_repeatable=is_repeatable
            )
            return _answer(before, after) if is_done else None

        return await self._insist(try_once, is_repeatable=is_repeatable)

    async def _insist(self, try_once: Callable[[DriftRepo], Awaitable[T | None]], *, is_repeatable: bool) -> T:
        """What *try_once* answers when no other writer came first."""
        for _ in range(LOST_RACES):
            if (done := await try_once(self._repo)) is not None:
                return done
        done = await self._repo.in_turn(self._ref, self._name, try_once, is_repeatable=is_repeatable)
        if done is None:
            raise ConflictError(f"other writers of the stream {self._name!r} kept coming first; repeat the call")
        return done


def _as_detector(detector: Detector) -> Detector:
    """One that can be read again; a class of the host's own could be written, and would block the stream."""
    from model_perf.drift._detectors import is_readable

    if not is_readable(detector):
        raise InvalidInputError(
            "detector", f"{detector!r} cannot be kept; give a detector of model_perf.drift, as CusumDetector(...)"
        )
    return detector


def _answer(before: Detector, after: Detector) -> StreamUpdate:
    return StreamUpdate(
        detector=after,
        n_new=after.n + after.n_missing - before.n - before.n_missing,
        is_new_alarm=after.drift_detected and not before.drift_detected,
    )


def _demand_same(stored: Detector, start: Detector) -> None:
    """A stream goes on with the settings that it began with; silently taking others would mix two meanings."""
    mend = "leave detector= out to go on with the one that is kept, or call replace() to begin with the new one"
    if type(stored) is not type(start):
        raise ConflictError(f"a {type(stored).__name__} is kept, not a {type(start).__name__}; {mend}")
    differing = [
        f"{each.name} {getattr(stored, each.name)!r}, not {getattr(start, each.name)!r}"
        for each in fields(type(start))
        if each.name not in stored.STATE and getattr(stored, each.name) != getattr(start, each.name)
    ]
    if differing:
        raise ConflictError(f"the {type(stored).__name__} that is kept has {'; '.join(differing)}; {mend}")
