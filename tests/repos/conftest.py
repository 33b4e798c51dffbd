"""A tracker whose writes are rolled back, for tests that need no second connection."""

from __future__ import annotations

import asyncpg
import pytest

from model_perf import ModelPerformanceTracker


@pytest.fixture
def bound(connection: asyncpg.Connection) -> ModelPerformanceTracker:
    """A tracker inside a transaction that is rolled back."""
    return ModelPerformanceTracker(lambda: pytest.fail("a bound tracker asked for the pool")).bind(connection)
