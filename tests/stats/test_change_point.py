"""The most likely change point: a published series, size and coverage by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata

from model_perf.errors import TooFewObservationsError
from model_perf.stats import change_point
from model_perf.stats._change_point import _pettitt_pvalue

# Annual flow of the Nile at Aswan 1871-1970, 1e8 m3 (Cobb 1978, Biometrika 65, table 1; R's datasets::Nile).
NILE = [
    *(1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180, 799, 958, 1140),
    *(1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701, 916, 692, 1020, 1050, 969),
    *(831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845, 864, 862, 698, 845, 744, 796, 1040, 759),
    *(781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649, 846, 812, 742, 801, 1040, 860, 874, 848, 890),
    *(744, 749, 838, 1050, 918, 986, 797, 923, 975, 815, 1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740),
]


def test_the_nile_fell_after_1898() -> None:
    """The Nile's flow fell between 1898 and 1899, the change that Cobb (1978) and others since have found."""
    found = change_point(np.arange(1871, 1971) * 365.25, NILE)
    assert found is not None
    assert 1871 + found.index == 1899
    assert 1896 <= 1871 + found.low <= 1899 <= 1871 + found.high <= 1902
    assert found.significant
    # Medians of 1871-1898 and 1899-1970.
    assert found.effect == np.median(NILE[28:]) - np.median(NILE[:28])


def test_pettitts_approximation() -> None:
    """p = 2 exp(-6 K^2 / (n^3 + n^2)), at most 1, where K is the largest |2 sum of ranks - k (n + 1)|."""
    # The definition as in the manual of R's trend::pettitt.test, on scipy's ranks.
    k = np.arange(1, 101)
    largest = np.abs(2 * np.cumsum(rankdata(NILE)) - k * 101).max()
    assert largest == 1617
    assert _pettitt_pvalue(1617.0, 100, 1.0) == pytest.approx(2 * math.exp(-6 * 1617**2 / 1_010_000))
    assert _pettitt_pvalue(0.0, 100, 1.0) == 1.0
    # The Nile's own autocorrelation about its two levels (factor about 1.4) raises 3.6e-07 to 2e-05.
    found = change_point(np.arange(100), NILE)
    assert found is not None
    assert 3.6e-7 < found.pvalue < 1e-4


def test_positions_are_those_of_the_arguments() -> None:
    """Given in reverse order, the positions point at the same observations."""
    days, values = np.arange(20.0), np.array([1.0, 1.2, 0.9, 1.1] * 3 + [6.0, 6.2] * 4)
    forward, backward = change_point(days, values), change_point(days[::-1], values[::-1])
    assert forward is not None
    assert backward is not None
    assert (forward.index, backward.index) == (12, 7)
    assert forward.pvalue == backward.pvalue


def test_an_outlier_is_no_change() -> None:
    """A single value of 1e9 makes no significant change, and none of its size."""
    values = np.random.default_rng(2).standard_normal(40)
    values[20] = 1e9
    found = change_point(np.arange(40), values)
    assert found is not None
    assert not found.significant
    assert abs(found.effect) < 5.0


def test_two_plateaus_are_a_change() -> None:
    """A step without any noise is found where it is, and nowhere else."""
    found = change_point(np.arange(20), [0.1] * 13 + [0.3] * 7)
    assert found is not None
    assert (found.low, found.index, found.high) == (13, 13, 13)
    assert found.significant


def test_equal_values_have_no_change() -> None:
    """Where all values are equal there is no most likely place."""
    assert change_point(np.arange(10), np.full(10, 0.3)) is None


def test_seven_are_too_few() -> None:
    """Fewer than eight values are refused."""
    with pytest.raises(TooFewObservationsError, match="values: has 7 entries; 8 are needed"):
        change_point(np.arange(7), np.arange(7))


@pytest.mark.parametrize(("phi", "claim"), [(0.0, 0.05), (0.3, 0.05), (0.6, 0.06)])
@pytest.mark.parametrize("n", [12, 20, 30, 100])
def test_size(
    phi: float,
    claim: float,
    n: int,
    autoregressive: Callable[..., NDArray[np.float64]],
    most_often: Callable[[float, int], int],
) -> None:
    """Unchanged series are called changed in at most 5% (6% at phi .6); binomial bound at .999 on 2,000."""
    found = [change_point(np.arange(n), values) for values in autoregressive(phi, 2000, n, seed=10 * n + int(10 * phi))]
    assert sum(one is not None and one.significant for one in found) <= most_often(claim, 2000)


@pytest.mark.parametrize("phi", [0.0, 0.3])
def test_coverage(
    phi: float, autoregressive: Callable[..., NDArray[np.float64]], most_often: Callable[[float, int], int]
) -> None:
    """The interval misses a step of 1.5 sd at 20 of 30 in at most 5%; binomial bound at .999 on 1,500."""
    series = autoregressive(phi, 1500, 30, seed=4) + np.where(np.arange(30) < 20, 0.0, 1.5)
    found = [change_point(np.arange(30), values) for values in series]
    assert sum(one is None or not one.low <= 20 <= one.high for one in found) <= most_often(0.05, 1500)


def test_a_clear_step_is_found(autoregressive: Callable[..., NDArray[np.float64]]) -> None:
    """A step of 3 sd at 20 of 30 independent values is significant in at least 90% and placed within one in 90%."""
    series = autoregressive(0.0, 500, 30, seed=5) + np.where(np.arange(30) < 20, 0.0, 3.0)
    found = [change_point(np.arange(30), values) for values in series]
    # Simulated: .94 and .94; 3 standard errors below are .91.
    assert sum(one is not None and one.significant for one in found) >= 450
    assert sum(one is not None and abs(one.index - 20) <= 1 for one in found) >= 450
