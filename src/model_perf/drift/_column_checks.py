"""The questions that are asked of one column, each answered with a p-value and an effect; no verdict yet."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from model_perf.drift._bins import neighbour_groups, pool_groups, smaller_share, sum_groups
from model_perf.drift._categorical_profile import CategoricalProfile, aligned
from model_perf.drift._chi_squared import chi_squared_of
from model_perf.drift._data_report import CheckName
from model_perf.drift._kolmogorov_smirnov import kolmogorov_smirnov_of_counts
from model_perf.drift._numeric_profile import NumericProfile
from model_perf.drift._population_stability_index import population_stability_index_of
from model_perf.drift._rao_scott import rao_scott_of
from model_perf.drift._samples import Floats
from model_perf.drift._shares import fisher_pvalue, predictive_share
from model_perf.drift._stretches import Stretches
from model_perf.stats import ConfidenceInterval

MIN_STRETCHES = 12
"""Stretches of a window's length that the dependence of neighbours can be told from."""


@frozen(kw_only=True)
class Answer:
    """What a check found, before it is known how many others there are.

    ``pvalue`` is None where nothing could be tested, and *reason* says why. ``n_cells`` and ``n_effective`` tell
    what a distribution's test could have found at all; ``n_tests`` shared its p-value.
    """

    name: CheckName
    reason: str = ""
    statistic: float | None = None
    distance: float | None = None
    pvalue: float | None = None
    effect_size: float | None = None
    confidence_interval: ConfidenceInterval | None = None
    n_reference: int = 0
    n_current: int = 0
    n_cells: int = 0
    n_effective: float = 0.0
    n_tests: int = 1
    is_unknown: bool = False


def ask_numeric(reference: NumericProfile, current: NumericProfile, alpha: float) -> list[Answer]:
    """Distribution, missing values, values out of the reference's range."""
    stretches = _stretches_as_long(reference.stretches, current.n + current.missing)
    return [
        _numeric_distribution(reference, current, stretches, alpha),
        _missing(reference, current, stretches, alpha),
        _out_of_range(reference, current, stretches, alpha),
    ]


def ask_categorical(reference: CategoricalProfile, current: CategoricalProfile, alpha: float) -> list[Answer]:
    """Distribution, missing values, names that the reference does not have."""
    stretches = _stretches_as_long(reference.stretches, current.n + current.missing)
    missing = _missing(reference, current, stretches, alpha)
    if reference.is_identifier:
        said = "nearly every row has a name of its own: an identifier has no distribution to compare"
        return [Answer(name="distribution", reason=said), missing, Answer(name="unseen", reason=said)]
    distribution = _categorical_distribution(reference, current, stretches, alpha)
    if reference.kind == "boolean":
        return [distribution, missing]
    return [distribution, missing, _unseen(reference, current, alpha)]


def _stretches_as_long(stretches: Stretches | None, n_rows: int) -> Stretches | None:
    return None if stretches is None else stretches.joined(n_rows)


def _numeric_distribution(
    reference: NumericProfile, current: NumericProfile, stretches: Stretches | None, alpha: float
) -> Answer:
    if not reference.n or not current.n:
        return _no_values(reference.n, current.n)
    a, b = reference.bins.astype(np.float64), current.bins.astype(np.float64)
    groups = neighbour_groups(a + b, smaller_share(a, b))
    a, b = sum_groups(a, groups), sum_groups(b, groups)
    if stretches is not None:
        return _dependent_distribution(sum_groups(stretches.cells.astype(np.float64), groups), b, alpha)
    assert reference.knots is not None
    ks = kolmogorov_smirnov_of_counts(
        reference.knots.values,
        (reference.below, reference.at_most, reference.n),
        (current.below, current.at_most, current.n),
        alpha,
    )
    answer = _independent_distribution(a, b, alpha)
    pvalue = ks.pvalue if answer.pvalue is None else min(ks.pvalue, answer.pvalue)
    return evolve(answer, reason="", is_unknown=False, pvalue=min(1.0, 2.0 * pvalue), distance=ks.statistic, n_tests=2)


def _categorical_distribution(
    reference: CategoricalProfile, current: CategoricalProfile, stretches: Stretches | None, alpha: float
) -> Answer:
    if not reference.n or not current.n:
        return _no_values(reference.n, current.n)
    if stretches is not None:
        return _dependent_distribution(*_stretch_cells(reference, current, stretches), alpha)
    of_reference, of_current, _ = aligned(reference, current)
    return _independent_distribution(*_pooled(of_reference.astype(np.float64), of_current.astype(np.float64)), alpha)


def _stretch_cells(
    reference: CategoricalProfile, current: CategoricalProfile, stretches: Stretches
) -> tuple[Floats, Floats]:
    """Counts per stretch, and of the window, on the same cells; names that the reference lacks share one."""
    cells = stretches.cells.astype(np.float64)
    if reference.names is not None and len(reference.names) == cells.shape[1] and current.names is not None:
        counts = [current.names.get(name, 0) for name in reference.names]
        cells = np.column_stack([cells, np.zeros(len(cells))])
        window = np.array([*counts, current.n - sum(counts)], np.float64)
    else:
        window = current.as_buckets().astype(np.float64)
    combined = cells.sum(axis=0) + window
    occupied = combined > 0.0
    cells, window, combined = cells[:, occupied], window[occupied], combined[occupied]
    groups = pool_groups(combined, smaller_share(cells.sum(axis=0), window))
    return sum_groups(cells, groups), sum_groups(window, groups)


def _pooled(reference: Floats, current: Floats) -> tuple[Floats, Floats]:
    combined = reference + current
    occupied = combined > 0.0
    reference, current, combined = reference[occupied], current[occupied], combined[occupied]
    groups = pool_groups(combined, smaller_share(reference, current))
    return sum_groups(reference, groups), sum_groups(current, groups)


def _independent_distribution(reference: Floats, current: Floats, alpha: float) -> Answer:
    chi_squared = chi_squared_of(reference, current)
    n, m = chi_squared.n_reference, chi_squared.n_current
    if chi_squared.pvalue is None:
        return Answer(name="distribution", reason=_sparse(n, m), n_reference=n, n_current=m, is_unknown=True)
    psi = population_stability_index_of(reference, current, 1.0)
    n_effective = 1.0 / (1.0 / n + 1.0 / m)
    return Answer(
        name="distribution",
        statistic=psi.statistic,
        pvalue=chi_squared.pvalue,
        effect_size=psi.effect_size,
        confidence_interval=_psi_interval(psi.statistic, psi.n_bins, n_effective, alpha),
        n_reference=n,
        n_current=m,
        n_cells=psi.n_bins,
        n_effective=n_effective,
    )


def _dependent_distribution(stretches: Floats, window: Floats, alpha: float) -> Answer:
    """Of rows in time order: by how much the reference's own stretches differ from each other."""
    stretches = stretches[stretches.any(axis=1)]
    n, m = int(stretches.sum()), int(window.sum())
    if len(stretches) < MIN_STRETCHES:
        return Answer(name="distribution", reason=_short(len(stretches)), n_reference=n, n_current=m, is_unknown=True)
    result = rao_scott_of(stretches, window)
    if result.pvalue is None:
        return Answer(name="distribution", reason=_sparse(n, m), n_reference=n, n_current=m, is_unknown=True)
    psi = population_stability_index_of(stretches.sum(axis=0), window, result.dispersion)
    n_effective = 1.0 / (1.0 / n + 1.0 / m) / result.dispersion
    return Answer(
        name="distribution",
        statistic=psi.statistic,
        pvalue=result.pvalue,
        effect_size=psi.effect_size,
        confidence_interval=_psi_interval(psi.statistic, psi.n_bins, n_effective, alpha),
        n_reference=n,
        n_current=m,
        n_cells=psi.n_bins,
        n_effective=n_effective,
    )


def _missing(
    reference: NumericProfile | CategoricalProfile,
    current: NumericProfile | CategoricalProfile,
    stretches: Stretches | None,
    alpha: float,
) -> Answer:
    n, m = reference.n + reference.missing, current.n + current.missing
    if not n or not m:
        return Answer(name="missing", reason="there are no rows", n_reference=n, n_current=m, is_unknown=True)
    counts = (reference.missing, n, current.missing, m)
    if stretches is None:
        return _share("missing", counts, fisher_pvalue(*counts), alpha)
    return _dependent_share("missing", counts, stretches.missing, stretches, alpha)


def _out_of_range(
    reference: NumericProfile, current: NumericProfile, stretches: Stretches | None, alpha: float
) -> Answer:
    n, m = reference.n, current.n
    if not n or not m:
        return _no_values(n, m, "out_of_range")
    counts = (reference.n_out_of_range, n, current.n_out_of_range, m)
    if stretches is None:
        return _share("out_of_range", counts, predictive_share(*counts, n_limits=2).pvalue, alpha)
    return _dependent_share("out_of_range", counts, stretches.out_of_range, stretches, alpha)


def _unseen(reference: CategoricalProfile, current: CategoricalProfile, alpha: float) -> Answer:
    if not reference.n or not current.n:
        return _no_values(reference.n, current.n, "unseen")
    singletons = reference.n_singletons
    if reference.names is None or current.names is None or singletons is None:
        return Answer(name="unseen", reason="more than 10,000 names: they are counted in buckets, not one by one")
    known = reference.names
    k = sum(count for name, count in current.names.items() if name not in known)
    counts = (singletons, reference.n, k, current.n)
    if reference.stretches is not None:
        return Answer(
            name="unseen",
            reason="rows in time order: how many new names to expect is not known",
            statistic=k / current.n,
            n_reference=reference.n,
            n_current=current.n,
        )
    return _share("unseen", counts, predictive_share(*counts).pvalue, alpha)


def _share(name: CheckName, counts: tuple[int, int, int, int], pvalue: float, alpha: float) -> Answer:
    r, n, k, m = counts
    return Answer(
        name=name,
        statistic=k / m,
        pvalue=pvalue,
        effect_size=abs(k / m - r / n) if name == "missing" else max(0.0, k / m - r / n),
        confidence_interval=_share_interval(counts, alpha),
        n_reference=n,
        n_current=m,
    )


def _dependent_share(
    name: CheckName, counts: tuple[int, int, int, int], hits: NDArray[np.int64], stretches: Stretches, alpha: float
) -> Answer:
    """The same of rows in time order; two cells, with and without."""
    r, n, k, m = counts
    rows = stretches.missing + stretches.cells.sum(axis=1)
    rows = rows if name == "missing" else rows - stretches.missing
    matrix = np.column_stack([hits, rows - hits]).astype(np.float64)[rows > 0]
    if len(matrix) < MIN_STRETCHES:
        return Answer(name=name, reason=_short(len(matrix)), n_reference=n, n_current=m, is_unknown=True)
    if not r and not k:
        return _share(name, counts, 1.0, alpha)
    result = rao_scott_of(matrix, np.array([k, m - k], np.float64))
    # Where the reference has next to none, its stretches tell nothing of how they come; Fisher's test is the least.
    pvalue = max(result.pvalue or 1.0, fisher_pvalue(*counts))
    return _share(name, counts, pvalue, alpha)


def _no_values(n: int, m: int, name: CheckName = "distribution") -> Answer:
    who = "the window" if n else "the reference"
    return Answer(name=name, reason=f"{who} has no value", n_reference=n, n_current=m, is_unknown=True)


def _sparse(n: int, m: int) -> str:
    return f"too sparse: {n} values against {m} leave fewer than two bins to compare"


def _short(n_stretches: int) -> str:
    return f"the reference has {n_stretches} stretches as long as the window; {MIN_STRETCHES} are needed"


def _psi_interval(psi: float, n_bins: int, n_effective: float, alpha: float) -> ConfidenceInterval:
    """Of the true PSI: times n_effective it is the noncentrality of a chi-squared."""
    from scipy.special import chndtr, chndtrinc

    freedom, scaled = n_bins - 1, psi * n_effective

    def bound(share: float) -> float:
        if chndtr(scaled, freedom, 0.0) <= share:
            return 0.0
        return float(chndtrinc(scaled, freedom, share)) / n_effective

    return ConfidenceInterval(low=bound(1.0 - alpha / 2.0), high=bound(alpha / 2.0))


def _share_interval(counts: tuple[int, int, int, int], alpha: float) -> ConfidenceInterval:
    """Of the difference of two shares: Newcombe's method 10, of Wilson's intervals."""
    r, n, k, m = counts
    low_r, high_r = _wilson(r, n, alpha)
    low_k, high_k = _wilson(k, m, alpha)
    p, q = r / n, k / m
    return ConfidenceInterval(
        low=q - p - float(np.hypot(q - low_k, high_r - p)), high=q - p + float(np.hypot(high_k - q, p - low_r))
    )


def _wilson(k: int, n: int, alpha: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(1.0 - alpha / 2.0)
    center, spread = (k + z * z / 2.0) / (n + z * z), z / (n + z * z) * float(np.sqrt(k * (n - k) / n + z * z / 4.0))
    return center - spread, center + spread
