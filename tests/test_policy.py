"""The thresholds: what they take, what they mean."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from model_perf import InvalidInputError, MetricDefinition, MonitoringPolicy
from model_perf.policy import KNOWN_METRICS, degradation

POLICY = MonitoringPolicy()
BY_NAME = {definition.name: definition for definition in KNOWN_METRICS}


@pytest.mark.parametrize(
    ("names", "primary"),
    [
        (["rmse", "f1_score", "r_squared"], "r_squared"),
        (["rmse", "f1_score"], "f1_score"),
        (["mae", "rmse"], "mae"),
        (["own", "rmse"], "rmse"),
        (["own"], None),
        ([], None),
    ],
)
def test_the_primary_metric(names: list[str], primary: str | None) -> None:
    """r_squared, else f1_score, else the first with a known direction."""
    assert POLICY.primary_metric(names) == primary
    assert POLICY.primary_metric(iter(names)) == primary


def test_own_metrics_join_the_known_ones() -> None:
    """A host's definition is added, and replaces a known one of its name."""
    own = [
        MetricDefinition(name="scrap", higher_is_better=False),
        MetricDefinition(name="mae", higher_is_better=False, min_change=2.0),
    ]
    policy = MonitoringPolicy(metrics=own)
    assert policy.definition("scrap") == own[0]
    assert policy.definition("mae") == own[1]
    assert policy.definition("rmse") == BY_NAME["rmse"]
    assert policy.definition("other") is None


def test_a_policy_can_be_evolved() -> None:
    """One threshold is changed with the rest kept, the host's metrics among them."""
    policy = MonitoringPolicy(metrics=[MetricDefinition(name="scrap", higher_is_better=False)])
    changed = attrs.evolve(policy, alpha=0.01)
    assert (changed.alpha, changed.metrics) == (0.01, policy.metrics)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("false_alarm_run_length", 19),
        ("false_alarm_run_length", math.inf),
        ("alpha", 0.0),
        ("alpha", 1.0),
        ("alpha", math.nan),
        ("min_degradation", -0.1),
        ("baseline_days", -1),
        ("baseline_min", 4),
        ("baseline_min", 8.0),
        ("cusum_k", 0.0),
        ("cusum_min", 7),
        ("max_autocorrelation", 1.0),
        ("drift_warning", -0.1),
        ("drift_warning", math.nan),
        ("drift_critical", 0.09),
        ("min_share_change", 1.1),
        ("min_range_change", -0.1),
        ("max_attempts", 0),
        ("max_attempts", True),
        ("retrain_on", ("ok",)),
        ("retrain_on", "critical"),
        ("retrain_on", None),
        ("metrics", ["rmse"]),
        ("metrics", 5),
        ("challenge_champion", "no"),
    ],
)
def test_a_policy_refuses_by_name(argument: str, value: Any) -> None:
    """A threshold outside of what it can mean is refused with its name."""
    fields: dict[str, Any] = {argument: value}
    with pytest.raises(InvalidInputError) as refused:
        MonitoringPolicy(**fields)
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("name", ""),
        ("best", math.inf),
        ("power", 0.0),
        ("scale", -1.0),
        ("min_change", -0.1),
        ("best", None),
        ("higher_is_better", "no"),
    ],
)
def test_a_definition_refuses_by_name(argument: str, value: Any) -> None:
    """A metric's definition is checked when it is made."""
    fields: dict[str, Any] = {"name": "own", "higher_is_better": True, "best": 1.0, argument: value}
    with pytest.raises(InvalidInputError) as refused:
        MetricDefinition(**fields)
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    ("name", "value", "loss"),
    [
        ("rmse", 12.5, 12.5),
        ("mape", 0.1, 0.1),
        ("r_squared", 0.75, 0.5),  # sqrt(1 - R²), the relative RMSE
        ("r_squared", -15.0, 4.0),
        ("f1_score", 0.9, 0.1),
        ("roc_auc", 0.75, 0.5),  # 2 (1 - AUC)
        ("r_squared", 1.0, 0.0),
        ("rmse", 0.0, 0.0),
    ],
)
def test_the_losses_of_the_statistics(name: str, value: float, loss: float) -> None:
    """L as statistics.md section 2 defines it for each kind of metric."""
    assert BY_NAME[name].loss(value) == pytest.approx(loss)


@pytest.mark.parametrize("definition", KNOWN_METRICS, ids=lambda definition: definition.name)
def test_a_loss_is_a_number(definition: MetricDefinition) -> None:
    """Every finite value has a finite loss, not below zero, and a degradation that is finite too."""
    for value in (1e308, -1e308, 5e-324, 0.0, 1.0):
        loss = definition.loss(value)
        assert 0.0 <= loss < math.inf
        assert math.isfinite(degradation(definition, loss, definition.loss(definition.best)))
        assert math.isfinite(degradation(definition, 0.0, loss))


def test_a_scores_best_value_must_be_said() -> None:
    """Nobody can guess what a score of the host's own cannot exceed; of an error it is 0."""
    with pytest.raises(InvalidInputError, match="best"):
        MetricDefinition(name="yield", higher_is_better=True)
    assert MetricDefinition(name="scrap", higher_is_better=False).best == 0.0


def test_degradation_is_relative_to_what_the_contract_says() -> None:
    """Of an error its own growth, of R² and other scores that of 1 - score; negative when better."""
    of = {name: BY_NAME[name] for name in ("rmse", "r_squared", "f1_score")}
    for name, now, before, expected in (
        ("rmse", 11.2, 10.0, 0.12),
        ("rmse", 9.0, 10.0, -0.1),
        ("r_squared", 0.88, 0.9, 0.2),
        ("f1_score", 0.7, 0.9, 2.0),
    ):
        assert degradation(of[name], of[name].loss(now), of[name].loss(before)) == pytest.approx(expected)


def test_a_perfect_baseline_does_not_explode() -> None:
    """The smallest change that matters is the floor of both losses."""
    score = BY_NAME["f1_score"]
    assert degradation(score, score.loss(0.995), score.loss(1.0)) == 0.0
    assert degradation(score, score.loss(0.98), score.loss(1.0)) == pytest.approx(1.0)  # .02 / .01 - 1


def test_the_defaults_are_what_the_document_says() -> None:
    """statistics.md, section 2: A = 500, 30 days or 8 evaluations, 10%, k = .5 from 12 on, phi at most .9."""
    assert (POLICY.false_alarm_run_length, POLICY.alpha, POLICY.min_degradation) == (500, 0.05, 0.1)
    assert (POLICY.baseline_days, POLICY.baseline_min) == (30, 8)
    assert (POLICY.cusum_k, POLICY.cusum_min, POLICY.max_autocorrelation) == (0.5, 12, 0.9)
    assert (POLICY.drift_warning, POLICY.drift_critical) == (0.1, 0.25)
    assert (POLICY.min_share_change, POLICY.min_range_change) == (0.01, 0.005)
    assert POLICY.retrain_on == ()
