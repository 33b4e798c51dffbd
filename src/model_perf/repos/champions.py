"""Which version serves a slot: promoted and rolled back by somebody, one row per change."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from model_perf import _validation as check
from model_perf.errors import ConflictError
from model_perf.records import NO_MACHINE, Champion, ModelRef, as_ref
from model_perf.repos._executor import Executor
from model_perf.repos._page import Page, as_limit, make_page, parse_int, read_cursor
from model_perf.repos._rows import read_champion
from model_perf.sql import load_queries
from model_perf.sql._connection import Row


class ChampionRepo:
    """Reads and writes ``model_champions``; rows are added, never changed."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queries = load_queries("champions", executor.schema)

    async def promote(
        self,
        ref: ModelRef,
        *,
        replaces: int | None = None,
        reason: str | None = None,
        by: str | None = None,
        training_run_id: UUID | str | None = None,
        ab_test_id: UUID | str | None = None,
        now: datetime | None = None,
    ) -> tuple[Champion, bool]:
        """Let a version serve its slot.

        Parameters
        ----------
        replaces : int, optional
            Number of the champion that is known to serve, 0 for none; None replaces whichever serves.

        Returns
        -------
        champion : Champion
        promoted : bool
            False where the version served already: nothing is written, and a repeat of the call is harmless.

        Raises
        ------
        ConflictError
            Another change came first; the champion that serves now is the error's ``existing``.
        """
        slot = as_ref(ref).machine_id, ref.model_type
        row = await self._executor.fetchrow(
            self._queries["promote"],
            *(*slot, ref.model_id, ref.model_version),
            _number(replaces),
            check.as_optional_text(reason, "reason"),
            check.as_optional_text(by, "by", max_length=200),
            self._executor.moment(now),
            None if training_run_id is None else check.as_uuid(training_run_id, "training_run_id"),
            None if ab_test_id is None else check.as_uuid(ab_test_id, "ab_test_id"),
        )
        if row is not None:
            return read_champion(row), True
        serving = await self.fetch(ref.model_type, ref.machine_id)
        if serving is not None and serving.ref == ref:
            return serving, False
        raise _beaten(serving)

    async def roll_back(
        self,
        model_type: str,
        machine_id: UUID | str | None = None,
        *,
        replaces: int | None = None,
        reason: str | None = None,
        by: str | None = None,
        now: datetime | None = None,
    ) -> Champion:
        """Let the version serve again that did so before the one that serves.

        Without *replaces* a repeat of the call goes back one further.

        Raises
        ------
        ConflictError
            Another change came first, or there was no champion before.
        """
        slot = _slot(model_type, machine_id)
        args = (
            _number(replaces),
            check.as_optional_text(reason, "reason"),
            check.as_optional_text(by, "by", max_length=200),
            self._executor.moment(now),
        )
        row: Row | None = await self._executor.run(
            lambda connection: connection.fetchrow(self._queries["roll_back"], *slot, *args),
            repeatable=replaces is not None,
        )
        if row is not None:
            return read_champion(row)
        serving = await self.fetch(model_type, slot[0])
        if serving is None or (replaces is not None and serving.number != replaces):
            raise _beaten(serving)
        raise ConflictError(f"there is no champion before number {serving.number} to roll back to", serving)

    async def fetch(self, model_type: str, machine_id: UUID | str | None = None) -> Champion | None:
        """The champion that serves the slot."""
        row = await self._executor.fetchrow(self._queries["fetch"], *_slot(model_type, machine_id))
        return None if row is None else read_champion(row)

    async def list_changes(
        self, model_type: str, machine_id: UUID | str | None = None, *, limit: int = 100, cursor: str | None = None
    ) -> Page[Champion]:
        """All changes in the slot, newest first."""
        before = read_cursor(cursor, parse_int) or [check.INT4_MAX]
        args = *_slot(model_type, machine_id), *before, as_limit(limit) + 1
        rows = await self._executor.fetch(self._queries["list_changes"], *args)
        return make_page([read_champion(row) for row in rows], limit, lambda champion: (champion.number,))


def _slot(model_type: str, machine_id: UUID | str | None) -> tuple[UUID, str]:
    machine = NO_MACHINE if machine_id is None else check.as_uuid(machine_id, "machine_id")
    return machine, check.as_text(model_type, "model_type", max_length=200)


def _number(replaces: int | None) -> int | None:
    return None if replaces is None else check.as_int(replaces, "replaces", high=check.INT4_MAX)


def _beaten(serving: Champion | None) -> ConflictError:
    if serving is None:
        return ConflictError("no version was promoted for this machine and model type")
    return ConflictError(
        f"another change came first: number {serving.number}, version {serving.ref.model_version} of model "
        f"{serving.ref.model_id}, serves since {serving.promoted_at.isoformat()}",
        serving,
    )
