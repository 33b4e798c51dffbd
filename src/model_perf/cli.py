"""The command ``model-perf``: migrate, status, doctor, prune, run-checks, import, worker, serve, demo."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from model_perf import (
    ChecksReport,
    DeliveryReport,
    Diagnosis,
    ImportReport,
    ModelPerfError,
    ModelPerformanceTracker,
    PruneReport,
    SchemaStatus,
    __version__,
    migration_sql,
)

T = TypeVar("T")

ROLES = {
    "owner": "owns the tables",
    "writer": "runs the library",
    "reader": "reads the boards",
    "pruner": "prunes and forgets",
}

_DSN_HELP = "connection URI (default: the environment's MODEL_PERF_DSN, else libpq's PGHOST, PGUSER, ...)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 = done, 1 = not possible, and why is on stderr, 2 = wrong usage."""
    args = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper) and not getattr(args, "sql", False):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal has no letters for is still shown
    try:
        code = int(args.run(args))
        print(end="", flush=True)
    except BrokenPipeError:  # as by `| head`, which has read enough
        _give_up_output()
        return 141
    except (ModelPerfError, ImportError, OSError, UnicodeEncodeError) as error:
        print(f"model-perf: {error}", file=sys.stderr)
        _give_up_output()
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _give_up_output() -> None:
    """What could not be written would be tried again when the interpreter ends, and be told there as a crash."""
    try:
        print(end="", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="model-perf", description="Performance monitoring of deployed models, in your own PostgreSQL."
    )
    parser.add_argument("--version", action="version", version=f"model-perf {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_migrate(commands)
    _add_status(commands)
    _add_doctor(commands)
    _add_prune(commands)
    _add_import(commands)
    _add_run_checks(commands)
    _add_worker(commands)
    _add_serve(commands)
    _add_demo(commands)
    return parser


def _add_migrate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("migrate", help="create or upgrade the tables")
    _add_connection(command)
    command.add_argument("--sql", action="store_true", help="print the statements for a DBA instead of running them")
    command.add_argument("--since", type=int, default=0, metavar="N", help="with --sql: only migrations after N")
    for role, what in ROLES.items():
        command.add_argument(f"--{role}", metavar="ROLE", help=f"with --sql: existing role that {what}")
    command.set_defaults(run=_migrate, fail=command.error)


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("status", help="say which migrations the schema has; exit 1 if it cannot be used")
    _add_connection(command)
    command.set_defaults(run=_status)


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "doctor", help="look at all that an installation needs; exit 1 at a problem, 3 if something stays unknown"
    )
    _add_connection(command)
    _add_options(command)
    command.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    command.set_defaults(run=_doctor)


def _add_prune(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("prune", help="delete what is old and no longer needed")
    _add_connection(command)
    _add_options(command)
    command.add_argument("--keep-days", type=_days, required=True, metavar="DAYS", help="younger rows stay")
    command.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
    command.add_argument("--batch", type=int, default=1000, metavar="ROWS", help="of one transaction (default: 1000)")
    command.set_defaults(run=_prune)


def _days(text: str) -> timedelta:
    """So many that the calendar goes so far back."""
    try:
        days = float(text)
        if days >= 0.0:
            datetime.now(UTC) - timedelta(days=days + 1.0)
            return timedelta(days=days)
    except (OverflowError, ValueError):
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no number of days that the calendar has")


def _add_import(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("import", help="copy an earlier installation's tables; exit 1 if a row is rejected")
    _add_connection(command)
    command.add_argument("--from", dest="source", default="public", metavar="SCHEMA", help="default: public")
    command.add_argument("--dry-run", action="store_true", help="do it all in one transaction, and undo it")
    command.add_argument(
        "--replace-with-views", action="store_true", help="then rename the old tables and put views in their place"
    )
    command.add_argument(
        "--time-zone", default="UTC", metavar="ZONE", help="of timestamps that have none (default: UTC)"
    )
    command.set_defaults(run=_import)


def _add_run_checks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("run-checks", help="do what is due, as from cron; exit 1 if a step failed")
    _add_connection(command)
    _add_options(command)
    command.add_argument("--json", action="store_true", help="print the report as one JSON object")
    command.set_defaults(run=_run_checks)


def _add_worker(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("worker", help="carry out training runs until SIGTERM or SIGINT")
    _add_connection(command)
    _add_options(command)
    command.add_argument(
        "--trainers",
        required=True,
        metavar="MODULE:FUNCTION",
        help="called with the tracker, to register trainers",
    )
    command.add_argument("--once", action="store_true", help="do what is due, and end")
    command.add_argument("--concurrency", type=int, default=1, metavar="N", help="runs at a time (default: 1)")
    command.add_argument("--name", help="of the worker (default: host, process, and a random part)")
    for option, default, what in (
        ("lease", 30.0, "after which a worker that has died loses its run"),
        ("poll", 1.0, "between two looks for runs"),
        ("timeout", 21_600.0, "that an attempt may take"),
        ("grace", 20.0, "that trainers have to finish at the end"),
    ):
        help_text = f"seconds {what} (default: {default:g})"
        command.add_argument(f"--{option}", type=float, default=default, metavar="S", help=help_text)
    command.set_defaults(run=_worker)


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("serve", help="serve the HTTP API and the dashboard until SIGTERM or SIGINT")
    _add_connection(command)
    _add_options(command)
    command.add_argument(
        "--host", default="127.0.0.1", help="default: 127.0.0.1; an address that others reach needs a token"
    )
    command.add_argument(
        "--token",
        default=os.environ.get("MODEL_PERF_TOKEN") or None,
        help="default: the environment's MODEL_PERF_TOKEN, which the list of processes does not show",
    )
    _add_serving(command)
    command.set_defaults(run=_serve)


def _add_serving(command: argparse.ArgumentParser) -> None:
    command.add_argument("--port", type=int, default=8321, help="default: 8321; 0 takes a free one")
    command.add_argument("--write", action="store_true", help="carry out acts (default: read-only)")


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("demo", help="watch a real model degrade on real data, and be retrained")
    command.add_argument("--dsn", help="run it in this database instead of an embedded server, schema model_perf_demo")
    command.add_argument("--keep", metavar="DIR", help="keep the embedded server's data in this (absolute) directory")
    command.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    command.add_argument("--serve", action="store_true", help="then serve its dashboard on 127.0.0.1 until Ctrl-C")
    _add_serving(command)
    command.set_defaults(run=_demo)


def _add_connection(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dsn", default=os.environ.get("MODEL_PERF_DSN") or None, help=_DSN_HELP)
    command.add_argument("--schema", default="model_perf", help="default: model_perf")


def _add_options(command: argparse.ArgumentParser) -> None:
    help_text = "gives the tracker's options, as a dict with policy, channels, directory (default: none)"
    command.add_argument("--options", metavar="MODULE:FUNCTION", help=help_text)


def _migrate(args: argparse.Namespace) -> int:
    roles = {role: getattr(args, role) for role in ROLES}
    if args.sql:
        print(migration_sql(args.schema, since=args.since, **roles), end="")
        return 0
    if args.since or any(roles.values()):
        args.fail("--since and roles go with --sql: without it nothing is granted")
    applied = asyncio.run(_with_tracker(args, ModelPerformanceTracker.migrate))
    print(f"schema {args.schema}: applied {_listed(applied)}" if applied else f"schema {args.schema}: up to date")
    return 0


def _status(args: argparse.Namespace) -> int:
    status = asyncio.run(_with_tracker(args, ModelPerformanceTracker.read_status))
    print(_describe(status))
    return 0 if status.problem is None else 1


def _doctor(args: argparse.Namespace) -> int:
    diagnosis = asyncio.run(_with_tracker(args, ModelPerformanceTracker.diagnose))
    print(json.dumps(diagnosis.to_dict(), indent=2) if args.json else _describe_diagnosis(diagnosis))
    return {"problem": 1, "unknown": 3}.get(diagnosis.status, 0)


def _prune(args: argparse.Namespace) -> int:
    async def run(tracker: ModelPerformanceTracker) -> PruneReport:
        before = datetime.now(UTC) - args.keep_days
        return await tracker.prune(before, dry_run=args.dry_run, batch=args.batch)

    report = asyncio.run(_with_tracker(args, run))
    print("\n".join(f"{table:28}{n:10}" for table, n in report.deleted.items()))
    print(f"older than {report.before.isoformat()}; {report.n_kept_evaluations} older evaluations stay")
    if report.dry_run:
        print("dry run: nothing was deleted")
    return 0


def _import(args: argparse.Namespace) -> int:
    async def run(tracker: ModelPerformanceTracker) -> ImportReport:
        return await tracker.import_earlier(
            args.source,
            dry_run=args.dry_run,
            replace_with_views=args.replace_with_views,
            time_zone=args.time_zone,
        )

    report = asyncio.run(_with_tracker(args, run, connections=2))
    print(_describe_import(report))
    return 1 if report.rejected else 0


def _run_checks(args: argparse.Namespace) -> int:
    report = asyncio.run(_with_tracker(args, ModelPerformanceTracker.run_checks))
    print(json.dumps(report.to_dict()) if args.json else _describe_checks(report))
    return 0 if report.is_ok else 1


def _worker(args: argparse.Namespace) -> int:
    from model_perf._worker_process import run

    connections = max(args.concurrency, 0) + 2  # what is no concurrency is refused by its own name
    return asyncio.run(_with_tracker(args, lambda tracker: run(tracker, args), connections=connections))


def _serve(args: argparse.Namespace) -> int:
    from model_perf._serve_process import run

    asyncio.run(run(args))
    return 0


def _demo(args: argparse.Namespace) -> int:
    from model_perf.demo import run

    port = args.port if args.serve else None
    return run(dsn=args.dsn, keep=args.keep, as_json=args.json, port=port, write=args.write)


async def _with_tracker(
    args: argparse.Namespace, work: Callable[[ModelPerformanceTracker], Awaitable[T]], *, connections: int = 1
) -> T:
    from model_perf._loading import load_options

    options = load_options(getattr(args, "options", None)) | {"schema": args.schema}
    # Without a cache, since there may be a pooler between, and a command says hardly anything twice.
    async with ModelPerformanceTracker.connect(
        args.dsn, max_size=connections, statement_cache_size=0, **options
    ) as tracker:
        return await work(tracker)


def _describe(status: SchemaStatus) -> str:
    lines = [f"schema   {status.schema}", f"applied  {_listed(status.applied)}", f"pending  {_listed(status.pending)}"]
    if status.newer:
        lines.append(f"newer    {_listed(status.newer)} (this model_perf does not know them)")
    return "\n".join([*lines, f"state    {status.problem or 'ready'}"])


def _describe_diagnosis(diagnosis: Diagnosis) -> str:
    lines = []
    for finding in diagnosis.findings:
        lines.append(f"{finding.status:9}{finding.check:13}{finding.message}")
        if finding.mend is not None:
            lines.append(f"{'':22}-> {finding.mend}")
    return "\n".join([*lines, f"schema {diagnosis.schema}: {diagnosis.status}"])


def _describe_import(report: ImportReport) -> str:
    lines = [f"{'table':26}{'read':>10}{'imported':>10}{'already there':>15}{'rejected':>10}"]
    for one in report.tables:
        counts = f"{one.n_read:10}{one.n_imported:10}{one.n_already_there:15}{len(one.rejected):10}"
        lines.append(f"{one.table:26}{counts}")
    lines += [f"rejected  {row.table} {row.id}: {row.reason}" for row in report.rejected]
    lines += [f"note      {note}" for note in report.notes]
    if report.replaced:
        lines.append(f"replaced  {', '.join(report.replaced)}")
    if report.dry_run:
        lines.append("dry run: nothing was kept")
    return "\n".join(lines)


def _describe_checks(report: ChecksReport) -> str:
    lines = []
    for step in report.steps:
        n = _count(getattr(report, step.name))
        lines.append(f"{step.name:18}{n:>8}{step.duration_s:9.2f} s")
        lines += [f"  failed: {error}" for error in step.errors]
    return "\n".join(lines)


def _count(found: int | tuple[object, ...] | DeliveryReport | None) -> str:
    if found is None:
        return "unknown"
    if isinstance(found, DeliveryReport):
        return str(found.n_delivered)
    return str(len(found) if isinstance(found, tuple) else found)


def _listed(versions: Sequence[int]) -> str:
    return ", ".join(map(str, versions)) or "none"
