"""From values to log losses and back."""

from __future__ import annotations

import math

import pytest

from model_perf.drift._losses import (
    log_loss,
    matters,
    metric_value,
    relative_degradation,
    smallest_that_matters,
    spread_floor,
)
from model_perf.policy import KNOWN_METRICS, MetricDefinition, MonitoringPolicy, degradation

POLICY = MonitoringPolicy()
BY_NAME = {definition.name: definition for definition in KNOWN_METRICS}


@pytest.mark.parametrize("definition", KNOWN_METRICS, ids=lambda each: each.name)
@pytest.mark.parametrize("value", [0.55, 0.8, 0.9])
def test_the_log_loss_is_the_policys(definition: MetricDefinition, value: float) -> None:
    """log max(loss, floor) of the definition's own loss, and its inverse gives the value back."""
    expected = math.log(max(definition.loss(value), definition.floor))
    assert log_loss(definition, value) == pytest.approx(expected)
    assert metric_value(definition, log_loss(definition, value)) == pytest.approx(value)


@pytest.mark.parametrize("definition", KNOWN_METRICS, ids=lambda each: each.name)
def test_the_degradation_is_the_policys(definition: MetricDefinition) -> None:
    """The relative degradation is that of `policy.degradation`, floors included."""
    for baseline, value in ((0.9, 0.8), (0.7, 0.72), (1.0, 0.3), (0.0, 0.5)):
        difference = log_loss(definition, value) - log_loss(definition, baseline)
        expected = degradation(definition, definition.loss(value), definition.loss(baseline))
        assert relative_degradation(definition, difference) == pytest.approx(expected)


def test_the_degradation_of_r_squared_is_the_growth_of_what_is_unexplained() -> None:
    """From R² .90 to .88 is 20% worse."""
    definition = BY_NAME["r_squared"]
    difference = log_loss(definition, 0.88) - log_loss(definition, 0.90)
    assert relative_degradation(definition, difference) == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["r_squared", "rmse", "roc_auc", "log_loss"])
@pytest.mark.parametrize("value", [-1.7e308, -15.0, -1e-300, 0.0, 1e-300, 1.0, 1e300, 1.7e308])
def test_extreme_values_have_finite_losses(name: str, value: float) -> None:
    """Every finite float has a finite log loss, value and degradation."""
    definition = BY_NAME[name]
    found = log_loss(definition, value)
    assert math.isfinite(found)
    assert math.isfinite(metric_value(definition, found))
    assert math.isfinite(relative_degradation(definition, found - math.log(definition.floor)))
    assert math.isfinite(smallest_that_matters(definition, POLICY, found))


def test_a_steep_metric_does_not_overflow() -> None:
    """A loss that is squared stays finite where the square would not."""
    definition = MetricDefinition(name="squared", higher_is_better=False, power=2.0)
    assert math.isfinite(log_loss(definition, 1e200))


def test_what_matters_is_relative_and_absolute() -> None:
    """Precision .999 against .9999 is ten times the loss, and less than a point: it does not matter."""
    definition = BY_NAME["precision"]
    good, worse, bad = (log_loss(definition, value) for value in (0.9999, 0.999, 0.97))
    assert not matters(definition, POLICY, worse, good)
    assert matters(definition, POLICY, bad, good)
    rmse = BY_NAME["rmse"]
    assert not matters(rmse, POLICY, math.log(10.99), math.log(10.0))
    assert matters(rmse, POLICY, math.log(11.01), math.log(10.0))


@pytest.mark.parametrize("name", ["r_squared", "rmse", "precision"])
def test_the_smallest_that_matters_is_where_it_begins(name: str) -> None:
    """Just above it matters, just below it does not."""
    definition = BY_NAME[name]
    baseline = log_loss(definition, 0.9)
    edge = smallest_that_matters(definition, POLICY, baseline)
    assert matters(definition, POLICY, edge + 1e-9, baseline)
    assert not matters(definition, POLICY, edge - 1e-9, baseline)


def test_the_spread_floor_is_a_tenth_of_what_matters() -> None:
    """10% matter: a spread below 1% is not believed; in R², whose loss is a root, half of that."""
    assert spread_floor(BY_NAME["rmse"], POLICY) == pytest.approx(0.1 * math.log(1.1))
    assert spread_floor(BY_NAME["r_squared"], POLICY) == pytest.approx(0.05 * math.log(1.1))
    assert spread_floor(BY_NAME["rmse"], MonitoringPolicy(min_degradation=0.0)) > 0.0
