"""What a row of the earlier installation holds, and what of it has found a home; no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

from model_perf import _validation as check
from model_perf.errors import InvalidInputError
from model_perf.records import NO_MACHINE


class EarlierRow:
    """One row, read as JSON: what is taken has a column of ours, what is left goes to ``metadata.imported``."""

    def __init__(self, row: Mapping[str, Any], zone: tzinfo) -> None:
        self._row = row
        self._zone = zone
        self._left = {name: value for name, value in row.items() if value is not None}
        self._filled: list[str] = []

    def look(self, name: str) -> Any:
        return self._row.get(name)

    def take(self, name: str) -> Any:
        self._left.pop(name, None)
        return self._row.get(name)

    def keep(self, name: str) -> None:
        if self._row.get(name) is not None:
            self._left[name] = self._row[name]

    def fill(self, name: str) -> None:
        self._filled.append(name)

    def uuid(self, name: str) -> str:
        return str(check.as_uuid(self.take(name), name))

    def optional_uuid(self, name: str) -> str | None:
        return None if self._row.get(name) is None else self.uuid(name)

    def machine(self) -> str:
        return self.optional_uuid("machine_id") or str(NO_MACHINE)

    def model_type(self) -> str:
        return check.as_text(self.take("model_type"), "model_type", max_length=200)

    def text(self, name: str) -> str | None:
        value = self.take(name)
        if value is None or isinstance(value, str):
            return value
        raise InvalidInputError(name, f"{value!r} is not text")

    def whole(self, name: str) -> int | None:
        value = self.take(name)
        if isinstance(value, Decimal) and value == value.to_integral_value():
            value = int(value)
        return None if value is None else check.as_int(value, name)

    def version(self, name: str) -> int:
        value = self.take(name)
        if value is None:
            self.fill(name)
            return 1
        if isinstance(value, str) and value.isascii() and value.isdecimal():
            value = int(value)
        return check.as_int(value, name, high=check.INT4_MAX)

    def number(self, name: str) -> float | None:
        value = self.take(name)
        if value is None:
            return None
        # JSON has no NaN: PostgreSQL writes it as text.
        number = check.as_float(float(value) if value in ("NaN", "Infinity", "-Infinity") else value, name)
        if Decimal(f"{number:.15g}") != value:  # as many digits as PostgreSQL gives back
            self.keep(name)
        return number

    def time(self, name: str) -> datetime | None:
        value = self.take(name)
        if value is None:
            return None
        try:
            found = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise InvalidInputError(name, f"{value!r} is no time within the years 1 to 9999") from None
        if found.tzinfo is not None:
            return check.as_timestamp(found, name)
        moment = check.as_timestamp(found.replace(tzinfo=self._zone), name)
        if moment.astimezone(self._zone).replace(tzinfo=None) != found:  # the clocks went forward
            self.keep(name)
        return moment

    def needed_time(self, name: str) -> datetime:
        moment = self.time(name)
        if moment is None:
            raise InvalidInputError(name, "is null")
        return moment

    def flag(self, name: str) -> bool:
        value = self.take(name)
        if value is None:
            self.fill(name)
        elif not isinstance(value, bool):
            raise InvalidInputError(name, f"{value!r} is not true or false")
        return bool(value)

    def json(self, name: str) -> dict[str, Any]:
        value = self.take(name)
        if isinstance(value, dict):
            return value
        if value is None and name in self._row:
            self.fill(name)
        self.keep(name)
        return {}

    def texts(self, name: str) -> list[str]:
        value = self.take(name)
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return value
        if value is None and name in self._row:
            self.fill(name)
        self.keep(name)
        return []

    def metadata(self) -> dict[str, Any]:
        """The old metadata, with what has no other home; comes last."""
        own = self.json("metadata")
        if "imported" in own:
            self.keep("metadata")
            own = {}
        if self._filled:
            self._left["filled_in"] = sorted(self._filled)
        return own | {"imported": self._left}
