"""References of data, and what windows of data were found to be against them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from attrs import frozen

from model_perf import _validation as check
from model_perf.errors import ConflictError, NotFoundError
from model_perf.records import ModelRef, Verdict, as_ref
from model_perf.repos._executor import Executor
from model_perf.repos._judged import Recovered
from model_perf.repos._page import NEWEST, Page, as_limit, make_page, parse_timestamp, read_cursor
from model_perf.repos._rows import json_object, read_ref
from model_perf.sql import load_queries
from model_perf.sql._connection import Connection, Row

T = TypeVar("T")

LOST_RACES = 3
"""Compare-and-set losses after which a writer waits for its turn."""


@frozen(kw_only=True)
class StoredReference:
    """A reference as it is kept: its id, which changes with the data, and its binary form."""

    id: UUID
    profile: bytes


@frozen(kw_only=True)
class StoredAlarm:
    """What windows have added up to; ``state`` is empty before the first."""

    reference_id: UUID
    version: int
    state: Mapping[str, object]
    is_alerted: bool


@frozen(kw_only=True)
class NewReport:
    """What is written for one window; ``alerts`` are usually none, and ``wish``, for a training run, too."""

    reference_id: UUID
    window_start: datetime | None
    window_end: datetime
    findings: Mapping[str, object]
    alarm_value: float
    alarm_limit: float
    report: Mapping[str, object]
    state: Mapping[str, object]
    alerts: tuple[Mapping[str, object], ...] = ()
    wish: Mapping[str, object] | None = None
    recovered: Recovered | None = None


@frozen(kw_only=True)
class StoredReport:
    """The verdict on one window of data.

    Attributes
    ----------
    id : UUID
        The check's id.
    reference_id : UUID
    window_start, window_end : datetime
        window_start is None where nobody gave it.
    alarm_value, alarm_limit : float
        What windows have added up to, and where an alert is opened.
    report : mapping
        As of `DataDriftReport.to_dict`.
    """

    id: UUID
    ref: ModelRef
    segment: str
    reference_id: UUID
    window_start: datetime | None
    window_end: datetime
    alarm_value: float
    alarm_limit: float
    report: Mapping[str, Any]
    created_by: str | None
    created_at: datetime


@frozen(kw_only=True)
class AlarmPoint:
    """The verdict on one window of data, as light as a chart of the alarm needs it.

    Attributes
    ----------
    id : UUID
        The check's id.
    window_start : datetime or None
        None where nobody gave it.
    n_columns, n_drifted : int
        Columns of the reference, and those that have drifted.
    alarm_value, alarm_limit : float
        What windows have added up to, and where an alert is opened.
    """

    id: UUID
    ref: ModelRef
    window_start: datetime | None
    window_end: datetime
    verdict: Verdict
    n_columns: int
    n_drifted: int
    alarm_value: float
    alarm_limit: float


class DriftRepo:
    """Reads and writes ``model_reference_profiles``, ``model_drift_reports`` and the state of alarms and streams."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queries = load_queries("drift", executor.schema)
        self._fail_expired = load_queries("training", executor.schema)["fail_expired"]

    async def set_reference(
        self,
        ref: ModelRef,
        profile: bytes,
        *,
        segment: str,
        reference_id: UUID,
        n_rows: int,
        n_columns: int,
        now: datetime,
        created_by: str | None = None,
    ) -> None:
        """Keep the reference of a deployment and segment; what windows added up to against another is forgotten."""
        await self._executor.fetchrow(
            self._queries["set_reference"],
            *(*_key(ref), ref.model_type, _segment(segment), reference_id, profile, n_rows, n_columns),
            check.as_optional_text(created_by, "created_by", max_length=200),
            now,
            detector(segment),
        )

    async def fetch_reference(self, ref: ModelRef, *, segment: str = "") -> StoredReference:
        """The reference of a deployment and segment; `NotFoundError` where there is none."""
        row = await self._executor.fetchrow(self._queries["fetch_reference"], *_key(ref), _segment(segment))
        if row is None:
            where = f" in segment {segment!r}" if segment else ""
            raise NotFoundError(
                f"model {ref.model_id} version {ref.model_version} has no reference{where}; set_reference() keeps one"
            )
        return StoredReference(id=check.as_uuid(row["id"], "id"), profile=bytes(row["profile"]))

    async def record(
        self,
        ref: ModelRef,
        report_id: UUID,
        decide: Callable[[StoredAlarm], NewReport],
        *,
        segment: str,
        fingerprint: str,
        now: datetime,
        created_by: str | None,
        repeatable: bool,
    ) -> tuple[StoredReport, bool]:
        """Write what *decide* makes of the alarm: report, alarm and alert, all or none; and whether it was new.

        A report of that id that is there already is returned as it is, and nothing counts twice.
        """
        who = check.as_optional_text(created_by, "created_by", max_length=200)

        async def decide_and_write(connection: Connection) -> tuple[StoredReport, bool] | None:
            row = await connection.fetchrow(
                self._queries["fetch_alarm"], *_key(ref), segment, detector(segment), fingerprint
            )
            if row is None:
                raise NotFoundError(f"the reference of model {ref.model_id} is gone; set_reference() keeps one")
            alarm = _read_alarm(row)
            new = decide(alarm)
            args = (*_key(ref), segment, report_id, ref.model_type, *_report_args(new), who, now)
            args = (*args, detector(segment), alarm.version, check.to_json(new.state))
            if new.recovered is not None:
                query, over = self._queries["record_report_with_recovery"], new.recovered
                written = await connection.fetchrow(query, *args, over.fingerprint, over.notes)
            else:
                query = self._queries["record_report"]
                wish = None if new.wish is None else check.to_json(new.wish)
                if wish is not None:
                    await connection.execute(self._fail_expired, now)
                written = await connection.fetchrow(query, *args, check.to_json_array(new.alerts), wish)
            assert written is not None
            if not (written["inserted"] or written["is_there"]):
                return None
            stored = await connection.fetchrow(self._queries["fetch_report"], *_key(ref), segment, report_id)
            assert stored is not None
            return _read_report(stored), bool(written["inserted"])

        async def insist(connection: Connection) -> tuple[StoredReport, bool]:
            for _ in range(LOST_RACES):
                if (done := await decide_and_write(connection)) is not None:
                    return done
                self._executor.counters.races_lost += 1
            async with connection.transaction():
                await connection.fetchval(self._queries["lock_state"], *_key(ref), detector(segment))
                done = await decide_and_write(connection)
            if done is None:
                raise ConflictError("other checks of this deployment kept coming first; repeat the call")
            return done

        return await self._executor.run(insist, repeatable=repeatable)

    async def restart_alarm(self, ref: ModelRef, now: datetime, *, segment: str = "") -> None:
        """Put what windows have added up to back to zero."""
        await self._executor.fetchrow(self._queries["restart_alarm"], *_key(ref), detector(segment), now)

    async def fetch_stream(self, ref: ModelRef, name: str) -> tuple[int, Mapping[str, Any]]:
        """The version and state of a stream's detector; 0 and nothing before the first."""
        row = await self._executor.fetchrow(self._queries["fetch_stream"], *_key(ref), f"stream:{name}")
        return (0, {}) if row is None else (row["version"], json_object(row["state"]))

    async def save_stream(
        self, ref: ModelRef, name: str, version: int, state: Mapping[str, object], *, is_repeatable: bool = True
    ) -> bool:
        """Keep the state that follows on *version*; False where another writer came first."""
        args = (*_key(ref), ref.model_type, f"stream:{name}", version, check.to_json(state), self._executor.moment())

        async def write(connection: Connection) -> bool:
            return await connection.fetchrow(self._queries["save_stream"], *args) is not None

        is_written = await self._executor.run(write, repeatable=is_repeatable)
        self._executor.counters.races_lost += not is_written
        return is_written

    async def in_turn(
        self, ref: ModelRef, name: str, work: Callable[[DriftRepo], Awaitable[T]], *, is_repeatable: bool = True
    ) -> T:
        """Do *work* on a repository of one transaction, while the other writers of a stream that is kept wait."""

        async def lock_and_work(connection: Connection) -> T:
            await connection.fetchval(self._queries["lock_state"], *_key(ref), f"stream:{name}")
            return await work(DriftRepo(self._executor.nest(connection)))

        return await self._executor.run(lock_and_work, transaction=True, repeatable=is_repeatable)

    async def fetch_newest_report(self, ref: ModelRef, *, segment: str = "") -> StoredReport | None:
        """The verdict on the newest window; None where there is none."""
        row = await self._executor.fetchrow(self._queries["fetch_newest_report"], *_key(ref), _segment(segment))
        return None if row is None else _read_report(row)

    async def list_reports(
        self,
        ref: ModelRef,
        *,
        since: datetime,
        until: datetime,
        segment: str = "",
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[StoredReport]:
        """The verdicts on windows that end within [since, until), newest first."""
        period = check.as_timestamp(since, "since"), check.as_timestamp(until, "until")
        before = read_cursor(cursor, parse_timestamp, UUID) or NEWEST
        rows = await self._executor.fetch(
            self._queries["list_reports"], *_key(ref), _segment(segment), *period, *before, as_limit(limit) + 1
        )
        # A report of a thousand columns takes 10 ms to read, which are not the loop's.
        reports = await asyncio.to_thread(lambda: [_read_report(row) for row in rows])
        return make_page(reports, limit, lambda each: (each.window_end, each.id))

    async def fetch_report(self, ref: ModelRef, report_id: UUID | str, *, segment: str = "") -> StoredReport:
        """The verdict of that id; `NotFoundError` where there is none."""
        number = check.as_uuid(report_id, "report_id")
        row = await self._executor.fetchrow(self._queries["fetch_report"], *_key(ref), _segment(segment), number)
        if row is None:
            raise NotFoundError(f"no data drift report {number} of model {ref.model_id} version {ref.model_version}")
        return _read_report(row)

    async def list_alarm(
        self, model_type: str, machine_id: UUID | str, *, since: datetime, limit: int = 500
    ) -> tuple[AlarmPoint, ...]:
        """How the alarm of a slot's data stood after each window that ends since, newest first, over all versions."""
        slot = check.as_uuid(machine_id, "machine_id"), check.as_text(model_type, "model_type")
        moment = check.as_timestamp(since, "since")
        rows = await self._executor.fetch(self._queries["list_alarm"], *slot, moment, as_limit(limit))
        return tuple(_read_alarm_point(row) for row in rows)


def detector(segment: str) -> str:
    """The name of a segment's alarm in ``model_drift_state``."""
    return f"data:{segment}" if segment else "data"


def _segment(segment: str) -> str:
    return segment if segment == "" else check.as_text(segment, "segment", max_length=200)


def _key(ref: ModelRef) -> tuple[UUID, int, UUID]:
    as_ref(ref)
    return ref.model_id, ref.model_version, ref.machine_id


def _read_alarm(row: Row) -> StoredAlarm:
    return StoredAlarm(
        reference_id=check.as_uuid(row["reference_id"], "reference_id"),
        version=row["version"],
        state=json_object(row["state"]),
        is_alerted=row["is_alerted"],
    )


_FINDINGS = ("verdict", "drift_detected", "pvalue", "n_reference", "n_current", "n_columns", "n_drifted")


def _report_args(new: NewReport) -> tuple[object, ...]:
    found = tuple(new.findings[name] for name in _FINDINGS)
    alarm = (new.alarm_value, new.alarm_limit)
    return (new.reference_id, new.window_start, new.window_end, *found, *alarm, check.to_json(new.report))


def _read_alarm_point(row: Row) -> AlarmPoint:
    return AlarmPoint(
        id=check.as_uuid(row["id"], "id"),
        ref=read_ref(row),
        window_start=row["window_start"],
        window_end=row["window_end"],
        verdict=row["verdict"],
        n_columns=row["n_columns"],
        n_drifted=row["n_drifted"],
        alarm_value=row["alarm_value"],
        alarm_limit=row["alarm_limit"],
    )


def _read_report(row: Row) -> StoredReport:
    return StoredReport(
        id=check.as_uuid(row["id"], "id"),
        ref=read_ref(row),
        segment=row["segment"],
        reference_id=check.as_uuid(row["reference_id"], "reference_id"),
        window_start=row["window_start"],
        window_end=row["window_end"],
        alarm_value=row["alarm_value"],
        alarm_limit=row["alarm_limit"],
        report=cast(Mapping[str, Any], json_object(row["report"])),
        created_by=row["created_by"],
        created_at=row["created_at"],
    )
