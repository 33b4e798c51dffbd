"""Timing side by side: in every round each work has its turn, so that a busy machine hits all alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen

Action = Callable[[], Awaitable[object]]


@frozen(kw_only=True)
class Work:
    """What is timed, what comes before it untimed, and in which rounds (every one, every tenth, ...)."""

    run: Action
    prepare: Action | None = None
    every: int = 1


async def interleave(rounds: int, works: Mapping[str, Work], *, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of each work in each round; who begins changes from round to round."""
    names = list(works)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for i in range(-warm_up, rounds):
        if rounds <= 30:
            gc.collect()
        for name in names[i % len(names) :] + names[: i % len(names)]:
            work = works[name]
            if i % work.every:
                continue
            seconds = await _timed(work)
            if i >= 0:
                samples[name].append(seconds)
    return samples


async def _timed(work: Work) -> float:
    if work.prepare is not None:
        await work.prepare()
    started = time.perf_counter()
    await work.run()
    return time.perf_counter() - started
