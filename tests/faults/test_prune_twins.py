"""Two installations live the same life, and one of them is pruned all the time: both give the same answers."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import asyncpg
import numpy as np
import pytest
from attrs import define
from tests.factories import START, Clock, make_evaluation, make_id, make_ref

from model_perf import (
    ABTest,
    Alert,
    AutomationPolicy,
    AutomationRule,
    ModelPerfError,
    ModelPerformanceTracker,
    MonitoringPolicy,
    TrainingOutcome,
    TrainingRun,
)

DAY = timedelta(days=1)
REFS = [make_ref(machine=machine, version=version) for machine in ("press", "oven") for version in (1, 2)]
MACHINES = {ref.machine_id: [each for each in REFS if each.machine_id == ref.machine_id] for ref in REFS}
POLICY = MonitoringPolicy(
    baseline_min=5,
    baseline_days=5.0,
    flap_days=10.0,
    automation=AutomationPolicy(rules=[AutomationRule(retrain=True, start_ab_test=True)], cooldown_s=20 * 86_400.0),
)

KNOWN = {str(ref.machine_id) for ref in REFS} | {str(ref.model_id) for ref in REFS}
UUIDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Times of the server, the salt of a test, the seconds that a step took.
CHANCE = re.compile(r"created_at=datetime\.datetime\([^)]*\)[^)]*\)|'salt': '\w+'|duration_s=[\d.e-]+")

Call = Callable[[ModelPerformanceTracker], Awaitable[object]]


def told(answer: object) -> str:
    """An answer without what differs between two installations: ids that each makes for itself, and chance."""
    named = UUIDS.sub(lambda found: found.group() if found.group() in KNOWN else "an id", repr(answer))
    return CHANCE.sub("", named)


@define
class Twins:
    """Both, and what chance does next."""

    pruned: ModelPerformanceTracker
    whole: ModelPerformanceTracker
    clock: Clock
    chance: random.Random
    n_deleted: int = 0

    async def ask(self, call: Call, what: str) -> None:
        answers = []
        for tracker in (self.pruned, self.whole):
            try:
                answers.append(told(await call(tracker)))
            except ModelPerfError as error:
                answers.append(told(error))
        assert answers[0] == answers[1], f"{what} on {self.clock.now}"

    async def step(self) -> None:
        self.clock.now += self.chance.choice([timedelta(hours=8), DAY, DAY, 3 * DAY])
        names, weights = zip(*CALLS.items(), strict=True)
        [name] = self.chance.choices(names, [weight for weight, _ in weights])
        await self.ask(CALLS[name][1](self), name)
        await self.ask(lambda tracker: tracker.active_alerts(), f"alerts after {name}")
        if self.chance.random() < 0.3:
            await self.prune()

    async def prune(self) -> None:
        before = self.clock.now - timedelta(days=self.chance.choice([2, 5, 10, 30]))
        batch = self.chance.choice([1, 7, 1000])
        planned = await self.pruned.prune(before, dry_run=True, batch=batch)
        done = await self.pruned.prune(before, batch=batch)
        assert planned.deleted == done.deleted
        self.n_deleted += done.n_deleted


def recorded(twins: Twins) -> Call:
    ref, value = twins.chance.choice(REFS), float(np.exp(twins.chance.gauss(0.0, 0.04)))
    # The first version of the oven's model degrades on day 100, and stays so.
    is_bad = twins.chance.random() < 0.12 or (ref == REFS[2] and twins.clock.now > START + 100 * DAY)
    value *= 2.5 if is_bad else 1.0
    start, end = twins.clock.now - DAY, twins.clock.now
    number = make_id(f"{ref} {end}")
    return lambda tracker: tracker.record(
        ref, evaluation_start=start, evaluation_end=end, metrics={"rmse": value}, evaluation_id=number
    )


def judged(twins: Twins) -> Call:
    ref, end = twins.chance.choice(REFS), twins.clock.now
    one = make_evaluation(
        ref, evaluation_start=end - DAY, evaluation_end=end, metrics={"rmse": 1.0}, id=make_id(f"{end}")
    )

    async def call(tracker: ModelPerformanceTracker) -> object:
        await tracker.record_many([one])
        return await tracker.judge(ref)

    return call


def rebuilt(twins: Twins) -> Call:
    ref = twins.chance.choice(REFS)
    return lambda tracker: tracker.rebuild_state(ref)


def resolved(twins: Twins) -> Call:
    place, resolution = twins.chance.random(), twins.chance.choice(["manual", "false_positive"])

    async def call(tracker: ModelPerformanceTracker) -> Alert | None:
        alerts = sorted(await tracker.active_alerts(), key=lambda alert: alert.fingerprint)
        if not alerts:
            return None
        return await tracker.resolve_alert(alerts[int(place * len(alerts))].id, resolution=resolution, by="ana")

    return call


def trained(twins: Twins) -> Call:
    how = twins.chance.random()

    async def call(tracker: ModelPerformanceTracker) -> object:
        run = await tracker.training.claim("w", lease=DAY)
        if run is None:
            return None
        if how < 0.3:
            return await tracker.training.fail(run.id, run.attempt, error_message="no rows")
        outcome = TrainingOutcome(model_id=REFS[0].model_id, model_version=2, validation_metrics={"rmse": 1.0})
        done = await tracker.complete_training(run.id, run.attempt, outcome)
        return done if how < 0.5 else (done, await started(tracker, done))

    return call


async def started(tracker: ModelPerformanceTracker, run: TrainingRun) -> ABTest:
    old, new = MACHINES[run.machine_id]
    return await tracker.start_ab_test(
        name="n", model_a=old, model_b=new, training_run_id=run.id, duration=5 * DAY, metric="rmse"
    )


def compared(twins: Twins) -> Call:
    machine = twins.chance.choice(list(MACHINES))

    async def call(tracker: ModelPerformanceTracker) -> object:
        runs = (await tracker.training.list_runs(machine_id=machine)).items
        newest = next((run for run in runs if run.training_status == "completed"), None)
        return None if newest is None else await started(tracker, newest)

    return call


def promoted(twins: Twins) -> Call:
    ref = twins.chance.choice(MACHINES[REFS[0].machine_id])  # of the oven it is not known which version serves
    return lambda tracker: tracker.promote(ref, by="ana")


CALLS: dict[str, tuple[int, Callable[[Twins], Call]]] = {
    "record": (60, recorded),
    "judge": (4, judged),
    "rebuild_state": (4, rebuilt),
    "resolve_alert": (6, resolved),
    "complete_training": (12, trained),
    "start_ab_test": (6, compared),
    "promote": (1, promoted),
    "run_checks": (14, lambda _: lambda tracker: tracker.run_checks()),
}


@pytest.fixture
async def twins(pool: asyncpg.Pool, tracker: ModelPerformanceTracker, clock: Clock) -> AsyncIterator[Twins]:
    both = [
        ModelPerformanceTracker(pool, schema=schema, clock=clock, policy=POLICY)
        for schema in (tracker.schema, f"{tracker.schema}_twin")
    ]
    await both[1].migrate()
    yield Twins(both[0], both[1], clock, random.Random(0))
    await pool.execute(f"DROP SCHEMA {both[1].schema} CASCADE")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(100, 130))])
async def test_nothing_that_is_asked_later_is_another(twins: Twins, seed: int) -> None:
    """Verdicts, alerts, runs, tests, champions and rounds of checks, after prunes that leave two days or more."""
    twins.chance.seed(seed)
    for _ in range(160):
        await twins.step()
    await twins.ask(lambda tracker: tracker.champion_history("baseline", REFS[0].machine_id), "champion_history")
    assert twins.n_deleted > 10
