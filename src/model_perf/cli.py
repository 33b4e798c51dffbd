"""The command ``model-perf``: migrate, status, demo."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from model_perf import ModelPerfError, ModelPerformanceTracker, SchemaStatus, __version__, migration_sql

T = TypeVar("T")

_DSN_HELP = "connection URI (default: the environment's MODEL_PERF_DSN, else libpq's PGHOST, PGUSER, ...)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 = done, 1 = not possible, and why is on stderr, 2 = wrong usage."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (ModelPerfError, ImportError) as error:
        print(f"model-perf: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="model-perf", description="Performance monitoring of deployed models, in your own PostgreSQL."
    )
    parser.add_argument("--version", action="version", version=f"model-perf {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_migrate(commands)
    _add_status(commands)
    _add_demo(commands)
    return parser


def _add_migrate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("migrate", help="create or upgrade the tables")
    _add_connection(command)
    command.add_argument("--sql", action="store_true", help="print the statements for a DBA instead of running them")
    command.add_argument("--since", type=int, default=0, metavar="N", help="with --sql: only migrations after N")
    for role, what in (("owner", "owns the tables"), ("writer", "runs the library"), ("reader", "reads the boards")):
        command.add_argument(f"--{role}", metavar="ROLE", help=f"with --sql: existing role that {what}")
    command.set_defaults(run=_migrate)


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("status", help="say which migrations the schema has; exit 1 if it cannot be used")
    _add_connection(command)
    command.set_defaults(run=_status)


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("demo", help="watch a real model degrade on real data, and be retrained")
    command.add_argument("--dsn", help="run it in this database instead of an embedded server, schema model_perf_demo")
    command.add_argument("--keep", metavar="DIR", help="keep the embedded server's data in this (absolute) directory")
    command.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    command.set_defaults(run=_demo)


def _add_connection(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dsn", default=os.environ.get("MODEL_PERF_DSN"), help=_DSN_HELP)
    command.add_argument("--schema", default="model_perf", help="default: model_perf")


def _migrate(args: argparse.Namespace) -> int:
    if args.sql:
        roles = {role: getattr(args, role) for role in ("owner", "writer", "reader")}
        print(migration_sql(args.schema, since=args.since, **roles), end="")
        return 0
    applied = asyncio.run(_with_tracker(args, ModelPerformanceTracker.migrate))
    print(f"schema {args.schema}: applied {_listed(applied)}" if applied else f"schema {args.schema}: up to date")
    return 0


def _status(args: argparse.Namespace) -> int:
    status = asyncio.run(_with_tracker(args, ModelPerformanceTracker.read_status))
    print(_describe(status))
    return 0 if status.problem is None else 1


def _demo(args: argparse.Namespace) -> int:
    from model_perf.demo import run

    return run(dsn=args.dsn, keep=args.keep, as_json=args.json)


async def _with_tracker(args: argparse.Namespace, work: Callable[[ModelPerformanceTracker], Awaitable[T]]) -> T:
    async with ModelPerformanceTracker.connect(args.dsn, schema=args.schema, min_size=1, max_size=1) as tracker:
        return await work(tracker)


def _describe(status: SchemaStatus) -> str:
    lines = [f"schema   {status.schema}", f"applied  {_listed(status.applied)}", f"pending  {_listed(status.pending)}"]
    if status.newer:
        lines.append(f"newer    {_listed(status.newer)} (this model_perf does not know them)")
    return "\n".join([*lines, f"state    {status.problem or 'ready'}"])


def _listed(versions: Sequence[int]) -> str:
    return ", ".join(map(str, versions)) or "none"
