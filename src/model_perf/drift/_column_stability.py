"""PSI and missing share of whole datasets, by counting bins only: a glance that costs ten comparisons of a column."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from model_perf.drift._answers import Answer, other_type
from model_perf.drift._categorical_profile import CategoricalProfile, count_values
from model_perf.drift._column_checks import ask_bins, ask_categorical
from model_perf.drift._columns import Column, Numbers, read_column
from model_perf.drift._frames import read_columns
from model_perf.drift._knots import Knots
from model_perf.drift._numeric_profile import count_numbers
from model_perf.drift._profile import ColumnProfile, DatasetProfile
from model_perf.drift._stretches import Counts

BLOCK_ROWS = 1 << 15
"""Rows that stay in the processor's cache while they are compared with each cut."""

_ALPHA = 0.05  # of what is not asked for here


@frozen(kw_only=True)
class ColumnStability:
    """How a column of a window lies beside its reference.

    Attributes
    ----------
    statistic : float or None
        PSI in nats; None where it cannot be had, and *reason* says why.
    effect_size : float or None
        The same without what samples of these sizes show when nothing has changed, >= 0.
    missing_share, reference_missing_share : float or None
        Of the rows; None without any row.
    n_reference, n_current : int
        Values.
    reason : str
    """

    statistic: float | None
    effect_size: float | None
    missing_share: float | None
    reference_missing_share: float | None
    n_reference: int
    n_current: int
    reason: str = ""


def column_stability(
    reference: DatasetProfile, current: Mapping[str, ArrayLike] | object
) -> dict[str, ColumnStability]:
    """Measure PSI and missing share of every column of the reference, without a test or a verdict.

    The PSI is the one that `check_data_drift` reports, on the same bins. It takes counting the ten bins, where a check
    sorts; a high PSI of a small window alone says nothing (see `check_data_drift`).

    Parameters
    ----------
    reference : DatasetProfile
    current : mapping of str to array, or a dataframe
        As `profile` takes it. Columns that the reference does not have are left out.

    Returns
    -------
    dict of str to ColumnStability
        In the reference's order.

    Examples
    --------
    >>> from model_perf.drift import profile
    >>> reference = profile({"load": range(1000)})
    >>> found = column_stability(reference, {"load": [*range(500, 1000), None]})["load"]
    >>> round(found.effect_size, 1), round(found.missing_share, 4)
    (2.6, 0.002)
    """
    window = read_columns(current)
    in_time_order = reference.rows == "time_ordered"
    return {
        name: _stability(column, window[name], name, in_time_order=in_time_order)
        if name in window
        else _unknown(column, 0, 0, "the window does not have the column")
        for name, column in reference.columns.items()
    }


def _stability(reference: ColumnProfile, given: object, name: str, *, in_time_order: bool) -> ColumnStability:
    column = read_column(given, name)
    if said := other_type(reference, column.kind, has_zone=column.has_zone):
        return _unknown(reference, column.n, column.missing, said)
    answer = _ask(reference, column, in_time_order=in_time_order)
    if answer is None or answer.pvalue is None:
        return _unknown(reference, column.n, column.missing, answer.reason if answer else "there are no values")
    return ColumnStability(
        statistic=answer.statistic,
        effect_size=answer.effect_size,
        missing_share=_share(column.missing, column.n),
        reference_missing_share=_share(reference.missing, reference.n + reference.missing),
        n_reference=reference.n,
        n_current=column.n - column.missing,
    )


def _ask(reference: ColumnProfile, column: Column, *, in_time_order: bool) -> Answer | None:
    if isinstance(reference, CategoricalProfile):
        counted = count_values(column.present, reference.kind, column.missing)
        return ask_categorical(reference, counted, _ALPHA, in_time_order=in_time_order)[0]
    if reference.knots is None:
        return None
    bins = count_bins(column.present, reference.knots)
    return ask_bins(reference, bins, column.n, _ALPHA, in_time_order=in_time_order)


def count_bins(values: Numbers, knots: Knots) -> Counts:
    """Values in each bin, in any order; the same counts as those of a `NumericProfile`."""
    if {values.dtype.kind, knots.values.dtype.kind} == {"i", "u"}:  # which numpy may compare as floats
        return count_numbers(values, None, 0, knots).bins
    below = np.zeros(len(knots.cuts), np.int64)
    cuts = [(knots.values[cut // 2], cut % 2 == 1) for cut in knots.cuts.tolist()]
    for begin in range(0, values.size, BLOCK_ROWS):
        block = values[begin : begin + BLOCK_ROWS]
        below += [np.count_nonzero(block <= knot if is_at else block < knot) for knot, is_at in cuts]
    return np.diff(below, prepend=0, append=values.size)


def _unknown(reference: ColumnProfile, n_rows: int, n_missing: int, reason: str) -> ColumnStability:
    return ColumnStability(
        statistic=None,
        effect_size=None,
        missing_share=_share(n_missing, n_rows),
        reference_missing_share=_share(reference.missing, reference.n + reference.missing),
        n_reference=reference.n,
        n_current=n_rows - n_missing,
        reason=reason,
    )


def _share(count: int, n: int) -> float | None:
    return count / n if n else None
