"""Yardsticks 6, 6b and 7: the speed of checks, glances and profiles. Rivals are timed where they are installed."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.stats import ks_2samp
from tests.benchmarks._lines import Line, Target
from tests.benchmarks._setting import Setting
from tests.benchmarks._timing import Action, Work, interleave

from model_perf.drift import check_data_drift, column_stability, profile

MILLION = 1_000_000


async def measure(setting: Setting) -> list[Line]:
    _say_memory(setting)
    lines = [await _one_column(setting), await _glance(setting), await _wide(setting), await _profile(setting)]
    evidently = await _evidently(setting)
    return lines if evidently is None else [*lines, evidently]


def action(work: Callable[[], object]) -> Action:
    async def run() -> None:
        await asyncio.sleep(0)
        work()

    return run


async def _one_column(setting: Setting) -> Line:
    rng = np.random.default_rng(1)
    stored, values = rng.normal(size=100_000), rng.normal(size=MILLION)
    reference = profile({"x": stored})
    works = {
        "ours": Work(run=action(lambda: check_data_drift(reference, {"x": values}))),
        "limit": Work(run=action(lambda: np.sort(values))),
        "rival": Work(run=action(lambda: ks_2samp(stored, values)), every=3),
    }
    samples = await interleave(5 if setting.quick else 15, works)
    return Line(
        work="check of 1,000,000 values (rival: scipy's KS)", samples=samples, target=Target(sense="<=", value=3)
    )


async def _glance(setting: Setting) -> Line:
    """PSI and missing share; nine comparisons of each column are what a PSI needs."""
    rng = np.random.default_rng(2)
    data = {f"x{i}": rng.normal(size=MILLION) for i in range(5)}
    reference = profile({name: values[:100_000] for name, values in data.items()})
    edges = np.quantile(data["x0"], np.arange(1, 10) / 10)

    def compare() -> None:
        for values in data.values():
            for edge in edges:
                np.count_nonzero(values <= edge)

    works = {
        "ours": Work(run=action(lambda: column_stability(reference, data))),
        "limit": Work(run=action(compare)),
    }
    rival = _scouter(data)
    if rival is not None:
        works["rival"] = Work(run=action(rival))
    samples = await interleave(5 if setting.quick else 15, works)
    against = "limit" if rival is None else "rival"
    target = Target(sense="<=", value=1, against=against)
    return Line(work="PSI and missing share, 5 x 1,000,000 (rival: scouter)", samples=samples, target=target)


def _scouter(data: Mapping[str, Any]) -> Callable[[], object] | None:
    try:
        import polars as pl
        from scouter import PsiDriftConfig
        from scouter.drift import Drifter
    except ImportError:
        return None
    frame, drifter = pl.DataFrame(data), Drifter()
    stored = drifter.create_drift_profile(frame.head(100_000), config=PsiDriftConfig())
    return lambda: drifter.compute_drift(frame, stored)


async def _wide(setting: Setting) -> Line:
    rng = np.random.default_rng(3)
    data = {f"x{i}": rng.normal(size=10_000) for i in range(100 if setting.quick else 1000)}
    reference = profile(data)
    works = {
        "ours": Work(run=action(lambda: check_data_drift(reference, data))),
        "limit": Work(run=action(lambda: [np.sort(values) for values in data.values()])),
    }
    samples = await interleave(5, works)
    return Line(work=f"check of {len(data):,} x 10,000 values", samples=samples, target=Target(sense="<=", value=5))


async def _profile(setting: Setting) -> Line:
    """A million rows of twenty columns, one of the chunks that larger data come in, against sorting them."""
    rng = np.random.default_rng(4)
    columns = 4 if setting.quick else 20
    data = {f"x{i}": rng.normal(size=MILLION) for i in range(columns)}
    reference = profile({name: values[:100_000] for name, values in data.items()})
    works = {
        "ours": Work(run=action(lambda: profile(data, reference=reference))),
        "limit": Work(run=action(lambda: [np.sort(values) for values in data.values()])),
    }
    samples = await interleave(3 if setting.quick else 5, works)
    work = f"profile of a chunk, {columns} x 1,000,000"
    return Line(work=work, samples=samples, target=Target(sense="<=", value=2.5))


async def _evidently(setting: Setting) -> Line | None:
    """A column of 100,000 values each; its figure for a million is ten times as long."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pandas as pd
            from evidently import DataDefinition, Dataset, Report
            from evidently.presets import DataDriftPreset
    except ImportError:
        return None
    rng = np.random.default_rng(5)
    stored, window = (pd.DataFrame({"x": rng.normal(size=100_000)}) for _ in range(2))
    definition = DataDefinition(numerical_columns=["x"])
    reference = profile(stored)

    def report() -> None:
        sets = [Dataset.from_pandas(each, data_definition=definition) for each in (window, stored)]
        Report([DataDriftPreset()]).run(*sets)

    works = {
        "ours": Work(run=action(lambda: check_data_drift(reference, window))),
        "rival": Work(run=action(report)),
    }
    samples = await interleave(5, works)
    target = Target(sense=">=", value=100, against="rival")
    return Line(work="check of 100,000 values (rival: Evidently)", samples=samples, target=target)


def _say_memory(setting: Setting) -> None:
    """What profiling rows chunk by chunk takes of memory, beside a chunk: the same for many rows as for few."""
    setting.say("rows profiled in chunks of 1,000,000 x 20 | peak of memory, MB")
    for chunks in (1, 2) if setting.quick else (1, 10):
        answer = subprocess.run(
            [sys.executable, "-c", f"from tests.benchmarks.drift import peak\nprint(peak({chunks}))"],
            capture_output=True,
            text=True,
            check=True,
        )
        setting.say(f"{chunks * MILLION:,} | {float(answer.stdout):.0f}")


def peak(chunks: int) -> float:
    """The most memory in MB that this process ever had, after profiling so many chunks of a million rows."""
    rng = np.random.default_rng(6)
    total = reference = None
    for _ in range(chunks):
        data = {f"x{i}": rng.normal(size=MILLION) for i in range(20)}
        if reference is None:
            reference = profile(data)
        counted = profile(data, reference=reference)
        total = counted if total is None else total + counted
        del data
    assert total is not None
    assert total.n_rows == chunks * MILLION
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
