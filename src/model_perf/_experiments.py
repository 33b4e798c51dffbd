"""A/B tests on observations: what is told goes into moments, looks at them are kept, and one of them concludes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import ArrayLike

from model_perf import _comparison
from model_perf import _validation as check
from model_perf._assignment import Unit
from model_perf._floats import length_of
from model_perf.errors import ConflictError, InvalidInputError
from model_perf.policy import MonitoringPolicy
from model_perf.records import ABTest, Evaluation, Look
from model_perf.repos import ABTestRepo
from model_perf.repos._executor import Executor
from model_perf.results import ABTestResult

if TYPE_CHECKING:
    from model_perf._ab_design import ABDesign, Guardrail
    from model_perf._observations import Cells
    from model_perf._observer import Observer
    from model_perf._sequential import Findings

THREAD_ROWS = 20_000
"""Observations from which they are merged in a thread."""
MOST_TESTS = 1000
"""Tests whose immutable part is remembered, so that observations need not ask for it."""


class DesignOptions(TypedDict, total=False):
    """What `start_ab_test` takes of the design of a test on observations.

    Attributes
    ----------
    direction : {"lower", "higher"}
        Which is better; default as the policy knows the metric.
    kind : {"mean", "binary"}
        Binary: each observation is 0 or 1.
    pairing : {"routed", "shadow"}
        Each unit is served by one model, or every item is scored by both (`observe_paired`).
    alpha : float
        Probability that equal models are ever told apart; default the policy's.
    planned_n : int
        Observations of both models together (shadow: pairs) by which a decision is wanted. Default: the expected
        samples of the directory, else 10,000.
    margin : float
        A difference, in the metric's unit, below which the models are equivalent.
    minimum_runtime : timedelta
        Before it nothing is decided: a whole week, where weekdays differ.
    guardrails : sequence of Guardrail, or mappings with metric, margin and direction
        What the better model may not harm.
    covariate : str
        Name of what is known of each observation before its assignment; of routed tests.
    cap : float
        Observations beyond +-cap count as +-cap.
    """

    direction: str
    kind: str
    pairing: str
    alpha: float
    planned_n: int
    margin: float | None
    minimum_runtime: timedelta
    guardrails: Sequence[Guardrail | Mapping[str, Any]]
    covariate: str
    cap: float


def make_test_design(
    metric: str | None,
    newest: Evaluation | None,
    duration: timedelta,
    policy: MonitoringPolicy,
    expected_n: int | None,
    options: DesignOptions,
) -> dict[str, object]:
    """What is fixed at a test's start, for observations and for evaluations."""
    from model_perf._ab_design import make_design

    if unknown := options.keys() - DesignOptions.__annotations__.keys():
        raise InvalidInputError(min(unknown), f"is no option; there are {', '.join(DesignOptions.__annotations__)}")
    if metric is None and newest is not None:
        metric = policy.primary_metric(newest.metrics)
    design = make_design(metric, policy, duration=duration, expected_n=expected_n, **options)
    return design.to_dict() | _comparison.plan(newest, duration, design.alpha)


class Observations:
    """The part of the facade that deals with observations."""

    def __init__(self, repo: ABTestRepo, executor: Executor, policy: MonitoringPolicy) -> None:
        self._repo, self._executor, self._policy = repo, executor, policy
        self._known: dict[UUID, tuple[ABTest, ABDesign]] = {}

    async def observe(
        self,
        test_id: UUID | str,
        arms: Sequence[str] | ArrayLike,
        values: ArrayLike,
        units: Sequence[Unit] | None,
        covariates: ArrayLike | None,
        metric: str | None,
        batch_id: UUID | str | None,
    ) -> bool:
        from model_perf._observations import as_metric, routed_cells

        test, design = await self._open(test_id, "routed", "observe_many")
        batch = _batch_of(batch_id, design, as_metric(design, metric))
        size, spread = length_of(values), np.random.default_rng().integers(1 << 30).item()

        def merge() -> Cells:
            return routed_cells(
                design, arms=arms, values=values, units=units, covariates=covariates, metric=metric, spread=spread
            )

        return await self._add(test.id, await _hop(merge, size), size, batch)

    async def observe_paired(
        self,
        test_id: UUID | str,
        y_true: ArrayLike,
        pred_a: ArrayLike,
        pred_b: ArrayLike,
        timestamps: Sequence[datetime] | None,
        metric: str | None,
        batch_id: UUID | str | None,
    ) -> bool:
        from model_perf._observations import as_metric, paired_cells

        test, design = await self._open(test_id, "shadow", "observe_paired")
        batch = _batch_of(batch_id, design, as_metric(design, metric))
        size, now = length_of(y_true), self._executor.moment()
        if timestamps is None and now >= test.test_end:
            return await self._add(test.id, {}, size, batch, now)  # refused there, and counted

        def merge() -> Cells:
            times = now if timestamps is None else timestamps
            return paired_cells(
                test, design, y_true=y_true, pred_a=pred_a, pred_b=pred_b, timestamps=times, metric=metric
            )

        return await self._add(test.id, await _hop(merge, size), size, batch)

    async def count_served(self, test_id: UUID | str, a: int, b: int, batch_id: UUID | str | None) -> bool:
        from model_perf._observations import SERVED, served_cells

        test, design = await self._open(test_id, "routed", "count_served")
        cells = served_cells(a, b)
        return await self._add(
            test.id, cells, sum(cell.n for cell in cells.values()), _batch_of(batch_id, design, SERVED)
        )

    def observer(self, test_id: UUID | str, flush_every_s: float, flush_at: int) -> Observer:
        from model_perf._observer import Observer

        number = check.as_uuid(test_id, "test_id")
        if self._executor.is_bound:
            raise InvalidInputError("observer", "writes beside the calls of a bound tracker; use observe_many() there")

        async def send(cells: Cells, n: int, batch_id: UUID) -> bool:
            return await self._add(number, cells, n, batch_id)

        return Observer(
            lambda: self._open(number, "routed", "observer"), send, flush_every_s=flush_every_s, flush_at=flush_at
        )

    async def look(self, test: ABTest, looks: tuple[Look, ...], now: datetime) -> ABTestResult | None:
        """The answer from observations; None where there are none, and evaluations decide."""
        from model_perf._ab_results import as_result, from_stored
        from model_perf._sequential import is_final

        taken = await self._take(test, looks, now)
        if taken is None:
            return from_stored(test, _metric(test), looks)
        findings, design = taken
        look = findings.look
        if test.test_status == "running" and is_final(look.decision, test, now):
            return await self._conclude(test, looks, findings, "model_perf", accept_other=True)
        # The effect as well: pairs that were told already enter it when their part of the test is over.
        seen = looks and (looks[-1].n_a, looks[-1].n_b, looks[-1].decision, looks[-1].effect)
        if test.test_status == "running" and seen != (look.n_a, look.n_b, look.decision, look.effect):
            await self._repo.add_look(test.id, look)
            looks = (*looks, look)
        return as_result(test, design.metric, findings, looks)

    async def conclude(
        self, test: ABTest, looks: tuple[Look, ...], now: datetime, by: str | None
    ) -> ABTestResult | None:
        """End a test by a last look; None where there are no observations."""
        taken = await self._take(test, looks, now)
        return None if taken is None else await self._conclude(test, looks, taken[0], by, accept_other=False)

    async def _take(self, test: ABTest, looks: tuple[Look, ...], now: datetime) -> tuple[Findings, ABDesign] | None:
        if test.test_status == "completed":
            return None
        rows = await self._repo.fetch_moments(test.id)
        if not rows:
            return None
        from model_perf._ab_design import ABDesign
        from model_perf._ab_results import read_cells
        from model_perf._observations import SERVED
        from model_perf._sequential import take_look

        design = ABDesign.from_dict(test.design, self._policy)
        findings = take_look(test, design, read_cells(rows), looks, now)
        if findings.look.decision != "invalid" and all(row["metric"] == SERVED for row in rows):
            return None  # units were served, and nothing was told of what came out
        return findings, design

    async def _conclude(
        self, test: ABTest, looks: Sequence[Look], findings: Findings, by: str | None, *, accept_other: bool
    ) -> ABTestResult:
        from model_perf._ab_results import as_result, from_stored, to_stored

        look, stored = findings.look, to_stored(findings)
        try:
            concluded = await self._repo.conclude_by_look(test.id, look, winner_metrics=stored, decided_by=by)
            looks = (*(each for each in looks if each.look_at < look.look_at), look)
        except ConflictError:
            # Another look came first, or it was cancelled; that stands. A second conclusion by hand is told so.
            if not accept_other:
                raise
            concluded, looks = await self._repo.fetch_with_looks(test.id)
        if concluded.test_status == "cancelled":
            return as_result(concluded, _metric(concluded), findings, looks)
        result = from_stored(concluded, _metric(concluded), looks)
        if result is None:  # concluded on evaluations meanwhile
            raise ConflictError(f"test {test.test_name!r} is {concluded.test_status}", concluded)
        return result

    async def _open(self, test_id: UUID | str, pairing: str, call: str) -> tuple[ABTest, ABDesign]:
        """The test and its design; whether it takes what *call* tells is known before anything is computed."""
        number = check.as_uuid(test_id, "test_id")
        known = self._known.get(number)
        if known is None:
            from model_perf._ab_design import ABDesign

            test = await self._repo.fetch(number)
            known = test, ABDesign.from_dict(test.design, self._policy)
            if len(self._known) >= MOST_TESTS:
                self._known.clear()
            self._known[number] = known
        test, design = known
        if self._executor.moment() < test.test_start:
            raise ConflictError(f"test {test.test_name!r} begins at {test.test_start.isoformat()}", test)
        if design.pairing != pairing:
            other = "observe_paired" if design.pairing == "shadow" else "observe_many"
            raise InvalidInputError("test_id", f"is a {design.pairing} test, which {call} does not tell; use {other}")
        return known

    async def _add(
        self, test_id: UUID, cells: Cells, n: int, batch_id: UUID | None, now: datetime | None = None
    ) -> bool:
        from model_perf._ab_results import to_rows

        return bool(n) and await self._repo.add_moments(test_id, to_rows(cells), n=n, batch_id=batch_id, now=now)


def _batch_of(batch_id: UUID | str | None, design: ABDesign, metric: str) -> UUID | None:
    """Rows have one id, and are told metric by metric: each telling is a batch of its own."""
    if batch_id is None:
        return None
    given = check.as_uuid(batch_id, "batch_id")
    return given if metric == design.metric else uuid5(given, metric)


async def _hop(work: Callable[[], Cells], size: int) -> Cells:
    return await asyncio.to_thread(work) if size > THREAD_ROWS else work()


def _metric(test: ABTest) -> str | None:
    metric = test.design.get("metric")
    return metric if isinstance(metric, str) else None
