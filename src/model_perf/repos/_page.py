"""Pages by key: what comes after the last row seen, however many rows came in between."""

from __future__ import annotations

import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar
from uuid import UUID

from attrs import frozen

from model_perf import _validation as check
from model_perf.errors import InvalidInputError

T = TypeVar("T")

MAX_LIMIT = 1000
NEWEST = (datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))
"""A timestamp and an id that no row can follow, where lists start that show the newest first."""


@frozen(kw_only=True)
class Page(Generic[T]):
    """Some rows of a list, and the cursor that continues it.

    Attributes
    ----------
    items : tuple
    next_cursor : str or None
        Give it back as ``cursor=`` to read on; None on the last page. Opaque: its form may change.
    """

    items: tuple[T, ...]
    next_cursor: str | None = None


def as_limit(limit: int) -> int:
    return check.as_int(limit, "limit", low=1, high=MAX_LIMIT)


def make_page(items: Sequence[T], limit: int, key: Callable[[T], Sequence[object]]) -> Page[T]:
    """The first *limit* of *items*, which were asked for with one more to see whether there is more."""
    shown = tuple(items[:limit])
    return Page(items=shown, next_cursor=_encode(key(shown[-1])) if len(items) > limit else None)


def read_cursor(cursor: str | None, *parsers: Callable[[str], object]) -> list[object] | None:
    """The key inside a cursor, or None where there is none; what was not made by `make_page` is refused."""
    if cursor is None:
        return None
    try:
        parts = json.loads(b64decode(cursor, altchars=b"-_", validate=True))
        return [parse(part) for parse, part in zip(parsers, parts, strict=True)]
    except (ValueError, TypeError, OverflowError, AttributeError, RecursionError):
        raise InvalidInputError("cursor", f"{cursor!r} was not given out by this list; start without one") from None


def parse_timestamp(text: str) -> datetime:
    return check.as_timestamp(datetime.fromisoformat(text), "cursor")


def parse_int(text: str) -> int:
    return check.as_int(int(text), "cursor", low=-1, high=check.INT4_MAX)


def parse_rank(text: str) -> int:
    return check.as_int(int(text), "cursor", low=1, high=3)


def parse_text(text: str) -> str:
    return check.as_text(text, "cursor")


def _encode(key: Sequence[object]) -> str:
    parts = [part.isoformat() if isinstance(part, datetime) else str(part) for part in key]
    return urlsafe_b64encode(json.dumps(parts).encode()).decode()
