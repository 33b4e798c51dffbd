"""What the calls answer by which an installation is looked after."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

from attrs import asdict, frozen

FindingStatus = Literal["ok", "warning", "problem", "unknown"]


@frozen(kw_only=True)
class PruneReport:
    """What a prune took out, or would take out.

    Attributes
    ----------
    before : datetime
    dry_run : bool
        Nothing was deleted; the counts are of what would have been.
    deleted : mapping of str to int
        Rows by table; a table without any is listed with 0.
    n_kept_evaluations : int
        Evaluations older than *before* that stay: baselines, what charts are replayed from, what a running test
        compares, the newest 20 of each deployment.
    """

    before: datetime
    dry_run: bool
    deleted: Mapping[str, int]
    n_kept_evaluations: int

    @property
    def n_deleted(self) -> int:
        """The rows of all tables."""
        return sum(self.deleted.values())


@frozen(kw_only=True)
class ForgetReport:
    """What was known of a machine or a model, and is no longer.

    Attributes
    ----------
    kind : str
        "machine" or "model".
    id : UUID
    dry_run : bool
        Nothing was deleted; the counts are of what would have been.
    deleted : mapping of str to int
        Rows by table; a table without any is listed with 0.
    running_tests : tuple of str
        Names of the A/B tests that ran, and went with the rest.
    """

    kind: str
    id: UUID
    dry_run: bool
    deleted: Mapping[str, int]
    running_tests: tuple[str, ...] = ()

    @property
    def n_deleted(self) -> int:
        """The rows of all tables."""
        return sum(self.deleted.values())


@frozen(kw_only=True)
class TrackerStats:
    """What the calls of one tracker, and of all that were bound from it, came to in this process.

    Attributes
    ----------
    calls : int
        Calls that went to the database; one of the facade may make several.
    errors : mapping of str to int
        Those of them that failed, by the name of the error.
    retries : int
        Times that a call was done again because PostgreSQL had rolled it back.
    races_lost : int
        Times that another writer of the same deployment or stream came first.
    evaluations_recorded, evaluations_repeated : int
        Evaluations that were new, and those that were stored already.
    last_recorded_at : datetime or None
        When the newest of them was; None = none by this process.
    busy_s, slowest_s : float
        Seconds of all calls together and of the longest, with the wait for a connection.
    pool_size, pool_idle, pool_max : int or None
        Connections now; None where the pool does not say.
    """

    calls: int
    errors: Mapping[str, int]
    retries: int
    races_lost: int
    evaluations_recorded: int
    evaluations_repeated: int
    last_recorded_at: datetime | None
    busy_s: float
    slowest_s: float
    pool_size: int | None
    pool_idle: int | None
    pool_max: int | None


@frozen(kw_only=True)
class TableSize:
    """One table as PostgreSQL's statistics have it: near, never exact, and None where they say nothing yet.

    Attributes
    ----------
    n_bytes : int
        With indexes and what is stored out of line.
    n_rows, n_dead : int or None
        Rows; those that are deleted or outdated and not vacuumed.
    vacuumed_at, analyzed_at : datetime or None
    """

    name: str
    n_bytes: int
    n_rows: int | None
    n_dead: int | None
    vacuumed_at: datetime | None
    analyzed_at: datetime | None


@frozen(kw_only=True)
class TableStats:
    """How much lies in the tables, and what waits there.

    Attributes
    ----------
    tables : tuple of TableSize
    open_alerts, critical_alerts : int
    notifications_pending, notifications_due, notifications_dead : int
        To be delivered; of these now; given up.
    oldest_notification_at : datetime or None
        Since when the oldest pending one is due.
    runs_pending, runs_running, runs_expired : int
        Of the running ones those whose lease is over.
    oldest_run_at : datetime or None
        Since when the oldest pending run is due.
    worker_seen_at : datetime or None
        When any worker was last seen that has not stopped.
    tests_running, deployments, silent_deployments : int
        The last have no evaluation after a day.
    oldest_evaluation_at, newest_evaluation_at : datetime or None
        By evaluation_date.
    """

    tables: tuple[TableSize, ...]
    open_alerts: int
    critical_alerts: int
    notifications_pending: int
    notifications_due: int
    notifications_dead: int
    oldest_notification_at: datetime | None
    runs_pending: int
    runs_running: int
    runs_expired: int
    oldest_run_at: datetime | None
    worker_seen_at: datetime | None
    tests_running: int
    deployments: int
    silent_deployments: int
    oldest_evaluation_at: datetime | None
    newest_evaluation_at: datetime | None


@frozen(kw_only=True)
class Finding:
    """What one check of a diagnosis found.

    Attributes
    ----------
    check : str
        What was looked at.
    status : str
        ok, warning, problem, or unknown: it could not be looked at, which is not the same as ok.
    message : str
    mend : str or None
        What to do; None where nothing is to be done.
    """

    check: str
    status: FindingStatus
    message: str
    mend: str | None = None


@frozen(kw_only=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes
    ----------
    at : datetime
    schema : str
    findings : tuple of Finding
    """

    at: datetime
    schema: str
    findings: tuple[Finding, ...]

    @property
    def status(self) -> FindingStatus:
        """The worst of all findings: problem, unknown, warning, ok."""
        found = {finding.status for finding in self.findings}
        order: tuple[FindingStatus, ...] = ("problem", "unknown", "warning")
        return next((status for status in order if status in found), "ok" if found else "unknown")

    def to_dict(self) -> dict[str, object]:
        """The diagnosis as JSON has it."""
        return {
            "at": self.at.isoformat(),
            "schema": self.schema,
            "status": self.status,
            "findings": [asdict(finding) for finding in self.findings],
        }
