"""Both distributions of a column as a few counts, for eyes; nothing is judged by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from model_perf.drift._categorical_profile import CategoricalProfile
from model_perf.drift._numeric_profile import NumericProfile
from model_perf.drift._profile import DatasetProfile
from model_perf.drift._stretches import Counts

N_CELLS = 12
"""Cells of a histogram: what can be told apart in a picture as large as a thumb."""
MOST_COLUMNS = 100
LONGEST_NAME = 80
OTHER = "other"


def histograms(
    reference: DatasetProfile, current: DatasetProfile, columns: Sequence[str]
) -> dict[str, Mapping[str, object]]:
    """Counts of reference and window by column, for the first 100 of *columns* that can be drawn.

    Returns
    -------
    dict of str to mapping
        ``reference`` and ``current``: counts of the same cells; ``edges``: one more than cells, of which the outer ones
        are open, in the column's unit (microseconds since 1970 of times), or ``names``: one for each cell.
    """
    found: dict[str, Mapping[str, object]] = {}
    for name in columns[:MOST_COLUMNS]:
        old, new = reference.columns.get(name), current.columns.get(name)
        drawn: Mapping[str, object] | None = None
        if isinstance(old, NumericProfile) and isinstance(new, NumericProfile):
            drawn = _of_numbers(old, new)
        elif isinstance(old, CategoricalProfile) and isinstance(new, CategoricalProfile):
            drawn = _of_names(old, new)
        if drawn is not None:
            found[name] = drawn
    return found


def _of_numbers(reference: NumericProfile, current: NumericProfile) -> Mapping[str, object] | None:
    """Cells of equal width between the reference's 0.1% and 99.9%, counted at the knots."""
    knots = reference.knots
    if knots is None or not current.is_on(knots):
        return None
    if knots.is_complete and len(knots.values) <= N_CELLS:
        return _of_few_numbers(reference, current)
    low, high = float(knots.values[knots.low]), float(knots.values[knots.high])
    if not (np.isfinite(low) and np.isfinite(high) and np.isfinite(high - low) and low < high):
        return None
    edges = np.linspace(low, high, N_CELLS + 1)
    places = np.searchsorted(knots.values, edges[1:-1], side="right") - 1

    def count(profile: NumericProfile) -> list[int]:
        return [int(n) for n in np.diff(profile.at_most[places], prepend=0, append=profile.n)]

    return {"edges": [float(edge) for edge in edges], "reference": count(reference), "current": count(current)}


def _of_few_numbers(reference: NumericProfile, current: NumericProfile) -> Mapping[str, object]:
    assert reference.knots is not None
    values = [f"{value:.12g}" for value in reference.knots.values]

    def count(profile: NumericProfile) -> Counts:
        return np.append(profile.at_most - profile.below, profile.n - int((profile.at_most - profile.below).sum()))

    return _named([*values, OTHER], count(reference), count(current))


def _of_names(reference: CategoricalProfile, current: CategoricalProfile) -> Mapping[str, object] | None:
    """The names with the largest shares in either, and the rest."""
    if reference.names is None or current.names is None or reference.is_identifier:
        return None
    old, new = reference.names, current.names
    n, m = max(1, reference.n), max(1, current.n)
    ranked = sorted(old.keys() | new.keys(), key=lambda name: (-max(old.get(name, 0) / n, new.get(name, 0) / m), name))
    shown = ranked[: N_CELLS - 1]
    of_old, of_new = [old.get(name, 0) for name in shown], [new.get(name, 0) for name in shown]
    counts = ([*of_old, reference.n - sum(of_old)], [*of_new, current.n - sum(of_new)])
    return _named([*(name[:LONGEST_NAME] for name in shown), OTHER], *(np.array(each, np.int64) for each in counts))


def _named(names: Sequence[str], reference: Counts, current: Counts) -> Mapping[str, object]:
    """Without the rest, where there is none."""
    n = len(names) if reference[-1] or current[-1] else len(names) - 1
    return {
        "names": list(names[:n]),
        "reference": [int(count) for count in reference[:n]],
        "current": [int(count) for count in current[:n]],
    }
