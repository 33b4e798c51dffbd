"""The Wasserstein distance: how far values have moved on average, in their unit and without one."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from model_perf.drift._samples import Floats, Values, as_sorted_samples
from model_perf.errors import InvalidInputError

_LARGEST = 1e150


@frozen(kw_only=True)
class Wasserstein:
    """How far the values of one sample are to be moved to become the other.

    Attributes
    ----------
    statistic : float
        The distance, in the unit of the values, >= 0.
    effect_size : float or None
        Divided by `scale`; None where a constant reference has changed, which no scale measures, 0 where it has not.
    scale : float
        Interquartile range of the reference; its standard deviation where that is 0; 0 of a constant.
    n_reference, n_current : int
        Values that are not missing.
    """

    statistic: float
    effect_size: float | None
    scale: float
    n_reference: int
    n_current: int


def wasserstein(reference: ArrayLike, current: ArrayLike) -> Wasserstein:
    """Measure the area between two distribution functions, as it is and over the reference's spread.

    The distance of unchanged samples is above 0, of the order scale sqrt(1/n + 1/m), and one outlier moves it by its
    own distance over m. It has no p-value here; that of `kolmogorov_smirnov` does not depend on outliers.

    Parameters
    ----------
    reference, current : array of float, shape (n,), (m,)
        The same unit in both; within +-1e150. NaN is left out.

    Returns
    -------
    Wasserstein

    Raises
    ------
    TooFewObservationsError
        One of both holds no number.
    InvalidInputError
        Infinities, values that are not numbers.

    References
    ----------
    [1] Vallender, S. S. (1974). Calculation of the Wasserstein distance between probability distributions on the line.
        Theory of Probability and its Applications 18, 784-786.

    Examples
    --------
    >>> wasserstein([0.0, 1.0, 3.0], [5.0, 6.0, 8.0]).statistic  # scipy.stats.wasserstein_distance: 5.0
    5.0
    """
    a, b = as_sorted_samples(reference, current)
    for values, argument in ((a, "reference"), (b, "current")):
        worst = max(values[0].item(), values[-1].item(), key=abs)
        if not abs(worst) <= _LARGEST:
            raise InvalidInputError(argument, f"holds {worst}; give finite numbers within +-{_LARGEST:g}")
    return wasserstein_of(a, b)


def wasserstein_of(reference: Values, current: Values) -> Wasserstein:
    """The distance between sorted samples, one type for both."""
    statistic, scale = _area_between(reference, current), _spread(reference)
    effect = statistic / scale if scale > 0.0 else (0.0 if statistic == 0.0 else None)
    return Wasserstein(
        statistic=statistic, effect_size=effect, scale=scale, n_reference=reference.size, n_current=current.size
    )


def _area_between(reference: Values, current: Values) -> float:
    """The integral of |F - G| over all values."""
    both = np.concatenate([reference, current])
    both.sort(kind="stable")  # which merges two sorted runs
    at_most = (np.searchsorted(each, both[:-1], side="right") / each.size for each in (reference, current))
    return float(np.sum(np.abs(np.subtract(*at_most)) * _steps(both)))


def _steps(ascending: Values) -> Floats:
    """Differences of neighbours; of integers exact, which by way of floats are not beyond 2^53."""
    if ascending.dtype.kind == "f":
        return np.diff(ascending.astype(np.float64))
    # Modulo 2^64 the difference is right although the numbers are not.
    return np.diff(ascending.astype(np.uint64)).astype(np.float64)


def _spread(ascending: Values) -> float:
    """Quartiles as numpy.quantile's, from distances to the first value."""
    distances = np.concatenate([[0.0], np.cumsum(_steps(ascending))]) if ascending.dtype.kind != "f" else None
    values: Floats = ascending.astype(np.float64) if distances is None else distances
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low) or float(values.std())
