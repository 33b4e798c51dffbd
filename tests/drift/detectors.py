"""The detectors of streams, for the tests of what they have in common, and streams that make them work."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model_perf.drift._adwin import Adwin
from model_perf.drift._cusum_detector import CusumDetector
from model_perf.drift._ewma_detector import EwmaDetector
from model_perf.drift._page_hinkley import PageHinkley
from model_perf.drift._stream import Detector

DETECTORS = [
    pytest.param(CusumDetector(mean=0.4, sd=0.25, run_length=200_000), id="cusum"),
    pytest.param(EwmaDetector(mean=0.4, sd=0.25, run_length=200_000), id="ewma"),
    pytest.param(EwmaDetector(mean=0.4, sd=0.25, weight=0.2, run_length=20_000), id="ewma_short_blocks"),
    pytest.param(PageHinkley(mean=0.4, sd=0.25, delta=0.2, threshold=30.0), id="page_hinkley"),
    pytest.param(Adwin(delta=0.002), id="adwin"),
    pytest.param(Adwin(low=0.1, high=0.8, bound="hoeffding"), id="adwin_hoeffding"),
]


def stream(n: int, *, seed: int = 1, change: float = 0.2, missing: float = 0.0) -> NDArray[np.float64]:
    """Values within [0, 1] of mean .4 and sd .25, which move by *change* after two thirds; some are missing."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(-0.433, 0.433, n) + 0.4
    values[2 * n // 3 :] += change
    values[rng.random(n) < missing] = np.nan
    return np.clip(values, 0.0, 1.0)


def one_by_one(detector: Detector, values: NDArray[np.float64], ids: NDArray[np.int64] | None = None) -> Detector:
    for i, value in enumerate(values.tolist()):
        detector = detector.update(value, None if ids is None else int(ids[i]))
    return detector
