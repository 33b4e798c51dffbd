"""Checks of shares: missing values, values out of the reference's range, names that it does not have."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from model_perf.drift._answers import MIN_STRETCHES, Answer, AnyProfile, no_values, short, too_short
from model_perf.drift._categorical_profile import CategoricalProfile
from model_perf.drift._data_report import CheckName
from model_perf.drift._numeric_profile import NumericProfile
from model_perf.drift._rao_scott import rao_scott_of
from model_perf.drift._shares import fisher_pvalue, predictive_share
from model_perf.drift._stretches import Stretches
from model_perf.drift._unseen import unseen_pvalue
from model_perf.stats import ConfidenceInterval


def ask_missing(
    reference: AnyProfile,
    current: AnyProfile,
    stretches: Stretches | None,
    alpha: float,
) -> Answer:
    """Rows without a value, more or fewer."""
    n, m = reference.n + reference.missing, current.n + current.missing
    if not n or not m:
        return Answer(name="missing", reason="there are no rows", n_reference=n, n_current=m, is_unknown=True)
    counts = (reference.missing, n, current.missing, m)
    if stretches is None:
        return _share("missing", counts, fisher_pvalue(*counts), alpha)
    return _dependent_share("missing", counts, stretches.missing, stretches, alpha)


def ask_out_of_range(
    reference: NumericProfile, current: NumericProfile, stretches: Stretches | None, alpha: float
) -> Answer:
    """Values beyond the reference's 0.1% and 99.9%, against what its own ranks let one expect."""
    n, m = reference.n, current.n
    if not n or not m:
        return no_values(n, m, "out_of_range")
    counts = (reference.n_out_of_range, n, current.n_out_of_range, m)
    if stretches is None:
        return _share("out_of_range", counts, predictive_share(*counts, n_limits=2).pvalue, alpha)
    return _dependent_share("out_of_range", counts, stretches.out_of_range, stretches, alpha)


def ask_unseen(
    reference: CategoricalProfile, current: CategoricalProfile, alpha: float, *, in_time_order: bool
) -> Answer:
    if not reference.n or not current.n:
        return no_values(reference.n, current.n, "unseen")
    singletons = reference.n_singletons
    if reference.names is None or current.names is None or singletons is None:
        return Answer(name="unseen", reason="more than 10,000 names: they are counted in buckets, not one by one")
    known = reference.names
    k = sum(count for name, count in current.names.items() if name not in known)
    counts = (singletons, reference.n, k, current.n)
    if in_time_order:
        return Answer(
            name="unseen",
            reason="rows in time order: how many new names to expect is not known",
            statistic=k / current.n,
            n_reference=reference.n,
            n_current=current.n,
        )
    return _share("unseen", counts, unseen_pvalue(known, current.names), alpha)


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
        count_reference=r,
        n_effective=1.0 / (1.0 / n + 1.0 / m),
    )


def _dependent_share(
    name: CheckName, counts: tuple[int, int, int, int], hits: NDArray[np.int64], stretches: Stretches, alpha: float
) -> Answer:
    """The same of rows in time order; two cells, with and without."""
    r, n, k, m = counts
    if len(stretches.missing) < MIN_STRETCHES:
        return too_short(name, stretches, n, m)
    rows = stretches.missing + stretches.cells.sum(axis=1)
    rows = rows if name == "missing" else rows - stretches.missing
    matrix = np.column_stack([hits, rows - hits]).astype(np.float64)[rows > 0]
    if len(matrix) < MIN_STRETCHES:
        return Answer(name=name, reason=short(len(matrix)), n_reference=n, n_current=m, is_unknown=True)
    if not r and not k:
        return evolve(_share(name, counts, 1.0, alpha), n_stretches=len(matrix))
    result = rao_scott_of(matrix, np.array([k, m - k], np.float64))
    # F takes shares for about normal. Rare rows that come in clumps are not: at least as many clumps must be new.
    pvalue = max(result.pvalue or 1.0, _pvalue_of_clumps(name, counts, result.dispersion))
    # As many independent rows would vary as much.
    interval = _share_interval((r, n, k, m), alpha, result.dispersion)
    answer = _share(name, counts, pvalue, alpha)
    return evolve(
        answer,
        confidence_interval=interval,
        n_effective=answer.n_effective / result.dispersion,
        dispersion=result.dispersion,
        n_stretches=len(matrix),
    )


def _pvalue_of_clumps(name: CheckName, counts: tuple[int, int, int, int], size: float) -> float:
    """Of independent rows a clump each; where the reference has none, clumps are taken for rows."""
    n, m = (max(1, round(count / size)) for count in counts[1::2])
    if name == "missing":
        return fisher_pvalue(min(n, round(counts[0] / size)), n, min(m, round(counts[2] / size)), m)
    r, k = min(n, math.ceil(counts[0] / size)), min(m, math.floor(counts[2] / size))
    return predictive_share(r, n, k, m, n_limits=2).pvalue


def _share_interval(counts: tuple[int, int, int, int], alpha: float, dispersion: float = 1.0) -> ConfidenceInterval:
    """Of the difference of two shares: Newcombe's method 10, of Wilson's intervals."""
    r, n, k, m = (count / dispersion for count in counts)
    low_r, high_r = _wilson(r, n, alpha)
    low_k, high_k = _wilson(k, m, alpha)
    p, q = r / n, k / m
    return ConfidenceInterval(
        low=q - p - float(np.hypot(q - low_k, high_r - p)), high=q - p + float(np.hypot(high_k - q, p - low_r))
    )


def _wilson(k: float, n: float, alpha: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(1.0 - alpha / 2.0)
    center, spread = (k + z * z / 2.0) / (n + z * z), z / (n + z * z) * float(np.sqrt(k * (n - k) / n + z * z / 4.0))
    return center - spread, center + spread
