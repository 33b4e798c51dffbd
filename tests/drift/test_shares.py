"""Shares: Fisher's lady, the predictive tail by exact integers, and what each p-value promises."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import comb

import numpy as np
import pytest
from scipy.stats import betabinom, hypergeom
from scipy.stats import fisher_exact as scipy_fisher_exact

from model_perf.drift import fisher_exact, predictive_share
from model_perf.drift._shares import beta_binomial_tail
from model_perf.errors import InvalidInputError

tail = lru_cache(maxsize=None)(beta_binomial_tail)


def exact_tail(k: int, m: int, a: int, b: int) -> float:
    """The same in integers: fewer than a of the highest a - 1 + k belong to the a + b - 1."""
    n, draws = a + b - 1, a - 1 + k
    ways = sum(comb(n, j) * comb(m, draws - j) for j in range(max(0, draws - m), a))
    return float(Fraction(ways, comb(n + m, draws)))


def test_fishers_lady() -> None:
    """Three of four cups named right: p = 34/70, two-sided."""
    assert fisher_exact(3, 4, 1, 4).pvalue == pytest.approx(34 / 70, rel=1e-9)


def test_one_missing_of_fifty() -> None:
    """1 of 50 against 0 of 5,000 has p = 50/5050, where a normal approximation says 1e-23."""
    result = fisher_exact(0, 5000, 1, 50)
    assert result.pvalue == pytest.approx(50 / 5050, rel=1e-9)
    assert (result.share_reference, result.share_current, result.effect_size) == (0.0, 0.02, 0.02)


@pytest.mark.parametrize(("r", "n", "k", "m"), [(3, 10, 9, 10), (50, 5000, 4, 60), (10_300, 10**6, 100_000, 10**7)])
def test_fisher_is_scipys_and_symmetric(r: int, n: int, k: int, m: int) -> None:
    """scipy.stats.fisher_exact([[r, n - r], [k, m - k]]), whichever sample comes first and whichever row is counted."""
    expected = scipy_fisher_exact([[r, n - r], [k, m - k]])[1]
    for table in ((r, n, k, m), (k, m, r, n), (n - r, n, m - k, m)):
        assert fisher_exact(*table).pvalue == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "m", "share"), [(5000, 50, 0.01), (500, 100, 0.05), (1000, 1000, 0.002)])
def test_fisher_keeps_its_size(n: int, m: int, share: float, most_often: Callable[[float, int], int]) -> None:
    """Unchanged shares have p <= .05 in at most 5%."""
    rng = np.random.default_rng(n)
    found = [fisher_exact(int(rng.binomial(n, share)), n, int(rng.binomial(m, share)), m).pvalue for _ in range(1000)]
    assert sum(p <= 0.05 for p in found) <= most_often(0.05, 1000)


def test_no_share_at_all() -> None:
    """None of either, all of either: nothing has changed."""
    for r, k in ((0, 0), (40, 9)):
        assert fisher_exact(r, 40, k, 9).pvalue == 1.0
    assert predictive_share(0, 40, 0, 9).pvalue == 1.0
    assert predictive_share(40, 40, 9, 9).pvalue == 1.0


@pytest.mark.parametrize("n", [1, 9, 99, 10**7])
def test_the_next_value_is_the_largest(n: int) -> None:
    """One value exceeds all n before it with probability 1/(n + 1) (Wilks 1942)."""
    assert predictive_share(0, n, 1, 1).pvalue == pytest.approx(1 / (n + 1), rel=1e-9)


@pytest.mark.parametrize(
    ("k", "m", "a", "b"),
    [
        *((1, 50, 1, 5000), (10, 50, 6, 4995), (50, 50, 1, 1), (7, 10, 3, 4), (2, 30, 20, 5)),
        *((30, 10**6, 20, 10**6), (30, 10**7, 5, 10**7), (2, 10**7, 30, 10**7), (60, 10**7, 30, 10**7)),
    ],
)
def test_the_tail_is_exact(k: int, m: int, a: int, b: int) -> None:
    """Against integers: right to 1e-6 of itself, at ten million rows and in tails of 1e-17."""
    assert beta_binomial_tail(k, m, a, b) == pytest.approx(exact_tail(k, m, a, b), rel=1e-6)


@pytest.mark.parametrize(("k", "m", "a", "b"), [(5, 40, 2, 60), (20, 40, 9, 12), (300, 1000, 30, 90), (3, 5, 1, 2)])
def test_the_tail_agrees_with_scipy(k: int, m: int, a: int, b: int) -> None:
    """scipy.stats.betabinom.sf(k - 1, m, a, b), where that has digits, and the hypergeometric identity."""
    assert beta_binomial_tail(k, m, a, b) == pytest.approx(betabinom.sf(k - 1, m, a, b), rel=1e-6)
    # scipy.stats.hypergeom.cdf(a - 1, a + b - 1 + m, a + b - 1, a - 1 + k)
    assert beta_binomial_tail(k, m, a, b) == pytest.approx(
        hypergeom.cdf(a - 1, a + b - 1 + m, a + b - 1, a - 1 + k), rel=1e-6
    )


def test_the_tail_falls() -> None:
    """P(X >= k) falls with k, from 1 to above 0."""
    found = [beta_binomial_tail(k, 200, 4, 300) for k in range(201)]
    assert found == sorted(found, reverse=True)
    assert found[0] == 1.0
    assert found[-1] > 0.0


def test_ten_million_rows() -> None:
    """At n = m = 1e7 and .1% beyond: near the normal approximation, which is good there."""
    n = m = 10**7
    for k, low, high in ((10_000, 0.49, 0.51), (10_424, 0.0012, 0.0016)):
        assert low < predictive_share(10_000, n, k, m).pvalue < high


@pytest.mark.parametrize(
    ("n", "m", "share"), [(500, 100, 0.01), (5000, 200, 0.002), (1000, 1000, 0.05), (60, 600, 0.5)]
)
def test_a_fixed_share_keeps_its_size(n: int, m: int, share: float, most_often: Callable[[float, int], int]) -> None:
    """P(p <= a) <= a for a property that was fixed beforehand."""
    rng = np.random.default_rng(n + m)
    reference, current = rng.binomial(n, share, 4000).tolist(), rng.binomial(m, share, 4000).tolist()
    pvalues = [tail(k, m, r + 1, n - r) for r, k in zip(reference, current, strict=True)]
    for alpha in (0.01, 0.05):
        assert sum(p <= alpha for p in pvalues) <= most_often(alpha, 4000)


@pytest.mark.parametrize(("n", "m", "beyond"), [(500, 100, 0), (1000, 1000, 0), (1000, 1000, 4), (5000, 200, 5)])
def test_out_of_range_keeps_its_size(n: int, m: int, beyond: int, most_often: Callable[[float, int], int]) -> None:
    """P(p <= a) <= a for limits that are order statistics: one limit on one side, two on both; not one on both."""
    rng = np.random.default_rng(n + m + beyond)
    one, two, wrong = [], [], []
    for _ in range(2000):
        reference, current = np.sort(rng.random(n)), rng.random(m)
        above = int(np.count_nonzero(current > reference[-1 - beyond]))
        outside = above + int(np.count_nonzero(current < reference[beyond]))
        one.append(predictive_share(beyond, n, above, m).pvalue)
        two.append(predictive_share(2 * beyond, n, outside, m, n_limits=2).pvalue)
        wrong.append(predictive_share(2 * beyond, n, outside, m).pvalue)
    for alpha in (0.01, 0.05):
        assert sum(p <= alpha for p in one) <= most_often(alpha, 2000)
        assert sum(p <= alpha for p in two) <= most_often(alpha, 2000)
    if n == m and not beyond:
        assert sum(p <= 0.05 for p in wrong) > 1.5 * most_often(0.05, 2000)


@pytest.mark.parametrize(
    ("categories", "n", "m", "size"), [(200, 400, 40, 0.07), (1000, 2000, 200, 0.07), (1000, 2000, 2000, 0.15)]
)
def test_unseen_categories(
    categories: int, n: int, m: int, size: float, most_often: Callable[[float, int], int]
) -> None:
    """By Good and Turing unchanged samples are flagged in 7% at a tenth of the reference, 15% at its size."""
    rng = np.random.default_rng(categories + m)
    flagged = 0
    for _ in range(800):
        reference = np.bincount(rng.integers(0, categories, n), minlength=categories)
        current = np.bincount(rng.integers(0, categories, m), minlength=categories)
        once, unseen = int(np.count_nonzero(reference == 1)), int(current[reference == 0].sum())
        flagged += predictive_share(once, n, unseen, m).pvalue <= 0.05
    assert flagged <= most_often(size, 800)


@pytest.mark.parametrize("test", [fisher_exact, predictive_share])
@pytest.mark.parametrize(
    ("table", "argument"),
    [
        ((5, 4, 1, 4), "count_reference"),
        ((1, 4, 5, 4), "count_current"),
        ((-1, 4, 1, 4), "count_reference"),
        ((1, 4, 1.5, 4), "count_current"),
        ((0, 0, 1, 4), "n_reference"),
        ((1, 4, 0, 0), "n_current"),
        ((float("nan"), 4, 1, 4), "count_reference"),
        ((1, 4, True, 4), "count_current"),
    ],
)
def test_impossible_shares_are_refused(
    test: Callable[..., object], table: tuple[int, int, int, int], argument: str
) -> None:
    """More rows with a property than rows, negative and fractional ones are refused by name."""
    with pytest.raises(InvalidInputError) as refused:
        test(*table)
    assert refused.value.argument == argument
