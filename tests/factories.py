"""Records with every field filled in and the same values in every run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from attrs import define

from model_perf.records import Evaluation, ModelRef

START = datetime(2024, 1, 1, tzinfo=UTC)
_NAMESPACE = UUID("6f1c1d0e-1f6b-4f0e-9d1c-3f5f2a7a9b10")


@define
class Clock:
    """A clock that stands where it is put."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


def make_id(name: str) -> UUID:
    """The same UUID for the same name."""
    return uuid5(_NAMESPACE, name)


def make_ref(
    name: str = "model", *, version: int = 1, model_type: str = "baseline", machine: str = "press"
) -> ModelRef:
    """A deployment of the model *name* on the machine *machine*."""
    return ModelRef(
        model_id=make_id(f"model {name}"),
        model_type=model_type,
        model_version=version,
        machine_id=make_id(f"machine {machine}"),
    )


def make_evaluation(
    ref: ModelRef | None = None, *, day: int = 0, metrics: Mapping[str, float] | None = None, **fields: Any
) -> Evaluation:
    """An evaluation of the whole day START + *day*; *fields* replace any other."""
    ref = make_ref() if ref is None else ref
    start = START + timedelta(days=day)
    given: dict[str, Any] = {
        "ref": ref,
        "evaluation_start": start,
        "evaluation_end": start + timedelta(days=1),
        "metrics": {"r_squared": 0.93, "rmse": 12.5} if metrics is None else metrics,
        "sample_count": 1008,
        "data_completeness": 0.98,
        "id": make_id(f"{ref.model_id} {ref.model_version} {ref.machine_id} {day}"),
    }
    return Evaluation(**given | fields)


def make_evaluations(
    values: Iterable[float], *, metric: str = "rmse", ref: ModelRef | None = None, first_day: int = 0
) -> list[Evaluation]:
    """One evaluation a day, with these values of one metric."""
    return [make_evaluation(ref, day=day, metrics={metric: value}) for day, value in enumerate(values, first_day)]
