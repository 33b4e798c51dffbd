"""The part of the facade that looks after an installation: what is taken out of the tables, and how it does."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from attrs import frozen

from model_perf import _validation as check
from model_perf._operating_results import (
    Diagnosis,
    ForgetReport,
    PruneReport,
    TableSize,
    TableStats,
    TrackerStats,
)
from model_perf._pruning import History, find_removable
from model_perf.drift import PerformanceState
from model_perf.errors import InvalidInputError, ModelPerfError, StorageError
from model_perf.policy import MonitoringPolicy
from model_perf.records import Evaluation
from model_perf.repos._executor import Executor
from model_perf.repos.operations import OF_MACHINE, OF_MODEL, OLD_ROWS, Key, OldEvaluations, OldRows, OperationsRepo

DEPLOYMENTS = 1000
"""Deployments that are listed at once."""


@frozen
class Operations:
    """Prunes and forgets; see the methods of `ModelPerformanceTracker` of these names."""

    _executor: Executor
    _policy: MonitoringPolicy

    @property
    def _repo(self) -> OperationsRepo:
        return OperationsRepo(self._executor)

    async def prune(self, before: datetime, *, dry_run: bool, batch: int) -> PruneReport:
        limit, now = check.as_timestamp(before, "before"), self._executor.moment()
        if limit > now:
            raise InvalidInputError("before", f"{limit.isoformat()} is in the future; it is {now.isoformat()} now")
        check.as_int(batch, "batch", low=1, high=100_000)
        check.as_bool(dry_run, "dry_run")
        if self._executor.is_bound:
            raise StorageError(
                "prune() runs transactions of its own; call it on the tracker itself, not on bind()", retry_safe=True
            )
        deleted: Counter[str] = Counter({"model_performance_metrics": 0})
        kept = await self._prune_evaluations(limit, batch, dry_run, deleted)
        for rows in OLD_ROWS:
            await self._prune_rows(rows, limit, batch, dry_run, deleted)
        return PruneReport(before=limit, dry_run=dry_run, deleted=dict(deleted), n_kept_evaluations=kept)

    async def forget_machine(self, machine_id: UUID | str, *, dry_run: bool, force: bool) -> ForgetReport:
        number = check.as_uuid(machine_id, "machine_id")
        check.as_bool(dry_run, "dry_run"), check.as_bool(force, "force")
        deleted, running = await self._repo.forget(number, OF_MACHINE, dry_run=dry_run, force=force)
        return ForgetReport(kind="machine", id=number, dry_run=dry_run, deleted=deleted, running_tests=running)

    async def forget_model(self, model_id: UUID | str, *, dry_run: bool, force: bool) -> ForgetReport:
        number = check.as_uuid(model_id, "model_id")
        check.as_bool(dry_run, "dry_run"), check.as_bool(force, "force")
        deleted, running = await self._repo.forget(number, OF_MODEL, dry_run=dry_run, force=force)
        return ForgetReport(kind="model", id=number, dry_run=dry_run, deleted=deleted, running_tests=running)

    def stats(self) -> TrackerStats:
        counters, pool = self._executor.counters, None
        with suppress(ModelPerfError):  # a pool that is born later has no connections yet
            pool = self._executor.pool
        return TrackerStats(
            calls=counters.calls,
            errors=dict(counters.errors),
            retries=counters.retries,
            races_lost=counters.races_lost,
            evaluations_recorded=counters.evaluations_recorded,
            evaluations_repeated=counters.evaluations_repeated,
            last_recorded_at=counters.last_recorded_at,
            busy_s=counters.busy_s,
            slowest_s=counters.slowest_s,
            pool_size=_of_pool(pool, "get_size"),
            pool_idle=_of_pool(pool, "get_idle_size"),
            pool_max=_of_pool(pool, "get_max_size"),
        )

    async def table_stats(self) -> TableStats:
        now, ask = self._executor.moment(), self._repo.ask
        tables = await ask("list_tables")
        [alerts], [notifications] = await ask("count_alerts"), await ask("count_notifications", now)
        [runs], [tests] = await ask("count_runs", now), await ask("count_tests", now)
        [deployments] = await ask("count_deployments", now - timedelta(days=1))
        return TableStats(
            tables=tuple(
                TableSize(**{name: value for name, value in table.items() if name != "n_live"}) for table in tables
            ),
            open_alerts=alerts["n_open"],
            critical_alerts=alerts["n_critical"],
            notifications_pending=notifications["n_pending"],
            notifications_due=notifications["n_due"],
            notifications_dead=notifications["n_dead"],
            oldest_notification_at=notifications["oldest_at"],
            runs_pending=runs["n_pending"],
            runs_running=runs["n_running"],
            runs_expired=runs["n_expired"],
            oldest_run_at=runs["oldest_due_at"],
            worker_seen_at=runs["worker_seen_at"],
            tests_running=tests["n_running"],
            deployments=deployments["n"],
            silent_deployments=deployments["n_silent"],
            oldest_evaluation_at=deployments["oldest_at"],
            newest_evaluation_at=deployments["newest_at"],
        )

    async def diagnose(self) -> Diagnosis:
        from model_perf._diagnosis import diagnose

        found = await diagnose(self._executor)
        return Diagnosis(at=self._executor.moment(), schema=self._executor.schema, findings=tuple(found))

    async def _prune_rows(
        self, rows: OldRows, before: datetime, batch: int, dry_run: bool, deleted: Counter[str]
    ) -> None:
        deleted.update(dict.fromkeys((rows.table, *rows.children), 0))
        after: tuple[object, ...] | None = tuple(rows.key.values())
        while after is not None:
            after, counts = await self._repo.delete_old(rows, before, after, batch, dry_run=dry_run)
            deleted.update(counts)

    async def _prune_evaluations(self, before: datetime, batch: int, dry_run: bool, deleted: Counter[str]) -> int:
        """How many of them are older and stay."""
        kept = 0
        after: Key | None = None
        while keys := await self._repo.list_deployments(before, after, DEPLOYMENTS):
            for key in keys:
                n_old, n_gone = await self._prune_deployment(key, before, batch, dry_run)
                deleted["model_performance_metrics"] += n_gone
                kept += n_old - n_gone
            after = keys[-1]
        return kept

    async def _prune_deployment(self, key: Key, before: datetime, batch: int, dry_run: bool) -> tuple[int, int]:
        old = await self._repo.fetch_old_evaluations(key, before)
        if old is None:
            return 0, 0
        bites = await asyncio.to_thread(self._find_bites, old, batch)
        if dry_run:
            return old.n_old, sum(map(len, bites))
        return old.n_old, sum([await self._repo.delete_evaluations(key, bite) for bite in bites])

    def _find_bites(self, old: OldEvaluations, batch: int) -> list[list[Evaluation]]:
        state = PerformanceState.from_dict(old.state)
        history = History(
            evaluations=old.evaluations,
            is_old=[e.evaluation_date < old.cutoff for e in old.evaluations],
            training_data_end=old.training_data_end,
            restarted_after=state.restarted_after,
        )
        return list(find_removable(history, self._policy, batch))


def _of_pool(pool: object, question: str) -> int | None:
    """What a pool says of its size; a host's may be wrapped in something that does not."""
    ask = getattr(pool, question, None)
    return ask() if callable(ask) else None
