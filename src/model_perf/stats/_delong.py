"""DeLong's test: do two scores of the same items have the same area under the ROC curve?"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from model_perf import _validation as check
from model_perf._floats import Floats, as_floats
from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._mean_difference import Alternative, as_alternative, pvalue_of, upper_quantile
from model_perf.stats._placements import placements

Placements: TypeAlias = tuple[Floats, Floats]


@frozen(kw_only=True)
class DeLong:
    """The areas of both models.

    Attributes
    ----------
    effect, standard_error : float
        Area of b minus that of a.
    confidence_interval : ConfidenceInterval
    statistic : float or None
        None where the standard error is 0: both order all pairs alike, or each separates the classes, or tells nothing
        of them, throughout. Then pvalue is 1, and the interval of the latter is all that is possible.
    pvalue : float
    auc_a, auc_b : float
    n_positive, n_negative : int
    """

    effect: float
    standard_error: float
    confidence_interval: ConfidenceInterval
    statistic: float | None
    pvalue: float
    auc_a: float
    auc_b: float
    n_positive: int
    n_negative: int


def delong(
    y_true: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> DeLong:
    """Compare two areas under the ROC curve on the same items, in O(n log n) by midranks [2].

    Parameters
    ----------
    y_true : array of bool, shape (n,)
        Two of each class at least.
    score_a, score_b : array of float, shape (n,)
        Larger = more likely positive; ties count half.

    Raises
    ------
    TooFewObservationsError
        Fewer than two items of a class.
    InvalidInputError
        Labels that are not 0 and 1, scores that are not finite numbers, different lengths.

    References
    ----------
    [1] DeLong, E. R., DeLong, D. M. & Clarke-Pearson, D. L. (1988). Comparing the areas under two or more correlated
        receiver operating characteristic curves: a nonparametric approach. Biometrics 44, 837-845.
    [2] Sun, X. & Xu, W. (2014). Fast implementation of DeLong's algorithm. IEEE Signal Processing Letters 21,
        1389-1393.

    Examples
    --------
    >>> result = delong([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [1, 2, 3, 4, 5, 6])
    >>> round(result.auc_a, 3), result.auc_b
    (0.889, 1.0)
    """
    check.as_open_fraction(alpha, "alpha")
    alternative = as_alternative(alternative)
    positive, scores = _as_scores(y_true, score_a, score_b)
    components = [placements(score[positive], score[~positive]) for score in scores]
    areas = [float(of_positive.mean()) for of_positive, _ in components]
    effect, error = areas[1] - areas[0], _standard_error(*components)
    statistic = effect / error if error > 0.0 else None
    reach = upper_quantile(alpha / 2.0 if alternative == "two-sided" else alpha, None) * error
    if statistic is None and not _orders_alike(*components):
        reach = 2.0
    return DeLong(
        effect=effect,
        standard_error=error,
        confidence_interval=ConfidenceInterval(
            low=-1.0 if alternative == "less" else max(-1.0, effect - reach),
            high=1.0 if alternative == "greater" else min(1.0, effect + reach),
        ),
        statistic=statistic,
        pvalue=1.0 if statistic is None else pvalue_of(statistic, None, alternative),
        auc_a=areas[0],
        auc_b=areas[1],
        n_positive=int(positive.sum()),
        n_negative=int((~positive).sum()),
    )


def _standard_error(a: Placements, b: Placements) -> float:
    return math.sqrt(sum(float(np.var(b[side] - a[side], ddof=1)) / a[side].size for side in (0, 1)))


def _orders_alike(a: Placements, b: Placements) -> bool:
    """Whether every item stands alike in both, and not all of a class at the same place, as where classes separate."""
    return all(np.array_equal(a[side], b[side]) for side in (0, 1)) and any(np.ptp(side) > 0.0 for side in a)


def _as_scores(y_true: ArrayLike, score_a: ArrayLike, score_b: ArrayLike) -> tuple[NDArray[np.bool_], list[Floats]]:
    labels = np.asarray(y_true)
    y = as_floats(labels.view(np.uint8) if labels.dtype == bool else labels, "y_true")
    if ((y != 0.0) & (y != 1.0)).any():
        raise InvalidInputError("y_true", "holds other values than 0 and 1; give True for the positive class")
    scores = [as_floats(score_a, "score_a"), as_floats(score_b, "score_b")]
    for argument, score in zip(("score_a", "score_b"), scores, strict=True):
        if score.size != y.size:
            raise InvalidInputError(argument, f"has {score.size} entries and y_true has {y.size}; give one per item")
    positive = y == 1.0
    for name, count in (("positive", int(positive.sum())), ("negative", int((~positive).sum()))):
        if count < 2:
            raise TooFewObservationsError("y_true", f"has {count} {name} items; two of each class are needed")
    return positive, scores
