"""The three views that boards read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.factories import START, make_evaluation, make_id, make_ref

from model_perf import ModelPerformanceTracker

PRESS, LATHE = make_id("machine press"), make_id("machine lathe")
HOUR = timedelta(hours=1)


@pytest.fixture
async def named(bound: ModelPerformanceTracker) -> ModelPerformanceTracker:
    """Three versions of two models on the press, one on the lathe; only one of them knows the machine's name."""
    for ref in (make_ref(), make_ref(version=2), make_ref("other"), make_ref(machine="lathe")):
        await bound.metrics.register_model(ref, START)
    await bound.metrics.register_model(make_ref(), START, machine_name="Presse 1")
    return bound


async def read(connection: asyncpg.Connection, view: str) -> list[dict[str, Any]]:
    return [dict(row) for row in await connection.fetch(f"SELECT * FROM model_perf.{view}")]


async def test_the_latest_performance_is_one_row_per_slot(
    named: ModelPerformanceTracker, connection: asyncpg.Connection
) -> None:
    """One row per machine and model type: the newest evaluation over models and versions."""
    days = {make_ref(version=2): (1, 8), make_ref(): (2, 9), make_ref("other"): (3, 7), make_ref(machine="lathe"): (4,)}
    for ref, own in days.items():
        await named.record_many([make_evaluation(ref, day=day, metrics={"rmse": float(day)}) for day in own])
    await named.record_many([make_evaluation(make_ref("third", model_type="kind"), day=0)])
    rows = await read(connection, "v_latest_model_performance")
    shown = {(row["machine_id"], row["model_type"]): (row["model_version"], row["rmse"]) for row in rows}
    assert len(rows) == 3
    assert shown[PRESS, "baseline"] == (1, 9.0)
    assert shown[LATHE, "baseline"] == (1, 4.0)
    assert shown[PRESS, "kind"] == (1, 12.5)


async def test_every_row_of_a_named_machine_has_its_name(
    named: ModelPerformanceTracker, connection: asyncpg.Connection
) -> None:
    """The machine's name is shown in all three views, also where the newest version does not carry it."""
    await named.record_many([make_evaluation(make_ref(version=2)), make_evaluation(make_ref(machine="lathe"))])
    await named.ab_tests.start(
        name="t", model_a=make_ref(version=2), model_b=make_ref("other"), start=START, duration=HOUR
    )
    for ref in (make_ref(version=2), make_ref(machine="lathe")):
        await named.alerts.open_or_repeat(ref, alert_type="x", severity="info", message="m")
    for view in ("v_active_ab_tests", "v_unresolved_model_alerts", "v_latest_model_performance"):
        names = {row["machine_id"]: row["machine_name"] for row in await read(connection, view)}
        assert names[PRESS] == "Presse 1", view
        assert names.get(LATHE) is None, view


async def test_equal_dates_have_one_winner(named: ModelPerformanceTracker, connection: asyncpg.Connection) -> None:
    """Of evaluations with the same date the newest version's is shown, in the view as by `list_latest`."""
    await named.record_many([make_evaluation(make_ref(version=version)) for version in (1, 2)])
    (row,) = await read(connection, "v_latest_model_performance")
    (latest,) = (await named.metrics.list_latest()).items
    assert (row["model_version"], row["id"]) == (2, latest.id)


async def test_active_tests_show_their_age_and_counts(
    named: ModelPerformanceTracker, connection: asyncpg.Connection
) -> None:
    """Hours since the start, and the evaluations of each arm within the test so far."""
    begin = datetime.now(UTC) - 30 * HOUR
    a, b = make_ref(), make_ref(version=2)
    await named.ab_tests.start(name="t", model_a=a, model_b=b, start=begin, duration=100 * HOUR)
    ended = await named.ab_tests.start(
        name="o", model_a=make_ref(machine="lathe"), model_b=make_ref("b", machine="lathe"), start=begin, duration=HOUR
    )
    await named.ab_tests.cancel(ended.id)
    for ref, hours in ((a, range(-3, 5)), (b, range(2))):
        for h in hours:
            window: dict[str, Any] = {"evaluation_start": begin + h * HOUR, "evaluation_end": begin + (h + 1) * HOUR}
            await named.record_many([make_evaluation(ref, id=None, **window)])
    (row,) = await read(connection, "v_active_ab_tests")
    assert row["elapsed_hours"] == pytest.approx(30, abs=0.1)
    assert (row["evaluations_a"], row["evaluations_b"]) == (5, 2)


async def test_an_active_test_counts_what_its_result_counts(
    named: ModelPerformanceTracker, connection: asyncpg.Connection
) -> None:
    """The board's counts are those of `ab_test_results`: only windows inside the test."""
    begin = datetime.now(UTC) - 30 * HOUR
    a, b = make_ref(), make_ref(version=2)
    test = await named.ab_tests.start(name="t", model_a=a, model_b=b, start=begin, duration=100 * HOUR)
    straddling: dict[str, Any] = {"evaluation_start": begin - HOUR, "evaluation_end": begin + HOUR}
    inside: dict[str, Any] = {"evaluation_start": begin, "evaluation_end": begin + HOUR}
    await named.record_many([make_evaluation(a, id=None, **window) for window in (straddling, inside)])
    (row,) = await read(connection, "v_active_ab_tests")
    assert row["evaluations_a"] == (await named.ab_test_results(test.id)).n_evaluations_a


async def test_open_alerts_are_worst_and_newest_first(
    named: ModelPerformanceTracker, connection: asyncpg.Connection
) -> None:
    """By rank and not by spelling, the newer of equals first, with their age in hours; resolved ones are gone."""
    now = datetime.now(UTC)
    for i, severity in enumerate(["info", "critical", "warning", "critical", "warning"]):
        ref = make_ref(f"m{i}")
        alert = await named.alerts.open_or_repeat(
            ref, alert_type="x", severity=severity, message="m", now=now - (5 - i) * HOUR
        )
    await named.alerts.resolve(alert.id)
    rows = await read(connection, "v_unresolved_model_alerts")
    assert [(row["severity"], round(row["age_hours"])) for row in rows] == [
        *(("critical", 2), ("critical", 4), ("warning", 3), ("info", 5)),
    ]


async def test_the_columns_that_were_asked_for(connection: asyncpg.Connection) -> None:
    """The tables have every column of the contract by its name."""
    asked = {
        "model_performance_metrics": "model_id model_type machine_id evaluation_date r_squared rmse mae mape precision"
        " recall f1_score drift_detected drift_score drift_details sample_count data_completeness",
        "model_training_history": "model_type machine_id training_start training_end training_status"
        " training_data_start training_data_end sample_count model_version performance_improvement hyperparameters"
        " trigger_type",
        "model_ab_tests": "test_name model_type machine_id model_a_id model_a_version model_b_id model_b_version"
        " test_start test_end test_status traffic_split winner_model winner_metrics",
        "model_alerts": "alert_type severity model_type machine_id alert_message alert_timestamp alert_details"
        " is_resolved resolved_timestamp auto_action_taken",
    }
    for table, columns in asked.items():
        statement = await connection.prepare(f"SELECT {', '.join(columns.split())} FROM model_perf.{table}")
        types = {a.name: a.type.name for a in statement.get_attributes()}
        assert types.get("drift_details", types.get("hyperparameters", "jsonb")) == "jsonb"
