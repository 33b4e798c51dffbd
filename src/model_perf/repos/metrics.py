"""Evaluations and the deployments they belong to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from attrs import evolve

from model_perf import _validation as check
from model_perf.errors import ConflictError, InvalidInputError, NotFoundError
from model_perf.records import (
    METRIC_COLUMNS,
    Evaluation,
    Model,
    ModelRef,
    as_optional_model_type,
    as_ref,
)
from model_perf.repos._bulk import EvaluationColumns, RecordedBatch, copy_evaluations
from model_perf.repos._executor import Executor, as_texts
from model_perf.repos._judged import FleetEntry, Judgement, Point, SlotVersion, StoredEvaluation, StoredState
from model_perf.repos._page import (
    MAX_LIMIT,
    NEWEST,
    Page,
    as_limit,
    make_page,
    parse_int,
    parse_text,
    parse_timestamp,
    read_cursor,
)
from model_perf.repos._rows import (
    json_object,
    json_row,
    read_alert,
    read_evaluation,
    read_fleet_entry,
    read_model,
    read_point,
    read_slot_version,
    read_training_run,
)
from model_perf.sql import add_filters, load_queries
from model_perf.sql._connection import Connection, Row

MAX_POINTS = 10_000
"""Evaluations that a trend may have; more are no longer a picture that anybody looks at."""

MAX_PAIRED_POINTS = 200_000
"""Evaluations of both models that an A/B test may compare: one a minute for two months."""

THREAD_ROWS = 500
"""Rows from which they are read in a thread; below, the hop takes longer."""

LOST_RACES = 3
"""Compare-and-set losses after which a writer waits for its turn."""


class MetricsRepo:
    """Reads and writes ``model_performance_metrics``, ``models`` and ``model_drift_state``."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queries = load_queries("metrics", executor.schema)
        self._fail_expired = load_queries("training", executor.schema)["fail_expired"]

    async def record(
        self,
        evaluation: Evaluation,
        judge: Callable[[StoredState], Judgement],
        *,
        repeatable: bool = True,
        any_completeness: bool = False,
    ) -> StoredEvaluation:
        """Write an evaluation with the verdict that *judge* finds, its alerts and its training run: all or none.

        *judge* is pure and may be called again when another writer of the same deployment came first. With
        *any_completeness* a repeat may have another data_completeness: one that was looked up, not given.

        Raises
        ------
        ConflictError
            The id is there with another payload, or the model_id is known with another model_type.
        """

        async def read_judge_write(connection: Connection) -> StoredEvaluation:
            for _ in range(LOST_RACES):
                stored = await self._judge_and_write(connection, evaluation, judge, any_completeness)
                if stored is not None:
                    return stored
                self._executor.counters.races_lost += 1
            async with connection.transaction():
                await connection.fetchval(self._queries["lock_state"], *_key(evaluation.ref))
                stored = await self._judge_and_write(connection, evaluation, judge, any_completeness)
            if stored is None:
                raise ConflictError("other writers of this deployment kept coming first; repeat the call")
            return stored

        done = await self._executor.run(read_judge_write, repeatable=repeatable)
        self._executor.counters.recorded(done.is_new, not done.is_new, done.evaluation.created_at)
        return done

    async def record_many(self, columns: EvaluationColumns, now: datetime, *, repeatable: bool = True) -> RecordedBatch:
        """Write many evaluations with the verdict ``not_judged``, all or none, without duplicates."""

        async def copy(connection: Connection) -> RecordedBatch:
            return await copy_evaluations(connection, self._executor.schema, self._queries, columns, now)

        done = await self._executor.run(copy, transaction=True, repeatable=repeatable)
        self._executor.counters.recorded(done.n_inserted, done.n_repeated, now)
        return done

    async def rejudge(
        self,
        ref: ModelRef,
        judge_all: Callable[[Sequence[Evaluation], StoredState], tuple[list[Evaluation], Mapping[str, object]]],
        now: datetime,
        *,
        fingerprint: str,
    ) -> None:
        """Replace the state of a deployment by what *judge_all* makes of its history, oldest first.

        *judge_all* runs in a thread and returns the evaluations whose verdicts are to be written, and the state.
        *fingerprint* is that of the deployment's alert.
        """

        async def read_judge_write(connection: Connection) -> None:
            await connection.execute(self._queries["ensure_state"], *_key(ref), now)
            await connection.fetchval(self._queries["lock_state"], *_key(ref))
            stored = _read_state(await connection.fetchrow(self._queries["fetch_state"], *_key(ref)), ref)
            stored = evolve(stored, is_alerted=await connection.fetchval(self._queries["is_alerted"], fingerprint))
            rows = await connection.fetch(self._queries["list_history"], *_key(ref))
            if not rows:
                return
            judged, state = await asyncio.to_thread(lambda: judge_all([read_evaluation(row) for row in rows], stored))
            if judged:
                columns = await asyncio.to_thread(_verdict_columns, judged)
                await connection.execute(self._queries["update_verdicts"], *_key(ref), *columns)
            query, text = self._queries["update_state"], check.to_json(state)
            await connection.fetchrow(query, *_key(ref), stored.version, text, now)

        await self._executor.run(read_judge_write, transaction=True)

    async def change_state(
        self, ref: ModelRef, change: Callable[[Mapping[str, object]], Mapping[str, object]], now: datetime
    ) -> None:
        """Replace the state of a deployment by what *change* makes of it; nothing where there is none."""

        async def read_and_write(connection: Connection) -> None:
            await connection.fetchval(self._queries["lock_state"], *_key(ref))
            stored = _read_state(await connection.fetchrow(self._queries["fetch_state"], *_key(ref)), ref)
            if stored.version:
                text = check.to_json(change(stored.state))
                await connection.fetchrow(self._queries["update_state"], *_key(ref), stored.version, text, now)

        await self._executor.run(read_and_write, transaction=True)

    async def check_model_type(self, ref: ModelRef) -> None:
        """Refuse a model_id that is known with another model_type; one that is not known yet passes."""
        row = await self._executor.fetchrow(self._queries["fetch_model_type"], as_ref(ref).model_id)
        if row is not None and row["model_type"] != ref.model_type:
            raise _other_type(ref, row["model_type"])

    async def fetch_evaluation(self, ref: ModelRef, evaluation_id: UUID | str) -> Evaluation:
        """The evaluation of that id; `NotFoundError` where the deployment has none."""
        number = check.as_uuid(evaluation_id, "evaluation_id")
        row = await self._executor.fetchrow(self._queries["fetch_evaluation"], *_key(ref), number)
        if row is None:
            raise NotFoundError(f"no evaluation {number} of model {ref.model_id} version {ref.model_version}")
        return read_evaluation(row)

    async def fetch_latest(self, ref: ModelRef) -> Evaluation | None:
        """The newest evaluation of a deployment."""
        row = await self._executor.fetchrow(self._queries["fetch_latest"], *_key(ref))
        return None if row is None else read_evaluation(row)

    async def list_latest(self, *, limit: int = 100, cursor: str | None = None) -> Page[Evaluation]:
        """The newest evaluation of each slot (machine and model type), over its versions.

        A page is of *limit* slots; those that were registered and never evaluated leave it shorter.
        """
        after = read_cursor(cursor, UUID, parse_text) or [UUID(int=0), ""]
        rows = await self._executor.fetch(self._queries["list_latest"], as_limit(limit) + 1, *after)
        page = make_page(rows, limit, lambda row: (row["slot_machine_id"], row["slot_model_type"]))
        found = tuple(read_evaluation(row) for row in page.items if row["id"] is not None)
        return Page(items=found, next_cursor=page.next_cursor)

    async def list_evaluations(
        self, ref: ModelRef, *, since: datetime, until: datetime, limit: int = 100, cursor: str | None = None
    ) -> Page[Evaluation]:
        """The evaluations of a deployment dated within [since, until), newest first."""
        before = read_cursor(cursor, parse_timestamp, UUID) or NEWEST
        window = check.as_timestamp(since, "since"), check.as_timestamp(until, "until")
        rows = await self._executor.fetch(
            self._queries["list_evaluations"], *_key(ref), *window, *before, as_limit(limit) + 1
        )
        return make_page([read_evaluation(row) for row in rows], limit, lambda e: (e.evaluation_date, e.id))

    async def list_points(self, ref: ModelRef, *, since: datetime, until: datetime) -> list[Point]:
        """One deployment's series within [since, until), oldest first."""
        return await self._points("list_points", MAX_POINTS, *_key(ref), *_window(since, until))

    async def list_slot_points(
        self, model_type: str, machine_id: UUID, *, since: datetime, until: datetime
    ) -> list[Point]:
        """The series of all versions of a slot within [since, until), oldest first."""
        return await self._points("list_slot_points", MAX_POINTS, machine_id, model_type, *_window(since, until))

    async def list_pairs(
        self, model_a: ModelRef, model_b: ModelRef, *, since: datetime, until: datetime
    ) -> list[Point]:
        """The evaluations of both models on windows inside [since, until]."""
        arms = (model_a.model_id, model_a.model_version, model_b.model_id, model_b.model_version)
        window = _window(since, until)
        return await self._points("list_pairs", MAX_PAIRED_POINTS, model_a.machine_id, *arms, *window)

    async def register_model(
        self,
        ref: ModelRef,
        now: datetime,
        *,
        machine_name: str | None = None,
        version_label: str | None = None,
        training_data_end: datetime | None = None,
    ) -> Model:
        """Get or create a deployment; a name or date that is given replaces the one that was known."""
        query = self._queries["insert_model"]
        args = (*_key(ref), ref.model_type, machine_name, version_label, training_data_end, now)
        row = await self._executor.fetchrow(query, *args)
        assert row is not None
        if row["model_type"] != ref.model_type:
            raise _other_type(ref, row["model_type"])
        return read_model(row)

    async def register_label(
        self, slot: ModelRef, label: str, now: datetime, *, machine_name: str | None, training_data_end: datetime | None
    ) -> Model:
        """Get or create the deployment of a text version: the next integer of the slot, one caller at a time."""

        async def next_version(connection: Connection) -> Model:
            slot_key = (slot.machine_id, slot.model_type)
            await connection.execute(self._queries["lock_slot"], f"{slot_key[0]} {slot_key[1]}")
            known = await connection.fetch(self._queries["list_slot_models"], *slot_key)
            same = [row for row in known if row["version_label"] == label and row["model_id"] == slot.model_id]
            version = same[0]["model_version"] if same else max((r["model_version"] for r in known), default=0) + 1
            row = await connection.fetchrow(
                self._queries["insert_model"],
                slot.model_id,
                version,
                *(slot.machine_id, slot.model_type, machine_name, label, training_data_end, now),
            )
            assert row is not None
            return read_model(row)

        return await self._executor.run(next_version, transaction=True)

    async def list_models(
        self,
        *,
        model_type: str | None = None,
        machine_id: UUID | str | None = None,
        model_id: UUID | str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Model]:
        """The deployments, by model_id, version and machine."""
        after = read_cursor(cursor, UUID, parse_int, UUID) or [UUID(int=0), -1, UUID(int=0)]
        args: list[object] = [*after, as_limit(limit) + 1]
        query = add_filters(
            self._queries["list_models"],
            args,
            m__model_type=as_optional_model_type(model_type),
            m__machine_id=None if machine_id is None else check.as_uuid(machine_id, "machine_id"),
            m__model_id=None if model_id is None else check.as_uuid(model_id, "model_id"),
        )
        rows = await self._executor.fetch(query, *args)
        models = [read_model(row) for row in rows]
        return make_page(models, limit, lambda m: (m.ref.model_id, m.ref.model_version, m.ref.machine_id))

    async def list_fleet(
        self,
        *,
        model_type: str | None = None,
        machine_id: UUID | str | None = None,
        known_metrics: Iterable[str] = (),
        n_recent: int = 0,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> Page[FleetEntry]:
        """How the model of each slot is doing, by machine and model type, with *n_recent* values of its primary metric.

        The primary one is that of a policy with these *known_metrics*; those with a column are known to every policy.
        """
        after = read_cursor(cursor, UUID, parse_text) or [UUID(int=0), ""]
        n_values = check.as_int(n_recent, "n_recent", low=0, high=MAX_LIMIT)
        args: list[object] = [as_limit(limit) + 1, *after, list(known_metrics), n_values]
        query = add_filters(
            self._queries["list_fleet"],
            args,
            m__model_type=as_optional_model_type(model_type),
            m__machine_id=None if machine_id is None else check.as_uuid(machine_id, "machine_id"),
        )
        rows = await self._executor.fetch(query, *args)
        entries = [read_fleet_entry(row) for row in rows]
        return make_page(entries, limit, lambda entry: (entry.machine_id, entry.model_type))

    async def list_versions(self, model_type: str, machine_id: UUID | str, *, limit: int = 100) -> list[SlotVersion]:
        """The versions of a slot, newest first, each with its newest evaluation."""
        slot = check.as_uuid(machine_id, "machine_id"), check.as_text(model_type, "model_type")
        rows = await self._executor.fetch(self._queries["list_versions"], *slot, as_limit(limit))
        return [read_slot_version(row) for row in rows]

    async def list_newest_judged(self, model_type: str, machine_id: UUID | str, *, limit: int = 20) -> list[Evaluation]:
        """Of each version of a slot the newest evaluation that was judged, the version evaluated last first."""
        slot = check.as_uuid(machine_id, "machine_id"), check.as_text(model_type, "model_type")
        rows = await self._executor.fetch(self._queries["list_newest_judged"], *slot, as_limit(limit))
        return [read_evaluation(row) for row in rows]

    async def fetch_newest_version(self, model_id: UUID, machine_id: UUID) -> int | None:
        """The newest version of a model that is known on the machine, else on any; None where it is not known."""
        row = await self._executor.fetchrow(self._queries["fetch_newest_version"], model_id, machine_id)
        return None if row is None else int(row["model_version"])

    async def list_machine_names(self, machine_ids: Iterable[UUID]) -> dict[UUID, str]:
        """The names that machines were registered with."""
        rows = await self._executor.fetch(self._queries["list_machine_names"], as_texts(machine_ids))
        return {check.as_uuid(row["machine_id"], "machine_id"): row["machine_name"] for row in rows}

    async def _points(self, name: str, most: int, *args: object) -> list[Point]:
        rows = await self._executor.fetch(self._queries[name], *args, most + 1)
        if len(rows) > most:
            raise InvalidInputError(
                "since", f"the period has more than {most} evaluations; choose a shorter one with since and until"
            )
        if len(rows) < THREAD_ROWS:
            return [read_point(row) for row in rows]
        return await asyncio.to_thread(lambda: [read_point(row) for row in rows])

    async def _judge_and_write(
        self,
        connection: Connection,
        evaluation: Evaluation,
        judge: Callable[[StoredState], Judgement],
        any_completeness: bool,
    ) -> StoredEvaluation | None:
        """One read, one writing statement; None where another writer came in between."""
        ref = evaluation.ref
        stored = _read_state(await connection.fetchrow(self._queries["fetch_state"], *_key(ref)), ref)
        judgement = judge(stored)
        args = _record_args(judgement, stored.version)
        if judgement.wish is not None:
            # A run whose worker was lost in its last attempt would be taken for one under way.
            await connection.execute(self._fail_expired, judgement.evaluation.created_at)
        if judgement.alerts:
            wish = None if judgement.wish is None else check.to_json(judgement.wish)
            row = await connection.fetchrow(
                self._queries["record_with_alerts"],
                *(*args, check.to_json_array(judgement.alerts), wish),
            )
        elif judgement.recovered is not None:
            over = judgement.recovered
            row = await connection.fetchrow(
                self._queries["record_with_recovery"], *(*args, over.fingerprint, over.notes)
            )
        else:
            row = await connection.fetchrow(self._queries["record"], *args)
        assert row is not None
        if row["inserted"]:
            return StoredEvaluation(
                evaluation=judgement.evaluation,
                alert=None if row["alert"] is None else read_alert(json_row(row["alert"])),
                recovered=None if row["recovered"] is None else read_alert(json_row(row["recovered"])),
                training_run=None if row["run"] is None else read_training_run(json_row(row["run"])),
                is_new=True,
            )
        if row["same"] is None:
            return None
        existing = await self._read_repeat(connection, evaluation)
        if not (row["same"] or (any_completeness and _payload(existing) == _payload(evaluation))):
            raise ConflictError(
                f"evaluation {evaluation.id} is stored with other values; a corrected evaluation needs a new id",
                existing,
            )
        return StoredEvaluation(evaluation=existing, is_new=False)

    async def _read_repeat(self, connection: Connection, evaluation: Evaluation) -> Evaluation:
        key = (*_key(evaluation.ref), evaluation.evaluation_date, evaluation.id)
        row = await connection.fetchrow(self._queries["fetch_repeat"], *key)
        assert row is not None
        return read_evaluation(row)


def _key(ref: ModelRef) -> tuple[UUID, int, UUID]:
    as_ref(ref)
    return ref.model_id, ref.model_version, ref.machine_id


def _payload(evaluation: Evaluation) -> tuple[object, ...]:
    """What a repeat must have in common with the first call, short of what was looked up."""
    e = evaluation
    return e.ref, e.evaluation_start, e.evaluation_end, e.sample_count, dict(e.metrics)


def _read_state(row: Row | None, ref: ModelRef) -> StoredState:
    assert row is not None
    if row["model_type"] not in (None, ref.model_type):
        raise _other_type(ref, row["model_type"])
    return StoredState(
        version=row["version"] or 0, state=json_object(row["state"]), training_data_end=row["training_data_end"]
    )


def _other_type(ref: ModelRef, known: str) -> ConflictError:
    return ConflictError(
        f"model {ref.model_id} is known with model_type {known!r}, not {ref.model_type!r}; "
        "a model_id has one model_type"
    )


def _record_args(judgement: Judgement, version: int) -> tuple[object, ...]:
    e = judgement.evaluation
    further = {name: value for name, value in e.metrics.items() if name not in METRIC_COLUMNS}
    return (
        *_key(e.ref),
        *(e.evaluation_date, e.id, e.ref.model_type, e.evaluation_start, e.evaluation_end),
        *(e.sample_count, e.data_completeness),
        *(e.metrics.get(name) for name in METRIC_COLUMNS),
        check.to_json(further),
        *(e.drift_detected, e.drift_score, e.drift_threshold, check.to_json(e.drift_details), e.verdict),
        *(e.created_by, e.created_at, check.to_json(e.metadata)),
        version,
        check.to_json(judgement.state),
    )


def _verdict_columns(judged: Sequence[Evaluation]) -> tuple[Sequence[object], ...]:
    return (
        as_texts(e.evaluation_date for e in judged),
        as_texts(e.id for e in judged),
        as_texts(e.drift_detected for e in judged),
        as_texts(e.drift_score for e in judged),
        as_texts(e.drift_threshold for e in judged),
        [check.to_json(e.drift_details) for e in judged],
        [e.verdict for e in judged],
    )


def _window(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    return check.as_timestamp(since, "since"), check.as_timestamp(until, "until")
