"""Looking after an installation: what is taken out of its tables, and how it does."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from model_perf._facade.shared import Shared

if TYPE_CHECKING:
    from model_perf._operating import Operations
    from model_perf._operating_results import Diagnosis, ForgetReport, PruneReport, TableStats, TrackerStats


class OperationsCalls(Shared):
    """What the facade does for the people who operate it."""

    async def prune(self, before: datetime, *, dry_run: bool = False, batch: int = 1000) -> PruneReport:
        """Delete what is older than *before* and no longer needed, in short transactions; safe to repeat.

        What stays, however old: the evaluations that baselines and charts are recomputed from (so that no later verdict
        changes, by this tracker's policy), the newest 20 of each deployment, what a running A/B test compares; open
        alerts, open runs and running tests with all that belongs to them or may answer them; the newest report on the
        data of each deployment, the newest run and the newest completed one of each machine and model type; models,
        references, states, champions.

        Parameters
        ----------
        before : datetime
            Not in the future. Evaluations by evaluation_date, reports by window_end, the rest by when it ended.
        dry_run : bool
            Count and delete nothing; needs SELECT only, else DELETE.
        batch : int
            Rows of one transaction.
        """
        return await self._operations.prune(before, dry_run=dry_run, batch=batch)

    async def forget_machine(
        self, machine_id: UUID | str, *, dry_run: bool = False, force: bool = False
    ) -> ForgetReport:
        """Delete every row of a machine, in all tables, in one transaction.

        Parameters
        ----------
        dry_run : bool
            Count and delete nothing.
        force : bool
            Even if a test is running, which goes with it.

        Raises
        ------
        ConflictError
            A test is running on the machine; the message names it.
        """
        return await self._operations.forget_machine(machine_id, dry_run=dry_run, force=force)

    async def forget_model(self, model_id: UUID | str, *, dry_run: bool = False, force: bool = False) -> ForgetReport:
        """The same of a model, with all its versions on all machines, and every test that it was in.

        Of machines that it serves the whole history of champions goes: no other version serves there unasked.
        """
        return await self._operations.forget_model(model_id, dry_run=dry_run, force=force)

    def stats(self) -> TrackerStats:
        """What this tracker's calls came to in this process, for a host's own metrics. No I/O."""
        return self._operations.stats()

    async def table_stats(self) -> TableStats:
        """How large the tables are, and what waits in them: alerts, notifications, runs, tests."""
        return await self._operations.table_stats()

    async def diagnose(self) -> Diagnosis:
        """Look at everything that an installation needs, and say of each thing whether it is well and what mends it.

        Reads only. What cannot be looked at, for want of a right or of a connection, is unknown, and no error is
        raised.
        """
        return await self._operations.diagnose()

    @property
    def _operations(self) -> Operations:
        from model_perf._operating import Operations

        return Operations(self._executor, self.policy)
