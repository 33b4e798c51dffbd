"""From observations of an A/B test, as they come, to moments by arm and slot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeAlias, TypeVar
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_perf import _validation as check
from model_perf._ab_design import NOT_OF_ONE_ITEM, ABDesign
from model_perf._assignment import Unit, as_unit
from model_perf._floats import Floats, as_array, as_floats
from model_perf.aggregates import LARGEST_OBSERVATION, Aggregates
from model_perf.errors import InvalidInputError
from model_perf.records import ABTest

T = TypeVar("T")
Cell: TypeAlias = tuple[str, str, int]
"""Metric, arm and slot."""
Cells: TypeAlias = dict[Cell, Aggregates]

UNIT_SLOTS = 256
UNITLESS_SLOTS = 16
"""Observations without units are spread over as many further slots, for writers that would wait for each other."""
TIME_SLOTS = 128
SERVED = "model_perf.served"
"""The metric under which units are counted that a model served, whether their outcome is known or not."""
MOST_SERVED = 10**12
"""Units in one call: sums of them stay whole numbers of PostgreSQL's."""

_LOSSES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "mae": lambda y, predicted: np.abs(predicted - y),
    "mse": lambda y, predicted: np.square(predicted - y),
    "accuracy": lambda y, predicted: (predicted == y).astype(np.float64),
    "brier": lambda y, predicted: np.square(predicted - y),
}


def routed_cells(
    design: ABDesign,
    *,
    arms: Sequence[str] | ArrayLike,
    values: ArrayLike,
    units: Iterable[Unit] | None,
    covariates: ArrayLike | None,
    metric: str | None,
    spread: int,
) -> Cells:
    """Moments of observations, each of the model that served it.

    *spread* picks the slot of observations without units.
    """
    name = as_metric(design, metric)
    numbers = as_values(design, values, name)
    is_b = _as_arms(arms, numbers.size)
    slots = _as_slots(units, numbers.size, spread)
    given = _as_covariates(design, covariates, numbers.size, name)
    groups = slots + is_b * (UNIT_SLOTS + UNITLESS_SLOTS)
    found = Aggregates.from_groups(numbers, groups, given)
    return {
        (name, "ab"[group // (UNIT_SLOTS + UNITLESS_SLOTS)], group % (UNIT_SLOTS + UNITLESS_SLOTS)): moments
        for group, moments in found.items()
    }


def paired_cells(
    test: ABTest,
    design: ABDesign,
    *,
    y_true: ArrayLike,
    pred_a: ArrayLike,
    pred_b: ArrayLike,
    timestamps: Sequence[datetime] | datetime,
    metric: str | None,
) -> Cells:
    """Moments of items that both models scored: of each model's losses, and of their differences by time."""
    name = as_metric(design, metric)
    loss = _loss_of(name)
    y, a, b = (
        _as_predictions(values, argument)
        for values, argument in ((y_true, "y_true"), (pred_a, "pred_a"), (pred_b, "pred_b"))
    )
    for values, argument in ((a, "pred_a"), (b, "pred_b")):
        if values.size != y.size:
            raise InvalidInputError(argument, f"has {values.size} entries and y_true has {y.size}; give one per item")
    of_a, of_b = (as_values(design, loss(y, predicted), name) for predicted in (a, b))
    return paired_values(test, name, of_a, of_b, timestamps)


def paired_values(
    test: ABTest, metric: str, of_a: Floats, of_b: Floats, timestamps: Sequence[datetime] | datetime
) -> Cells:
    """The same from the values of both models."""
    slots = _time_slots(test, timestamps, of_a.size)
    cells: Cells = {(metric, "d", slot): each for slot, each in Aggregates.from_groups(of_b - of_a, slots).items()}
    if of_a.size:
        cells |= {(metric, arm, 0): Aggregates.from_values(each) for arm, each in (("a", of_a), ("b", of_b))}
    return cells


def served_cells(n_a: int, n_b: int) -> Cells:
    """Counts of units that each model served."""
    counts = {"a": check.as_int(n_a, "a", high=MOST_SERVED), "b": check.as_int(n_b, "b", high=MOST_SERVED)}
    return {(SERVED, arm, 0): Aggregates(n=n) for arm, n in counts.items() if n}


def merge_cells(many: Iterable[Cells]) -> Cells:
    """The cells of several batches together."""
    merged: Cells = {}
    for cells in many:
        for cell, moments in cells.items():
            merged[cell] = merged[cell] + moments if cell in merged else moments
    return merged


def as_metric(design: ABDesign, metric: str | None) -> str:
    """The metric that is observed, by default the one that decides."""
    name = design.metric if metric is None else check.as_text(metric, "metric", max_length=200)
    if name is None:
        raise InvalidInputError("metric", "the test has none yet; start it with metric= and direction=")
    if name not in design.metrics:
        raise InvalidInputError(
            "metric", f"{name!r} is none of the test's: {', '.join(design.metrics) or 'it has none'}"
        )
    if name in NOT_OF_ONE_ITEM:
        instead, function = NOT_OF_ONE_ITEM[name]
        raise InvalidInputError(
            "metric",
            f"{name} is of a whole sample, and no single observation has one; start the test with metric={instead!r}, "
            f"or compare raw predictions by model_perf.stats.{function}",
        )
    return name


def as_values(design: ABDesign, values: ArrayLike, metric: str) -> Floats:
    """Finite numbers, cut at the design's cap; of a binary metric 0 and 1 only."""
    array = as_array(values, "values")
    numbers = as_floats(array.view(np.uint8) if array.dtype == bool else array, "values", largest=LARGEST_OBSERVATION)
    if metric != design.metric:
        return numbers
    if design.kind == "binary" and (bad := (numbers != 0.0) & (numbers != 1.0)).any():
        place = int(bad.argmax())
        raise InvalidInputError(
            "values", f"holds {numbers[place]:g} at position {place}; a binary metric has 0 and 1 only"
        )
    return numbers if design.cap is None else np.clip(numbers, -design.cap, design.cap)


def _as_predictions(values: ArrayLike, argument: str) -> Floats:
    array = as_array(values, argument)
    # Squares of them are observations.
    limit = math.sqrt(LARGEST_OBSERVATION) / 2.0
    return as_floats(array.view(np.uint8) if array.dtype == bool else array, argument, largest=limit)


def _loss_of(metric: str) -> Callable[[Floats, Floats], Floats]:
    if metric not in _LOSSES:
        raise InvalidInputError(
            "metric",
            f"how y_true and a prediction give {metric!r} is not known; start the test with one of "
            f"{', '.join(_LOSSES)}, or give values with observe_many()",
        )
    return _LOSSES[metric]


def _as_arms(arms: Sequence[str] | ArrayLike, size: int) -> NDArray[np.intp]:
    array = as_array(arms, "arms")
    if array.ndim != 1 or array.size != size:
        raise InvalidInputError(
            "arms", f"has the shape {array.shape} and values has {size} entries; give one per value"
        )
    # Objects may be anything, as pandas' NA, which is neither equal to "b" nor not.
    known = array if array.dtype.kind == "U" else np.array([_as_arm(each) for each in array], dtype=str)
    is_b = known == "b"
    if (bad := ~(is_b | (known == "a"))).any():
        place = int(bad.argmax())
        raise InvalidInputError("arms", f"holds {array[place]!r} at position {place}; the arms are 'a' and 'b'")
    return np.asarray(is_b, dtype=np.intp)


def _as_arm(arm: object) -> str:
    return arm if isinstance(arm, str) else ""


def _as_slots(units: Iterable[Unit] | None, size: int, spread: int) -> NDArray[np.intp]:
    if units is None:
        return np.full(size, UNIT_SLOTS + spread % UNITLESS_SLOTS, dtype=np.intp)
    slots = np.fromiter((unit_slot(unit) for unit in _as_entries(units, "units")), dtype=np.intp)
    if slots.size != size:
        raise InvalidInputError("units", f"has {slots.size} entries and values has {size}; give one per value")
    return slots


def _as_entries(values: Iterable[T], argument: str) -> Iterable[T]:
    """As they are, where they have entries: a text's letters are none."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidInputError(argument, f"{values!r} is no sequence; give one entry per observation")
    return values


def unit_slot(unit: Unit) -> int:
    """The slot of a unit, the same in every process; not that of its assignment."""
    return crc32(as_unit(unit)) % UNIT_SLOTS


def _as_covariates(design: ABDesign, covariates: ArrayLike | None, size: int, metric: str) -> Floats | None:
    if design.covariate is None or metric != design.metric:
        if covariates is not None:
            raise InvalidInputError("covariates", "the design has none; start the test with covariate=")
        return None
    if covariates is None:
        raise InvalidInputError("covariates", f"missing; the design takes {design.covariate!r} with every observation")
    numbers = as_floats(covariates, "covariates", largest=LARGEST_OBSERVATION)
    if numbers.size != size:
        raise InvalidInputError("covariates", f"has {numbers.size} entries and values has {size}; give one per value")
    return numbers


def _time_slots(test: ABTest, timestamps: Sequence[datetime] | datetime, size: int) -> NDArray[np.intp]:
    times = [timestamps] if isinstance(timestamps, datetime) else list(_as_entries(timestamps, "timestamps"))
    seconds = np.array([(check.as_timestamp(t, "timestamps") - test.test_start).total_seconds() for t in times])
    if isinstance(timestamps, datetime):
        seconds = np.full(size, seconds[0])
    if seconds.size != size:
        raise InvalidInputError(
            "timestamps", f"has {seconds.size} entries and there are {size} items; give one per item"
        )
    length = (test.test_end - test.test_start).total_seconds()
    outside = (seconds < 0.0) | (seconds >= length)
    if outside.any():
        place = int(outside.argmax())
        raise InvalidInputError(
            "timestamps",
            f"holds {times[min(place, len(times) - 1)].isoformat()}, outside the test, which runs from "
            f"{test.test_start.isoformat()} until {test.test_end.isoformat()}",
        )
    return np.minimum((seconds * (TIME_SLOTS / length)).astype(np.intp), TIME_SLOTS - 1)
