"""A/B tests of two versions: started once per slot, concluded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from model_perf import _validation as check
from model_perf.errors import ConflictError, InvalidInputError, NotFoundError
from model_perf.records import (
    DECISIONS,
    ABTest,
    Decision,
    Look,
    ModelRef,
    Winner,
    as_optional_model_type,
    as_ref,
    new_id,
)
from model_perf.repos._executor import Executor
from model_perf.repos._page import NEWEST, Page, as_limit, make_page, parse_timestamp, read_cursor
from model_perf.repos._rows import read_ab_test, read_looks
from model_perf.sql import add_filters, load_queries
from model_perf.sql._connection import Connection, Row

WINNERS: Mapping[Decision, Winner] = {"superior_a": "model_a", "superior_b": "model_b"}

SMALLEST_SHARE = 1e-12
"""Of the traffic: smaller ones no count can be held against."""


class ABTestRepo:
    """Reads and writes ``model_ab_tests``."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queries = load_queries("ab_tests", executor.schema)

    async def start(
        self,
        *,
        name: str,
        model_a: ModelRef,
        model_b: ModelRef,
        start: datetime,
        duration: timedelta,
        now: datetime | None = None,
        traffic_split: float = 0.5,
        design: Mapping[str, object] | None = None,
        created_by: str | None = None,
        metadata: Mapping[str, object] | None = None,
        training_run_id: UUID | str | None = None,
    ) -> ABTest:
        """Start a test in the slot of both models.

        Raises
        ------
        InvalidInputError
            A and B are the same version, or belong to different slots.
        ConflictError
            Another test runs in the slot; it is the error's ``existing``.
        """
        _check_arms(model_a, model_b)
        begin = check.as_timestamp(start, "start")
        row = await self._executor.fetchrow(
            self._queries["start"],
            new_id(),
            check.as_text(name, "name", max_length=200),
            model_a.model_type,
            model_a.machine_id,
            *(model_a.model_id, model_a.model_version, model_b.model_id, model_b.model_version),
            *(begin, check.later(begin, check.as_duration(duration, "duration"), "duration")),
            check.as_float(traffic_split, "traffic_split", low=SMALLEST_SHARE, high=1.0 - SMALLEST_SHARE),
            check.to_json(check.as_json_object(design, "design")),
            check.as_optional_text(created_by, "created_by", max_length=200),
            self._executor.moment(now),
            check.to_json(check.as_json_object(metadata, "metadata")),
            None if training_run_id is None else check.as_uuid(training_run_id, "training_run_id"),
        )
        assert row is not None
        test = read_ab_test(row)
        if not row["started"]:
            raise ConflictError(
                f"test {test.test_name!r} runs for this machine and model type until {test.test_end.isoformat()}; "
                "conclude or cancel it first",
                test,
            )
        return test

    async def fetch(self, test_id: UUID | str) -> ABTest:
        """The test of that id; `NotFoundError` where there is none."""
        number = check.as_uuid(test_id, "test_id")
        row = await self._executor.fetchrow(self._queries["fetch"], number)
        if row is None:
            raise NotFoundError(f"no A/B test {number}")
        return read_ab_test(row)

    async def list_active(
        self,
        *,
        model_type: str | None = None,
        machine_id: UUID | str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[ABTest]:
        """The running tests, newest first."""
        return await self._list("list_active", model_type, machine_id, limit, cursor)

    async def list_tests(
        self,
        *,
        model_type: str | None = None,
        machine_id: UUID | str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[ABTest]:
        """All tests, newest first."""
        return await self._list("list_tests", model_type, machine_id, limit, cursor)

    async def conclude(
        self,
        test_id: UUID | str,
        *,
        decision: Decision,
        reason: str,
        now: datetime | None = None,
        winner_metrics: Mapping[str, object] | None = None,
        decided_by: str | None = None,
    ) -> ABTest:
        """End a running test with its finding; of many callers one does, the others get a `ConflictError`."""
        number = check.as_uuid(test_id, "test_id")
        row = await self._executor.fetchrow(
            self._queries["conclude"],
            number,
            check.as_choice(decision, "decision", DECISIONS),
            check.as_text(reason, "reason"),
            WINNERS.get(decision, "no_winner"),
            check.to_json(check.as_json_object(winner_metrics, "winner_metrics")),
            check.as_optional_text(decided_by, "decided_by", max_length=200),
            self._executor.moment(now),
        )
        return read_ab_test(row) if row is not None else await self._refuse("conclude", number)

    async def add_moments(
        self,
        test_id: UUID,
        cells: Sequence[Mapping[str, object]],
        *,
        n: int,
        batch_id: UUID | str | None = None,
        now: datetime | None = None,
    ) -> bool:
        """Merge the moments of a batch of *n* observations into those of the test; False where the batch was in.

        Parameters
        ----------
        cells : sequence of mapping
            metric, arm, slot, n, mean, m2, m3, and covariate_mean, covariate_m2, covariate_cross or None.
        batch_id : UUID, optional
            Makes a repeat harmless.

        Raises
        ------
        ConflictError
            The test has ended: the batch is counted as late, once, and not merged.
        """
        batch = new_id() if batch_id is None else check.as_uuid(batch_id, "batch_id")
        args = (test_id, batch, self._executor.moment(now), n, check.to_json_array(cells))

        async def add(connection: Connection) -> Row | None:
            return await connection.fetchrow(self._queries["add_moments"], *args)

        row = await self._executor.run(add, repeatable=batch_id is not None)
        if row is None:
            raise NotFoundError(f"no A/B test {test_id}")
        if row["is_late"]:
            test = await self.fetch(test_id)
            end = (test.decided_at or test.test_end).isoformat()
            raise ConflictError(
                f"test {test.test_name!r} ended at {end}: {n} observations came late; they are counted in "
                "late_observations, and in nothing else",
                test,
            )
        return not row["is_repeat"]

    async def fetch_moments(self, test_id: UUID) -> Sequence[Row]:
        """The cells of a test, as `add_moments` takes them."""
        return await self._executor.fetch(self._queries["fetch_moments"], test_id)

    async def fetch_with_looks(self, test_id: UUID | str, *, limit: int = 200) -> tuple[ABTest, tuple[Look, ...]]:
        """A test and its newest looks, oldest first."""
        number = check.as_uuid(test_id, "test_id")
        row = await self._executor.fetchrow(self._queries["fetch_with_looks"], number, as_limit(limit))
        if row is None:
            raise NotFoundError(f"no A/B test {number}")
        return read_ab_test(row), read_looks(row["looks"])

    async def add_look(self, test_id: UUID, look: Look) -> None:
        """Keep a look at a running test."""
        await self._executor.fetchrow(self._queries["add_look"], test_id, *_look_args(look))

    async def conclude_by_look(
        self, test_id: UUID, look: Look, *, winner_metrics: Mapping[str, object], decided_by: str | None = None
    ) -> ABTest:
        """Keep a look and end the test by it, once; who comes second gets a `ConflictError`."""
        row = await self._executor.fetchrow(
            self._queries["conclude_by_look"],
            test_id,
            *_look_args(look),
            WINNERS.get(look.decision, "no_winner"),
            check.to_json(check.as_json_object(winner_metrics, "winner_metrics")),
            check.as_optional_text(decided_by, "decided_by", max_length=200),
        )
        return read_ab_test(row) if row is not None else await self._refuse("conclude", test_id)

    async def list_due(self, now: datetime | None = None) -> list[ABTest]:
        """The running tests that are past their end."""
        rows = await self._executor.fetch(self._queries["list_due"], self._executor.moment(now))
        return [read_ab_test(row) for row in rows]

    async def cancel(
        self, test_id: UUID | str, *, now: datetime | None = None, reason: str | None = None, by: str | None = None
    ) -> ABTest:
        """End a test without a finding."""
        number = check.as_uuid(test_id, "test_id")
        row = await self._executor.fetchrow(
            self._queries["cancel"],
            number,
            check.as_optional_text(reason, "reason"),
            check.as_optional_text(by, "by", max_length=200),
            self._executor.moment(now),
        )
        return read_ab_test(row) if row is not None else await self._refuse("cancel", number)

    async def _list(
        self, query: str, model_type: str | None, machine_id: UUID | str | None, limit: int, cursor: str | None
    ) -> Page[ABTest]:
        args: list[object] = [*(read_cursor(cursor, parse_timestamp, UUID) or NEWEST), as_limit(limit) + 1]
        text = add_filters(
            self._queries[query],
            args,
            t__model_type=as_optional_model_type(model_type),
            t__machine_id=None if machine_id is None else check.as_uuid(machine_id, "machine_id"),
        )
        rows = await self._executor.fetch(text, *args)
        return make_page([read_ab_test(row) for row in rows], limit, lambda test: (test.test_start, test.id))

    async def _refuse(self, name: str, test_id: UUID) -> ABTest:
        test = await self.fetch(test_id)
        raise ConflictError(f"cannot {name} test {test.test_name!r}: it is {test.test_status} already", test)


def _check_arms(model_a: ModelRef, model_b: ModelRef) -> None:
    as_ref(model_a, "model_a")
    as_ref(model_b, "model_b")
    if (model_a.model_id, model_a.model_version) == (model_b.model_id, model_b.model_version):
        raise InvalidInputError("model_b", "is the same version of the same model as model_a; compare two versions")
    for attribute in ("machine_id", "model_type"):
        of_a, of_b = getattr(model_a, attribute), getattr(model_b, attribute)
        if of_a != of_b:
            raise InvalidInputError("model_b", f"has {attribute} {of_b}, model_a has {of_a}; both need the same")


def _look_args(look: Look) -> tuple[object, ...]:
    return (
        *(look.look_at, look.n_a, look.n_b, look.decision, look.reason, look.effect, look.standard_error),
        *(look.confidence_low, look.confidence_high, look.pvalue, look.sample_ratio_pvalue),
    )
