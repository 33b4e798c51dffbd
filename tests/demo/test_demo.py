"""The demo finds what is in the data, and does not find what is not."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

import asyncpg
import numpy as np
import pytest
from tests.factories import make_ref

from model_perf import Evaluation, ModelPerformanceTracker, MonitoringPolicy
from model_perf.demo._data import DAY, load
from model_perf.demo._model import fit
from model_perf.demo._story import FIRST_DAY, FIRST_TRAINING_DAY, Clock, tell
from model_perf.drift import EMPTY, judge_performance
from model_perf.evaluation import evaluate

DATA = load()
METRICS = [
    evaluate(day.demand_gw, model.predict(day))
    for model in [fit(DATA.days(FIRST_TRAINING_DAY, FIRST_DAY))]
    for day in (DATA.days(k, k + 1) for k in range(FIRST_DAY, DATA.n_days))
]
"""Of the demo's first model on each day from 1 April on: 275 evaluations."""


def evaluations(order: Sequence[int]) -> Iterator[Evaluation]:
    """The evaluated days in another order, as if they had come so."""
    for place, day in enumerate(order):
        start = DATA.start + (FIRST_DAY + place) * DAY
        yield Evaluation(
            ref=make_ref(), evaluation_start=start, evaluation_end=start + DAY, metrics=METRICS[day], sample_count=48
        )


def first_alarm(order: Sequence[int]) -> int | None:
    """The place of the first critical evaluation."""
    state, policy = EMPTY, MonitoringPolicy()
    for place, evaluation in enumerate(evaluations(order)):
        report, state = judge_performance(state, evaluation, policy)
        if report.verdict == "critical":
            return place
    return None


def test_the_data_are_the_year_2014() -> None:
    """365 days of 48 half hours, the heatwave of January and the median that its source states."""
    assert (DATA.n_days, len(DATA.demand_gw)) == (365, 17_520)
    assert DATA.start == datetime.fromisoformat("2014-01-01T00:00+10:00")
    # The data's README: 43 degrees, 9.3 GW against a median of 4.6.
    assert DATA.temperature_c.max() == pytest.approx(43, abs=0.5)
    assert DATA.demand_gw.max() == pytest.approx(9.3, abs=0.05)
    assert np.median(DATA.demand_gw) == pytest.approx(4.6, abs=0.05)


def test_the_model_is_least_squares() -> None:
    """Residuals of the fit are orthogonal to temperature, and leave it the mean of the demand."""
    seen = DATA.days(FIRST_TRAINING_DAY, FIRST_DAY)
    residuals = seen.demand_gw - fit(seen).predict(seen)
    assert abs(residuals.mean()) < 1e-9
    assert abs(np.corrcoef(residuals, seen.temperature_c)[0, 1]) < 1e-6


async def test_the_winter_is_found_and_answered(schema: str, pool: asyncpg.Pool) -> None:
    """The story opens one alert in May, retrains once, finds the new version better, and resolves the alert."""
    clock = Clock()
    tracker = ModelPerformanceTracker(pool, schema=schema, clock=clock)
    await tracker.migrate()
    findings = await tell(tracker, clock, DATA, lambda _: None)
    assert findings.alert is not None
    assert findings.found_at is not None
    # The rule's prototype found it on 10 May, by the chart.
    found = findings.found_at.evaluation.evaluation_start + timedelta(hours=10)
    assert date(2014, 5, 1) <= found.date() <= date(2014, 5, 20)
    assert findings.found_at.drift.since is not None
    assert findings.found_at.drift.since < findings.found_at.evaluation.evaluation_start
    assert findings.comparison is not None
    assert (findings.comparison.decision, findings.comparison.test_status) == ("superior_b", "completed")
    row = await pool.fetchrow(
        f"""SELECT (SELECT count(*) FROM {schema}.model_alerts) AS alerts,
            (SELECT min(resolution) FROM {schema}.model_alerts WHERE is_resolved) AS resolution,
            (SELECT min(training_status) FROM {schema}.model_training_history) AS training_status,
            (SELECT min(performance_improvement) FROM {schema}.model_training_history) AS improvement,
            (SELECT min(worker) FROM {schema}.model_training_history) AS worker,
            (SELECT min(winner_model) FROM {schema}.model_ab_tests) AS winner,
            (SELECT count(*) FROM {schema}.model_ab_tests t JOIN {schema}.model_training_history r
                ON r.id = t.training_run_id) AS challenges,
            (SELECT count(*) FROM {schema}.model_performance_metrics) AS evaluations"""
    )
    assert (row["alerts"], row["resolution"], row["training_status"]) == (1, "retrained", "completed")
    assert (row["winner"], row["worker"], row["challenges"]) == ("model_b", "demo", 1)
    assert row["improvement"] > 0.1
    assert findings.promotion is not None
    history = (await tracker.champion_history("demand", findings.promotion.champion.ref.machine_id)).items
    assert [(each.number, each.ref.model_version) for each in history] == [(2, 2), (1, 1)]
    assert history[0].ab_test_id == findings.comparison.test.id
    assert row["evaluations"] == findings.evaluations


def test_shuffled_days_rarely_alarm() -> None:
    """With the winter's errors spread over the baseline too, at most 19 of 50 seeds alarm in 245 judged days."""
    orders = [np.random.default_rng(seed).permutation(len(METRICS)).tolist() for seed in range(50)]
    # One false alarm per 500 evaluations allows 1 - exp(-245/500) = 39% of 50.
    assert sum(first_alarm(order) is not None for order in orders) <= 19


async def test_the_control_is_the_same_pipeline(tracker: ModelPerformanceTracker) -> None:
    """Recorded in the database, a shuffled year gives the verdicts that the judge gives by itself."""
    order = np.random.default_rng(0).permutation(len(METRICS)).tolist()[:60]
    state, policy = EMPTY, MonitoringPolicy()
    for evaluation in evaluations(order):
        report, state = judge_performance(state, evaluation, policy)
        recorded = await tracker.record(
            evaluation.ref,
            evaluation_start=evaluation.evaluation_start,
            evaluation_end=evaluation.evaluation_end,
            metrics=evaluation.metrics,
            sample_count=48,
        )
        assert recorded.drift.to_dict() == report.to_dict()


def test_the_command_prints_its_findings(database: str) -> None:
    """`model-perf demo --dsn ... --json` ends well, in less than 60 s and 500 MB."""
    command = [sys.executable, "-m", "model_perf", "demo", "--dsn", database, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    facts = json.loads(done.stdout)
    assert facts["degradation_found"] is True
    assert (facts["winner"], facts["champion"]) == ("model_b", 2)
    assert facts["alert_resolution"] == "retrained"
    # The largest of all child processes so far, in kilobytes; macOS counts bytes.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
    assert peak < 500_000
