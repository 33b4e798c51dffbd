"""Training runs: opened by anybody, claimed by one worker, ended by the attempt that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from model_perf import _validation as check
from model_perf.errors import ConflictError, NotFoundError
from model_perf.records import (
    TrainingRun,
    TriggerType,
    as_optional_metrics,
    as_optional_model_type,
    as_training_run,
    as_trigger_type,
    new_id,
)
from model_perf.repos._executor import Executor, as_texts
from model_perf.repos._page import NEWEST, Page, as_limit, make_page, parse_timestamp, read_cursor
from model_perf.repos._rows import read_training_run
from model_perf.sql import add_filters, load_queries
from model_perf.sql._connection import Connection, Row


class TrainingRepo:
    """Reads and writes ``model_training_history``.

    A claimed run belongs to its attempt: `heartbeat`, `complete`, `fail`, `retry` and `hand_back` name the attempt
    they speak for, and one that has lost its lease to a later attempt gets a `ConflictError`.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queries = load_queries("training", executor.schema)

    async def open_run(
        self,
        *,
        model_type: str,
        machine_id: UUID | str,
        now: datetime | None = None,
        trigger_type: TriggerType | str = "manual",
        reason: str | None = None,
        triggered_by: str | None = None,
        model_id: UUID | str | None = None,
        model_version: int | None = None,
        training_data_start: datetime | None = None,
        training_data_end: datetime | None = None,
        hyperparameters: Mapping[str, object] | None = None,
        max_attempts: int = 3,
        run_after: datetime | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> tuple[TrainingRun, bool]:
        """Open a run for the slot (machine and model type), unless one is pending or running there.

        Returns
        -------
        run : TrainingRun
            The new run, or the one that was open already.
        triggered : bool
            Whether this call opened it; of many at once exactly one does.
        """
        moment = self._executor.moment(now)
        args = (
            new_id(),
            check.as_text(model_type, "model_type", max_length=200),
            check.as_uuid(machine_id, "machine_id"),
            None if model_id is None else check.as_uuid(model_id, "model_id"),
            None if model_version is None else check.as_int(model_version, "model_version", high=check.INT4_MAX),
            as_trigger_type(trigger_type),
            check.as_optional_text(triggered_by, "triggered_by"),
            check.as_optional_text(reason, "reason"),
            _optional_time(training_data_start, "training_data_start"),
            _optional_time(training_data_end, "training_data_end"),
            check.to_json(check.as_json_object(hyperparameters, "hyperparameters")),
            check.as_int(max_attempts, "max_attempts", low=1, high=100),
            _optional_time(run_after, "run_after") or moment,
            moment,
            check.to_json(check.as_json_object(metadata, "metadata")),
        )

        async def open_in_free_slot(connection: Connection) -> Row | None:
            await connection.execute(self._queries["fail_expired"], moment)
            return await connection.fetchrow(self._queries["open_run"], *args)

        row = await self._executor.run(open_in_free_slot)
        assert row is not None
        return read_training_run(row), row["triggered"]

    async def claim(
        self, worker: str, *, lease: timedelta, now: datetime | None = None, model_type: str | None = None
    ) -> TrainingRun | None:
        """Take the run that is due longest, for *lease*; None where none is. Two workers never get the same."""
        moment = self._executor.moment(now)
        until = check.later(moment, check.as_duration(lease, "lease"), "lease")
        args: list[object] = [moment, until, check.as_text(worker, "worker", max_length=200)]
        query = add_filters(self._queries["claim"], args, x__model_type=as_optional_model_type(model_type))

        async def claim_due(connection: Connection) -> Row | None:
            await connection.execute(self._queries["fail_expired"], moment)
            return await connection.fetchrow(query, *args)

        # A repeat after a lost answer would claim another run; the lost one comes back when its lease ends.
        row = await self._executor.run(claim_due, repeatable=False)
        return None if row is None else read_training_run(row)

    async def claim_many(
        self,
        worker: str,
        *,
        model_types: Sequence[str],
        limit: int,
        lease: timedelta,
        now: datetime | None = None,
        upkeep: bool = False,
        held: Iterable[UUID] = (),
    ) -> list[TrainingRun]:
        """Take up to *limit* runs of the model types that are due longest; by one statement, cheap where none is.

        Parameters
        ----------
        upkeep : bool
            Note in ``model_workers`` that the worker lives, and fail runs whose last attempt stopped reporting.
        held : iterable of UUID
            Runs that it has in hand, whatever its clock says of their leases.
        """
        moment = self._executor.moment(now)
        args = (
            moment,
            check.later(moment, check.as_duration(lease, "lease"), "lease"),
            check.as_text(worker, "worker", max_length=200),
            check.as_names(model_types, "model_types"),
            as_texts(_ids(held, "held")),
        )
        text = self._queries["claim_with_upkeep"] if upkeep else self._queries["claim_many"]
        query = text.replace("LIMIT 1", f"LIMIT {check.as_int(limit, 'limit', high=1000)}")
        rows = await self._executor.run(lambda connection: connection.fetch(query, *args), repeatable=False)
        return [read_training_run(row) for row in rows]

    async def heartbeat(
        self,
        run_id: UUID | str,
        attempt: int,
        *,
        lease: timedelta,
        now: datetime | None = None,
        progress: float | None = None,
        stage: str | None = None,
    ) -> TrainingRun:
        """Say that the attempt is alive: its lease is renewed, its progress (0 to 1) and stage (in metadata) kept.

        A lease is never shortened, so that a clock that was put back loses none.
        """
        until = check.later(self._executor.moment(now), check.as_duration(lease, "lease"), "lease")
        share = None if progress is None else check.as_float(progress, "progress", low=0.0, high=1.0)
        text = check.as_optional_text(stage, "stage", max_length=1000)
        return await self._transition("heartbeat", run_id, attempt, until, share, text)

    async def hand_over(
        self, run_id: UUID | str, attempt: int, *, lease: timedelta, external_id: str, now: datetime | None = None
    ) -> TrainingRun:
        """Say which job of another engine carries out the attempt (in metadata), and lease it the run.

        The job may have reported already; then only its id is kept.
        """
        until = check.later(self._executor.moment(now), check.as_duration(lease, "lease"), "lease")
        text = check.as_text(external_id, "external_id", max_length=1000)
        return await self._transition("hand_over", run_id, attempt, until, text)

    async def complete(
        self,
        run_id: UUID | str,
        attempt: int,
        *,
        now: datetime | None = None,
        model_id: UUID | str | None = None,
        model_version: int | None = None,
        training_data_start: datetime | None = None,
        training_data_end: datetime | None = None,
        sample_count: int | None = None,
        performance_improvement: float | None = None,
        hyperparameters: Mapping[str, object] | None = None,
        feature_names: Sequence[str] = (),
        training_metrics: Mapping[str, float] | None = None,
        validation_metrics: Mapping[str, float] | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> TrainingRun:
        """End the run well: which version came out of it, and how good it is; *metadata* joins that of the run.

        ``performance_improvement`` is relative, positive = better (0.2 = the loss fell by 20%).
        """
        return await self._transition(
            "complete",
            run_id,
            attempt,
            self._executor.moment(now),
            None if model_id is None else check.as_uuid(model_id, "model_id"),
            None if model_version is None else check.as_int(model_version, "model_version", high=check.INT4_MAX),
            _optional_time(training_data_start, "training_data_start"),
            _optional_time(training_data_end, "training_data_end"),
            None if sample_count is None else check.as_int(sample_count, "sample_count"),
            None
            if performance_improvement is None
            else check.as_float(performance_improvement, "performance_improvement"),
            check.to_json(check.as_json_object(hyperparameters, "hyperparameters")),
            check.as_names(feature_names, "feature_names"),
            check.to_json(as_optional_metrics(training_metrics, "training_metrics")),
            check.to_json(as_optional_metrics(validation_metrics, "validation_metrics")),
            check.to_json(check.as_json_object(metadata, "metadata")),
        )

    async def fail(
        self,
        run_id: UUID | str,
        attempt: int,
        *,
        now: datetime | None = None,
        error_message: str,
        error_traceback: str | None = None,
    ) -> TrainingRun:
        """End the run badly, for good."""
        moment = self._executor.moment(now)
        return await self._transition("fail", run_id, attempt, moment, *_error(error_message, error_traceback))

    async def retry(
        self,
        run_id: UUID | str,
        attempt: int,
        *,
        run_after: datetime,
        error_message: str,
        error_traceback: str | None = None,
    ) -> TrainingRun:
        """Give up this attempt and let a later one try from *run_after* on; `ConflictError` where none is left."""
        moment = check.as_timestamp(run_after, "run_after")
        return await self._transition("retry", run_id, attempt, moment, *_error(error_message, error_traceback))

    async def hand_back(self, run_id: UUID | str, attempt: int, *, now: datetime | None = None) -> TrainingRun:
        """Return a run that was claimed and not worked on: another attempt is allowed in place of this one."""
        return await self._transition("hand_back", run_id, attempt, self._executor.moment(now))

    async def hand_back_unheard(
        self, worker: str, claimed_at: Iterable[datetime], *, now: datetime | None = None, held: Iterable[UUID] = ()
    ) -> None:
        """Return what claims have taken whose answer was lost, by the times (*now*) that `claim_many` was given.

        Parameters
        ----------
        held : iterable of UUID
            Runs that it has in hand: a clock that stands gives other claims the same time.
        """
        args = (
            check.as_text(worker, "worker", max_length=200),
            as_texts(check.as_timestamp(moment, "claimed_at") for moment in claimed_at),
            self._executor.moment(now),
            as_texts(_ids(held, "held")),
        )
        await self._executor.run(lambda connection: connection.execute(self._queries["hand_back_unheard"], *args))

    async def cancel(
        self, run_id: UUID | str, *, now: datetime | None = None, reason: str | None = None
    ) -> TrainingRun:
        """End an open run, whoever holds it; its worker learns of it at the next heartbeat."""
        number, moment = check.as_uuid(run_id, "run_id"), self._executor.moment(now)
        text = check.as_optional_text(reason, "reason")
        row = await self._executor.fetchrow(self._queries["cancel"], number, moment, text)
        return read_training_run(row) if row is not None else await self._refuse("cancel", number, None)

    async def fetch_run(self, run_id: UUID | str) -> TrainingRun:
        """The run of that id; `NotFoundError` where there is none."""
        number = check.as_uuid(run_id, "run_id")
        row = await self._executor.fetchrow(self._queries["fetch_run"], number)
        if row is None:
            raise NotFoundError(f"no training run {number}")
        return read_training_run(row)

    async def fetch_wish(self, run: TrainingRun) -> tuple[list[UUID], bool, bool]:
        """The alerts that want a run's version tested; whether that was started; whether the switch is off."""
        args = as_training_run(run).alert_id, run.machine_id, run.model_type, run.id
        row = await self._executor.fetchrow(self._queries["fetch_wish"], *args)
        assert row is not None
        return [UUID(number) for number in row["wanted_by"]], row["is_tested"], row["is_switched_off"]

    async def list_runs(
        self,
        *,
        model_type: str | None = None,
        machine_id: UUID | str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[TrainingRun]:
        """The runs, newest first."""
        args: list[object] = [*(read_cursor(cursor, parse_timestamp, UUID) or NEWEST), as_limit(limit) + 1]
        query = add_filters(
            self._queries["list_runs"],
            args,
            r__model_type=as_optional_model_type(model_type),
            r__machine_id=None if machine_id is None else check.as_uuid(machine_id, "machine_id"),
        )
        rows = await self._executor.fetch(query, *args)
        return make_page([read_training_run(row) for row in rows], limit, lambda run: (run.created_at, run.id))

    async def fetch_usual_duration(self, model_type: str, machine_id: UUID | str) -> timedelta | None:
        """The median duration of the slot's last 20 completed runs; None where there is none."""
        slot = check.as_uuid(machine_id, "machine_id"), check.as_text(model_type, "model_type")
        row = await self._executor.fetchrow(self._queries["fetch_usual_duration"], *slot)
        return None if row is None else cast(timedelta | None, row["duration"])

    async def fetch_outlook(
        self, model_type: str, machine_id: UUID | str
    ) -> tuple[timedelta | None, datetime | None, datetime | None]:
        """The usual duration; when a worker for the model type was seen last, and when one that has not stopped."""
        slot = check.as_uuid(machine_id, "machine_id"), check.as_text(model_type, "model_type")
        row = await self._executor.fetchrow(self._queries["fetch_outlook"], *slot)
        assert row is not None
        return row["duration"], row["seen_at"], row["working_at"]

    async def fail_expired(self, now: datetime | None = None) -> None:
        """Fail the runs whose last attempt stopped reporting; whoever claims or opens runs does so too."""
        moment = self._executor.moment(now)
        await self._executor.run(lambda connection: connection.execute(self._queries["fail_expired"], moment))

    async def _transition(self, name: str, run_id: UUID | str, attempt: int, *args: object) -> TrainingRun:
        number, holder = check.as_uuid(run_id, "run_id"), check.as_int(attempt, "attempt", low=1, high=check.INT4_MAX)
        row = await self._executor.fetchrow(self._queries[name], number, holder, *args)
        return read_training_run(row) if row is not None else await self._refuse(name, number, holder)

    async def _refuse(self, name: str, run_id: UUID, attempt: int | None) -> TrainingRun:
        run = await self.fetch_run(run_id)
        held = "" if attempt is None else f" by attempt {attempt}"
        raise ConflictError(
            f"cannot {name} run {run_id}{held}: it is {run.training_status}, attempt {run.attempt}", run
        )


def _ids(values: Iterable[UUID], argument: str) -> list[UUID]:
    return [check.as_uuid(value, argument) for value in check.as_items(values, argument)]


def _optional_time(value: datetime | None, argument: str) -> datetime | None:
    return None if value is None else check.as_timestamp(value, argument)


def _error(message: str, traceback: str | None) -> tuple[str, str | None]:
    return check.as_text(message, "error_message"), check.as_optional_text(traceback, "error_traceback")
