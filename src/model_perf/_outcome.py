"""What a trainer hands back, and how much better the new version is by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import field, frozen

from model_perf import _validation as check
from model_perf.errors import InvalidInputError
from model_perf.policy import MonitoringPolicy, degradation
from model_perf.records import as_optional_metrics


def _metrics(argument: str) -> Any:
    return field(default=None, converter=lambda value: as_optional_metrics(value, argument))


def _as_id(value: UUID | str) -> UUID:
    return check.as_uuid(value, "model_id")


def _as_version(value: int | None) -> int | None:
    return None if value is None else check.as_int(value, "model_version", high=check.INT4_MAX)


def _as_label(value: str | None) -> str | None:
    return check.as_optional_text(value, "version_label", max_length=200)


def _as_count(value: int | None) -> int | None:
    return None if value is None else check.as_int(value, "sample_count")


def _as_names(value: Sequence[str]) -> tuple[str, ...]:
    return check.as_names(value, "feature_names")


def _as_object(value: Mapping[str, object] | None) -> Mapping[str, object]:
    return check.as_json_object(value, "hyperparameters")


def _as_start(value: datetime | None) -> datetime | None:
    return None if value is None else check.as_timestamp(value, "training_data_start")


def _as_end(value: datetime | None) -> datetime | None:
    return None if value is None else check.as_timestamp(value, "training_data_end")


@frozen(kw_only=True)
class TrainingOutcome:
    """The version that a training made, and how good it is; checked when it is made.

    Parameters
    ----------
    model_id : UUID or str
    model_version : int, optional
        Or *version_label*, a text that gets the next integer of the slot (and the same one, if it is known already).
    validation_metrics, previous_validation_metrics : mapping of str to float
        Of the new version and of the one it is to follow, on the same data, which neither has learned from.
    training_metrics : mapping of str to float
    sample_count : int, optional
        Rows it learned from.
    feature_names : sequence of str
    hyperparameters : mapping
        Join those of the run.
    training_data_start, training_data_end : datetime, optional
        What it learned from; evaluations of windows before the end are no baseline of it.
    """

    model_id: UUID = field(converter=_as_id)
    model_version: int | None = field(default=None, converter=_as_version)
    version_label: str | None = field(default=None, converter=_as_label)
    validation_metrics: Mapping[str, float] = _metrics("validation_metrics")
    previous_validation_metrics: Mapping[str, float] = _metrics("previous_validation_metrics")
    training_metrics: Mapping[str, float] = _metrics("training_metrics")
    sample_count: int | None = field(default=None, converter=_as_count)
    feature_names: tuple[str, ...] = field(default=(), converter=_as_names)
    hyperparameters: Mapping[str, object] = field(default=None, converter=_as_object)
    training_data_start: datetime | None = field(default=None, converter=_as_start)
    training_data_end: datetime | None = field(default=None, converter=_as_end)

    def __attrs_post_init__(self) -> None:
        if (self.model_version is None) == (self.version_label is None):
            raise InvalidInputError("model_version", "give either a model_version or a version_label")


def improvement(
    validation: Mapping[str, float], previous: Mapping[str, float], policy: MonitoringPolicy
) -> tuple[float, str] | tuple[None, None]:
    """How much better the new version is, and by which metric; None where no metric of both has a known direction.

    Relative, positive = better: 0.2 = the error fell by 20%, of a score like R² or F1 its distance to 1. Decided by
    the policy's primary metric among those that both have. It is `drift_score` of the new version against the previous
    one with the sign turned, so that both speak of the same size.
    """
    shared = [name for name in validation if name in previous]
    metric = policy.primary_metric(shared)
    definition = None if metric is None else policy.definition(metric)
    if metric is None or definition is None:
        return None, None
    worse = degradation(definition, definition.loss(validation[metric]), definition.loss(previous[metric]))
    return -worse, metric
