"""A process that is a worker and nothing else: the host's trainers are loaded, signals end it in good order."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import logging
import signal
import sys
from contextlib import suppress

from model_perf import ModelPerformanceTracker, Worker
from model_perf._loading import load

STUCK_EVERY_S = 1.0
"""How often it is looked whether any slot is left."""


async def run(tracker: ModelPerformanceTracker, args: argparse.Namespace) -> int:
    """Work until a signal, or with ``--once`` until nothing is due; 1 if trainers that hang have taken every slot.

    Raises
    ------
    StorageError
        With ``--once`` the database has not answered for too long.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    await _register(tracker, args.trainers)
    worker = tracker.worker(
        concurrency=args.concurrency,
        lease_s=args.lease,
        poll_s=args.poll,
        timeout_s=args.timeout,
        grace_s=args.grace,
        name=args.name,
    )
    _stop_at_signals(worker)
    async with worker:
        ending = asyncio.ensure_future(worker.drain() if args.once else worker.wait_stopped())
        while not ending.done() and worker.n_stuck < args.concurrency:
            await asyncio.wait({ending}, timeout=STUCK_EVERY_S)
        has_slots = worker.n_stuck < args.concurrency
        if ending.done():
            ending.result()  # raises where the database was away for too long
        ending.cancel()
    if not has_slots:
        print("model-perf: every slot is held by a trainer that hangs; start the worker again", file=sys.stderr)
    return 0 if has_slots else 1


async def _register(tracker: ModelPerformanceTracker, path: str) -> None:
    answer = load(path, "trainers")(tracker)
    if inspect.isawaitable(answer):
        await answer


def _stop_at_signals(worker: Worker) -> None:
    """The first one ends it in good order, the second as signals do by themselves."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        worker.stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows, where Ctrl-C ends asyncio.run by itself
            loop.add_signal_handler(number, stop)
