"""Named queries and migrations: the SQL lives in files, and this finds it.

A query file holds blocks that start with ``-- name: what_it_does``. ``{schema}`` stands for the quoted schema, the
name of another block in braces, as ``{columns}``, for that block of the file or of ``shared.sql``, and a line
``-- filters`` is where `add_filters` puts conditions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import frozen

from model_perf._validation import as_text
from model_perf.errors import InvalidInputError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def quote_schema(schema: str) -> str:
    """The schema's name as a quoted identifier; refuses what would need thought at 3 a.m."""
    as_text(schema, "schema")
    if '"' in schema or len(schema.encode()) > 63 or schema.startswith("pg_"):
        raise InvalidInputError(
            "schema",
            f"{schema!r} cannot be used: at most 63 bytes, no quotes, and not pg_..., which is PostgreSQL's own",
        )
    return f'"{schema}"'


@cache
def load_queries(stem: str, schema: str) -> Mapping[str, str]:
    """The queries of ``<stem>.sql`` by name, for one schema."""
    queries, shared = _load_blocks(stem), _load_blocks("shared")
    text = "".join(queries.values())
    fragments = {name: queries.pop(name) for name in list(queries) if f"{{{name}}}" in text}
    for fragment, part in {**fragments, **shared}.items():
        queries = {name: body.replace(f"{{{fragment}}}", part) for name, body in queries.items()}
    quoted = quote_schema(schema)
    return MappingProxyType({name: body.replace("{schema}", quoted) for name, body in queries.items()})


def _load_blocks(stem: str) -> dict[str, str]:
    parts = _NAME.split(_folder().joinpath(f"{stem}.sql").read_text(encoding="utf-8"))[1:]
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{stem}.sql uses a name twice")
    return dict(zip(names, (body.strip() for body in bodies), strict=True))


def add_filters(query: str, args: list[object], **filters: object) -> str:
    """Put ``AND column = $n`` where the query says ``-- filters``, for each filter that is not None.

    ``($1 IS NULL OR column = $1)`` would do it in one text, with a plan that fits neither case.
    """
    conditions = []
    for column, value in filters.items():
        if value is not None:
            args.append(value)
            conditions.append(f"AND {column.replace('__', '.')} = ${len(args)}")
    return query.replace("-- filters", " ".join(conditions))


@frozen(kw_only=True)
class Migration:
    """One file of ``migrations/``: ``NNNN_verb_noun.sql``, breaking if its first line says ``-- breaking``."""

    version: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    @property
    def breaking(self) -> bool:
        return self.text.startswith("-- breaking")

    def render(self, schema: str) -> str:
        return self.text.replace("{schema}", quote_schema(schema))


@cache
def load_migrations() -> tuple[Migration, ...]:
    """All migrations, oldest first."""
    folder = _folder().joinpath("migrations")
    found = [entry for entry in folder.iterdir() if re.fullmatch(r"\d{4}_\w+\.sql", entry.name)]
    return tuple(
        Migration(version=int(entry.name[:4]), name=entry.name[5:-4], text=entry.read_text(encoding="utf-8"))
        for entry in sorted(found, key=lambda entry: entry.name)
    )


def _folder() -> Traversable:
    from importlib.resources import files  # an archiver of zip files and more comes with it

    return files(__package__)
