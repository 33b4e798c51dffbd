"""Dataframes: pandas, polars and pyarrow have the profile of the mapping of arrays."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from model_perf.drift import profile
from model_perf.errors import InvalidInputError

LARGE = 2**53 + 1
NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
COLUMNS: dict[str, list[Any]] = {
    "float": [1.5, None, -2.5],
    "whole": [LARGE, None, LARGE - 1],
    "full": [1, 2, 3],
    "flag": [True, None, False],
    "text": ["a", None, "b"],
    "time": [NOON, None, NOON + timedelta(microseconds=1)],
    "zone": [NOON.astimezone(timezone(timedelta(hours=10))), None, NOON],
    "naive": [NOON.replace(tzinfo=None), None, NOON.replace(tzinfo=None)],
    "date": [date(2025, 1, 1), None, date(2025, 1, 2)],
    "span": [timedelta(seconds=1), None, timedelta(seconds=2)],
    "decimal": [Decimal("1.50"), None, Decimal("2.50")],
    "nothing": [None, None, None],
}
NULLABLE = {"whole": "Int64", "flag": "boolean", "text": "string"}


def pandas_frame() -> Any:
    """As pandas reads lists, nullable types where plain ones lose something."""
    return pd.DataFrame({name: pd.Series(values, dtype=NULLABLE.get(name)) for name, values in COLUMNS.items()})


def categories() -> Any:
    frame = pandas_frame()
    return frame.assign(text=frame["text"].astype("category"))


MAKERS = [
    pandas_frame,
    categories,
    lambda: pl.DataFrame(COLUMNS, strict=False),
    lambda: pl.DataFrame(COLUMNS, strict=False).with_columns(pl.col("text").cast(pl.Categorical)),
    lambda: pa.table(COLUMNS),
    lambda: dict(pandas_frame().items()),
    lambda: pl.DataFrame(COLUMNS, strict=False).to_dict(),
]
IDS = ["pandas", "pandas category", "polars", "polars category", "pyarrow", "pandas series", "polars series"]


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
@pytest.mark.parametrize("name", COLUMNS)
def test_a_frame_has_the_profile_of_its_arrays(make: Callable[[], Any], name: str) -> None:
    """Column by column: kind, missing values, and each value to its last digit."""
    columns = {name: np.array(values, dtype=object) for name, values in COLUMNS.items()}
    assert profile(make()).columns[name].to_dict() == profile(columns).columns[name].to_dict()


@pytest.mark.parametrize("dtype", ["uint8", "UInt8", "int16", "float32", "Float64", "uint64", "Int64"])
def test_small_and_nullable_numbers(dtype: str) -> None:
    """Every width of pandas' numbers is numeric."""
    column = profile(pd.DataFrame({"x": pd.Series([1, 0, 100], dtype=dtype)})).columns["x"]
    assert (column.kind, column.n, column.missing) == ("numeric", 3, 0)


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
def test_a_zone_is_seen(make: Callable[[], Any]) -> None:
    """Though all libraries count in UTC."""
    columns: Any = profile(make()).columns
    zones = {name: columns[name].has_zone for name in ("time", "zone", "naive", "date", "float")}
    assert zones == {"time": True, "zone": True, "naive": False, "date": False, "float": None}


def test_categories_of_numbers_are_categorical() -> None:
    """Whoever made them a category has decided."""
    column = profile(pd.DataFrame({"x": pd.Categorical([1, 2, None])})).columns["x"]
    assert (column.kind, column.n, column.missing) == ("categorical", 2, 1)


def test_numbers_as_names() -> None:
    """Of a frame they are taken as text."""
    assert list(profile(pd.DataFrame({0: [1], 1: [2]})).columns) == ["0", "1"]


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(pd.DataFrame([[1, 2]], columns=["a", "a"]), id="one name twice"),
        pytest.param(pl.DataFrame({"a": [[1, 2]]}), id="lists"),
        pytest.param(pl.DataFrame({"a": [1]}).lazy(), id="lazy"),
        pytest.param(pa.table({"a": [{"b": 1}]}), id="structs"),
    ],
)
def test_frames_that_cannot_be_profiled(frame: Any) -> None:
    """Two columns of one name, nested values and lazy frames are refused."""
    with pytest.raises(InvalidInputError):
        profile(frame)


@pytest.mark.parametrize(("values", "dtype"), [(["2024-01"], "period[M]"), ([1.0], "Sparse[float64, nan]")])
def test_what_pandas_alone_knows_is_refused_by_its_name(values: list[Any], dtype: str) -> None:
    """narwhals calls it unknown; the message says what pandas calls it."""
    with pytest.raises(InvalidInputError, match=re.escape(dtype)):
        profile(pd.DataFrame({"x": pd.Series(values, dtype=dtype)}))


def test_a_frame_is_not_changed() -> None:
    """The frame is the same afterwards."""
    frame = pandas_frame()
    profile(frame, rows="time_ordered")
    pd.testing.assert_frame_equal(frame, pandas_frame())
