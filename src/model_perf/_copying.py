"""The order of an import: read a batch, convert its rows, write them, count; then the views."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import field, frozen

from model_perf import _validation as check
from model_perf._importing import convert
from model_perf.errors import InvalidInputError
from model_perf.repos._earlier_source import OldTable, Source
from model_perf.repos.earlier import EarlierRepo
from model_perf.results import ImportReport, RejectedRow, TableImport

_ASSUMED = {
    "evaluation_start": "the window begins a day before its end",
    "evaluation_end": "the window ends at evaluation_date",
    "model_version": "version 1",
    "test_end": "the test ended when it was decided, else now",
    "traffic_split_b": "the rest of traffic_split_a, else 0.5",
}


class _RejectedError(Exception):
    """A row that came in meanwhile is rejected: the tables stay."""


@frozen(kw_only=True)
class ImportOrder:
    """What a caller asks for."""

    source: str
    dry_run: bool
    replace_with_views: bool
    time_zone: str
    zone: tzinfo
    now: datetime


@frozen
class _Tally:
    """Counts while rows come in; one per import."""

    order: ImportOrder
    counts: dict[str, Counter[str]] = field(factory=dict)
    rejected: list[RejectedRow] = field(factory=list)
    assumed: Counter[tuple[str, str]] = field(factory=Counter)
    notes: list[str] = field(factory=list)
    replaced: list[str] = field(factory=list)

    def add(self, other: _Tally) -> None:
        for table, counts in other.counts.items():
            self.counts[table].update(counts)
        self.assumed.update(other.assumed)

    def add_rejected(self, other: _Tally) -> None:
        self.rejected.extend(other.rejected)
        for row in other.rejected:
            self.counts[row.table]["read"] += 1

    def report(self) -> ImportReport:
        filled = [
            f"{table}.{column} is missing in {n} of the rows read: {_ASSUMED[column]}"
            for (table, column), n in sorted(self.assumed.items())
        ]
        return ImportReport(
            source=self.order.source,
            dry_run=self.order.dry_run,
            tables=tuple(self._table(name) for name in self.counts),
            replaced=tuple(self.replaced),
            notes=(*self.notes, *filled),
        )

    def _table(self, name: str) -> TableImport:
        counts, rejected = self.counts[name], tuple(row for row in self.rejected if row.table == name)
        n_read, n_imported = counts["read"], counts["imported"]
        return TableImport(
            table=name,
            n_read=n_read,
            n_imported=n_imported,
            n_already_there=n_read - n_imported - len(rejected),
            rejected=rejected,
        )


def read_zone(name: str) -> tzinfo:
    """The time zone of that name; UTC needs no data of the system."""
    check.as_text(name, "time_zone", max_length=100)
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInputError(
            "time_zone", f"{name!r} is no time zone known here; give one like 'Europe/Berlin' (or install tzdata)"
        ) from None


async def import_all(repo: EarlierRepo, order: ImportOrder) -> ImportReport:
    """Copy the tables and, if asked, put views in their place; a dry run does it all and undoes it."""
    if order.dry_run:
        return await repo.rehearse(lambda rehearsed: _import(rehearsed, order))
    return await _import(repo, order)


async def _import(repo: EarlierRepo, order: ImportOrder) -> ImportReport:
    tally = _Tally(order)

    async def copy(source: Source) -> None:
        tally.notes.extend(source.notes)
        for table in source.tables:
            await _copy_table(repo, source, table, tally)

    await repo.read(order.source, copy)
    if order.replace_with_views and not tally.rejected:
        await _replace(repo, tally)
    if order.replace_with_views and tally.rejected:
        tally.notes.append("the old tables were not replaced: mend or delete the rejected rows, and import again")
    return tally.report()


async def _replace(repo: EarlierRepo, tally: _Tally) -> None:
    rest = _Tally(tally.order)

    async def copy_rest(inside: EarlierRepo, source: Source) -> None:
        for table in source.tables:
            await _copy_table(inside, source, table, rest, new_in=repo.schema)
        if rest.rejected:
            raise _RejectedError

    try:
        tally.replaced.extend(await repo.replace(tally.order.source, tally.order.time_zone, copy_rest))
    except _RejectedError:
        tally.add_rejected(rest)
    else:
        tally.add(rest)


async def _copy_table(
    repo: EarlierRepo, source: Source, table: OldTable, tally: _Tally, *, new_in: str | None = None
) -> None:
    counts = tally.counts.setdefault(table.name, Counter())
    is_first = True
    async for rows in source.batches(table, new_in=new_in):
        counts["read"] += len(rows)
        ready = await asyncio.to_thread(_convert_batch, table.name, rows, source.machines, tally)
        if ready:
            written = await repo.write(table.name, ready, is_first=is_first)
            counts["imported"] += written.n_imported
            tally.rejected.extend(
                RejectedRow(table=table.name, id=number, reason=reason) for number, reason in written.rejected
            )
        is_first = False


def _convert_batch(
    table: str, rows: Sequence[Mapping[str, Any]], machines: Mapping[str, str], tally: _Tally
) -> list[dict[str, Any]]:
    ready = []
    for row in rows:
        try:
            new = convert(table, row, tally.order.zone, tally.order.now)
        except InvalidInputError as error:
            tally.rejected.append(RejectedRow(table=table, id=str(row["id"]), reason=str(error)))
            continue
        filled = new["metadata"]["imported"].get("filled_in", ())
        tally.assumed.update((table, column) for column in filled if column in _ASSUMED)
        if table == "model_performance_metrics":
            new["machine_name"] = machines.get(new["machine_id"])
        ready.append(new)
    return ready
