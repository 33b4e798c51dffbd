"""The decision of A/B tests on observations, simulated: equal models, looked at a hundred times from the burn-in on."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from numpy.typing import NDArray
from scipy.stats import binom
from tests.factories import START
from tests.test_assignment import make_test

from model_perf import ABTest
from model_perf._ab_design import ABDesign
from model_perf._observations import TIME_SLOTS, Cells
from model_perf._sequential import BURN_IN, take_look
from model_perf.aggregates import Aggregates
from model_perf.records import Decision, Look
from model_perf.stats import sequence_multipliers

Draw = Callable[[np.random.Generator, int], NDArray[Any]]

PLANNED_N = 20_000
RUNS = 300
TEST = make_test()


def most_often(probability: float, trials: int) -> int:
    """How often an event of that probability happens at most, with probability .999."""
    return int(binom.ppf(0.999, trials, probability))


def design_of(**options: Any) -> ABDesign:
    return ABDesign(**{"metric": "own", "direction": "lower", "alpha": 0.05, "planned_n": PLANNED_N, **options})


def running_moments(values: NDArray[np.float64], sizes: NDArray[np.int64]) -> list[Aggregates]:
    """Those of the first so many values."""
    n = np.maximum(sizes, 1)
    first, second, third = (np.concatenate([[0.0], np.cumsum(values**power)])[sizes] for power in (1, 2, 3))
    mean = first / n
    m2, m3 = second - n * mean**2, third - 3 * mean * second + 2 * n * mean**3
    rows = zip(sizes.tolist(), mean.tolist(), np.maximum(m2, 0.0).tolist(), m3.tolist(), strict=True)
    return [Aggregates(n=k, mean=a, m2=b, m3=c) if k else Aggregates() for k, a, b, c in rows]


def watch(test: ABTest, design: ABDesign, states: list[Cells]) -> tuple[Decision, Look]:
    """The first decision that ends the test, or the last one, over looks at these states."""
    look: Look | None = None
    for i, cells in enumerate(states):
        now = test.test_start + timedelta(seconds=i + 1)
        look = take_look(test, design, cells, () if look is None else (look,), now).look
        if look.decision not in ("undecided", "insufficient_data"):
            break
    assert look is not None
    return look.decision, look


def routed_states(rng: np.random.Generator, draw: Draw, split: float, n: int, shift: float = 0.0) -> list[Cells]:
    """A hundred states of a test whose units come one after the other, from twice the burn-in on."""
    is_b = rng.random(n) < split
    values = draw(rng, n) + shift * is_b
    looks = np.unique(np.geomspace(2 * BURN_IN, n, 100).round().astype(int))
    n_b = np.cumsum(is_b)[looks - 1]
    a, b = running_moments(values[~is_b], looks - n_b), running_moments(values[is_b], n_b)
    return [{("own", "a", 256): x, ("own", "b", 256): y} for x, y in zip(a, b, strict=True)]


SCENARIOS: dict[str, tuple[Draw, float, dict[str, Any]]] = {
    "normal": (lambda rng, n: rng.normal(size=n), 0.5, {}),
    "one percent": (lambda rng, n: (rng.random(n) < 0.01) * 1.0, 0.5, {"kind": "binary"}),
    "one percent, 5% of traffic": (lambda rng, n: (rng.random(n) < 0.01) * 1.0, 0.05, {"kind": "binary"}),
    "log-normal": (lambda rng, n: rng.lognormal(size=n), 0.5, {}),
    "log-normal, 5% of traffic": (lambda rng, n: rng.lognormal(size=n), 0.05, {}),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_equal_models_are_seldom_told_apart(name: str) -> None:
    """In 5% of tests at most, at a hundred looks, whatever is observed and however the traffic is split."""
    draw, split, options = SCENARIOS[name]
    design, test = design_of(**options), make_test(split=split)
    rng = np.random.default_rng([ord(letter) for letter in name])
    found = [watch(test, design, routed_states(rng, draw, split, PLANNED_N))[0] for _ in range(RUNS)]
    told_apart = sum(decision.startswith("superior") for decision in found)
    assert told_apart <= most_often(0.05, RUNS)
    assert sum(decision == "invalid" for decision in found) <= most_often(0.002, RUNS)
    assert sum(decision in ("undecided", "insufficient_data") for decision in found) > 0.9 * RUNS


@pytest.mark.long
@pytest.mark.parametrize("name", SCENARIOS)
def test_equal_models_at_length(name: str) -> None:
    """The same over 3,000 tests."""
    draw, split, options = SCENARIOS[name]
    design, test = design_of(**options), make_test(split=split)
    rng = np.random.default_rng([1, *(ord(letter) for letter in name)])
    found = [watch(test, design, routed_states(rng, draw, split, PLANNED_N))[0] for _ in range(3000)]
    assert sum(decision.startswith("superior") for decision in found) <= most_often(0.05, 3000)


def test_looking_naively_tells_equal_models_apart() -> None:
    """A fixed test asked a hundred times from the same burn-in on errs in more than a third."""
    rng, found = np.random.default_rng(1), 0
    looks = np.unique(np.geomspace(100, PLANNED_N / 2, 100).round().astype(int))
    for _ in range(RUNS):
        a, b = rng.normal(size=(2, PLANNED_N // 2)).cumsum(axis=1)[:, looks - 1] / looks
        found += bool((np.abs(b - a) > 1.96 * np.sqrt(2.0 / looks)).any())
    assert found / RUNS > 0.3


def test_pairs_that_follow_each_other() -> None:
    """Differences with an autocorrelation of .5: 5% at most, where pairs taken for independent err far more often."""
    test, design, rng, found, naive = TEST, design_of(pairing="shadow"), np.random.default_rng(2), 0, 0
    n = PLANNED_N
    length = (test.test_end - test.test_start).total_seconds()
    for _ in range(RUNS // 2):
        shocks = rng.normal(size=n)
        differences = shocks.copy()
        for i in range(1, n):
            differences[i] = 0.5 * differences[i - 1] + shocks[i]
        slots = list(Aggregates.from_groups(differences, np.arange(n) * TIME_SLOTS // n).values())
        look: Look | None = None
        for done in range(8, TIME_SLOTS + 1):
            cells: Cells = {("own", "d", slot): slots[slot] for slot in range(min(done, TIME_SLOTS))}
            now = test.test_start + timedelta(seconds=length * done / TIME_SLOTS)
            look = take_look(test, design, cells, () if look is None else (look,), now).look
            if look.decision.startswith("superior"):
                found += 1
                break
        sizes = np.arange(8, TIME_SLOTS + 1) * n // TIME_SLOTS
        moments = running_moments(differences, sizes)
        z = np.array([abs(each.mean) / each.standard_error for each in moments])
        naive += bool((z > sequence_multipliers(sizes, planned_n=n)).any())
    assert found <= most_often(0.05, RUNS // 2)
    assert naive > most_often(0.05, RUNS // 2)


def test_units_with_ten_rows() -> None:
    """Rows of a unit that are alike: 5% at most, and far more where rows are taken for units."""
    rng, found, naive = np.random.default_rng(3), 0, 0
    units, rows = 2000, 10
    slot_of = np.arange(units) % 256
    looks = np.unique(np.geomspace(40, units, 30).round().astype(int))
    for _ in range(RUNS // 3):
        is_b = rng.random(units) < 0.5
        values = rng.normal(size=(units, 1)) + rng.normal(size=(units, rows))
        states, plain = [], []
        for look in looks.tolist():
            cells: Cells = {}
            alone: Cells = {}
            for arm, chosen in (("a", ~is_b[:look]), ("b", is_b[:look])):
                own = values[:look][chosen]
                groups = np.repeat(slot_of[:look][chosen], rows)
                cells |= {("own", arm, k): m for k, m in Aggregates.from_groups(own.ravel(), groups).items()}
                alone[("own", arm, 256)] = Aggregates.from_values(own.ravel())
            states.append(cells)
            plain.append(alone)
        found += watch(TEST, design_of(), states)[0].startswith("superior")
        naive += watch(TEST, design_of(), plain)[0].startswith("superior")
    assert found <= most_often(0.05, RUNS // 3)
    assert naive > most_often(0.05, RUNS // 3)


def test_the_last_interval_covers() -> None:
    """The difference lies where the intervals of all looks overlap, in 95% of tests at least."""
    rng, missed = np.random.default_rng(4), 0
    draw: Draw = lambda r, n: r.gamma(2.0, size=n)  # noqa: E731
    for _ in range(RUNS):
        states = routed_states(rng, draw, 0.3, PLANNED_N, shift=0.02)
        look: Look | None = None
        for i, cells in enumerate(states):
            now = START + timedelta(seconds=i + 1)
            look = take_look(make_test(split=0.3), design_of(), cells, () if look is None else (look,), now).look
        assert look is not None
        if look.confidence_low is not None and look.confidence_high is not None:
            missed += not look.confidence_low <= 0.02 <= look.confidence_high
    assert missed <= most_often(0.05, RUNS)


@pytest.mark.parametrize(("shift", "power"), [(0.06, 0.93), (0.05, 0.76)])
def test_power_beside_the_fixed_test(shift: float, power: float) -> None:
    """At the planned size a difference of .05 sd, which a fixed test finds in 94%, is found in 3 of 4 tests or more."""
    rng, found = np.random.default_rng(5), 0
    draw: Draw = lambda r, n: r.normal(size=n)  # noqa: E731
    for _ in range(RUNS // 2):
        decision, look = watch(TEST, design_of(), routed_states(rng, draw, 0.5, PLANNED_N, shift=-shift))
        found += decision == "superior_b"
        assert decision != "superior_a"
        assert look.n_a + look.n_b <= PLANNED_N
    assert abs(found / (RUNS // 2) - power) < 3.3 * math.sqrt(power * (1 - power) / (RUNS // 2))


def test_equivalent_models_are_found_so() -> None:
    """A difference outside of the margin is called equivalent in 5% of tests at most; equal models mostly are."""
    rng, design = np.random.default_rng(6), design_of(margin=0.06)
    draw: Draw = lambda r, n: r.normal(size=n)  # noqa: E731
    at_margin = [watch(TEST, design, routed_states(rng, draw, 0.5, PLANNED_N, shift=0.061))[0] for _ in range(150)]
    equal = [watch(TEST, design, routed_states(rng, draw, 0.5, PLANNED_N))[0] for _ in range(150)]
    assert at_margin.count("equivalent") <= most_often(0.05, 150)
    assert equal.count("equivalent") > 100


def test_a_lost_tenth_of_one_arm_is_noticed() -> None:
    """Every tenth outcome of b that gets lost makes 20,000 units invalid, nearly always."""
    rng, found = np.random.default_rng(7), 0
    for _ in range(100):
        kept = 0.5 * 0.9 / (0.5 + 0.45)
        states = routed_states(rng, lambda r, n: r.normal(size=n), kept, PLANNED_N)
        found += watch(TEST, design_of(), states)[0] == "invalid"
    assert found > 95


def test_a_difference_that_changes_is_said() -> None:
    """Where the intervals of two looks exclude each other, nothing is decided but that."""
    rng = np.random.default_rng(8)
    early = routed_states(rng, lambda r, n: r.normal(size=n), 0.5, 4000)[-1]
    late = {
        cell: evolve(m, n=20 * m.n, m2=20 * m.m2, m3=20 * m.m3, mean=m.mean + (cell[1] == "b"))
        for cell, m in early.items()
    }
    decision, look = watch(TEST, design_of(), [early, late])
    assert decision == "invalid"
    assert "exclude each other" in look.reason
