"""The verdict on data: what each kind of change is called, and the answers where little can be said."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model_perf.drift import ColumnCheck, ColumnDrift, check_data_drift, column_stability, profile

LARGE = 2**53
NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
WEEK = 336


def normal(n: int, seed: int = 0, mean: float = 0.0, sd: float = 1.0) -> Any:
    return np.random.default_rng(seed).normal(mean, sd, n)


def judged(reference: Any, current: Any, **more: Any) -> ColumnDrift:
    """The verdict on one column."""
    return check_data_drift(profile({"x": reference}, **more), {"x": current}).columns["x"]


def verdicts(column: ColumnDrift) -> dict[str, str]:
    return {check.name: check.verdict for check in column.checks}


def check_of(column: ColumnDrift, name: str) -> ColumnCheck:
    [found] = [check for check in column.checks if check.name == name]
    return found


KINDS: dict[str, tuple[Any, Any]] = {
    "float": (normal(2000), normal(400, 1, 1.0)),
    "uint8": (np.arange(2000) % 50, np.arange(400) % 50 + 20),
    "boolean": (np.arange(2000) % 10 == 0, np.arange(400) % 2 == 0),
    "text": (np.array(["a", "a", "a", "b"] * 500), np.array(["a", "b"] * 200)),
    "Int64": (pd.Series(np.arange(2000) % 50, dtype="Int64"), pd.Series(np.arange(400) % 50 + 20, dtype="Int64")),
    "decimal": ([Decimal(i % 50) / 4 for i in range(2000)], [Decimal(i % 50) / 4 + 4 for i in range(400)]),
    "time": ([NOON + timedelta(hours=i) for i in range(2000)], [NOON + timedelta(hours=i + 2000) for i in range(400)]),
    "span": ([timedelta(hours=i) for i in range(2000)], [timedelta(hours=i + 1500) for i in range(400)]),
    "bytes": ([b"a", b"a", b"a", b"b"] * 500, [b"a", b"b"] * 200),
    "2^53": (np.full(2000, LARGE), np.full(400, LARGE + 1)),
    "uint64": (np.full(2000, 2**64 - 2, np.uint64), np.full(400, 2**64 - 1, np.uint64)),
    "infinite": (np.where(np.arange(2000) % 10, 1.0, np.inf), np.where(np.arange(400) % 2, 1.0, np.inf)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_column_is_tested(kind: str) -> None:
    """Identical data never drift; a large change is critical, whatever the values are."""
    reference, changed = KINDS[kind]
    assert judged(reference, reference).verdict == "ok"
    column = judged(reference, changed)
    assert (column.verdict, column.checks[0].name) == ("critical", "distribution")


def test_one_nan() -> None:
    """One missing value of 500 is neither certain nor a hundredth."""
    values = normal(500, 1)
    values[7] = np.nan
    column = judged(normal(5000), values)
    assert column.verdict == "ok"
    assert check_of(column, "missing").statistic == 1 / 500


def test_all_nan() -> None:
    """A window that lost all values has drifted by that; of its distribution nothing can be said."""
    column = judged(normal(1000), np.full(100, np.nan))
    assert verdicts(column) == {
        "missing": "warning",
        "distribution": "insufficient_data",
        "out_of_range": "insufficient_data",
    }
    assert check_of(column, "missing").effect_size == 1.0


def test_all_nan_on_both_sides() -> None:
    """Nothing is new, and there is no distribution that more rows of the window could show."""
    assert verdicts(judged(np.full(100, np.nan), np.full(100, np.nan))) == {
        "missing": "ok",
        "distribution": "not_judged",
        "out_of_range": "not_judged",
    }


@pytest.mark.parametrize("values", [normal(1000), ["a", "b"] * 500])
def test_a_reference_of_nan(values: Any) -> None:
    """Values where there were none are a change of the missing share."""
    assert verdicts(judged(np.full(1000, np.nan), values))["missing"] == "warning"


@pytest.mark.parametrize("value", [5.0, 7, "a", True])
def test_a_constant_on_both_sides(value: Any) -> None:
    """It is ok where so many rows would have shown another value, and too little to say where not."""
    reference = np.array([value] * 1000)
    column = judged(reference, reference)
    assert (column.verdict, check_of(column, "distribution").statistic) == ("ok", 0.0)
    assert judged(reference, reference[:20]).verdict == "insufficient_data"
    assert judged(reference, reference[:30], rows="time_ordered").verdict == "insufficient_data"
    assert judged(reference, reference[:80], rows="time_ordered").verdict == "ok"


def test_another_constant() -> None:
    """A constant that became another one is critical, as a distribution and not only as out of range."""
    column = judged(np.full(1000, 5.0), np.full(100, 6.0))
    assert verdicts(column) == {"distribution": "critical", "out_of_range": "warning", "missing": "ok"}


@pytest.mark.parametrize("n", [0, 1, 3])
def test_next_to_no_rows(n: int) -> None:
    """No row, one and three are too few to say anything, in either place and of every kind."""
    for values in (normal(1000), np.array(["a", "b"] * 500), np.arange(1000) % 2 == 0):
        for rows in ("independent", "time_ordered"):
            assert judged(values, values[:n], rows=rows).verdict == "insufficient_data"
            assert judged(values[:n], values, rows=rows).verdict == "insufficient_data"


def test_no_columns() -> None:
    """Nothing is judged, and nothing is said to be fine."""
    report = check_data_drift(profile({}), {"x": [1.0]})
    assert (report.verdict, report.drift_detected, report.pvalue) == ("not_judged", None, None)


def test_columns_that_came_and_went() -> None:
    """One that is absent, or of another type, is critical without a test; one that was added is listed."""
    values = normal(1000)
    reference = profile({"gone": values, "changed": values, "same": values})
    report = check_data_drift(reference, {"changed": values.astype(str), "same": values, "new": values})
    assert report.added_columns == ("new",)
    assert {name: column.checks[0].name for name, column in report.columns.items()} == {
        "changed": "type",
        "gone": "absent",
        "same": "distribution",
    }
    assert report.drifted_columns == ("changed", "gone")
    assert report.columns["changed"].reason == "type: categorical values, where the reference has numeric ones"
    assert report.headline == "2 of 3 columns have drifted; 1 new"
    assert report.pvalue == 1.0


def test_times_that_lost_or_gained_their_zone() -> None:
    """Hours may lie between them: that is another type, and is never compared as if all were UTC."""
    zoned = [NOON + timedelta(hours=i) for i in range(1000)]
    naive = [each.replace(tzinfo=None) for each in zoned]
    for reference, window, said in ((zoned, naive, "without a zone, where"), (naive, zoned, "with a zone, where")):
        column = judged(reference, window[:500])
        assert (column.verdict, column.checks[0].name) == ("critical", "type")
        assert said in column.reason
        assert "give both a zone" in column.reason
        found = column_stability(profile({"x": reference}), {"x": window})["x"]
        assert (found.statistic, found.reason) == (None, column.reason.removeprefix("type: "))
    berlin = [each.astimezone(timezone(timedelta(hours=1))) for each in zoned]
    assert judged(zoned, berlin).verdict == "ok"
    assert verdicts(judged(zoned, [None] * 100))["missing"] == "warning"


def test_whole_numbers_beside_floats() -> None:
    """The same values are the same; beyond 2^53 they are as floats have them where one side is of floats."""
    values = np.arange(1000) % 7
    assert judged(values, values.astype(float)).verdict == "ok"
    assert judged(values.astype(float), values + 1).verdict == "critical"
    assert judged(np.full(1000, LARGE + 1), np.full(300, float(LARGE))).verdict == "ok"


def test_values_at_the_ends_of_floats() -> None:
    """Moments overflow there; counts do not, and verdicts go by counts."""
    for scale in (3e307, 1e-310):
        assert judged(normal(2000) * scale, normal(400, 1) * scale).verdict == "ok"
        assert judged(normal(2000) * scale, normal(400, 1, 1.0) * scale).verdict == "critical"
    assert judged(np.zeros(1000), -np.zeros(1000)).verdict == "ok"
    assert judged(np.full(1000, np.inf), np.full(400, -np.inf)).verdict == "critical"


def test_an_unseen_category() -> None:
    """A little more than a hundredth of a new name is found as that and no more."""
    reference, window = np.array(["a", "b"] * 2500), np.array(["a", "b"] * 494 + ["c"] * 12)
    column = judged(reference, window)
    assert verdicts(column) == {"unseen": "warning", "distribution": "ok", "missing": "ok"}
    assert check_of(column, "unseen").effect_size == 0.012


def test_a_vanished_category() -> None:
    """A fifth of the rows that is no more is a change of the distribution."""
    reference, window = np.array(["a", "b", "c", "d", "e"] * 1000), np.array(["a", "b", "c", "d"] * 125)
    assert verdicts(judged(reference, window)) == {"distribution": "critical", "missing": "ok", "unseen": "ok"}


def test_drift_of_missing_values_alone() -> None:
    """Five hundredths that went missing at random are found as missing and nothing else."""
    values = normal(1000, 1)
    values[::20] = np.nan
    assert verdicts(judged(normal(5000), values)) == {"missing": "warning", "distribution": "ok", "out_of_range": "ok"}


def test_drift_out_of_range_alone() -> None:
    """Two hundredths far out are found as out of range; an index on tenths does not see them."""
    values = normal(1000, 1)
    values[::50] = 40.0
    assert verdicts(judged(normal(5000), values)) == {"out_of_range": "warning", "distribution": "ok", "missing": "ok"}


def test_one_outlier_hides_nothing() -> None:
    """Beside a value of 1e9 in the reference a shift by three standard deviations is found."""
    reference = np.append(normal(5000), 1e9)
    assert judged(reference, normal(200, 1, 3.0)).verdict == "critical"
    assert judged(reference, normal(1000, 1)).verdict == "ok"
    assert judged(normal(5000), np.append(normal(999, 1), 1e9)).verdict == "ok"


def test_identifiers() -> None:
    """A name for each row has no distribution: it is said, and missing ones are still counted."""
    column = judged(np.arange(2000).astype(str), np.arange(2000, 2400).astype(str))
    assert verdicts(column) == {"missing": "ok", "distribution": "not_judged", "unseen": "not_judged"}
    assert "an identifier has no distribution" in check_of(column, "distribution").reason


@pytest.mark.parametrize("rows", ["independent", "time_ordered"])
def test_a_hundred_thousand_categories(rows: str) -> None:
    """Unchanged ones are ok, and one that takes a third of the rows is found, in buckets of names."""
    rng = np.random.default_rng(1)
    reference = rng.integers(0, 100_000, 300_000).astype(str)
    window = rng.integers(0, 100_000, 20_000).astype(str)
    counted = profile({"x": reference}, rows=rows)  # type: ignore[arg-type]
    assert counted.columns["x"].names is None  # type: ignore[union-attr]
    assert check_data_drift(counted, {"x": window}).columns["x"].verdict == "ok"
    window[: 20_000 // 3] = "7"
    column = check_data_drift(counted, {"x": window}).columns["x"]
    assert (column.verdict, check_of(column, "unseen").verdict) == ("critical", "not_judged")


def test_names_in_time_order_against_many() -> None:
    """Three names in time order against 11,000 in the window are compared, in buckets."""
    reference = np.array(["a", "b", "c"] * 60_000)
    assert judged(reference, np.arange(11_000).astype(str), rows="time_ordered").verdict == "critical"


@pytest.mark.parametrize(("n", "m"), [(50_000, 200), (200, 50_000)])
def test_sizes_that_differ(n: int, m: int) -> None:
    """The smaller sample decides what can be found, whichever it is."""
    assert judged(normal(n, 2), normal(m, 1)).verdict == "ok"
    assert judged(normal(n, 2), normal(m, 1, 0.7)).verdict == "critical"


def test_ten_million_rows() -> None:
    """Counts of 1e7 overflow nothing; a shift by .01 is certain, and too small to be called drift."""
    column = judged(normal(10_000_000), normal(10_000_000, 1, 0.01))
    distribution = check_of(column, "distribution")
    assert column.verdict == "ok"
    assert distribution.pvalue is not None
    assert distribution.pvalue < 1e-50
    assert distribution.confidence_interval is not None
    assert 0.0 < distribution.confidence_interval.low < distribution.confidence_interval.high < 0.001


def test_insufficient_data_never_hides_a_drift() -> None:
    """Of 30 rows nothing can be called ok, and a shift by three standard deviations is found."""
    assert judged(normal(5000), normal(30, 1)).verdict == "insufficient_data"
    assert judged(normal(5000), normal(30, 1, 3.0)).verdict == "critical"
    report = check_data_drift(
        profile({"a": normal(5000), "b": normal(5000, 1)}), {"a": normal(30, 2), "b": normal(30, 3, 3.0)}
    )
    assert (report.verdict, report.drift_detected) == ("critical", True)
    assert report.headline == "1 of 2 columns have drifted; 1 of too few rows to say"


def test_too_few_stretches() -> None:
    """A reference in time order needs twelve stretches of the window's length; fewer are too little to say."""
    values = normal(1200)
    assert judged(values, values[:100], rows="time_ordered").verdict != "insufficient_data"
    column = judged(values, values[:101], rows="time_ordered")
    assert set(verdicts(column).values()) == {"insufficient_data"}
    assert column.reason == "distribution: the reference has 11 stretches as long as the window; 12 are needed"
    assert judged(values, np.tile(values, 2), rows="time_ordered").verdict == "insufficient_data"


def victoria() -> dict[str, Any]:
    packed = files("model_perf") / "demo" / "victoria_demand_2014.csv.gz"
    with packed.open("rb") as raw, gzip.open(raw, "rt", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    return {name: np.array([float(row[name]) for row in rows]) for name in ("demand_gw", "temperature_c")}


@pytest.mark.parametrize(("rows", "calm", "winter"), [("time_ordered", 0, 10), ("independent", 11, 17)])
def test_victoria(rows: Any, calm: int, winter: int) -> None:
    """February to April against its twelve weeks: none is flagged in time order; of 17 later ones ten are colder."""
    year = victoria()

    def part(begin: int, end: int) -> dict[str, Any]:
        return {name: values[begin:end] for name, values in year.items()}

    first, last = 31 * 48, 120 * 48
    reference = profile(part(first, last), rows=rows)
    weeks = [check_data_drift(reference, part(begin, begin + WEEK)) for begin in range(first, first + 12 * WEEK, WEEK)]
    assert sum(week.drift_detected is True for week in weeks) == calm
    cold = [check_data_drift(reference, part(begin, begin + WEEK)) for begin in range(last, last + 17 * WEEK, WEEK)]
    assert sum("temperature_c" in week.drifted_columns for week in cold) == winter
    assert "ok" not in {week.verdict for week in cold}
