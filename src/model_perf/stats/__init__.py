"""Pure functions on numbers: the trend of a metric, and the comparison of two models.

Thresholds come as arguments; nothing here knows a policy, a database or a clock.
"""

from model_perf.stats._change_point import ChangePoint, change_point
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._confidence_sequence import (
    ConfidenceSequence,
    asymptotic_confidence_sequence,
    confidence_sequence,
    sequence_multipliers,
)
from model_perf.stats._evaluations import (
    EvaluationsComparison,
    EvaluationsDecision,
    EvaluationsPlan,
    compare_evaluations,
    plan_evaluations,
)
from model_perf.stats._mann_kendall import MannKendall, mann_kendall
from model_perf.stats._mean_difference import Alternative, MeanDifference
from model_perf.stats._paired_t import PairedT, paired_t
from model_perf.stats._theil_sen import TheilSen, theil_sen
from model_perf.stats._trend import MetricTrend, TrendDirection, trend

__all__ = [
    "Alternative",
    "ChangePoint",
    "ConfidenceInterval",
    "ConfidenceSequence",
    "EvaluationsComparison",
    "EvaluationsDecision",
    "EvaluationsPlan",
    "MannKendall",
    "MeanDifference",
    "MetricTrend",
    "PairedT",
    "TheilSen",
    "TrendDirection",
    "asymptotic_confidence_sequence",
    "change_point",
    "compare_evaluations",
    "confidence_sequence",
    "mann_kendall",
    "paired_t",
    "plan_evaluations",
    "sequence_multipliers",
    "theil_sen",
    "trend",
]
