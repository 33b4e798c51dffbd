"""Are there more rows of names that the reference lacks than chance puts there?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np

from model_perf.drift._samples import Floats

_LEAST = float(np.finfo(np.float64).eps)
_MOST_ROWS = 2000
"""Up to so many rows of new names their distribution is added up; beyond, it is normal."""


def unseen_pvalue(reference: Mapping[str, int], current: Mapping[str, int]) -> float:
    """P of at least as many rows of new names in the window, if all rows were dealt to both samples by chance.

    A name of c rows goes to the window altogether with probability C(m, c) / C(n + m, c), and then it is new with c
    rows: a name that is common enough cannot be. Names are taken for independent of each other (they are a little
    less than that, which makes p a little too large). It is the two-sample answer to what Good and Turing answer for
    the next row, r/n with r the names seen once: that leaves out that new names come in clumps, and flags up to 8% of
    unchanged windows as large as the reference.

    Parameters
    ----------
    reference, current : mapping of str to int
        Rows by name.
    """
    n, m = sum(reference.values()), sum(current.values())
    k = sum(count for name, count in current.items() if name not in reference)
    if not k:
        return 1.0
    totals = Counter(count + current.get(name, 0) for name, count in reference.items())
    totals.update(count for name, count in current.items() if name not in reference)
    sizes = np.array(sorted(totals), dtype=np.float64)
    names = np.array([totals[int(size)] for size in sizes])
    chances = _chances(sizes, n, m)
    if k > _MOST_ROWS:
        return _normal_tail(k, sizes, names, chances)
    return _tail(k, sizes.astype(np.int64).tolist(), names.tolist(), chances.tolist())


def _chances(sizes: Floats, n: int, m: int) -> Floats:
    """That a name of so many rows has all of them in the window."""
    from scipy.special import gammaln

    possible = sizes <= m
    c = np.where(possible, sizes, 0.0)
    logs = gammaln(m + 1.0) - gammaln(m - c + 1.0) - gammaln(n + m + 1.0) + gammaln(n + m - c + 1.0)
    return np.where(possible, np.exp(np.minimum(logs, 0.0)), 0.0)


def _tail(k: int, sizes: list[int], names: list[int], chances: list[float]) -> float:
    """1 - P(fewer than k rows), by adding up one size of names after the other."""
    below: Floats = np.zeros(k)
    below[0] = 1.0
    for size, number, chance in zip(sizes, names, chances, strict=True):
        below = np.convolve(below, _of_size(size, number, chance, k))[:k]
    # What is left of 1 has no digits below.
    return min(1.0, max(1.0 - math.fsum(below.tolist()), _LEAST))


def _of_size(size: int, number: int, chance: float, k: int) -> Floats:
    """The distribution of the rows of all names of one size, below k."""
    from scipy.special import bdtr

    most = min(number, (k - 1) // size)
    cumulated = bdtr(np.arange(most + 1.0), number, chance)
    rows = np.zeros(most * size + 1)
    rows[::size] = np.diff(cumulated, prepend=0.0)
    return rows


def _normal_tail(k: int, sizes: Floats, names: Floats, chances: Floats) -> float:
    from scipy.special import ndtr

    mean = float(np.sum(names * sizes * chances))
    variance = float(np.sum(names * sizes**2 * chances * (1.0 - chances)))
    if variance == 0.0:
        return 1.0 if k <= mean else _LEAST
    return max(float(ndtr((mean - k + 0.5) / math.sqrt(variance))), _LEAST)
