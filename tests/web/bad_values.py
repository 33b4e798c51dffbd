"""Values that a parameter must not have, made from its schema in the OpenAPI document."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

# Written as they stand in the URL.
UNREADABLE = ("", "%00", "a%00b", "%FF", "%C3%28", "%ED%A0%80", "%F8%A1%A1%A1%A1", "%", "5%zz", "%4")
_NO_NUMBER = ("x", "0x10", "1,5", "1 2", "true", "null", "[1]", "{}", "--1", "%2B%2B1", "٣٣٣٣x", "1;DROP TABLE models")
_NO_FINITE = ("nan", "inf", "-inf", "Infinity", "1e400", "-1e400")
_NO_INTEGER = ("1.5", "1e400", "9" * 30, "-" + "9" * 30, "9" * 5000, "nan", "inf", str(2**63), str(-(2**63) - 1))
_NO_UUID = (
    *("x", "1", "null", "0" * 31, "0" * 33, "{}", "g" * 32, "urn:uuid:", "urn:uuid:" + "0" * 31),
    *("00000000-0000-0000-0000-00000000000", "00000000-0000-0000-0000-0000000000000", "' OR 1=1 --"),
    *("{00000000-0000-0000-0000-000000000000", "0" * 10_000, "../../health"),
)
NAIVE = ("2024-11-03", "2024-11-03T00:00:00", "2024-11-03T00:00:00.5", "0001-01-01", "9999-12-31T23:59:59")
SPACED = ("2024-11-03T00:00:00+02:00", "2024-11-03T00:00:00.25+0530")  # a plus in a URL is a space
_NO_TIME = (
    *("x", "now", "infinity", "epoch", "0", "1730592000", "1e400", "2024", "2024-W45", "2024-11-03T", "T00:00Z"),
    *("2024-02-30T00:00:00Z", "2024-13-01T00:00:00Z", "2024-11-03T25:00:00Z", "2024-11-03T00:00:61Z"),
    *("0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "2024-11-03T00:00:00%2B25:00"),
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59.999999Z"),
    *(
        "9999-12-31T23:59:59-01:00",
        "03.11.2024",
        "11/03/2024",
        "2024-11-03T00:00:00 Europe/Berlin",
        "٢٠٢٤-11-03T00:00Z",
    ),
)
_FORGED = ("[]", "{}", "null", "5", '"x"', '["x"]', "[1,2,3]", '["9","9","9"]', "[[[]]]", "[" * 1400, '["nan"]', "x")
FORGED = (
    *(base64.urlsafe_b64encode(text.encode()).decode() for text in _FORGED),
    "x",
    "====",
    "é",
    "%2B/%2B/",
    "a" * 1999,
)


def bad_values(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """Values for the URL that a parameter of that schema must not have."""
    yield from UNREADABLE
    if name == "cursor":
        yield from (*FORGED, "a" * (schema["maxLength"] + 1))
    elif "enum" in schema:
        yield from ("x", schema["enum"][0].upper(), f"{schema['enum'][0]} ", ",".join(schema["enum"]), "x" * 10_000)
    else:
        yield from _BY_TYPE[schema.get("format", schema["type"])](schema)


def _bad_numbers(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (*_NO_NUMBER, *_NO_FINITE, *_outside(schema), "1e308", "-1e308", "-1e-320")


def _bad_integers(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (*_NO_NUMBER, *_NO_INTEGER, *_outside(schema))


def _outside(schema: Mapping[str, Any]) -> Iterator[str]:
    for limit, step in (("minimum", -1), ("maximum", 1)):
        if limit in schema:
            yield str(schema[limit] + step)
    for limit in ("exclusiveMinimum", "exclusiveMaximum"):
        if limit in schema:
            yield str(schema[limit])


def _bad_texts(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (" ", "%09%0A", "x" * (schema["maxLength"] + 1), "x" * 50_000)


def _bad_times(_: Mapping[str, Any]) -> Iterator[str]:
    yield from (*_NO_TIME, *NAIVE, *SPACED)


def _bad_uuids(_: Mapping[str, Any]) -> Iterator[str]:
    yield from _NO_UUID


def _bad_booleans(_: Mapping[str, Any]) -> Iterator[str]:
    yield from ("x", "2", "-1", "null", "0.5", "truefalse", "[true]", "{}", "wahr", "١", "t" * 10_000)


_BY_TYPE = {
    "boolean": _bad_booleans,
    "integer": _bad_integers,
    "number": _bad_numbers,
    "string": _bad_texts,
    "date-time": _bad_times,
    "uuid": _bad_uuids,
}
