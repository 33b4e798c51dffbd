"""Workers that train: which there are, and when each was last seen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from model_perf import _validation as check
from model_perf.records import SeenWorker
from model_perf.repos._executor import Executor
from model_perf.repos._rows import read_worker
from model_perf.sql import load_queries


class WorkerRepo:
    """Reads and writes ``model_workers``; while a worker lives, `TrainingRepo.claim_many` says so."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queries = load_queries("workers", executor.schema)

    async def start(self, worker: str, model_types: Sequence[str], *, now: datetime | None = None) -> None:
        """A worker begins, or begins again."""
        kinds = check.as_names(model_types, "model_types")
        args = check.as_text(worker, "worker", max_length=200), kinds, self._executor.moment(now)
        await self._executor.run(lambda connection: connection.execute(self._queries["start"], *args))

    async def stop(self, worker: str, *, now: datetime | None = None) -> None:
        """A worker ends in good order."""
        args = check.as_text(worker, "worker", max_length=200), self._executor.moment(now)
        await self._executor.run(lambda connection: connection.execute(self._queries["stop"], *args))

    async def list_sightings(self, model_types: Collection[str]) -> dict[str, tuple[datetime | None, datetime | None]]:
        """By model type: when a worker for it was seen last, and when one that has not stopped."""
        wanted = [check.as_text(each, "model_types") for each in model_types]
        rows = await self._executor.fetch(self._queries["list_sightings"], wanted) if wanted else []
        return {row["model_type"]: (row["seen_at"], row["working_at"]) for row in rows}

    async def list_workers(self, *, since: datetime) -> list[SeenWorker]:
        """The workers that were seen from *since* on, newest sight first."""
        rows = await self._executor.fetch(self._queries["list_workers"], check.as_timestamp(since, "since"))
        return [read_worker(row) for row in rows]
