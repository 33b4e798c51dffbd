"""Profiles of datasets: what goes in, what is kept of it, and how it is written and read."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any
from zlib import compress

import numpy as np
import pandas as pd
import pytest

from model_perf.drift import DatasetProfile, NumericProfile, check_data_drift, column_stability, profile
from model_perf.errors import InvalidInputError, SchemaError

Data = dict[str, Any]
START = datetime(2025, 1, 1, tzinfo=UTC)


def mixed(rng: np.random.Generator, n: int) -> Data:
    """One column of each kind, some of it missing."""
    text = rng.choice(["a", "b", "c", "d"], n, p=[0.5, 0.3, 0.15, 0.05]).astype(object)
    text[rng.random(n) < 0.1] = None
    times = START + np.array([timedelta(seconds=int(each)) for each in rng.integers(0, 10**6, n)], dtype=object)
    return {
        "float": np.where(rng.random(n) < 0.05, np.nan, rng.normal(size=n)),
        "whole": rng.poisson(3.0, n),
        "text": text,
        "flag": rng.random(n) < 0.2,
        "time": times,
        "nothing": np.full(n, np.nan),
    }


def joined(*parts: Data) -> Data:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def counts(counted: DatasetProfile) -> Any:
    """All but the moments, which add up to 1e-9 only."""
    content: Any = counted.to_dict()
    for column in content["columns"].values():
        column.pop("mean", None)
        column.pop("m2", None)
    return content


@pytest.mark.parametrize("seed", range(5))
def test_parts_add_up_to_the_whole(seed: int) -> None:
    """On a reference's edges the profiles of parts add up to that of all rows, in any order of addition."""
    rng = np.random.default_rng(seed)
    reference = profile(mixed(rng, 3000))
    parts = [mixed(rng, n) for n in (1, 40, 500)]
    a, b, c = (profile(part, reference=reference) for part in parts)
    whole = counts(profile(joined(*parts), reference=reference))
    assert counts((a + b) + c) == counts(a + (b + c)) == counts((c + a) + b) == whole


NAIVE = START.replace(tzinfo=None)
MAKERS: dict[str, Any] = {
    "float": lambda rng, n: np.round(rng.normal(size=n), 2),
    "float32": lambda rng, n: rng.normal(size=n).astype(np.float32),
    "infinite": lambda rng, n: rng.choice([-np.inf, 0.0, 1.0, np.inf], n),
    "2^53": lambda rng, n: 2**53 + rng.integers(-3, 3, n),
    "uint8": lambda rng, n: rng.integers(0, 256, n, dtype=np.uint8),
    "uint64": lambda rng, n: rng.integers(2**63 - 5, 2**63 + 5, n, dtype=np.uint64),
    "Int64": lambda rng, n: pd.array(
        [None if i < 3 else 2**53 + int(i) for i in rng.integers(0, 20, n)], dtype="Int64"
    ),
    "boolean": lambda rng, n: rng.random(n) < 0.2,
    "nullable boolean": lambda rng, n: pd.array(rng.choice([True, False, None], n), dtype="boolean"),
    "text": lambda rng, n: rng.choice(list("abcdefgh"), n),
    "rare names": lambda rng, n: rng.integers(0, 10**6, n).astype(str),
    "category": lambda rng, n: pd.Categorical(rng.choice(["a", "b", None], n), categories=["a", "b"]),
    "decimal": lambda rng, n: [Decimal(int(i)) / 8 for i in rng.integers(-40, 40, n)],
    "zoned": lambda rng, n: [START + timedelta(minutes=int(i)) for i in rng.integers(0, 10**6, n)],
    "naive": lambda rng, n: [NAIVE + timedelta(minutes=int(i)) for i in rng.integers(0, 10**6, n)],
    "datetime64": lambda rng, n: np.where(
        rng.random(n) < 0.1, np.datetime64("NaT"), rng.integers(0, 99, n).astype("M8[h]")
    ),
    "span": lambda rng, n: rng.integers(0, 10**6, n).astype("m8[s]"),
    "masked": lambda rng, n: np.ma.masked_array(rng.integers(0, 9, n), rng.random(n) < 0.2),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("rows", ["independent", "time_ordered"])
def test_any_cut_adds_up_to_the_whole(kind: str, rows: Any) -> None:
    """Of every kind of column: cut anywhere, empty parts too, through bytes and JSON and back."""
    rng = np.random.default_rng(17)
    reference = profile({"x": MAKERS[kind](rng, 1500)}, rows=rows)
    reference = DatasetProfile.from_dict(json.loads(json.dumps(reference.to_dict(), allow_nan=False)))
    values = MAKERS[kind](rng, 400)
    whole = profile({"x": values}, reference=reference)
    for _ in range(6):
        cuts = [0, *sorted(rng.integers(0, 401, 4).tolist()), 400]
        parts = [profile({"x": values[a:b]}, reference=reference) for a, b in pairwise(cuts)]
        added = reduce(add, (DatasetProfile.from_bytes(part.to_bytes()) for part in rng.permutation(np.array(parts))))
        assert counts(added) == counts(whole)
        a, b = added.columns["x"], whole.columns["x"]
        if isinstance(a, NumericProfile) and isinstance(b, NumericProfile):
            assert a.mean == pytest.approx(b.mean, rel=1e-12, abs=1e-12)
            if abs(b.mean) < 2**52:  # beyond, distances of means have no digits after the point
                assert a.m2 == pytest.approx(b.m2, rel=1e-9)


def test_parts_with_and_without_a_zone_do_not_add_up() -> None:
    """Each on its own may be compared with a reference that has the same."""
    reference = profile({"x": [START + timedelta(hours=i) for i in range(50)]})
    zoned, naive = (profile({"x": [each] * 3}, reference=reference) for each in (START, NAIVE))
    with pytest.raises(InvalidInputError, match="with a zone"):
        zoned + naive


def test_a_column_that_held_nothing_adds_up() -> None:
    """A part, or a reference, without any value of a column tells nothing of its kind."""
    nothing, text, numbers = np.full(3, np.nan), ["a", "b", "a"], [1.0, 2.0, 4.0]
    for values in (text, numbers):
        for of_reference in (values, nothing):
            reference = profile({"x": of_reference})
            a, b = profile({"x": nothing}, reference=reference), profile({"x": values}, reference=reference)
            for added in (a + b, b + a):
                assert (added.columns["x"].n, added.columns["x"].missing) == (3, 3)
                assert added.columns["x"].kind == b.columns["x"].kind


def test_the_order_of_rows_does_not_matter() -> None:
    """Independent rows in another order have the same profile, byte by byte but for the moments."""
    rng = np.random.default_rng(4)
    data, order = mixed(rng, 2000), rng.permutation(2000)
    shuffled = {name: values[order] for name, values in data.items()}
    assert json.dumps(counts(profile(shuffled))) == json.dumps(counts(profile(data)))


def test_time_order_is_that_of_the_timestamps() -> None:
    """Rows with timestamps may come in any order."""
    rng = np.random.default_rng(5)
    data, order = mixed(rng, 2000), rng.permutation(2000)
    times = np.array(["2025-01-01"], "M8[h]") + np.arange(2000)
    shuffled = profile({name: values[order] for name, values in data.items()}, timestamps=times[order])
    assert counts(shuffled) == counts(profile(data, rows="time_ordered")) == counts(profile(data, timestamps=times))
    assert shuffled.rows == "time_ordered"


def test_without_timestamps_rows_are_taken_for_independent() -> None:
    """Nobody can tell from the values: who knows of an order says so, and the report tells how they were taken."""
    ordered = {"x": np.cumsum(np.random.default_rng(5).normal(size=2000))}
    reference = profile(ordered)
    assert (reference.rows, reference.columns["x"].stretches) == ("independent", None)
    assert check_data_drift(reference, ordered).rows == "independent"
    assert check_data_drift(profile(ordered, rows="time_ordered"), ordered).rows == "time_ordered"


def test_stretches_hold_all_rows() -> None:
    """Each cell's counts over all stretches are the column's."""
    reference = profile(mixed(np.random.default_rng(6), 3001), rows="time_ordered")
    for column in reference.columns.values():
        assert column.stretches is not None
        assert column.stretches.missing.sum() == column.missing
        if isinstance(column, NumericProfile):
            assert column.stretches.cells.sum(axis=0).tolist() == column.bins.tolist()
            assert column.stretches.out_of_range.sum() == column.n_out_of_range
        else:
            assert column.stretches.cells.sum(axis=0).tolist() == list((column.names or {}).values())


@pytest.mark.parametrize(("length", "expected"), [(1, 512), (34, 512), (50, 350), (336, 52), (1460, 12), (17_520, 1)])
def test_stretches_are_joined_to_a_windows_length(length: int, expected: int) -> None:
    """Of 17,520 rows as many as the window fits into, with no row left out and lengths within a stretch."""
    column = profile({"x": np.arange(17_520.0)}, rows="time_ordered").columns["x"]
    assert column.stretches is not None
    together = column.stretches.joined(length)
    rows = together.cells.sum(axis=1)
    assert (len(rows), rows.sum()) == (expected, 17_520)
    assert np.ptp(rows) <= 36
    assert len(column.stretches.joined(17_521).missing) == 0


def test_windows_of_time_ordered_rows_add_up_without_their_order() -> None:
    """A reference that was extended has lost the order of its rows, and no verdict takes it for independent."""
    rng = np.random.default_rng(8)
    reference = profile({"x": rng.normal(size=2000), "y": rng.choice(["a", "b"], 2000)}, rows="time_ordered")
    more = profile({"x": rng.normal(size=500), "y": rng.choice(["a", "b"], 500)}, reference=reference)
    report = check_data_drift(reference + more, {"x": np.full(100, 9.0), "y": ["a"] * 100})
    assert report.verdict == "insufficient_data"
    assert "order got lost" in report.columns["x"].reason
    assert "order got lost" in report.columns["y"].reason


@pytest.mark.parametrize("rows", ["independent", "time_ordered"])
@pytest.mark.parametrize("n", [0, 1, 700, 5000])
def test_what_is_written_is_read(rows: Any, n: int) -> None:
    """to_dict is JSON without NaN and Infinity; bytes and JSON hold all of it."""
    data = mixed(np.random.default_rng(n), n) | {"infinite": np.full(n, np.inf), "large": np.full(n, 2**53 + 1)}
    before = profile(data, rows=rows)
    text = json.dumps(before.to_dict(), allow_nan=False)
    assert DatasetProfile.from_dict(json.loads(text)).to_dict() == before.to_dict()
    assert DatasetProfile.from_bytes(before.to_bytes()).to_dict() == before.to_dict()


def test_reordered_json_is_read() -> None:
    """A database may sort the keys of JSON: verdicts stay the same."""
    rng = np.random.default_rng(9)
    before = profile({"x": rng.choice(["zz", "b", "aaa"], 2000)}, rows="time_ordered")
    content: Any = json.loads(json.dumps(before.to_dict()))
    names = content["columns"]["x"]["names"]
    content["columns"]["x"]["names"] = dict(sorted(names.items(), key=lambda item: (len(item[0]), item[0])))
    window = {"x": rng.choice(["zz", "b", "aaa"], 150, p=[0.5, 0.25, 0.25])}
    assert check_data_drift(DatasetProfile.from_dict(content), window) == check_data_drift(before, window)


DAMAGED = [b"", b"MPDP", b"something else", b"MPDP\x01", b"MPDP\x01abc"]
EMPTY = [b"MPDP\x01" + compress(text) for text in (b"", b"[]", b"3", b'{"v":1}', b'{"v":1,"columns":3}', b"\xff")]


@pytest.mark.parametrize("data", DAMAGED + EMPTY)
def test_damaged_bytes_are_refused(data: bytes) -> None:
    """Whatever is not a profile is refused as such."""
    with pytest.raises((InvalidInputError, SchemaError)):
        DatasetProfile.from_bytes(data)


def test_any_broken_byte_is_refused() -> None:
    """A cut profile, or one with a byte changed, is refused: never another exception, never other counts."""
    whole = profile(mixed(np.random.default_rng(2), 200)).to_bytes()
    for at in range(0, len(whole), 97):
        for broken in (whole[:at], whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]):
            with pytest.raises((InvalidInputError, SchemaError)):
                DatasetProfile.from_bytes(broken)


def test_newer_profiles_are_refused() -> None:
    """A version that is not known asks for an upgrade."""
    whole = profile({"x": [1.0]})
    with pytest.raises(SchemaError, match="upgrade"):
        DatasetProfile.from_bytes(b"MPDP\x02" + whole.to_bytes()[5:])
    with pytest.raises(SchemaError, match="upgrade"):
        DatasetProfile.from_dict(whole.to_dict() | {"v": 2})


def test_the_data_are_not_changed() -> None:
    """Arrays that may not be written are profiled and judged, and are the same afterwards."""
    data = mixed(np.random.default_rng(1), 500)
    before = {name: values.copy() for name, values in data.items()}
    for values in data.values():
        values.setflags(write=False)
    for rows in ("independent", "time_ordered"):
        check_data_drift(profile(data, rows=rows), data)
        column_stability(profile(data, rows=rows), data)
    for name, values in data.items():
        np.testing.assert_array_equal(values, before[name])


def test_no_row_is_kept() -> None:
    """Knots and counts, whatever the rows: ten times as many take an eighth more, the digits of the counts."""
    rng = np.random.default_rng(11)

    def size(n: int) -> int:
        data = {"x": rng.normal(size=n), "y": rng.integers(0, 10**9, n).astype(str)}
        return len(profile(data).to_bytes())

    assert size(400_000) <= 1.13 * size(40_000) <= 60_000


@pytest.mark.parametrize(("share_missing", "bytes_per_row"), [(0.0, 1.5), (0.1, 10.5)])
def test_memory_beside_the_data(share_missing: float, bytes_per_row: float) -> None:
    """One column at a time: a byte per row, nine more where values are missing, and 40 MB."""
    for n in (1_000_000, 4_000_000):
        columns = {name: np.random.default_rng(1).normal(size=n) for name in "abc"}
        for values in columns.values():
            values[: int(share_missing * n)] = np.nan
        reference = profile({name: values[:5000] for name, values in columns.items()})
        for given in (None, reference):
            tracemalloc.start()
            profile(columns, reference=given)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak <= bytes_per_row * n + 40e6


@pytest.mark.parametrize(
    ("data", "argument"),
    [
        ({"x": [1.0, 2.0], "y": [1.0]}, "y"),
        ({"x": np.zeros((2, 2))}, "x"),
        ({1: [1.0]}, "data"),
        ("abc", "data"),
        ([1.0, 2.0], "data"),
        (None, "data"),
    ],
)
def test_data_that_cannot_be_profiled(data: Any, argument: str) -> None:
    """Columns of different lengths, names that are no text, no columns at all."""
    with pytest.raises(InvalidInputError) as refused:
        profile(data)
    assert refused.value.argument == argument


@pytest.mark.parametrize("times", [[1.0, 2.0], [START, None], [START]])
def test_timestamps_that_cannot_be_used(times: Any) -> None:
    """One time for each row, none missing."""
    with pytest.raises(InvalidInputError) as refused:
        profile({"x": [1.0, 2.0]}, timestamps=times)
    assert refused.value.argument == "timestamps"


def test_profiles_without_common_edges() -> None:
    """They do not add up and are not compared, and say why."""
    rng = np.random.default_rng(3)
    a, b = profile({"x": rng.normal(size=100)}), profile({"x": rng.normal(size=100)})
    with pytest.raises(InvalidInputError, match="same reference"):
        a + b
    with pytest.raises(InvalidInputError, match="other edges; profile it with this reference"):
        check_data_drift(a, b)
    with pytest.raises(InvalidInputError, match="lacks or adds the columns y"):
        a + profile({"x": [1.0], "y": [1.0]})
    other = profile({"x": [1.0], "y": [2.0]}, reference=profile({"y": [1.0]}))
    with pytest.raises(InvalidInputError, match="counted without 'x'"):
        check_data_drift(a, other)
