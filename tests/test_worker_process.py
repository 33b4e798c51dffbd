"""`model-perf worker`, as an init system runs it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.servers import KillableServer
from tests.trainings import PRESS, open_run, until, until_ended

from model_perf import ModelPerformanceTracker, StorageError, _worker_process
from model_perf import worker as worker_module
from model_perf.cli import _parser

ROOT = Path(__file__).parents[1]
TRAINERS = "tests.hosts_training:register"


@contextmanager
def start(database: str, tracker: ModelPerformanceTracker, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command; killed at the end if it is still there."""
    command = [sys.executable, "-m", "model_perf", "worker", "--dsn", database, "--schema", tracker.schema]
    given = arguments if "--trainers" in arguments else ("--trainers", TRAINERS, *arguments)
    with subprocess.Popen([*command, *given], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_after_the_run(
    tracker: ModelPerformanceTracker, database: str, number: signal.Signals
) -> None:
    """The run in hand is finished, nothing more is claimed, and the process ends with 0."""
    run = await open_run(tracker)
    with start(database, tracker, "--poll", "0.05", "--name", "one") as process:
        await until(lambda: _is_running(tracker, run.id))
        process.send_signal(number)
        assert process.wait(20) == 0, process.communicate()[1]
    stored = await tracker.training.fetch_run(run.id)
    assert (stored.training_status, stored.worker) == ("completed", "one")


async def _is_running(tracker: ModelPerformanceTracker, run_id: object) -> bool:
    return (await tracker.training.fetch_run(str(run_id))).training_status != "pending"


async def test_once_does_what_is_due(tracker: ModelPerformanceTracker, database: str) -> None:
    """And ends; trainers may be registered by a coroutine."""
    run = await open_run(tracker)
    done = start(database, tracker, "--once", "--trainers", "tests.hosts_training:register_later")
    with done as process:
        assert process.wait(20) == 0, process.communicate()[1]
    assert (await tracker.training.fetch_run(run.id)).training_status == "completed"


async def test_once_ends_though_the_database_stays_away(
    killable_server: KillableServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went away after the command had begun: the error ends it, with 1, and cron is told that nothing was done."""
    monkeypatch.setattr(worker_module, "LONGEST_SILENCE_S", 1.0)
    monkeypatch.setattr(_worker_process, "_stop_at_signals", lambda worker: None)
    args = _parser().parse_args(["worker", "--once", "--grace", "0.1", "--trainers", TRAINERS])
    async with ModelPerformanceTracker.connect(killable_server.dsn) as tracker:
        await tracker.migrate()
        killable_server.kill()
        with pytest.raises(StorageError, match="has not answered for 1 s"):
            await asyncio.wait_for(_worker_process.run(tracker, args), 20)


async def test_a_worker_whose_slots_are_stuck_ends(tracker: ModelPerformanceTracker, database: str) -> None:
    """With 1, so that whoever looks after it starts it again; the thread that hangs does not keep it."""
    run = (await tracker.training.open_run(model_type="hanging", machine_id=PRESS, max_attempts=1))[0]
    with start(database, tracker, "--timeout", "0.3", "--grace", "0") as process:
        await until_ended(tracker, run)
        assert process.wait(20) == 1
        assert process.stderr is not None
        assert "every slot is held by a trainer that hangs" in process.stderr.read()


async def test_a_concurrency_below_1_is_refused_by_name(tracker: ModelPerformanceTracker, database: str) -> None:
    """And not the DSN, whose pool would be as large."""
    with start(database, tracker, "--concurrency", "-5") as process:
        assert process.wait(20) == 1
        assert process.stderr is not None
        assert "concurrency: -5 is outside [1, 1000]" in process.stderr.read()


async def test_a_module_that_is_not_there_is_1(tracker: ModelPerformanceTracker, database: str) -> None:
    """With its name on stderr."""
    with start(database, tracker, "--trainers", "no_such_module:register") as process:
        assert process.wait(20) == 1
        assert process.stderr is not None
        assert "no_such_module" in process.stderr.read()
