"""The asymptotic confidence sequence: vectors, its own definition, and the error over a hundred looks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, stdtr

from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import Alternative, asymptotic_confidence_sequence, confidence_sequence, sequence_multipliers
from model_perf.stats._confidence_sequence import _pvalue, _rho_squared, multipliers

SMALL = ["acs_diff_N50_alpha0.05", "acs_diff_N95_alpha0.05", "acs_diff_N500_alpha0.05", "acs_diff_N500_alpha0.1"]


def moments(given: Any) -> Aggregates:
    return Aggregates(**given) if isinstance(given, dict) else Aggregates.from_values(given)


@pytest.mark.parametrize(
    "name",
    [
        *SMALL,
        "acs_diff_N5000_alpha0.1",
        "acs_big_N5000",
        "acs_big_onesided_greater_N5000",
        "acs_big_N20000",
        "acs_big_onesided_lesser_N20000",
    ],
)
def test_vector(vector: Callable[[str], Any], name: str) -> None:
    """With the rho of gbstats, which takes an expansion of the best one, half-width and p are gbstats'."""
    row = vector(name)
    a, b, alpha = moments(row["inputs"]["a"]), moments(row["inputs"]["b"]), row["inputs"]["alpha"]
    alternative: Alternative = "greater" if "greater" in name else "less" if "lesser" in name else "two-sided"
    expected = row["outputs"]
    growth = (a.n + b.n) * expected["rho"] ** 2
    error = math.hypot(a.standard_error, b.standard_error)
    [multiplier] = multipliers(np.array([growth]), alpha, alternative)
    assert multiplier * error == pytest.approx(expected["halfwidth"], rel=row["rtol"])
    pvalue = _pvalue(b.mean - a.mean, error, None, growth, alternative)
    if "p" in expected:
        assert pvalue == pytest.approx(expected["p"], rel=row["rtol"])
    elif alternative == "greater":
        # gbstats bisects to 1e-5 or so.
        assert pvalue == pytest.approx(expected["p_bisection"], abs=1e-5)
    else:
        assert pvalue == 1.0  # where gbstats clips at .4999


def test_the_best_rho(vector: Callable[[str], Any]) -> None:
    """Rho is the exact minimiser, -W(-alpha^2 / e) - 1, and the sequence 1.68 times as wide as a fixed interval."""
    expected = vector("acs_rho_0.1")["outputs"]
    assert _rho_squared(1, 0.1, "two-sided") == pytest.approx(expected["rho2nstar_exact_min"], rel=1e-9)
    z = 1.6448536269514722  # scipy.special.ndtri(.95)
    found = sequence_multipliers([100, 1000, 10_000, 100_000], planned_n=1000, alpha=0.1) / z
    names = ("width_ratio_0.1nstar", "width_ratio_at_nstar_exact", "width_ratio_10nstar", "width_ratio_100nstar")
    assert found[1] == pytest.approx(expected[names[1]], rel=1e-9)
    # The other ratios of the vector are those of another rho, close to the best one.
    assert found == pytest.approx([expected[name] for name in names], rel=0.01)


def test_bound_of_confseq(vector: Callable[[str], Any]) -> None:
    """The normal mixture of the confseq package, sqrt((v + r) log((v + r) / (r alpha^2))), is the same boundary."""
    for alpha in (0.05, 0.01):
        row = vector(f"normal_mixture_bound_two_sided_{alpha}")
        r, v = row["cross_check"]["r"], np.array(row["inputs"]["v"])
        assert np.sqrt(v) * multipliers(v / r, alpha, "two-sided") == pytest.approx(row["outputs"]["bound"], rel=1e-6)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize("df", [None, 12.0])
@pytest.mark.parametrize("effect", [-0.02, -0.06, 0.03, 0.2])
def test_p_and_interval_agree(alternative: Alternative, df: float | None, effect: float) -> None:
    """With rho kept, the sequence at the level p has 0 at its edge."""
    growth = 900 * _rho_squared(1000, 0.05, alternative)
    pvalue = _pvalue(effect, 0.015, df, growth, alternative)
    towards = {"two-sided": abs(effect), "less": -effect, "greater": effect}[alternative]
    if towards < 0.0 or pvalue == 1.0:
        assert multipliers(np.array([growth]), 0.999999, alternative, df)[0] * 0.015 >= towards
    else:
        assert multipliers(np.array([growth]), pvalue, alternative, df)[0] * 0.015 == pytest.approx(towards, rel=1e-6)


def test_t_has_the_tail_of_the_deviate() -> None:
    """With few degrees of freedom the multiplier is the t of the same tail; with many, the deviate itself."""
    [z] = sequence_multipliers([5000], planned_n=5000)
    [t] = sequence_multipliers([5000], planned_n=5000, df=10)
    assert stdtr(10, -t) == pytest.approx(ndtr(-z), rel=1e-9)
    assert sequence_multipliers([5000], planned_n=5000, df=1e7)[0] == pytest.approx(z, rel=1e-5)
    assert t > 1.3 * z


def test_one_side_is_the_mirror_of_the_other() -> None:
    """ "less" bounds from above what "greater" bounds from below with a and b exchanged."""
    a, b = Aggregates(n=400, mean=1.0, m2=380.0), Aggregates(n=500, mean=1.3, m2=600.0)
    greater = asymptotic_confidence_sequence(a, b, planned_n=1000, alternative="greater")
    less = asymptotic_confidence_sequence(b, a, planned_n=1000, alternative="less")
    assert greater.confidence_interval.low == -less.confidence_interval.high
    assert greater.pvalue == less.pvalue < 0.05
    assert greater.confidence_interval.high == math.inf


def test_levels_whose_square_is_no_float() -> None:
    """They have a sequence as well, wider than those of larger levels."""
    widths = [sequence_multipliers([100, 10_000], planned_n=10_000, alpha=alpha) for alpha in (1e-100, 1e-160, 1e-300)]
    assert np.isfinite(widths).all()
    assert (np.diff(widths, axis=0) > 0.0).all()


def test_ten_thousand_looks_at_once() -> None:
    """Looks in one array are those one by one."""
    n = np.arange(1, 10_001) * 20
    together = sequence_multipliers(n, planned_n=50_000)
    for index in (0, 777, 9_999):
        single = confidence_sequence(0.0, 1.0, n=int(n[index]), planned_n=50_000)
        assert single.confidence_interval.high == together[index]


def test_no_spread_and_no_evidence() -> None:
    """Two constants are no evidence of a difference of distributions; no tail of t is no interval."""
    constant = confidence_sequence(0.5, 0.0, n=100, planned_n=100)
    assert (constant.pvalue, constant.confidence_interval.low) == (1.0, 0.5)
    early = confidence_sequence(0.5, 0.1, n=2, planned_n=10**9, df=20)
    assert (early.confidence_interval.low, early.confidence_interval.high) == (-math.inf, math.inf)
    assert 0.0 < confidence_sequence(1e6, 1e-6, n=10**6, planned_n=100).pvalue < 1e-200


def test_equal_models_seldom_differ_in_a_hundred_looks(most_often: Callable[[float, int], int]) -> None:
    """Of 2,000 tests of equal models, looked at 100 times, at most 5% ever exclude 0; naively a third do."""
    rng = np.random.default_rng(2024)
    tests, looks = 2000, np.unique(np.geomspace(100, 10_000, 100).round().astype(int))
    steps = np.diff(looks, prepend=0)
    sums = np.cumsum(rng.standard_normal((2, tests, looks.size)) * np.sqrt(steps), axis=2)
    # Each block's squared deviations about 0: a chi-squared of its size.
    squares = np.cumsum(rng.chisquare(np.maximum(steps - 1, 1e-9), (2, tests, looks.size)), axis=2)
    squares += np.cumsum(np.square(np.diff(sums, axis=2, prepend=0.0)) / steps, axis=2)
    means = sums / looks
    variances = (squares - looks * means**2) / (looks - 1)
    errors = np.sqrt(variances.sum(axis=0) / looks)
    deviates = np.abs(means[1] - means[0]) / errors
    ever = (deviates > sequence_multipliers(2 * looks, planned_n=20_000)).any(axis=1).sum()
    naive = (deviates > 1.96).any(axis=1).mean()
    assert ever <= most_often(0.05, tests)
    assert naive > 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"planned_n": 0}, "planned_n: 0 is outside"),
        ({"planned_n": 10, "alpha": 1.0}, "alpha: 1.0 is outside"),
        ({"planned_n": 10, "alternative": "larger"}, "alternative: 'larger' is none of"),
        ({"planned_n": 10, "n": 0}, "n: 0 is outside"),
        ({"planned_n": 10, "standard_error": -1.0}, "standard_error: -1"),
        ({"planned_n": 10, "effect": math.nan}, "effect: nan"),
        ({"planned_n": 10, "df": 0}, "df: 0 is not positive"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    """What has no sequence is refused by name."""
    effect, standard_error = arguments.pop("effect", 0.0), arguments.pop("standard_error", 1.0)
    with pytest.raises(InvalidInputError, match=message):
        confidence_sequence(effect, standard_error, **{"n": 10, **arguments})


def test_too_few_observations() -> None:
    """One observation has no variance; no look has none."""
    with pytest.raises(TooFewObservationsError):
        asymptotic_confidence_sequence(Aggregates.from_values([1.0]), Aggregates(), planned_n=100)
    with pytest.raises(InvalidInputError, match="n: holds 0"):
        sequence_multipliers([0, 5], planned_n=100)
