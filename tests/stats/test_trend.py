"""The trend of a metric: what it answers, and how often it errs (simulated)."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from attrs import asdict
from numpy.typing import NDArray

from model_perf.errors import InvalidInputError, NaiveTimestampError
from model_perf.stats import MetricTrend, theil_sen, trend

DAYS = np.arange(12.0)
START = datetime(2024, 1, 1, tzinfo=UTC)


def _wobble(level: float, slope: float, n: int = 12) -> NDArray[np.float64]:
    # Alternating +-0.01: negatively autocorrelated, so that r* is 0.
    return level + slope * np.arange(n) + 0.01 * (-1.0) ** np.arange(n)


def _finite(found: MetricTrend) -> bool:
    return all(math.isfinite(value) for value in _numbers(asdict(found)))


def _numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in _numbers(item)]
    return [value] if isinstance(value, int | float) else []


def test_a_growing_error_is_degrading() -> None:
    """An RMSE that grows from 10 by 0.1 a day degrades by 1% of its level a day and loses 10% in 10 days."""
    found = trend(DAYS, _wobble(10.0, 0.1), higher_is_better=False)
    assert found.direction == "degrading"
    # The median pairwise slope of the wobble is off by at most 0.02 per day.
    assert found.slope_per_day == pytest.approx(0.1, abs=0.005)
    assert found.degradation_rate == pytest.approx(1.0, abs=0.05)
    assert found.level_start == pytest.approx(10.0, abs=0.05)
    assert found.days_to_threshold == 0.0  # 11 days have passed, the line has lost 11%


def test_days_to_threshold_count_from_the_last_observation() -> None:
    """At 0.5% a day, 5.5% are lost within 11 days, and 10% in about 9 days more."""
    found = trend(DAYS, _wobble(10.0, 0.05), higher_is_better=False)
    assert found.days_to_threshold == pytest.approx(20.0 - 11.0, abs=1.0)


def test_days_to_threshold_from_the_baseline() -> None:
    """With a baseline of 9.5 the threshold is 10.45, which the line from 10 at 0.05 a day is past on day 9."""
    values = _wobble(10.0, 0.05)
    found = trend(DAYS[:8], values[:8], higher_is_better=False, baseline=9.5)
    assert found.slope_per_day is not None
    assert found.level_start is not None
    assert found.days_to_threshold == pytest.approx((10.45 - found.level_start) / found.slope_per_day - 7.0, abs=1e-9)


def test_a_scores_rate_is_relative_to_its_loss() -> None:
    """A score that falls from 0.9 by 0.01 a day loses 10% of its distance to 1 a day, not 1.1% of its level."""
    found = trend(DAYS, 0.9 - 0.01 * DAYS, higher_is_better=True, best=1.0)
    assert found.direction == "degrading"
    assert found.degradation_rate == pytest.approx(10.0)


def test_a_series_on_a_line_is_not_taken_for_correlated() -> None:
    """Residuals that are rounding have no autocorrelation, and the plainest trend is found."""
    found = trend(DAYS, 0.9 - 0.01 * DAYS, higher_is_better=True, best=1.0)
    assert found.autocorrelation == 0.0
    # z = (66 - 1) / sqrt(12 * 11 * 29 / 18) = 4.457
    assert found.pvalue == pytest.approx(8.3e-6, rel=0.01)


def test_without_a_known_best_the_rate_is_relative_to_the_level() -> None:
    """A revenue of 200 that falls by 2 a day loses 1% of itself a day."""
    found = trend(DAYS, 200.0 - 2.0 * DAYS, higher_is_better=True, best=None)
    assert found.direction == "degrading"
    assert found.degradation_rate == pytest.approx(1.0)


def test_a_loss_near_zero_is_floored() -> None:
    """A score at its best has no loss to be relative to; the floor stands in."""
    found = trend(DAYS, 1.0 - 1e-6 * DAYS, higher_is_better=True, best=1.0, floor=0.01)
    assert found.degradation_rate == pytest.approx(100 * 1e-6 / 0.01)


def test_turning_the_metric_turns_the_direction() -> None:
    """The same series is degrading as an error and improving as a score; the rate changes its sign."""
    values = _wobble(10.0, 0.1)
    error = trend(DAYS, values, higher_is_better=False)
    score = trend(DAYS, values, higher_is_better=True, best=21.0)
    assert (error.direction, score.direction) == ("degrading", "improving")
    assert error.pvalue == score.pvalue
    assert score.degradation_rate is not None
    assert score.degradation_rate < 0.0
    assert score.days_to_threshold is None


def test_stable_needs_evidence() -> None:
    """Without a trend, little noise excludes a loss of 10% (stable) and much noise does not (inconclusive)."""
    noise = np.random.default_rng(11).permutation(np.linspace(-1.0, 1.0, 30))
    quiet = trend(np.arange(30), 10.0 + 0.2 * noise, higher_is_better=False)
    loud = trend(np.arange(30), 10.0 + 5.0 * noise, higher_is_better=False)
    assert quiet.pvalue == loud.pvalue
    assert quiet.pvalue is not None
    assert quiet.pvalue > 0.05
    assert (quiet.direction, loud.direction) == ("stable", "inconclusive")


def test_equal_values_are_stable() -> None:
    """A metric that never changes is stable: slope 0, p 1, no change point, nothing NaN."""
    found = trend(DAYS, np.full(12, 0.1), higher_is_better=False)
    assert found.direction == "stable"
    assert (found.slope_per_day, found.pvalue, found.degradation_rate) == (0.0, 1.0, 0.0)
    assert found.change_point is None
    assert _finite(found)


def test_unknown_direction_is_inconclusive() -> None:
    """Where nobody has said whether higher is better there is a slope and a p-value, and no judgement."""
    found = trend(DAYS, _wobble(10.0, 0.1), higher_is_better=None)
    assert found.direction == "inconclusive"
    assert found.pvalue is not None
    assert found.pvalue < 0.01
    assert found.degradation_rate is None
    assert found.days_to_threshold is None
    assert "nobody has said" in found.reason


@pytest.mark.parametrize("n", [0, 1, 7])
def test_fewer_than_eight_are_insufficient(n: int) -> None:
    """Fewer than eight observations have no trend; the reason says how many are missing."""
    found = trend(np.arange(n), np.arange(n), higher_is_better=False)
    assert found.direction == "insufficient_data"
    assert found.reason == f"{n} observations; a trend needs 8, {8 - n} more"
    assert found.degradation_rate is None


def test_one_time_is_insufficient() -> None:
    """Observations of one time only have no trend, however many."""
    found = trend(np.zeros(9), np.arange(9), higher_is_better=False)
    assert (found.direction, found.n) == ("insufficient_data", 9)


def test_strong_autocorrelation_in_few_points_is_inconclusive() -> None:
    """Eight points of one slow wave bound no slope: no interval, and no stability either."""
    slow = trend(np.arange(8), [1.0, 2.0, 3.0, 2.5, 1.0, -1.0, -1.5, 0.0], higher_is_better=False, best=-5.0)
    assert slow.autocorrelation == 0.95
    assert slow.confidence_interval is None
    assert slow.direction == "inconclusive"


def test_times_may_be_datetimes() -> None:
    """Aware datetimes of any zone, datetime64 and days as floats give the same trend."""
    hours = [0, 20, 50, 71, 99, 120, 140, 170, 190]
    values = [3.0, 3.1, 3.0, 3.3, 3.4, 3.3, 3.6, 3.5, 3.9]
    zone = timezone(timedelta(hours=5, minutes=30))
    aware = [(START + timedelta(hours=h)).astimezone(zone) for h in hours]
    naive = np.array([np.datetime64("2024-01-01") + np.timedelta64(h, "h") for h in hours])
    expected = trend(np.array(hours) / 24, values, higher_is_better=False)
    assert trend(aware, values, higher_is_better=False) == expected
    assert trend(naive, values, higher_is_better=False) == expected
    assert trend(list(naive), values, higher_is_better=False) == expected


def test_real_time_counts() -> None:
    """A gap of 100 days in the middle is time: the slope is per day, not per observation."""
    times = np.concatenate((np.arange(6.0), 105.0 + np.arange(6.0)))
    found = trend(times, 1.0 + 0.02 * times, higher_is_better=False)
    assert found.slope_per_day == pytest.approx(0.02)


def test_order_does_not_matter() -> None:
    """The same observations in another order have the same trend."""
    rng = np.random.default_rng(8)
    values, shuffled = rng.random(30), rng.permutation(30)
    times = np.arange(30.0)
    expected = trend(times, values, higher_is_better=False)
    found = trend(times[shuffled], values[shuffled], higher_is_better=False)
    assert asdict(found) | {"change_point": None} == asdict(expected) | {"change_point": None}
    assert expected.change_point is not None
    assert found.change_point is not None
    assert shuffled[found.change_point.index] == expected.change_point.index


def test_units_do_not_matter() -> None:
    """Kilowatts or watts: direction, p-value and rate are the same."""
    values = 10.0 + np.random.default_rng(9).random(40)
    small, large = (trend(np.arange(40), factor * values, higher_is_better=False) for factor in (1.0, 1024.0))
    assert (small.direction, small.pvalue) == (large.direction, large.pvalue)
    assert small.degradation_rate == pytest.approx(large.degradation_rate, rel=1e-9)


def test_the_interval_is_that_of_the_widened_variance() -> None:
    """The slope's interval uses the factor of the autocorrelation that is reported."""
    values = 5.0 + np.random.default_rng(10).random(40).cumsum() * 0.01
    found = trend(np.arange(40), values, higher_is_better=False)
    assert found.autocorrelation is not None
    k = np.arange(1, 40)
    factor = 1 + 2 * np.sum((1 - k / 40) * found.autocorrelation**k)
    assert factor > 1.5
    assert found.confidence_interval == theil_sen(np.arange(40), values, variance_factor=factor).confidence_interval


@pytest.mark.parametrize(
    "values",
    [
        [1e150, -1e150] * 6,
        [1e-300 * i for i in range(12)],
        [0.0] * 11 + [1e150],
        [5e-324] * 6 + [0.0] * 6,
        [2.0**60 + i for i in range(12)],
        [0, 1] * 6,
    ],
)
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_extreme_values_stay_finite(values: list[float], scale: float) -> None:
    """Neither huge nor tiny values, nor times a microsecond or centuries apart, make a NaN or an infinity."""
    for higher_is_better in (True, False):
        assert _finite(trend(DAYS * scale, values, higher_is_better=higher_is_better, floor=1e-30))


@pytest.mark.parametrize(
    ("times", "values", "message"),
    [
        (DAYS, [1.0] * 11, "values: has 11 entries and times has 12"),
        (DAYS, [1.0] * 11 + [math.nan], "values: holds nan at position 11"),
        (DAYS, [math.inf] + [1.0] * 11, "values: holds inf at position 0"),
        (DAYS, ["1"] * 12, "values: holds <U1, not numbers"),
        (DAYS, [True] * 12, "values: holds bool, not numbers"),
        (DAYS, np.ones((12, 1)), "values: has 2 dimensions"),
        (DAYS, np.ma.masked_equal([0.0] + [1.0] * 11, 0.0), "values: has masked entries"),
        (["2024-01-01"] * 12, DAYS, "times: holds <U10, not numbers"),
        (np.array(["NaT"] * 12, dtype="datetime64[s]"), DAYS, "times: holds NaT"),
        ([START] * 11 + [1.0], DAYS, "times: 1.0 is not a datetime"),
    ],
)
def test_bad_input_is_refused_by_name(times: Any, values: Any, message: str) -> None:
    """What is no series of finite numbers in time is refused with the argument's name."""
    with pytest.raises(InvalidInputError) as refused:
        trend(times, values, higher_is_better=False)
    assert str(refused.value).startswith(message)


def test_naive_datetimes_are_refused() -> None:
    """A datetime without a zone is refused, even a single one among aware ones."""
    with pytest.raises(NaiveTimestampError, match="times"):
        trend([START] * 11 + [START.replace(tzinfo=None)], DAYS, higher_is_better=False)


@pytest.mark.parametrize("argument", ["alpha", "floor", "min_degradation", "best", "baseline"])
def test_bad_thresholds_are_refused_by_name(argument: str) -> None:
    """A threshold that is NaN is refused by its name."""
    arguments: dict[str, Any] = {argument: math.nan}
    with pytest.raises(InvalidInputError) as refused:
        trend(DAYS, DAYS, higher_is_better=False, **arguments)
    assert refused.value.argument == argument


def test_the_input_is_not_changed() -> None:
    """The arrays that came in are as they were."""
    times, values = DAYS[::-1].copy(), _wobble(1.0, 0.0)
    before = times.copy(), values.copy()
    trend(times, values, higher_is_better=False)
    assert np.array_equal(times, before[0])
    assert np.array_equal(values, before[1])


def test_ten_thousand_points() -> None:
    """Ten thousand points have an exact trend without 5e7 slopes in memory."""
    import tracemalloc

    rng = np.random.default_rng(12)
    values = rng.standard_normal(10_000)
    tracemalloc.start()
    found = trend(np.arange(10_000.0), values, higher_is_better=False, best=-10.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert _finite(found)
    assert peak < 100e6  # the slopes alone would take 400e6 bytes


def _moved(found: MetricTrend) -> bool:
    return found.direction in ("improving", "degrading")


# Level 10 and sd 0.3: a loss of 10% is 3.3 sd over the window.
SIZES = [(n, phi, 0.08) for n in (8, 12, 20, 50, 100) for phi in (0.0, 0.3, 0.6)]
SIZES += [(n, 0.8, 0.11) for n in (8, 12, 20, 30)]


@pytest.mark.parametrize(("n", "phi", "claim"), SIZES)
def test_size(
    n: int,
    phi: float,
    claim: float,
    autoregressive: Callable[..., NDArray[np.float64]],
    most_often: Callable[[float, int], int],
) -> None:
    """A series without a trend shows one in at most 8% (phi <= .6; 11% at .8); binomial bound at .999 on 2,000."""
    series = 10.0 + 0.3 * autoregressive(phi, 2000, n, seed=n + int(1000 * phi))
    moved = sum(_moved(trend(np.arange(n), values, higher_is_better=False)) for values in series)
    assert moved <= most_often(claim, 2000)


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.6])
def test_size_on_uneven_times(
    phi: float, autoregressive: Callable[..., NDArray[np.float64]], most_often: Callable[[float, int], int]
) -> None:
    """At exponential gaps the size is at most 8% too; binomial bound at .999 on 2,000."""
    times = np.random.default_rng(13).exponential(size=20).cumsum()
    series = 10.0 + 0.3 * autoregressive(phi, 2000, 20, seed=14)
    assert sum(_moved(trend(times, y, higher_is_better=False)) for y in series) <= most_often(0.08, 2000)


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("n", [8, 20, 50])
def test_a_real_loss_is_seldom_called_stable(
    n: int,
    phi: float,
    autoregressive: Callable[..., NDArray[np.float64]],
    most_often: Callable[[float, int], int],
) -> None:
    """A loss of 10% over the window is called stable in at most 4%; binomial bound at .999 on 1,500."""
    series = 10.0 + np.linspace(0.0, 1.0, n) + 0.3 * autoregressive(phi, 1500, n, seed=n)
    found = [trend(np.arange(n), values, higher_is_better=False).direction for values in series]
    assert found.count("stable") <= most_often(0.04, 1500)


@pytest.mark.parametrize(("phi", "least"), [(0.0, 0.95), (0.3, 0.80), (0.6, 0.50)])
def test_power(phi: float, least: float, autoregressive: Callable[..., NDArray[np.float64]]) -> None:
    """A loss of 10% (3.3 sd) over 30 days is found in at least 95%, 80%, 50% at phi 0, .3, .6."""
    # Simulated with 1,000 series: .989, .848, .571; the bounds are 3 standard errors lower on 500.
    series = 10.0 + np.linspace(0.0, 1.0, 30) + 0.3 * autoregressive(phi, 500, 30, seed=15)
    found = [trend(np.arange(30), values, higher_is_better=False).direction for values in series]
    assert found.count("degrading") >= least * 500
    assert found.count("improving") == 0
