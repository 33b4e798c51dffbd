"""Which model of an A/B test serves a unit: a pure function of both, the same in every process."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from numbers import Integral
from typing import Literal, TypeAlias
from uuid import UUID

from model_perf.errors import InvalidInputError
from model_perf.records import ABTest

Arm: TypeAlias = Literal["a", "b"]
Unit: TypeAlias = str | int | UUID
"""What is assigned as a whole, and is independent of others: a machine, a customer, an order."""

_BUCKETS = 2**64


def assign(test: ABTest, unit: Unit) -> Arm:
    """The arm that serves *unit*: always the same one, in any process, without a look into the database.

    Of all units the share ``test.traffic_split`` gets "b". Tests are independent of each other. Who has "b" keeps it
    when the split widens.

    Parameters
    ----------
    unit : str, int or UUID
        Numbers and UUIDs count by their text: ``7`` and ``"7"`` are the same unit.

    Raises
    ------
    InvalidInputError
        Units of another type, empty ones.
    """
    return assign_many(test, [unit])[0]


def assign_many(test: ABTest, units: Iterable[Unit]) -> list[Arm]:
    """The arms of many units, as `assign` gives one: the 64-bit bucket of SHA-256 over test, salt and unit."""
    prefix = f"{test.id}:{test.design.get('salt', '')}:".encode()
    # A digest is below these eight bytes just where its first 64 bits are below them as a number.
    first_of_a = min(round(test.traffic_split * _BUCKETS), _BUCKETS - 1).to_bytes(8, "big")
    return ["b" if sha256(prefix + as_unit(unit)).digest() < first_of_a else "a" for unit in units]


def as_unit(unit: Unit) -> bytes:
    """The text of a unit, as bytes."""
    # Integral: numpy's whole numbers, as an array of units holds them.
    if isinstance(unit, bool) or not isinstance(unit, str | int | UUID | Integral) or unit == "":
        raise InvalidInputError("unit", f"{unit!r} is no unit; give its name, its whole number or its UUID")
    try:
        return (unit if type(unit) is str else str(unit)).encode()
    except UnicodeEncodeError:
        raise InvalidInputError("unit", f"{unit!r} has a lone surrogate, which is no Unicode text") from None
    except ValueError:
        raise InvalidInputError("unit", "is a number of too many digits; give a shorter one, or text") from None
