"""The questions that are asked of one column, each answered with a p-value and an effect; no verdict yet."""

from __future__ import annotations

import numpy as np
from attrs import evolve

from model_perf.drift._answers import MIN_STRETCHES, Answer, AnyProfile, no_values, short, too_short
from model_perf.drift._bins import neighbour_groups, pool_groups, smaller_share, sum_groups
from model_perf.drift._categorical_profile import N_BUCKETS, CategoricalProfile, aligned, bucket_of
from model_perf.drift._chi_squared import chi_squared_of
from model_perf.drift._kolmogorov_smirnov import kolmogorov_smirnov_of_counts
from model_perf.drift._numeric_profile import NumericProfile
from model_perf.drift._population_stability_index import population_stability_index_of
from model_perf.drift._rao_scott import rao_scott_of
from model_perf.drift._samples import Floats
from model_perf.drift._share_checks import ask_missing, ask_out_of_range, ask_unseen
from model_perf.drift._stretches import NO_STRETCHES, Counts, Stretches
from model_perf.stats import ConfidenceInterval


def ask_numeric(
    reference: NumericProfile, current: NumericProfile, alpha: float, *, in_time_order: bool
) -> list[Answer]:
    """Distribution, missing values, values out of the reference's range."""
    stretches = _stretches_as_long(reference, current.n + current.missing, in_time_order)
    return [
        _numeric_distribution(reference, current, alpha, in_time_order=in_time_order),
        ask_missing(reference, current, stretches, alpha),
        ask_out_of_range(reference, current, stretches, alpha),
    ]


def ask_categorical(
    reference: CategoricalProfile, current: CategoricalProfile, alpha: float, *, in_time_order: bool
) -> list[Answer]:
    """Distribution, missing values, names that the reference does not have."""
    stretches = _stretches_as_long(reference, current.n + current.missing, in_time_order)
    missing = ask_missing(reference, current, stretches, alpha)
    if reference.is_identifier:
        said = "nearly every row has a name of its own: an identifier has no distribution to compare"
        return [Answer(name="distribution", reason=said), missing, Answer(name="unseen", reason=said)]
    distribution = _categorical_distribution(reference, current, stretches, alpha)
    if reference.kind == "boolean":
        return [distribution, missing]
    return [distribution, missing, ask_unseen(reference, current, alpha, in_time_order=in_time_order)]


def ask_empty(reference: AnyProfile, current: AnyProfile, alpha: float, *, in_time_order: bool) -> list[Answer]:
    """Where one of both holds nothing to tell its kind by: missing values only."""
    stretches = _stretches_as_long(reference, current.n + current.missing, in_time_order)
    return [no_values(reference.n, current.n), ask_missing(reference, current, stretches, alpha)]


def _stretches_as_long(reference: AnyProfile, n_rows: int, in_time_order: bool) -> Stretches | None:
    """None where rows are independent; of a reference that was added up the order is not known: no stretches."""
    if not in_time_order:
        return None
    return reference.stretches.joined(n_rows) if reference.stretches else NO_STRETCHES


def ask_bins(reference: NumericProfile, bins: Counts, n_rows: int, alpha: float, *, in_time_order: bool) -> Answer:
    """The distribution by the counts of a window's values in the reference's bins alone."""
    n = int(bins.sum())
    if not reference.n or not n:
        return no_values(reference.n, n)
    stretches = _stretches_as_long(reference, n_rows, in_time_order)
    if stretches is not None and len(stretches.missing) < MIN_STRETCHES:
        return too_short("distribution", stretches, reference.n, n)
    a, b = reference.bins.astype(np.float64), bins.astype(np.float64)
    if _is_constant(a, b):
        return _constant(reference.n, n, alpha)
    groups = neighbour_groups(a + b, smaller_share(a, b))
    a, b = sum_groups(a, groups), sum_groups(b, groups)
    if stretches is not None:
        return _dependent_distribution(sum_groups(stretches.cells.astype(np.float64), groups), b, alpha)
    return _independent_distribution(a, b, alpha)


def _numeric_distribution(
    reference: NumericProfile, current: NumericProfile, alpha: float, *, in_time_order: bool
) -> Answer:
    n_rows = current.n + current.missing
    answer = ask_bins(reference, current.bins, n_rows, alpha, in_time_order=in_time_order)
    # Without an effect nothing can be said to matter.
    if in_time_order or answer.pvalue is None or _is_constant(reference.bins, current.bins):
        return answer
    assert reference.knots is not None
    ks = kolmogorov_smirnov_of_counts(
        reference.knots.values,
        (reference.below, reference.at_most, reference.n),
        (current.below, current.at_most, current.n),
        alpha,
    )
    return evolve(answer, distance=ks.statistic, pvalue=min(1.0, 2.0 * min(ks.pvalue, answer.pvalue)), n_tests=2)


def _categorical_distribution(
    reference: CategoricalProfile, current: CategoricalProfile, stretches: Stretches | None, alpha: float
) -> Answer:
    if not reference.n or not current.n:
        return no_values(reference.n, current.n)
    if stretches is not None and len(stretches.missing) < MIN_STRETCHES:
        return too_short("distribution", stretches, reference.n, current.n)
    of_reference, of_current = aligned(reference, current)
    if _is_constant(of_reference, of_current):
        return _constant(reference.n, current.n, alpha)
    if stretches is not None:
        return _dependent_distribution(*_stretch_cells(reference, current, stretches), alpha)
    return _independent_distribution(*_pooled(of_reference.astype(np.float64), of_current.astype(np.float64)), alpha)


def _stretch_cells(
    reference: CategoricalProfile, current: CategoricalProfile, stretches: Stretches
) -> tuple[Floats, Floats]:
    """Counts per stretch, and of the window, on the same cells; names that the reference lacks share one."""
    cells = stretches.cells.astype(np.float64)
    names = None if reference.names is None or len(reference.names) > N_BUCKETS else sorted(reference.names)
    if names is not None and current.names is not None:
        counts = [current.names.get(name, 0) for name in names]
        cells = np.column_stack([cells, np.zeros(len(cells))])
        window = np.array([*counts, current.n - sum(counts)], np.float64)
    else:
        if names is not None:
            buckets = np.zeros((N_BUCKETS, len(cells)))
            np.add.at(buckets, [bucket_of(name) for name in names], cells.T)
            cells = buckets.T
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
        return Answer(name="distribution", reason=short(len(stretches)), n_reference=n, n_current=m, is_unknown=True)
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


def _is_constant(reference: Floats | Counts, current: Floats | Counts) -> bool:
    return int(np.count_nonzero(reference + current)) == 1


def _constant(n: int, m: int, alpha: float) -> Answer:
    """All rows of both have the one value; what could have been found is another one."""
    n_effective = 1.0 / (1.0 / n + 1.0 / m)
    return Answer(
        name="distribution",
        statistic=0.0,
        pvalue=1.0,
        effect_size=0.0,
        confidence_interval=_psi_interval(0.0, 2, n_effective, alpha),
        n_reference=n,
        n_current=m,
        n_cells=2,
        n_effective=n_effective,
    )


def _sparse(n: int, m: int) -> str:
    return f"too sparse: {n} values against {m} leave fewer than two bins to compare"


def _psi_interval(psi: float, n_bins: int, n_effective: float, alpha: float) -> ConfidenceInterval:
    """Of the true PSI: times n_effective it is the noncentrality of a chi-squared."""
    from scipy.special import chndtr, chndtrinc

    freedom, scaled = n_bins - 1, psi * n_effective

    def bound(share: float) -> float:
        if chndtr(scaled, freedom, 0.0) <= share:
            return 0.0
        return float(chndtrinc(scaled, freedom, share)) / n_effective

    return ConfidenceInterval(low=bound(1.0 - alpha / 2.0), high=bound(alpha / 2.0))
