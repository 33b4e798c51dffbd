"""From records or columns to a checked batch: what is taken, and what is refused by name and row."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from tests.factories import START, make_evaluation, make_id, make_ref

from model_perf.errors import InvalidInputError, NaiveTimestampError
from model_perf.records import METRIC_COLUMNS, NO_MACHINE
from model_perf.repos._batch import from_columns, from_records
from model_perf.repos._bulk import EvaluationColumns

DAYS = [START + timedelta(days=i) for i in range(4)]
BASE: dict[str, Any] = {
    "model_id": make_id("model"),
    "model_type": "baseline",
    "model_version": 1,
    "evaluation_start": DAYS[:3],
    "evaluation_end": DAYS[1:],
    "rmse": [1.0, 2.0, 3.0],
}


def columns(**changes: Any) -> dict[str, Any]:
    """Three rows; a column that is changed to ... is left out."""
    return {name: value for name, value in (BASE | changes).items() if value is not ...}


def listed(batch: EvaluationColumns, name: str) -> list[Any]:
    return batch.columns[name].to_list()


def test_the_least_that_is_needed() -> None:
    """Ids are made, the date is the end of the window, the machine is none, the rest is NULL."""
    batch = from_columns(columns())
    assert batch.n == 3
    assert listed(batch, "evaluation_date") == DAYS[1:]
    assert listed(batch, "machine_id") == [NO_MACHINE] * 3
    assert (
        len({uuid for uuid in listed(batch, "id") if uuid.version == 7 and uuid.variant == "specified in RFC 4122"})
        == 3
    )
    for name in ("sample_count", "data_completeness", "created_by", *METRIC_COLUMNS):
        assert listed(batch, name) == ([1.0, 2.0, 3.0] if name == "rmse" else [None] * 3)


SAME: list[Any] = [
    np.array([1.0, 2.0, 3.0]),
    np.array([1, 2, 3]),
    np.array([1, 2, 3], dtype=np.uint8),
    np.array([1.0, 2.0, 3.0], dtype=">f4"),
    np.array([1.0, 2.0, 3.0, 9.0])[:3],
    np.array([3.0, 2.0, 1.0])[::-1],
    np.array([1.0, 2, Decimal("3")], dtype=object),
    np.ma.MaskedArray([1.0, 2.0, 3.0]),
    (1, 2.0, np.float32(3.0)),
    range(1, 4),
]


@pytest.mark.parametrize("values", SAME, ids=lambda v: f"{type(v).__name__} {getattr(v, 'dtype', '')}")
def test_numbers_come_in_many_forms(values: Any) -> None:
    """Arrays of any number type, strides and byte order, lists, tuples and ranges mean the same numbers."""
    assert listed(from_columns(columns(rmse=values)), "rmse") == [1.0, 2.0, 3.0]


MISSING: list[Any] = [
    [1.0, None, 3.0],
    np.array([1.0, None, 3.0], dtype=object),
    np.ma.MaskedArray([1.0, np.nan, 3.0], mask=[False, True, False]),
    np.ma.MaskedArray([1, -999, 3], mask=[False, True, False]),
]


@pytest.mark.parametrize("values", MISSING, ids=lambda v: f"{type(v).__name__} {getattr(v, 'dtype', '')}")
def test_a_mask_or_none_is_missing(values: Any) -> None:
    """None and masked entries are NULL, whatever lies under the mask."""
    batch = from_columns(columns(rmse=values, mae=1))
    assert (listed(batch, "rmse"), listed(batch, "mae")) == ([1.0, None, 3.0], [1.0] * 3)


def test_a_dataframes_null_is_missing() -> None:
    """pandas' nullable columns and its frames are taken as they are."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns(evaluation_start=pandas.to_datetime(DAYS[:3]), model_id=str(BASE["model_id"])))
    frame["sample_count"] = pandas.array([5, None, 7], dtype="Int64")
    frame["mae"] = pandas.array([0.5, 1.5, None], dtype="Float64")
    frame["model_type"] = frame["model_type"].astype("category")
    batch = from_columns(frame)
    assert listed(batch, "sample_count") == [5, None, 7]
    assert listed(batch, "mae") == [0.5, 1.5, None]
    assert listed(batch, "evaluation_start") == DAYS[:3]


def test_a_dataframes_missing_text_is_missing() -> None:
    """pandas' text column holds NaN or NA for what is missing; it is NULL here."""
    pandas = pytest.importorskip("pandas")
    for dtype in ("str", "string"):
        frame = pandas.DataFrame(columns(created_by=pandas.array(["a", None, "c"], dtype=dtype)))
        assert listed(from_columns(frame), "created_by") == ["a", None, "c"]


def test_a_dataframes_nan_is_its_null() -> None:
    """pandas has no other null in a column of plain floats than NaN, which is missing there."""
    pandas = pytest.importorskip("pandas")
    batch = from_columns(columns(rmse=pandas.Series([1.0, np.nan, 3.0]), mae=1))
    assert listed(batch, "rmse") == [1.0, None, 3.0]
    with pytest.raises(InvalidInputError, match=r"model_version\[1\]"):
        from_columns(columns(model_version=pandas.array([1, None, 3], dtype="Int64")))


def test_a_dataframes_zones_are_one_instant() -> None:
    """A pandas column with a zone is converted, and its null refused by row."""
    pandas = pytest.importorskip("pandas")
    tokyo = pandas.Series(DAYS[:3]).dt.tz_convert("Asia/Tokyo")
    assert listed(from_columns(columns(evaluation_start=tokyo)), "evaluation_start") == DAYS[:3]
    with pytest.raises(InvalidInputError, match=r"evaluation_start\[1\]"):
        from_columns(columns(evaluation_start=tokyo.where([True, False, True])))


def test_a_polars_null_is_missing_and_its_nan_is_not() -> None:
    """polars tells null from NaN, and so do we."""
    polars = pytest.importorskip("polars")
    data = columns(
        evaluation_start=polars.Series(DAYS[:3]),
        sample_count=polars.Series([5, None, 7]),
        created_by=polars.Series(["a", None, "c"]),
        mae=polars.Series([0.5, None, 1.5]),
    )
    batch = from_columns(data)
    assert listed(batch, "evaluation_start") == DAYS[:3]
    found = [listed(batch, name) for name in ("sample_count", "created_by", "mae")]
    assert found == [[5, None, 7], ["a", None, "c"], [0.5, None, 1.5]]
    with pytest.raises(InvalidInputError, match="nan_as_missing"):
        from_columns(columns(rmse=polars.Series([1.0, float("nan"), None])))


@pytest.mark.parametrize("values", [[1.0, float("nan"), 3.0], np.array([1.0, np.nan, 3.0])], ids=["list", "array"])
def test_a_nan_is_missing_only_if_the_caller_says_so(values: Any) -> None:
    """A bare NaN is refused with its row; with nan_as_missing it is NULL."""
    with pytest.raises(InvalidInputError, match="nan_as_missing") as refused:
        from_columns(columns(rmse=values))
    assert refused.value.argument == "rmse[1]"
    batch = from_columns(columns(rmse=values, mae=1, r_squared=np.nan), nan_as_missing=True)
    assert (listed(batch, "rmse"), listed(batch, "r_squared")) == ([1.0, None, 3.0], [None] * 3)


def test_further_metrics_are_columns_too() -> None:
    """The mapping `metrics` gives each row those of its metrics that it has."""
    metrics = {"own": [1, None, 3], "Größe ☃": 0.5}
    found = listed(from_columns(columns(metrics=metrics)), "metrics")
    assert [json.loads(text) for text in found] == [
        {"own": 1.0, "Größe ☃": 0.5},
        {"Größe ☃": 0.5},
        {"own": 3.0, "Größe ☃": 0.5},
    ]


@pytest.mark.parametrize("name", METRIC_COLUMNS)
def test_a_metric_with_a_column_has_one_place(name: str) -> None:
    """A metric with a column of its own is refused in the mapping `metrics`, where nothing would check its range."""
    with pytest.raises(InvalidInputError, match=name):
        from_columns(columns(rmse=..., mae=1.0, metrics={name: [2.0, 2.0, 2.0]}))


def test_times_in_many_zones_are_one_instant() -> None:
    """datetime64 is UTC, a zone is converted."""
    tokyo = [day.astimezone(ZoneInfo("Asia/Tokyo")) for day in DAYS[:3]]
    days = np.array(["2024-01-01", "2024-01-02", "2024-01-03"], dtype="M8[D]")
    for start in (tokyo, days, days.astype("M8[ns]"), days.astype("M8[s]")):
        assert listed(from_columns(columns(evaluation_start=start)), "evaluation_start") == DAYS[:3]


def test_the_hour_that_comes_twice_stays_two_hours() -> None:
    """Local times an hour apart with the same clock face, at the end of summer time, stay an hour apart."""
    berlin = ZoneInfo("Europe/Berlin")
    first = datetime(2024, 10, 27, 2, 30, tzinfo=berlin)
    starts = [first, first.replace(fold=1), first]
    batch = from_columns(columns(evaluation_start=starts, evaluation_end=datetime(2025, 1, 1, tzinfo=UTC)))
    hours = [datetime(2024, 10, 27, hour, 30, tzinfo=UTC) for hour in (0, 1, 0)]
    assert listed(batch, "evaluation_start") == hours


def test_one_datetime64_counts_for_all_rows() -> None:
    """A single datetime64 is a time in UTC, as an array of them is."""
    batch = from_columns(columns(evaluation_start=np.datetime64("2024-01-01")))
    assert listed(batch, "evaluation_start") == [START] * 3


def test_a_datetime64_needs_a_unit() -> None:
    """Without a unit, the numbers of a datetime64 mean nothing."""
    with pytest.raises(InvalidInputError, match="unit"):
        from_columns(columns(evaluation_start=np.zeros(3, "M8[us]").view("M8")))


@pytest.mark.parametrize("unit", ["Y", "7D", "s", "us", "ns"])
def test_no_unit_of_datetime64_wraps_around(unit: str) -> None:
    """The largest number of each unit is refused, or is what it says."""
    end = np.full(3, 2**62).view(f"M8[{unit}]")
    if unit == "ns":
        assert listed(from_columns(columns(evaluation_end=end)), "evaluation_end")[0].year == 2116  # 1970 + 146 years
    else:
        with pytest.raises(InvalidInputError, match=r"evaluation_end\[0\].*years 1 to 9999"):
            from_columns(columns(evaluation_end=end))


OUTSIDE = [("10000-01-01", "10000-01-02"), ("0000-12-31", "0001-01-02"), ("-0100-01-01", "2024-01-01")]


@pytest.mark.parametrize("window", [*OUTSIDE, ("2024-01-01", "300000-01-01")])
def test_a_time_that_python_cannot_read_back_is_refused(window: tuple[str, str]) -> None:
    """datetime64 beyond the years 1 to 9999 is refused by name, as a datetime would be."""
    start, end = (np.array([text] * 3, dtype="M8[D]") for text in window)
    with pytest.raises(InvalidInputError) as refused:
        from_columns(columns(evaluation_start=start, evaluation_end=end))
    assert refused.value.argument.startswith("evaluation_")


NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001  (naive on purpose)
BIG = 10**400
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("evaluations", {"model_id": ...}),
    ("evaluations", {"evaluation_end": ...}),
    ("evaluations", {"rsme": [1.0, 2.0, 3.0]}),
    ("evaluations", {"verdict": "ok"}),
    ("evaluations", {"evaluation_start": DAYS[0], "evaluation_end": DAYS[1], "rmse": 1.0}),
    ("evaluations[0]", {"rmse": ...}),
    ("evaluations[1]", {"rmse": [1.0, None, 3.0]}),
    ("evaluations[2]", {"rmse": ..., "metrics": {"own": [1, 2, None]}}),
    ("model_id", {"model_id": None}),
    ("model_id", {"model_id": "press"}),
    ("model_id[1]", {"model_id": [uuid4(), "press", uuid4()]}),
    ("model_id[2]", {"model_id": [uuid4(), uuid4(), None]}),
    ("model_id[0]", {"model_id": [["a"], ["b"], ["c"]]}),
    ("model_type", {"model_type": None}),
    ("model_type", {"model_type": ""}),
    ("model_type[1]", {"model_type": ["a", None, "c"]}),
    ("model_type[1]", {"model_type": ["a", "b\0", "c"]}),
    ("model_type[2]", {"model_type": ["a", "b", "\ud800"]}),
    ("model_type[0]", {"model_type": [b"a", b"b", b"c"]}),
    ("model_type[0]", {"model_type": ["x" * 201, "b", "c"]}),
    ("model_version", {"model_version": None}),
    ("model_version", {"model_version": True}),
    ("model_version[1]", {"model_version": [1, True, 1]}),
    ("model_version[2]", {"model_version": [1, 2, 1.0]}),
    ("model_version[1]", {"model_version": np.array([1, -1, 1])}),
    ("model_version[1]", {"model_version": np.array([1, 2**31, 1])}),
    ("model_version[0]", {"model_version": np.array([True, True, True])}),
    ("machine_id[1]", {"machine_id": [uuid4(), None, uuid4()]}),
    ("evaluation_start[1]", {"evaluation_start": [DAYS[0], NAIVE, DAYS[2]]}),
    ("evaluation_start[1]", {"evaluation_start": [DAYS[0], None, DAYS[2]]}),
    ("evaluation_start[1]", {"evaluation_start": np.array(["2024-01-01", "NaT", "2024-01-03"], dtype="M8[D]")}),
    ("evaluation_start[0]", {"evaluation_start": ["2024-01-01"] * 3}),
    ("evaluation_end[1]", {"evaluation_end": [DAYS[1], DAYS[1], DAYS[3]]}),
    ("evaluation_end[2]", {"evaluation_end": [DAYS[1], DAYS[2], DAYS[0]]}),
    ("evaluation_date[0]", {"evaluation_date": [NAIVE] * 3}),
    ("evaluation_id[1]", {"evaluation_id": [uuid4(), "x", uuid4()]}),
    ("sample_count[1]", {"sample_count": [1, -1, 1]}),
    ("sample_count[1]", {"sample_count": np.array([1, -1, 1])}),
    ("sample_count[1]", {"sample_count": [1, False, 1]}),
    ("sample_count[0]", {"sample_count": np.array([1.0, 2.0, 3.0])}),
    ("sample_count[2]", {"sample_count": np.array([1, 1, 2**63], dtype=np.uint64)}),
    ("sample_count[1]", {"sample_count": [1, BIG, 1]}),
    ("data_completeness[2]", {"data_completeness": [0.0, 1.0, 1.0000001]}),
    ("data_completeness[0]", {"data_completeness": np.array([-0.1, 0, 0])}),
    ("data_completeness", {"data_completeness": 1.5}),
    ("rmse[0]", {"rmse": [-1.0, 2.0, 3.0]}),
    ("rmse[1]", {"rmse": [1.0, float("inf"), 3.0]}),
    ("rmse[1]", {"rmse": np.array([1.0, np.inf, 3.0])}),
    ("rmse[1]", {"rmse": [1.0, True, 3.0]}),
    ("rmse[1]", {"rmse": [1.0, "2.0", 3.0]}),
    ("rmse", {"rmse": np.array(["1", "2", "3"])}),
    ("rmse", {"rmse": np.array([True, True, True])}),
    ("rmse[1]", {"rmse": [1.0, BIG, 3.0]}),
    ("rmse[1]", {"rmse": [1.0, Decimal("NaN"), 3.0]}),
    ("rmse", {"rmse": np.ones((3, 2))}),
    ("rmse[0]", {"rmse": [[1.0, 2.0], [3.0], [4.0]]}),
    ("rmse", {"rmse": [1.0, 2.0]}),
    ("rmse", {"rmse": {1.0, 2.0, 3.0}}),
    ("rmse", {"rmse": {1.0: 1.0, 2.0: 2.0, 3.0: 3.0}}),
    ("rmse", {"rmse": (value for value in (1.0, 2.0, 3.0))}),
    ("r_squared[1]", {"r_squared": [1.0, 1.1, 0.0]}),
    ("precision[1]", {"precision": [1.0, -0.1, 0.0]}),
    ("evaluation_start", {"evaluation_start": None}),
    ("evaluation_end[2]", {"evaluation_end": np.array([10**15, 10**15, 253402300799999999]).view("M8[us]")}),
    ("metrics", {"metrics": [1.0, 2.0, 3.0]}),
    ("metrics", {"metrics": {"": 1.0}}),
    ("metrics", {"metrics": {"a\0": 1.0}}),
    ("metrics", {"metrics": {5: 1.0}}),
    ("metrics['own'][1]", {"metrics": {"own": [1.0, float("nan"), 2.0]}}),
    ("metrics['own']", {"metrics": {"own": [1.0, 2.0]}}),
    ("created_by[1]", {"created_by": ["a", "", "c"]}),
    ("created_by[1]", {"created_by": ["a", "x" * 201, "c"]}),
]


@pytest.mark.parametrize(("argument", "changes"), REFUSED, ids=[f"{i} {name}" for i, (name, _) in enumerate(REFUSED)])
def test_a_bad_column_is_refused_by_name_and_row(argument: str, changes: dict[str, Any]) -> None:
    """What cannot be stored is refused with the column's name and the row where it stands."""
    with pytest.raises(InvalidInputError) as refused:
        from_columns(columns(**changes))
    assert refused.value.argument == argument


def test_a_naive_time_has_its_own_error() -> None:
    """A naive time in a column is the error that it is elsewhere."""
    with pytest.raises(NaiveTimestampError):
        from_columns(columns(evaluation_start=[NAIVE] * 3))


@pytest.mark.parametrize("bad", [None, "x", 1, {"rmse": 1.0}, make_ref()])
def test_what_is_no_record_is_refused_with_its_row(bad: Any) -> None:
    """Among records anything else is refused by its place."""
    with pytest.raises(InvalidInputError) as refused:
        from_records([make_evaluation(), bad])
    assert refused.value.argument == "evaluations[1]"


def test_records_and_columns_make_the_same_batch() -> None:
    """The same evaluations as records and as columns differ in nothing."""
    ids = [uuid4() for _ in range(3)]
    data = columns(
        evaluation_id=ids, machine_id=make_id("m"), sample_count=[1, None, 3], metrics={"own": [None, 1, 2]}, mae=7
    )
    rows = [
        make_evaluation(
            make_ref(machine="x"), evaluation_start=DAYS[i], evaluation_end=DAYS[i + 1], id=ids[i],
            metrics={"rmse": i + 1.0, "mae": 7.0} | ({} if i == 0 else {"own": float(i)}),
            sample_count=(1, None, 3)[i], data_completeness=None,
        )
        for i in range(3)
    ]  # fmt: skip
    ref = rows[0].ref
    data |= {"model_id": ref.model_id, "machine_id": ref.machine_id}
    one, other = from_columns(data), from_records(rows)
    assert {name: column.to_list() for name, column in one.columns.items()} == {
        name: column.to_list() for name, column in other.columns.items()
    }


def test_no_rows_are_a_batch() -> None:
    """Empty lists and empty columns are batches of nothing."""
    assert from_records([]).n == 0
    assert from_columns(columns(evaluation_start=[], evaluation_end=[], rmse=[])).n == 0


def test_one_long_text_does_not_weigh_on_all_rows() -> None:
    """A batch takes memory for what it holds, not for its longest text times its rows."""
    rows = [make_evaluation(day=day) for day in range(2000)]
    rows[7] = make_evaluation(day=7, metadata={"log": "x" * 100_000})
    tracemalloc.start()
    try:
        from_records(rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000_000  # 2,000 rows of about 1 kB, and some copies; 2,000 x 100 kB would be 200 MB


class Lazy(Mapping[str, Any]):
    """A mapping that counts how often a column is asked for."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data, self.asked = data, list[str]()

    def __getitem__(self, name: str) -> Any:
        self.asked.append(name)
        return self.data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


def test_any_mapping_will_do() -> None:
    """Whatever has keys() and [name] is a mapping of columns."""
    assert from_columns(Lazy(columns())).n == 3


def test_the_columns_of_the_caller_are_left_alone() -> None:
    """Arrays that were handed over are neither written to nor masked."""
    values = np.array([1.0, np.nan, 3.0])
    values.setflags(write=False)
    from_columns(columns(rmse=values, mae=[1, 2, 3]), nan_as_missing=True)
    assert np.isnan(values[1])
    assert UUID(int=0) == NO_MACHINE
