"""How often unchanged data are flagged and how soon changed ones are found: counts over stated seeds, no times."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks._lines import Line
from tests.benchmarks._setting import Setting
from tests.drift.simulation import autoregressive, first_alarms

from model_perf.drift import (
    DriftAlarm,
    advance_alarm,
    check_data_drift,
    cusum_run_length,
    ewma_run_length,
    population_stability_index,
    profile,
)
from model_perf.policy import MonitoringPolicy

SIZES = [(5000, 50), (500, 100), (5000, 200), (1000, 1000), (50_000, 2000)]
START, DAY = datetime(2025, 1, 1, tzinfo=UTC), timedelta(days=1)
COLUMNS = (1, 5, 20)
CATEGORIES = (2, 20, 100)
SEEDS = (1, 2, 3)

Data = dict[str, NDArray[np.generic]]
Rival = Callable[[Data, Data], bool]
RIVAL_RUNS = 10
"""Of the windows of each seed and cell, what a rival is shown: it takes up to two seconds for each."""


async def measure(setting: Setting) -> list[Line]:
    _say_windows(setting)
    _say_power(setting)
    _say_alarms(setting)
    _say_performance(setting)
    _say_published(setting)
    return []


def _numbers(rng: np.random.Generator, n: int, columns: int, shift: float = 0.0) -> Data:
    return {f"x{i}": rng.normal(shift, 1.0, n) for i in range(columns)}


def _names(rng: np.random.Generator, n: int, categories: int) -> Data:
    shares = 1.0 / np.arange(1, categories + 1)
    return {"x": rng.choice(np.arange(categories).astype(str), n, p=shares / shares.sum())}


def _runs(setting: Setting, n: int) -> int:
    """Windows per seed and cell; of the largest references fewer."""
    runs = 10 if setting.quick else 400
    return runs if n < 50_000 else max(5, runs // 10)


def _say_windows(setting: Setting) -> None:
    """Unchanged windows with any column flagged: by us, by others where installed, by never and by always firing."""
    rival = None if setting.quick else _evidently()
    setting.say(
        "unchanged windows flagged, by seed (reference, window | columns | ours | PSI > .1 | never | always"
        f" | Evidently's preset, of the first {RIVAL_RUNS}, - where it is not installed)"
    )
    for n, m in SIZES:
        for columns in COLUMNS:
            _say_cell(setting, n, m, f"{columns} x normal", partial(_numbers, columns=columns), rival)
        for categories in CATEGORIES:
            _say_cell(setting, n, m, f"{categories} names", partial(_names, categories=categories), rival)


def _say_cell(setting: Setting, n: int, m: int, what: str, make: Callable[..., Data], rival: Rival | None) -> None:
    runs, counts = _runs(setting, n), []
    for seed in SEEDS:
        rng, flagged = np.random.default_rng([seed, n, m]), np.zeros(3, np.int64)
        for run in range(runs):
            reference, window = make(rng, n), make(rng, m)
            flagged += [
                check_data_drift(profile(reference), window).drift_detected is True,
                any(_raw_psi(reference[name], window[name]) > 0.1 for name in reference),
                rival is not None and run < RIVAL_RUNS and rival(reference, window),
            ]
        counts.append(flagged.tolist())
    ours, naive, others = (_listed(each) for each in zip(*counts, strict=True))
    setting.say(f"{n}, {m} | {what} | {ours} | {naive} | 0 | {runs} of {runs} | {others if rival else '-'}")


def _evidently() -> Rival | None:
    """Whether its preset finds any column drifted, by the test that it chooses for the sizes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pandas as pd
            from evidently import DataDefinition, Dataset, Report
            from evidently.presets import DataDriftPreset
    except ImportError:
        return None

    def as_dataset(data: Mapping[str, NDArray[np.generic]]) -> object:
        numbers = [name for name, values in data.items() if values.dtype.kind == "f"]
        names = [name for name in data if name not in numbers]
        definition = DataDefinition(numerical_columns=numbers, categorical_columns=names)
        return Dataset.from_pandas(pd.DataFrame(dict(data)), data_definition=definition)

    def flags(reference: Data, window: Data) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = Report([DataDriftPreset()]).run(as_dataset(window), as_dataset(reference)).dict()
        return bool(found["metrics"][0]["value"]["count"] > 0)

    return flags


def _raw_psi(reference: NDArray[np.generic], window: NDArray[np.generic]) -> float:
    """As it is computed everywhere: ten bins or a name each, no correction for the sizes."""
    if reference.dtype.kind == "f":
        return population_stability_index(reference, window).statistic
    names = np.union1d(reference, window)
    p, q = (np.array([1e-4 + np.count_nonzero(side == name) for name in names]) for side in (reference, window))
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((q - p) * np.log(q / p)))


def _listed(counts: Sequence[int]) -> str:
    return " ".join(map(str, counts))


def _say_power(setting: Setting) -> None:
    setting.say("windows of 5 columns, one moved by half a sd, found by seed (reference, window | found)")
    for n, m in SIZES:
        runs, found = _runs(setting, n), []
        for seed in SEEDS:
            rng, hits = np.random.default_rng([seed, n, m, 7]), 0
            for _ in range(runs):
                reference = _numbers(rng, n, 5)
                window = {**_numbers(rng, m, 5), **_numbers(rng, m, 1, 0.5)}
                hits += "x0" in check_data_drift(profile(reference), window).drifted_columns
            found.append(hits)
        setting.say(f"{n}, {m} | {_listed(found)} of {runs}")


def _say_alarms(setting: Setting) -> None:
    """The alarm over time: references of 5,000 rows, windows of 200, one column."""
    references = 5 if setting.quick else 60
    limit = MonitoringPolicy().false_alarm_run_length
    setting.say(
        "alarm over time, 5000 / 200 (shift in sd | raised within 100 windows, by seed | median and mean of windows)"
    )
    for shift in (0.0, 0.3, 0.5):
        raised, delays = [], []
        for seed in SEEDS:
            rng = np.random.default_rng([seed, int(10 * shift)])
            found = [_windows_until_alarm(rng, shift, limit) for _ in range(references)]
            raised.append(sum(each is not None for each in found))
            delays += [each for each in found if each is not None]
        middle = f"{np.median(delays):.0f}, {np.mean(delays):.1f}" if delays else "-"
        setting.say(f"{shift:g} | {_listed(raised)} of {references} | {middle}")


def _windows_until_alarm(rng: np.random.Generator, shift: float, limit: float) -> int | None:
    reference, alarm = profile(_numbers(rng, 5000, 1)), DriftAlarm()
    for number in range(1, 101):
        report = check_data_drift(reference, _numbers(rng, 200, 1, shift))
        alarm = advance_alarm(alarm, report, window_start=START + number * DAY, window_end=START + (number + 1) * DAY)
        if alarm.is_raised(limit):
            return number
    return None


def _say_performance(setting: Setting) -> None:
    """The rule of the performance's verdicts, four metrics: evaluations until a false alarm, and from a change on."""
    series = 40 if setting.quick else 400
    setting.say("evaluations until an alarm, 4 metrics (autocorrelation | shift in sd, of so many | mean by seed)")
    changes = [(0.0, 0.0, 0), (0.3, 0.0, 0), (0.6, 0.0, 0)]
    changes += [(0.0, shift, moved) for moved in (1, 4) for shift in (1.0, 2.0, 4.0)]
    for phi, shift, moved in changes:
        means = [f"{_mean_until_alarm(seed, phi, shift, moved, series):.1f}" for seed in SEEDS]
        setting.say(f"{phi:g} | {shift:g}, {moved} | {' '.join(means)}")


def _mean_until_alarm(seed: int, phi: float, shift: float, moved: int, series: int) -> float:
    """Of false alarms all evaluations watched over the alarms that came: times without memory have that mean."""
    n, change = (2000, 0) if shift == 0.0 else (400, 60)
    drawn = autoregressive(np.random.default_rng([seed, int(10 * phi)]), series, n, [phi] * 4)
    drawn[change:, :, :moved] += shift
    alarms = first_alarms(drawn, MonitoringPolicy())
    if shift:
        return float(np.mean(alarms[alarms > change] - change))
    return float(np.sum(np.minimum(alarms, n)) / max(1, np.count_nonzero(alarms <= n)))


def _say_published(setting: Setting) -> None:
    setting.say("published run lengths | ours")
    for name, published, ours in (
        ("two-sided CUSUM, k .5, h 5", 465.0, 0.5 * cusum_run_length(5.0, 0.5)),
        ("the same at 1 sd", 10.4, cusum_run_length(5.0, 0.5, 1.0)),
        ("EWMA .1, width 2.814", 500.0, ewma_run_length(2.814, 0.1)),
        ("the same at 1 sd", 10.3, ewma_run_length(2.814, 0.1, 1.0)),
    ):
        setting.say(f"{name}: {published:g} | {ours:.1f}")
