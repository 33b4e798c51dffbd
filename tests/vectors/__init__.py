"""Numbers obtained from trusted implementations; each row of `inference.json` names its package, version and call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FILE = json.loads((Path(__file__).parent / "inference.json").read_text())

VECTORS: dict[str, dict[str, Any]] = {row["id"]: row for row in _FILE["vectors"]}


def vector(vector_id: str) -> dict[str, Any]:
    """A vector by its id, with the fixtures that its inputs name put in."""
    row = VECTORS[vector_id]
    return {**row, "inputs": {name: _resolved(value) for name, value in row["inputs"].items()}}


def _resolved(value: Any) -> Any:
    return _FILE["fixtures"][value["$fixture"]] if isinstance(value, dict) and "$fixture" in value else value
