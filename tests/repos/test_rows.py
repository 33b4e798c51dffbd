"""From rows to records, without a database: a row is anything that is read by column name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
from attrs import asdict
from tests.factories import START, make_id

from model_perf import Evaluation, ModelRef
from model_perf.repos._rows import read_evaluation, read_metrics

IDS = {name: make_id(name) for name in ("model_id", "machine_id", "id")}


def make_row(**columns: object) -> Any:
    """An evaluation as `SELECT` gives it, ids in asyncpg's own class."""
    row: dict[str, object] = {
        **{name: asyncpg.pgproto.pgproto.UUID(number.bytes) for name, number in IDS.items()},
        **dict.fromkeys(("r_squared", "mape", "precision", "recall", "f1_score", "drift_detected", "created_by")),
        "model_version": 3,
        "model_type": "baseline",
        "evaluation_start": START,
        "evaluation_end": START + timedelta(days=1),
        "evaluation_date": START + timedelta(days=2),
        "created_at": START + timedelta(days=3),
        "sample_count": 1008,
        "data_completeness": 0.98,
        "rmse": 12.5,
        "mae": 0.0,
        "metrics": "{}",
        "verdict": "ok",
        "drift_score": -0.1,
        "drift_threshold": 0.1,
        "drift_details": '{"verdict": "ok"}',
        "metadata": "{}",
    }
    return row | columns


def test_a_stored_evaluation_is_what_its_constructor_makes() -> None:
    """All fields are there, of the types and values that the constructor gives them."""
    found = read_evaluation(make_row())
    expected = Evaluation(
        ref=ModelRef(model_id=IDS["model_id"], model_type="baseline", model_version=3, machine_id=IDS["machine_id"]),
        evaluation_start=START,
        evaluation_end=START + timedelta(days=1),
        metrics={"rmse": 12.5, "mae": 0.0},
        sample_count=1008,
        data_completeness=0.98,
        evaluation_date=START + timedelta(days=2),
        id=IDS["id"],
        verdict="ok",
        drift_score=-0.1,
        drift_threshold=0.1,
        drift_details={"verdict": "ok"},
        created_at=START + timedelta(days=3),
    )
    assert found == expected
    assert repr(asdict(found)) == repr(asdict(expected))
    assert {type(found.id), type(found.ref.model_id), type(found.ref.machine_id)} == {UUID}


def test_the_ids_may_come_as_text() -> None:
    """A host whose codec for uuid gives text gets the same evaluation."""
    assert read_evaluation(make_row(**{name: str(number) for name, number in IDS.items()})) == read_evaluation(
        make_row()
    )


def test_metrics_are_floats() -> None:
    """jsonb gives 3 and 1e300 back as whole numbers; a metric is a float all the same."""
    found = read_metrics(make_row(metrics='{"churn": 3, "cost": 1' + "0" * 300 + ', "share": 0.5}'))
    assert found == {"rmse": 12.5, "mae": 0.0, "churn": 3.0, "cost": 1e300, "share": 0.5}
    assert {type(value) for value in found.values()} == {float}
