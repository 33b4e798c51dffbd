"""Which version serves: promoted and rolled back on record, never by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from model_perf._facade.shared import Shared
from model_perf.errors import InvalidInputError
from model_perf.records import Champion, ModelRef
from model_perf.repos import Page
from model_perf.results import Promotion

if TYPE_CHECKING:
    from model_perf._champions import OnPromotion


class ChampionCalls(Shared):
    """What the facade answers about the version that serves."""

    _promotion_callbacks: list[OnPromotion]

    async def champion(self, model_type: str, machine_id: UUID | str | None = None) -> ModelRef | None:
        """The version that was promoted to serve a slot; None where none was."""
        champion = await self.champions.fetch(model_type, machine_id)
        return None if champion is None else champion.ref

    async def champion_history(
        self, model_type: str, machine_id: UUID | str | None = None, *, limit: int = 100, cursor: str | None = None
    ) -> Page[Champion]:
        """The promotions and rollbacks of a slot, newest first."""
        return await self.champions.list_changes(model_type, machine_id, limit=limit, cursor=cursor)

    async def promote(
        self,
        ref: ModelRef,
        *,
        by: str | None = None,
        reason: str | None = None,
        training_run_id: UUID | str | None = None,
        ab_test_id: UUID | str | None = None,
        replaces: Champion | int | None = None,
    ) -> Promotion:
        """Let a version serve its slot, on record, and tell the host (`on_promotion`). Nothing is promoted by itself.

        Promoting the version that serves already writes nothing and tells the host again.

        Parameters
        ----------
        replaces : Champion or int, optional
            The champion, or its number, that is known to serve (0 = none); default whichever serves.

        Raises
        ------
        ConflictError
            Another change came first; the champion that serves now is the error's ``existing``.
        """
        from model_perf import _champions

        options = {"by": by, "reason": reason, "training_run_id": training_run_id, "ab_test_id": ab_test_id}
        return await _champions.promote(self._whole, ref, replaces, options)

    async def roll_back(
        self,
        model_type: str,
        machine_id: UUID | str | None = None,
        *,
        by: str | None = None,
        reason: str | None = None,
        replaces: Champion | int | None = None,
    ) -> Promotion:
        """Let the version serve again that did so before, on record, and tell the host.

        Each further call goes back one further. With *replaces* a repeat after a lost answer is refused instead.

        Raises
        ------
        ConflictError
            Another change came first, or there was no champion before.
        """
        from model_perf import _champions

        return await _champions.roll_back(self._whole, model_type, machine_id, replaces, {"by": by, "reason": reason})

    def on_promotion(self, callback: OnPromotion) -> OnPromotion:
        """Register an async function that is told each new champion, as ``@tracker.on_promotion``.

        It is awaited after the record is committed, with the `Champion`; what it raises is logged and comes back as
        `Promotion.callback_error`. A process that dies in between has not told: repeat the promotion, which tells
        again, so that it is told at least once; the champion's number tells repeats. In `bind` the host tells itself,
        after its commit.
        """
        if not callable(callback):
            raise InvalidInputError("callback", f"{callback!r} cannot be called; decorate an async function")
        self._promotion_callbacks.append(callback)
        return callback
