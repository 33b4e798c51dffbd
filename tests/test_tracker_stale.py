"""Rounds of checks: which silence of a model is told, and when it is over."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from tests.factories import START, Clock, make_evaluation, make_id, make_ref
from tests.rounds import DAY, HOUR, evaluate, ids
from tests.writers import record

from model_perf import ModelPerformanceTracker


async def test_a_silent_model_is_told_once(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Not at three usual intervals, but after; once, in the words of its own rhythm."""
    await evaluate(timed, clock, range(5))
    clock.now = START + 8 * DAY
    assert (await timed.run_checks()).stale == ()
    clock.now += HOUR
    [alert] = (await timed.run_checks()).stale or ()
    assert (alert.alert_type, alert.severity, alert.model_version) == ("stale_model", "warning", 1)
    assert alert.alert_message == "baseline version 1: no evaluation for 73.0 h, the usual interval is 24.0 h"
    assert (alert.current_metric_value, alert.threshold_value, alert.baseline_metric_value) == (73.0, 72.0, 24.0)
    assert alert.alert_timestamp == clock.now
    clock.now += DAY
    assert (await timed.run_checks()).stale == ()
    assert await timed.active_alerts() == [alert]


async def test_two_evaluations_have_no_rhythm(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """How often is usual, two evaluations do not say; three do."""
    await evaluate(timed, clock, range(2))
    clock.now += 99 * DAY
    assert (await timed.run_checks()).stale == ()
    await evaluate(timed, clock, range(2, 3))
    clock.now += 4 * DAY
    assert len((await timed.run_checks()).stale or ()) == 1


async def test_evaluations_that_come_again_resolve_it(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """As recovered; the next silence is another alert."""
    await evaluate(timed, clock, range(5))
    clock.now += 4 * DAY
    first = ids((await timed.run_checks()).stale)
    await evaluate(timed, clock, range(9, 10))
    report = await timed.run_checks()
    assert ids(report.heard_again) == first
    resolved = await timed.alerts.fetch(first[0])
    assert (resolved.resolution, resolved.resolved_by) == ("recovered", "model_perf")
    assert report.stale == ()
    clock.now += 6 * DAY
    second = ids((await timed.run_checks()).stale)
    assert len(second) == 1
    assert second != first


async def test_what_somebody_resolved_stays_resolved(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """A model that is out of service is silent for good: told once, it is not told again."""
    await evaluate(timed, clock, range(5))
    clock.now += 4 * DAY
    [alert] = (await timed.run_checks()).stale or ()
    await timed.resolve_alert(alert.id, by="ana", note="out of service")
    clock.now += 4 * DAY
    report = await timed.run_checks()
    assert (report.stale, report.heard_again) == ((), ())


async def test_an_evaluation_of_the_future_is_no_sign_of_life(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """One wrong year hides neither the silence nor its end."""
    await evaluate(timed, clock, range(5))
    await record(timed, make_evaluation(day=3650))
    clock.now += 4 * DAY
    [alert] = (await timed.run_checks()).stale or ()
    assert (alert.current_metric_value, alert.baseline_metric_value) == (96.0, 24.0)
    await evaluate(timed, clock, range(9, 10))
    assert ids((await timed.run_checks()).heard_again) == [alert.id]


async def test_a_late_evaluation_is_a_sign_of_life(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Of a window before the last: the model is evaluated again, whatever came first."""
    await evaluate(timed, clock, range(5))
    clock.now += 4 * DAY
    [alert] = (await timed.run_checks()).stale or ()
    clock.now += HOUR
    await record(timed, make_evaluation(day=2, id=make_id("late"), metrics={"r_squared": 0.94}))
    assert ids((await timed.run_checks()).heard_again) == [alert.id]


async def test_the_slot_is_silent_and_not_the_old_version(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """A version that a newer one has replaced is not stale; the newer one has its rhythm from both."""
    await evaluate(timed, clock, range(5))
    await evaluate(timed, clock, range(5, 6), make_ref(version=2))
    clock.now += 2 * DAY
    assert (await timed.run_checks()).stale == ()
    clock.now += 2 * DAY
    [alert] = (await timed.run_checks()).stale or ()
    assert alert.model_version == 2


async def test_late_labels_are_no_silence(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """Evaluations of windows that ended ten days ago come daily: something is heard daily."""
    for day in range(12):
        clock.now = START + (day + 11) * DAY
        await record(timed, make_evaluation(day=day))
    assert (await timed.run_checks()).stale == ()


async def test_a_weekend_is_no_silence(timed: ModelPerformanceTracker, clock: Clock) -> None:
    """A model that is evaluated on workdays, an hour late: none of five weekends is told, a missed Monday is."""
    for day in range(33):
        if day % 7 < 5:  # the first of January 2024 was a Monday
            clock.now = START + (day + 1) * DAY + HOUR
            assert (await timed.run_checks()).stale == ()
            await record(timed, make_evaluation(day=day))
    clock.now = START + 36 * DAY + 2 * HOUR
    assert (await timed.run_checks()).stale == ()
    clock.now += 2 * DAY
    [alert] = (await timed.run_checks()).stale or ()
    assert (alert.threshold_value, alert.baseline_metric_value) == (108.0, 24.0)


@pytest.mark.parametrize(("minutes", "at_once"), [(60, True), (60, False), (5, True)])
async def test_the_windows_of_a_day_come_every_night(
    timed: ModelPerformanceTracker, clock: Clock, minutes: int, at_once: bool
) -> None:
    """In one call or in many: from the second night on the usual interval is a day, and a weekend is no silence."""
    span = timedelta(minutes=minutes)
    for day in (0, 1, 2, 3, 4, 7, 8):  # the first of January 2024 was a Monday
        clock.now = START + (day + 1) * DAY + 2 * HOUR
        if day > 1:
            assert (await timed.run_checks()).stale == ()
        starts = [START + day * DAY + i * span for i in range(DAY // span)]
        windows = [make_evaluation(evaluation_start=each, evaluation_end=each + span, id=uuid4()) for each in starts]
        for batch in [windows] if at_once else [[each] for each in windows]:
            clock.now += timedelta(seconds=1)
            await timed.record_many(batch)
    clock.now += 4 * DAY
    assert (await timed.run_checks()).stale == ()
    clock.now += HOUR
    [alert] = (await timed.run_checks()).stale or ()
    assert 95.9 < (alert.threshold_value or 0.0) < 96.5
    assert alert.alert_message.endswith("the usual interval is 24.0 h")
