"""Anderson-Darling: two distribution functions compared with weight on their tails."""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from model_perf.drift._samples import Values, as_sorted_samples

# Scholz & Stephens, table 2, for k = 2 samples: b0 + b1 + b2 at each level.
_LEVELS = (0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001)
_CRITICAL = (0.325, 1.226, 1.961, 2.718, 3.752, 4.592, 6.546)


@frozen(kw_only=True)
class AndersonDarling:
    """Two samples, compared with weight on their tails.

    Attributes
    ----------
    statistic : float or None
        The standardised statistic: mean 0 and variance 1 when nothing has changed. None where all values are equal.
    pvalue : float
        Between .001 and .25, the ends of the published table; 1 where all values are equal.
    pvalue_is_bound : bool
        The p-value is an end of the table: "at most .001" or "at least .25".
    n_reference, n_current : int
        Values that are not missing.
    """

    statistic: float | None
    pvalue: float
    pvalue_is_bound: bool
    n_reference: int
    n_current: int


def anderson_darling(reference: ArrayLike, current: ArrayLike) -> AndersonDarling:
    """Compare two samples as `scipy.stats.anderson_ksamp` does, with midranks for ties.

    scipy's function has the same formula and table. It warns wherever the table ends and, from 1.17 on, about an
    argument that older versions do not know; warnings can only be silenced for all threads of a process at once.

    Parameters
    ----------
    reference, current : array of float, shape (n,), (m,)
        The same unit in both. NaN is left out.

    Returns
    -------
    AndersonDarling

    Raises
    ------
    TooFewObservationsError
        Fewer than two values in one of both.
    InvalidInputError
        Values that are not numbers.

    References
    ----------
    [1] Scholz, F. W. & Stephens, M. A. (1987). K-sample Anderson-Darling tests. JASA 82, 918-924: equations 7 (ties)
        and 4 (variance), table 2 (p-values).

    Examples
    --------
    At its 5% point the statistic is 1.961 [1, table 2]; these two samples lie beyond it:

    >>> result = anderson_darling([38.7, 41.5, 43.8, 44.5, 45.5, 46.0, 47.7, 58.0], [39.2, 39.3, 39.7, 41.4, 41.8])
    >>> result.statistic > 1.961, result.pvalue < 0.05
    (True, True)
    """
    a, b = as_sorted_samples(reference, current, minimum=2)
    return anderson_darling_of(a, b)


def anderson_darling_of(reference: Values, current: Values) -> AndersonDarling:
    """The test on sorted samples without NaN, one type for both."""
    statistic = _standardised(reference, current)
    pvalue, is_bound = (1.0, True) if statistic is None else _pvalue(statistic)
    return AndersonDarling(
        statistic=statistic,
        pvalue=pvalue,
        pvalue_is_bound=is_bound,
        n_reference=reference.size,
        n_current=current.size,
    )


def _standardised(reference: Values, current: Values) -> float | None:
    values, ties = np.unique(np.concatenate([reference, current]), return_counts=True)
    if values.size == 1:
        return None
    total = float(ties.sum())
    middle = np.cumsum(ties) - 0.5 * ties
    weight = middle * (total - middle) - 0.25 * total * ties
    raw = 0.0
    for sample in (reference, current):
        below, at_most = (np.searchsorted(sample, values, side=side) for side in ("left", "right"))
        gap = total * 0.5 * (below + at_most) - sample.size * middle
        raw += float(np.sum(ties / total * gap**2 / weight)) / sample.size
    raw *= (total - 1.0) / total
    return (raw - 1.0) / math.sqrt(_variance(reference.size, current.size))


def _variance(n: int, m: int) -> float:
    """Equation 4 for k = 2."""
    N = n + m
    H = 1.0 / n + 1.0 / m
    tail = np.cumsum(1.0 / np.arange(N - 1.0, 1.0, -1.0))
    h, g = float(tail[-1]) + 1.0, float(np.sum(tail / np.arange(2.0, N)))
    a = (4 * g - 6) + (10 - 6 * g) * H
    b = (2 * g - 4) * 4 + 8 * h * 2 + (2 * g - 14 * h - 4) * H - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * 4 + (4 * h - 4 * g + 6) * 2 + (2 * h - 6) * H + 4 * h
    d = (2 * h + 6) * 4 - 8 * h
    # Horner: N³ of a million rows is no exact integer, and need not be.
    return float(((a * N + b) * N + c) * N + d) / ((N - 1.0) * (N - 2.0) * (N - 3.0))


def _pvalue(statistic: float) -> tuple[float, bool]:
    """The table, interpolated by a parabola through the logarithms of its levels, as in scipy."""
    if statistic < _CRITICAL[0]:
        return _LEVELS[0], True
    if statistic > _CRITICAL[-1]:
        return _LEVELS[-1], True
    return float(np.exp(np.polyval(np.polyfit(_CRITICAL, np.log(_LEVELS), 2), statistic))), False
