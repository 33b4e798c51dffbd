"""Runs that are handed over to another engine, whose jobs report by run and attempt; the engine is a process here."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.trainings import FAST, PRESS, open_run, outcome, until, until_ended

from model_perf import ConflictError, ModelPerformanceTracker, TrainingRun

ROOT = Path(__file__).parents[1]


def start_job(dsn: str, schema: str, run: TrainingRun, ending: str) -> subprocess.Popen[bytes]:
    arguments = [dsn, schema, str(run.id), str(run.attempt), ending]
    return subprocess.Popen([sys.executable, "-m", "tests.hosts_training", *arguments], cwd=ROOT)


async def test_a_job_of_another_engine_completes_the_run(tracker: ModelPerformanceTracker, database: str) -> None:
    """The worker hands the run over and forgets it; the job, a process, reports progress and outcome by itself."""
    jobs: list[subprocess.Popen[bytes]] = []

    @tracker.dispatcher("baseline", lease_s=60.0)
    async def dispatch(run: TrainingRun) -> str:
        jobs.append(start_job(database, tracker.schema, run, "completes"))
        return f"process {jobs[-1].pid}"

    run = await open_run(tracker)
    async with tracker.worker(**FAST) as worker:
        await worker.drain()
    assert worker.running == ()  # the job goes on without it
    await until_ended(tracker, run)
    run = await tracker.training.fetch_run(run.id)
    assert (run.training_status, run.attempt, run.model_version) == ("completed", 1, 3)
    # Of f1_score by its distance to 1: 1 - .1 / .2.
    assert run.performance_improvement == pytest.approx(0.5)
    assert run.metadata["external_id"] == f"process {jobs[0].pid}"
    assert run.metadata["stage"] == "elsewhere"
    assert await asyncio.to_thread(jobs[0].wait, 10) == 0


async def test_the_job_holds_the_lease(tracker: ModelPerformanceTracker) -> None:
    """After the hand-over nobody takes the run for lease_s, long after the worker's own lease."""
    tracker.dispatcher("baseline", lease_s=60.0)(lambda run: "job 7")
    run = await open_run(tracker)
    async with tracker.worker(**FAST) as worker:
        await worker.drain()
        await asyncio.sleep(2 * FAST["lease_s"])
        await worker.drain()
    held = await tracker.training.fetch_run(run.id)
    assert (held.training_status, held.attempt, held.metadata["external_id"]) == ("running", 1, "job 7")


async def test_a_job_that_never_reports_is_replaced(tracker: ModelPerformanceTracker) -> None:
    """When its lease ends, the run is handed over again; what the first job reports then is refused."""
    seen: list[int] = []

    @tracker.dispatcher("baseline", lease_s=0.7)
    def dispatch(run: TrainingRun) -> str:
        seen.append(run.attempt)
        return f"job {run.attempt}"

    run = await open_run(tracker)
    async with tracker.worker(**FAST) as worker:
        await until(lambda: len(seen) == 2)
        await worker.drain()
        with pytest.raises(ConflictError):
            await tracker.complete_training(run.id, 1, outcome())
        done = await tracker.complete_training(run.id, 2, outcome())
    assert (done.training_status, done.metadata["external_id"]) == ("completed", "job 2")


async def test_a_job_that_fails_is_tried_again(tracker: ModelPerformanceTracker, database: str) -> None:
    """By another attempt, while one is left."""
    jobs: list[subprocess.Popen[bytes]] = []

    @tracker.dispatcher("baseline", lease_s=60.0)
    def dispatch(run: TrainingRun) -> str:
        jobs.append(start_job(database, tracker.schema, run, "fails" if run.attempt == 1 else "completes"))
        return str(jobs[-1].pid)

    run = await open_run(tracker)
    async with tracker.worker(**FAST):
        await until_ended(tracker, run)
    run = await tracker.training.fetch_run(run.id)
    assert (run.training_status, run.attempt) == ("completed", 2)
    assert [await asyncio.to_thread(job.wait, 10) for job in jobs] == [0, 0]


async def test_a_dispatcher_that_raises_is_tried_again(tracker: ModelPerformanceTracker) -> None:
    """An engine that cannot be reached now may be later."""
    calls: list[int] = []

    @tracker.dispatcher("baseline")
    def dispatch(run: TrainingRun) -> str:
        calls.append(run.attempt)
        if run.attempt == 1:
            raise ConnectionError("the broker is away")
        return "job"

    run = await open_run(tracker)
    async with tracker.worker(**FAST) as worker:
        await until(lambda: len(calls) == 2)
        await worker.drain()
    run = await tracker.training.fetch_run(run.id)
    assert (run.training_status, run.error_message) == ("running", "ConnectionError: the broker is away")


async def test_a_dispatcher_that_hangs_is_ended_by_time(tracker: ModelPerformanceTracker) -> None:
    """Handing over takes no longer than an attempt may."""

    @tracker.dispatcher("baseline")
    async def dispatch(run: TrainingRun) -> str:
        await asyncio.sleep(60)
        return "job"

    run = (await tracker.training.open_run(model_type="baseline", machine_id=PRESS, max_attempts=1))[0]
    async with tracker.worker(**FAST | {"timeout_s": 0.2}):
        await until_ended(tracker, run)
    run = await tracker.training.fetch_run(run.id)
    assert run.training_status == "failed"


@pytest.mark.parametrize("answer", [None, "", "  ", 7, outcome()])
async def test_what_is_no_id_fails_at_once(tracker: ModelPerformanceTracker, answer: Any) -> None:
    """A dispatcher must say which job has the run."""
    tracker.dispatcher("baseline")(lambda run: answer)
    run = await open_run(tracker)
    async with tracker.worker(**FAST):
        await until_ended(tracker, run)
    run = await tracker.training.fetch_run(run.id)
    assert (run.training_status, run.attempt) == ("failed", 1)
    assert (run.error_message or "").endswith("it must return the id of a job, as text")


async def test_a_job_quicker_than_its_id_is_heard(tracker: ModelPerformanceTracker) -> None:
    """A job may report before the worker has noted who it is; the id is kept all the same."""

    @tracker.dispatcher("baseline")
    async def dispatch(run: TrainingRun) -> str:
        await tracker.complete_training(run.id, run.attempt, outcome())
        return "quick job"

    run = await open_run(tracker)
    async with tracker.worker(**FAST) as worker:
        await until_ended(tracker, run)
        await worker.drain()
    run = await tracker.training.fetch_run(run.id)
    assert (run.training_status, run.metadata["external_id"]) == ("completed", "quick job")
