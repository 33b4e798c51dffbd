"""``python -m tests.benchmarks [names] [--quick]``: measure side by side, print one table, judge nobody."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from tests.benchmarks import (
    ab_tests,
    bulk,
    checks,
    drift,
    false_alarms,
    import_cost,
    latest,
    record,
    router,
    streams,
    trend,
    worker,
)
from tests.benchmarks._lines import Line, table
from tests.benchmarks._setting import Setting, machine_facts, own_database
from tests.servers import session_server


async def measure_drift(setting: Setting) -> list[Line]:
    """Its speed, and how often it is wrong."""
    return await drift.measure(setting) + await false_alarms.measure(setting)


BENCHMARKS: dict[str, Callable[[Setting], Awaitable[list[Line]]]] = {
    "import": import_cost.measure,
    "bulk": bulk.measure,
    "record": record.measure,
    "trend": trend.measure,
    "latest": latest.measure,
    "router": router.measure,
    "drift": measure_drift,
    "streams": streams.measure,
    "ab": ab_tests.measure,
    "checks": checks.measure,
    "worker": worker.measure,
}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def run(dsn: str, names: Sequence[str], *, quick: bool) -> None:
    lines: list[Line] = []
    async with own_database(dsn) as database:
        setting = Setting(dsn=database, quick=quick, say=say)
        for name in names:
            started = time.monotonic()
            lines += await BENCHMARKS[name](setting)
            say(f"{name}: {time.monotonic() - started:.0f} s")
        facts = await machine_facts(database)
    print(f"{facts}\n\n{table(lines)}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which: {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--quick", action="store_true", help="smaller, within two minutes")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    with session_server() as dsn:
        asyncio.run(run(dsn, arguments.names or list(BENCHMARKS), quick=arguments.quick))


if __name__ == "__main__":
    main()
