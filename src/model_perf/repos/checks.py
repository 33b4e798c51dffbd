"""What is due over the whole fleet: failed runs, silent models, alerts that a new version has answered."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from attrs import frozen

from model_perf import _validation as check
from model_perf.records import Alert
from model_perf.repos._executor import Executor
from model_perf.repos._rows import read_alert
from model_perf.sql import add_filters, load_queries
from model_perf.sql._connection import Connection

STALE_AFTER = 3.0
"""Usual intervals without an evaluation after which a model counts as stale: one may be late, two may be lost."""

STALE_AFTER_LONG = 1.5
"""The same for long intervals, as over a weekend: one that is half as long again is silence."""

STALE_AFTER_BATCHES = 4.0
"""The same for batches of many windows: of those of a day, recorded every night, four days may lie over a weekend."""

TEST_WAIT = timedelta(hours=1)
"""How long an alert whose policy wants a test waits for somebody to start it, after the run has completed."""


@frozen(kw_only=True)
class Retrained:
    """An open alert that a completed run answers."""

    alert_id: UUID
    run_id: UUID
    notes: str


class ChecksRepo:
    """Reads and writes ``model_alerts`` and ``model_training_history``, each method in one statement."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queries = load_queries("checks", executor.schema)
        self._fail_expired = load_queries("training", executor.schema)["fail_expired"]

    async def fail_expired(self, now: datetime) -> int:
        """End the runs whose last attempt has lost its lease; how many there were."""

        async def end(connection: Connection) -> str:
            return await connection.execute(self._fail_expired, now)

        return int((await self._executor.run(end)).split()[-1])

    async def tell_failures(self, now: datetime) -> tuple[Alert, ...]:
        """Open an alert per slot with newly failed runs, or count them in the open one; each run once."""
        return await self._alerts("tell_failures", now)

    async def mend_failures(self, now: datetime) -> tuple[Alert, ...]:
        """Resolve the alerts of failed runs whose slot has completed one since."""
        return await self._alerts("mend_failures", now)

    async def tell_stale(self, now: datetime) -> tuple[Alert, ...]:
        """Open an alert for each slot that has not been evaluated for long; each silence once."""
        return await self._alerts("tell_stale", now, STALE_AFTER, STALE_AFTER_LONG, STALE_AFTER_BATCHES)

    async def hear_again(self, now: datetime) -> tuple[Alert, ...]:
        """Resolve the alerts of stale models that have been evaluated since."""
        return await self._alerts("hear_again", now)

    async def list_retrained(self, now: datetime, run_id: UUID | str | None = None) -> list[Retrained]:
        """The open alerts of performance and data that a completed run answers: any, or the one given."""
        args: list[object] = [now - TEST_WAIT]
        number = None if run_id is None else check.as_uuid(run_id, "run_id")
        query = add_filters(self._queries["list_retrained"], args, c__id=number)
        rows = await self._executor.fetch(query, *args)
        return [
            Retrained(
                alert_id=check.as_uuid(row["id"], "id"),
                run_id=check.as_uuid(row["run_id"], "run_id"),
                notes=_notes(row["run_id"], row["model_version"], row["test_name"]),
            )
            for row in rows
        ]

    async def _alerts(self, name: str, *args: object) -> tuple[Alert, ...]:
        return tuple(read_alert(row) for row in await self._executor.fetch(self._queries[name], *args))


def _notes(run_id: UUID, version: int | None, test: str | None) -> str:
    made = f"run {run_id} has completed" if version is None else f"run {run_id} has made version {version}"
    return made if test is None else f"{made}, which is better in test {test!r}"
