"""Retraining: who trains what, and what comes of a run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, Unpack
from uuid import UUID

from model_perf import _validation as check
from model_perf._facade.shared import Shared
from model_perf._slot import estimated_end, missing_worker
from model_perf._trainers import Trainer, Trainers
from model_perf.errors import InvalidInputError
from model_perf.records import NO_MACHINE, ABTest, TrainingRun, TriggerType, as_trigger_type
from model_perf.results import RetrainingTrigger

if TYPE_CHECKING:
    from model_perf._outcome import TrainingOutcome
    from model_perf._training import ChallengeOptions
    from model_perf.worker import Worker, WorkerOptions

F = TypeVar("F", bound=Callable[..., object])


class TrainingCalls(Shared):
    """What the facade does about training runs."""

    _trainers: Trainers

    async def trigger_retraining(
        self,
        *,
        model_type: str,
        machine_id: UUID | str | None = None,
        trigger_type: TriggerType | str = "manual",
        reason: str | None = None,
        triggered_by: str | None = None,
    ) -> RetrainingTrigger:
        """Open a training run, unless one is pending or running for that machine and model type."""
        machine, now = NO_MACHINE if machine_id is None else machine_id, self._executor.moment()
        usual, seen_at, working_at = await self.training.fetch_outlook(model_type, machine)
        run, triggered = await self.training.open_run(
            model_type=model_type,
            machine_id=machine,
            now=now,
            trigger_type=as_trigger_type(trigger_type),
            reason=reason,
            triggered_by=triggered_by,
            max_attempts=self.policy.max_attempts,
        )
        if triggered:
            answer = reason or f"triggered ({run.trigger_type})"
        else:
            answer = f"already in progress: run {run.id} is {run.training_status} since {run.created_at.isoformat()}"
        return RetrainingTrigger(
            triggered=triggered,
            reason=answer,
            run=run,
            estimated_completion=estimated_end(run, usual, now),
            workers_seen_at=seen_at,
            notice=missing_worker(run, seen_at, working_at, now),
        )

    def trainer(self, model_type: str) -> Callable[[F], F]:
        """Register the function that trains a model type, as ``@tracker.trainer("baseline")``; see `worker`.

        It is called with the `TrainingRun` and a `TrainingContext`, and returns a `TrainingOutcome`. An ``async def``
        runs on the worker's event loop, a ``def`` in a thread of its own.
        """

        def register(function: F) -> F:
            self._trainers.add(model_type, Trainer(function=function))
            return function

        return register

    def dispatcher(self, model_type: str, *, lease_s: float = 3600.0) -> Callable[[F], F]:
        """Register a function that hands the runs of a model type over to the host's own engine.

        It is called with the `TrainingRun` and returns the id of the job, as text. The job reports by the run's id and
        attempt: `complete_training`, `fail_training`, and `TrainingRepo.heartbeat` before the lease ends.

        Parameters
        ----------
        lease_s : float
            Time that the job has to report, queueing included; then the run is handed over again, as a new attempt.
        """
        lease = timedelta(seconds=check.as_float(lease_s, "lease_s", low=0.1, high=1e7))

        def register(function: F) -> F:
            self._trainers.add(model_type, Trainer(function=function, external_lease=lease))
            return function

        return register

    def worker(self, **options: Unpack[WorkerOptions]) -> Worker:
        """A worker that carries out the runs of the registered model types, as ``async with tracker.worker():``.

        Parameters
        ----------
        **options
            concurrency, lease_s, poll_s, timeout_s, grace_s, backoff_s, max_backoff_s, name; see `WorkerOptions`.
        """
        from model_perf.worker import Worker

        if self._executor.is_bound:
            raise InvalidInputError("worker", "outlives the transaction of a bound tracker; use the tracker itself")
        return Worker(self._whole, self._trainers, **options)

    async def complete_training(self, run_id: UUID | str, attempt: int, outcome: TrainingOutcome) -> TrainingRun:
        """End an attempt well and register its version, both or neither; the worker's report, and any job's.

        ``performance_improvement`` follows from the validation metrics of both versions: relative, positive = better,
        by the policy's primary metric among those that both have; None where there is none.

        A repeat, as after a lost answer, gives the run as it was completed.

        Raises
        ------
        ConflictError
            Another attempt has the run, or it has ended otherwise.
        """
        from model_perf import _training

        return await _training.complete(self._whole, run_id, attempt, outcome)

    async def fail_training(
        self,
        run_id: UUID | str,
        attempt: int,
        error: BaseException | str,
        *,
        is_final: bool = False,
        delay: timedelta | None = None,
    ) -> TrainingRun:
        """End an attempt badly: the run waits for another one, if one is left, else it has failed.

        Parameters
        ----------
        error : exception or str
            Its message and traceback are kept.
        is_final : bool
            Another attempt would fail as well.
        delay : timedelta, optional
            Before the next attempt; default 10 s, doubled with each one up to 10 minutes, with jitter.
        """
        from model_perf import _training

        return await _training.fail(self._whole, run_id, attempt, error, is_final=is_final, delay=delay)

    async def start_challenge(self, run: TrainingRun, **options: Unpack[ChallengeOptions]) -> ABTest | None:
        """Test the champion of a slot (model_a) against the version that a completed run made (model_b).

        None where there is no champion, or the version is it. With `MonitoringPolicy.challenge_champion` each completed
        run does this.

        Parameters
        ----------
        **options
            As for `start_ab_test`, the models apart.
        """
        from model_perf import _training

        return await _training.challenge(self._whole, run, options)
