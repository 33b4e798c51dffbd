"""Wilcoxon's signed-rank test: are paired differences centred at 0?"""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf._floats import Floats
from model_perf.errors import TooFewObservationsError
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._mean_difference import Alternative, as_alternative
from model_perf.stats._paired_t import as_pairs
from model_perf.stats._pairwise_sums import PairwiseSums
from model_perf.stats._rank_sums import signed_rank_quantile


@frozen(kw_only=True)
class Wilcoxon:
    """The centre of b - a, by ranks.

    Attributes
    ----------
    effect : float
        Hodges and Lehmann's estimate: the median of the averages of all two differences, each with itself too.
    confidence_interval : ConfidenceInterval
        Of the centre, by the distribution of the ranks, exact up to 50 pairs; without ends where all pairs together
        could not leave alpha outside, as below 6 pairs at 0.05.
    statistic : float
        Sum of the ranks of the positive differences.
    pvalue : float
    n : int
        Pairs.
    n_ties : int
        Pairs without a difference, which are ranked by Pratt's method.
    """

    effect: float
    confidence_interval: ConfidenceInterval
    statistic: float
    pvalue: float
    n: int
    n_ties: int


def wilcoxon_signed_rank(
    values_a: ArrayLike, values_b: ArrayLike, *, alpha: float = 0.05, alternative: Alternative = "two-sided"
) -> Wilcoxon:
    """Compare paired values by the ranks of their differences: heavy tails cost little power.

    What is tested is that the differences lie symmetrically about 0, which is not that their mean is 0 where they are
    skewed.

    Parameters
    ----------
    values_a, values_b : array of float, shape (n,)

    Raises
    ------
    TooFewObservationsError
        Below two pairs.
    InvalidInputError
        Values that are not finite numbers, different lengths.

    References
    ----------
    [1] Wilcoxon, F. (1945). Individual comparisons by ranking methods. Biometrics Bulletin 1, 80-83.
    [2] Hollander, M., Wolfe, D. A. & Chicken, E. (2014). Nonparametric Statistical Methods, 3rd ed., 3.1 to 3.3.

    Examples
    --------
    Depression before and after a therapy [2, example 3.1]:

    >>> before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    >>> after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    >>> result = wilcoxon_signed_rank(before, after, alternative="less")
    >>> result.statistic, round(result.pvalue, 3), round(result.effect, 2)
    (5.0, 0.02, -0.46)
    """
    from scipy.stats import rankdata

    check.as_open_fraction(alpha, "alpha")
    as_alternative(alternative)
    a, b = as_pairs(values_a, values_b)
    if a.size < 2:
        raise TooFewObservationsError("values_a", f"has {a.size} entries; two pairs are needed")
    differences = b - a
    sums = PairwiseSums(*(2 * [np.sort(differences)]), twice=True)
    interval = sums.interval(signed_rank_quantile(alpha / (1 + (alternative == "two-sided")), a.size), alternative)
    return Wilcoxon(
        effect=0.5 * sums.median(),
        confidence_interval=ConfidenceInterval(low=0.5 * interval.low, high=0.5 * interval.high),
        statistic=float(rankdata(np.abs(differences))[differences > 0.0].sum()),
        pvalue=_pvalue(differences, alternative),
        n=a.size,
        n_ties=int(np.count_nonzero(differences == 0.0)),
    )


def _pvalue(differences: Floats, alternative: Alternative) -> float:
    from scipy.stats import wilcoxon

    if not differences.any():
        return 1.0
    # Of differences that are 0 there is no exact distribution; older versions of scipy warn of what they take instead.
    method = "auto" if differences.all() else "approx"
    return float(wilcoxon(differences, zero_method="pratt", alternative=alternative, method=method).pvalue)
