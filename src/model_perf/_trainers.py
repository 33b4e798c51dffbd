"""The callables that a host registers for its model types, and what each is given when it is called."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen

from model_perf import _validation as check
from model_perf.errors import ConflictError, InvalidInputError
from model_perf.records import TrainingRun

if TYPE_CHECKING:
    from model_perf._outcome import TrainingOutcome
    from model_perf.tracker import ModelPerformanceTracker

T = TypeVar("T")

Train = Callable[[TrainingRun, "TrainingContext"], "TrainingOutcome | Awaitable[TrainingOutcome]"]
Dispatch = Callable[[TrainingRun], "str | Awaitable[str]"]


class TrainingContext:
    """What a trainer is given beside its run: to say how far it is, and to hear that it shall end.

    Everything here may be used from the trainer's thread too.
    """

    def __init__(self, tracker: ModelPerformanceTracker, run: TrainingRun) -> None:
        self._tracker, self._run = tracker, run
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._progress: float | None = None
        self._stage: str | None = None
        self._why: str | None = None

    @property
    def tracker(self) -> ModelPerformanceTracker:
        """The tracker that the trainer is registered on."""
        return self._tracker

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody waits for the outcome any more: the lease is lost, the run cancelled, the time over."""
        return self._why is not None

    def progress(self, share: float, stage: str | None = None) -> Awaitable[None]:
        """Say how far the training is; kept with the next heartbeat, within a second.

        Awaiting lets the event loop run, and is not needed for the effect: a trainer in a thread just calls it.

        Parameters
        ----------
        share : float
            0 to 1.
        stage : str, optional
            What it is doing ("fitting").

        Raises
        ------
        ConflictError
            `is_cancelled`: nobody waits for the outcome any more.
        """
        if self._why is not None:
            raise ConflictError(self._why, self._run)
        self._progress = check.as_float(share, "share", low=0.0, high=1.0)
        self._stage = check.as_optional_text(stage, "stage", max_length=1000) or self._stage
        self._loop.call_soon_threadsafe(self._news.set)
        return _Noted()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """From a trainer in a thread: run a coroutine (of the tracker) on the worker's event loop, and wait for it."""
        if asyncio._get_running_loop() is self._loop:
            work.close()
            raise InvalidInputError("work", "would wait for itself: this is the event loop's own thread; await it")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _cancel(self, why: str) -> None:
        self._why = self._why or why


class _Noted:
    """What has taken effect already; it may be awaited, and leaves no warning if it is not."""

    def __await__(self) -> Generator[Any, None, None]:
        return asyncio.sleep(0).__await__()


@frozen(kw_only=True)
class Ended:
    """How a trainer ended: its answer, or what it raised."""

    answer: object = None
    error: BaseException | None = None


@frozen(kw_only=True)
class Trainer:
    """A registered callable; with *external_lease*, a dispatcher."""

    function: Callable[..., object]
    external_lease: timedelta | None = None

    @property
    def is_async(self) -> bool:
        # An object may be called by an async method.
        return any(map(inspect.iscoroutinefunction, (self.function, type(self.function).__call__)))

    def start(self, *args: object) -> asyncio.Future[Ended]:
        """Call it: as a task of the running loop, or in a thread of its own."""
        return asyncio.ensure_future(self._call(args)) if self.is_async else self._call_in_thread(args)

    async def _call(self, args: tuple[object, ...]) -> Ended:
        try:
            return Ended(answer=await self.function(*args))  # type: ignore[misc]
        except asyncio.CancelledError as error:
            return Ended(error=error)
        except BaseException as error:  # SystemExit too: a task that raised it would end the host's event loop
            return Ended(error=error)

    def _call_in_thread(self, args: tuple[object, ...]) -> asyncio.Future[Ended]:
        """Of its own, and a daemon: a thread cannot be killed, and one of a pool would keep the process from ending."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Ended] = loop.create_future()
        context = contextvars.copy_context()

        def end(ended: Ended) -> None:
            if not future.done():
                future.set_result(ended)

        def call() -> None:
            try:
                answer = context.run(self.function, *args)
                if inspect.iscoroutine(answer):
                    answer.close()  # of a function that is not declared async: no outcome, and nothing to warn of
                ended = Ended(answer=answer)
            except BaseException as error:
                ended = Ended(error=error)
            try:
                loop.call_soon_threadsafe(end, ended)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

        try:
            threading.Thread(target=call, name="model_perf trainer", daemon=True).start()
        except Exception as error:  # the process has as many as it may have; another attempt may find one
            end(Ended(error=error))
        return future


@frozen(kw_only=True)
class Trainers:
    """The trainers of one tracker, by model type."""

    by_type: dict[str, Trainer] = field(factory=dict)

    def add(self, model_type: str, trainer: Trainer) -> None:
        kind = check.as_text(model_type, "model_type", max_length=200)
        if not callable(trainer.function):
            raise InvalidInputError("trainer", f"{trainer.function!r} cannot be called; decorate a function")
        if kind in self.by_type:
            raise InvalidInputError("model_type", f"{kind!r} has a trainer already: {self.by_type[kind].function!r}")
        self.by_type[kind] = trainer
