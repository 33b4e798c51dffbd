"""PSI by counting bins: the same numbers as those of the whole check."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

from model_perf.drift import ColumnStability, DatasetProfile, check_data_drift, column_stability, profile

START = datetime(2024, 1, 1, tzinfo=UTC)


def make_columns(n: int, seed: int, shift: float = 0.0) -> dict[str, Any]:
    """A column of every kind, with missing values and ties."""
    rng = np.random.default_rng(seed)
    floats = rng.normal(shift, 1.0, n)
    floats[rng.random(n) < 0.05] = np.nan
    whole = rng.poisson(3.0 + shift, n)
    return {
        "floats": floats,
        "half": floats.astype(np.float32),
        "rounded": np.round(floats, 1),
        "whole": whole,
        "unsigned": whole.astype(np.uint64) + np.uint64(2**63),
        "mixed": whole.astype(np.uint64) + (np.uint64(2**63) if seed == 1 else np.uint64(2**62)),
        "tiny": whole.astype(np.uint8),
        "constant": np.ones(n),
        "infinite": np.where(floats > 1.5, np.inf, floats),
        "truth": rng.random(n) < 0.3 + 0.2 * shift,
        "name": rng.choice(["a", "b", "c", "d"], n, p=[0.4, 0.3, 0.2, 0.1]),
        "time": [START + timedelta(hours=float(hours)) for hours in rng.exponential(1.0 + shift, n)],
        "decimal": [Decimal(f"{value:.2f}") for value in rng.normal(shift, 1.0, n)],
        "id": [f"{seed}-{i}" for i in range(n)],
        "nothing": [None] * n,
    }


def compare(reference: DatasetProfile, window: dict[str, Any]) -> dict[str, ColumnStability]:
    """The stability of every column, which is what the check's distribution says."""
    found, report = column_stability(reference, window), check_data_drift(reference, window)
    assert list(found) == list(reference.columns)
    for name, column in report.columns.items():
        for check in column.checks:
            if check.name == "distribution":
                assert (found[name].statistic, found[name].effect_size) == (check.statistic, check.effect_size), name
            if check.name == "missing" and check.statistic is not None:
                assert found[name].missing_share == check.statistic, name
    return found


@pytest.mark.parametrize("shift", [0.0, 0.7])
@pytest.mark.parametrize("n", [40, 3000])
def test_the_numbers_are_those_of_the_check(shift: float, n: int) -> None:
    """For every kind of column, with ties, missing values and infinities, to the last bit."""
    found = compare(profile(make_columns(4000, 1)), make_columns(n, 2, shift))
    assert found["constant"].statistic == 0.0
    assert found["id"].statistic is None
    assert "identifier" in found["id"].reason
    assert found["nothing"].missing_share == 1.0


def test_rows_in_time_order() -> None:
    """The reference's dependence counts as it does in the check, and too few stretches say nothing."""
    rng = np.random.default_rng(3)
    walk = np.cumsum(rng.normal(size=4000)) * 0.05 + rng.normal(size=4000)
    reference = profile({"load": walk}, rows="time_ordered")
    compare(reference, {"load": walk[:200] + 0.5})
    found = compare(reference, {"load": walk[:2000]})
    assert found["load"].statistic is None
    assert "stretches" in found["load"].reason


def test_many_rows_in_blocks() -> None:
    """More rows than a block, in any order."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=100_000)
    values[::7] = np.nan
    compare(profile({"x": values[:5000]}), {"x": values})


def test_a_dataframe() -> None:
    """A dataframe's columns are those of its arrays; nulls are missing."""
    window = {"x": [1.0, 2.0, None, 40.0] * 50, "k": [1, None, 2**53, 2**53 + 1] * 50}
    reference = profile(pl.DataFrame(window))
    found = column_stability(reference, pl.DataFrame(window))
    assert [each.missing_share for each in found.values()] == [0.25, 0.25]
    assert [each.statistic for each in found.values()] == [0.0, 0.0]


def test_absent_and_other_columns() -> None:
    """A column that is absent or of another kind has no PSI, and says why; a new one is left out."""
    reference = profile({"a": range(100), "b": range(100)})
    found = column_stability(reference, {"b": ["x"] * 50, "c": range(50)})
    assert list(found) == ["a", "b"]
    assert found["a"].reason == "the window does not have the column"
    assert found["b"].reason == "categorical values, where the reference has numeric ones"
    assert (found["a"].statistic, found["b"].statistic) == (None, None)


def test_no_rows() -> None:
    """Of no row there is no share."""
    found = column_stability(profile({"a": range(100)}), {"a": []})["a"]
    assert (found.statistic, found.missing_share, found.reason) == (None, None, "the window has no value")
