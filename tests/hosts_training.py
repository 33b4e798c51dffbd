"""What a host brings along: trainers for ``model-perf worker``, and a job that another engine runs."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from datetime import timedelta

from tests.factories import make_id

from model_perf import ModelPerformanceTracker, TrainingContext, TrainingOutcome, TrainingRun


def register(tracker: ModelPerformanceTracker) -> None:
    """A quick trainer, one that hangs, and one that raises."""

    @tracker.trainer("baseline")
    def train(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        time.sleep(0.2)
        return TrainingOutcome(model_id=make_id("model model"), model_version=2)

    @tracker.trainer("hanging")
    def hang(run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        threading.Event().wait()
        raise AssertionError


async def register_later(tracker: ModelPerformanceTracker) -> None:
    await tracker.check_schema()
    register(tracker)


async def job(dsn: str, schema: str, run_id: str, attempt: int, ending: str) -> None:
    """What the other engine runs: it knows the run's id and attempt, and reports by them."""
    async with ModelPerformanceTracker.connect(dsn, schema=schema, max_size=2) as tracker:
        await tracker.training.heartbeat(run_id, attempt, lease=timedelta(minutes=1), progress=0.5, stage="elsewhere")
        if ending == "completes":
            outcome = TrainingOutcome(
                model_id=make_id("model model"),
                model_version=3,
                validation_metrics={"f1_score": 0.9},
                previous_validation_metrics={"f1_score": 0.8},
            )
            await tracker.complete_training(run_id, attempt, outcome)
        elif ending == "fails":
            await tracker.fail_training(run_id, attempt, "no GPU", delay=timedelta(0))


if __name__ == "__main__":
    dsn, schema, run_id, attempt, ending = sys.argv[1:]
    asyncio.run(job(dsn, schema, run_id, int(attempt), ending))
