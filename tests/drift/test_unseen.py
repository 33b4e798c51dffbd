"""Rows of names that the reference lacks: by enumeration, by simulation, and far out."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from model_perf.drift._unseen import unseen_pvalue


def by_dealing(reference: dict[str, int], current: dict[str, int]) -> float:
    """P of as many new rows, over all ways to deal the rows to both samples."""
    rows = [name for side in (reference, current) for name, count in side.items() for _ in range(count)]
    n, m = sum(reference.values()), sum(current.values())
    totals, k = Counter(rows), sum(count for name, count in current.items() if name not in reference)
    hits = ways = 0
    for dealt in itertools.combinations(range(n + m), m):
        window = Counter(rows[i] for i in dealt)
        hits += sum(count for name, count in window.items() if count == totals[name]) >= k
        ways += 1
    return hits / ways


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        ({"a": 5, "b": 3}, {"a": 2, "c": 2}),
        ({"a": 4, "b": 1, "c": 1}, {"a": 3, "d": 1}),
        ({"a": 6}, {"b": 3}),
        ({"a": 3, "b": 2, "c": 1}, {"a": 1, "d": 1, "e": 1, "b": 1}),
    ],
)
def test_small_samples_by_enumeration(reference: dict[str, int], current: dict[str, int]) -> None:
    """Close to the exact probability over all ways to deal the rows."""
    exact, found = by_dealing(reference, current), unseen_pvalue(reference, current)
    assert 0.9 * exact <= found <= 1.5 * exact + 0.02


def test_one_new_name() -> None:
    """All c rows of one name in the window, the others common to both: C(m, c) / C(n + m, c)."""
    # 10 of 100 rows against 900: math.comb(100, 10) / math.comb(1000, 10)
    found = unseen_pvalue({"a": 900}, {"a": 90, "b": 2})
    assert found == pytest.approx((92 * 91) / (992 * 991), rel=1e-9)


def test_no_new_name() -> None:
    """Without one there is nothing to explain."""
    assert unseen_pvalue({"a": 5, "b": 1}, {"a": 3}) == 1.0


@pytest.mark.parametrize(("n", "m"), [(500, 100), (500, 500), (200, 1000)])
@pytest.mark.parametrize("law", ["equal", "zipf"])
def test_size(n: int, m: int, law: str, most_often: Callable[[float, int], int]) -> None:
    """Of unchanged samples at most 5% have p <= .05, and 1% p <= .01."""
    rng = np.random.default_rng([n, m])
    shares = np.ones(150) if law == "equal" else 1.0 / np.arange(1, 401)
    found = []
    for _ in range(1000):
        reference, current = (rng.multinomial(size, shares / shares.sum()) for size in (n, m))
        found.append(unseen_pvalue(*({str(i): int(c) for i, c in enumerate(s) if c} for s in (reference, current))))
    assert sum(p <= 0.05 for p in found) <= most_often(0.05, 1000)
    assert sum(p <= 0.01 for p in found) <= most_often(0.01, 1000)


def test_many_rows_take_the_normal_tail() -> None:
    """Beyond 2,000 new rows the answer goes on where the sums end."""
    shared = {f"s{i}": 3 for i in range(60_000)}
    rng = np.random.default_rng(1)
    pvalues = []
    for _ in range(3):
        keep = rng.random(60_000)
        reference = {name: count for (name, count), u in zip(shared.items(), keep, strict=True) if u > 0.1}
        current = {name: count for (name, count), u in zip(shared.items(), keep, strict=True) if u < 0.2}
        pvalues.append(unseen_pvalue(reference, current))
    assert max(pvalues) < 1e-9
    assert unseen_pvalue({f"a{i}": 1 for i in range(30_000)}, {f"b{i}": 1 for i in range(30_000)}) < 1.0


def test_a_name_of_its_own_in_each_row() -> None:
    """Identifiers are new by nature: both samples have names that the other lacks, and that is no finding."""
    assert unseen_pvalue({f"a{i}": 1 for i in range(300)}, {f"b{i}": 1 for i in range(300)}) > 0.4
