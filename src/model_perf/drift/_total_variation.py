"""The total variation distance between two rows of counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from model_perf.drift._samples import Floats, as_counts


def total_variation_distance(reference: ArrayLike, current: ArrayLike) -> float:
    """Measure which share of the rows is in another bin than it would be.

    It is an estimate from samples, above 0 for unchanged ones.

    Parameters
    ----------
    reference, current : array of int, shape (B,)
        Rows in each bin.

    Returns
    -------
    float
        sum |p - q| / 2: 0 for equal shares, 1 where no bin is in both.

    Raises
    ------
    TooFewObservationsError
        One of both counts no row.
    InvalidInputError
        Negative or fractional counts, different numbers of bins.

    References
    ----------
    [1] Levin, D. A. & Peres, Y. (2017). Markov Chains and Mixing Times, 2nd ed., proposition 4.2.

    Examples
    --------
    >>> total_variation_distance([4, 4], [3, 5])
    0.125
    """
    a, b = as_counts(reference, current)
    return total_variation_distance_of(a / a.sum(), b / b.sum())


def total_variation_distance_of(p: Floats, q: Floats) -> float:
    """The distance of shares."""
    return min(1.0, 0.5 * float(np.sum(np.abs(p - q))))
