"""How often the judge is wrong, and how soon it is right: the figures that the documentation states."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.drift.simulation import BASELINE, Array, autoregressive, first_alarms
from tests.factories import make_evaluation

from model_perf.drift import EMPTY, judge_performance
from model_perf.policy import MetricDefinition, MonitoringPolicy

NAMES = ("rmse", "mae", "log_loss", "pinball_loss")
# No degradation is too small to count, so that the statistics alone hold the budget.
POLICY = MonitoringPolicy(metrics=[MetricDefinition(name="pinball_loss", higher_is_better=False)], min_degradation=0.0)
BUDGET = POLICY.false_alarm_run_length


def judged_first_alarm(series: Array, names: Sequence[str] = NAMES, policy: MonitoringPolicy = POLICY) -> int:
    """The same as `first_alarms` of one series, by the judge itself; losses are exp(.05 x)."""
    state = EMPTY
    for day, row in enumerate(series.tolist()):
        metrics = {name: math.exp(0.05 * value) for name, value in zip(names, row, strict=True)}
        report, state = judge_performance(state, make_evaluation(day=day, metrics=metrics), policy)
        if report.verdict == "critical":
            return day + 1
    return len(series) + 1


@pytest.mark.parametrize("phi", [0.0, 0.6])
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_the_simulated_rule_is_the_judges(phi: float, shift: float) -> None:
    """The rule that is simulated alarms at the very evaluation at which the judge does."""
    series = autoregressive(np.random.default_rng(3), 20, 240, [phi] * 4)
    series[100:, :, 0] += shift
    judged = [judged_first_alarm(series[:, i]) for i in range(20)]
    assert judged == first_alarms(series, POLICY).tolist()
    assert len(set(judged)) > 2


def mean_with_error(lengths: NDArray[np.int64]) -> tuple[float, float]:
    return float(lengths.mean()), float(lengths.std() / math.sqrt(len(lengths)))


@pytest.mark.parametrize(
    ("phi", "correlation"),
    [
        ([0.0] * 4, 0.0),
        ([0.3] * 4, 0.0),
        ([0.6] * 4, 0.0),
        # The mean of these, taken for each, gave one false alarm per 135 evaluations.
        ([0.0, 0.0, 0.6, 0.6], 0.0),
        # r_squared, rmse and mae of one model say nearly the same.
        ([0.3] * 4, 0.95),
        ([0.3], 0.0),
    ],
)
def test_a_false_alarm_comes_at_most_once_per_budget(phi: list[float], correlation: float) -> None:
    """The mean run until a critical verdict, when nothing has changed, is above the policy's 500 evaluations."""
    series = autoregressive(np.random.default_rng(41), 700, 3000, phi, correlation)
    # Series without an alarm in 3000 count as 3001, which makes the mean too small.
    mean, error = mean_with_error(first_alarms(series, POLICY))
    # Normal bound on the mean at .001: the claim must hold with room to spare.
    assert mean - 3.1 * error >= BUDGET


@pytest.mark.parametrize(("phi", "n_baseline"), [(0.0, 8), (0.6, 8)])
def test_a_short_baseline_keeps_the_budget(phi: float, n_baseline: int) -> None:
    """Weekly evaluations, whose baseline are the first eight, keep the mean run above 500 too."""
    series = autoregressive(np.random.default_rng(42), 700, 3000, [phi] * 4)
    mean, error = mean_with_error(first_alarms(series, POLICY, n_baseline))
    assert mean - 3.1 * error >= BUDGET


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.6])
def test_the_first_evaluations_do_not_alarm(phi: float) -> None:
    """While 8 to 12 evaluations are all there is, at most one series in 125 alarms: 4 evaluations of the budget."""
    series = autoregressive(np.random.default_rng(43), 20_000, 12, [phi] * 4)
    alarmed = int((first_alarms(series, POLICY) <= 12).sum())
    # Binomial(20000, 4/500 = .008): mean 160; 200 is its .999 quantile (scipy.stats.binom.ppf).
    assert alarmed <= 200


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.6])
def test_half_a_year_of_daily_evaluations(phi: float) -> None:
    """Within 253 evaluations no more unchanged series alarm than one alarm per 500 allows."""
    series = autoregressive(np.random.default_rng(44), 1500, 253, [phi] * 4)
    alarmed = int((first_alarms(series, POLICY) <= 253).sum())
    # Binomial(1500, 1 - exp(-253/500) = .397) + 3.1 standard deviations; simulated .32, .37, .38.
    assert alarmed <= 1500 * 0.397 + 3.1 * math.sqrt(1500 * 0.397 * 0.603)


def delays(shift: float, after: int, n_metrics: int, phi: float = 0.0) -> NDArray[np.int64]:
    """Evaluations from a change of the first metric until the alarm; false alarms before it do not count."""
    series = autoregressive(np.random.default_rng(45), 2000, after + 400, [phi] * n_metrics)
    series[after:, :, 0] += shift
    alarms = first_alarms(series, POLICY)
    found: NDArray[np.int64] = alarms[alarms > after] - after
    return found


@pytest.mark.parametrize(("shift", "mean"), [(1.0, 20.7), (2.0, 4.5), (4.0, 1.44)])
def test_the_delay_of_a_degradation(shift: float, mean: float) -> None:
    """A lasting shift of the only metric by 1, 2, 4 standard deviations is found after 21, 4.5, 1.4 evaluations."""
    # Simulated with another program; 2000 series leave standard errors of .7, .06, .02.
    found = delays(shift, 60, 1)
    assert found.mean() <= mean + 3.1 * float(found.std()) / math.sqrt(len(found))


@pytest.mark.parametrize(("shift", "mean", "median"), [(1.0, 33.0, 18.0), (2.0, 6.5, 6.0), (4.0, 2.0, 1.0)])
@pytest.mark.parametrize("after", [BASELINE, 100])
def test_the_delay_where_one_of_four_metrics_degrades(after: int, shift: float, mean: float, median: float) -> None:
    """Three more metrics that do not change cost some delay, since all four share the budget."""
    found = delays(shift, after, 4)
    assert found.mean() <= mean + 3.1 * float(found.std()) / math.sqrt(len(found))
    assert float(np.median(found)) <= median


def test_a_slow_degradation_is_not_taken_for_normal() -> None:
    """A loss that creeps up by two standard deviations over 200 evaluations is found in nearly every series."""
    series = autoregressive(np.random.default_rng(47), 500, 330, [0.3])
    series[30:230, :, 0] += np.linspace(0.0, 2.0, 200)[:, None]
    series[230:, :, 0] += 2.0
    # Simulated 497. Binomial(500, .98): 482 is its .01 quantile (scipy.stats.binom.ppf).
    assert int((first_alarms(series, POLICY) <= 330).sum()) >= 482


def test_raw_r_squared_would_break_the_level() -> None:
    """One-sided t intervals at 1/500 are held on the log loss and missed several times over on raw R²."""
    rng = np.random.default_rng(46)
    # 1 - R² lognormal: the log loss of r_squared, log sqrt(1 - R²), is normal with a standard deviation of .2.
    log_loss = rng.normal(math.log(0.3), 0.2, size=(60_000, BASELINE + 1))
    policy = MonitoringPolicy(min_degradation=0.0, false_alarm_run_length=250.0)

    def size(values: Array) -> int:
        baseline, new = values[:, :-1], values[:, -1]
        t = (new - baseline.mean(axis=1)) / (baseline.std(axis=1, ddof=1) * math.sqrt(1.0 + 1.0 / BASELINE))
        # scipy.stats.t.ppf(1 - 1/500, 29)
        return int((t > 3.1337).sum())

    assert 1.0 / (2.0 * policy.false_alarm_run_length) == 1.0 / 500.0
    # Binomial(60000, 1/500): mean 120, .0005 and .9995 quantiles 86 and 158 (scipy.stats.binom.ppf).
    assert 86 <= size(log_loss) <= 158
    assert size(np.exp(2.0 * log_loss)) > 4 * 158
