"""Training runs as a state machine, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.factories import START, make_id

from model_perf import ConflictError, InvalidInputError, ModelPerformanceTracker, NotFoundError
from model_perf.records import TrainingRun
from model_perf.repos import TrainingRepo

LEASE = timedelta(minutes=5)
PRESS, LATHE = make_id("machine press"), make_id("machine lathe")


@pytest.fixture
def training(bound: ModelPerformanceTracker) -> TrainingRepo:
    return bound.training


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


async def open_run(
    training: TrainingRepo, *, minutes: float = 0, machine_id: UUID = PRESS, **fields: Any
) -> TrainingRun:
    given: dict[str, Any] = {"model_type": "baseline", "machine_id": machine_id, "now": at(minutes)}
    run, triggered = await training.open_run(**given | fields)
    assert triggered
    return run


async def claim(training: TrainingRepo, minutes: float, worker: str = "w", **fields: Any) -> TrainingRun | None:
    return await training.claim(worker, lease=LEASE, now=at(minutes), **fields)


async def claimed(training: TrainingRepo, minutes: float = 1, worker: str = "w", **fields: Any) -> TrainingRun:
    run = await claim(training, minutes, worker, **fields)
    assert run is not None
    return run


async def test_open_keeps_every_field(training: TrainingRepo) -> None:
    """A run is read back as it was opened."""
    fields: dict[str, Any] = {
        "trigger_type": "scheduled",
        "reason": "näher am Optimum ☃",
        "triggered_by": "cron",
        "model_id": make_id("model"),
        "model_version": 3,
        "training_data_start": at(-100),
        "training_data_end": at(-10),
        "hyperparameters": {"depth": 3, "rate": 0.1, "kind": None},
        "max_attempts": 7,
        "run_after": at(30),
        "metadata": {"ticket": ["A", 1]},
    }
    run = await open_run(training, **fields)
    assert {name: getattr(run, name) for name in fields} == fields
    assert (run.training_status, run.attempt, run.created_at) == ("pending", 0, at(0))
    assert await training.fetch_run(str(run.id)) == run


async def test_a_second_open_gives_the_run_that_is_open(training: TrainingRepo) -> None:
    """One run per slot is open; who comes second is told which, and changes nothing of it."""
    first = await open_run(training, reason="first")
    again, triggered = await training.open_run(model_type="baseline", machine_id=PRESS, reason="second", now=at(1))
    assert (triggered, again) == (False, first)
    await open_run(training, machine_id=LATHE)
    await open_run(training, model_type="other")


async def test_of_twenty_opens_at_once_one_triggers(tracker: ModelPerformanceTracker) -> None:
    """Twenty callers open one run; all of them are told the same one."""
    training = tracker.training
    opened = await asyncio.gather(
        *(training.open_run(model_type="baseline", machine_id=PRESS, now=at(0)) for _ in range(20))
    )
    assert sum(triggered for _, triggered in opened) == 1
    assert len({run.id for run, _ in opened}) == 1


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
async def test_an_ended_run_frees_its_slot(training: TrainingRepo, end: str) -> None:
    """After complete, fail or cancel the slot takes a new run."""
    await open_run(training)
    run = await claimed(training)
    await END[end](training, run)
    assert (await open_run(training)).id != run.id


END: dict[str, Callable[[TrainingRepo, TrainingRun], Awaitable[TrainingRun]]] = {
    "heartbeat": lambda t, run: t.heartbeat(run.id, max(1, run.attempt), lease=LEASE, now=at(2)),
    "complete": lambda t, run: t.complete(run.id, max(1, run.attempt), now=at(2)),
    "fail": lambda t, run: t.fail(run.id, max(1, run.attempt), error_message="no data", now=at(2)),
    "retry": lambda t, run: t.retry(run.id, max(1, run.attempt), run_after=at(9), error_message="again"),
    "hand_back": lambda t, run: t.hand_back(run.id, max(1, run.attempt), now=at(2)),
    "cancel": lambda t, run: t.cancel(run.id, now=at(2), reason="not wanted"),
}

# Which transition is legal in which state, and where it leads.
LEGAL = {
    ("pending", "cancel"): "cancelled",
    ("running", "heartbeat"): "running",
    ("running", "complete"): "completed",
    ("running", "fail"): "failed",
    ("running", "retry"): "pending",
    ("running", "hand_back"): "pending",
    ("running", "cancel"): "cancelled",
}


async def reach(training: TrainingRepo, state: str) -> TrainingRun:
    run = await open_run(training)
    if state != "pending":
        run = await claimed(training)
    for end, reached in (("complete", "completed"), ("fail", "failed"), ("cancel", "cancelled")):
        if state == reached:
            run = await END[end](training, run)
    assert run.training_status == state
    return run


@pytest.mark.parametrize("transition", sorted(END))
@pytest.mark.parametrize("state", ["pending", "running", "completed", "failed", "cancelled"])
async def test_every_transition_in_every_state(training: TrainingRepo, state: str, transition: str) -> None:
    """A legal transition leads where the table says; any other is a conflict that carries the unchanged run."""
    run = await reach(training, state)
    expected = LEGAL.get((state, transition))
    if expected is not None:
        assert (await END[transition](training, run)).training_status == expected
        return
    with pytest.raises(ConflictError) as conflict:
        await END[transition](training, run)
    assert conflict.value.existing == run
    assert await training.fetch_run(run.id) == run


@pytest.mark.parametrize("transition", sorted(END))
async def test_an_unknown_run_is_not_found(training: TrainingRepo, transition: str) -> None:
    """A transition of a run that never was is a `NotFoundError`."""
    with pytest.raises(NotFoundError):
        await END[transition](training, await a_ghost(training))


async def a_ghost(training: TrainingRepo) -> TrainingRun:
    from attrs import evolve

    return evolve(await open_run(training), id=uuid4())


@pytest.mark.parametrize("transition", ["heartbeat", "complete", "fail", "retry", "hand_back"])
async def test_an_attempt_that_lost_its_lease_is_fenced_off(training: TrainingRepo, transition: str) -> None:
    """Once a later attempt holds the run, the earlier one may change nothing, and is told who holds it."""
    await open_run(training)
    lost = await claimed(training, 0, "slow")
    held = await claimed(training, 6, "fast")
    assert (held.id, held.attempt, held.worker) == (lost.id, 2, "fast")
    with pytest.raises(ConflictError) as conflict:
        await END[transition](training, lost)
    assert conflict.value.existing == held
    assert await training.fetch_run(held.id) == held


async def test_a_claim_handed_back_fences_like_any_other(training: TrainingRepo) -> None:
    """Who handed its claim back cannot end the claim of the next worker, though no attempt was counted."""
    await open_run(training)
    first = await claimed(training, 1, "a")
    await training.hand_back(first.id, first.attempt, now=at(2))
    second = await claimed(training, 3, "b")
    with pytest.raises(ConflictError):
        await training.hand_back(first.id, first.attempt, now=at(4))  # a repeat after a lost answer
    assert (await training.fetch_run(second.id)).worker == "b"


async def test_hand_back_does_not_count(training: TrainingRepo) -> None:
    """A run that is handed back any number of times still has all its attempts."""
    await open_run(training, max_attempts=2)
    for minutes in range(5):
        run = await claimed(training, minutes)
        run = await training.hand_back(run.id, run.attempt, now=at(minutes))
        assert (run.training_status, run.worker, run.lease_until) == ("pending", None, None)
    for minutes in (10, 20):
        run = await claimed(training, minutes)
        if minutes == 10:
            await training.retry(run.id, run.attempt, run_after=at(11), error_message="x")
    with pytest.raises(ConflictError):
        await training.retry(run.id, run.attempt, run_after=at(21), error_message="x")


async def test_a_run_can_be_handed_back_for_ever(training: TrainingRepo) -> None:
    """A run that a hundred workers gave back is still completed by the next one."""
    await open_run(training, max_attempts=100)
    for minutes in range(101):
        run = await claimed(training, minutes)
        await training.hand_back(run.id, run.attempt, now=at(minutes))
    run = await claimed(training, 200)
    assert (await training.complete(run.id, run.attempt, now=at(201))).training_status == "completed"


async def test_what_a_claim_has_taken_unheard_is_handed_back(training: TrainingRepo) -> None:
    """By its worker and its time: not what is in hand, nor what another claim has taken; no attempt is counted."""
    runs = [await open_run(training, machine_id=make_id(f"machine {i}")) for i in range(3)]
    for worker, minutes in (("w", 1), ("w", 2), ("other", 1)):
        assert await training.claim_many(worker, model_types=["baseline"], limit=1, lease=LEASE, now=at(minutes))
    await training.hand_back_unheard("w", [at(1)], now=at(3), held=[run.id for run in runs])
    assert [(await training.fetch_run(run.id)).training_status for run in runs] == ["running"] * 3
    await training.hand_back_unheard("w", [at(1), at(0)], now=at(3))
    stored = [await training.fetch_run(run.id) for run in runs]
    assert sorted((run.training_status, run.worker) for run in stored if run.worker) == [
        ("running", "other"),
        ("running", "w"),
    ]
    [back] = [run for run in stored if run.worker is None]
    assert (back.training_status, back.attempt, back.max_attempts, back.lease_until) == ("pending", 1, 4, None)


async def test_retry_only_while_an_attempt_is_left(training: TrainingRepo) -> None:
    """The last attempt cannot be retried; it stays running until it is ended."""
    await open_run(training, max_attempts=2)
    run = await claimed(training, 1)
    again = await training.retry(run.id, 1, run_after=at(10), error_message="disk full", error_traceback="Traceback")
    assert (again.training_status, again.run_after, again.error_message) == ("pending", at(10), "disk full")
    assert await claim(training, 9.9) is None
    last = await claimed(training, 10)
    with pytest.raises(ConflictError) as conflict:
        await training.retry(last.id, 2, run_after=at(20), error_message="disk full")
    assert conflict.value.existing == last


async def test_a_heartbeat_renews_the_lease(training: TrainingRepo) -> None:
    """A run whose worker reports is not taken by another; progress is kept where none is given."""
    await open_run(training)
    run = await claimed(training, 0)
    run = await training.heartbeat(run.id, 1, lease=LEASE, now=at(4), progress=0.5)
    assert (run.lease_until, run.progress) == (at(9), 0.5)
    assert await claim(training, 8) is None
    run = await training.heartbeat(run.id, 1, lease=LEASE, now=at(8))
    assert run.progress == 0.5
    assert (await claimed(training, 13)).attempt == 2


async def test_the_lease_ends_at_its_end(training: TrainingRepo) -> None:
    """At the very moment a lease ends the run can be claimed; a moment before it cannot."""
    await open_run(training)
    run = await claimed(training, 0)
    assert run.lease_until == at(5)
    assert await training.claim("w", lease=LEASE, now=at(5) - timedelta(microseconds=1)) is None
    assert (await claimed(training, 5)).attempt == 2


async def test_claim_takes_what_is_due_longest(training: TrainingRepo) -> None:
    """Runs are claimed in the order of run_after, never before it."""
    late = await open_run(training, run_after=at(20))
    early = await open_run(training, machine_id=LATHE, run_after=at(10))
    assert await claim(training, 9) is None
    assert [(await claimed(training, 30)).id for _ in range(2)] == [early.id, late.id]
    assert await claim(training, 30) is None


async def test_claim_can_ask_for_one_model_type(training: TrainingRepo) -> None:
    """A worker that knows one model type is given no other."""
    await open_run(training, model_type="forecast", run_after=at(0))
    wanted = await open_run(training, minutes=1)
    assert (await claimed(training, 5, model_type="baseline")).id == wanted.id
    assert await claim(training, 5, model_type="baseline") is None


async def test_two_workers_never_get_the_same_run(tracker: ModelPerformanceTracker) -> None:
    """Of eight claims at once on four runs each run goes to one worker."""
    training = tracker.training
    runs = {(await open_run(training, machine_id=make_id(f"machine {i}"))).id for i in range(4)}
    found = await asyncio.gather(*(claim(training, 1, f"w{i}") for i in range(8)))
    assert sorted(run.id for run in found if run is not None) == sorted(runs)


async def test_a_run_that_lost_its_last_lease_fails(training: TrainingRepo) -> None:
    """A worker that vanished in the last attempt does not block the slot: the run fails before the next is opened."""
    lost = await open_run(training, max_attempts=1)
    await claimed(training, 0)
    again, triggered = await training.open_run(model_type="baseline", machine_id=PRESS, now=at(4))
    assert (again.id, triggered) == (lost.id, False)
    new = await open_run(training, minutes=5)
    assert new.id != lost.id
    failed = await training.fetch_run(lost.id)
    assert (failed.training_status, failed.training_end) == ("failed", at(5))
    assert failed.error_message is not None
    assert "lease expired" in failed.error_message


async def test_claim_fails_what_expired(training: TrainingRepo) -> None:
    """Claiming, too, ends the runs whose last attempt is lost, and takes none of them."""
    lost = await open_run(training, max_attempts=1)
    await claimed(training, 0)
    assert await claim(training, 5) is None
    assert (await training.fetch_run(lost.id)).training_status == "failed"


async def test_complete_keeps_what_came_out(training: TrainingRepo) -> None:
    """The new version, its data and metrics are read back; what the opening said is kept where nothing new is said."""
    await open_run(training, hyperparameters={"depth": 3, "rate": 0.1}, training_data_start=at(-9), model_version=1)
    run = await claimed(training, 1)
    done = await training.complete(
        run.id,
        1,
        now=at(3),
        model_id=make_id("model"),
        model_version=2,
        sample_count=100,
        performance_improvement=-0.25,
        hyperparameters={"rate": 0.2},
        feature_names=["temperature", "Stunde ☃"],
        training_metrics={"rmse": 1.5},
        validation_metrics={"r_squared": -15.2},
    )
    assert (done.training_start, done.training_end, done.lease_until, done.progress) == (at(1), at(3), None, 1.0)
    assert done.hyperparameters == {"depth": 3, "rate": 0.2}
    assert (done.model_version, done.training_data_start) == (2, at(-9))
    assert done.feature_names == ("temperature", "Stunde ☃")
    assert (done.training_metrics, done.validation_metrics) == ({"rmse": 1.5}, {"r_squared": -15.2})
    assert done.performance_improvement == -0.25
    assert await training.fetch_run(run.id) == done


@pytest.mark.parametrize(
    ("argument", "fields"),
    [
        ("model_type", {"model_type": ""}),
        ("model_type", {"model_type": "a\0b"}),
        ("machine_id", {"machine_id": "press"}),
        ("model_id", {"model_id": 5}),
        ("model_version", {"model_version": True}),
        ("model_version", {"model_version": 2**31}),
        ("trigger_type", {"trigger_type": "sometimes"}),
        ("reason", {"reason": "\ud800"}),
        ("run_after", {"run_after": datetime(2024, 1, 1)}),  # noqa: DTZ001  (naive on purpose)
        ("training_data_end", {"training_data_end": "2024"}),
        ("hyperparameters.rate", {"hyperparameters": {"rate": float("nan")}}),
        ("metadata", {"metadata": [1]}),
        ("max_attempts", {"max_attempts": 0}),
        ("now", {"now": datetime(2024, 1, 1)}),  # noqa: DTZ001
    ],
)
async def test_open_refuses_by_name(training: TrainingRepo, argument: str, fields: dict[str, Any]) -> None:
    """What cannot be stored is refused by the argument's name, and no run is opened."""
    given: dict[str, Any] = {"model_type": "baseline", "machine_id": PRESS}
    with pytest.raises(InvalidInputError) as refused:
        await training.open_run(**given | fields)
    assert refused.value.argument == argument
    assert (await training.list_runs()).items == ()


@pytest.mark.parametrize("model_type", [5, "a\0b"])
async def test_a_filter_that_cannot_match_is_refused_by_name(training: TrainingRepo, model_type: Any) -> None:
    """A model_type that is no text is refused in filters as it is in records."""
    with pytest.raises(InvalidInputError, match="model_type"):
        await training.list_runs(model_type=model_type)
    with pytest.raises(InvalidInputError, match="model_type"):
        await training.claim("w", lease=LEASE, model_type=model_type)


@pytest.mark.parametrize("lease", [timedelta(0), timedelta(seconds=-1), 5, timedelta.max])
async def test_a_lease_has_an_end(training: TrainingRepo, lease: Any) -> None:
    """A lease that is not positive, no duration, or beyond all calendars is refused by name."""
    with pytest.raises(InvalidInputError) as refused:
        await training.claim("w", lease=lease, now=at(0))
    assert refused.value.argument == "lease"


@pytest.mark.parametrize("words", [("drift_detected", "drift"), ("performance_degradation", "degradation")])
async def test_the_longer_words_are_taken(training: TrainingRepo, words: tuple[str, str]) -> None:
    """Earlier clients' trigger types are stored as the contract's."""
    assert (await open_run(training, trigger_type=words[0])).trigger_type == words[1]


async def claim_many(training: TrainingRepo, minutes: float, limit: int, **options: Any) -> list[TrainingRun]:
    given: dict[str, Any] = {"model_types": ["baseline"], "lease": LEASE, "now": at(minutes)}
    return await training.claim_many("w", limit=limit, **given | options)


async def test_claim_many_takes_the_longest_due_of_its_types(training: TrainingRepo) -> None:
    """At most so many, oldest first, of the types that it can train, and none that is not due."""
    machines = [make_id(f"machine {i}") for i in range(4)]
    runs = [await open_run(training, minutes=i, machine_id=machine) for i, machine in enumerate(machines)]
    await open_run(training, model_type="other")
    await open_run(training, machine_id=LATHE, run_after=at(100))
    assert await claim_many(training, 5, 0) == []
    first = await claim_many(training, 5, 3)
    assert {run.id for run in first} == {run.id for run in runs[:3]}
    assert {(run.training_status, run.attempt, run.lease_until) for run in first} == {("running", 1, at(10))}
    assert [run.id for run in await claim_many(training, 5, 3)] == [runs[3].id]
    assert await claim_many(training, 5, 3) == []
    assert [run.model_type for run in await claim_many(training, 5, 9, model_types=["other", "third"])] == ["other"]


async def test_claim_many_leaves_what_is_in_hand(training: TrainingRepo) -> None:
    """Though its lease has run out, by this clock; another worker takes it."""
    await open_run(training)
    [run] = await claim_many(training, 1, 1)
    assert await claim_many(training, 60, 1, held=[run.id]) == []
    [again] = await claim_many(training, 60, 1, held=[make_id("another")])
    assert (again.id, again.attempt) == (run.id, 2)


async def test_upkeep_fails_what_nobody_reports_on(training: TrainingRepo) -> None:
    """A last attempt that died ends its run, of any model type, in the statement that claims."""
    lost = await open_run(training, model_type="other", max_attempts=1)
    await claim_many(training, 1, 1, model_types=["other"])
    await claim_many(training, 60, 1)
    assert (await training.fetch_run(lost.id)).training_status == "running"
    await claim_many(training, 60, 1, upkeep=True)
    failed = await training.fetch_run(lost.id)
    assert (failed.training_status, (failed.error_message or "").split(":")[0]) == ("failed", "lease expired")


async def test_fail_expired_by_itself(training: TrainingRepo) -> None:
    """For a job that looks after things: the slot is free again."""
    run = await open_run(training, max_attempts=1)
    await claimed(training)
    await training.fail_expired(at(2))
    assert (await training.fetch_run(run.id)).training_status == "running"
    await training.fail_expired(at(60))
    assert (await training.fetch_run(run.id)).training_status == "failed"


async def test_of_many_claims_at_once_none_gets_anothers_run(tracker: ModelPerformanceTracker) -> None:
    """Ten workers claim seven runs each, of fifty: each run is claimed once."""
    training = tracker.training
    for i in range(50):
        await open_run(training, machine_id=make_id(f"machine {i}"))
    claims = await asyncio.gather(*(claim_many(training, 1, 7) for _ in range(10)))
    ids = [run.id for found in claims for run in found]
    rest = await claim_many(training, 1, 50)  # those that a statement passed over while others had them locked
    assert len(ids) + len(rest) == len({*ids, *(run.id for run in rest)}) == 50
    assert max(map(len, claims)) <= 7


async def test_a_heartbeat_shortens_no_lease(training: TrainingRepo) -> None:
    """A clock that is put back says less than the lease has already."""
    await open_run(training)
    run = await claimed(training, 60)
    later = await training.heartbeat(run.id, run.attempt, lease=LEASE, now=at(0), progress=0.5, stage="fitting")
    assert (later.lease_until, later.progress, later.metadata["stage"]) == (at(65), 0.5, "fitting")
    later = await training.heartbeat(run.id, run.attempt, lease=LEASE, now=at(62))
    assert (later.lease_until, later.progress, later.metadata["stage"]) == (at(67), 0.5, "fitting")


async def test_the_next_attempt_begins_anew(training: TrainingRepo) -> None:
    """Stage, job and progress are those of an attempt; what the run was opened with stays."""
    await open_run(training, metadata={"ticket": 7})
    run = await claimed(training)
    await training.heartbeat(run.id, run.attempt, lease=LEASE, now=at(2), progress=0.5, stage="fitting")
    await training.hand_over(run.id, run.attempt, lease=LEASE, external_id="job 1", now=at(2))
    again = await claimed(training, 60)
    assert (again.attempt, again.progress, again.metadata) == (2, None, {"ticket": 7})


async def test_hand_over_leases_the_run_to_the_job(training: TrainingRepo) -> None:
    """For as long as it says; an attempt that has lost the run hands nothing over."""
    await open_run(training)
    run = await claimed(training)
    held = await training.hand_over(run.id, run.attempt, lease=timedelta(hours=2), external_id="job 1", now=at(2))
    assert (held.training_status, held.lease_until, held.metadata) == ("running", at(122), {"external_id": "job 1"})
    assert await claim(training, 100) is None
    again = await claimed(training, 130)
    with pytest.raises(ConflictError):
        await training.hand_over(run.id, run.attempt, lease=LEASE, external_id="late", now=at(131))
    assert (await training.fetch_run(again.id)).metadata == {}


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        *(("limit", {"limit": -1}), ("limit", {"limit": 1.5}), ("model_types", {"model_types": "baseline"})),
        *(("lease", {"lease": timedelta(0)}), ("worker", {"worker": ""})),
    ],
)
async def test_bad_claims_are_refused_by_name(training: TrainingRepo, argument: str, options: dict[str, Any]) -> None:
    """Before anything is claimed."""
    given: dict[str, Any] = {"worker": "w", "model_types": ["baseline"], "limit": 1, "lease": LEASE}
    with pytest.raises(InvalidInputError) as refused:
        await training.claim_many(**given | options)
    assert refused.value.argument == argument
