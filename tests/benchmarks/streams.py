"""Yardstick 9: the speed of detectors in batches, their false alarms and delays. river is timed where installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks._lines import Line, Target
from tests.benchmarks._setting import Setting
from tests.benchmarks._timing import Work, interleave
from tests.benchmarks.drift import action

from model_perf.drift import Adwin, CusumDetector, Detector, EwmaDetector, PageHinkley

MILLION = 1_000_000
FEW = 100_000
"""Values that a rival takes one by one; its figure is per value."""
SEEDS = (1, 2, 3)

DETECTORS: Mapping[str, Detector] = {
    "CusumDetector": CusumDetector(mean=0.1, sd=0.3, k=0.25, run_length=100_000),
    "EwmaDetector": EwmaDetector(mean=0.1, sd=0.3, weight=0.02, run_length=100_000),
    "PageHinkley": PageHinkley(mean=0.1, sd=0.3),
    "Adwin": Adwin(),
}
RIVALS = {"PageHinkley": "PageHinkley", "Adwin": "ADWIN"}


async def measure(setting: Setting) -> list[Line]:
    _say_delays(setting)
    return [await _speed(setting, name) for name in DETECTORS]


async def _speed(setting: Setting, name: str) -> Line:
    errors = (np.random.default_rng(1).random(MILLION) < 0.1).astype(np.float64)
    works = {
        "ours": Work(run=action(lambda: DETECTORS[name].update_many(errors))),
        "limit": Work(run=action(lambda: np.cumsum(errors))),
    }
    rival = _river(name, errors[:FEW])
    if rival is not None:
        works["rival"] = Work(run=action(rival))
    samples = await interleave(3 if setting.quick else 9, works)
    return Line(
        work=f"{name}, 1,000,000 values" + (f" (rival: river's {RIVALS[name]})" if rival else ""),
        samples=samples,
        units={"ours": MILLION, "limit": MILLION, "rival": FEW},
        unit="values",
        target=Target(sense=">=", value=20, against="rival") if rival else None,
    )


def _river(name: str, errors: NDArray[np.float64]) -> Callable[[], object] | None:
    try:
        from river import drift
    except ImportError:
        return None
    if name not in RIVALS:
        return None
    values = errors.tolist()

    def update() -> None:
        detector: Any = getattr(drift, RIVALS[name])()
        for value in values:
            detector.update(value)

    return update


def _say_delays(setting: Setting) -> None:
    """Errors of 10%: streams of 10,000 with a false alarm; then 30% after 1,000: values until it is found."""
    streams = 30 if setting.quick else 300
    setting.say("errors of 10%, then 30% (detector | false alarms in 10,000, by seed | mean delay, by seed)")
    for name, detector in DETECTORS.items():
        false, delays = [], []
        for seed in SEEDS:
            rng = np.random.default_rng(seed)
            quiet = [detector.update_many(rng.random(10_000) < 0.1).drift_detected for _ in range(streams)]
            found = [_delay(detector, rng) for _ in range(streams)]
            false.append(str(sum(quiet)))
            delays.append(f"{np.mean([each for each in found if each is not None]):.0f}")
        setting.say(f"{name} | {' '.join(false)} of {streams} | {' '.join(delays)}")
    setting.say(f"never fires | 0 of {streams} | infinite\nalways fires | {streams} of {streams} | 1")
    setting.say("published delays: HDDM-A 115, ADWIN 111, HDDM-W 131, Page-Hinkley 239")


def _delay(detector: Detector, rng: np.random.Generator) -> int | None:
    """Values after the change until the alarm; None where it came before, or not within 3,000."""
    found = detector.update_many(np.concatenate([rng.random(1000) < 0.1, rng.random(3000) < 0.3]))
    return None if found.detected_at is None or found.detected_at < 1000 else found.detected_at - 999
