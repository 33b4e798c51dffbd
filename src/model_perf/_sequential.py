"""One look at an A/B test on observations: what the moments say, and what is decided by it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from model_perf._ab_design import ABDesign, Guardrail
from model_perf._observations import SERVED, TIME_SLOTS, UNIT_SLOTS, Cells
from model_perf.aggregates import Aggregates
from model_perf.records import ABTest, Decision, Look

if TYPE_CHECKING:
    from model_perf.stats import ConfidenceSequence

BURN_IN = 100
"""Observations of each arm before the first look counts: the sequence is asymptotic."""
MIN_EVENTS = 5
"""Events, and non-events, of a binary metric in each arm."""
SKEWNESS_FACTOR = 25.0
MIN_GROUPS = 10
"""Groups of units in each arm."""
GUARD_ALPHA = 0.001
LARGEST_COUNT = 10**12
"""Of an arm, in the test of the sample ratio."""


class _Told(dict[tuple[str, str], dict[int, Aggregates]]):
    """The moments by metric and arm, each slot apart, and together once somebody asks."""

    def __init__(self, cells: Cells) -> None:
        for (metric, arm, slot), moments in cells.items():
            self.setdefault((metric, arm), {})[slot] = moments
        self._wholes: dict[tuple[str, str], Aggregates] = {}

    def slots(self, metric: str | None, arm: str) -> Mapping[int, Aggregates]:
        return self.get((metric or "", arm), {})

    def whole(self, metric: str | None, arm: str) -> Aggregates:
        key = metric or "", arm
        if key not in self._wholes:
            self._wholes[key] = Aggregates.merged(self.slots(*key).values())
        return self._wholes[key]


@frozen(kw_only=True)
class _Mean:
    """Of one arm, or of the differences; ``df`` is None where the standard error counts as known."""

    mean: float
    standard_error: float
    df: float | None


@frozen(kw_only=True)
class _Compared:
    """b - a of one metric."""

    effect: float
    standard_error: float
    df: float | None
    n: int


@frozen(kw_only=True)
class Findings:
    """A look and what stands behind it: the arms' means by metric, and what its reader should know."""

    look: Look
    means_a: Mapping[str, float]
    means_b: Mapping[str, float]
    notes: tuple[str, ...] = ()


def take_look(test: ABTest, design: ABDesign, cells: Cells, looks: Sequence[Look], now: datetime) -> Findings:
    """The decision at *now*, in the order: invalid, insufficient data, superior, equivalent, undecided."""
    told = _Told(cells)
    a, b = told.whole(design.metric, "a"), told.whole(design.metric, "b")
    ratio = None if design.pairing == "shadow" else _ratio_pvalue(test, design, told, looks)
    lacking = _lacking(test, design, told, design.metric, now)
    compared = None if lacking else _compare(test, design, told, design.metric, now)
    if compared is not None and compared.standard_error == 0.0:
        compared, lacking = None, "the differences have no spread at all, and so no measure of chance"
    look = Look(
        look_at=now, n_a=a.n, n_b=b.n, decision="insufficient_data", reason=lacking or "", sample_ratio_pvalue=ratio
    )
    if compared is not None:
        look = _with_sequence(look, compared, design, looks)
    decision, reason = _decide(test, design, told, look, compared, now, lacking)
    look = evolve(look, decision=decision, reason=reason)
    names = {metric for metric, arm in told if metric != SERVED and arm in "ab"}
    return Findings(
        look=look,
        means_a={name: told.whole(name, "a").mean for name in sorted(names) if told.whole(name, "a").n},
        means_b={name: told.whole(name, "b").mean for name in sorted(names) if told.whole(name, "b").n},
        notes=_notes(test, design, told),
    )


def is_final(decision: Decision, test: ABTest, now: datetime) -> bool:
    """Whether the test is concluded by this look; what only lacks data goes on until the end."""
    return decision in ("superior_a", "superior_b", "equivalent", "invalid") or now >= test.test_end


def _decide(
    test: ABTest,
    design: ABDesign,
    told: _Told,
    look: Look,
    compared: _Compared | None,
    now: datetime,
    lacking: str,
) -> tuple[Decision, str]:
    if look.sample_ratio_pvalue is not None and look.sample_ratio_pvalue < GUARD_ALPHA:
        return "invalid", _ratio_reason(test, told, look)
    if compared is None:
        return "insufficient_data", lacking
    low, high = look.confidence_low, look.confidence_high
    assert low is not None
    assert high is not None
    said = f"b - a = {_number(compared.effect)} [{_number(low)}, {_number(high)}], p = {look.pvalue:.2g}"
    if low > high:
        return "invalid", "the intervals of different looks exclude each other: the difference changed during the test"
    begin = test.test_start + timedelta(seconds=design.minimum_runtime_s)
    if now < begin:
        return "undecided", f"{said}; nothing is decided before {begin.isoformat()}"
    if not design.sign:
        return "undecided", f"{said}; nobody has said whether more of {design.metric} is better"
    if low > 0.0 or high < 0.0:
        b_is_better = (low > 0.0) == (design.sign > 0.0)
        held_up = _held_up(test, design, told, now, 1.0 if b_is_better else -1.0)
        if held_up:
            return "undecided", f"{said}; {held_up}"
        return ("superior_b" if b_is_better else "superior_a"), said
    if design.margin is not None and -design.margin < low and high < design.margin:
        return "equivalent", f"{said}, within the margin of {_number(design.margin)}"
    return "undecided", f"{said}: 0 is not excluded"


def _with_sequence(look: Look, compared: _Compared, design: ABDesign, looks: Sequence[Look]) -> Look:
    """Where the intervals of all looks overlap, and the smallest p: both are as valid as those of this look."""
    found = _sequence(compared, design)
    lows = [each.confidence_low for each in looks if each.confidence_low is not None]
    highs = [each.confidence_high for each in looks if each.confidence_high is not None]
    pvalues = [each.pvalue for each in looks if each.pvalue is not None]
    return evolve(
        look,
        effect=compared.effect,
        standard_error=compared.standard_error,
        confidence_low=max([found.confidence_interval.low, *lows]),
        confidence_high=min([found.confidence_interval.high, *highs]),
        pvalue=min([found.pvalue, *pvalues]),
    )


def _sequence(compared: _Compared, design: ABDesign) -> ConfidenceSequence:
    from model_perf.stats import confidence_sequence

    return confidence_sequence(
        compared.effect,
        compared.standard_error,
        n=compared.n,
        planned_n=design.planned_n,
        alpha=design.alpha,
        df=compared.df,
    )


def _held_up(test: ABTest, design: ABDesign, told: _Told, now: datetime, winner: float) -> str:
    """Why a guardrail does not let the better model (1.0: b, -1.0: a) win yet; empty where all let it."""
    for guardrail in design.guardrails:
        bound = _harm_bound(test, design, told, guardrail, now, winner)
        if bound is None:
            return f"guardrail {guardrail.metric} has too few observations, or no spread among them"
        if bound >= guardrail.margin:
            better, harm = "b" if winner > 0.0 else "a", f"{_number(bound)}, the margin is {guardrail.margin:g}"
            return f"guardrail {guardrail.metric}: {better} may be worse by {harm}"
    return ""


def _harm_bound(
    test: ABTest, design: ABDesign, told: _Told, guardrail: Guardrail, now: datetime, winner: float
) -> float | None:
    """The upper end of how much worse the better model is in the guardrail's metric, at every look."""
    from model_perf.stats import confidence_sequence

    if _lacking(test, design, told, guardrail.metric, now):
        return None
    compared = _compare(test, design, told, guardrail.metric, now)
    if compared.standard_error == 0.0:
        return None
    worse = -winner if guardrail.direction == "higher" else winner
    found = confidence_sequence(
        worse * compared.effect,
        compared.standard_error,
        n=compared.n,
        planned_n=design.planned_n,
        alpha=design.alpha,
        alternative="less",
        df=compared.df,
    )
    return found.confidence_interval.high


def _compare(test: ABTest, design: ABDesign, told: _Told, metric: str | None, now: datetime) -> _Compared:
    if design.pairing == "shadow":
        return _compare_pairs(_time_slots(test, told, metric, now))
    slots: Mapping[str, Mapping[int, Aggregates]] = {arm: told.slots(metric, arm) for arm in "ab"}
    if design.covariate is not None and metric == design.metric:
        slots = _without_covariate(slots)
    a, b = _mean_of(slots["a"]), _mean_of(slots["b"])
    return _Compared(
        effect=b.mean - a.mean,
        standard_error=math.hypot(a.standard_error, b.standard_error),
        df=_df(a, b),
        n=sum(cell.n for arm in slots.values() for cell in arm.values()),
    )


def _compare_pairs(slots: Sequence[Aggregates]) -> _Compared:
    from model_perf.stats import equally_weighted_cosines

    found = equally_weighted_cosines(slots)
    return _Compared(effect=found.mean, standard_error=found.standard_error, df=found.df, n=found.n)


def _without_covariate(slots: Mapping[str, Mapping[int, Aggregates]]) -> dict[str, dict[int, Aggregates]]:
    from model_perf.stats import adjusted, cuped_theta

    arms = [Aggregates.merged(cells.values()) for cells in slots.values()]
    theta, whole = cuped_theta(*arms), Aggregates.merged(arms).covariate
    center = 0.0 if whole is None else whole.mean
    return {arm: dict(zip(cells, adjusted(cells.values(), theta, center), strict=True)) for arm, cells in slots.items()}


def _mean_of(slots: Mapping[int, Aggregates]) -> _Mean:
    """Rows with a unit count by the unit's slot, rows without one for themselves."""
    from model_perf.stats import clustered_mean

    units = [cell for slot, cell in slots.items() if slot < UNIT_SLOTS]
    alone = Aggregates.merged(cell for slot, cell in slots.items() if slot >= UNIT_SLOTS)
    if not units:
        return _Mean(mean=alone.mean, standard_error=alone.standard_error, df=None)
    if not alone.n:
        found = clustered_mean(units)
        return _Mean(mean=found.mean, standard_error=found.standard_error, df=found.df)
    whole = Aggregates.merged([*units, alone])
    scores = sum((cell.n * (cell.mean - whole.mean)) ** 2 for cell in units)
    scores += alone.m2 + alone.n * (alone.mean - whole.mean) ** 2
    groups = len(units) + alone.n
    variance = groups / (groups - 1.0) * scores / whole.n**2
    return _Mean(mean=whole.mean, standard_error=math.sqrt(variance), df=max(1, len(units) - 1))


def _df(a: _Mean, b: _Mean) -> float | None:
    from model_perf.stats._welch import welch_df

    parts = [(each.standard_error**2, each.df) for each in (a, b)]
    if all(df is None for _, df in parts):
        return None
    return welch_df(*((variance, math.inf if df is None else df) for variance, df in parts))


def _lacking(test: ABTest, design: ABDesign, told: _Told, metric: str | None, now: datetime) -> str:
    """What is missing before anything can be said of a metric; empty where nothing is."""
    is_binary = design.kind == "binary" and metric == design.metric
    if design.pairing == "shadow":
        return _lacking_pairs(_time_slots(test, told, metric, now), design.cap, is_binary=is_binary)
    for arm in "ab":
        slots, whole = told.slots(metric, arm), told.whole(metric, arm)
        if said := _lacking_in_arm(slots, whole, f"model_{arm}", design.cap, is_binary=is_binary):
            return said
    return ""


def _lacking_in_arm(
    slots: Mapping[int, Aggregates], whole: Aggregates, who: str, cap: float | None, *, is_binary: bool
) -> str:
    if whole.n < BURN_IN:
        return f"{who} has {whole.n} observations; {BURN_IN} are needed"
    if len(slots) < MIN_GROUPS and all(slot < UNIT_SLOTS for slot in slots):
        return f"{who} served {len(slots)} groups of units; {MIN_GROUPS} are needed"
    if not is_binary:
        return _too_skewed(whole, who, cap)
    events = round(whole.n * whole.mean)
    if min(events, whole.n - events) >= MIN_EVENTS:
        return ""
    return f"{who} has {events} events in {whole.n} observations; {MIN_EVENTS} of each outcome are needed"


def _lacking_pairs(slots: Sequence[Aggregates], cap: float | None, *, is_binary: bool) -> str:
    from model_perf.stats._ewc import MIN_SLOTS

    whole, occupied = Aggregates.merged(slots), sum(slot.n > 0 for slot in slots)
    if whole.n < BURN_IN:
        return f"{whole.n} pairs in parts of the test that are over; {BURN_IN} are needed"
    if occupied < MIN_SLOTS:
        return f"pairs in {occupied} of the {TIME_SLOTS} parts of the test; {MIN_SLOTS} are needed"
    if not is_binary:
        return _too_skewed(whole, "the differences", cap)
    either = round(whole.m2 + whole.n * whole.mean**2)
    return "" if either >= 2 * MIN_EVENTS else f"the models differ on {either} items; {2 * MIN_EVENTS} are needed"


def _too_skewed(whole: Aggregates, who: str, cap: float | None) -> str:
    needed = math.ceil(SKEWNESS_FACTOR * whole.skewness**2)
    if whole.n >= needed:
        return ""
    return (
        f"{who}: a skewness of {whole.skewness:.3g} needs {needed} observations, there are {whole.n}; a new test with "
        f"{'a' if cap is None else 'a smaller'} cap on the values needs fewer"
    )


def _ratio_pvalue(test: ABTest, design: ABDesign, told: _Told, looks: Sequence[Look]) -> float:
    """Of the planned split, at this look or one before: of the units served, and of those whose outcome arrived."""
    from model_perf.stats import sequential_sample_ratio

    weights = (1.0 - test.traffic_split, test.traffic_split)
    pvalues = [each.sample_ratio_pvalue for each in looks if each.sample_ratio_pvalue is not None]
    served = [told.whole(SERVED, arm).n for arm in "ab"]
    if sum(served):
        pvalues.append(sequential_sample_ratio(_countable(served), weights).pvalue)
    slots = {arm: told.slots(design.metric, arm) for arm in "ab"}
    alone = [sum(cell.n for slot, cell in slots[arm].items() if slot >= UNIT_SLOTS) for arm in "ab"]
    if sum(alone):
        pvalues.append(sequential_sample_ratio(_countable(alone), weights).pvalue)
    by_unit = _ratio_of_units(slots, test.traffic_split, design.planned_n)
    return min([1.0, *pvalues, *by_unit])


def _countable(counts: Sequence[int]) -> list[int]:
    """Of more than the ratio's test takes as many times fewer in each arm: less evidence, of the same ratio."""
    times = -(-max(counts) // LARGEST_COUNT)
    return [count // max(1, times) for count in counts]


def _ratio_of_units(slots: Mapping[str, Mapping[int, Aggregates]], split: float, planned_n: int) -> list[float]:
    """Rows of one unit go to one arm together, so that groups of units are what the ratio varies by.

    The excess of b over its share, s n_a - (1 - s) n_b with the share s of b, has mean 0 in every group of units.
    """
    from model_perf.stats import confidence_sequence

    numbers = sorted(slot for slot in slots["a"].keys() | slots["b"].keys() if slot < UNIT_SLOTS)
    if len(numbers) < MIN_GROUPS:
        return []
    counts = [[slots[arm][slot].n if slot in slots[arm] else 0 for slot in numbers] for arm in "ab"]
    excess = Aggregates.from_values([(1.0 - split) * b - split * a for a, b in zip(*counts, strict=True)])
    n = sum(map(sum, counts))
    # The mean excess of a row: the groups' sum over the rows.
    effect, error = excess.mean * excess.n / n, excess.standard_error * excess.n / n
    found = confidence_sequence(effect, error, n=n, planned_n=planned_n, alpha=GUARD_ALPHA, df=len(numbers) - 1)
    return [found.pvalue]


def _ratio_reason(test: ABTest, told: _Told, look: Look) -> str:
    """Of what is further from its plan."""
    counted = {"observations": (look.n_a, look.n_b), "units served": tuple(told.whole(SERVED, arm).n for arm in "ab")}

    def surprise(what: str) -> float:
        n = sum(counted[what])
        return abs(counted[what][1] - n * test.traffic_split) / math.sqrt(n) if n else -1.0

    what = max(counted, key=surprise)
    total = sum(counted[what])
    return (
        f"sample ratio mismatch: {counted[what][1] / total:.2%} of {total:,} {what} are model_b's, "
        f"{test.traffic_split:.2%} were planned (p = {look.sample_ratio_pvalue:.2g}); "
        "something sorts the units or loses their outcomes"
    )


def _notes(test: ABTest, design: ABDesign, told: _Told) -> tuple[str, ...]:
    notes = []
    has_alone = any(slot >= UNIT_SLOTS for arm in "ab" for slot in told.slots(design.metric, arm))
    if design.pairing == "routed" and has_alone:
        notes.append("assumes one row per unit: some observations came without their unit")
    if design.planned_n_source != "given":
        notes.append(f"planned_n = {design.planned_n} ({design.planned_n_source})")
    if test.late_observations:
        notes.append(f"{test.late_observations} observations came after the end, and are not in it")
    return tuple(notes)


def _time_slots(test: ABTest, told: _Told, metric: str | None, now: datetime) -> list[Aggregates]:
    """The parts of the test that are over, in order; the one that runs is not complete."""
    elapsed = (now - test.test_start) / (test.test_end - test.test_start)
    over = min(TIME_SLOTS, math.floor(elapsed * TIME_SLOTS))
    slots = told.slots(metric, "d")
    return [slots.get(slot, Aggregates()) for slot in range(max(0, over))]


def _number(value: float) -> str:
    return f"{value:.4g}"
