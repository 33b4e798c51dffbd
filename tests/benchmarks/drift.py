"""Yardsticks 6 and 6b: a million values against a stored reference, and how often unchanged windows are flagged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from scipy.stats import ks_2samp
from tests.benchmarks._lines import Line, Target
from tests.benchmarks._setting import Setting
from tests.benchmarks._timing import Action, Work, interleave

from model_perf.drift import check_data_drift, population_stability_index, profile

SIZES = [(5000, 50), (500, 100), (5000, 200), (1000, 1000), (50_000, 2000)]


async def measure(setting: Setting) -> list[Line]:
    _say_false_alarms(setting)
    return [await _one_column(setting), await _five_columns(setting), await _wide(setting)]


def _action(work: Callable[[], object]) -> Action:
    async def run() -> None:
        await asyncio.sleep(0)
        work()

    return run


async def _one_column(setting: Setting) -> Line:
    rng = np.random.default_rng(1)
    stored, values = rng.normal(size=100_000), rng.normal(size=1_000_000)
    reference = profile({"x": stored})
    works = {
        "ours": Work(run=_action(lambda: check_data_drift(reference, {"x": values}))),
        "limit": Work(run=_action(lambda: np.sort(values))),
        "rival": Work(run=_action(lambda: ks_2samp(stored, values)), every=3),
    }
    samples = await interleave(5 if setting.quick else 15, works)
    return Line(
        work="drift of 1,000,000 values (rival: scipy's KS)", samples=samples, target=Target(sense="<=", value=3)
    )


async def _five_columns(setting: Setting) -> Line:
    """Nine comparisons of each column are what a PSI needs; ours answers all checks."""
    rng = np.random.default_rng(2)
    data = {f"x{i}": rng.normal(size=1_000_000) for i in range(5)}
    reference = profile({name: values[:100_000] for name, values in data.items()})
    edges = np.quantile(data["x0"], np.arange(1, 10) / 10)

    def compare() -> None:
        for values in data.values():
            for edge in edges:
                np.count_nonzero(values <= edge)

    works = {
        "ours": Work(run=_action(lambda: check_data_drift(reference, data))),
        "limit": Work(run=_action(compare)),
    }
    samples = await interleave(5 if setting.quick else 15, works)
    return Line(work="drift of 5 x 1,000,000 values", samples=samples, target=Target(sense="<=", value=1))


async def _wide(setting: Setting) -> Line:
    rng = np.random.default_rng(3)
    data = {f"x{i}": rng.normal(size=10_000) for i in range(100 if setting.quick else 1000)}
    reference = profile(data)
    works = {
        "ours": Work(run=_action(lambda: check_data_drift(reference, data))),
        "limit": Work(run=_action(lambda: [np.sort(values) for values in data.values()])),
    }
    samples = await interleave(5, works)
    return Line(work=f"drift of {len(data):,} x 10,000 values", samples=samples, target=Target(sense="<=", value=5))


def _say_false_alarms(setting: Setting) -> None:
    """Of unchanged windows of one column, those flagged: by us, by PSI > .1, by never and by always firing."""
    runs = 100 if setting.quick else 1000
    setting.say("unchanged windows flagged: reference, window | ours | PSI > .1 | never | always")
    for n, m in SIZES:
        rng = np.random.default_rng([n, m])
        ours = psi = 0
        for _ in range(runs if n < 50_000 else runs // 10):
            reference, window = rng.normal(size=n), rng.normal(size=m)
            ours += check_data_drift(profile({"x": reference}), {"x": window}).drift_detected is True
            psi += population_stability_index(reference, window).statistic > 0.1
        done = runs if n < 50_000 else runs // 10
        setting.say(f"{n}, {m} | {ours} | {psi} | 0 | {done} of {done}")
