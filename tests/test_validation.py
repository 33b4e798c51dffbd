"""The checks of single values: canonical types in the end, refusals by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from model_perf import _validation as check
from model_perf.errors import InvalidInputError, NaiveTimestampError

NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001  (naive on purpose)
ID = UUID("0189a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b")


class OtherUUID(UUID):
    """As asyncpg's own."""


@pytest.mark.parametrize("form", [ID, str(ID), str(ID).upper(), ID.hex, f"{{{ID}}}", ID.urn, OtherUUID(int=ID.int)])
def test_a_uuid_in_any_form_is_one_plain_uuid(form: Any) -> None:
    """Every spelling and subclass becomes an equal `uuid.UUID` itself."""
    found = check.as_uuid(form, "x")
    assert found == ID
    assert type(found) is UUID


@pytest.mark.parametrize(
    "value", [None, "", 5, b"0" * 16, "x", str(ID)[:-1], f"{ID}0", "0" * 31 + "_", "0_" * 16, True]
)
def test_what_is_no_uuid_is_refused(value: Any) -> None:
    """Text of another form, and underscores, which Python's integers would allow, are refused by name."""
    with pytest.raises(InvalidInputError) as refused:
        check.as_uuid(value, "model_id")
    assert refused.value.argument == "model_id"


def test_a_time_is_utc_afterwards() -> None:
    """Any zone is converted; the instant stays, on both sides of a clock change."""
    berlin = ZoneInfo("Europe/Berlin")
    for fold, hour in ((0, 0), (1, 1)):
        local = datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=fold)
        assert check.as_timestamp(local, "x") == datetime(2024, 10, 27, hour, 30, tzinfo=UTC)
    odd = timezone(timedelta(hours=5, minutes=45, seconds=1))
    assert check.as_timestamp(datetime(2024, 1, 1, 5, 45, 1, tzinfo=odd), "x") == datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, "2024-01-01", 0, date(2024, 1, 1), np.datetime64("2024-01-01")])
def test_what_is_no_datetime_is_refused(value: Any) -> None:
    """Text, numbers, dates and numpy's times are no datetime."""
    with pytest.raises(InvalidInputError, match="since"):
        check.as_timestamp(value, "since")


def test_a_naive_time_is_refused_with_its_mend() -> None:
    """A time without zone, or with one that knows no offset, has an error of its own."""
    with pytest.raises(NaiveTimestampError, match=r"since.*tzinfo=datetime\.UTC"):
        check.as_timestamp(NAIVE, "since")


@pytest.mark.parametrize("hours", [-14, 14])
def test_the_ends_of_the_calendar_do_not_overflow(hours: int) -> None:
    """A time whose UTC lies outside the years 1 to 9999 is refused by name."""
    zone = timezone(timedelta(hours=hours))
    edge = datetime(1, 1, 1, tzinfo=zone) if hours > 0 else datetime(9999, 12, 31, 23, tzinfo=zone)
    with pytest.raises(InvalidInputError, match="since"):
        check.as_timestamp(edge, "since")


@pytest.mark.parametrize("value", [0, 1, 2**62, np.int8(5), np.uint64(7)])
def test_a_whole_number_is_a_plain_int(value: Any) -> None:
    """numpy's integers become Python's."""
    assert type(check.as_int(value, "n")) is int
    assert check.as_int(value, "n") == int(value)


@pytest.mark.parametrize("value", [True, np.bool_(True), 1.0, "1", None, Decimal(1), Fraction(1), -1, 2**63, 10**400])
def test_what_is_no_count_is_refused(value: Any) -> None:
    """Booleans, floats and text are no whole numbers, which a driver would cut to one."""
    with pytest.raises(InvalidInputError, match="n"):
        check.as_int(value, "n")


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.int64(1), Decimal("1"), Fraction(1), 1.0 + 0])
def test_a_number_is_a_plain_float(value: Any) -> None:
    """Every real number becomes a Python float, numpy's and decimal's among them."""
    found = check.as_float(value, "x")
    assert (type(found), found) == (float, 1.0)


NO_NUMBERS: list[Any] = [
    *(True, np.bool_(False), "1", None, 1j, [1], math.nan, math.inf, -math.inf, np.float64("nan"), 10**400),
    *(Decimal("NaN"), Decimal("sNaN"), Decimal("1e400"), Fraction(10**400), np.longdouble("1e4000")),
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    """Booleans, text, NaN and infinity in whatever type are refused by name."""
    with pytest.raises(InvalidInputError) as refused:
        check.as_float(value, "x")
    assert refused.value.argument == "x"


def test_limits_belong_to_the_range() -> None:
    """Both ends of a closed range are in it, of an open one neither."""
    assert check.as_float(0, "x", low=0, high=1) == 0.0
    assert check.as_float(1, "x", low=0, high=1) == 1.0
    for outside in (-5e-324, 1 + 2e-16):
        with pytest.raises(InvalidInputError):
            check.as_float(outside, "x", low=0, high=1)
    for end in (0, 1):
        with pytest.raises(InvalidInputError):
            check.as_open_fraction(end, "x")


@pytest.mark.parametrize("value", ["", " \t\n", "a\0", "\ud800", "a\udfffb", 5, None, b"a", "x" * 10_001])
def test_what_is_no_text_is_refused(value: Any) -> None:
    """Nothing, blanks, NUL, lone surrogates, bytes and too much are refused by name."""
    with pytest.raises(InvalidInputError) as refused:
        check.as_text(value, "name")
    assert refused.value.argument == "name"


@pytest.mark.parametrize("value", ["a", " a ", "Größe ☃", "🙂", "\U0010ffff", "a\x01", "x" * 10_000])
def test_text_is_taken_as_it_is(value: str) -> None:
    """Nothing is trimmed, folded or escaped."""
    assert check.as_text(value, "name") == value


@pytest.mark.parametrize("value", ["c", "", None, 5, [], {}, np.array(["a", "b"]), np.array(["a"])])
def test_what_is_no_choice_is_refused(value: Any) -> None:
    """An array is none of them, whatever it compares to."""
    with pytest.raises(InvalidInputError, match=r"^word: .* is none of a, b$"):
        check.as_choice(value, "word", ("a", "b"))


@pytest.mark.parametrize("value", [timedelta(0), -timedelta(seconds=1), 5, None, "1h", math.nan])
def test_a_duration_is_positive(value: Any) -> None:
    """Anything but a positive timedelta is refused."""
    with pytest.raises(InvalidInputError, match="lease"):
        check.as_duration(value, "lease")


def test_json_is_plain_afterwards() -> None:
    """Ids, times, numpy's and decimal's numbers and tuples become what JSON has; nothing is shared with the input."""
    inner: dict[str, object] = {"id": ID, "n": np.int64(3), "x": np.float32(0.5), "d": Decimal("0.25"), "t": (1, None)}
    given = {"a": inner, "at": datetime(2024, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))}
    found = check.as_json_object(given, "metadata")
    assert found == {
        "a": {"id": str(ID), "n": 3, "x": 0.5, "d": 0.25, "t": [1, None]},
        "at": "2023-12-31T15:00:00+00:00",
    }
    assert json.loads(check.to_json(found)) == found
    inner["n"] = 4
    assert found["a"] != given["a"]
    assert check.as_json_object(None, "metadata") == {}


def nested(depth: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for _ in range(depth):
        found = {"x": found}
    return found


NO_JSON: list[tuple[str, Any]] = [
    ("m", [1]),
    ("m", {1: 2}),
    ("m", {"\ud800": 1}),
    ("m.a", {"a": {5: 1}}),
    ("m.a", {"a": math.nan}),
    ("m.a[1].b", {"a": [1, {"b": math.inf}]}),
    ("m.a", {"a": "\0"}),
    ("m.a", {"a": {1}}),
    ("m.a", {"a": b"x"}),
    ("m.a", {"a": NAIVE}),
    ("m.a", {"a": object()}),
    ("m.a", {"a": Decimal("sNaN")}),
    ("m.a", {"a": 10**101}),
    ("m.a[0]", {"a": [-(10**5000)]}),
]


@pytest.mark.parametrize(("argument", "value"), NO_JSON)
def test_what_json_cannot_hold_is_refused_where_it_stands(argument: str, value: Any) -> None:
    """The path to the value is in the error."""
    with pytest.raises(InvalidInputError) as refused:
        check.as_json_object(value, "m")
    assert refused.value.argument == argument


@pytest.mark.parametrize("make", [lambda: nested(60), lambda: nested(5000)])
def test_json_has_a_bottom(make: Callable[[], dict[str, object]]) -> None:
    """What is nested without end is refused before Python's stack is used up."""
    with pytest.raises(InvalidInputError, match="50 deep"):
        check.as_json_object(make(), "m")


def test_json_text_is_ascii_and_refuses_nan() -> None:
    """The text that is bound holds no sign that a client encoding could change."""
    assert check.to_json({"Größe": "☃"}).isascii()
    with pytest.raises(ValueError, match="JSON"):
        check.to_json({"a": math.nan})
    assert check.to_json_array([{"a": 1}, {}]) == '[{"a":1},{}]'
    assert uuid4() != ID
