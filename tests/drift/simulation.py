"""The rule of `judge_performance` for many series at once: what simulations of run lengths can afford.

`test_run_length.py` shows that it alarms where the judge does, so that the simulations speak of the shipped code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import define, field
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

from model_perf.drift._cusum import cusum_limit
from model_perf.policy import MonitoringPolicy

Array = NDArray[np.float64]

BASELINE = 30


def autoregressive(
    rng: np.random.Generator, n_series: int, n: int, phi: Sequence[float], correlation: float = 0.0
) -> Array:
    """Stationary AR(1) series of unit variance, shape (n, n_series, metrics), one *phi* per metric."""
    shape = (n, n_series, len(phi))
    noise: Array = np.sqrt(1 - correlation) * rng.standard_normal(shape)
    noise += np.sqrt(correlation) * rng.standard_normal((n, n_series, 1))
    coefficients = np.asarray(phi)
    for t in range(1, n):
        noise[t] = coefficients * noise[t - 1] + np.sqrt(1 - coefficients**2) * noise[t]
    return noise


@define
class Rule:
    """Daily evaluations of several metrics, one row per series."""

    policy: MonitoringPolicy
    first: Array
    baseline_n: int = 1
    mean: Array = field(init=False)
    m2: Array = field(init=False)
    learned: list[Array] = field(init=False)
    previous: Array = field(init=False)
    chart: Array = field(init=False)

    def __attrs_post_init__(self) -> None:
        zero = np.zeros_like(self.first)
        self.mean, self.previous = self.first.copy(), self.first.copy()
        self.m2, self.chart = zero.copy(), zero.copy()
        self.learned = [zero.copy() for _ in range(6)]

    def step(self, x: Array, *, n_seen: int, n_baseline: int = BASELINE) -> NDArray[np.bool_]:
        """Whether the next evaluation of each series is critical; *n_seen* came before it."""
        phi = self._phi()
        worse = x >= self.mean
        alarm: NDArray[np.bool_] = np.any(self._beyond_interval(x, phi) & worse, axis=1)
        if n_seen >= self.policy.cusum_min:
            limit = cusum_limit(2 * self.policy.false_alarm_run_length * x.shape[1], self.policy.cusum_k)
            self.chart = np.maximum(0.0, self.chart + self._deviates(x, phi) - self.policy.cusum_k)
            if n_seen >= self.policy.baseline_min:
                alarm |= ((self.chart > limit) & worse).any(axis=1)
        self._learn(x, in_baseline=n_seen < n_baseline)
        return alarm

    def keep(self, rows: NDArray[np.bool_]) -> None:
        for name in ("first", "mean", "m2", "previous", "chart"):
            setattr(self, name, getattr(self, name)[rows])
        self.learned = [each[rows] for each in self.learned]

    def _phi(self) -> Array:
        n, _, _, m2, cross, previous_m2 = self.learned
        with np.errstate(invalid="ignore", divide="ignore"):
            corrected = (n * cross / np.sqrt(m2 * previous_m2) + 1.0) / (n - 4.0)
        phi = np.where(n >= 5, np.clip(corrected, 0.0, self.policy.max_autocorrelation), 0.0)
        shared: Array = np.maximum(phi, phi.mean(axis=1, keepdims=True))
        return shared

    def _beyond_interval(self, x: Array, phi: Array) -> NDArray[np.bool_]:
        n = self.baseline_n
        if n < self.policy.baseline_min:
            return np.zeros(x.shape, dtype=bool)
        scale = np.sqrt(self.m2 / (n - 1) * (1.0 + (1.0 + phi) / (1.0 - phi) / n))
        tail = 0.5 / self.policy.false_alarm_run_length / x.shape[1]
        outside: NDArray[np.bool_] = (x - self.mean) / scale >= stdtrit(n - 1, 1.0 - tail)
        return outside

    def _deviates(self, x: Array, phi: Array) -> Array:
        n, mean, previous_mean, m2, cross, previous_m2 = self.learned
        distance = self.previous - previous_mean
        variance = (m2 - 2 * phi * cross + phi**2 * previous_m2) / (n - 2)
        t = (x - mean - phi * distance) / np.sqrt(variance * (1.0 + 1.0 / n + distance**2 / previous_m2))
        deviates: Array = -np.sign(t) * ndtri(np.maximum(stdtr(n - 2, -np.abs(t)), 1e-260))
        return deviates

    def _learn(self, x: Array, *, in_baseline: bool) -> None:
        if in_baseline or self.learned[0].flat[0] + 1 < self.policy.cusum_min:
            n, mean, previous_mean, m2, cross, previous_m2 = self.learned
            shift, previous_shift, weight = x - mean, self.previous - previous_mean, n / (n + 1)
            self.learned = [
                n + 1,
                mean + shift / (n + 1),
                previous_mean + previous_shift / (n + 1),
                m2 + weight * shift**2,
                cross + weight * shift * previous_shift,
                previous_m2 + weight * previous_shift**2,
            ]
        if in_baseline:
            self.baseline_n += 1
            distance = x - self.mean
            self.mean = self.mean + distance / self.baseline_n
            self.m2 = self.m2 + distance * (x - self.mean)
        self.previous = x


def first_alarms(series: Array, policy: MonitoringPolicy, n_baseline: int = BASELINE) -> NDArray[np.int64]:
    """Evaluations up to and with the first critical one; one more than there are where there is none."""
    alarms = np.full(series.shape[1], len(series) + 1)
    rule, alive = Rule(policy, series[0]), np.arange(series.shape[1])
    for t in range(1, len(series)):
        critical = rule.step(series[t][alive], n_seen=t, n_baseline=n_baseline)
        if critical.any():
            alarms[alive[critical]] = t + 1
            rule.keep(~critical)
            alive = alive[~critical]
            if not len(alive):
                break
    return alarms
