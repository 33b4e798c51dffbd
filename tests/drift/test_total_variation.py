"""Total variation: values by hand; what it shares with other distances is in test_jensen_shannon.py."""

from __future__ import annotations

import pytest

from model_perf.drift import total_variation_distance


def test_values_by_hand() -> None:
    """The share of rows that would have to change their bin."""
    assert total_variation_distance([50, 50], [30, 70]) == pytest.approx(0.2, rel=1e-12)
    assert total_variation_distance([1, 1, 2], [2, 1, 1]) == 0.25
