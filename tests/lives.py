"""An installation that has run for 200 days: something of every kind, some of it over, some of it not."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from tests.factories import START, Clock, make_evaluation, make_id, make_ref
from tests.writers import noisy_evaluation, record

from model_perf import ModelPerformanceTracker, ModelRef, MonitoringPolicy

DAYS = 200
LEASE = timedelta(hours=1)
POLICY = MonitoringPolicy(retrain_on=("critical",))


def on_day(day: float) -> datetime:
    return START + timedelta(days=day)


async def live(tracker: ModelPerformanceTracker, clock: Clock, machine: str = "press") -> None:
    """200 days of one machine: critical on day 100 (dealt with), and on day 198 (not dealt with yet).

    The tracker's clock is *clock*, and its policy retrains.
    """
    ref = make_ref(machine=machine)
    for day in range(DAYS):
        clock.now = on_day(day + 1)
        is_bad = day in (100, 198)
        evaluation = make_evaluation(ref, day=day, metrics={"rmse": 30.0}) if is_bad else noisy_evaluation(ref, day)
        stored = await record(tracker, evaluation)
        assert (stored.alert is not None) == is_bad
        if day == 100:
            assert stored.alert is not None
            assert stored.training_run is not None
            await _train(tracker, 1)
            await tracker.resolve_alert(stored.alert.id, resolution="retrained", by="ana")
            await _promote(tracker, ref, stored.training_run.id)
    await _train_by_hand(tracker, clock, ref)
    await _watch_data(tracker, clock, ref)
    await _test(tracker, clock, ref)
    clock.now = on_day(50)
    await tracker.alerts.open_or_repeat(ref, alert_type="own", severity="warning", message="still there")
    await _tell_and_work(tracker, machine)
    clock.now = on_day(DAYS)


async def _train(tracker: ModelPerformanceTracker, version: int, model_type: str = "baseline") -> None:
    run = await tracker.training.claim("worker", lease=LEASE, model_type=model_type)
    assert run is not None
    await tracker.training.complete(run.id, run.attempt, model_version=version, sample_count=100)


async def _train_by_hand(tracker: ModelPerformanceTracker, clock: Clock, ref: ModelRef) -> None:
    """A slot of its own, whose runs ended on days 10 (well), 20 (badly), 30 (well), 180 (badly)."""
    kind = f"other {ref.machine_id}"
    for day, ends_well in ((10, True), (20, False), (30, True), (180, False)):
        clock.now = on_day(day)
        await tracker.training.open_run(model_type=kind, machine_id=ref.machine_id, model_id=ref.model_id)
        if ends_well:
            await _train(tracker, 1, kind)
        else:
            run = await tracker.training.claim("worker", lease=LEASE, model_type=kind)
            assert run is not None
            await tracker.training.fail(run.id, 1, error_message="no data")


async def _watch_data(tracker: ModelPerformanceTracker, clock: Clock, ref: ModelRef) -> None:
    """A reference, windows of it on days 20, 40 and 160, and one window of a segment on day 60."""
    rng = np.random.default_rng(7)
    clock.now = on_day(10)
    for segment, days in (("", (20, 40, 160)), ("night", (60,))):
        await tracker.set_reference(ref, {"load": rng.normal(size=500)}, segment=segment)
        for day in days:
            clock.now = on_day(day)
            await tracker.check_data_drift(
                ref,
                {"load": rng.normal(size=200)},
                segment=segment,
                window_start=on_day(day - 1),
                window_end=on_day(day),
            )


async def _test(tracker: ModelPerformanceTracker, clock: Clock, ref: ModelRef) -> None:
    """A test on observations that ran from day 55 to day 60, and one on evaluations that runs since day 120."""
    new = make_ref(machine=_name_of(ref), version=2)
    clock.now = on_day(55)
    test = await tracker.start_ab_test(
        name="observed", model_a=ref, model_b=new, metric="mae", start=on_day(55), duration=timedelta(days=90)
    )
    clock.now = on_day(56)
    values = np.random.default_rng(1).normal(size=400)
    await tracker.observe_many(test.id, arms=["a", "b"] * 200, values=values)
    await tracker.ab_test_results(test.id)
    clock.now = on_day(60)
    await tracker.conclude_ab_test(test.id, by="ana")
    clock.now = on_day(119)
    await record(tracker, noisy_evaluation(new, 118))
    clock.now = on_day(120)
    await tracker.start_ab_test(
        name=f"on {_name_of(ref)}", model_a=ref, model_b=new, start=on_day(120), duration=timedelta(days=900)
    )


async def _promote(tracker: ModelPerformanceTracker, ref: ModelRef, run_id: UUID) -> None:
    await execute(
        tracker,
        "INSERT INTO {schema}.model_champions (machine_id, model_type, number, action, model_id, model_version,"
        " promoted_at, training_run_id) VALUES ($1, $2, 1, 'promotion', $3, 1, $4, $5)",
        *(ref.machine_id, ref.model_type, ref.model_id, on_day(101), run_id),
    )
    await execute(
        tracker,
        "INSERT INTO {schema}.model_automation (machine_id, model_type, is_enabled, changed_at)"
        " VALUES ($1, $2, true, $3)",
        *(ref.machine_id, ref.model_type, on_day(101)),
    )


async def _tell_and_work(tracker: ModelPerformanceTracker, machine: str) -> None:
    """What is to be told is told but for the newest alert's; three workers, one stopped, one lost, one alive."""
    await execute(
        tracker,
        "UPDATE {schema}.model_notifications SET status = 'delivered', delivered_at = run_after"
        " WHERE run_after < $1 AND status = 'pending'",
        on_day(150),
    )
    for name, seen, stopped in (("stopped", 30.0, 30.0), ("lost", 50.0, None), ("alive", 200.0, None)):
        await execute(
            tracker,
            "INSERT INTO {schema}.model_workers (worker, model_types, started_at, seen_at, stopped_at)"
            " VALUES ($1, '{{baseline}}', $2, $3, $4)",
            *(f"{machine} {name}", on_day(1), on_day(seen), None if stopped is None else on_day(stopped)),
        )


def _name_of(ref: ModelRef) -> str:
    [name] = [name for name in ("press", "oven", "lathe") if make_id(f"machine {name}") == ref.machine_id]
    return name


async def execute(tracker: ModelPerformanceTracker, statement: str, *args: object) -> None:
    async with tracker.pool.acquire() as connection:
        await connection.execute(statement.format(schema=f'"{tracker.schema}"'), *args)


async def count_all(pool: Any, schema: str) -> dict[str, int]:
    """Rows of every table of a schema that there is, but the ledger of migrations."""
    names = await pool.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename <> 'schema_migrations'", schema
    )
    return {name: await pool.fetchval(f'SELECT count(*) FROM "{schema}".{name}') for [name] in names}
