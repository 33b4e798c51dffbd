"""Pure functions on numbers: the trend of a metric, and the comparison of two models.

Thresholds come as arguments; nothing here knows a policy, a database or a clock.
"""

from model_perf.stats._ab_plan import ABTestPlan, plan_ab_test
from model_perf.stats._change_point import ChangePoint, change_point
from model_perf.stats._cluster_variance import ClusteredMean, clustered_mean, clustered_t_test
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._confidence_sequence import (
    ConfidenceSequence,
    asymptotic_confidence_sequence,
    confidence_sequence,
    sequence_multipliers,
)
from model_perf.stats._cuped import adjusted, cuped_theta
from model_perf.stats._delong import DeLong, delong
from model_perf.stats._diebold_mariano import DieboldMariano, diebold_mariano
from model_perf.stats._evaluations import (
    EvaluationsComparison,
    EvaluationsDecision,
    EvaluationsPlan,
    compare_evaluations,
    plan_evaluations,
)
from model_perf.stats._ewc import LongRunMean, equally_weighted_cosines, ewc_t_test
from model_perf.stats._mann_kendall import MannKendall, mann_kendall
from model_perf.stats._mann_whitney import MannWhitney, mann_whitney
from model_perf.stats._margins import Margin, equivalence_test, non_inferior_proportion, non_inferiority_test
from model_perf.stats._mcnemar import McNemar, mcnemar, mcnemar_of_differences
from model_perf.stats._mean_difference import Alternative, MeanDifference
from model_perf.stats._multiplicity import adjust_pvalues
from model_perf.stats._paired_t import PairedT, paired_t, paired_t_of_differences
from model_perf.stats._power import t_test_detectable_effect, t_test_power, t_test_sample_size
from model_perf.stats._proportions import proportions_z_test
from model_perf.stats._proportions_power import (
    proportions_detectable_effect,
    proportions_power,
    proportions_sample_size,
)
from model_perf.stats._sample_ratio import SampleRatio, sample_ratio_test, sequential_sample_ratio
from model_perf.stats._theil_sen import TheilSen, theil_sen
from model_perf.stats._trend import MetricTrend, TrendDirection, trend
from model_perf.stats._welch import welch_t_test
from model_perf.stats._wilcoxon import Wilcoxon, wilcoxon_signed_rank

__all__ = [
    "ABTestPlan",
    "Alternative",
    "ChangePoint",
    "ClusteredMean",
    "ConfidenceInterval",
    "ConfidenceSequence",
    "DeLong",
    "DieboldMariano",
    "EvaluationsComparison",
    "EvaluationsDecision",
    "EvaluationsPlan",
    "LongRunMean",
    "MannKendall",
    "MannWhitney",
    "Margin",
    "McNemar",
    "MeanDifference",
    "MetricTrend",
    "PairedT",
    "SampleRatio",
    "TheilSen",
    "TrendDirection",
    "Wilcoxon",
    "adjust_pvalues",
    "adjusted",
    "asymptotic_confidence_sequence",
    "change_point",
    "clustered_mean",
    "clustered_t_test",
    "compare_evaluations",
    "confidence_sequence",
    "cuped_theta",
    "delong",
    "diebold_mariano",
    "equally_weighted_cosines",
    "equivalence_test",
    "ewc_t_test",
    "mann_kendall",
    "mann_whitney",
    "mcnemar",
    "mcnemar_of_differences",
    "non_inferior_proportion",
    "non_inferiority_test",
    "paired_t",
    "paired_t_of_differences",
    "plan_ab_test",
    "plan_evaluations",
    "proportions_detectable_effect",
    "proportions_power",
    "proportions_sample_size",
    "proportions_z_test",
    "sample_ratio_test",
    "sequence_multipliers",
    "sequential_sample_ratio",
    "t_test_detectable_effect",
    "t_test_power",
    "t_test_sample_size",
    "theil_sen",
    "trend",
    "welch_t_test",
    "wilcoxon_signed_rank",
]
