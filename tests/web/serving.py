"""Servers in the test's own loop: an application on a free port, and proxies with a prefix before it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response

PREFIX = "/factory"

_ONE_HOP = {"host", "connection", "transfer-encoding", "content-length", "content-encoding"}


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The address of *app* on a free port of 127.0.0.1, started and at the end stopped in good order."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(30):
                while not server.started:
                    assert not serving.done(), "the server did not start"
                    await asyncio.sleep(0.02)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@asynccontextmanager
async def proxied(upstream: str, *, strips: bool) -> AsyncIterator[str]:
    """The address of a proxy that serves *upstream* below `PREFIX`, which it cuts off or passes on."""
    proxy = FastAPI(openapi_url=None)
    async with httpx.AsyncClient(base_url=upstream, trust_env=False) as client:

        @proxy.api_route(f"{PREFIX}/{{path:path}}", methods=["GET", "POST"])
        async def forward(request: Request, path: str) -> Response:
            target = httpx.URL(path=f"/{path}" if strips else f"{PREFIX}/{path}", query=request.url.query.encode())
            headers = [(name, value) for name, value in request.headers.items() if name not in _ONE_HOP]
            answer = await client.request(request.method, target, headers=headers, content=await request.body())
            kept = {name: value for name, value in answer.headers.items() if name not in _ONE_HOP}
            return Response(answer.content, answer.status_code, kept)

        async with served(proxy) as address:
            yield f"{address}{PREFIX}"
