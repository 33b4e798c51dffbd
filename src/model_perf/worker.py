"""The worker: takes training runs that are due and lets the registered trainers carry them out."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections import deque
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypedDict
from uuid import uuid4

from model_perf import _validation as check
from model_perf._attempt import TO_END_S, Attempt, Limits, answered
from model_perf.errors import InvalidInputError, ModelPerfError, StorageError
from model_perf.records import TrainingRun

if TYPE_CHECKING:
    from model_perf._trainers import Trainers
    from model_perf.tracker import ModelPerformanceTracker

log = logging.getLogger("model_perf.worker")

UPKEEP_EVERY_S = 10.0
"""How often a worker notes that it lives, and fails runs that nobody reports on any more."""
LONGEST_PAUSE_S = 30.0
"""Between two polls, while the database does not answer."""
TO_CLAIM_S = 60.0
"""What a claim waits for its answer, once it has a connection, before it is made anew on another one."""
LONGEST_SILENCE_S = 300.0
"""Of a database for which `Worker.drain` waits: longer than a restart or a failover takes."""
TO_NOTE_S = 10.0
"""What the database has to note that a worker begins, or has ended; one that hangs would else never answer."""


class WorkerOptions(TypedDict, total=False):
    """What `ModelPerformanceTracker.worker` takes.

    Attributes
    ----------
    concurrency : int
        Runs at a time; default 1.
    lease_s : float
        How long a worker that has died keeps its run; default 30. A heartbeat is sent every third of it.
    poll_s : float
        Between two looks for runs that are due; default 1. One cheap statement each.
    timeout_s : float or None
        Longest time for an attempt; default six hours. A trainer in a thread cannot be ended by force: its run is given
        to another attempt, and its slot stays taken until it ends.
    grace_s : float
        What trainers have to finish when the worker ends; default 20. Then their runs are handed back.
    backoff_s, max_backoff_s : float
        Pause after the first failed attempt, default 10, doubled with each one up to the longest, default 600.
    name : str
        Default: host, process, and a random part.
    """

    concurrency: int
    lease_s: float
    poll_s: float
    timeout_s: float | None
    grace_s: float
    backoff_s: float
    max_backoff_s: float
    name: str | None


class Worker:
    """Claims runs of the model types that have a trainer, `concurrency` at a time; ``async with tracker.worker()``.

    It runs beside the body of the ``async with`` on the same event loop. At its end it claims nothing more, waits
    ``grace_s`` for the trainers at work, and hands back what is not done by then.

    Heartbeats are sent by the event loop. A trainer that computes for long belongs into a plain function, which runs in
    a thread; one that blocks the loop for longer than the lease loses its run as a dead worker does, and what it
    reports later is refused if another attempt has begun.

    Attributes
    ----------
    name : str
        Who claims; unique to the process unless it was given.
    """

    def __init__(
        self,
        tracker: ModelPerformanceTracker,
        trainers: Trainers,
        *,
        concurrency: int = 1,
        lease_s: float = 30.0,
        poll_s: float = 1.0,
        timeout_s: float | None = 21_600.0,
        grace_s: float = 20.0,
        backoff_s: float = 10.0,
        max_backoff_s: float = 600.0,
        name: str | None = None,
    ) -> None:
        self.name = _own_name() if name is None else check.as_text(name, "name", max_length=200)
        self._tracker, self._trainers = tracker, trainers
        self._concurrency = check.as_int(concurrency, "concurrency", low=1, high=1000)
        self._poll_s = check.as_float(poll_s, "poll_s", low=0.01, high=86_400.0)
        self._grace_s = check.as_float(grace_s, "grace_s", low=0.0, high=86_400.0)
        first = check.as_float(backoff_s, "backoff_s", low=0.0, high=86_400.0)
        self._limits = Limits(
            lease=timedelta(seconds=check.as_float(lease_s, "lease_s", low=0.1, high=86_400.0)),
            timeout_s=None if timeout_s is None else check.as_float(timeout_s, "timeout_s", low=0.01),
            first_backoff=timedelta(seconds=first),
            longest_backoff=timedelta(seconds=check.as_float(max_backoff_s, "max_backoff_s", low=first, high=1e7)),
        )
        self._held: dict[asyncio.Task[None], Attempt] = {}
        self._wake, self._stopping = asyncio.Event(), asyncio.Event()
        self._draining: set[asyncio.Event] = set()
        self._polling: asyncio.Task[None] | None = None
        self._unheard: deque[datetime] = deque(maxlen=100)
        """When it claimed without an answer; what it was given then is handed back."""
        self._next_look = self._next_upkeep = self._silent_since = 0.0

    @property
    def running(self) -> tuple[TrainingRun, ...]:
        """The runs in hand, as they were claimed."""
        return tuple(attempt.run for attempt in self._held.values())

    @property
    def n_stuck(self) -> int:
        """Slots that are held by trainers that go on although they were told to end."""
        return sum(attempt.is_stuck for attempt in self._held.values())

    def stop(self) -> None:
        """Claim nothing more; the end of the ``async with`` waits for what is in hand."""
        self._stopping.set()
        self._wake.set()

    async def wait_stopped(self) -> None:
        """Until somebody calls `stop`; for a process that is a worker and nothing else."""
        await self._stopping.wait()

    async def drain(self) -> None:
        """Until nothing is due, and nothing in hand but what is stuck; for jobs that run now and then.

        Raises
        ------
        StorageError
            Nothing is trained, and for five minutes the database has answered no claim.
        """
        if self._polling is None or self._polling.done():
            return
        done = asyncio.Event()
        self._draining.add(done)
        self._wake.set()
        self._silent_since = asyncio.get_running_loop().time()
        try:
            while not done.is_set():
                self._demand_an_answer()
                await _wait_for(done, min(1.0, LONGEST_SILENCE_S))
        finally:
            self._draining.discard(done)

    async def __aenter__(self) -> Self:
        if self._polling is not None:
            raise InvalidInputError("worker", "was entered already; make another one")
        if not self._trainers.by_type:
            raise InvalidInputError("worker", "there is no trainer; register one, as in @tracker.trainer('baseline')")
        try:
            async with asyncio.timeout(TO_NOTE_S):
                await self._tracker.workers.start(self.name, list(self._trainers.by_type))
        except (StorageError, TimeoutError) as error:
            if isinstance(error, StorageError) and not error.retry_safe:
                raise
            log.warning("worker %s: starts without the database: %s", self.name, str(error) or "no answer")
        self._polling = asyncio.create_task(self._poll())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        try:
            await self._end_polling()
            await self._finish_or_hand_back()
        finally:
            await self._cancel_all()
        try:
            async with asyncio.timeout(TO_NOTE_S):
                await self._tracker.workers.stop(self.name)
        except (StorageError, TimeoutError) as late:
            log.warning("worker %s: its end is not noted: %s", self.name, str(late) or "no answer")

    async def _end_polling(self) -> None:
        """A claim under way is waited for, as its answer would be lost; but not for ever."""
        assert self._polling is not None
        await asyncio.wait({self._polling}, timeout=max(self._grace_s, 1.0))

    async def _finish_or_hand_back(self) -> None:
        working = {task for task, attempt in self._held.items() if not attempt.is_stuck}
        if working:
            await asyncio.wait(working, timeout=self._grace_s)
        for attempt in self._held.values():
            attempt.give_up()
        if self._held:
            await asyncio.wait(set(self._held), timeout=TO_END_S)

    async def _cancel_all(self) -> None:
        """What does not end by itself, such as a report to a database that is away: its lease will run out."""
        left = {task for task in (self._polling, *self._held) if task is not None and not task.done()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)

    async def _poll(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            asked = set(self._draining)  # before the look: what is opened after it is not seen by it
            if asked or self._wake.is_set():
                self._next_look = 0.0
            self._wake.clear()
            try:
                claimed = await answered(self._tracker, self._claim(), TO_CLAIM_S)
            except Exception as error:  # whatever it is, a worker that stopped asking would be worse
                failures += 1
                log.warning("worker %s: no claim: %s", self.name, error, exc_info=not isinstance(error, ModelPerfError))
                pause_s = min(self._poll_s * 2 ** min(failures, 20), LONGEST_PAUSE_S)
                await _wait_for(self._wake, pause_s * random.uniform(0.5, 1.0))
                continue
            failures = 0
            for run in claimed:
                self._begin(run)
            if len(self._held) <= self.n_stuck:
                self._say_drained(asked)
            await _wait_for(self._wake, min(self._poll_s, UPKEEP_EVERY_S))
        self._say_drained(self._draining)

    def _say_drained(self, asked: set[asyncio.Event]) -> None:
        for done in asked:
            done.set()

    def _demand_an_answer(self) -> None:
        """What is trained may go on without the database, and has as long to be reported."""
        now = asyncio.get_running_loop().time()
        if any(attempt.is_training for attempt in self._held.values()):
            self._silent_since = now
        elif now - self._silent_since > LONGEST_SILENCE_S:
            raise StorageError(f"the database has not answered for {LONGEST_SILENCE_S:g} s", retry_safe=True)

    async def _claim(self) -> list[TrainingRun]:
        """One statement, as a rule: none where all slots are taken and nothing is to be noted."""
        now = asyncio.get_running_loop().time()
        is_due = now >= self._next_upkeep
        free = self._concurrency - len(self._held) if now >= self._next_look else 0
        if not (free or is_due):
            return []
        training, moment = self._tracker.training, self._tracker._executor.moment()
        if self._unheard:
            await training.hand_back_unheard(self.name, self._unheard, held=[run.id for run in self.running])
            self._unheard.clear()
        try:
            claimed = await training.claim_many(
                self.name,
                model_types=list(self._trainers.by_type),
                limit=free,
                lease=self._limits.lease,
                now=moment,
                upkeep=is_due,
                held=[attempt.run.id for attempt in self._held.values() if not attempt.is_stuck],
            )
        except BaseException as error:
            if not isinstance(error, StorageError) or error.outcome_unknown:
                self._unheard.append(moment)
            raise
        if free:
            self._next_look = now + self._poll_s
        if is_due:
            self._next_upkeep = now + UPKEEP_EVERY_S
        self._silent_since = asyncio.get_running_loop().time()
        return claimed

    def _begin(self, run: TrainingRun) -> None:
        attempt = Attempt(self._tracker, run, self._trainers.by_type[run.model_type], self._limits)
        task = asyncio.create_task(attempt.carry_out(), name=f"training run {run.id}")
        self._held[task] = attempt
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        attempt = self._held.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("run %s: its end could not be reported; its lease runs out", attempt.run.id, exc_info=error)
        self._wake.set()


async def _wait_for(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _own_name() -> str:
    """Of the host, the process, and something by which two workers of one process differ."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}:{uuid4().hex[:6]}"
