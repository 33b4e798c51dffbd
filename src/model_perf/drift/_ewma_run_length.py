"""How long a two-sided EWMA chart runs, and the width of its limits for a run length."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from model_perf import _validation as check
from model_perf.drift._samples import Floats
from model_perf.errors import InvalidInputError

MIN_WEIGHT = 0.001
"""Below it the integral equation needs thousands of nodes."""


def ewma_run_length(width: float, weight: float, shift: float = 0.0) -> float:
    """Mean number of standard normal observations until their moving average leaves the limits.

    Parameters
    ----------
    width : float
        Of the limits on either side of 0, in standard deviations of the average; positive, up to 6.2.
    weight : float
        Of the newest value, within [0.001, 1).
    shift : float, default 0
        Mean of the observations, in standard deviations.

    Raises
    ------
    InvalidInputError
        An argument outside its range.

    References
    ----------
    [1] Crowder, S. V. (1987). A simple method for studying run-length distributions of exponentially weighted moving
        average charts. Technometrics 29, 401-407: equation 2, solved by Gauss-Legendre quadrature.

    Examples
    --------
    >>> round(ewma_run_length(2.814, 0.1)), round(ewma_run_length(2.814, 0.1, 1.0), 1)  # Lucas & Saccucci: 500, 10.3
    (500, 10.3)
    """
    check.as_float(width, "width", high=6.2)
    check.as_float(shift, "shift")
    if not width > 0.0:
        raise InvalidInputError("width", f"{width} is not positive")
    return _run_length(width, as_weight(weight), shift)


@lru_cache(maxsize=256)
def ewma_width(run_length: float, weight: float) -> float:
    """The width whose chart raises one false alarm per *run_length* observations: `ewma_run_length` inverted.

    Raises
    ------
    InvalidInputError
        *run_length* outside [2, 1e9], *weight* outside [0.001, 1).

    Examples
    --------
    >>> [round(ewma_width(500, weight), 3) for weight in (0.4, 0.25, 0.1, 0.05)]  # Lucas & Saccucci, table 3
    [3.054, 2.998, 2.814, 2.615]
    """
    check.as_float(run_length, "run_length", low=2.0, high=1e9)
    as_weight(weight)
    # Without any memory the average leaves the limits soonest.
    low, high = 0.0, -NormalDist().inv_cdf(0.5 / run_length)
    while high - low > 1e-9:
        middle = 0.5 * (low + high)
        if _run_length(middle, weight, 0.0) < run_length:
            low = middle
        else:
            high = middle
    return high


def as_weight(value: float) -> float:
    weight = check.as_float(value, "weight", low=MIN_WEIGHT, high=1.0)
    if weight == 1.0:
        raise InvalidInputError("weight", "1.0 averages over nothing; give less, 0.1 for example")
    return weight


def _run_length(width: float, weight: float, shift: float) -> float:
    """L(0), where L(u) = 1 + (1/weight) integral of L(y) phi((y - (1 - weight) u)/weight - shift) over the limits."""
    # The density is as wide as the weight: the nodes lie closer than that.
    points, weights = _nodes(24 + 2 * math.ceil(1.5 * width / math.sqrt(weight * (2.0 - weight))))
    limit = width * math.sqrt(weight / (2.0 - weight))
    points, weights = limit * points, limit * weights
    starts = np.concatenate([[0.0], points])
    deviates = (points - (1.0 - weight) * starts[:, np.newaxis]) / weight - shift
    kernel = np.exp(-0.5 * deviates**2) * (weights / (weight * math.sqrt(2.0 * math.pi)))
    lengths = np.linalg.solve(np.eye(points.size) - kernel[1:], np.ones(points.size))
    return float(1.0 + kernel[0] @ lengths)


@lru_cache(maxsize=64)
def _nodes(n: int) -> tuple[Floats, Floats]:
    points, weights = np.polynomial.legendre.leggauss(n)
    return points, weights
