"""Jensen-Shannon: divergence and distance between two rows of counts, in bits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from model_perf.drift._samples import Floats, as_counts


def jensen_shannon_divergence(reference: ArrayLike, current: ArrayLike) -> float:
    """Measure by how many bits the mixture of two distributions is less certain than each, on average.

    It is an estimate from samples, above 0 for unchanged ones: by about (B - 1)(1/n + 1/m) / (8 ln 2).

    Parameters
    ----------
    reference, current : array of int, shape (B,)
        Rows in each bin.

    Returns
    -------
    float
        Base 2: 0 for equal shares, 1 where no bin is in both.

    Raises
    ------
    TooFewObservationsError
        One of both counts no row.
    InvalidInputError
        Negative or fractional counts, different numbers of bins.

    References
    ----------
    [1] Lin, J. (1991). Divergence measures based on the Shannon entropy. IEEE Transactions on Information Theory 37,
        145-151.

    Examples
    --------
    >>> round(jensen_shannon_divergence([1, 0], [1, 1]), 4)  # 3/2 - 3/4 log2 3
    0.3113
    """
    a, b = as_counts(reference, current)
    return jensen_shannon_divergence_of(a / a.sum(), b / b.sum())


def jensen_shannon_distance(reference: ArrayLike, current: ArrayLike) -> float:
    """Measure the distance between two distributions: the root of `jensen_shannon_divergence`, a metric [1].

    Parameters
    ----------
    reference, current : array of int, shape (B,)
        Rows in each bin.

    Returns
    -------
    float
        Base 2: 0 for equal shares, 1 where no bin is in both.

    Raises
    ------
    TooFewObservationsError
        One of both counts no row.
    InvalidInputError
        Negative or fractional counts, different numbers of bins.

    References
    ----------
    [1] Endres, D. M. & Schindelin, J. E. (2003). A new metric for probability distributions. IEEE Transactions on
        Information Theory 49, 1858-1860.

    Examples
    --------
    >>> jensen_shannon_distance([1, 0, 0], [0, 1, 0])  # scipy.spatial.distance.jensenshannon(..., 2.0): 1.0
    1.0
    """
    return math.sqrt(jensen_shannon_divergence(reference, current))


def jensen_shannon_divergence_of(p: Floats, q: Floats) -> float:
    """The divergence of shares."""
    middle = 0.5 * (p + q)
    bits = 0.5 * (_bits(p, middle) + _bits(q, middle))
    return min(1.0, max(0.0, bits))


def _bits(p: Floats, middle: Floats) -> float:
    held = p > 0.0
    return float(np.sum(p[held] * np.log2(p[held] / middle[held])))
