"""What a single value must be, whoever hands it over: the checks that refuse it by name.

Each function takes the value and the argument's name, returns the value in its canonical type, and
raises `InvalidInputError` otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import TypeVar
from uuid import UUID, SafeUUID

from model_perf.errors import InvalidInputError, NaiveTimestampError

# The slots, which a UUID closes against setting by name.
_set_int, _set_is_safe = UUID.__dict__["int"].__set__, UUID.__dict__["is_safe"].__set__
_IS_SAFE = SafeUUID.unknown  # looked up once: an attribute of an enumeration is a function before Python 3.12

T = TypeVar("T")

INT4_MAX = 2**31 - 1
INT8_MAX = 2**63 - 1
_LONGEST_INT = 10**100
"""Of JSON: what reads it as a float can do so, and Python can write it."""

# asyncpg sends the ends of Python's calendar as infinity, and reads that back without a time zone.
_INFINITIES = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def as_uuid(value: UUID | str, argument: str) -> UUID:
    # asyncpg's own UUID is a subclass; the plain class is what equality and hashing were tested with.
    if isinstance(value, UUID):
        return value if type(value) is UUID else _as_plain(value)
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            pass
    raise InvalidInputError(
        argument,
        f"{value!r} is not a UUID; give a uuid.UUID or its text form, or let register_model() make one from a name",
    )


def _as_plain(value: UUID) -> UUID:
    """A quarter of the time of ``UUID(int=value.int)``, whose checks a UUID has behind it."""
    plain = UUID.__new__(UUID)
    _set_int(plain, value.int)
    _set_is_safe(plain, _IS_SAFE)
    return plain


def as_timestamp(value: datetime, argument: str) -> datetime:
    if not isinstance(value, datetime):
        raise InvalidInputError(argument, f"{value!r} is not a datetime; give one with a time zone")
    if value.tzinfo is None or value.utcoffset() is None:
        raise NaiveTimestampError(
            argument,
            f"{value.isoformat()} has no time zone; add one, as in value.replace(tzinfo=datetime.UTC)",
        )
    try:
        moment = value if value.tzinfo is UTC else value.astimezone(UTC)
    except OverflowError:
        raise InvalidInputError(argument, f"{value!r} lies outside the years 1 to 9999 in UTC") from None
    if moment in _INFINITIES:
        raise InvalidInputError(argument, f"{value!r} is PostgreSQL's infinity; give a time")
    return moment


def later(moment: datetime, span: timedelta, argument: str) -> datetime:
    """*moment* + *span*, where *argument* is the one to blame for leaving the calendar."""
    try:
        return moment + span
    except OverflowError:
        raise InvalidInputError(argument, f"{span!r} leads beyond the years 1 to 9999") from None


def as_duration(value: timedelta, argument: str) -> timedelta:
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise InvalidInputError(argument, f"{value!r} is not a positive datetime.timedelta")
    return value


def as_text(value: str, argument: str, *, max_length: int = 10_000) -> str:
    """Text that PostgreSQL can store: not empty, no NUL, no lone surrogate."""
    if not isinstance(value, str):
        raise InvalidInputError(argument, f"{value!r} is not text")
    if not value.strip():
        raise InvalidInputError(argument, f"{value!r} is empty; give some text")
    if len(value) > max_length:
        raise InvalidInputError(argument, f"has {len(value)} characters; {max_length} at most")
    refuse_unstorable(value, argument)
    return value


def as_optional_text(value: str | None, argument: str, *, max_length: int = 100_000) -> str | None:
    return None if value is None else as_text(value, argument, max_length=max_length)


def as_names(values: Sequence[str], argument: str) -> tuple[str, ...]:
    """A sequence of names; a text is one name, and no sequence of letters."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InvalidInputError(argument, f"{values!r} is not a sequence of names")
    return tuple(as_text(value, argument) for value in values)


def as_int(value: int, argument: str, *, low: int = 0, high: int = INT8_MAX) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidInputError(argument, f"{value!r} is not a whole number")
    if not low <= value <= high:
        # Python refuses to write out numbers of thousands of digits.
        shown = f"{value}" if abs(value) < 10**100 else "a number of more than 100 digits"
        raise InvalidInputError(argument, f"{shown} is outside [{low}, {high}]")
    return int(value)


def as_bool(value: bool, argument: str) -> bool:
    """True or False, and nothing that only counts as one of them: "no" would be true."""
    if not isinstance(value, bool):
        raise InvalidInputError(argument, f"{value!r} is not True or False")
    return value


def as_items(values: Iterable[T], argument: str) -> tuple[T, ...]:
    """What a list, or another iterable that is no text, holds."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidInputError(argument, f"{values!r} is no list; give one, as in [{values!r}]")
    return tuple(values)


def as_float(value: float, argument: str, *, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number within [low, high]; the limits belong to it."""
    if type(value) is not float:  # the usual case skips the slow abstract-base-class look-ups
        if isinstance(value, bool) or not isinstance(value, Real | Decimal) or "bool" in type(value).__name__:
            raise InvalidInputError(argument, f"{value!r} is not a number")
        try:
            value = float(value)
        except (OverflowError, ValueError):
            raise InvalidInputError(argument, f"{type(value).__name__} that is no 64-bit float") from None
    if not math.isfinite(value):
        raise InvalidInputError(argument, f"{value} cannot be stored; leave out what could not be computed")
    if not low <= value <= high:
        raise InvalidInputError(argument, f"{value} is outside [{low:g}, {high:g}]")
    return value


def as_open_fraction(value: float, argument: str) -> float:
    """A number strictly between 0 and 1."""
    number = as_float(value, argument)
    if not 0.0 < number < 1.0:
        raise InvalidInputError(argument, f"{number} is outside the open interval (0, 1)")
    return number


def as_choice(value: str, argument: str, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:  # an array would answer for each of its items
        raise InvalidInputError(argument, f"{value!r} is none of {', '.join(choices)}")
    return value


def as_json_object(value: Mapping[str, object] | None, argument: str) -> dict[str, object]:
    """A JSON object of finite numbers and storable text, as a plain dict of its own."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInputError(argument, f"{value!r} is not a mapping")
    return {_as_json_key(key, argument): _as_json(item, f"{argument}.{key}", 1) for key, item in value.items()}


def to_json(value: Mapping[str, object]) -> str:
    """The text that is bound as ``$n::text::jsonb``, right whatever codec the host has set."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def to_json_array(values: Sequence[Mapping[str, object]]) -> str:
    """The same for an array of objects."""
    return json.dumps(list(values), allow_nan=False, separators=(",", ":"))


def _as_json(value: object, argument: str, depth: int) -> object:
    if depth > 50:
        raise InvalidInputError(argument, "is nested more than 50 deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        refuse_unstorable(value, argument)
        return value
    if isinstance(value, Integral):
        return as_int(value, argument, low=-_LONGEST_INT, high=_LONGEST_INT)  # type: ignore[arg-type]
    if isinstance(value, Real | Decimal):
        return as_float(value, argument)  # type: ignore[arg-type]
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return as_timestamp(value, argument).isoformat()
    if isinstance(value, Mapping):
        return {
            _as_json_key(key, argument): _as_json(item, f"{argument}.{key}", depth + 1) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_as_json(item, f"{argument}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise InvalidInputError(argument, f"{type(value).__name__} has no JSON form; give text, numbers, lists, mappings")


def _as_json_key(key: object, argument: str) -> str:
    if not isinstance(key, str):
        raise InvalidInputError(argument, f"the key {key!r} is not text")
    refuse_unstorable(key, argument)
    return key


def refuse_unstorable(value: str, argument: str) -> None:
    """NUL and lone surrogates, which PostgreSQL's text has not."""
    if value.isascii() and "\x00" not in value:
        return
    if "\x00" in value:
        raise InvalidInputError(argument, "contains a NUL character, which PostgreSQL cannot store")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(argument, "contains a lone surrogate, which is no Unicode text") from None
