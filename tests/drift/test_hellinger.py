"""Hellinger: values by hand; what it shares with other distances is in test_jensen_shannon.py."""

from __future__ import annotations

import numpy as np
import pytest

from model_perf.drift import hellinger_distance


def test_values_by_hand() -> None:
    """H² = 1 - sum sqrt(p q): sqrt(1 - sqrt(1/2)) for a certain coin against a fair one."""
    assert hellinger_distance([5, 0], [4, 4]) == pytest.approx(np.sqrt(1.0 - np.sqrt(0.5)), rel=1e-12)
    assert hellinger_distance([1, 3], [3, 1]) == pytest.approx(np.sqrt(1.0 - np.sqrt(0.75)), rel=1e-12)
