"""One attempt at a run: the trainer is called, its lease renewed, its time bounded, its end reported."""

from __future__ import annotations

import asyncio
import logging
import reprlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from model_perf import _training
from model_perf._outcome import TrainingOutcome
from model_perf._trainers import Ended, Trainer, TrainingContext
from model_perf.errors import ConflictError, ModelPerfError, NotFoundError, StorageError
from model_perf.records import TrainingRun

if TYPE_CHECKING:
    from model_perf.tracker import ModelPerformanceTracker

log = logging.getLogger("model_perf.worker")

T = TypeVar("T")

_SHORT = reprlib.Repr()  # unlike repr() it never raises, whatever a trainer has returned
_SHORT.maxother = _SHORT.maxstring = 200

BEATS_PER_LEASE = 3
"""Two heartbeats may fail before the lease is lost."""
LONGEST_NEWS_S = 1.0
"""Progress is written at most so often."""
TO_BEAT_S = 5.0
"""What a heartbeat waits for its answer, once it has a connection, before it is sent again on another one."""
TO_REPORT_S = 300.0
"""The same of a report, and of what follows from it."""
TO_END_S = 5.0
"""What a trainer that is told to end has for it, before its slot counts as stuck."""


async def answered(tracker: ModelPerformanceTracker, call: Awaitable[T], within_s: float) -> T:
    """The answer of a server that may be gone without a word, which TCP would wait for for minutes, or for ever.

    The wait for a connection comes on top: who gives up his place in the queue of a busy pool would never get one.
    """
    limit_s = tracker._executor.acquire_timeout_s + within_s
    try:
        async with asyncio.timeout(limit_s):
            return await call
    except TimeoutError:
        raise StorageError(f"no answer within {limit_s:g} s", retry_safe=True, outcome_unknown=True) from None


@frozen(kw_only=True)
class Limits:
    """How long what may take."""

    lease: timedelta
    timeout_s: float | None
    first_backoff: timedelta
    longest_backoff: timedelta

    @property
    def beat_s(self) -> float:
        return self.lease.total_seconds() / BEATS_PER_LEASE


class Attempt:
    """An attempt that a worker holds, from its claim to its end."""

    def __init__(self, tracker: ModelPerformanceTracker, run: TrainingRun, trainer: Trainer, limits: Limits) -> None:
        self.run = run
        self.is_stuck = False
        self._work: asyncio.Future[Ended] | None = None
        self._tracker, self._trainer, self._limits = tracker, trainer, limits
        self._context = TrainingContext(tracker, run)
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._given_up = asyncio.Event()

    @property
    def is_training(self) -> bool:
        """Whether its trainer is at work, and was not given up."""
        return self._work is not None and not self._work.done() and not self.is_stuck

    def give_up(self) -> None:
        """End it now and hand the run back: the worker shuts down, and its time of grace is over."""
        self._given_up.set()

    async def carry_out(self) -> None:
        """Call the trainer and report how it ended; returns once the slot is free again."""
        arguments = (self.run, self._context) if self._trainer.external_lease is None else (self.run,)
        work = self._work = self._trainer.start(*arguments)
        beating = asyncio.create_task(self._beat())
        try:
            if await self._is_ended(work):
                await self._report_end(work.result())
            else:
                await self._end(work)
        finally:
            self._tell_to_end(work, "the worker was cancelled")
            beating.cancel()
            await asyncio.wait({beating})

    async def _end(self, work: asyncio.Future[Ended]) -> None:
        """End a trainer before it ends by itself, and say so unless another attempt has the run."""
        report: Callable[[], Awaitable[TrainingRun]] | None = None
        if self._lost.done():
            why = self._lost.result()
            log.warning("run %s: %s; the trainer is told to end, and its outcome will not be heard", self._name, why)
        elif self._given_up.is_set():
            why, report = "the worker shuts down", self._hand_back
        else:
            why = f"the trainer did not end within timeout_s = {self._limits.timeout_s:g} s"
            report = partial(self._fail, why)
        self._tell_to_end(work, why)
        await asyncio.wait({work}, timeout=self._to_end_s)
        if report is not None:
            await self._tell(report)
        await self._wait_until_free(work)

    @property
    def _to_end_s(self) -> float:
        """A worker that shuts down has no time for a thread, which nobody can end; a coroutine may clean up."""
        return TO_END_S if not self._given_up.is_set() else TO_END_S / 2 if self._trainer.is_async else 0.1

    def _tell_to_end(self, work: asyncio.Future[Ended], why: str) -> None:
        """Once: a second cancellation would break off what the first one has it clean up."""
        if not (work.done() or self._context.is_cancelled):
            self._context._cancel(why)
            if self._trainer.is_async:
                work.cancel()

    async def _is_ended(self, work: asyncio.Future[Ended]) -> bool:
        """Whether the trainer ends before it is told to: by time, by the loss of the lease, by the worker's end."""
        given_up = asyncio.ensure_future(self._given_up.wait())
        endings: set[asyncio.Future[Any]] = {work, self._lost, given_up}
        try:
            await asyncio.wait(endings, timeout=self._limits.timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            given_up.cancel()
        return work.done()

    async def _wait_until_free(self, work: asyncio.Future[Ended]) -> None:
        """A trainer that goes on all the same keeps its slot: a thread cannot be killed, nor a task that won't end."""
        if work.done():
            return
        self.is_stuck = True
        log.error("run %s: the trainer goes on although it was told to end; its slot is stuck", self._name)
        given_up = asyncio.ensure_future(self._given_up.wait())
        endings: set[asyncio.Future[Any]] = {work, given_up}
        await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
        given_up.cancel()

    async def _report_end(self, ended: Ended) -> None:
        if ended.error is not None:
            log.warning("run %s: it was not trained", self._name, exc_info=ended.error)
            await self._tell(partial(self._fail, ended.error))
            return
        try:
            await self._tell(self._report_of(ended.answer))
        except ModelPerfError as refused:  # what cannot be stored, now or later
            await self._tell(partial(self._fail, refused, is_final=True))

    def _report_of(self, answer: object) -> Callable[[], Awaitable[TrainingRun]]:
        """An outcome completes the run, a job's id hands it over, and anything else is a failure that stays one."""
        number, attempt, lease = self.run.id, self.run.attempt, self._trainer.external_lease
        if lease is None and isinstance(answer, TrainingOutcome):
            return partial(self._tracker.complete_training, number, attempt, answer)
        if lease is not None and isinstance(answer, str) and answer.strip():
            return partial(self._tracker.training.hand_over, number, attempt, lease=lease, external_id=answer)
        role, wanted = ("trainer", "a TrainingOutcome") if lease is None else ("dispatcher", "the id of a job, as text")
        told = f"the {role} of {self.run.model_type!r} returned {type(answer).__name__} {_SHORT.repr(answer)}; "
        return partial(self._fail, f"{told}it must return {wanted}", is_final=True)

    async def _fail(self, error: BaseException | str, *, is_final: bool = False) -> TrainingRun:
        delay = _training.backoff(self.run.attempt, self._limits.first_backoff, self._limits.longest_backoff)
        return await self._tracker.fail_training(self.run.id, self.run.attempt, error, is_final=is_final, delay=delay)

    async def _hand_back(self) -> TrainingRun:
        return await self._tracker.training.hand_back(self.run.id, self.run.attempt)

    async def _tell(self, report: Callable[[], Awaitable[TrainingRun]]) -> None:
        """Report until it is heard or another attempt has the run; a report that was heard unawares is not lost."""
        failures = 0
        while True:
            try:
                run = await answered(self._tracker, report(), TO_REPORT_S)
            except (ConflictError, NotFoundError) as refused:
                held = getattr(refused, "existing", None)
                if isinstance(refused, ConflictError) and not isinstance(held, TrainingRun):
                    raise
                if not (failures and self._has_ended(held)):
                    log.warning("run %s: the lease was lost, the report is not heard: %s", self._name, refused)
                return
            except StorageError as error:
                if not (error.retry_safe or error.outcome_unknown):
                    raise
                failures += 1
                log.warning("run %s: its report waits for the database: %s", self._name, error)
                await asyncio.sleep(min(0.1 * 2.0 ** min(failures, 20), self._limits.beat_s))
            else:
                log.info("run %s: %s", self._name, run.training_status)
                return

    def _has_ended(self, held: TrainingRun | None) -> bool:
        return held is not None and held.attempt == self.run.attempt and held.training_status != "running"

    async def _beat(self) -> None:
        """Renew the lease until the attempt ends; the event loop must be free for it, as for all that a loop does."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while not self._lost.done():
            await self._wait_for_beat()
            if (late := loop.time() - last) > 2 * self._limits.beat_s:
                log.warning("run %s: no heartbeat for %.1f s; was the event loop blocked?", self._name, late)
            last = loop.time()
            await self._renew()

    async def _wait_for_beat(self) -> None:
        news_s = min(LONGEST_NEWS_S, self._limits.beat_s)
        await asyncio.sleep(news_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.beat_s - news_s):
                await self._context._news.wait()
        self._context._news.clear()

    async def _renew(self) -> None:
        context = self._context
        beat = self._tracker.training.heartbeat(
            self.run.id,
            self.run.attempt,
            lease=self._limits.lease,
            progress=context._progress,
            stage=context._stage,
        )
        try:
            await answered(self._tracker, beat, TO_BEAT_S)
        except (ConflictError, NotFoundError) as lost:
            if not self._lost.done():
                self._lost.set_result(str(lost))
        except Exception as error:  # the host's pool, or a bug: without heartbeats the run would be another's
            is_ours = isinstance(error, ModelPerfError)
            log.warning("run %s: no heartbeat: %s", self._name, error, exc_info=not is_ours)
            context._news.set()  # again in a second, and not in a third of the lease

    @property
    def _name(self) -> str:
        return f"{self.run.id} ({self.run.model_type}, attempt {self.run.attempt})"
