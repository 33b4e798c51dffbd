"""What a check of one column has found, and why it may have found nothing."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from model_perf.drift._categorical_profile import CategoricalProfile
from model_perf.drift._columns import Kind
from model_perf.drift._data_report import CheckName
from model_perf.drift._numeric_profile import NumericProfile
from model_perf.drift._stretches import NO_STRETCHES, Stretches
from model_perf.stats import ConfidenceInterval

AnyProfile: TypeAlias = NumericProfile | CategoricalProfile

MIN_STRETCHES = 12
"""Stretches of a window's length that the dependence of neighbours can be told from."""

MIN_POWER = 0.8
"""Chance of finding a change without which "ok" would be a guess."""


@frozen(kw_only=True)
class Answer:
    """What a check found, before it is known how many others there are.

    ``pvalue`` is None where nothing could be tested, and *reason* says why. ``n_cells`` and ``n_effective`` tell
    what a distribution's test could have found at all; ``count_reference``, ``dispersion`` and ``n_stretches`` (0 of
    independent rows) what a share's; ``n_tests`` shared the p-value.
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
    count_reference: int | None = None
    dispersion: float = 1.0
    n_stretches: int = 0
    is_unknown: bool = False


def other_type(reference: AnyProfile, kind: Kind | None, *, has_zone: bool | None) -> str:
    """What is said of values of another type than the reference's; nothing of the same, or of none."""
    if None not in (reference.kind, kind) and reference.kind != kind:
        return f"{kind} values, where the reference has {reference.kind} ones"
    before = reference.has_zone if isinstance(reference, NumericProfile) else None
    if None in (before, has_zone) or before == has_zone:
        return ""
    said = ("with a zone", "without one") if has_zone else ("without a zone", "with one")
    return f"times {said[0]}, where the reference has times {said[1]}: hours may lie between them; give both a zone"


def too_short(name: CheckName, stretches: Stretches, n: int, m: int) -> Answer:
    said = short(len(stretches.missing))
    if stretches is NO_STRETCHES:
        said = "rows in time order, whose order got lost as profiles were added up"
    return Answer(name=name, reason=said, n_reference=n, n_current=m, is_unknown=True)


def no_values(n: int, m: int, name: CheckName = "distribution") -> Answer:
    """More rows of the window would help where it is the window that has none."""
    who = "the window" if n else "the reference"
    return Answer(name=name, reason=f"{who} has no value", n_reference=n, n_current=m, is_unknown=n > 0)


def short(n_stretches: int) -> str:
    return f"the reference has {n_stretches} stretches as long as the window; {MIN_STRETCHES} are needed"
