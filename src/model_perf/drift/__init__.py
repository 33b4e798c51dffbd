"""Has something changed? Pure functions: values in, a verdict with its grounds out."""

from model_perf.drift._cusum import cusum_limit, cusum_run_length
from model_perf.drift._ewma import EwmaChart, ewma
from model_perf.drift._performance import judge_performance, replay
from model_perf.drift._report import BaselineWindow, DriftReport, MetricCheck
from model_perf.drift._state import EMPTY, PerformanceState, restart_chart

__all__ = [
    "EMPTY",
    "BaselineWindow",
    "DriftReport",
    "EwmaChart",
    "MetricCheck",
    "PerformanceState",
    "cusum_limit",
    "cusum_run_length",
    "ewma",
    "judge_performance",
    "replay",
    "restart_chart",
]
