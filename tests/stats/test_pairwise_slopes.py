"""The selection from all pairs of slopes against the slopes written out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model_perf.stats import _pairwise_slopes
from model_perf.stats._pairwise_slopes import PairwiseSlopes

N = 700  # enough for several blocks, and for a middle to be cut out


def _all_slopes(times: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    first, second = np.triu_indices(times.size, 1)
    apart = times[second] > times[first]
    return np.sort((values[second] - values[first])[apart] / (times[second] - times[first])[apart])


def _series(kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(3)
    times = np.sort(rng.exponential(size=N).cumsum())
    values = {
        "continuous": rng.standard_normal(N),
        "mostly equal": np.where(rng.random(N) < 0.05, 1.0, 0.0),
        "all equal": np.ones(N),
        "heavy tails": rng.standard_cauchy(N),
        "two decimals": rng.standard_normal(N).round(2),
    }
    if kind == "tied times":
        return np.repeat(np.arange(N / 2), 2), values["continuous"]
    return times, values[kind]


@pytest.mark.parametrize("keeps", ["everything", "the middle", "the median"])
@pytest.mark.parametrize(
    "kind", ["continuous", "mostly equal", "all equal", "heavy tails", "two decimals", "tied times"]
)
def test_the_selection_is_exact(kind: str, keeps: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order statistics, of slopes that are kept and of those that are swept for, are those of all, sorted."""
    if keeps == "everything":
        monkeypatch.setattr(_pairwise_slopes, "_UNCUT", N)
    if keeps == "the median":
        monkeypatch.setattr(_pairwise_slopes, "_MOST", 100)
    times, values = _series(kind)
    expected = _all_slopes(times, values)
    slopes = PairwiseSlopes(times, values)
    ranks = [0, 1, expected.size // 40, expected.size // 2, expected.size - 2, expected.size - 1]
    assert slopes.n_pairs == expected.size
    assert slopes.order_statistics(ranks) == expected[ranks].tolist()
    assert slopes.median() == np.median(expected)
    around = [expected.size // 2 - 1000, expected.size // 2 + 1000]
    assert slopes.order_statistics(around) == expected[around].tolist()
    assert slopes.statistic == int(np.sign(expected).sum())


def test_a_bracket_that_missed_is_widened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer does not depend on the sample's luck: brackets too narrow to hold it are widened until they do."""
    times, values = _series("continuous")
    expected = _all_slopes(times, values)
    monkeypatch.setattr(_pairwise_slopes, "_BRACKET_SD", 1e-3)
    monkeypatch.setattr(_pairwise_slopes, "_MOST", 1)
    ranks = list(range(0, expected.size, expected.size // 50))
    assert PairwiseSlopes(times, values).order_statistics(ranks) == expected[ranks].tolist()


def test_few_points_keep_their_slopes() -> None:
    """Slopes too few for a sample give the same order statistics."""
    times, values = (array[:100] for array in _series("continuous"))
    expected = _all_slopes(times, values)
    assert PairwiseSlopes(times, values).order_statistics([0, 99, 4900]) == expected[[0, 99, 4900]].tolist()
