"""The HTTP API beside the tracker's own calls: requests are handed to the application, without a network."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI
from tests.benchmarks._filled import HOURLY, NOW, fill, make_ref
from tests.benchmarks._lines import Line, Target
from tests.benchmarks._setting import Setting
from tests.benchmarks._timing import Action, Work, interleave

from model_perf import ModelPerformanceTracker, ModelRef
from model_perf.web import create_router

OVERHEAD_S = 0.001
SERVER_TIME_S = 0.050
N_MODELS = 1_000
UNTIL = NOW + timedelta(hours=1)
METRICS = {"r_squared": 0.93, "rmse": 12.1, "mae": 8.2}

Request = Callable[..., Awaitable[bytes]]


async def measure(setting: Setting) -> list[Line]:
    """The budgets stand in the column of the limit, so that a ratio up to 1 keeps them."""
    rounds = 100 if setting.quick else 500
    async with setting.tracker("bench_router", clock=lambda: UNTIL) as tracker:
        app = FastAPI()
        app.include_router(create_router(tracker, allow_anonymous=True))
        setting.say("router: filling a table with 100,000 rows")
        async with tracker.pool.acquire() as connection:
            await fill(connection, "bench_router", 100_000, n_models=N_MODELS - 1, hourly_days=90)
        await _open_alerts(tracker, 20)
        return [*await _overheads(tracker, _requests_to(app), rounds), *await _server_times(_requests_to(app), rounds)]


async def _overheads(tracker: ModelPerformanceTracker, request: Request, rounds: int) -> list[Line]:
    ref, days = make_ref(1), count(1)

    def slot_of(ref: ModelRef) -> dict[str, Any]:
        return {"model_type": ref.model_type, "machine_id": ref.machine_id}

    def window() -> dict[str, Any]:
        start = NOW + timedelta(days=next(days))
        return {"evaluation_start": start, "evaluation_end": start + timedelta(days=1)}

    async def record_by_request() -> None:
        query = {"model_id": ref.model_id, "model_version": 1, "sample_count": 1008, **slot_of(ref), **window()}
        await request("POST", "/metrics/record", query, json.dumps(METRICS).encode())

    pairs: dict[str, tuple[Action, Action]] = {
        "record": (record_by_request, lambda: tracker.record(ref, **window(), metrics=METRICS, sample_count=1008)),
        "20 alerts": (lambda: request("GET", "/alerts/active", {}), lambda: tracker.active_alerts()),
        "check drift": (
            lambda: request("POST", "/drift/check", {"model_id": ref.model_id, "model_version": 1, **slot_of(ref)}),
            lambda: tracker.check_drift(ref),
        ),
    }
    lines = []
    for name, (by_request, by_call) in pairs.items():
        samples = await interleave(rounds, {"ours": Work(run=by_request), "call": Work(run=by_call)}, warm_up=10)
        budget = [seconds + OVERHEAD_S for seconds in samples["call"]]
        lines.append(_line(f"HTTP {name}, limit = the call + 1 ms", samples["ours"], budget))
    return lines


async def _server_times(request: Request, rounds: int) -> list[Line]:
    def of_days(path: str, number: int) -> Action:
        slot = {"model_type": "baseline", "machine_id": make_ref(number).machine_id}
        return lambda: request("GET", path, {**slot, "days": 90})

    works: dict[str, Action] = {
        "90-day trend, 90 points": of_days("/metrics/trend", 2),
        "90-day trend, 2,160 points": of_days("/metrics/trend", HOURLY),
        f"fleet of {N_MODELS:,}": lambda: request("GET", "/fleet", {}),
        f"view of a fleet of {N_MODELS:,}": lambda: request("GET", "/views/fleet", {}),
        "view of a model's 90 days, 90 points": of_days("/views/model", 2),
        "view of a model's 90 days, 2,160 points": of_days("/views/model", HOURLY),
    }
    samples = await interleave(rounds // 5, {name: Work(run=run) for name, run in works.items()}, warm_up=3)
    return [_line(f"HTTP {name}, limit = 50 ms", samples[name], [SERVER_TIME_S] * len(samples[name])) for name in works]


def _line(work: str, ours: list[float], budget: list[float]) -> Line:
    return Line(work=work, samples={"ours": ours, "limit": budget}, target=Target(sense="<=", value=1.0))


async def _open_alerts(tracker: ModelPerformanceTracker, n: int) -> None:
    for number in range(1, n + 1):
        await tracker.alerts.open_or_repeat(make_ref(number), alert_type="x", severity="warning", message="look")


def _requests_to(app: FastAPI) -> Request:
    """What a server does with a request, short of HTTP itself; an answer that is no success is an error."""

    async def request(method: str, path: str, query: dict[str, Any], body: bytes = b"") -> bytes:
        written = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in query.items()}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": urlencode(written).encode(),
            "headers": [(b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("x", 80),
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await app(scope, receive, send)  # type: ignore[arg-type]
        content = b"".join(message.get("body", b"") for message in sent)
        assert sent[0]["status"] == 200, content
        return content

    return request
