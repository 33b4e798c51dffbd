"""Evaluations for the bulk benchmark: the same rows as columns, as records and as tuples for a COPY."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np

from model_perf import Evaluation, ModelRef
from model_perf.records import METRIC_COLUMNS
from model_perf.repos._bulk import COPIED_COLUMNS, new_ids

START = datetime(2024, 1, 1, tzinfo=UTC)
N_MODELS = 1_000


def make_refs(n: int) -> list[ModelRef]:
    """*n* deployments, each of a model of its own on a machine of its own."""
    return [
        ModelRef(
            model_id=UUID(int=(1 << 120) + i),
            model_type="baseline",
            model_version=1,
            machine_id=UUID(int=(2 << 120) + i),
        )
        for i in range(n)
    ]


def make_records(n: int) -> list[Evaluation]:
    """Daily evaluations of 1,000 deployments in the order of their days, with all seven metrics."""
    refs, values = make_refs(N_MODELS), np.random.default_rng(1).uniform(0.1, 0.9, (n, len(METRIC_COLUMNS)))
    return [
        Evaluation(
            ref=refs[i % N_MODELS],
            evaluation_start=START + timedelta(days=i // N_MODELS),
            evaluation_end=START + timedelta(days=i // N_MODELS + 1),
            metrics=dict(zip(METRIC_COLUMNS, row, strict=True)),
            sample_count=1_000 + i % 100,
            data_completeness=0.98,
            id=UUID(bytes=number.tobytes()),
            created_at=START,
        )
        for i, (row, number) in enumerate(zip(values.tolist(), new_ids(n), strict=True))
    ]


def as_columns(records: list[Evaluation]) -> dict[str, Any]:
    """The records as a host has them in columns: numpy's where numpy has the type, lists of UUIDs, no ids."""

    def naive(moments: list[datetime]) -> Any:
        return np.array([moment.replace(tzinfo=None) for moment in moments], dtype="M8[us]")

    return {
        "model_id": [e.ref.model_id for e in records],
        "model_type": "baseline",
        "model_version": 1,
        "machine_id": [e.ref.machine_id for e in records],
        "evaluation_start": naive([e.evaluation_start for e in records]),
        "evaluation_end": naive([e.evaluation_end for e in records]),
        "sample_count": np.array([e.sample_count for e in records]),
        "data_completeness": np.array([e.data_completeness for e in records]),
        **{name: np.array([e.metrics[name] for e in records]) for name in METRIC_COLUMNS},
    }


def as_tuples(records: list[Evaluation]) -> list[tuple[object, ...]]:
    """The records as asyncpg takes them, for the columns that `record_many` writes."""
    return [
        (
            *(e.ref.model_id, e.ref.model_version, e.ref.machine_id, e.evaluation_date, e.id, e.ref.model_type),
            *(e.evaluation_start, e.evaluation_end, e.sample_count, e.data_completeness),
            *(e.metrics[name] for name in METRIC_COLUMNS),
            *("{}", None, START, "{}"),
        )
        for e in records
    ]


assert len(COPIED_COLUMNS) == 21, "as_tuples lists the columns by hand"
