"""A function of the host as a channel: awaited on the loop, or called in a thread."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from attrs import field, frozen

from model_perf.errors import InvalidInputError
from model_perf.notify._channel import Channel, DeliveryError, Send
from model_perf.notify._message import Message

T = TypeVar("T")

_MOST_LEFT = 32
"""Threads that a function which never returns may cost its host."""


@frozen
class CallableChannel(Channel):
    """Calls a function with each `Message`; that it returns delivers it, whatever it returns.

    Parameters
    ----------
    function : async or sync function of a Message
        A sync one runs in a thread of its own, which cannot be stopped: after the timeout it is left to itself, and the
        message is delivered again. Where 32 of them hang, no other is begun. An exception fails the attempt;
        `DeliveryError` says what is to happen next.
    name : str, default "callable"
    **options
        As for `Channel`.
    """

    function: Callable[[Message], object] = field(repr=False)
    name: str = field(default="callable", kw_only=True)
    _left: set[threading.Thread] = field(factory=set, init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if not callable(self.function):
            raise InvalidInputError("function", f"{type(self.function).__name__} cannot be called")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        yield self._send

    async def _send(self, message: Message) -> None:
        async with asyncio.timeout(self.timeout_s):
            if _is_async(self.function):
                result = self.function(message)
            else:
                self._left.intersection_update([thread for thread in self._left if thread.is_alive()])
                if len(self._left) >= _MOST_LEFT:
                    raise DeliveryError(f"{len(self._left)} earlier calls of the function have not ended")
                result = await in_thread(lambda: self.function(message), self._left)
            if inspect.isawaitable(result):
                await result


def _is_async(function: Callable[..., object]) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


async def in_thread(work: Callable[[], T], left: set[threading.Thread] | None = None) -> T:
    """The result of *work* in a daemon thread of its own, which joins *left* where nobody waits for it any more.

    Not in the loop's executor, whose few threads are the host's: one that hangs would be missed there, and would keep
    the process from ending.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if answer.done():  # nobody waits any more
            return
        if error is None:
            answer.set_result(result)  # type: ignore[arg-type]
        else:
            answer.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = context.run(work)
        except BaseException as raised:
            # On the loop an exit would end the host, and a StopIteration cannot be set on a future.
            is_usual = isinstance(raised, Exception) and not isinstance(raised, StopIteration)
            error = raised if is_usual else RuntimeError(f"the function raised {type(raised).__name__}")
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=run, name="model_perf.notify", daemon=True)
    thread.start()
    try:
        return await answer
    except asyncio.CancelledError:
        if left is not None:
            left.add(thread)
        raise
