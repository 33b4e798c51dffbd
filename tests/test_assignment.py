"""Assignment of units to the models of a test: sticky, uniform, monotone, independent across tests."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
from typing import Any
from uuid import UUID

import attrs
import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare
from tests.factories import START, make_id, make_ref

from model_perf import ABTest, InvalidInputError, assign, assign_many
from model_perf._assignment import as_unit

UNITS = [f"customer-{i}" for i in range(1_000_000)]


def make_test(name: str = "test", *, split: float = 0.5, salt: str | None = None) -> ABTest:
    return ABTest(
        id=make_id(name),
        test_name=name,
        model_a=make_ref(version=1),
        model_b=make_ref(version=2),
        test_status="running",
        test_start=START,
        test_end=START.replace(year=2025),
        traffic_split=split,
        design={} if salt is None else {"salt": salt},
        created_at=START,
    )


def test_the_bucket_is_the_documented_one() -> None:
    """The arm is b where the first 64 bits of SHA-256 over "test:salt:unit" are below the share of b."""
    test = make_test(split=0.3, salt="pepper")
    for unit in UNITS[:1000]:
        digest = hashlib.sha256(f"{test.id}:pepper:{unit}".encode()).digest()
        expected = "b" if int.from_bytes(digest[:8], "big") / 2**64 < 0.3 else "a"
        assert assign(test, unit) == expected


@pytest.mark.parametrize("split", [0.5, 0.05])
def test_a_million_units_are_shared_as_planned(split: float) -> None:
    """The shares, and those within each of 100 ranges of the units' numbers, are the split's (chi-squared)."""
    is_b = np.array(assign_many(make_test(split=split), UNITS)) == "b"
    counts = np.bincount(is_b, minlength=2)
    assert chisquare(counts, [1e6 * (1.0 - split), 1e6 * split]).pvalue > 1e-3
    by_range = is_b.reshape(100, -1).sum(axis=1)
    assert (
        chisquare(
            np.concatenate([by_range, 10_000 - by_range]), np.repeat([1e4 * split, 1e4 * (1 - split)], 100)
        ).pvalue
        > 1e-3
    )


def test_tests_are_independent() -> None:
    """The arms of one test say nothing of those of another, nor those under another salt."""
    first = np.array(assign_many(make_test("one"), UNITS[:200_000])) == "b"
    for other in (make_test("two"), make_test("one", salt="again")):
        second = np.array(assign_many(other, UNITS[:200_000])) == "b"
        table = [[np.sum(first & second), np.sum(first & ~second)], [np.sum(~first & second), np.sum(~first & ~second)]]
        assert chi2_contingency(table).pvalue > 1e-3


def test_a_wider_split_takes_nobody_back() -> None:
    """Who is served by b stays with b when the share of b grows."""
    arms = [np.array(assign_many(make_test(split=split), UNITS[:100_000])) == "b" for split in (0.05, 0.2, 0.5, 0.95)]
    for narrow, wide in itertools.pairwise(arms):
        assert not (narrow & ~wide).any()


def test_another_process_assigns_the_same() -> None:
    """The arm depends on nothing of the process, such as the seed of hash()."""
    program = (
        "from tests.test_assignment import UNITS, make_test\nfrom model_perf import assign_many\n"
        "print(''.join(assign_many(make_test(), UNITS[:500])))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "".join(assign_many(make_test(), UNITS[:500]))


def test_units_count_by_their_text() -> None:
    """A number, a UUID and their texts are one unit each."""
    test, number = make_test(), make_id("unit")
    assert as_unit(7) == as_unit("7") == b"7"
    assert as_unit(number) == as_unit(str(number))
    assert assign_many(test, [7, number]) == assign_many(test, ["7", str(number)])
    assert assign_many(test, np.arange(100)) == assign_many(test, range(100))
    assert as_unit("Zürich") == "Zürich".encode()


@pytest.mark.parametrize(
    "unit", [None, True, np.True_, 1.5, b"a", "", "\ud800", ("a", 1), pytest.param(10**5000, id="huge")]
)
def test_what_is_no_unit(unit: Any) -> None:
    """Anything without one text form is refused by name."""
    with pytest.raises(InvalidInputError, match="unit: "):
        assign(make_test(), unit)


def test_nothing_but_id_salt_and_split_counts() -> None:
    """A concluded or renamed test assigns as before."""
    test = make_test()
    later = attrs.evolve(test, test_status="completed", test_name="renamed", model_b=make_ref(version=9))
    assert assign_many(test, UNITS[:1000]) == assign_many(later, UNITS[:1000])
    assert isinstance(test.id, UUID)
