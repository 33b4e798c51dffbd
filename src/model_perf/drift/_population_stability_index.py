"""The population stability index: how far two distributions over the same bins lie apart, in nats."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf.drift._bins import neighbour_groups, quantile_bin_counts, smaller_share, sum_groups
from model_perf.drift._samples import Floats, as_counts


@frozen(kw_only=True)
class PopulationStabilityIndex:
    """How far the current distribution lies from the reference.

    Attributes
    ----------
    statistic : float
        In nats, >= 0, unbounded above.
    effect_size : float
        The same without what samples of these sizes show when nothing has changed, >= 0.
    n_bins : int
        Bins that were compared.
    n_reference, n_current : int
        Rows.
    """

    statistic: float
    effect_size: float
    n_bins: int
    n_reference: int
    n_current: int


def population_stability_index(
    reference: ArrayLike, current: ArrayLike, *, n_bins: int = 10, dispersion: float = 1.0
) -> PopulationStabilityIndex:
    """Measure how far *current* has moved from *reference*, as PSI on the reference's quantile bins.

    Neighbouring bins are merged until the smaller sample expects one row in each, NaN stays apart from them unless
    it is expected less than once: then it goes with the smallest bin.

    Parameters
    ----------
    reference, current : array of float, shape (n,), (m,)
        The same unit in both. NaN counts as missing, in a bucket of its own; infinities lie in the outer bins.
    n_bins : int, default 10
        Quantile bins of *reference*; the outer bins are open. A value that fills several bins gets one of its own.
    dispersion : float, default 1
        By how much dependence between rows inflates the variance of a bin's share, >= 1; see `rao_scott`.

    Returns
    -------
    PopulationStabilityIndex

    Raises
    ------
    TooFewObservationsError
        n or m < n_bins.
    InvalidInputError
        Values that are not numbers, n_bins < 2, dispersion < 1.

    References
    ----------
    [1] Siddiqi, N. (2006). Credit Risk Scorecards, ch. 8: the index and its thresholds .1 and .25.

    Examples
    --------
    >>> population_stability_index(range(100), range(50, 150)).effect_size > 0.25
    True
    >>> population_stability_index(range(100), range(100)).statistic
    0.0
    """
    check.as_float(dispersion, "dispersion", low=1.0)
    counts = quantile_bin_counts(reference, current, n_bins=n_bins)
    a, b = _merge_sparse(counts.reference.astype(np.float64), counts.current.astype(np.float64))
    return population_stability_index_of(a, b, dispersion)


def population_stability_index_of_counts(
    reference: ArrayLike, current: ArrayLike, *, dispersion: float = 1.0
) -> PopulationStabilityIndex:
    """Measure how far *current* has moved from *reference*, as PSI on bins that have been counted.

    1/2 is added to each count [2], so that an empty bin does not make the index infinite; bins that both leave empty
    are none. With shares p and q the index is sum (q - p) ln(q / p), the sum of both Kullback-Leibler divergences
    [1]. Unchanged distributions have (B - 1)(1/n + 1/m) on average [3]: the effect is what exceeds it, times the
    dispersion. There is no p-value: by its chi-squared distribution [3] up to 8.7% of unchanged samples lie beyond
    the 5% point; `chi_squared` keeps to its size.

    Parameters
    ----------
    reference, current : array of int, shape (B,)
        Rows in each bin; sparse ones are best pooled or merged before.
    dispersion : float, default 1
        By how much dependence between rows inflates the variance of a bin's share, >= 1; see `rao_scott`.

    Returns
    -------
    PopulationStabilityIndex

    Raises
    ------
    TooFewObservationsError
        One of both counts no row.
    InvalidInputError
        Negative or fractional counts, different numbers of bins, dispersion < 1.

    References
    ----------
    [1] Jeffreys, H. (1946). An invariant form for the prior probability in estimation problems. Proceedings of the
        Royal Society A 186, 453-461.
    [2] Haldane, J. B. S. (1956). The estimation and significance of the logarithm of a ratio of frequencies. Annals
        of Human Genetics 20, 309-311.
    [3] Yurdakul, B. & Naranjo, J. (2020). Statistical properties of the population stability index. Journal of Risk
        Model Validation 14(4), 89-100.

    Examples
    --------
    Shares of .5 and .5 against .75 and .25 have .25 ln 3 = .2747:

    >>> psi = population_stability_index_of_counts([500_000, 500_000], [750_000, 250_000])
    >>> round(psi.statistic, 4)
    0.2747
    """
    check.as_float(dispersion, "dispersion", low=1.0)
    a, b = as_counts(reference, current)
    return population_stability_index_of(a, b, dispersion)


def population_stability_index_of(reference: Floats, current: Floats, dispersion: float) -> PopulationStabilityIndex:
    """The index of counts that have been checked."""
    occupied = reference + current > 0.0
    n_bins = int(np.count_nonzero(occupied))
    n, m = float(reference.sum()), float(current.sum())
    p = (reference[occupied] + 0.5) / (n + 0.5 * n_bins)
    q = (current[occupied] + 0.5) / (m + 0.5 * n_bins)
    statistic = float(np.sum((q - p) * np.log(q / p)))
    expected = dispersion * (n_bins - 1) * (1.0 / n + 1.0 / m)
    return PopulationStabilityIndex(
        statistic=statistic,
        effect_size=max(0.0, statistic - expected),
        n_bins=n_bins,
        n_reference=int(n),
        n_current=int(m),
    )


def _merge_sparse(reference: Floats, current: Floats) -> tuple[Floats, Floats]:
    """Counts whose last entry is NaN's, without bins that are expected less than once."""
    share, combined = smaller_share(reference, current), reference + current
    groups = np.append(neighbour_groups(combined[:-1], share), 0)
    groups[-1] = groups.max() + 1
    if combined[-1] * share < 1.0:
        groups[-1] = int(sum_groups(combined[:-1], groups[:-1]).argmin())
    return sum_groups(reference, groups), sum_groups(current, groups)
