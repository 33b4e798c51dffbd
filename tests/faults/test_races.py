"""Of many who want the same, one gets it: triggers, conclusions, claims, leases, alerts."""

from __future__ import annotations

import asyncio
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import pytest
from tests.drift.detectors import stream
from tests.factories import START, make_evaluation, make_evaluations, make_ref
from tests.faults.states import BASELINE_DAYS, check_alert, check_state, learn_baseline
from tests.writers import (
    NOW,
    check_data,
    claim_all,
    conclude,
    feed_stream,
    observations,
    observe_parts,
    record,
    run_at_once,
    run_checks,
    trigger_retraining,
)

from model_perf import ABTest, ConflictError, ModelPerformanceTracker
from model_perf._ab_results import read_cells
from model_perf.aggregates import Aggregates
from model_perf.drift import CusumDetector

LEASE = timedelta(hours=1)
SHARES = (3, 3, 3, 3, 2, 2, 2, 2)
"""Twenty calls in eight processes."""


async def test_twenty_triggers_at_once_open_one_run(tracker: ModelPerformanceTracker) -> None:
    """Twenty tasks ask for a retraining of one slot: one opens the run, and all twenty are given it."""
    triggers = await asyncio.gather(*(tracker.trigger_retraining(model_type="baseline") for _ in range(20)))
    assert sum(each.triggered for each in triggers) == 1
    assert len({each.run.id for each in triggers}) == 1
    assert all(each.reason.startswith("already in progress") for each in triggers if not each.triggered)
    assert len((await tracker.training.list_runs()).items) == 1


async def test_twenty_triggers_from_eight_processes_open_one_run(
    processes: ProcessPoolExecutor, tracker: ModelPerformanceTracker, database: str
) -> None:
    """The same when the twenty come from eight processes."""
    work = [(database, tracker.schema, times) for times in SHARES]
    triggers = [each for answer in await run_at_once(processes, database, trigger_retraining, work) for each in answer]
    assert len(triggers) == 20
    assert sum(triggered for triggered, _ in triggers) == 1
    assert len({run_id for _, run_id in triggers}) == 1
    assert len((await tracker.training.list_runs()).items) == 1


async def test_of_twenty_conclusions_one_wins(tracker: ModelPerformanceTracker) -> None:
    """Twenty tasks conclude one A/B test: one does, nineteen are refused with the row that won."""
    test = await _start_test(tracker)

    async def try_to_conclude(i: int) -> ABTest | ConflictError:
        try:
            return await tracker.ab_tests.conclude(
                test.id, decision="undecided", reason=f"reason {i}", decided_by=str(i)
            )
        except ConflictError as error:
            return error

    answers = await asyncio.gather(*(try_to_conclude(i) for i in range(20)))
    won = [answer for answer in answers if isinstance(answer, ABTest)]
    lost = [answer for answer in answers if isinstance(answer, ConflictError)]
    assert (len(won), len(lost)) == (1, 19)
    assert await tracker.ab_tests.fetch(test.id) == won[0]
    assert all(error.existing == won[0] for error in lost)


async def test_of_twenty_conclusions_from_eight_processes_one_wins(
    processes: ProcessPoolExecutor, tracker: ModelPerformanceTracker, database: str
) -> None:
    """The same when the twenty come from eight processes."""
    test = await _start_test(tracker)
    work = [(database, tracker.schema, test.id, times) for times in SHARES]
    answers = [each for answer in await run_at_once(processes, database, conclude, work) for each in answer]
    assert (len(answers), sum(answers)) == (20, 1)


async def test_eight_workers_never_claim_the_same_run(
    processes: ProcessPoolExecutor, tracker: ModelPerformanceTracker, database: str
) -> None:
    """Eight processes claim until nothing is due: each of 60 runs once, in its first attempt."""
    opened = [
        (await tracker.training.open_run(model_type=f"type {i}", machine_id=UUID(int=0), now=START))[0].id
        for i in range(60)
    ]
    work = [(database, tracker.schema, f"worker {i}") for i in range(8)]
    claimed = await run_at_once(processes, database, claim_all, work)
    assert sorted(run_id for each in claimed for run_id in each) == sorted(opened)
    runs = (await tracker.training.list_runs()).items
    assert {(run.training_status, run.attempt) for run in runs} == {("running", 1)}


async def test_an_attempt_that_lost_its_lease_can_end_nothing(tracker: ModelPerformanceTracker) -> None:
    """Once a second worker holds the run, every transition of the first attempt is refused and changes nothing."""
    await tracker.training.open_run(model_type="baseline", machine_id=UUID(int=0), now=START)
    first = await tracker.training.claim("first", lease=LEASE, now=START)
    assert first is not None
    assert await tracker.training.claim("second", lease=LEASE, now=START + LEASE / 2) is None
    second = await tracker.training.claim("second", lease=LEASE, now=START + LEASE)
    assert second is not None
    assert (second.id, second.attempt) == (first.id, 2)
    training, late = tracker.training, START + LEASE * 1.5
    for call in (
        training.heartbeat(first.id, 1, lease=LEASE, now=late),
        training.complete(first.id, 1, now=late),
        training.fail(first.id, 1, error_message="slow", now=late),
        training.retry(first.id, 1, run_after=late, error_message="slow"),
        training.hand_back(first.id, 1, now=late),
    ):
        with pytest.raises(ConflictError, match="by attempt 1: it is running, attempt 2"):
            await call
    assert await training.fetch_run(first.id) == second
    assert (await training.complete(second.id, 2, now=late)).training_status == "completed"


async def test_twenty_critical_evaluations_at_once_open_one_alert(tracker: ModelPerformanceTracker) -> None:
    """Twenty tasks record a critical evaluation of one deployment: one alert is open and counts twenty."""
    ref = make_ref()
    await learn_baseline(tracker, ref)
    days = range(BASELINE_DAYS, BASELINE_DAYS + 20)
    stored = await asyncio.gather(
        *(record(tracker, make_evaluation(ref, day=day, metrics={"rmse": 30.0})) for day in days)
    )
    assert {each.drift.verdict for each in stored} == {"critical"}
    alerts = [each.alert for each in stored if each.alert is not None]
    assert len({alert.id for alert in alerts}) == 1
    assert sorted(alert.occurrences for alert in alerts) == list(range(1, 21))
    assert await check_alert(tracker, ref) == 20
    await check_state(tracker, ref, n=BASELINE_DAYS + 20)


async def test_eight_processes_do_what_is_due_once(
    processes: ProcessPoolExecutor, tracker: ModelPerformanceTracker, database: str
) -> None:
    """Twenty rounds in eight processes over fifty slots: each failure, silence, recovery and answer is told once."""
    refs = [make_ref(f"m{i}", machine=f"press {i}") for i in range(50)]
    await tracker.record_many([one for ref in refs for one in make_evaluations([1.0] * 5, ref=ref)])
    for ref in refs[:30]:
        await tracker.alerts.open_or_repeat(ref, alert_type="data_drift", severity="critical", message="m")
        await tracker.training.open_run(model_type="baseline", machine_id=ref.machine_id)
    while (run := await tracker.training.claim("w", lease=LEASE)) is not None:
        if run.machine_id in {ref.machine_id for ref in refs[:10]}:
            await tracker.training.fail(run.id, run.attempt, error_message="no rows")
        else:
            await tracker.training.complete(run.id, run.attempt)
    later = datetime.now(UTC) + timedelta(days=10)
    for now, expected in ((later, (10, 50, 0, 20)), (later + timedelta(days=1), (0, 0, 50, 0))):
        work = [(database, tracker.schema, times, now) for times in SHARES]
        answers = [each for answer in await run_at_once(processes, database, run_checks, work) for each in answer]
        assert tuple(sum(column) for column in zip(*answers, strict=True)) == expected
        newer = [one for ref in refs for one in make_evaluations([1.0], ref=ref, first_day=9)]
        await ModelPerformanceTracker(tracker.pool, schema=tracker.schema, clock=lambda: later + LEASE).record_many(
            newer
        )
    told = (await tracker.alerts.list_alerts(limit=1000)).items
    assert len(told) == 30 + 10 + 50
    assert {alert.occurrences for alert in told} == {1}
    for alert in told:
        events = [each.event for each in await tracker.alerts.list_events(alert.id)]
        assert events == (["opened", "resolved"] if alert.is_resolved else ["opened"])


async def _start_test(tracker: ModelPerformanceTracker) -> ABTest:
    return await tracker.ab_tests.start(
        name="old or new",
        model_a=make_ref(version=1),
        model_b=make_ref(version=2),
        start=NOW - timedelta(days=1),
        duration=timedelta(days=7),
        now=NOW,
    )


async def test_eight_processes_feed_one_stream(
    processes: ProcessPoolExecutor, tracker: ModelPerformanceTracker, database: str
) -> None:
    """All send the same batches, as after an outage nobody knows the end of: every value counts once."""
    detector, values = CusumDetector(mean=0.4, sd=0.25, run_length=200_000), stream(4000, missing=0.01)
    work = [(database, tracker.schema, make_ref(), detector.to_dict(), values.tolist(), 100) for _ in range(8)]
    new = await run_at_once(processes, database, feed_stream, work)
    assert sum(new) == 4000
    assert await tracker.stream(make_ref(), "error").fetch() == detector.update_many(values, range(4000))


async def test_a_window_checked_by_eight_processes_counts_once(
    processes: ProcessPoolExecutor, tracker: ModelPerformanceTracker, database: str
) -> None:
    """Eight processes check the same ten windows under the same ids: ten reports, and the alarm of ten windows."""
    ref = make_ref()
    await tracker.set_reference(ref, {"load": np.random.default_rng(0).normal(size=1000)})
    alone, together = make_ref("alone"), [(database, tracker.schema, ref, 10) for _ in range(8)]
    await tracker.set_reference(alone, {"load": np.random.default_rng(0).normal(size=1000)})
    answers = await run_at_once(processes, database, check_data, together)
    [expected] = await run_at_once(processes, database, check_data, [(database, tracker.schema, alone, 10)])
    assert answers == [expected] * 8
    reports = await tracker.drift.list_reports(ref, since=START, until=NOW)
    assert [each.alarm_value for each in reversed(reports.items)] == expected


async def test_eight_processes_observe_one_test(
    processes: ProcessPoolExecutor, tracker: ModelPerformanceTracker, database: str
) -> None:
    """All send the same batches in orders of their own: n is exact, mean and m2 right to 1e-8 at a mean of 1e9 sd."""
    a, b = make_ref(version=1), make_ref(version=2)
    test = await tracker.start_ab_test(name="n", model_a=a, model_b=b, metric="own", direction="lower")
    work = [(database, tracker.schema, test.id, seed, 100) for seed in range(8)]
    assert sum(await run_at_once(processes, database, observe_parts, work)) == 200
    arms, values, _ = observations()
    cells = read_cells(await tracker.ab_tests.fetch_moments(test.id))
    for arm in "ab":
        found = Aggregates.merged(moments for (_, which, _), moments in cells.items() if which == arm)
        own = values[arms == arm]
        assert found.n == own.size
        assert found.mean == pytest.approx(own.mean(), rel=1e-8)
        assert found.m2 == pytest.approx(float(np.sum((own - own.mean()) ** 2)), rel=1e-8)
