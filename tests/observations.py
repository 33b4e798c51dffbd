"""Tests of two versions on observations, and outcomes for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
from tests.factories import make_ref

from model_perf import ABTest, ModelPerformanceTracker

A, B = make_ref(version=1), make_ref(version=2)
DAY = timedelta(days=1)


async def start(tracker: ModelPerformanceTracker, **options: Any) -> ABTest:
    given: dict[str, Any] = {"metric": "mae", "direction": "lower", "planned_n": 2000, "duration": 10 * DAY}
    return await tracker.start_ab_test(name="old or new", **{"model_a": A, "model_b": B} | given | options)


def draw(n: int, seed: int, shift: float = 0.0) -> dict[str, Any]:
    """As many observations, alternating, whose b is *shift* larger."""
    rng = np.random.default_rng(seed)
    arms = np.array(["a", "b"])[np.arange(n) % 2]
    return {"arms": arms, "values": rng.normal(10.0, 1.0, n) + shift * (arms == "b")}


async def start_elsewhere(tracker: ModelPerformanceTracker) -> ABTest:
    a, b = make_ref(machine="elsewhere", version=1), make_ref(machine="elsewhere", version=2)
    return await tracker.start_ab_test(
        name="n", model_a=a, model_b=b, duration=DAY, metric="own", direction="lower", pairing="shadow"
    )
