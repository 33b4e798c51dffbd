"""Alerts: one open alert per condition, acknowledged and resolved by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

from model_perf import _validation as check
from model_perf.errors import ConflictError, InvalidInputError, NotFoundError
from model_perf.records import (
    RESOLUTIONS,
    SEVERITIES,
    Alert,
    AlertEvent,
    FalsePositiveRate,
    ModelRef,
    Resolution,
    Severity,
    as_optional_model_type,
    as_ref,
    as_severity,
    new_id,
)
from model_perf.repos._executor import Executor
from model_perf.repos._judged import Recovered
from model_perf.repos._page import NEWEST, Page, as_limit, make_page, parse_rank, parse_timestamp, read_cursor
from model_perf.repos._rows import read_alert, read_alert_event
from model_perf.sql import add_filters, load_queries
from model_perf.sql._connection import Connection, Row


class AlertRepo:
    """Reads and writes ``model_alerts``."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queries = load_queries("alerts", executor.schema)
        self._fail_expired = load_queries("training", executor.schema)["fail_expired"]

    async def open_or_repeat(
        self,
        ref: ModelRef,
        *,
        alert_type: str,
        severity: Severity | str,
        message: str,
        now: datetime | None = None,
        details: Mapping[str, object] | None = None,
        current_metric_value: float | None = None,
        threshold_value: float | None = None,
        baseline_metric_value: float | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> Alert:
        """Open an alert, or count one more occurrence of the open one of that type and model.

        The severity rises with a worse occurrence and never falls; ``occurrences`` is 1 for a new alert.
        """
        kind = check.as_text(alert_type, "alert_type", max_length=200)
        as_ref(ref, "ref")
        args = (
            *(new_id(), kind, as_severity(severity), ref.model_type, ref.machine_id, ref.model_id, ref.model_version),
            fingerprint(kind, ref),
            check.as_text(message, "message"),
            self._executor.moment(now),
            check.to_json(check.as_json_object(details, "details")),
            *(
                None if value is None else check.as_float(value, argument)
                for argument, value in (
                    ("current_metric_value", current_metric_value),
                    ("threshold_value", threshold_value),
                    ("baseline_metric_value", baseline_metric_value),
                )
            ),
            check.to_json(check.as_json_object(metadata, "metadata")),
        )
        query = self._queries["open_or_repeat"]
        # A repeat after a lost answer would count the occurrence twice.
        row = await self._executor.run(lambda connection: connection.fetchrow(query, *args), repeatable=False)
        assert row is not None
        return read_alert(row)

    async def acknowledge(
        self, alert_id: UUID | str, *, by: str, notes: str | None = None, now: datetime | None = None
    ) -> Alert:
        """Say that somebody looks after the alert; the first one is kept."""
        number = check.as_uuid(alert_id, "alert_id")
        args = (*_who(by, notes), self._executor.moment(now))
        row = await self._executor.fetchrow(self._queries["acknowledge"], number, *args)
        return read_alert(row) if row is not None else await self._refuse("acknowledge", number)

    async def snooze(
        self, alert_id: UUID | str, *, until: datetime, by: str, notes: str | None = None, now: datetime | None = None
    ) -> Alert:
        """Put an open alert aside *until* then; one that becomes worse comes back at once.

        It stays open and counts its occurrences. A second call replaces the first.
        """
        number, moment = check.as_uuid(alert_id, "alert_id"), self._executor.moment(now)
        end = check.as_timestamp(until, "until")
        if end <= moment:
            raise InvalidInputError("until", f"{end.isoformat()} is not after now, {moment.isoformat()}")
        row = await self._executor.fetchrow(self._queries["snooze"], number, end, *_who(by, notes), moment)
        return read_alert(row) if row is not None else await self._refuse("snooze", number)

    async def resolve(
        self,
        alert_id: UUID | str,
        *,
        now: datetime | None = None,
        resolution: Resolution | str = "manual",
        by: str | None = None,
        notes: str | None = None,
    ) -> Alert:
        """Close an alert; the next occurrence of its condition opens a new one."""
        number = check.as_uuid(alert_id, "alert_id")
        row = await self._executor.fetchrow(
            self._queries["resolve"],
            number,
            cast(Resolution, check.as_choice(resolution, "resolution", RESOLUTIONS)),
            check.as_optional_text(by, "by", max_length=200),
            check.as_optional_text(notes, "notes"),
            self._executor.moment(now),
        )
        return read_alert(row) if row is not None else await self._refuse("resolve", number)

    async def recover(self, over: Recovered, *, now: datetime | None = None) -> Alert | None:
        """Resolve the open alert of a condition that is over; None where there is none."""
        args = (over.fingerprint, over.notes, self._executor.moment(now))
        row = await self._executor.fetchrow(self._queries["recover"], *args)
        return None if row is None else read_alert(row)

    async def act(self, alert: Alert, wish: Mapping[str, object], *, now: datetime | None = None) -> Alert:
        """Decide about a training run that the policy wishes for, and write the outcome and its reason on the alert."""
        moment, text = self._executor.moment(now), check.to_json(wish)

        async def end_expired_and_act(connection: Connection) -> Row | None:
            await connection.execute(self._fail_expired, moment)
            return await connection.fetchrow(self._queries["act"], alert.id, moment, text)

        row = await self._executor.run(end_expired_and_act)
        return alert if row is None else read_alert(row)

    async def fetch(self, alert_id: UUID | str) -> Alert:
        """The alert of that id; `NotFoundError` where there is none."""
        number = check.as_uuid(alert_id, "alert_id")
        row = await self._executor.fetchrow(self._queries["fetch"], number)
        if row is None:
            raise NotFoundError(f"no alert {number}")
        return read_alert(row)

    async def note_act(self, alert_id: UUID | str, act: Mapping[str, object], *, now: datetime | None = None) -> Alert:
        """Keep what was done by itself about an alert, open or not, and when; it joins what was done before."""
        number = check.as_uuid(alert_id, "alert_id")
        text = check.to_json(check.as_json_object(act, "act"))
        row = await self._executor.fetchrow(self._queries["note_act"], number, text, self._executor.moment(now))
        if row is None:
            raise NotFoundError(f"no alert {number}")
        return read_alert(row)

    async def list_active(
        self,
        *,
        machine_id: UUID | str | None = None,
        model_type: str | None = None,
        severity: Severity | str | None = None,
        include_snoozed: bool = True,
        now: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Alert]:
        """The open alerts, worst and newest first (critical > warning > info); all, or those not snoozed *now*."""
        worst = (3, datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))
        args: list[object] = [*(read_cursor(cursor, parse_rank, parse_timestamp, UUID) or worst), as_limit(limit) + 1]
        name = "list_active" if check.as_bool(include_snoozed, "include_snoozed") else "list_awake"
        if not include_snoozed:
            args.append(self._executor.moment(now))
        query = add_filters(self._queries[name], args, **_filters(machine_id, model_type, severity))
        rows = await self._executor.fetch(query, *args)
        return make_page([read_alert(row) for row in rows], limit, _inbox_key)

    async def list_alerts(
        self,
        *,
        machine_id: UUID | str | None = None,
        model_type: str | None = None,
        alert_type: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Alert]:
        """The alerts that were opened, resolved ones included, newest first."""
        begin = datetime.min.replace(tzinfo=UTC) if since is None else check.as_timestamp(since, "since")
        args: list[object] = [
            *(read_cursor(cursor, parse_timestamp, UUID) or NEWEST),
            begin,
            as_limit(limit) + 1,
        ]
        query = add_filters(
            self._queries["list_alerts"],
            args,
            a__machine_id=None if machine_id is None else check.as_uuid(machine_id, "machine_id"),
            a__model_type=as_optional_model_type(model_type),
            a__alert_type=check.as_optional_text(alert_type, "alert_type", max_length=200),
        )
        rows = await self._executor.fetch(query, *args)
        return make_page([read_alert(row) for row in rows], limit, lambda alert: (alert.alert_timestamp, alert.id))

    async def list_events(self, alert_id: UUID | str) -> list[AlertEvent]:
        """What happened to an alert, oldest first; nothing of the time before the log was kept."""
        number = check.as_uuid(alert_id, "alert_id")
        rows = await self._executor.fetch(self._queries["list_events"], number)
        if not rows:
            await self.fetch(number)
        return [read_alert_event(row) for row in rows]

    async def false_positive_rates(self, since: datetime) -> dict[str, FalsePositiveRate]:
        """By alert type: of those resolved from *since* on, how many somebody called false."""
        begin = check.as_timestamp(since, "since")
        rows = await self._executor.fetch(self._queries["count_false_positives"], begin)
        return {
            row["alert_type"]: FalsePositiveRate(
                alert_type=row["alert_type"],
                n_resolved=row["n_resolved"],
                n_false_positives=row["n_false_positives"],
            )
            for row in rows
        }

    async def list_slot(
        self, model_type: str, machine_id: UUID | str, *, since: datetime, limit: int = 100
    ) -> tuple[Alert, ...]:
        """The alerts of a machine and model type that are open, then those that were opened since, newest first."""
        slot = check.as_uuid(machine_id, "machine_id"), check.as_text(model_type, "model_type")
        moment = check.as_timestamp(since, "since")
        rows = await self._executor.fetch(self._queries["list_slot"], *slot, moment, as_limit(limit))
        return tuple(read_alert(row) for row in rows)

    async def list_resolved(
        self,
        *,
        since: datetime,
        machine_id: UUID | str | None = None,
        model_type: str | None = None,
        severity: Severity | str | None = None,
        limit: int = 20,
    ) -> tuple[Alert, ...]:
        """The alerts that were closed since, the last closed one first."""
        args: list[object] = [check.as_timestamp(since, "since"), as_limit(limit)]
        query = add_filters(self._queries["list_resolved"], args, **_filters(machine_id, model_type, severity))
        return tuple(read_alert(row) for row in await self._executor.fetch(query, *args))

    async def _refuse(self, name: str, alert_id: UUID) -> Alert:
        alert = await self.fetch(alert_id)
        state = f"resolved ({alert.resolution})" if alert.is_resolved else f"acknowledged by {alert.acknowledged_by}"
        raise ConflictError(f"cannot {name} alert {alert_id}: it is {state} already", alert)


def fingerprint(alert_type: str, ref: ModelRef) -> str:
    """What makes two occurrences the same condition: the type and the deployment, never the metric."""
    return f"{alert_type}:{ref.model_id}:{ref.model_version}:{ref.machine_id}"


def _who(by: str, notes: str | None) -> tuple[str, str | None]:
    return check.as_text(by, "by", max_length=200), check.as_optional_text(notes, "notes")


def _filters(
    machine_id: UUID | str | None, model_type: str | None, severity: Severity | str | None
) -> dict[str, object]:
    return {
        "a__machine_id": None if machine_id is None else check.as_uuid(machine_id, "machine_id"),
        "a__model_type": as_optional_model_type(model_type),
        "a__severity": None if severity is None else as_severity(severity),
    }


def _inbox_key(alert: Alert) -> tuple[int, datetime, UUID]:
    return SEVERITIES.index(alert.severity) + 1, alert.alert_timestamp, alert.id
