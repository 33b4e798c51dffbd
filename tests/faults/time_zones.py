"""A process whose time zone the environment sets: writes timestamps, reads them back, and tells what it saw.

``python -m tests.faults.time_zones DSN SCHEMA``
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
from tests.factories import make_evaluation, make_ref
from tests.writers import record

from model_perf import Evaluation, ModelPerformanceTracker, NaiveTimestampError

BERLIN, KOLKATA, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata"), ZoneInfo("America/New_York")
STARTS = (
    # Clocks went back on 27 October 2024 at 3:00 in Berlin: 2:30 was twice, the second time with fold = 1.
    datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN),
    datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN),
    # They went forward on 31 March 2024 at 2:00, and in New York on 10 March.
    datetime(2024, 3, 31, 1, 59, 59, 999999, tzinfo=BERLIN),
    datetime(2024, 3, 10, 3, 0, 0, 1, tzinfo=NEW_YORK),
    # Istanbul has had no winter time since 2016: its clocks and the offset of its zone parted on 30 October 2016.
    datetime(2016, 10, 30, 3, 30, tzinfo=ZoneInfo("Asia/Istanbul")),
    datetime(2016, 10, 30, 3, 30, fold=1, tzinfo=BERLIN),
    # Kolkata's local mean time had seconds in its offset.
    datetime(1850, 1, 1, 12, 0, tzinfo=KOLKATA),
)


async def main(dsn: str, schema: str) -> None:
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
    tracker = ModelPerformanceTracker(pool, schema=schema)
    given = [_evaluation(i, start) for i, start in enumerate(STARTS)]
    exact = [await _is_exact(tracker, evaluation) for evaluation in given]
    batch = [_evaluation(i, start, name="batch") for i, start in enumerate(STARTS)]
    await tracker.record_many(batch)
    repeated = await tracker.record_many(batch)
    report = {
        "process": time.tzname,
        "session": await pool.fetchval("SHOW TimeZone"),
        "exact": exact,
        "batch": [await _reads_as(tracker, evaluation) for evaluation in batch],
        "repeated": repeated.n_repeated,
        "refused": [await _is_refused(tracker, naive) for naive in (True, False)],
        "epochs": [
            float(row[0])
            for row in await pool.fetch(
                f"SELECT extract(epoch FROM evaluation_start) FROM {schema}.model_performance_metrics"
                " WHERE model_id = $1 ORDER BY 1",
                given[0].ref.model_id,
            )
        ],
        "alert": await _alert_is_exact(tracker),
    }
    await pool.close()
    print(json.dumps(report))


def _evaluation(i: int, start: datetime, name: str = "single") -> Evaluation:
    # Half an hour later by the instant, not by the clock on the wall, and in another zone than the start.
    end = datetime.fromtimestamp(start.timestamp() + 1800, KOLKATA)
    return make_evaluation(make_ref(name), day=i, evaluation_start=start, evaluation_end=end)


async def _is_exact(tracker: ModelPerformanceTracker, evaluation: Evaluation) -> bool:
    stored = await record(tracker, evaluation)
    repeat = await record(tracker, evaluation)
    return stored.is_new and not repeat.is_new and await _reads_as(tracker, evaluation)


async def _reads_as(tracker: ModelPerformanceTracker, given: Evaluation) -> bool:
    found = await tracker.metrics.fetch_evaluation(given.ref, given.id)
    times = (
        (given.evaluation_start, found.evaluation_start),
        (given.evaluation_end, found.evaluation_end),
        (given.evaluation_date, found.evaluation_date),
    )
    return all(one == other and other.utcoffset() == timedelta(0) for one, other in times)


async def _is_refused(tracker: ModelPerformanceTracker, is_start: bool) -> bool:
    start = datetime(2024, 10, 27, 2, 30)  # noqa: DTZ001 - naive is what is refused
    end = start + timedelta(days=1)
    aware = {"start": start.replace(tzinfo=BERLIN), "end": end.replace(tzinfo=BERLIN)}
    window = aware | ({"start": start} if is_start else {"end": end})
    try:
        await tracker.record(
            make_ref("naive"), evaluation_start=window["start"], evaluation_end=window["end"], metrics={"rmse": 1.0}
        )
    except NaiveTimestampError:
        return True
    return False


async def _alert_is_exact(tracker: ModelPerformanceTracker) -> bool:
    """The time that a call is given is read back as the same instant."""
    now = STARTS[1].astimezone(UTC)
    opened = await tracker.alerts.open_or_repeat(make_ref(), alert_type="own", severity="info", message="look", now=now)
    return opened.alert_timestamp == now == (await tracker.active_alerts())[0].alert_timestamp


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
