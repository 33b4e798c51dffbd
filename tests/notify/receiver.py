"""A receiver of webhooks on a free port: it notes every request, and answers as a test tells it to."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

from attrs import define, field, frozen

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@frozen
class Request:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def id(self) -> UUID:
        return UUID(self.headers["idempotency-key"])


@define
class Receiver:
    """``answers`` are given one after the other, and the last of them for ever."""

    answers: list[Answer]
    url: str = ""
    requests: list[Request] = field(factory=list)
    connections: int = 0
    open_now: int = 0
    most_open: int = 0
    tasks: set[asyncio.Task[Any]] = field(factory=set)

    @property
    def ids(self) -> list[UUID]:
        return [request.id for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await self._answer(reader, writer)
        finally:
            self.tasks.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while request := await _read(reader):
                self.requests.append(request)
                self.open_now += 1
                self.most_open = max(self.most_open, self.open_now)
                try:
                    await (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(writer)
                finally:
                    self.open_now -= 1


@asynccontextmanager
async def receiving(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver that answers 204, or as told."""
    receiver = Receiver(list(answers) or [status(204)])
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/hooks/token-of-the-path?key=token-of-the-query"
    try:
        yield receiver
    finally:
        server.close()
        tasks = list(receiver.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for *condition*, which is to hold soon."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another task, or another process
            await asyncio.sleep(0.01)


def status(code: int, *headers: str, body: bytes = b"") -> Answer:
    """An answer with this status, these lines of the head and this body."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {code} Whatever", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    return answer


async def silence(writer: asyncio.StreamWriter) -> None:
    """No answer for longer than any test waits."""
    await asyncio.sleep(30)


async def drip_head(writer: asyncio.StreamWriter) -> None:
    """A head that comes letter by letter, without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drip_body(writer: asyncio.StreamWriter) -> None:
    """A good status, and a body that comes letter by letter, without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """The connection ends where an answer should begin."""
    writer.close()


async def nonsense(writer: asyncio.StreamWriter) -> None:
    """Something that is no HTTP."""
    writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
    writer.close()


def slowly(seconds: float, answer: Answer) -> Answer:
    """The same answer, later."""

    async def later(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await answer(writer)

    return later


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    pairs: Sequence[Sequence[str]] = [line.split(": ", 1) for line in lines if line]
    headers = {name.lower(): value for name, value in pairs}
    return Request(first.split(" ")[1], headers, await reader.readexactly(int(headers["content-length"])))
