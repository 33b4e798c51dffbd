"""Workers are killed, suspended and cut off from their database: each run is completed, and completed once."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from tests.factories import make_id
from tests.servers import KillableServer
from tests.trainings import FAST, PRESS, open_run, outcome, read_log, until, until_ended, work_alone

from model_perf import ConflictError, ModelPerformanceTracker, TrainingRun

SEEDS = 50
AT_ONCE = 10
TRAINING_S = 0.15

# Forked from a process that has loaded model_perf and nothing else: fifty interpreters would take half a minute.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.trainings"])


@contextmanager
def worker_process(
    dsn: str, schema: str, log: Path, seconds: Mapping[str, float], **options: Any
) -> Iterator[BaseProcess]:
    """A worker in a process of its own, killed at the end if it is still there."""
    process = PROCESSES.Process(target=work_alone, args=(dsn, schema, str(log), seconds, options), daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(10)


def pid_of(process: BaseProcess) -> int:
    assert process.pid is not None
    return process.pid


async def test_a_worker_killed_anywhere_costs_one_attempt(
    tracker: ModelPerformanceTracker, database: str, tmp_path: Path
) -> None:
    """Fifty workers are SIGKILLed at random points between their start and well after their run's end.

    What the dead one had not completed, another does after the lease, once; the dead one's late report is refused.
    """
    runs = {f"seed {seed}": await open_run(tracker, f"seed {seed}") for seed in range(SEEDS)}
    for first in range(0, SEEDS, AT_ONCE):
        killed = [_work_and_die(tracker, database, tmp_path, seed) for seed in range(first, first + AT_ONCE)]
        await asyncio.gather(*killed)
    log, kinds = tmp_path / "survivor", dict.fromkeys(runs, 0.01)
    with worker_process(database, tracker.schema, log, kinds, concurrency=AT_ONCE):
        await until_ended(tracker, *runs.values())

    begun = Counter((run, attempt) for what, run, attempt, _ in read_log(log) if what == "begin")
    taken_up = [await _check_completed_once(tracker, run, begun) for run in runs.values()]
    # Else no kill met a run in hand, or none met a run that was done.
    assert 0 < sum(taken_up) < SEEDS


async def _work_and_die(tracker: ModelPerformanceTracker, dsn: str, folder: Path, seed: int) -> None:
    log, kind = folder / f"{seed}", f"seed {seed}"
    with worker_process(dsn, tracker.schema, log, {kind: TRAINING_S}, lease_s=0.5) as process:
        await until(lambda: bool(read_log(log)))
        await asyncio.sleep(random.Random(seed).uniform(0.0, 3 * TRAINING_S))
        os.kill(pid_of(process), signal.SIGKILL)
        await asyncio.to_thread(process.join, 10)
    assert process.exitcode == -signal.SIGKILL


async def _check_completed_once(
    tracker: ModelPerformanceTracker, run: TrainingRun, begun: Counter[tuple[str, int]]
) -> bool:
    """Whether another worker took the run up, which it did once if the dead one had not completed it."""
    stored = await tracker.training.fetch_run(run.id)
    assert (stored.training_status, stored.model_version) == ("completed", stored.attempt)
    survived = [attempt for (number, attempt), n in begun.items() for _ in range(n) if number == str(run.id)]
    # Attempt 1 by the survivor: the worker was killed before it had claimed anything.
    assert survived in ([], [1], [2])
    assert stored.attempt == (survived[0] if survived else 1)
    for late in range(1, stored.attempt + 1):
        with pytest.raises(ConflictError):
            await tracker.complete_training(run.id, late, outcome(version=99))
    assert await tracker.training.fetch_run(run.id) == stored
    versions = await tracker.list_models(model_type=run.model_type)
    assert [model.ref.model_version for model in versions.items] == [stored.attempt]
    return survived == [2]


async def test_a_suspended_worker_comes_back_too_late(
    tracker: ModelPerformanceTracker, database: str, tmp_path: Path
) -> None:
    """SIGSTOP for longer than the lease, then SIGCONT: another has the run, and what the first one reports is lost."""
    slow, fast = tmp_path / "slow", tmp_path / "fast"
    run = await open_run(tracker)
    with worker_process(database, tracker.schema, slow, {"baseline": 0.3}) as suspended:
        await until(lambda: len(read_log(slow)) == 2)
        os.kill(pid_of(suspended), signal.SIGSTOP)
        with worker_process(database, tracker.schema, fast, {"baseline": 0.01}):
            await until_ended(tracker, run)
            stored = await tracker.training.fetch_run(run.id)
            os.kill(pid_of(suspended), signal.SIGCONT)
            os.kill(pid_of(suspended), signal.SIGTERM)
            await asyncio.to_thread(suspended.join, 10)
    assert (suspended.exitcode, stored.attempt, stored.model_version) == (0, 2, 2)
    assert await tracker.training.fetch_run(run.id) == stored
    assert [model.ref.model_version for model in (await tracker.list_models()).items] == [2]


async def test_workers_live_through_a_restart_of_the_server(killable_server: KillableServer, tmp_path: Path) -> None:
    """The server is killed under runs that are trained, and again: each is completed, none is trained twice at once."""
    log = tmp_path / "log"
    async with ModelPerformanceTracker.connect(killable_server.dsn) as tracker:
        await tracker.migrate()
        kinds = {f"kind {i}": 1.0 for i in range(6)}
        runs = [await open_run(tracker, kind) for kind in kinds]
        # A lease that outlives the restart: nobody else is there, and the runs need no second attempt.
        with worker_process(killable_server.dsn, "model_perf", log, kinds, concurrency=2, lease_s=20.0) as process:
            for n in (2, 4):
                await until(lambda n=n: len([line for line in read_log(log) if line[0] == "begin"]) >= n)  # type: ignore[misc]
                killable_server.kill()
                await asyncio.to_thread(killable_server.restart)
            await _until_ended(tracker, runs)
            assert process.is_alive()
            os.kill(pid_of(process), signal.SIGTERM)
            await asyncio.to_thread(process.join, 10)
            assert process.exitcode == 0
        stored = [await tracker.training.fetch_run(run.id) for run in runs]
    assert {run.training_status for run in stored} == {"completed"}
    trained = Counter((run, attempt) for what, run, attempt, _ in read_log(log) if what == "end")
    assert all(trained[str(run.id), run.attempt] == 1 for run in stored)
    # A claim whose answer was lost with the server is handed back, and a report costs nothing.
    assert sum(trained.values()) == len(runs)


async def _until_ended(tracker: ModelPerformanceTracker, runs: list[TrainingRun]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            return await until_ended(tracker, *runs, within_s=60)
        except Exception:  # connections that died with the server, until the pool has new ones
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_two_workers_do_two_hundred_runs_once_each(
    tracker: ModelPerformanceTracker, database: str, tmp_path: Path
) -> None:
    """Both work, no run is begun twice, none is left."""
    runs = [
        (await tracker.training.open_run(model_type="baseline", machine_id=make_id(f"machine {i}")))[0]
        for i in range(200)
    ]
    logs = [tmp_path / name for name in ("one", "two")]
    options: dict[str, Any] = {"concurrency": 4, "lease_s": 30.0}
    with (
        worker_process(database, tracker.schema, logs[0], {"baseline": 0.01}, **options),
        worker_process(database, tracker.schema, logs[1], {"baseline": 0.01}, **options),
    ):
        await until_ended(tracker, *runs, within_s=60)
    lines = [line for log in logs for line in read_log(log)]
    begun = [(run, attempt) for what, run, attempt, _ in lines if what == "begin"]
    assert sorted(begun) == sorted((str(run.id), 1) for run in runs)
    assert all(sum(line[0] == "end" for line in read_log(log)) > 0 for log in logs)
    stored = [await tracker.training.fetch_run(run.id) for run in runs]
    assert {(run.training_status, run.attempt) for run in stored} == {("completed", 1)}
    assert len({run.worker for run in stored}) == 2


async def test_sigterm_hands_back_what_cannot_be_finished(
    tracker: ModelPerformanceTracker, database: str, tmp_path: Path
) -> None:
    """Within grace_s; the next worker begins at once, and does not wait for the lease."""
    log = tmp_path / "log"
    run = await open_run(tracker)
    with worker_process(database, tracker.schema, log, {"baseline": 60.0}, grace_s=0.1, lease_s=60.0) as process:
        await until(lambda: len(read_log(log)) == 2)
        os.kill(pid_of(process), signal.SIGTERM)
        await asyncio.to_thread(process.join, 10)
        assert process.exitcode == 0
    stored = await tracker.training.fetch_run(run.id)
    assert (stored.training_status, stored.attempt, stored.max_attempts) == ("pending", 1, 4)
    tracker.trainer("baseline")(lambda run, context: outcome())
    async with tracker.worker(**FAST) as worker:
        await worker.drain()
    assert (await tracker.training.fetch_run(run.id)).training_status == "completed"
    assert stored.machine_id == PRESS
