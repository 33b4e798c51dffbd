"""From the value of a metric to the logarithm of its loss, on which everything is tested, and back."""

from __future__ import annotations

import math

from model_perf.policy import MetricDefinition, MonitoringPolicy

_LARGEST = 700.0
"""Logarithms are cut here, just below where their exponential no longer fits a float."""


def log_loss(definition: MetricDefinition, value: float) -> float:
    """log max(loss, floor) of *value*: finite for every finite value, -1e308 and 1e308 included."""
    floor = math.log(definition.floor)
    distance = definition.best - value if definition.higher_is_better else value - definition.best
    if distance <= 0.0:
        return floor
    logarithm = definition.power * (math.log(definition.scale) + math.log(min(distance, 1e308)))
    return max(floor, min(logarithm, _LARGEST))


def metric_value(definition: MetricDefinition, logarithm: float) -> float:
    """The value whose `log_loss` is *logarithm*; at the floor, the best value."""
    if logarithm <= math.log(definition.floor) + 1e-9:
        return definition.best
    distance = math.exp(min(logarithm / definition.power - math.log(definition.scale), _LARGEST))
    return definition.best - distance if definition.higher_is_better else definition.best + distance


def relative_degradation(definition: MetricDefinition, difference: float) -> float:
    """The relative degradation for a *difference* of two log losses: `policy.degradation`, safe from overflow."""
    return math.expm1(min(difference / definition.power, _LARGEST))


def matters(definition: MetricDefinition, policy: MonitoringPolicy, logarithm: float, baseline: float) -> bool:
    """Whether the loss is worse by both `min_degradation` (relative) and `min_change` (absolute)."""
    if relative_degradation(definition, logarithm - baseline) < policy.min_degradation:
        return False
    return math.exp(logarithm) - math.exp(baseline) >= definition.min_change


def smallest_that_matters(definition: MetricDefinition, policy: MonitoringPolicy, baseline: float) -> float:
    """The log loss from which `matters` is true."""
    relative = baseline + definition.power * math.log1p(policy.min_degradation)
    absolute = math.log(min(math.exp(baseline) + definition.min_change, math.exp(_LARGEST)))
    return max(relative, absolute)


def spread_floor(definition: MetricDefinition, policy: MonitoringPolicy) -> float:
    """The smallest standard deviation of log losses that is believed.

    A tenth of what matters: with 8 evaluations or more it hides no degradation that matters, and a baseline of equal
    values gets an answer.
    """
    return max(1e-9, 0.1 * definition.power * math.log1p(policy.min_degradation))
