"""The demo's frame: its server, its progress on the screen, its summary."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from model_perf import DriftReport, ModelPerformanceTracker
from model_perf._opening import Opening
from model_perf.demo._data import load
from model_perf.demo._story import Clock, Findings, Say, tell

SCHEMA = "model_perf_demo"
Serve = Callable[[ModelPerformanceTracker], Awaitable[None]]


def run(
    *,
    dsn: str | None = None,
    keep: str | None = None,
    as_json: bool = False,
    port: int | None = None,
    write: bool = False,
) -> int:
    """Tell the story and print what came out; 0 if a degradation was found.

    Parameters
    ----------
    dsn : str, optional
        Where to store it, in the schema model_perf_demo; None = an embedded server.
    keep : str, optional
        Absolute directory for the embedded server's data; None = deleted at the end.
    as_json : bool
        Print one JSON object instead of the story.
    port : int, optional
        Then serve the dashboard there, on 127.0.0.1, until SIGINT or SIGTERM; the time stays that of the story's end.
    write : bool
        What is served may change something.
    """
    return asyncio.run(_run(dsn, keep, as_json, port, write))


async def _run(dsn: str | None, keep: str | None, as_json: bool, port: int | None, write: bool) -> int:
    async with AsyncExitStack() as stack:
        serve = None if port is None else _prepare(stack, port, write, as_json)
        return await _tell(dsn, keep, as_json, serve)


def _prepare(stack: AsyncExitStack, port: int, write: bool, as_json: bool) -> Serve:
    """What is missing, and a port that is taken, are told before the story."""
    from model_perf._serve_process import listen, serve

    listener = stack.enter_context(listen("127.0.0.1", port, None))
    file = sys.stderr if as_json else sys.stdout
    return lambda tracker: serve(tracker, listener, write=write, say=lambda line: print(line, file=file, flush=True))


async def _tell(dsn: str | None, keep: str | None, as_json: bool, serve: Serve | None) -> int:
    started = time.monotonic()
    say: Say = (lambda _: None) if as_json else (lambda line: print(line, flush=True))
    clock = Clock()
    say("Starting PostgreSQL ..." if dsn is None else f"Using schema {SCHEMA} of the given database ...")
    async with _open(dsn, keep, clock) as tracker:
        await tracker.migrate()
        findings = await tell(tracker, clock, load(), say)
        stored = await _count_rows(tracker)
        seconds = time.monotonic() - started
        if as_json:
            print(json.dumps(_facts(findings, stored, seconds), indent=2), flush=True)
        else:
            print(f"{_summary(findings, stored, seconds)}\n{_where_to_look(dsn, keep)}", flush=True)
        if serve is not None:
            clock.now += timedelta(minutes=1)  # periods end before now, and would leave out the last evaluation
            await serve(tracker)
    return 0 if findings.alert is not None else 1


def _open(dsn: str | None, keep: str | None, clock: Clock) -> Opening[ModelPerformanceTracker]:
    if dsn is not None:
        return ModelPerformanceTracker.connect(dsn, schema=SCHEMA, clock=clock, max_size=2, statement_cache_size=0)
    return ModelPerformanceTracker.embedded(keep, schema=SCHEMA, clock=clock)


async def _count_rows(tracker: ModelPerformanceTracker) -> dict[str, int]:
    tables = ("model_performance_metrics", "model_alerts", "model_training_history", "model_ab_tests")
    async with tracker.pool.acquire() as connection:
        return {t: await connection.fetchval(f'SELECT count(*) FROM "{tracker.schema}".{t}') for t in tables}


def _facts(findings: Findings, stored: dict[str, int], seconds: float) -> dict[str, Any]:
    facts: dict[str, Any] = {"degradation_found": findings.alert is not None, "rows": stored, "seconds": seconds}
    found, run, result = findings.found_at, findings.run, findings.comparison
    if findings.alert is not None and found is not None:
        facts |= {
            "found_on": found.evaluation.evaluation_start.isoformat(),
            "degraded_since": None if found.drift.since is None else found.drift.since.isoformat(),
            "drift_score": found.drift.drift_score,
            "alert": findings.alert.alert_message,
        }
    if run is not None:
        facts |= {"training_run": str(run.id), "performance_improvement": run.performance_improvement}
    if findings.promotion is not None:
        facts |= {"champion": findings.promotion.champion.ref.model_version}
    if result is not None:
        facts |= {
            "winner": result.winner,
            "decision": result.decision,
            "rmse": {"model_a": result.model_a_metrics["rmse"], "model_b": result.model_b_metrics["rmse"]},
            "effect": result.effect,
            "pvalue": result.pvalue,
            "n_windows": result.n_windows,
        }
    if findings.resolved is not None:
        facts |= {
            "alert_occurrences": findings.resolved.occurrences,
            "alert_resolution": findings.resolved.resolution,
        }
    return facts


def _summary(findings: Findings, stored: dict[str, int], seconds: float) -> str:
    lines = ["", "SUMMARY", f"  {sum(stored.values())} rows in four tables, {seconds:.1f} s"]
    found, run, result, trend = findings.found_at, findings.run, findings.comparison, findings.trend
    if found is None:
        lines.append("  No degradation was found.")
    elif found.drift.since is not None:
        when = f"{found.evaluation.evaluation_end:%Y-%m-%d}, degraded since {found.drift.since:%Y-%m-%d}"
        lines.append(f"  found      {when}; {_deciding(found.drift)}")
    if trend is not None:
        lines.append(f"  trend      {trend.direction} from 1 April to the alarm ({trend.current.reason})")
    if run is not None and run.performance_improvement is not None:
        lines.append(f"  retrained  {run.performance_improvement:+.0%} rmse on a week that neither version had seen")
    if result is not None:
        a, b = result.model_a_metrics["rmse"], result.model_b_metrics["rmse"]
        lines.append(f"  compared   {result.decision}: rmse {a:.3f} -> {b:.3f} GW over {result.n_windows} common days")
    if findings.promotion is not None:
        lines.append(f"  promoted   model {findings.promotion.champion.ref.model_version} serves, on record")
    return "\n".join(lines)


def _deciding(report: DriftReport) -> str:
    check = report.worst
    if check is None or check.degradation is None or check.baseline_value is None:
        return report.recommendation
    return f"{check.metric} {check.baseline_value:.3f} -> {check.current_value:.3f} ({check.degradation:+.0%})"


def _where_to_look(dsn: str | None, keep: str | None) -> str:
    queries = f"""
LOOK FURTHER
  SELECT evaluation_start, model_version, rmse, verdict, drift_score
    FROM {SCHEMA}.model_performance_metrics ORDER BY evaluation_date, model_version;
  SELECT alert_message, occurrences, resolution, resolution_notes FROM {SCHEMA}.model_alerts;
  SELECT training_status, reason, performance_improvement FROM {SCHEMA}.model_training_history;
  SELECT test_name, winner_model, decision_reason FROM {SCHEMA}.model_ab_tests;
  SELECT number, action, model_version, reason FROM {SCHEMA}.model_champions;"""
    if dsn is None and keep is None:
        return (
            queries + "\n  The data are gone with the server; run it with --keep /var/tmp/model_perf_demo to keep them."
        )
    return queries
