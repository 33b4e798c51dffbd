"""Training runs and workers for the tests: in this process, and in processes that can be killed by their id."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tests.factories import make_id

from model_perf import ModelPerformanceTracker, TrainingContext, TrainingOutcome, TrainingRun

PRESS = make_id("machine press")
FAST: dict[str, Any] = {"lease_s": 0.6, "poll_s": 0.02, "backoff_s": 0.0, "grace_s": 5.0}


def outcome(version: int = 2, **fields: Any) -> TrainingOutcome:
    return TrainingOutcome(model_id=make_id("model model"), model_version=version, **fields)


async def open_run(tracker: ModelPerformanceTracker, model_type: str = "baseline") -> TrainingRun:
    return (await tracker.trigger_retraining(model_type=model_type, machine_id=PRESS)).run


async def until(condition: Callable[[], Awaitable[bool] | bool], *, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert time.monotonic() < deadline, "it does not come to that"
        await asyncio.sleep(0.01)


async def until_ended(tracker: ModelPerformanceTracker, *runs: TrainingRun, within_s: float = 20.0) -> None:
    async def are_ended() -> bool:
        stored = [await tracker.training.fetch_run(run.id) for run in runs]
        return all(run.training_status not in ("pending", "running") for run in stored)

    await until(are_ended, within_s=within_s)


async def work(tracker: ModelPerformanceTracker, run: TrainingRun, **options: Any) -> TrainingRun:
    """The run after a worker has done all that was due, retries included."""
    async with tracker.worker(**FAST | options):
        await until_ended(tracker, run)
    return await tracker.training.fetch_run(run.id)


def sleeper(seconds: float) -> Callable[[TrainingRun, TrainingContext], Awaitable[TrainingOutcome]]:
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        await asyncio.sleep(seconds)
        return outcome()

    return train


def work_alone(dsn: str, schema: str, log: str, seconds: Mapping[str, float], options: Mapping[str, Any]) -> None:
    """A process that is a worker and nothing else, until SIGTERM: each model type trains for its seconds.

    Its log has a line "ready" first, then one for each training that begins and ends: what, run, attempt, process.
    """
    asyncio.run(_work(dsn, schema, Path(log), seconds, options))


async def _work(dsn: str, schema: str, log: Path, seconds: Mapping[str, float], options: Mapping[str, Any]) -> None:
    def note(line: str) -> None:
        with log.open("a") as file:
            file.write(f"{line}\n")

    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=4) as tracker:
        for kind, duration in seconds.items():
            tracker.trainer(kind)(_sleeping(note, duration))
        worker = tracker.worker(**{**FAST, **options})
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        note(f"ready 0 0 {os.getpid()}")
        async with worker:
            await worker.wait_stopped()


def _sleeping(note: Callable[[str], None], duration: float) -> Callable[..., Awaitable[TrainingOutcome]]:
    async def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        note(f"begin {run.id} {run.attempt} {os.getpid()}")
        for step in range(10):
            await context.progress(step / 10)
            await asyncio.sleep(duration / 10)
        note(f"end {run.id} {run.attempt} {os.getpid()}")
        return TrainingOutcome(model_id=make_id(f"model {run.model_type} {run.machine_id}"), model_version=run.attempt)

    return train


def read_log(log: Path) -> list[tuple[str, str, int, int]]:
    """The whole lines of a worker's log: what, run, attempt, process."""
    text = log.read_text().rpartition("\n")[0] if log.exists() else ""
    return [(what, run, int(attempt), int(pid)) for what, run, attempt, pid in map(str.split, text.splitlines())]
