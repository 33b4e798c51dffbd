"""The checks of a diagnosis: each looks at one thing, and says what it is, whether it matters and what mends it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import frozen

from model_perf._operating_results import Finding, FindingStatus
from model_perf.errors import ModelPerfError, SchemaError
from model_perf.repos._executor import Executor
from model_perf.repos.operations import OperationsRepo
from model_perf.sql import load_migrations
from model_perf.sql.migrate import read_status

TESTED_SERVERS = (14, 18)
"""The oldest and the newest major version of PostgreSQL that the tests run on."""

SKEW_WARNING_S, SKEW_PROBLEM_S = 1.0, 10.0
"""Clocks that differ by a third of a worker's usual lease of 30 s let runs be taken from workers that are alive."""

WORKER_SEEN_S = 120.0
"""A worker that was not seen for so long is taken for gone; it says every few seconds that it lives."""

LATE_WARNING, LATE_PROBLEM = timedelta(minutes=10), timedelta(hours=1)
"""How long a run or a notification may be due before it is told."""

PATIENCE_S = 15.0
"""How long one check may take: a table that somebody has locked must not keep the others from being looked at."""

MUCH_DEAD, MANY_ROWS = 0.2, 10_000
"""Share of dead rows from which vacuum seems not to keep up; fewer rows than that are not worth a word."""

_CREATED = re.compile(
    r"^CREATE (?:OR REPLACE |UNIQUE )?(TABLE|VIEW|INDEX|TRIGGER) (?:\{schema\}\.)?(\w+)", re.MULTILINE
)

_SCRIPT = "`model-perf migrate --sql --owner ROLE --writer ROLE --reader ROLE --pruner ROLE` prints the rights"


@frozen
class Patient:
    """What is looked at."""

    executor: Executor
    now: datetime

    @property
    def repo(self) -> OperationsRepo:
        return OperationsRepo(self.executor)


async def diagnose(executor: Executor) -> list[Finding]:
    """Every check, one after the other; one that fails is unknown, and the others go on."""
    patient, findings = Patient(executor, executor.moment()), list[Finding]()
    for name, look in CHECKS.items():
        try:
            async with asyncio.timeout(PATIENCE_S):
                findings += [Finding(check=name, **each) for each in await look(patient)]
        except (ModelPerfError, TimeoutError) as error:
            if name == "server":  # nothing else would get an answer, each after a wait of its own
                return [_no_answer(error), *(_not_asked(other) for other in CHECKS if other != name)]
            findings.append(_unknown(name, error))
    return findings


def _no_answer(error: Exception) -> Finding:
    told = f"no answer: {error}" if str(error) else f"no answer within {PATIENCE_S:g} s"
    return Finding(check="server", status="problem", message=told, mend="look at server and network")


def _unknown(name: str, error: Exception) -> Finding:
    if isinstance(error, ModelPerfError):
        return Finding(check=name, status="unknown", message=f"could not be looked at: {error}")
    return Finding(
        check=name,
        status="unknown",
        message=f"no answer within {PATIENCE_S:g} s",
        mend="SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    )


def _not_asked(name: str) -> Finding:
    return Finding(check=name, status="unknown", message="not looked at, since the server gives no answer")


Said = dict[str, Any]


def _say(status: FindingStatus, message: str, mend: str | None = None) -> list[Said]:
    return [{"status": status, "message": message, "mend": mend}]


async def _server(patient: Patient) -> list[Said]:
    server = await patient.repo.fetch_server()
    return [
        *_version(server["version_num"] // 10_000, server["version"]),
        *_clock(server),
        *_durability(server),
        *_pooler(server),
        *_connections(server),
    ]


def _version(major: int, version: str) -> list[Said]:
    oldest, newest = TESTED_SERVERS
    if major < oldest:
        return _say("problem", f"PostgreSQL {version} is too old", f"upgrade the server to {oldest} or later")
    if major > newest:
        return _say("unknown", f"PostgreSQL {version} is newer than what was tested ({oldest} to {newest})")
    return _say("ok", f"PostgreSQL {version}")


def _clock(server: Said) -> list[Said]:
    """By the middle of the question's way, as NTP does: what the way itself took is not known better than that."""
    way = (server["received_at"] - server["sent_at"]).total_seconds()
    skew = (server["now"] - server["sent_at"]).total_seconds() - way / 2.0
    told = f"the server's clock is {skew:+.3f} s from this process's (known to {abs(way) / 2.0:.3f} s)"
    mend = "let both keep time (NTP); leases, cooldowns and `before` are measured with this process's clock"
    if abs(skew) - abs(way) / 2.0 > SKEW_PROBLEM_S:
        return _say("problem", told, mend)
    if abs(way) > SKEW_WARNING_S:
        return _say("unknown", told, "look again when the server answers faster")
    return _say("warning", told, mend) if abs(skew) > SKEW_WARNING_S else _say("ok", told)


def _durability(server: Said) -> list[Said]:
    if server["is_standby"]:
        return _say("problem", "the server is a standby, which takes no writes", "connect to the primary")
    if server["is_read_only"]:
        mend = "look who has set default_transaction_read_only, of role, database or server; a full disk may be why"
        return _say("problem", "transactions are read-only: nothing can be written", mend)
    off = [name for name in ("fsync", "synchronous_commit") if server[name] == "off"]
    if off:
        told = f"{' and '.join(off)} is off: a crash may lose what was acknowledged"
        return _say("warning", told, "set it on for this role or database, unless that is meant")
    return _say("ok", "what is acknowledged outlives a crash (fsync and synchronous_commit are on)")


def _pooler(server: Said) -> list[Said]:
    handshake, backend = server["handshake_pid"], server["backend_pid"]
    if handshake is None:
        return _say("unknown", "whether there is a pooler between: this driver does not say")
    if handshake == backend:
        return _say("ok", "connected to the server itself, or to a pooler that keeps one backend for each client")
    if server["has_named_statements"]:
        return _say(
            "warning",
            "there is a pooler between, and the pool keeps prepared statements by name",
            "make the pool with statement_cache_size=0, unless the pooler tracks them (max_prepared_statements > 0)",
        )
    return _say("ok", "there is a pooler between, and no statement is kept by name")


def _connections(server: Said) -> list[Said]:
    n, most = server["n_connections"], server["max_connections"]
    if n is None or n > 0.9 * most:
        return _say("warning", f"{n} of {most} connections of the server are taken", "make pools smaller, or pool them")
    return _say("ok", f"{n} of {most} connections of the server are taken")


async def _schema(patient: Patient) -> list[Said]:
    schema = patient.executor.schema
    try:
        status = await patient.executor.run_unchecked(lambda connection: read_status(connection, schema))
    except SchemaError as error:
        return _say("problem", str(error))
    if status.problem is not None:
        return _say("problem", status.problem, "`model-perf status` says which migrations there are")
    told = f"schema {schema!r} has migrations {', '.join(map(str, status.applied))}"
    if status.newer:
        return _say("warning", f"{told}; {', '.join(map(str, status.newer))} newer than this library", "upgrade it")
    return _say("ok", told)


async def _rights(patient: Patient) -> list[Said]:
    tables = {row["name"]: row for row in await patient.repo.ask("list_rights")}
    ours = {name: row for name, row in tables.items() if name not in ("schema_migrations", "model_alert_events")}
    unread = [name for name, row in tables.items() if not row["may_select"]]
    unwritten = [name for name, row in ours.items() if not (row["may_insert"] and row["may_update"])]
    prunes = all(row["may_delete"] for row in ours.values())
    forges = [name for name, row in tables.items() if row["may_forge"]]
    return [*_access(unread, unwritten, len(ours), prunes), *_log(tables.get("model_alert_events"), forges)]


def _access(unread: Sequence[str], unwritten: Sequence[str], n: int, prunes: bool) -> list[Said]:
    deletes = "it may prune and forget" if prunes else "it may not prune or forget"
    if unread:
        return _say("problem", f"this role may not read {', '.join(unread)}", _SCRIPT)
    if len(unwritten) == n:
        return _say("warning", f"this role reads and does not write; {deletes}", f"meant for boards; else {_SCRIPT}")
    if unwritten:
        return _say("problem", f"this role may not write {', '.join(unwritten)}; {deletes}", _SCRIPT)
    return _say("ok", f"this role reads and writes all tables; {deletes}")


def _log(log: Said | None, forges: Sequence[str]) -> list[Said]:
    if log is None:
        return _say("unknown", "there is no log of alerts", "`model-perf migrate` makes it")
    if log["is_owner"]:
        return _say(
            "warning",
            "this role owns the log of alerts, and could write anything into it",
            f"let the application log in as a writer: {_SCRIPT}",
        )
    if log["may_insert"] or log["may_update"]:
        return _say(
            "warning",
            "this role may write the log of alerts, which a trigger writes",
            "REVOKE INSERT, UPDATE on model_alert_events from it",
        )
    if forges:
        told = f"this role could forge the log of alerts, by triggers of its own or the log's ({', '.join(forges)})"
        return _say("warning", told, f"{_SCRIPT}, and takes these away")
    return _say("ok", "nobody but the trigger writes the log of alerts for this role")


async def _outbox(patient: Patient) -> list[Said]:
    [row] = await patient.repo.ask("count_notifications", patient.now)
    said = []
    if row["n_dead"]:
        mend = "error_message of these rows in model_notifications says why; prune() takes them out"
        said += _say("warning", f"{row['n_dead']} notifications were given up", mend)
    told = f"{row['n_pending']} notifications wait, {row['n_due']} of them are due"
    late = timedelta(0) if row["oldest_at"] is None else patient.now - row["oldest_at"]
    if not row["n_due"] or late <= LATE_WARNING:
        return said + _say("ok", told)
    status: FindingStatus = "problem" if late > LATE_PROBLEM and row["is_anything_delivered"] else "warning"
    mend = "let something call run_checks(), as `model-perf run-checks` from cron; of no matter if nobody is to be told"
    return said + _say(status, f"{told}, the oldest for {_length(late)}", mend)


async def _runs(patient: Patient) -> list[Said]:
    [row] = await patient.repo.ask("count_runs", patient.now)
    told = f"{row['n_pending']} training runs wait, {row['n_running']} are under way"
    seen = row["worker_seen_at"]
    is_alive = seen is not None and (patient.now - seen).total_seconds() <= WORKER_SEEN_S
    said = _queue(row, patient.now, told, is_alive)
    if row["n_expired"]:
        mend = "a worker that claims takes them up; if none is alive, start one"
        said += _say("warning", f"{row['n_expired']} running training runs have lost their lease", mend)
    return said


def _queue(row: Said, now: datetime, told: str, is_alive: bool) -> list[Said]:
    late = timedelta(0) if row["oldest_due_at"] is None else now - row["oldest_due_at"]
    if late <= LATE_WARNING:
        return _say("ok", told)
    told += f", the oldest is due for {_length(late)}"
    if is_alive:
        return _say("warning", f"{told}, and a worker is alive", "does it train that model_type? has it room?")
    seen = row["worker_seen_at"]
    since = "no worker was ever seen" if seen is None else f"no worker was seen since {seen.isoformat()}"
    return _say(
        "problem" if late > LATE_PROBLEM else "warning", f"{told}; {since}", "start a worker, or cancel the run"
    )


async def _tests(patient: Patient) -> list[Said]:
    [row] = await patient.repo.ask("count_tests", patient.now)
    end = row["oldest_end"]
    if end is not None and patient.now - end > timedelta(days=1):
        told = f"{row['n_running']} A/B tests run, the oldest is past its end since {end.isoformat()}"
        return _say("warning", told, "look at it with ab_test_results(), or call conclude_due_ab_tests() daily")
    return _say("ok", f"{row['n_running']} A/B tests run")


async def _deployments(patient: Patient) -> list[Said]:
    [row] = await patient.repo.ask("count_deployments", patient.now - timedelta(days=1))
    if not row["n"]:
        return _say("unknown", "no deployment is known yet: nothing is monitored")
    told = f"{row['n']} deployments"
    if row["n_silent"]:
        mend = "record their evaluations, or forget_model() those that were given up"
        return _say("warning", f"{told}, {row['n_silent']} of them without any evaluation for a day or more", mend)
    if row["newest_at"] is None:
        return _say("unknown", f"{told}, none of them evaluated yet")
    return _say("ok", f"{told}, evaluations of {row['oldest_at'].isoformat()} to {row['newest_at'].isoformat()}")


async def _tables(patient: Patient) -> list[Said]:
    tables = await patient.repo.ask("list_tables")
    said = []
    for table in tables:
        n, dead = table["n_live"] or 0, table["n_dead"] or 0
        if dead > MANY_ROWS and dead > MUCH_DEAD * n:
            told = f"{table['name']}: {dead} dead rows beside {n} live ones"
            said += _say("warning", told, f"VACUUM it, and look whether autovacuum is on; last {table['vacuumed_at']}")
        if max(n, table["n_rows"] or 0) > MANY_ROWS and table["analyzed_at"] is None:
            told = f"{table['name']}: the planner has no statistics of it"
            said += _say("warning", told, f"ANALYZE {patient.executor.schema}.{table['name']}")
    largest = max(tables, key=lambda table: table["n_bytes"])
    size = sum(table["n_bytes"] for table in tables) / 2**20
    return said or _say("ok", f"{size:.1f} MiB in {len(tables)} tables, the largest is {largest['name']}")


async def _objects(patient: Patient) -> list[Said]:
    objects = {(each["kind"], each["name"]): each["is_broken"] for each in await patient.repo.ask("list_objects")}
    missing = [f"{kind} {name}" for kind, name in _made() if (kind, name) not in objects]
    broken = [f"{kind} {name}" for (kind, name), is_broken in objects.items() if is_broken]
    said = []
    if missing:
        mend = "`model-perf migrate --sql` prints how each was made"
        said += _say("problem", f"not there: {', '.join(missing)}", mend)
    if broken:
        mend = "ALTER TABLE ... ENABLE TRIGGER, REINDEX INDEX"
        said += _say("problem", f"switched off or never finished: {', '.join(broken)}", mend)
    return said or _say("ok", "every table, view, trigger and index is there, on and whole")


def _made() -> list[tuple[str, str]]:
    """Kind and name of what the migrations have made; none of them takes anything away."""
    return [(kind.lower(), name) for each in load_migrations() for kind, name in _CREATED.findall(each.text)]


def _length(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


CHECKS: dict[str, Callable[[Patient], Awaitable[list[Said]]]] = {
    "server": _server,
    "schema": _schema,
    "rights": _rights,
    "objects": _objects,
    "outbox": _outbox,
    "training": _runs,
    "tests": _tests,
    "deployments": _deployments,
    "tables": _tables,
}
