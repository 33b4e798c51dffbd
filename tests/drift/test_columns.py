"""Columns: every kind of values that arrays and sequences hold, and what counts as missing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model_perf.drift._columns import Column, read_column
from model_perf.errors import InvalidInputError

LARGE = 2**53
NOON = datetime(2014, 1, 15, 12, tzinfo=UTC)
MELBOURNE = timezone(timedelta(hours=10))
MICROSECONDS = 1_389_787_200_000_000  # date -u -d '2014-01-15 12:00' +%s


def objects(*values: object) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def read(values: object) -> Column:
    return read_column(values, "x")


@pytest.mark.parametrize(
    ("values", "kind", "present", "missing"),
    [
        pytest.param([1.5, float("nan"), 2.5], "numeric", [1.5, 2.5], 1, id="floats"),
        pytest.param(np.array([1.5, 2.5], np.float32), "numeric", [1.5, 2.5], 0, id="float32"),
        pytest.param(np.array([1.5, 2.5], ">f8"), "numeric", [1.5, 2.5], 0, id="big-endian"),
        pytest.param([-np.inf, 0.0, np.inf], "numeric", [-np.inf, 0.0, np.inf], 0, id="infinities"),
        pytest.param([LARGE, LARGE + 1], "numeric", [LARGE, LARGE + 1], 0, id="2^53"),
        pytest.param([LARGE, LARGE + 1, None], "numeric", [LARGE, LARGE + 1], 1, id="2^53 and None"),
        pytest.param(np.array([0, 255], np.uint8), "numeric", [0, 255], 0, id="uint8"),
        pytest.param(np.array([0, 2**64 - 1], np.uint64), "numeric", [0, 2**64 - 1], 0, id="uint64"),
        pytest.param(objects(2**63, 1), "numeric", [2**63, 1], 0, id="large objects"),
        pytest.param(objects(2**70, -(2**70)), "numeric", [2.0**70, -(2.0**70)], 0, id="huge objects"),
        pytest.param(objects(1, 2.5, None), "numeric", [1.0, 2.5], 1, id="mixed numbers"),
        pytest.param(pd.array([LARGE + 1, None], dtype="Int64"), "numeric", [LARGE + 1], 1, id="nullable Int64"),
        pytest.param(pd.array([255, None], dtype="UInt8"), "numeric", [255], 1, id="nullable UInt8"),
        pytest.param([Decimal("1.5"), Decimal("NaN"), Decimal("sNaN")], "numeric", [1.5], 2, id="decimal"),
        pytest.param([Decimal("-Infinity"), Decimal(1)], "numeric", [-np.inf, 1.0], 0, id="infinite decimal"),
        pytest.param(np.ma.array([1, 9], mask=[False, True]), "numeric", [1], 1, id="masked"),
        pytest.param(np.ma.array([1.0, np.nan, 3.0], mask=[True, False, False]), "numeric", [3.0], 2, id="masked NaN"),
        pytest.param(np.array([1, "NaT"], "m8[s]"), "numeric", [1_000_000], 1, id="timedelta64"),
        pytest.param([timedelta(seconds=1), None], "numeric", [1_000_000], 1, id="timedelta"),
        pytest.param(objects(pd.Timedelta("1s"), pd.NaT), "numeric", [1_000_000], 1, id="pandas Timedelta"),
        pytest.param(
            objects(np.timedelta64(1, "s"), np.timedelta64("NaT")), "numeric", [1_000_000], 1, id="m8 objects"
        ),
        pytest.param([True, False], "boolean", [True, False], 0, id="bool"),
        pytest.param([True, None], "boolean", [True], 1, id="bool and None"),
        pytest.param(objects(np.True_, float("nan")), "boolean", [True], 1, id="numpy bool objects"),
        pytest.param(pd.array([True, None], dtype="boolean"), "boolean", [True], 1, id="nullable boolean"),
        pytest.param(["a", "b"], "categorical", ["a", "b"], 0, id="text"),
        pytest.param(["a", float("nan"), None], "categorical", ["a"], 2, id="text and NaN in a list"),
        pytest.param(objects("a", pd.NA, pd.NaT, np.nan), "categorical", ["a"], 3, id="text and pandas' missing"),
        pytest.param(objects(np.str_("a")), "categorical", ["a"], 0, id="numpy str"),
        pytest.param(np.array([b"a", b"\xff"]), "categorical", ["a", "\\xff"], 0, id="bytes"),
        pytest.param([b"a", None], "categorical", ["a"], 1, id="bytes and None"),
        pytest.param(np.array(["2014-01-15T12", "NaT"], "M8[h]"), "datetime", [MICROSECONDS], 1, id="datetime64"),
        pytest.param([NOON, None], "datetime", [MICROSECONDS], 1, id="datetime"),
        pytest.param([NOON.astimezone(MELBOURNE)], "datetime", [MICROSECONDS], 0, id="another zone"),
        pytest.param([NOON.replace(tzinfo=None)], "datetime", [MICROSECONDS], 0, id="naive: as if UTC"),
        pytest.param(objects(pd.Timestamp(NOON), pd.NaT), "datetime", [MICROSECONDS], 1, id="pandas Timestamp"),
        pytest.param([date(1970, 1, 2)], "datetime", [86_400_000_000], 0, id="date"),
        pytest.param([None, float("nan")], None, [], 2, id="nothing"),
        pytest.param(np.full(2, np.nan), None, [], 2, id="NaN only"),
        pytest.param([], None, [], 0, id="empty"),
    ],
)
def test_what_a_column_holds(values: object, kind: str | None, present: list[object], missing: int) -> None:
    """Kind, values in numpy's type, and how many are missing."""
    column = read(values)
    assert (column.kind, column.present.tolist(), column.missing) == (kind, present, missing)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 2 has it")
def test_numpys_text_of_any_length() -> None:
    """StringDType is text; its own missing value is missing."""
    column = read(np.array(["a", np.nan], dtype=np.dtypes.StringDType(na_object=np.nan)))
    assert (column.kind, column.present.tolist(), column.missing) == ("categorical", ["a"], 1)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param(np.zeros((2, 2)), "2 dimensions", id="a matrix"),
        pytest.param(3.0, "0 dimensions", id="one number"),
        pytest.param(np.zeros(2, complex), "complex", id="complex"),
        pytest.param(objects("a", 1), "several kinds", id="text and numbers"),
        pytest.param(["a", 1], "several kinds", id="text and numbers in a list"),
        pytest.param(objects(True, 1), "several kinds", id="truth values and numbers"),
        pytest.param([NOON, NOON.replace(tzinfo=None)], "with and without a zone", id="zones"),
        pytest.param(objects(timedelta(1), 1), "spans of time and plain numbers", id="spans and numbers"),
        pytest.param(objects(b"a", "a"), "bytes and text", id="bytes and text"),
        pytest.param(objects(10**400), "beyond the largest", id="too large"),
        pytest.param([Decimal("1e400"), Decimal("Infinity")], "beyond the largest", id="too large a decimal"),
        pytest.param(np.array([2**62], "m8[s]"), "64 bits of microseconds", id="too long a span"),
        pytest.param(np.array(["NaT", "300000-01-01"], "M8[D]"), "64 bits of microseconds", id="too late a time"),
        pytest.param(objects({}), "dict", id="dicts"),
        pytest.param(objects([1], [2]), "list", id="lists"),
    ],
)
def test_what_cannot_be_compared(values: object, said: str) -> None:
    """Several kinds of values, or none that can be compared, are refused by the column's name."""
    with pytest.raises(InvalidInputError, match=said) as refused:
        read(values)
    assert refused.value.argument == "x"


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(np.float64).max, reason="no longer float here")
def test_long_doubles() -> None:
    """They are read as 64-bit floats; what those cannot hold is refused, infinity is not."""
    assert read(np.array([1.5, np.inf, np.nan], np.longdouble)).present.tolist() == [1.5, np.inf]
    with pytest.raises(InvalidInputError, match="beyond the largest"):
        read(np.array([np.finfo(np.longdouble).max]))


@pytest.mark.parametrize(
    ("values", "has_zone"),
    [
        pytest.param([None, NOON], True, id="with a zone"),
        pytest.param([NOON.replace(tzinfo=None)], False, id="without"),
        pytest.param([date(2024, 1, 1)], False, id="date"),
        pytest.param(np.array(["NaT", "2024-01-01"], "M8[D]"), False, id="numpy"),
        pytest.param(pd.Series([pd.NaT, pd.Timestamp(NOON)]), True, id="pandas"),
        pytest.param([None, None], None, id="nothing"),
        pytest.param([1.0], None, id="a number"),
    ],
)
def test_whether_times_have_a_zone(values: object, has_zone: bool | None) -> None:
    """Only of times there is an answer."""
    assert read(values).has_zone is has_zone


def test_the_ends_of_the_calendar() -> None:
    """The first and the last moment with a zone, though in UTC they lie beyond the calendar."""
    ends = [datetime(1, 1, 1, tzinfo=MELBOURNE), datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))]
    # In hours: date -u -d '0001-01-01' +%s is -62135596800, date -u -d '9999-12-31 23:59:59' +%s is 253402300799.
    first, last = (-62_135_596_800 - 36_000) * 10**6, (253_402_300_799 + 18_000) * 10**6 + 999_999
    assert read(ends).present.tolist() == [first, last]
