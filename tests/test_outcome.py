"""What a trainer hands back, and the improvement that is computed from it."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.factories import make_id

from model_perf import InvalidInputError, MetricDefinition, MonitoringPolicy, TrainingOutcome
from model_perf._outcome import improvement
from model_perf._training import backoff, describe

POLICY = MonitoringPolicy()


@pytest.mark.parametrize(
    ("new", "previous", "expected"),
    [
        # Of an error the share by which it fell: 1 - 8 / 10.
        ({"rmse": 8.0}, {"rmse": 10.0}, (0.2, "rmse")),
        # Worse is negative: 1 - 15 / 10.
        ({"rmse": 15.0}, {"rmse": 10.0}, (-0.5, "rmse")),
        # Of a score by its distance to 1: 1 - .1 / .2.
        ({"f1_score": 0.9}, {"f1_score": 0.8}, (0.5, "f1_score")),
        # Of R² the same, however far below zero: 1 - .1 / .4, 1 - 2 / 4.
        ({"r_squared": 0.9}, {"r_squared": 0.6}, (0.75, "r_squared")),
        ({"r_squared": -1.0}, {"r_squared": -3.0}, (0.5, "r_squared")),
        # R² is the policy's primary metric, whichever is given first.
        ({"rmse": 20.0, "r_squared": 0.9}, {"rmse": 10.0, "r_squared": 0.8}, (0.5, "r_squared")),
        # But only where both have it.
        ({"rmse": 5.0, "r_squared": 0.9}, {"rmse": 10.0}, (0.5, "rmse")),
        # What cannot be known is None, never 0.
        ({"own": 1.0}, {"own": 2.0}, (None, None)),
        ({"rmse": 1.0}, {"mae": 2.0}, (None, None)),
        ({"rmse": 1.0}, {}, (None, None)),
        ({}, {}, (None, None)),
    ],
)
def test_improvement(new: dict[str, float], previous: dict[str, float], expected: tuple[float | None, Any]) -> None:
    """Relative, positive = better, by the policy's primary metric of both; derivations beside the cases."""
    better, metric = improvement(new, previous, POLICY)
    assert metric == expected[1]
    assert better == (None if expected[0] is None else pytest.approx(expected[0], abs=1e-12))


def test_improvement_of_a_metric_of_the_hosts_own() -> None:
    """With a definition it counts: 1 - 3 / 4 of the distance to its best value 10."""
    policy = MonitoringPolicy(metrics=[MetricDefinition(name="yield", higher_is_better=True, best=10.0)])
    better, metric = improvement({"yield": 7.0}, {"yield": 6.0}, policy)
    assert metric == "yield"
    assert better == pytest.approx(0.25)


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0, 3.0])
def test_improvement_has_no_unit(factor: float) -> None:
    """Both in another unit: the same improvement. Equal ones: 0."""
    better, _ = improvement({"mae": 8.0 * factor}, {"mae": 10.0 * factor}, POLICY)
    assert better == pytest.approx(0.2)
    assert improvement({"mae": factor}, {"mae": factor}, POLICY) == (0.0, "mae")


@pytest.mark.parametrize(
    ("argument", "fields"),
    [
        ("model_id", {"model_id": "seven", "model_version": 1}),
        ("model_version", {}),
        ("model_version", {"model_version": 1, "version_label": "one"}),
        ("model_version", {"model_version": -1}),
        ("model_version", {"model_version": 1.0}),
        ("version_label", {"version_label": " "}),
        ("validation_metrics['rmse']", {"model_version": 1, "validation_metrics": {"rmse": math.nan}}),
        ("previous_validation_metrics['mae']", {"model_version": 1, "previous_validation_metrics": {"mae": -2.0}}),
        ("training_metrics['rmse']", {"model_version": 1, "training_metrics": {"rmse": -1.0}}),
        ("training_metrics", {"model_version": 1, "training_metrics": 0.0}),
        ("validation_metrics", {"model_version": 1, "validation_metrics": {"": 1.0}}),
        ("sample_count", {"model_version": 1, "sample_count": -1}),
        ("feature_names", {"model_version": 1, "feature_names": "hour"}),
        ("hyperparameters.rate", {"model_version": 1, "hyperparameters": {"rate": math.inf}}),
        ("training_data_end", {"model_version": 1, "training_data_end": datetime(2024, 1, 1)}),  # noqa: DTZ001
    ],
)
def test_a_bad_outcome_is_refused_in_the_trainer(argument: str, fields: dict[str, Any]) -> None:
    """By the name of what is wrong, so that the trainer's traceback shows where it was made."""
    with pytest.raises(InvalidInputError) as refused:
        TrainingOutcome(**{"model_id": make_id("model"), **fields})
    assert refused.value.argument == argument


def test_backoff_doubles_up_to_its_longest() -> None:
    """From half to the whole of 10 s, 20 s, 40 s, ..., 600 s; attempts without number do no harm."""
    for attempt, longest in ((1, 10.0), (2, 20.0), (5, 160.0), (7, 600.0), (100, 600.0), (10**9, 600.0)):
        waits = [backoff(attempt).total_seconds() for _ in range(200)]
        assert longest / 2 <= min(waits) < 0.6 * longest
        assert 0.9 * longest < max(waits) <= longest


def test_backoff_of_any_options_has_an_end() -> None:
    """Of the longest first pause and of the shortest, as `WorkerOptions` takes them, after any number of attempts."""
    longest = timedelta(seconds=1e7)
    for first in (timedelta(days=1), timedelta(milliseconds=1), timedelta(0)):
        for attempt in (1, 31, 100, 2**31 - 1):
            assert timedelta(0) <= backoff(attempt, first, longest) <= longest
    assert backoff(100, timedelta(milliseconds=1), longest) >= longest / 2


class Unspeakable(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no data"), "ValueError: no data"),
        (ValueError(), "ValueError"),
        (Unspeakable(), "Unspeakable: (its text cannot be had)"),
        ("no GPU", "no GPU"),
        ("", "failed"),
        (" \n", "failed"),
        (type("", (Exception,), {})(), "failed"),
        ("x" * 20_000, "x" * 10_000),
    ],
)
def test_what_is_kept_of_an_error(error: BaseException | str, message: str) -> None:
    """Its type and text, however odd, at a length that can be stored."""
    assert describe(error)[0] == message
