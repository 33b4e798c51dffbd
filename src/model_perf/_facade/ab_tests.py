"""Is the new version better? Tests of two versions, on observations or from evaluations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Unpack
from uuid import UUID

from numpy.typing import ArrayLike

from model_perf import _comparison
from model_perf import _validation as check
from model_perf._facade.shared import THREAD_POINTS, Shared
from model_perf.errors import ConflictError, InvalidInputError, NotFoundError
from model_perf.records import ABTest, Decision, ModelRef, as_ref
from model_perf.results import ABTestResult

if TYPE_CHECKING:
    from model_perf._assignment import Arm, Unit
    from model_perf._experiments import DesignOptions, Observations
    from model_perf._observer import Observer


class ABTestCalls(Shared):
    """What the facade answers about tests of two versions."""

    _experiments: Observations | None

    async def start_ab_test(
        self,
        *,
        name: str,
        model_a: ModelRef,
        model_b: ModelRef,
        duration: timedelta = timedelta(hours=24),
        traffic_split: float = 0.5,
        metric: str | None = None,
        start: datetime | None = None,
        created_by: str | None = None,
        training_run_id: UUID | str | None = None,
        **options: Unpack[DesignOptions],
    ) -> ABTest:
        """Start a test of two versions: on observations (`observe_many`), or on evaluations of the same windows.

        A test with observations may be looked at at any time, one with evaluations looks once, at its end. ``design``
        of the answer is fixed from now on; it says how many windows the test will hold, whether that can decide
        anything, and where its planned_n comes from.

        Parameters
        ----------
        traffic_split : float
            Share of model_b, within (0, 1).
        metric : str, optional
            What decides; default: the primary metric that model_a's newest evaluation has. Of observations a metric
            that a single one has, as "mae" or one of the host's own.
        start : datetime, optional
            Default now.
        training_run_id : UUID or str, optional
            The run that made model_b.
        **options
            Of the design, as `model_perf.DesignOptions` lists them: direction, kind, pairing, alpha, planned_n, margin,
            minimum_runtime, guardrails, covariate, cap.
        """
        from model_perf._experiments import make_test_design

        for argument, arm in (("model_a", model_a), ("model_b", model_b)):
            as_ref(arm, argument)
            await self.metrics.check_model_type(arm)
        begin = self._executor.moment() if start is None else check.as_timestamp(start, "start")
        span = check.as_duration(duration, "duration")
        newest = await self.metrics.fetch_latest(model_a)
        expected = await self._lookups.expected_samples(model_a, begin, check.later(begin, span, "duration"))
        start_test = partial(
            self.ab_tests.start,
            name=name,
            model_a=model_a,
            model_b=model_b,
            start=begin,
            duration=span,
            traffic_split=traffic_split,
            design=make_test_design(metric, newest, span, self.policy, expected, options),
            created_by=created_by,
            training_run_id=training_run_id,
        )
        try:
            return await start_test()
        except ConflictError as conflict:
            running = conflict.existing
            if not isinstance(running, ABTest) or running.test_end > self._executor.moment():
                raise
        # It is past its end; somebody else may conclude or delete it in the same moment.
        with suppress(ConflictError, NotFoundError):
            await self.conclude_ab_test(running.id, by="model_perf")
        return await start_test()

    async def ab_test_results(self, test_id: UUID | str) -> ABTestResult:
        """What a test has found; the first look after its end concludes it, once.

        From observations each look that sees new ones is kept, and one that decides concludes the test. From
        evaluations the last windows are evaluated after they end, so that a look waits for them, one window's length at
        most.
        """
        now = self._executor.moment()
        test, looks = await self.ab_tests.fetch_with_looks(test_id)
        observed = await self._observations.look(test, looks, now)
        if observed is not None:
            return observed
        result = await self._compare(test, now)
        if test.test_status != "running" or not _comparison.is_due(result, now):
            return result
        return await self._conclude(result, result.decision, result.reason, "model_perf", accept_other=True)

    async def conclude_ab_test(self, test_id: UUID | str, *, by: str | None = None) -> ABTestResult:
        """End a test now, by the decision of a last look at its observations.

        From evaluations the decision is `undecided` before the end: its guarantee is for one look, at the end.
        """
        check.as_optional_text(by, "by", max_length=200)
        now = self._executor.moment()
        test, looks = await self.ab_tests.fetch_with_looks(test_id)
        observed = await self._observations.conclude(test, looks, now, by)
        if observed is not None:
            return observed
        result = await self._compare(test, now)
        if now >= test.test_end:
            return await self._conclude(result, result.decision, result.reason, by)
        early = f"concluded before its end ({test.test_end.isoformat()}) by {by or 'the host'}"
        return await self._conclude(result, "undecided", early, by)

    async def conclude_due_ab_tests(self) -> list[ABTestResult]:
        """Conclude every test that is past its end, each once; for a host's nightly job. Looks do it by themselves."""
        results = []
        for test in await self.ab_tests.list_due():
            with suppress(ConflictError, NotFoundError):  # somebody else ended or deleted it meanwhile
                results.append(await self.ab_test_results(test.id))
        return [result for result in results if result.test_status != "cancelled"]

    async def observe(
        self,
        test_id: UUID | str,
        arm: Arm,
        value: float,
        *,
        unit: Unit | None = None,
        covariate: float | None = None,
        metric: str | None = None,
        batch_id: UUID | str | None = None,
    ) -> bool:
        """Tell one outcome of an A/B test; see `observe_many`. A service tells many: by `observer`."""
        units = None if unit is None else [unit]
        covariates = None if covariate is None else [covariate]
        try:
            return await self._observations.observe(test_id, [arm], [value], units, covariates, metric, batch_id)
        except InvalidInputError as error:  # which speaks of columns
            if error.argument not in ("arms", "values", "covariates"):
                raise
            raise InvalidInputError(error.argument[:-1], str(error).removeprefix(f"{error.argument}: ")) from None

    async def observe_many(
        self,
        test_id: UUID | str,
        *,
        arms: Sequence[str] | ArrayLike,
        values: ArrayLike,
        units: Sequence[Unit] | None = None,
        covariates: ArrayLike | None = None,
        metric: str | None = None,
        batch_id: UUID | str | None = None,
    ) -> bool:
        """Tell outcomes of an A/B test, each of the model that served it; only their moments are kept.

        Parameters
        ----------
        arms : sequence of "a" and "b", shape (n,)
        values : array of float, shape (n,)
            Finite; 0 and 1 of a binary metric.
        units : sequence of str, int or UUID, shape (n,), optional
            What `assign` was asked with. Without them every row counts as a unit of its own.
        covariates : array of float, shape (n,), optional
            Where the design has one.
        metric : str, optional
            Default: the one that decides; else a guardrail.
        batch_id : UUID, optional
            Makes a repeat of the call harmless. The same rows may be told under it once for each metric.

        Returns
        -------
        bool
            False where the batch was in already, or is empty.

        Raises
        ------
        ConflictError
            The test has ended (the observations are counted as late, and not used), or has not begun.
        """
        return await self._observations.observe(test_id, arms, values, units, covariates, metric, batch_id)

    async def observe_paired(
        self,
        test_id: UUID | str,
        *,
        y_true: ArrayLike,
        pred_a: ArrayLike,
        pred_b: ArrayLike,
        timestamps: Sequence[datetime] | None = None,
        metric: str | None = None,
        batch_id: UUID | str | None = None,
    ) -> bool:
        """Tell items that both models scored (a test with ``pairing="shadow"``), in any order of time.

        Parameters
        ----------
        y_true, pred_a, pred_b : array of float, shape (n,)
            What came out, and what each model said; of the metrics mae, mse, accuracy and brier.
        timestamps : sequence of datetime, shape (n,), optional
            When each item was, within the test; default now. The dependence of neighbours is told by them.
        metric, batch_id
            As for `observe_many`.
        """
        return await self._observations.observe_paired(test_id, y_true, pred_a, pred_b, timestamps, metric, batch_id)

    async def count_served(
        self, test_id: UUID | str, *, a: int = 0, b: int = 0, batch_id: UUID | str | None = None
    ) -> bool:
        """Tell how many units each model served, whether their outcome is known yet or not.

        With it, outcomes that arrive for one model only are found: the planned split is held against both counts.
        """
        return await self._observations.count_served(test_id, a, b, batch_id)

    def observer(self, test_id: UUID | str, *, flush_every_s: float = 1.0, flush_at: int = 10_000) -> Observer:
        """A buffer for single outcomes, as ``async with tracker.observer(test.id) as observer``; see `Observer`.

        Parameters
        ----------
        flush_every_s : float
            Between two writes; what a killed process loses at most.
        flush_at : int
            Outcomes that are held one by one before they are merged into moments.
        """
        return self._observations.observer(test_id, flush_every_s, flush_at)

    @property
    def _observations(self) -> Observations:
        # Made at first use: most processes tell no observations, and need not load what merges them.
        if self._experiments is None:
            from model_perf._experiments import Observations

            self._experiments = Observations(self.ab_tests, self._executor, self.policy)
        return self._experiments

    async def _compare(self, test: ABTest, now: datetime) -> ABTestResult:
        found = _comparison.from_stored(test)
        if found is not None:
            return found
        points = await self.metrics.list_pairs(test.model_a, test.model_b, since=test.test_start, until=test.test_end)
        if len(points) < THREAD_POINTS:
            return _comparison.compare(test, points, self.policy, now)
        return await asyncio.to_thread(_comparison.compare, test, points, self.policy, now)

    async def _conclude(
        self,
        result: ABTestResult,
        decision: Decision,
        reason: str,
        by: str | None,
        *,
        accept_other: bool = False,
    ) -> ABTestResult:
        try:
            concluded = await self.ab_tests.conclude(
                result.test.id,
                decision=decision,
                reason=reason,
                winner_metrics=_comparison.to_stored(result),
                decided_by=by,
            )
        except ConflictError as conflict:
            # Another look came first; its finding stands. A second `conclude` by hand is told so.
            if not accept_other or not isinstance(conflict.existing, ABTest):
                raise
            concluded = conflict.existing
        return await self._compare(concluded, self._executor.moment())
