"""Has something changed? Pure functions: values in, a verdict or a statistic with its grounds out."""

import importlib
import typing

from model_perf.drift._cusum import cusum_limit, cusum_run_length
from model_perf.drift._ewma import EwmaChart, ewma
from model_perf.drift._performance import judge_performance, replay
from model_perf.drift._report import BaselineWindow, DriftReport, MetricCheck
from model_perf.drift._state import EMPTY, PerformanceState, restart_chart

if typing.TYPE_CHECKING:
    from model_perf.drift._adwin import Adwin
    from model_perf.drift._alarm import DriftAlarm, advance_alarm
    from model_perf.drift._anderson_darling import AndersonDarling, anderson_darling
    from model_perf.drift._benjamini_hochberg import benjamini_hochberg
    from model_perf.drift._bins import QuantileBinCounts, quantile_bin_counts
    from model_perf.drift._categorical_profile import CategoricalProfile
    from model_perf.drift._chi_squared import ChiSquared, chi_squared, g_test
    from model_perf.drift._column_stability import ColumnStability, column_stability
    from model_perf.drift._cramer_von_mises import CramerVonMises, cramer_von_mises
    from model_perf.drift._cusum_detector import CusumDetector
    from model_perf.drift._data_drift import check_data_drift
    from model_perf.drift._data_report import ColumnCheck, ColumnDrift, DataDriftReport
    from model_perf.drift._detectors import detector_from_dict
    from model_perf.drift._ewma_detector import EwmaDetector
    from model_perf.drift._ewma_run_length import ewma_run_length, ewma_width
    from model_perf.drift._hellinger import hellinger_distance
    from model_perf.drift._jensen_shannon import jensen_shannon_distance, jensen_shannon_divergence
    from model_perf.drift._kolmogorov_smirnov import KolmogorovSmirnov, kolmogorov_smirnov
    from model_perf.drift._numeric_profile import NumericProfile
    from model_perf.drift._page_hinkley import PageHinkley
    from model_perf.drift._population_stability_index import (
        PopulationStabilityIndex,
        population_stability_index,
        population_stability_index_of_counts,
    )
    from model_perf.drift._profile import DatasetProfile, profile
    from model_perf.drift._rao_scott import RaoScott, rao_scott
    from model_perf.drift._shares import ShareTest, fisher_exact, predictive_share
    from model_perf.drift._stream import Detector
    from model_perf.drift._total_variation import total_variation_distance
    from model_perf.drift._wasserstein import Wasserstein, wasserstein

__all__ = [
    "EMPTY",
    "Adwin",
    "AndersonDarling",
    "BaselineWindow",
    "CategoricalProfile",
    "ChiSquared",
    "ColumnCheck",
    "ColumnDrift",
    "ColumnStability",
    "CramerVonMises",
    "CusumDetector",
    "DataDriftReport",
    "DatasetProfile",
    "Detector",
    "DriftAlarm",
    "DriftReport",
    "EwmaChart",
    "EwmaDetector",
    "KolmogorovSmirnov",
    "MetricCheck",
    "NumericProfile",
    "PageHinkley",
    "PerformanceState",
    "PopulationStabilityIndex",
    "QuantileBinCounts",
    "RaoScott",
    "ShareTest",
    "Wasserstein",
    "advance_alarm",
    "anderson_darling",
    "benjamini_hochberg",
    "check_data_drift",
    "chi_squared",
    "column_stability",
    "cramer_von_mises",
    "cusum_limit",
    "cusum_run_length",
    "detector_from_dict",
    "ewma",
    "ewma_run_length",
    "ewma_width",
    "fisher_exact",
    "g_test",
    "hellinger_distance",
    "jensen_shannon_distance",
    "jensen_shannon_divergence",
    "judge_performance",
    "kolmogorov_smirnov",
    "population_stability_index",
    "population_stability_index_of_counts",
    "predictive_share",
    "profile",
    "quantile_bin_counts",
    "rao_scott",
    "replay",
    "restart_chart",
    "total_variation_distance",
    "wasserstein",
]

_MODULE_OF = {
    "Adwin": "_adwin",
    "AndersonDarling": "_anderson_darling",
    "CategoricalProfile": "_categorical_profile",
    "ChiSquared": "_chi_squared",
    "ColumnCheck": "_data_report",
    "ColumnDrift": "_data_report",
    "ColumnStability": "_column_stability",
    "CramerVonMises": "_cramer_von_mises",
    "DataDriftReport": "_data_report",
    "DatasetProfile": "_profile",
    "Detector": "_stream",
    "DriftAlarm": "_alarm",
    "CusumDetector": "_cusum_detector",
    "EwmaDetector": "_ewma_detector",
    "KolmogorovSmirnov": "_kolmogorov_smirnov",
    "NumericProfile": "_numeric_profile",
    "PageHinkley": "_page_hinkley",
    "PopulationStabilityIndex": "_population_stability_index",
    "QuantileBinCounts": "_bins",
    "RaoScott": "_rao_scott",
    "ShareTest": "_shares",
    "Wasserstein": "_wasserstein",
    "advance_alarm": "_alarm",
    "anderson_darling": "_anderson_darling",
    "benjamini_hochberg": "_benjamini_hochberg",
    "check_data_drift": "_data_drift",
    "chi_squared": "_chi_squared",
    "column_stability": "_column_stability",
    "cramer_von_mises": "_cramer_von_mises",
    "detector_from_dict": "_detectors",
    "ewma_run_length": "_ewma_run_length",
    "ewma_width": "_ewma_run_length",
    "fisher_exact": "_shares",
    "g_test": "_chi_squared",
    "hellinger_distance": "_hellinger",
    "jensen_shannon_distance": "_jensen_shannon",
    "jensen_shannon_divergence": "_jensen_shannon",
    "kolmogorov_smirnov": "_kolmogorov_smirnov",
    "population_stability_index": "_population_stability_index",
    "population_stability_index_of_counts": "_population_stability_index",
    "predictive_share": "_shares",
    "profile": "_profile",
    "quantile_bin_counts": "_bins",
    "rao_scott": "_rao_scott",
    "total_variation_distance": "_total_variation",
    "wasserstein": "_wasserstein",
}


def __getattr__(name: str) -> object:
    # Loaded at first use: `import model_perf` judges performance only, and would take longer for all of them.
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"model_perf.drift.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
