"""A/B tests on real forecasts: half-hourly demand of Victoria in 2014, by what it was a day and a week before."""

from __future__ import annotations

import csv
import gzip
from datetime import timedelta
from importlib.resources import files

import numpy as np
import pytest
from attrs import evolve
from numpy.typing import NDArray
from tests.test_ab_simulation import design_of, most_often, watch
from tests.test_assignment import make_test

from model_perf import ABTest, assign_many
from model_perf._observations import Cells, paired_values
from model_perf._sequential import take_look
from model_perf.aggregates import Aggregates
from model_perf.records import Look

DAY, WEEK = 48, 336


@pytest.fixture(scope="module")
def demand() -> NDArray[np.float64]:
    """In GW."""
    packed = files("model_perf") / "demo" / "victoria_demand_2014.csv.gz"
    with packed.open("rb") as raw, gzip.open(raw, "rt", encoding="utf-8") as text:
        return np.array([float(row["demand_gw"]) for row in csv.DictReader(text)])


def error_of(demand: NDArray[np.float64], lag: int) -> NDArray[np.float64]:
    """Absolute errors of taking the demand of *lag* half-hours before, from the second week on."""
    return np.abs(demand[WEEK:] - demand[WEEK - lag : -lag])


def test_a_model_against_itself(demand: NDArray[np.float64]) -> None:
    """The same forecast behind both arms, days assigned at random a hundred times over: never told apart too often."""
    errors = error_of(demand, WEEK)
    days = len(errors) // DAY
    found = 0
    for replay in range(100):
        test = make_test(f"replay {replay}")
        is_b = np.array(assign_many(test, range(days))) == "b"
        states: list[Cells] = []
        for seen in range(20, days, 9):
            cells: Cells = {}
            for arm, chosen in (("a", ~is_b[:seen]), ("b", is_b[:seen])):
                own = errors[: seen * DAY].reshape(seen, DAY)[chosen]
                groups = np.repeat(np.flatnonzero(chosen) % 256, DAY)
                cells |= {("own", arm, k): m for k, m in Aggregates.from_groups(own.ravel(), groups).items()}
            states.append(cells)
        found += watch(test, design_of(planned_n=days * DAY), states)[0].startswith("superior")
    assert found <= most_often(0.05, 100)


def test_two_models_on_the_same_half_hours(demand: NDArray[np.float64]) -> None:
    """A day before against a week before: errors follow each other for days, and the interval says so."""
    a, b = error_of(demand, WEEK), error_of(demand, DAY)
    begin = make_test().test_start
    test: ABTest = evolve(make_test(), test_end=begin + len(a) * timedelta(minutes=30))
    times = [begin + i * timedelta(minutes=30) for i in range(len(a))]
    cells = paired_values(test, "own", a, b, times)
    look: Look | None = None
    for day in range(30, len(a) // DAY + 2, 7):
        look = take_look(
            test,
            design_of(pairing="shadow", planned_n=len(a)),
            cells,
            () if look is None else (look,),
            begin + timedelta(days=day),
        ).look
        assert look.decision in ("undecided", "insufficient_data")
    assert look is not None
    assert look.effect == pytest.approx((b - a).mean(), rel=0.05)
    independent = Aggregates.from_values(b - a)
    assert look.standard_error is not None
    # Taken for independent the week before would be better by five standard errors.
    assert independent.mean / independent.standard_error > 5.0
    assert look.standard_error > 4.0 * independent.standard_error


def test_a_forecast_with_a_known_flaw_loses(demand: NDArray[np.float64]) -> None:
    """The same forecast, a tenth too high, is found out within eight months."""
    honest = error_of(demand, WEEK)
    flawed = np.abs(demand[WEEK:] - 1.1 * demand[:-WEEK])
    begin = make_test().test_start
    test: ABTest = evolve(make_test(), test_end=begin + len(honest) * timedelta(minutes=30))
    times = [begin + i * timedelta(minutes=30) for i in range(len(honest))]
    cells = paired_values(test, "own", honest, flawed, times)
    design, look, day = design_of(pairing="shadow", planned_n=len(honest)), None, 30
    while look is None or look.decision in ("undecided", "insufficient_data"):
        looks = () if look is None else (look,)
        look = take_look(test, design, cells, looks, begin + timedelta(days=day)).look
        day += 7
    assert look.decision == "superior_a"
    assert day < 240
