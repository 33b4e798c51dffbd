"""The outbox: what is to be told of alerts, routed to channels, claimed for a while, and settled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from model_perf import _validation as check
from model_perf._notifications import NOTIFICATION_STATUSES, Delivery, Notification, Routed
from model_perf.errors import ConflictError, NotFoundError
from model_perf.repos._executor import Executor, as_texts
from model_perf.repos._page import NEWEST, Page, as_limit, make_page, parse_timestamp, read_cursor
from model_perf.repos._rows import read_delivery, read_notification
from model_perf.sql import add_filters, load_queries
from model_perf.sql._connection import Connection, Row

Allowance = Callable[[datetime, datetime, int], tuple[int, Callable[[int], datetime]]]
"""Of a rate limit: from spent_until, now and how many are wanted, to how many may be sent, and the spent_until that
sending some of them leaves."""


class NotificationRepo:
    """Reads and writes ``model_notifications`` and ``model_notification_channels``.

    A claimed notification belongs to its attempt: what settles it names the attempt it speaks for, and changes nothing
    where a later attempt has taken it over. Rows are written by the trigger that logs what happens to an alert.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queries = load_queries("notifications", executor.schema)

    async def list_due(self, now: datetime | None = None) -> dict[str, datetime]:
        """The channels that have something due and do not rest, and since when; "" stands for what is not routed."""
        rows = await self._executor.fetch(self._queries["list_due"], self._executor.moment(now))
        return {row["channel"]: row["due_since"] for row in rows}

    async def drop_late(self, before: datetime, *, reason: str) -> int:
        """Drop what has been due since before *before* and nobody delivered; how many rows."""
        args = check.as_timestamp(before, "before"), check.as_text(reason, "reason")
        row = await self._executor.fetchrow(self._queries["drop_late"], *args)
        assert row is not None
        return int(row["n"])

    async def route(
        self, channels: Sequence[Mapping[str, object]], *, now: datetime | None = None, limit: int = 1000
    ) -> Routed:
        """Decide for events that are due who is told of them.

        Parameters
        ----------
        channels : sequence of mappings
            Each with channel, events, severities, and model_types and alert_types (None = all). What no channel takes
            is dropped, as is what happens to a snoozed alert, unless it escalates.
        limit : int
            Events looked at by this call; two processes never look at the same.
        """
        given = [dict(each, place=place) for place, each in enumerate(channels)]
        args = check.to_json_array(given), self._executor.moment(now), as_limit(limit)
        row = await self._executor.fetchrow(self._queries["route"], *args)
        assert row is not None
        return Routed(n_events=row["n_events"], n_dropped=row["n_dropped"], n_routed=row["n_routed"])

    async def claim(
        self,
        channel: str,
        *,
        lease: timedelta,
        limit: int = 1,
        max_attempts: int = 10,
        allowance: Allowance | None = None,
        now: datetime | None = None,
    ) -> list[Delivery]:
        """Take what is due longest on a channel, for *lease*; two processes never get the same.

        Parameters
        ----------
        max_attempts : int
            A notification whose process stopped in the middle that often is dead, and given out as such.
        allowance : optional
            The channel's rate limit; all processes share what it has left.
        """
        name, moment = check.as_text(channel, "channel", max_length=200), self._executor.moment(now)
        until = check.later(moment, check.as_duration(lease, "lease"), "lease")
        most = check.as_int(max_attempts, "max_attempts", low=1, high=1000)
        wanted, query = as_limit(limit), self._queries["claim"]

        async def claim_allowed(connection: Connection) -> Sequence[Row]:
            if allowance is None:
                return await connection.fetch(query, name, moment, until, most, wanted)
            spent_until = await connection.fetchval(self._queries["lock_channel"], name, moment)
            allowed, after = allowance(spent_until, moment, wanted)
            if not allowed:
                return []
            rows = await connection.fetch(query, name, moment, until, most, allowed)
            await connection.execute(self._queries["spend"], name, after(len(rows)))
            return rows

        # A repeat after a lost answer claims others, and is safe: the lost ones come back when their lease ends.
        rows = await self._executor.run(claim_allowed, transaction=allowance is not None)
        return [read_delivery(row) for row in rows]

    async def mark_delivered(self, held: Sequence[Delivery], *, now: datetime | None = None) -> set[UUID]:
        """The receiver has them; the ids of those that were still held by their attempts."""
        ids, attempts = as_texts(each.id for each in held), as_texts(each.attempt for each in held)
        rows = await self._executor.fetch(self._queries["mark_delivered"], ids, attempts, self._executor.moment(now))
        return {check.as_uuid(row["id"], "id") for row in rows}

    async def retry_later(
        self,
        notification_id: UUID | str,
        attempt: int,
        *,
        run_after: datetime,
        error_message: str,
        is_failure: bool = True,
    ) -> bool:
        """Let a later attempt try from *run_after* on; it is no failure where the receiver only asked to wait."""
        moment, text = check.as_timestamp(run_after, "run_after"), check.as_text(error_message, "error_message")
        return await self._settle("retry_later", notification_id, attempt, moment, text, int(is_failure))

    async def mark_dead(self, notification_id: UUID | str, attempt: int, *, error_message: str) -> bool:
        """Give it up; `requeue` takes it up again."""
        text = check.as_text(error_message, "error_message")
        return await self._settle("mark_dead", notification_id, attempt, text)

    async def hand_back(self, held: Sequence[Delivery], *, now: datetime | None = None) -> None:
        """Return what was claimed and not delivered, to be due at once; that is no failure."""
        ids, attempts = as_texts(each.id for each in held), as_texts(each.attempt for each in held)
        moment = self._executor.moment(now)
        query = self._queries["hand_back"]
        await self._executor.run(lambda connection: connection.execute(query, ids, attempts, moment))

    async def rest(self, channel: str, until: datetime, *, now: datetime | None = None) -> None:
        """Let all processes leave the channel alone until then, for a day at most."""
        name, moment = check.as_text(channel, "channel", max_length=200), self._executor.moment(now)
        args = name, min(check.as_timestamp(until, "until"), moment + timedelta(days=1)), moment
        await self._executor.run(lambda connection: connection.execute(self._queries["rest"], *args))

    async def requeue(self, notification_id: UUID | str, *, now: datetime | None = None) -> Notification:
        """Deliver a dead or dropped notification after all, under the same id, as often as a new one is tried.

        Raises
        ------
        ConflictError
            It is pending or delivered.
        """
        number = check.as_uuid(notification_id, "notification_id")
        row = await self._executor.fetchrow(self._queries["requeue"], number, self._executor.moment(now))
        stored = await self.fetch_notification(number)
        if row is None:
            raise ConflictError(f"cannot requeue notification {number}: it is {stored.status}", stored)
        return stored

    async def requeue_dead(self, channel: str, *, now: datetime | None = None) -> int:
        """Deliver all dead notifications of a channel after all, as once its receiver is mended; how many."""
        args = check.as_text(channel, "channel", max_length=200), self._executor.moment(now)
        row = await self._executor.fetchrow(self._queries["requeue_dead"], *args)
        assert row is not None
        return int(row["n"])

    async def fetch_notification(self, notification_id: UUID | str) -> Notification:
        """The notification of that id; `NotFoundError` where there is none."""
        number = check.as_uuid(notification_id, "notification_id")
        row = await self._executor.fetchrow(self._queries["fetch_notification"], number)
        if row is None:
            raise NotFoundError(f"no notification {number}")
        return read_notification(row)

    async def list_notifications(
        self,
        *,
        status: str | None = None,
        channel: str | None = None,
        alert_id: UUID | str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Notification]:
        """The notifications, newest first; channel "" has those that were routed to none."""
        args: list[object] = [*(read_cursor(cursor, parse_timestamp, UUID) or NEWEST), as_limit(limit) + 1]
        query = add_filters(
            self._queries["list_notifications"],
            args,
            n__status=None if status is None else check.as_choice(status, "status", NOTIFICATION_STATUSES),
            n__channel=_as_channel_or_none(channel),
            e__alert_id=None if alert_id is None else check.as_uuid(alert_id, "alert_id"),
        )
        rows = await self._executor.fetch(query, *args)
        return make_page([read_notification(row) for row in rows], limit, lambda each: (each.created_at, each.id))

    async def _settle(self, name: str, notification_id: UUID | str, attempt: int, *args: object) -> bool:
        number = check.as_uuid(notification_id, "notification_id")
        holder = check.as_int(attempt, "attempt", low=1, high=check.INT4_MAX)
        query = self._queries[name]
        status = await self._executor.run(lambda connection: connection.execute(query, number, holder, *args))
        return status == "UPDATE 1"


def _as_channel_or_none(channel: str | None) -> str | None:
    """A channel's name, or "" for what is on none."""
    if isinstance(channel, str) and not channel:
        return channel
    return check.as_optional_text(channel, "channel", max_length=200)
