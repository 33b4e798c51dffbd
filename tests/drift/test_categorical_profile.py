"""Categorical profiles: names while they are few, buckets of their hashes beyond, exact sums of both."""

from __future__ import annotations

import json

import numpy as np
import pytest

from model_perf.drift import CategoricalProfile
from model_perf.drift._categorical_profile import MAX_NAMES, N_BUCKETS, aligned, bucket_of, count_values
from model_perf.errors import InvalidInputError


def count(*names: str) -> CategoricalProfile:
    return count_values(np.array(names, dtype=object), "categorical", 0)


def many(begin: int, end: int) -> CategoricalProfile:
    return count(*map(str, range(begin, end)))


def content(profile: CategoricalProfile) -> tuple[object, ...]:
    buckets = None if profile.buckets is None else profile.buckets.tolist()
    return profile.n, profile.missing, profile.names, buckets


def test_names_are_counted() -> None:
    """Each name with its rows, in the names' order whatever the rows'."""
    profile = count("b", "a", "b", "")
    assert list((profile.names or {}).items()) == [("", 1), ("a", 1), ("b", 2)]
    assert (profile.n, profile.n_names, profile.n_singletons) == (4, 3, 2)


def test_truth_values() -> None:
    """They are the names false and true."""
    profile = count_values(np.array([True, False, True]), "boolean", 2)
    assert (profile.kind, profile.names, profile.missing) == ("boolean", {"false": 1, "true": 2}, 2)


def test_identifiers() -> None:
    """More than nine rows of ten with a name of its own; fewer than 20 rows do not tell."""
    assert many(0, 20).is_identifier
    assert many(0, 50_000).is_identifier
    assert not many(0, 19).is_identifier
    assert not count(*"ab" * 20).is_identifier


@pytest.mark.parametrize("sizes", [(5, 7), (MAX_NAMES, 10), (6_000, 6_000), (MAX_NAMES + 1, 5), (11_000, 11_000)])
def test_parts_add_up_to_the_whole(sizes: tuple[int, int]) -> None:
    """By name up to 10,000 of them, by bucket beyond; both exactly, and whichever comes first."""
    a, b = sizes
    parts, whole = (many(0, a), many(a - 3, a - 3 + b)), many(0, a) + many(a - 3, a - 3 + b)
    direct = count(*map(str, range(a)), *map(str, range(a - 3, a - 3 + b)))
    assert content(whole) == content(direct) == content(parts[1] + parts[0])
    assert (direct.names is None) == (a + b - 3 > MAX_NAMES)


def test_addition_is_associative() -> None:
    """(a + b) + c = a + (b + c), where only the sum has too many names."""
    a, b, c = many(0, 5000), many(4000, 9000), many(8000, 12_000)
    assert content((a + b) + c) == content(a + (b + c))


def test_buckets_are_the_same_everywhere() -> None:
    """The one byte of BLAKE2b: printf a | b2sum -l 8 gives de."""
    assert bucket_of("a") == 0xDE
    assert 0 <= bucket_of("\ud800") < N_BUCKETS


def test_cells_of_two() -> None:
    """Names of both in their order; buckets where one of both has no names."""
    a, b = aligned(count("b", "a"), count("c", "b", "b"))
    assert (a.tolist(), b.tolist()) == ([1, 1, 0], [0, 2, 1])
    a, b = aligned(count("b", "a"), many(0, 10_001))
    assert (a.size, a.sum(), b.sum()) == (N_BUCKETS, 2, 10_001)


def test_another_kind_does_not_add_up() -> None:
    """Truth values and text are not added up."""
    with pytest.raises(InvalidInputError, match="boolean"):
        count("true") + count_values(np.array([True]), "boolean", 0)


@pytest.mark.parametrize("profile", [count("a", "\ud800", "é"), many(0, 10_001), count()], ids=["few", "many", "none"])
def test_what_is_written_is_read(profile: CategoricalProfile) -> None:
    """JSON holds all of it, half of a surrogate pair included."""
    again = CategoricalProfile.from_dict(json.loads(json.dumps(profile.to_dict(), allow_nan=False)))
    assert content(again) == content(profile)
    assert again.n_names == profile.n_names
