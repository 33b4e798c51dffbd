"""The zones of the process, the server and the session do not matter."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import asyncpg
from tests.factories import make_evaluation, make_ref
from tests.faults.states import BASELINE_DAYS, learn_baseline
from tests.faults.time_zones import STARTS
from tests.writers import record

from model_perf import ModelPerformanceTracker, MonitoringPolicy

ROOT = Path(__file__).parents[2]


async def test_timestamps_survive_a_process_in_istanbul_and_a_server_in_kolkata(
    tracker: ModelPerformanceTracker, database: str, host: asyncpg.Connection
) -> None:
    """Whatever is written comes back as the same instant in UTC, to the microsecond; naive times are refused."""
    name = await host.fetchval("SELECT quote_ident(current_database())")
    await host.execute(f"ALTER DATABASE {name} SET TimeZone TO 'Asia/Kolkata'")
    command = [sys.executable, "-m", "tests.faults.time_zones", database, tracker.schema]
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            command, cwd=ROOT, env=os.environ | {"TZ": "Asia/Istanbul"}, capture_output=True, text=True, check=False
        )
    )
    await host.execute(f"ALTER DATABASE {name} RESET TimeZone")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["process"][0] == "+03"
    assert report["session"] == "Asia/Kolkata"
    assert report["exact"] == [True] * len(STARTS)
    assert report["batch"] == [True] * len(STARTS)
    assert report["repeated"] == len(STARTS)
    assert report["refused"] == [True, True]
    assert report["epochs"] == sorted(start.timestamp() for start in STARTS)
    assert report["alert"]


async def test_what_record_answers_is_in_utc_whatever_the_session_says(
    tracker: ModelPerformanceTracker, database: str
) -> None:
    """Alert and run of `record`, which come as JSON, equal those that are read as rows."""
    async with asyncpg.create_pool(
        database, min_size=1, max_size=2, server_settings={"TimeZone": "Asia/Kolkata", "DateStyle": "German"}
    ) as pool:
        policy = MonitoringPolicy(retrain_on=("critical",))
        own = ModelPerformanceTracker(pool, schema=tracker.schema, policy=policy)
        ref = make_ref()
        await learn_baseline(own, ref)
        stored = await record(own, make_evaluation(ref, day=BASELINE_DAYS, metrics={"rmse": 30.0}))
        assert [stored.alert] == await tracker.active_alerts()
        assert (stored.training_run,) == (await tracker.training.list_runs()).items
        assert stored.alert is not None
        assert stored.alert.alert_timestamp.utcoffset() == timedelta(0)
        assert stored.alert.alert_timestamp == stored.evaluation.created_at
