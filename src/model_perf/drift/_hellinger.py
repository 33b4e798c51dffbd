"""The Hellinger distance between two rows of counts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from model_perf.drift._samples import Floats, as_counts


def hellinger_distance(reference: ArrayLike, current: ArrayLike) -> float:
    """Measure the distance between the roots of two distributions' shares.

    It is an estimate from samples, above 0 for unchanged ones.

    Parameters
    ----------
    reference, current : array of int, shape (B,)
        Rows in each bin.

    Returns
    -------
    float
        sqrt(sum (sqrt p - sqrt q)² / 2): 0 for equal shares, 1 where no bin is in both.

    Raises
    ------
    TooFewObservationsError
        One of both counts no row.
    InvalidInputError
        Negative or fractional counts, different numbers of bins.

    References
    ----------
    [1] Le Cam, L. & Yang, G. L. (2000). Asymptotics in Statistics, 2nd ed., section 3.2.

    Examples
    --------
    >>> round(hellinger_distance([1, 0], [1, 1]), 4)  # sqrt(1 - sqrt(1/2))
    0.5412
    """
    a, b = as_counts(reference, current)
    return hellinger_distance_of(a / a.sum(), b / b.sum())


def hellinger_distance_of(p: Floats, q: Floats) -> float:
    """The distance of shares; by differences, which equal shares make exactly 0."""
    return min(1.0, math.sqrt(0.5 * float(np.sum((np.sqrt(p) - np.sqrt(q)) ** 2))))
