"""Of one slot (machine and model type): which version is in service, and when its training run should end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from model_perf.records import TrainingRun
from model_perf.repos import SlotVersion

ALIVE = timedelta(minutes=1)
"""A worker says every ten seconds that it lives; one that was not seen for so long is gone, or not to be relied on."""


def find_active(versions: Sequence[SlotVersion], in_service: Mapping[UUID, int | None]) -> SlotVersion | None:
    """The version that the host says is in service, else the champion, else the one evaluated last, else the newest."""
    for version in versions:
        if in_service.get(version.model_id) == version.model_version:
            return version
    for version in versions:
        if version.is_champion:
            return version
    evaluated = [(v.evaluation.evaluation_date, v.model_version, v) for v in versions if v.evaluation is not None]
    if evaluated:
        return max(evaluated, key=lambda each: each[:2])[2]
    return versions[0] if versions else None


def estimated_end(run: TrainingRun, usual: timedelta | None, now: datetime) -> datetime | None:
    """By the usual duration; None where there is none, or the run has taken longer than that."""
    if usual is None:
        return None
    begin = run.training_start if run.training_status == "running" and run.training_start else max(now, run.run_after)
    return begin + usual if begin + usual > now else None


def missing_worker(
    run: TrainingRun, seen_at: datetime | None, working_at: datetime | None, now: datetime
) -> str | None:
    """What to say where no worker is there to take a run up; None where one is, or somebody has it."""
    if run.training_status != "pending" or (working_at is not None and now - working_at <= ALIVE):
        return None
    if seen_at is None:
        return f"queued, no worker for {run.model_type!r} was ever seen"
    return f"queued, no worker seen since {seen_at.isoformat()}"
