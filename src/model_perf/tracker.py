"""The facade: fetch, compute, store. No mathematics and no SQL in here; its length is its docstrings.

One class, since a host holds one object; its calls are in `_facade` by topic as well as here. What it computes lies in
`_judging`, `_trends`, `_comparison`, `_slot` and `_naming`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from os import PathLike
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack
from uuid import UUID

import numpy as np
from attrs import evolve
from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf._facade.ab_tests import ABTestCalls
from model_perf._facade.alerts import AlertCalls
from model_perf._facade.champions import ChampionCalls
from model_perf._facade.data_drift import DataDriftCalls
from model_perf._facade.notifications import NotificationCalls, as_channels
from model_perf._facade.operations import OperationsCalls
from model_perf._facade.shared import THREAD_POINTS
from model_perf._facade.training import TrainingCalls
from model_perf._judging import (
    alert_content,
    find_alarm,
    find_news,
    find_performance_wish,
    find_recovered,
    is_asked_for,
    judge_evaluation,
    performance_fingerprint,
    replay_stored,
    with_alert,
    with_verdict,
)
from model_perf._naming import name_slot
from model_perf._opening import Opening, close_pool, open_pool
from model_perf._slot import find_active
from model_perf._trainers import Trainers
from model_perf._trends import find_trend
from model_perf.directory import HostDirectory, Lookups
from model_perf.drift import DriftReport
from model_perf.errors import InvalidInputError, StorageError
from model_perf.evaluation import Average, Label
from model_perf.evaluation import evaluate as compute_metrics
from model_perf.policy import MonitoringPolicy
from model_perf.records import (
    NO_MACHINE,
    Evaluation,
    Model,
    ModelRef,
    as_ref,
)
from model_perf.repos import (
    ABTestRepo,
    AlertRepo,
    ChampionRepo,
    DriftRepo,
    FleetEntry,
    MetricsRepo,
    NotificationRepo,
    Page,
    RecordedBatch,
    TrainingRepo,
    WorkerRepo,
)
from model_perf.repos._batch import ColumnMapping, from_columns, from_records
from model_perf.repos._executor import Executor, PoolSource, utc_now
from model_perf.repos._judged import Judgement, Recovered, StoredState
from model_perf.results import (
    ImportReport,
    RecordedEvaluation,
    SlotSummary,
    Trend,
)
from model_perf.sql._connection import Connection, Pool
from model_perf.sql.migrate import SchemaStatus, migrate, read_status
from model_perf.sql.migrate import check as check_schema

if TYPE_CHECKING:
    from model_perf._dashboard import DashboardViews
    from model_perf._experiments import Observations
    from model_perf.notify import Channel


class TrackerOptions(TypedDict, total=False):
    """What the constructor takes beside the pool."""

    schema: str
    policy: MonitoringPolicy | None
    clock: Callable[[], datetime]
    acquire_timeout_s: float
    directory: HostDirectory | None
    channels: Sequence[Channel]


class ModelPerformanceTracker(
    DataDriftCalls, AlertCalls, NotificationCalls, ABTestCalls, TrainingCalls, ChampionCalls, OperationsCalls
):
    """Records how deployed models perform, judges it, and keeps everything in one PostgreSQL schema.

    Parameters
    ----------
    pool : asyncpg.Pool, or a function that returns it
        The host's own; left as it was found. A function is asked at each call, for pools born later.
    schema : str, default "model_perf"
        Where the tables are; nothing depends on search_path.
    policy : MonitoringPolicy, optional
        Every threshold and budget.
    clock : function returning an aware datetime, optional
        The time of everything that happens now.
    acquire_timeout_s : float, default 10
        Longest wait for a connection of the pool.
    directory : HostDirectory, optional
        What only the host knows: names of machines, versions in service, expected samples.
    channels : sequence of Channel, optional
        Who is told of alerts by `deliver_notifications`; see `model_perf.notify`.

    Attributes
    ----------
    metrics : MetricsRepo
    training : TrainingRepo
    ab_tests : ABTestRepo
    alerts : AlertRepo
    drift : DriftRepo
    notifications : NotificationRepo
    champions : ChampionRepo
    workers : WorkerRepo
    """

    def __init__(
        self,
        pool: PoolSource,
        *,
        schema: str = "model_perf",
        policy: MonitoringPolicy | None = None,
        clock: Callable[[], datetime] = utc_now,
        acquire_timeout_s: float = 10.0,
        directory: HostDirectory | None = None,
        channels: Sequence[Channel] = (),
    ) -> None:
        check.as_float(acquire_timeout_s, "acquire_timeout_s", low=0.001)
        if not callable(clock):
            raise InvalidInputError("clock", f"{clock!r} is not a function that gives the time")
        if not (policy is None or isinstance(policy, MonitoringPolicy)):
            raise InvalidInputError("policy", f"{policy!r} is not a MonitoringPolicy")
        self._channels = as_channels(channels)
        self._on_close = AsyncExitStack()
        executor = Executor(pool, schema, acquire_timeout_s=acquire_timeout_s, clock=clock)
        self._set_up(executor, policy, Lookups(directory))
        self._trainers, self._promotion_callbacks = Trainers(), []

    def _set_up(self, executor: Executor, policy: MonitoringPolicy | None, lookups: Lookups) -> None:
        self._executor = executor
        self._lookups = lookups
        self.policy = MonitoringPolicy() if policy is None else policy
        self.metrics = MetricsRepo(executor)
        self.training = TrainingRepo(executor)
        self.ab_tests = ABTestRepo(executor)
        self.alerts = AlertRepo(executor)
        self.drift = DriftRepo(executor)
        self.notifications = NotificationRepo(executor)
        self.champions = ChampionRepo(executor)
        self.workers = WorkerRepo(executor)
        self._experiments: Observations | None = None

    @classmethod
    def connect(
        cls,
        dsn: str | None = None,
        *,
        min_size: int = 1,
        max_size: int = 10,
        statement_cache_size: int = 100,
        **options: Unpack[TrackerOptions],
    ) -> Opening[ModelPerformanceTracker]:
        """A tracker with a pool of its own: ``async with`` it, or ``await`` it and ``close()`` it.

        Parameters
        ----------
        dsn : str, optional
            A connection URI; what it does not say comes from libpq's PGHOST, PGUSER, ...
        min_size, max_size : int
            Connections of the pool.
        statement_cache_size : int
            Prepared statements that a connection keeps; 0 behind PgBouncer in transaction mode.
        **options
            As for the constructor: schema, policy, clock, acquire_timeout_s, directory, channels.
        """

        async def open_tracker() -> ModelPerformanceTracker:
            pool = await open_pool(dsn, min_size, max_size, statement_cache_size)
            return await cls._on_own_pool(AsyncExitStack(), pool, options)

        return Opening(open_tracker)

    @classmethod
    def embedded(
        cls, path: str | PathLike[str] | None = None, **options: Unpack[TrackerOptions]
    ) -> Opening[ModelPerformanceTracker]:
        """A tracker on a real PostgreSQL from a wheel, migrated (extra ``embedded``).

        Parameters
        ----------
        path : str, optional
            Absolute directory to keep the data in; None = a temporary one, deleted at the end.
        **options
            As for the constructor: schema, policy, clock, acquire_timeout_s, directory, channels.
        """

        async def open_server() -> ModelPerformanceTracker:
            from model_perf.embedded import embedded_server

            async with AsyncExitStack() as on_close:
                server = await on_close.enter_async_context(embedded_server(path))
                tracker = await cls._on_own_pool(on_close, await open_pool(server.dsn), options)
                await tracker.migrate()
                tracker._on_close = on_close.pop_all()
                return tracker

        return Opening(open_server)

    @classmethod
    async def _on_own_pool(
        cls, on_close: AsyncExitStack, pool: Pool, options: TrackerOptions
    ) -> ModelPerformanceTracker:
        on_close.push_async_callback(close_pool, pool)
        try:
            tracker = cls(pool, **options)
        except BaseException:
            await on_close.aclose()
            raise
        tracker._on_close = on_close
        return tracker

    async def close(self) -> None:
        """Close what the tracker opened itself: its pool, its embedded server. A host's pool is not touched."""
        await self._on_close.aclose()

    @property
    def pool(self) -> Pool:
        """The pool in use."""
        return self._executor.pool

    @property
    def schema(self) -> str:
        """Where the tables are."""
        return self._executor.schema

    def bind(self, connection: Connection) -> ModelPerformanceTracker:
        """The same tracker inside the host's open transaction: its writes commit or vanish with the host's.

        One task at a time; each call is a savepoint, so that its failure leaves the transaction usable.
        """
        return self._on(self._executor.bind(connection))

    def _nest(self, connection: Connection) -> ModelPerformanceTracker:
        return self._on(self._executor.nest(connection))

    def _on(self, executor: Executor) -> ModelPerformanceTracker:
        other = object.__new__(type(self))
        other._on_close = AsyncExitStack()
        other._channels = self._channels
        # Inside a transaction the host is not asked: it could wait for what the transaction holds.
        other._set_up(executor, self.policy, Lookups(None))
        other._trainers, other._promotion_callbacks = self._trainers, self._promotion_callbacks
        return other

    @property
    def dashboard(self) -> DashboardViews:
        """What the views of a dashboard show, each by one call; no I/O."""
        from model_perf._dashboard import DashboardViews

        return DashboardViews(self, self._executor.moment)

    async def migrate(self) -> tuple[int, ...]:
        """Bring the schema up to date; the versions applied. See `model_perf.sql.migrate.migrate`."""
        return await self._executor.run_unchecked(lambda connection: migrate(connection, self.schema))

    async def check_schema(self) -> SchemaStatus:
        """Raise `SchemaError` unless the schema fits this library; needs SELECT only."""
        return await self._executor.run_unchecked(lambda connection: check_schema(connection, self.schema))

    async def read_status(self) -> SchemaStatus:
        """Which migrations the schema has, and why this library cannot work on it, if it cannot."""
        return await self._executor.run_unchecked(lambda connection: read_status(connection, self.schema))

    async def register_model(
        self,
        model_type: str,
        *,
        machine: str | None = None,
        machine_id: UUID | str | None = None,
        version: str | None = None,
        model_id: UUID | str | None = None,
        model_version: int | None = None,
        training_data_end: datetime | None = None,
    ) -> ModelRef:
        """Get or create a deployment, for teams without UUIDs.

        Parameters
        ----------
        machine, machine_id
            A name, which gives a UUID of its own and is kept, or a UUID; neither = no machine in particular.
        version, model_version
            A text ("2024.11.3", a git sha), which gets the next integer of the slot, or an integer; neither = 1.
        model_id : optional
            None derives one from model_type and machine.
        training_data_end : datetime, optional
            End of what this version learned from; evaluations of earlier windows are no baseline.
        """
        if version is not None and model_version is not None:
            raise InvalidInputError("version", "give a text version or a model_version, not both")
        slot, name = name_slot(model_type, machine, machine_id, model_id, 1 if model_version is None else model_version)
        end = None if training_data_end is None else check.as_timestamp(training_data_end, "training_data_end")
        now = self._executor.moment()
        if version is not None:
            label = check.as_text(version, "version", max_length=200)
            model = await self.metrics.register_label(slot, label, now, machine_name=name, training_data_end=end)
        else:
            model = await self.metrics.register_model(slot, now, machine_name=name, training_data_end=end)
        return model.ref

    async def list_models(
        self,
        *,
        model_type: str | None = None,
        machine_id: UUID | str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Model]:
        """The deployments, by model_id, version and machine."""
        return await self.metrics.list_models(model_type=model_type, machine_id=machine_id, limit=limit, cursor=cursor)

    async def find_model(
        self,
        model_id: UUID | str,
        *,
        model_type: str,
        machine_id: UUID | str | None = None,
        model_version: int | None = None,
    ) -> ModelRef:
        """The deployment that a caller means who need not know the version.

        Parameters
        ----------
        model_version : int, optional
            None asks the directory which version is in service, else takes the champion, else the newest known one.

        Raises
        ------
        InvalidInputError
            Nobody knows a version of the model.
        """
        ref = ModelRef(
            model_id=model_id, model_type=model_type, machine_id=machine_id, model_version=model_version or 0
        )
        if model_version is not None:
            return ref
        version = await self._lookups.model_version(ref.model_id)
        if version is None:
            version = await self.metrics.fetch_newest_version(ref.model_id, ref.machine_id)
        if version is None:
            raise InvalidInputError("model_version", f"no version of model {ref.model_id} is known; give one")
        return evolve(ref, model_version=version)

    async def machine_names(self, machine_ids: Iterable[UUID]) -> dict[UUID, str]:
        """The name of each machine: as the directory has it, else as it was registered, else its id."""
        wanted = list(dict.fromkeys(machine_ids))
        names = await self._lookups.machine_names(wanted)
        if missing := [number for number in wanted if number not in names]:
            names |= await self.metrics.list_machine_names(missing)
        return {number: names.get(number) or str(number) for number in wanted}

    async def fleet(
        self,
        *,
        model_type: str | None = None,
        machine_id: UUID | str | None = None,
        n_recent: int = 0,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> Page[FleetEntry]:
        """How the model of each slot (machine and model type) is doing, and what is open there.

        With the newest *n_recent* values of its primary metric: what it has been like.
        """
        page = await self.metrics.list_fleet(
            model_type=model_type,
            machine_id=machine_id,
            known_metrics=self.policy.metrics,
            n_recent=n_recent,
            limit=limit,
            cursor=cursor,
        )
        names = await self._lookups.machine_names({entry.machine_id for entry in page.items})
        if not names:
            return page
        return evolve(
            page, items=tuple(evolve(e, machine_name=names.get(e.machine_id, e.machine_name)) for e in page.items)
        )

    async def summary(self, model_type: str, machine_id: UUID | str | None = None) -> SlotSummary:
        """The versions of a slot, newest first, and which of them is in service."""
        machine = NO_MACHINE if machine_id is None else check.as_uuid(machine_id, "machine_id")
        versions = await self.metrics.list_versions(model_type, machine)
        in_service = {number: await self._lookups.model_version(number) for number in {v.model_id for v in versions}}
        return SlotSummary(
            model_type=model_type,
            machine_id=machine,
            versions=tuple(versions),
            active=find_active(versions, in_service),
        )

    async def record(
        self,
        ref: ModelRef,
        *,
        evaluation_start: datetime,
        evaluation_end: datetime,
        metrics: Mapping[str, float],
        sample_count: int | None = None,
        data_completeness: float | None = None,
        evaluation_date: datetime | None = None,
        evaluation_id: UUID | str | None = None,
        created_by: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> RecordedEvaluation:
        """Store an evaluation with its verdict, its alert and, if the policy says so, its training run: all or none.

        Parameters
        ----------
        evaluation_start, evaluation_end : datetime
            The window [start, end), with a time zone.
        metrics : mapping of str to float
            At least one; those without a known direction are stored and not judged.
        sample_count : int, optional
            Rows behind the metrics; None = unknown.
        data_completeness : float, optional
            Share of the expected rows that were there, 0 to 1. None asks the directory for the rows that were expected,
            and without sample_count for those that arrived.
        evaluation_date : datetime, optional
            Default evaluation_end.
        evaluation_id : UUID or str, optional
            Give your own to make a repeat of the call harmless: with the same id and evaluation_date it writes
            nothing twice.

        Raises
        ------
        InvalidInputError, ConflictError, SchemaError, StorageError
        """
        evaluation = Evaluation(
            ref=ref,
            evaluation_start=evaluation_start,
            evaluation_end=evaluation_end,
            metrics=metrics,
            sample_count=sample_count,
            data_completeness=data_completeness,
            evaluation_date=evaluation_date,
            id=evaluation_id,
            created_by=created_by,
            created_at=self._executor.moment(),
            metadata=metadata,
        )
        if data_completeness is None:
            evaluation = await self._look_up_completeness(evaluation)
        found: list[DriftReport] = []

        def judge(stored: StoredState) -> Judgement:
            report, judgement = judge_evaluation(evaluation, stored, self.policy)
            found[:] = [report]
            return judgement

        stored = await self.metrics.record(
            evaluation, judge, repeatable=evaluation_id is not None, any_completeness=data_completeness is None
        )
        report = found[0] if stored.is_new else DriftReport.from_dict(stored.evaluation.drift_details)
        return RecordedEvaluation(
            evaluation=stored.evaluation,
            drift=report,
            alert=stored.alert,
            training_run=stored.training_run,
            recovered=stored.recovered,
            is_new=stored.is_new,
        )

    async def record_many(
        self, evaluations: Sequence[Evaluation] | ColumnMapping, *, nan_as_missing: bool = False
    ) -> RecordedBatch:
        """Store many evaluations at once, all or none; verdict `not_judged`, no alert (see `judge`).

        Parameters
        ----------
        evaluations : sequence of Evaluation, or mapping of columns
            Columns are arrays, sequences or one value for all rows, named as the fields of `Evaluation`
            (``evaluation_id`` for its id), with a metric per column and further ones in a mapping ``metrics``.
            datetime64 is taken as UTC. Missing are None, masked entries and a dataframe's nulls (pandas': NaN).
        nan_as_missing : bool, default False
            Whether a NaN in a column of metrics means that the value is missing; else it is refused.
        """
        if isinstance(evaluations, Sequence):
            batch = await asyncio.to_thread(from_records, evaluations)
            has_ids = True
        elif hasattr(evaluations, "keys"):
            batch = await asyncio.to_thread(from_columns, evaluations, nan_as_missing=nan_as_missing)
            has_ids = "evaluation_id" in list(evaluations.keys())
        else:
            raise InvalidInputError("evaluations", f"{type(evaluations).__name__} is neither records nor columns")
        return await self.metrics.record_many(batch, self._executor.moment(), repeatable=has_ids)

    async def evaluate(
        self,
        ref: ModelRef,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        evaluation_start: datetime,
        evaluation_end: datetime,
        task: Literal["regression", "classification"] = "regression",
        y_score: ArrayLike | None = None,
        positive: Label | None = None,
        average: Average = "binary",
        data_completeness: float | None = None,
        evaluation_date: datetime | None = None,
        evaluation_id: UUID | str | None = None,
        created_by: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> RecordedEvaluation:
        """Compute the metrics of predictions in a thread, and `record` them with their number as sample_count.

        Parameters
        ----------
        y_true, y_pred : array, shape (n,)
            What was, and what the model said.
        task, y_score, positive, average
            As for `model_perf.evaluation.evaluate`.
        evaluation_start and the rest
            As for `record`.
        """

        def compute() -> tuple[dict[str, float], int]:
            metrics = compute_metrics(y_true, y_pred, task, y_score=y_score, positive=positive, average=average)
            return metrics, len(np.asarray(y_true))

        metrics, n = await asyncio.to_thread(compute)
        return await self.record(
            ref,
            evaluation_start=evaluation_start,
            evaluation_end=evaluation_end,
            metrics=metrics,
            sample_count=n,
            data_completeness=data_completeness,
            evaluation_date=evaluation_date,
            evaluation_id=evaluation_id,
            created_by=created_by,
            metadata=metadata,
        )

    async def judge(self, ref: ModelRef, since: datetime | None = None) -> list[DriftReport]:
        """Judge the evaluations of a deployment that `record_many` stored, in time order.

        Recomputes the charts from the whole history, newest evaluation per window, and writes a verdict to those
        evaluations from *since* on that have none. An alert is opened, and if the policy says so a training run, where
        one of those is critical that are newer than all that were judged before, and the good ones after it are too few
        for the alarm to be over. If the alarm is over by them, its alert is resolved.
        """
        start = None if since is None else check.as_timestamp(since, "since")

        def is_wanted(evaluation: Evaluation) -> bool:
            return evaluation.verdict == "not_judged" and (start is None or evaluation.evaluation_date >= start)

        async def judge_and_alert(connection: Connection) -> list[DriftReport]:
            bound = self._nest(connection)
            reports, alarm, over = await bound._replay(ref, is_wanted)
            if alarm is not None:
                await bound._open_alert(ref, alarm)
            elif over is not None:
                await bound.alerts.recover(over)
            return reports

        return await self._executor.run(judge_and_alert, transaction=True)

    async def rebuild_state(self, ref: ModelRef) -> None:
        """Recompute baseline and charts from what is stored: after a back-fill, or a change of policy."""
        await self._replay(ref, lambda _: False)

    async def trend(
        self,
        ref: ModelRef | None = None,
        *,
        model_type: str | None = None,
        machine_id: UUID | str | None = None,
        metric: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        days: float = 30,
    ) -> Trend:
        """How a metric developed within [since, until): of one deployment, or of all versions of a slot.

        Parameters
        ----------
        ref : ModelRef, optional
            One deployment; else give model_type (and machine_id) for all versions, a series each.
        metric : str, optional
            Default: the policy's primary metric among those that the evaluations have.
        since, until, days
            ``until`` defaults to now, ``since`` to *days* before it.
        """
        begin, end = self._period(since, until, days)
        if ref is not None:
            points = await self.metrics.list_points(as_ref(ref), since=begin, until=end)
        elif model_type is not None:
            machine = NO_MACHINE if machine_id is None else check.as_uuid(machine_id, "machine_id")
            kind = check.as_text(model_type, "model_type")
            points = await self.metrics.list_slot_points(kind, machine, since=begin, until=end)
        else:
            raise InvalidInputError("ref", "give a ModelRef, or model_type (and machine_id)")
        if len(points) < THREAD_POINTS:
            return find_trend(points, metric, begin, end, self.policy)
        return await asyncio.to_thread(find_trend, points, metric, begin, end, self.policy)

    async def check_drift(self, ref: ModelRef) -> DriftReport:
        """The verdict on the newest evaluation of a deployment, and beside it the newest one on its input.

        An evaluation that nobody has judged yet is judged first.
        """
        newest = await self.metrics.fetch_latest(ref)
        if newest is None or newest.ref.model_type != ref.model_type:
            await self.metrics.check_model_type(ref)
        if newest is not None and not newest.drift_details:
            await self.judge(ref)
            newest = await self.metrics.fetch_latest(ref) or newest
        if newest is None:
            performance = DriftReport.without_evaluations(self.policy)
        else:
            performance = DriftReport.from_dict(newest.drift_details)
        data = await self.drift.fetch_newest_report(ref)
        if data is None:
            return performance
        from model_perf import _data_drift

        return _data_drift.join(performance, data)

    async def import_earlier(
        self,
        source: str = "public",
        *,
        dry_run: bool = False,
        replace_with_views: bool = False,
        time_zone: str = "UTC",
    ) -> ImportReport:
        """Copy the four tables of an earlier installation, in batches, keeping ids; safe to repeat.

        A batch is a transaction of its own. The source is read only; two connections of the pool are used.

        Parameters
        ----------
        source : str
            Schema of the earlier installation.
        dry_run : bool
            Do everything in one transaction, and undo it.
        replace_with_views : bool
            If no row was rejected: rename the old tables to ``<name>_imported`` and put views in their place.
        time_zone : str
            Of the source's timestamps without a time zone.

        Raises
        ------
        NotFoundError
            The schema has none of the four tables.
        """
        # Done once in the life of a database: nobody else shall pay for the modules.
        from model_perf._copying import ImportOrder, import_all, read_zone
        from model_perf.repos.earlier import EarlierRepo

        if self._executor.is_bound:
            raise StorageError(
                "import_earlier() runs transactions of its own; call it on the tracker itself, not on bind()",
                retry_safe=True,
            )
        if check.as_text(source, "source") == self.schema:
            raise InvalidInputError("source", f"{source!r} is the schema of this tracker; give that of the old tables")
        order = ImportOrder(
            source=source,
            dry_run=dry_run,
            replace_with_views=replace_with_views,
            time_zone=time_zone,
            zone=read_zone(time_zone),
            now=self._executor.moment(),
        )
        await self.check_schema()
        return await import_all(EarlierRepo(self._executor), order)

    async def _look_up_completeness(self, evaluation: Evaluation) -> Evaluation:
        share = await self._lookups.completeness(
            evaluation.ref, evaluation.evaluation_start, evaluation.evaluation_end, evaluation.sample_count
        )
        return evaluation if share is None else evolve(evaluation, data_completeness=share)

    async def _replay(
        self, ref: ModelRef, is_wanted: Callable[[Evaluation], bool]
    ) -> tuple[list[DriftReport], DriftReport | None, Recovered | None]:
        """Recompute the charts and store the verdicts of the evaluations that are wanted.

        The verdicts, and if the newest evaluation has one of them: the one that opens an alert, and the alarm that is
        over.
        """

        def judge_all(
            history: Sequence[Evaluation], stored: StoredState
        ) -> tuple[list[Evaluation], Mapping[str, object]]:
            reports, state = replay_stored(history, stored, self.policy)
            pairs = [(e, report) for e, report in zip(history, reports, strict=True) if is_wanted(e)]
            judged.extend(report for _, report in pairs)
            news = find_news(reports, [is_wanted(e) for e in history])
            alarm.extend(find_alarm(news, state))
            over.extend(find_recovered(ref, state, self.policy) if news else ())
            is_alerted = stored.is_alerted or bool(alarm)
            return [with_verdict(e, report) for e, report in pairs], with_alert(state, is_alerted=is_alerted)

        judged: list[DriftReport] = []
        alarm: list[DriftReport] = []
        over: list[Recovered] = []
        number = performance_fingerprint(ref)
        await self.metrics.rejudge(ref, judge_all, self._executor.moment(), fingerprint=number)
        return judged, alarm[0] if alarm else None, over[0] if over else None

    async def _open_alert(self, ref: ModelRef, report: DriftReport) -> None:
        alert = await self.alerts.open_or_repeat(ref, **alert_content(ref, report))
        wish = find_performance_wish(ref, report, self.policy)
        if wish is not None and is_asked_for(alert, self._executor.moment()):
            await self.alerts.act(alert, wish)

    def _period(self, since: datetime | None, until: datetime | None, days: float) -> tuple[datetime, datetime]:
        end = self._executor.moment() if until is None else check.as_timestamp(until, "until")
        span = timedelta(days=check.as_float(days, "days", low=0.001, high=36_525))
        begin = check.later(end, -span, "days") if since is None else check.as_timestamp(since, "since")
        if begin >= end:
            raise InvalidInputError("since", f"{begin.isoformat()} is not before until {end.isoformat()}")
        return begin, end
