"""Adjusted p-values: statsmodels' vector, and what may be asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from model_perf.errors import InvalidInputError
from model_perf.stats import adjust_pvalues


@pytest.mark.parametrize("method", ["bonferroni", "holm", "fdr_bh", "fdr_by"])
def test_vector(vector: Callable[[str], Any], method: Any) -> None:
    """statsmodels.stats.multitest.multipletests(p, method=...)."""
    row = vector("multipletests")
    assert adjust_pvalues(row["inputs"]["p"], method) == pytest.approx(row["outputs"][method], rel=1e-9)


def test_order_and_nothing() -> None:
    """Each adjusted value stands where its p stood; of nothing there is nothing."""
    assert adjust_pvalues([0.2, 0.01], "bonferroni") == [0.4, 0.02]
    assert adjust_pvalues([]) == []


def test_bad_input() -> None:
    """p-values lie within [0, 1], and methods have names."""
    with pytest.raises(InvalidInputError, match=r"pvalues\[1\]"):
        adjust_pvalues([0.1, 1.1])
    with pytest.raises(InvalidInputError, match="method: 'hochberg' is none of"):
        adjust_pvalues([0.1], "hochberg")  # type: ignore[arg-type]
