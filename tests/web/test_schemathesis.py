"""Requests that schemathesis makes from the OpenAPI document find no fault; deselect by ``-m "not schemathesis"``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import uvicorn
from fastapi import FastAPI
from tests.faults.waits import check_pool
from tests.web.calls import MACHINE, MODEL_TYPE, NEW, OLD, World, make_world

from model_perf import ModelPerformanceTracker

pytestmark = pytest.mark.schemathesis

SEED = 20241103
EXAMPLES = 60
WRONG_FOR_US = (
    # What is stored decides as well: a cursor must have been given out, a version be known, a metric have a direction,
    # a window end after its start. No schema can say so, and 422 is the documented answer.
    "positive_data_acceptance",
)
WRONG_FOR_KNOWN_IDS = (
    # The configuration puts an id also into a request that was made without it, to be refused.
    "negative_data_rejection",
)


@pytest.fixture
async def address(app: FastAPI) -> AsyncIterator[str]:
    """The application behind a real server, in the test's own loop, as its pool is."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, ws="none", lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.mark.parametrize("ids", ["any", "known"])
async def test_generated_requests_find_no_fault(
    address: str, tracker: ModelPerformanceTracker, pool: asyncpg.Pool, tmp_path: Path, ids: str
) -> None:
    """Right and wrong requests, with ids of its own making and with ids that exist, pass all of its checks."""
    world = await make_world(tracker)
    config = tmp_path / "schemathesis.toml"
    config.write_text(_known(world) if ids == "known" else "")
    excluded = WRONG_FOR_US + (WRONG_FOR_KNOWN_IDS if ids == "known" else ())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", f"{address}/openapi.json"),
        *("--seed", str(SEED), "--max-examples", str(EXAMPLES), "--mode", "all", "--continue-on-failure"),
        *("--checks", "all", "--exclude-checks", ",".join(excluded)),
        *("--generation-database", "none", "--no-color"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode(errors="replace")
    await check_pool(pool)


def _known(world: World) -> str:
    """A configuration by which the ids are those of rows that exist, and windows end after they start."""
    parameters = {
        "path.test_id": world.test_id,
        "path.alert_id": world.alert_id,
        "path.run_id": world.run_id,
        "query.model_type": MODEL_TYPE,
        "query.machine_id": MACHINE,
        "query.model_id": OLD.model_id,
        "query.model_a_id": OLD.model_id,
        "query.model_b_id": NEW.model_id,
        "query.evaluation_start": "2024-11-03T00:00:00Z",
        "query.evaluation_end": "2024-11-04T00:00:00Z",
    }
    return "[parameters]\n" + "".join(f'"{name}" = "{value}"\n' for name, value in parameters.items())
