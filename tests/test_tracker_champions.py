"""Champions by the facade: on record first, then the host is told; and the test of a new version against them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from tests.factories import make_evaluations, make_ref
from tests.trainings import FAST, PRESS, open_run, outcome, until_ended

from model_perf import (
    Alert,
    Champion,
    ConflictError,
    InvalidInputError,
    ModelPerformanceTracker,
    MonitoringPolicy,
    StorageError,
    TrainingRun,
)


async def test_promote_and_roll_back(tracker: ModelPerformanceTracker) -> None:
    """The version that serves is answered, with its history; the deployment is registered with it."""
    assert await tracker.champion("baseline", PRESS) is None
    first = await tracker.promote(make_ref(version=1), by="ana", replaces=0)
    second = await tracker.promote(make_ref(version=2), by="ana", replaces=first.champion)
    assert await tracker.champion("baseline", PRESS) == make_ref(version=2)
    back = await tracker.roll_back("baseline", PRESS, by="bo", reason="slow", replaces=second.champion)
    assert await tracker.champion("baseline", PRESS) == make_ref(version=1)
    history = (await tracker.champion_history("baseline", PRESS)).items
    assert history == (back.champion, second.champion, first.champion)
    assert len((await tracker.list_models()).items) == 2
    with pytest.raises(ConflictError) as conflict:
        await tracker.promote(make_ref(version=3), replaces=second.champion)
    assert conflict.value.existing == back.champion


async def test_a_model_of_another_type_is_not_promoted(tracker: ModelPerformanceTracker) -> None:
    """A model_id has one model_type."""
    await tracker.promote(make_ref())
    with pytest.raises(ConflictError):
        await tracker.promote(make_ref(model_type="other"))
    assert await tracker.champion("other", PRESS) is None


async def test_the_host_is_told_after_the_commit(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Each callback in turn, when others can see the record; a repeat tells again, with the same number."""
    told: list[tuple[str, int]] = []
    query = f"SELECT max(number) FROM {tracker.schema}.model_champions"

    @tracker.on_promotion
    async def first(champion: Champion) -> None:
        assert await pool.fetchval(query) == champion.number
        told.append((champion.action, champion.number))

    @tracker.on_promotion
    async def second(champion: Champion) -> None:
        told.append(("second", champion.number))

    assert (await tracker.promote(make_ref(version=1))).is_new
    repeat = await tracker.promote(make_ref(version=1))
    assert (repeat.is_new, repeat.callback_error) == (False, None)
    await tracker.promote(make_ref(version=2))
    await tracker.roll_back("baseline", PRESS)
    actions = [("promotion", 1), ("promotion", 1), ("promotion", 2), ("rollback", 3)]
    assert told == [pair for action in actions for pair in (action, ("second", action[1]))]


async def test_what_a_callback_raises_is_reported(
    tracker: ModelPerformanceTracker, caplog: pytest.LogCaptureFixture
) -> None:
    """The record stands, the other callbacks are called, and the answer says what failed."""
    told: list[int] = []

    @tracker.on_promotion
    async def broken(champion: Champion) -> None:
        raise ConnectionError("the router is away")

    @tracker.on_promotion
    async def sound(champion: Champion) -> None:
        told.append(champion.number)

    promotion = await tracker.promote(make_ref())
    assert promotion.callback_error == "ConnectionError: the router is away"
    assert (promotion.is_new, told) == (True, [1])
    assert await tracker.champion("baseline", PRESS) == make_ref()
    assert "on_promotion failed" in caplog.text


class Unspeakable(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (asyncio.CancelledError("by a router"), "RuntimeError: it was cancelled by a router"),
        (Unspeakable(), "Unspeakable: (its text cannot be had)"),
        (ExceptionGroup("routers", [OSError("a"), OSError("b")]), "ExceptionGroup: routers (2 sub-exceptions)"),
    ],
)
async def test_whatever_a_callback_does_the_promotion_is_answered(
    tracker: ModelPerformanceTracker, error: BaseException, told: str
) -> None:
    """Who promotes is not cancelled because a callback was, and hears what was recorded."""

    @tracker.on_promotion
    async def broken(champion: Champion) -> None:
        raise error

    promotion = await tracker.promote(make_ref())
    assert (promotion.is_new, promotion.callback_error) == (True, told)


async def test_who_promotes_can_be_cancelled(tracker: ModelPerformanceTracker) -> None:
    """A callback that hangs keeps nobody for ever: the record stands, and a repeat tells again."""
    told: list[int] = []

    @tracker.on_promotion
    async def hang(champion: Champion) -> None:
        told.append(champion.number)
        await asyncio.Event().wait()

    for is_repeat in (False, True):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await tracker.promote(make_ref())
        assert await tracker.champion("baseline", PRESS) == make_ref()
        assert told == [1] * (1 + is_repeat)


async def test_a_plain_function_is_told_too(tracker: ModelPerformanceTracker) -> None:
    """Nobody is told that it failed, though it was called; what cannot be called is refused at once."""
    told: list[int] = []
    tracker.on_promotion(lambda champion: told.append(champion.number))  # type: ignore[arg-type,return-value]
    assert (await tracker.promote(make_ref())).callback_error is None
    assert told == [1]
    with pytest.raises(InvalidInputError) as refused:
        tracker.on_promotion("load")  # type: ignore[arg-type]
    assert refused.value.argument == "callback"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("by", " "), ("by", "x" * 201), ("reason", "no\x00"), ("reason", "\ud800"), ("replaces", -1)),
        *(("replaces", True), ("replaces", 2**31), ("training_run_id", "seven"), ("ab_test_id", 7)),
    ],
)
async def test_a_promotion_that_is_refused_registers_nothing(
    tracker: ModelPerformanceTracker, argument: str, value: Any
) -> None:
    """The version would else be known, and the next label of its slot be another number."""
    with pytest.raises(InvalidInputError) as refused:
        await tracker.promote(make_ref(version=99), **{argument: value})
    assert refused.value.argument == argument
    assert (await tracker.list_models()).items == ()


async def test_who_comes_second_registers_nothing(tracker: ModelPerformanceTracker) -> None:
    """A promotion of a version that nobody knew, against a champion that serves no more."""
    await tracker.promote(make_ref(version=1), replaces=0)
    with pytest.raises(ConflictError):
        await tracker.promote(make_ref(version=99), replaces=0)
    assert [model.ref.model_version for model in (await tracker.list_models()).items] == [1]


async def test_the_champion_of_another_slot_is_no_number(tracker: ModelPerformanceTracker) -> None:
    """Both slots have a first champion: to know the one is not to know the other."""
    here = await tracker.promote(make_ref(version=1))
    there = await tracker.promote(make_ref("other", machine="lathe"))
    assert here.champion.number == there.champion.number
    for work in (
        tracker.promote(make_ref(version=2), replaces=there.champion),
        tracker.roll_back("baseline", PRESS, replaces=there.champion),
    ):
        with pytest.raises(InvalidInputError) as refused:
            await work
        assert refused.value.argument == "replaces"
    assert await tracker.champion("baseline", PRESS) == make_ref(version=1)


async def test_in_the_hosts_transaction_the_host_tells(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Nobody can tell after a commit that is not ours; rolled back, nothing was promoted."""
    told: list[int] = []

    @tracker.on_promotion
    async def tell(champion: Champion) -> None:
        told.append(champion.number)

    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert (await tracker.bind(connection).promote(make_ref())).is_new
        await transaction.rollback()
    assert (told, await tracker.champion("baseline", PRESS)) == ([], None)


async def test_a_challenge_tests_the_champion_against_the_new_version(tracker: ModelPerformanceTracker) -> None:
    """Started by hand from a completed run, which the test names."""
    tracker.trainer("baseline")(lambda run, context: outcome(version=2))
    run = await open_run(tracker)
    with pytest.raises(InvalidInputError, match="names no new version"):
        await tracker.start_challenge(run)
    async with tracker.worker(**FAST) as worker:
        await worker.drain()
    run = await tracker.training.fetch_run(run.id)
    assert await tracker.start_challenge(run) is None  # no champion
    await tracker.promote(make_ref(version=1))
    test = await tracker.start_challenge(run, duration=timedelta(days=7), metric="rmse")
    assert test is not None
    assert (test.model_a, test.model_b) == (make_ref(version=1), make_ref(version=2))
    assert (test.training_run_id, test.test_name) == (run.id, "version 2 against 1")
    assert await tracker.ab_tests.fetch(test.id) == test
    with pytest.raises(ConflictError):
        await tracker.start_challenge(run)
    await tracker.ab_tests.cancel(test.id)
    await tracker.promote(make_ref(version=2))
    assert await tracker.start_challenge(run) is None  # it serves already


@pytest.mark.parametrize("challenges", [True, False])
async def test_a_completed_run_challenges_if_the_policy_says_so(
    pool: asyncpg.Pool, schema: str, challenges: bool
) -> None:
    """By itself only then, and it never promotes."""
    tracker = ModelPerformanceTracker(pool, schema=schema, policy=MonitoringPolicy(challenge_champion=challenges))
    await tracker.migrate()
    await tracker.record_many(make_evaluations([10.0] * 3))
    await tracker.promote(make_ref(version=1))
    tracker.trainer("baseline")(lambda run, context: outcome(version=2))
    run = await open_run(tracker)
    async with tracker.worker(**FAST) as worker:
        await worker.drain()
    tests = (await tracker.ab_tests.list_tests()).items
    expected = [(run.id, "rmse")] if challenges else []
    assert [(test.training_run_id, test.design["metric"]) for test in tests] == expected
    assert await tracker.champion("baseline", PRESS) == make_ref(version=1)


async def _complete_by_hand(tracker: ModelPerformanceTracker, version: int = 2) -> TrainingRun:
    run = await open_run(tracker)
    assert (await tracker.training.claim("job", lease=timedelta(hours=1))) is not None
    return await tracker.complete_training(run.id, 1, outcome(version=version))


async def test_a_report_whose_answer_is_lost_starts_its_test(
    pool: asyncpg.Pool, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was completed and the connection broke: the second report finds it done, and goes on from there."""
    tracker = ModelPerformanceTracker(pool, schema=schema, policy=MonitoringPolicy(challenge_champion=True))
    await tracker.migrate()
    await tracker.promote(make_ref(version=1))
    run_call, lost = tracker._executor.run, list[TrainingRun]()

    async def lose_the_answer(work: Any, **options: Any) -> Any:
        answer = await run_call(work, **options)
        if isinstance(answer, TrainingRun) and answer.training_status == "completed" and not lost:
            lost.append(answer)
            raise StorageError("the connection was lost", retry_safe=True, outcome_unknown=True)
        return answer

    monkeypatch.setattr(tracker._executor, "run", lose_the_answer)
    tracker.trainer("baseline")(lambda run, context: outcome(version=2))
    run = await open_run(tracker)
    async with tracker.worker(**FAST) as worker:
        await worker.drain()
    [test] = (await tracker.ab_tests.list_tests()).items
    assert (test.training_run_id, len(lost)) == (run.id, 1)
    assert (await tracker.training.fetch_run(run.id)).attempt == 1


async def test_a_repeated_report_does_nothing_twice(pool: asyncpg.Pool, schema: str) -> None:
    """It gives the run as it is, and starts no second test, though the first is over; another version is refused."""
    tracker = ModelPerformanceTracker(pool, schema=schema, policy=MonitoringPolicy(challenge_champion=True))
    await tracker.migrate()
    await tracker.promote(make_ref(version=1))
    done = await _complete_by_hand(tracker)
    [test] = (await tracker.ab_tests.list_tests()).items
    await tracker.ab_tests.cancel(test.id)
    assert await tracker.complete_training(done.id, 1, outcome(version=2, sample_count=7)) == done
    assert len((await tracker.ab_tests.list_tests()).items) == 1
    for attempt, version in ((1, 3), (2, 2)):
        with pytest.raises(ConflictError):
            await tracker.complete_training(done.id, attempt, outcome(version=version))
    assert {model.ref.model_version for model in (await tracker.list_models()).items} == {1, 2}


async def test_a_run_that_made_the_champion_again_is_no_challenge(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """A trainer may find that the version which serves is the best: there is no other one to test it against."""
    await tracker.promote(make_ref(version=2))
    alert = await _complete_a_run_for(tracker, pool, '{"start_ab_test": true}')
    assert str(alert.auto_action["reason"]).endswith("there is no other champion to test it against")


async def _complete_a_run_for(tracker: ModelPerformanceTracker, pool: asyncpg.Pool, wish: str) -> Alert:
    """An alert with what a policy has written on it, after the run that it asked for is completed."""
    alert = await tracker.alerts.open_or_repeat(make_ref(), alert_type="own", severity="critical", message="look")
    await pool.execute(f"UPDATE {tracker.schema}.model_alerts SET auto_action = $1::text::jsonb", wish)
    run = await open_run(tracker)
    await pool.execute(f"UPDATE {tracker.schema}.model_training_history SET alert_id = $1", alert.id)
    tracker.trainer("baseline")(lambda run, context: outcome(version=2))
    async with tracker.worker(**FAST) as worker:
        await worker.drain()
    assert (await tracker.training.fetch_run(run.id)).alert_id == alert.id
    return await tracker.alerts.fetch(alert.id)


async def test_the_alert_that_asked_for_a_run_gets_its_test(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """If the policy wrote so on the alert; what was done stands there too, and in its log."""
    await tracker.promote(make_ref(version=1))
    alert = await _complete_a_run_for(tracker, pool, '{"action": "retrain", "start_ab_test": true}')
    [test] = (await tracker.ab_tests.list_tests()).items
    assert test.model_b == make_ref(version=2)
    reason = f"run {test.training_run_id} completed; test 'version 2 against 1' is started"
    expected = {"action": "retrain", "start_ab_test": True, "test_id": str(test.id), "reason": reason}
    found = dict(alert.auto_action or {})
    assert found.pop("acted_at") is not None
    assert (found, alert.auto_action_taken) == (expected, True)
    events = await pool.fetch(
        f"SELECT notes FROM {tracker.schema}.model_alert_events WHERE event = 'acted' ORDER BY id"
    )
    assert events[-1]["notes"] == reason


async def test_an_alert_is_told_why_there_is_no_test(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Without a champion there is nothing to test against."""
    alert = await _complete_a_run_for(tracker, pool, '{"action": "retrain", "start_ab_test": true}')
    assert str(alert.auto_action["reason"]).endswith(": there is no other champion to test it against")
    assert (await tracker.ab_tests.list_tests()).items == ()


async def test_what_is_switched_off_starts_no_test(pool: asyncpg.Pool, schema: str) -> None:
    """Neither for an alert nor by the policy; the alert says so."""
    tracker = ModelPerformanceTracker(pool, schema=schema, policy=MonitoringPolicy(challenge_champion=True))
    await tracker.migrate()
    await pool.execute(
        f"INSERT INTO {schema}.model_automation (machine_id, model_type, is_enabled, changed_at)"
        f" VALUES ('{PRESS}', 'baseline', false, now())"
    )
    await tracker.promote(make_ref(version=1))
    alert = await _complete_a_run_for(tracker, pool, '{"start_ab_test": true}')
    assert str(alert.auto_action["reason"]).endswith("no test is started: automation is switched off")
    assert (await tracker.ab_tests.list_tests()).items == ()


async def test_an_alert_that_wants_no_test_gets_none(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Retraining alone is not a test, and nothing is written on the alert."""
    await tracker.promote(make_ref(version=1))
    alert = await _complete_a_run_for(tracker, pool, '{"action": "retrain"}')
    assert (alert.auto_action, (await tracker.ab_tests.list_tests()).items) == ({"action": "retrain"}, ())


async def test_the_champion_is_the_version_in_service(tracker: ModelPerformanceTracker) -> None:
    """Though a newer version is known and evaluated; a directory that can say so has the last word elsewhere."""
    await tracker.promote(make_ref(version=1))
    await tracker.record_many(make_evaluations([10.0], ref=make_ref(version=2)))
    summary = await tracker.summary("baseline", PRESS)
    assert [(version.model_version, version.is_champion) for version in summary.versions] == [(2, False), (1, True)]
    assert summary.active is not None
    assert summary.active.model_version == 1
    ref = make_ref()
    found = await tracker.find_model(ref.model_id, model_type="baseline", machine_id=PRESS)
    assert found.model_version == 1
    await tracker.promote(make_ref(version=2))
    found = await tracker.find_model(ref.model_id, model_type="baseline", machine_id=PRESS)
    assert found.model_version == 2


async def test_a_challenge_that_cannot_start_fails_no_run(pool: asyncpg.Pool, schema: str) -> None:
    """Another test runs in the slot: the run is completed all the same."""
    tracker = ModelPerformanceTracker(pool, schema=schema, policy=MonitoringPolicy(challenge_champion=True))
    await tracker.migrate()
    await tracker.promote(make_ref(version=1))
    await tracker.start_ab_test(name="other", model_a=make_ref(version=1), model_b=make_ref(version=7))
    tracker.trainer("baseline")(lambda run, context: outcome(version=2))
    run = await open_run(tracker)
    async with tracker.worker(**FAST):
        await until_ended(tracker, run)
    assert (await tracker.training.fetch_run(run.id)).training_status == "completed"
    assert len((await tracker.ab_tests.list_tests()).items) == 1
