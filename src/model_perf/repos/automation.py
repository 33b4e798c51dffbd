"""The switches of automation: who stopped the policy from acting by itself, for which model, and why."""

from __future__ import annotations

from uuid import UUID

from model_perf import _validation as check
from model_perf.records import NO_MACHINE, AutomationSwitch
from model_perf.repos._executor import Executor
from model_perf.repos._page import Page, as_limit, make_page, parse_text, read_cursor
from model_perf.sql import load_queries
from model_perf.sql._connection import Row


class AutomationRepo:
    """Reads and writes ``model_automation``."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queries = load_queries("automation", executor.schema)

    async def set_switch(
        self,
        model_type: str,
        machine_id: UUID | str | None = None,
        *,
        enabled: bool,
        by: str,
        reason: str | None = None,
    ) -> AutomationSwitch:
        """Let the policy act by itself for a machine and model type, or stop it; the last word counts."""
        row = await self._executor.fetchrow(
            self._queries["set_switch"],
            *_slot(model_type, machine_id),
            check.as_bool(enabled, "enabled"),
            check.as_optional_text(reason, "reason"),
            check.as_text(by, "by", max_length=200),
            self._executor.moment(),
        )
        assert row is not None
        return _read_switch(row)

    async def fetch_switch(self, model_type: str, machine_id: UUID | str | None = None) -> AutomationSwitch | None:
        """The switch of a machine and model type; None where nobody ever touched it, and the policy may act."""
        row = await self._executor.fetchrow(self._queries["fetch_switch"], *_slot(model_type, machine_id))
        return None if row is None else _read_switch(row)

    async def list_switches(self, *, limit: int = 100, cursor: str | None = None) -> Page[AutomationSwitch]:
        """The switches that somebody touched, by machine and model type."""
        after = read_cursor(cursor, UUID, parse_text) or [UUID(int=0), ""]
        rows = await self._executor.fetch(self._queries["list_switches"], *after, as_limit(limit) + 1)
        switches = [_read_switch(row) for row in rows]
        return make_page(switches, limit, lambda switch: (switch.machine_id, switch.model_type))


def _slot(model_type: str, machine_id: UUID | str | None) -> tuple[UUID, str]:
    machine = NO_MACHINE if machine_id is None else check.as_uuid(machine_id, "machine_id")
    return machine, check.as_text(model_type, "model_type", max_length=200)


def _read_switch(row: Row) -> AutomationSwitch:
    return AutomationSwitch(
        model_type=row["model_type"],
        machine_id=check.as_uuid(row["machine_id"], "machine_id"),
        is_enabled=row["is_enabled"],
        reason=row["reason"],
        changed_by=row["changed_by"],
        changed_at=row["changed_at"],
    )
