"""The input's verdict in the answer of a drift check."""

from __future__ import annotations

import httpx
import numpy as np
from tests.factories import START
from tests.web.calls import MACHINE, MODEL_TYPE, OLD

from model_perf import ModelPerformanceTracker


async def test_a_drift_check_shows_the_input(client: httpx.AsyncClient, tracker: ModelPerformanceTracker) -> None:
    """Null before the first check; then the columns, the furthest past their thresholds first, and their checks."""
    query = {"model_id": str(OLD.model_id), "model_type": MODEL_TYPE, "machine_id": str(MACHINE), "model_version": "1"}
    assert (await client.post("/drift/check", params=query)).json()["data"] is None
    rng = np.random.default_rng(1)
    await tracker.set_reference(OLD, {"calm": rng.normal(size=5000), "load": rng.normal(size=5000)})
    window = {"calm": rng.normal(size=500), "load": rng.normal(1.0, 1.0, 500), "new": np.zeros(500)}
    report = await tracker.check_data_drift(OLD, window, window_end=START)
    answer = (await client.post("/drift/check", params=query)).json()
    assert (answer["verdict"], answer["drift_type"], answer["drift_types"]) == (
        "insufficient_data",
        "data_drift",
        ["data_drift"],
    )
    data = answer["data"]
    assert (data["verdict"], data["drift_detected"], data["headline"]) == ("critical", True, report.headline)
    assert [column["column"] for column in data["columns"]] == ["load", "calm"]
    assert (data["added_columns"], data["n_reference"], data["n_current"]) == (["new"], 5000, 500)
    check = data["columns"][0]["checks"][0]
    assert (check["name"], check["verdict"], check["threshold"]) == ("distribution", "critical", 0.1)
    assert check["confidence_interval"]["low"] < check["statistic"] < check["confidence_interval"]["high"]
