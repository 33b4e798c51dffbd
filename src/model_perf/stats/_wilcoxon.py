"""Wilcoxon's signed-rank test: are paired differences centred at 0?"""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf._floats import Floats
from model_perf.errors import TooFewObservationsError
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._mean_difference import Alternative, as_alternative, upper_quantile
from model_perf.stats._paired_t import as_pairs

MOST_AVERAGES = 2000
"""Pairs up to which all averages of two differences are formed for the interval: two million of them."""


@frozen(kw_only=True)
class Wilcoxon:
    """The centre of b - a, by ranks.

    Attributes
    ----------
    effect : float
        Hodges and Lehmann's estimate: the median of the averages of all two differences.
    confidence_interval : ConfidenceInterval or None
        Of the centre; None beyond 2,000 pairs.
    statistic : float
        Sum of the ranks of the positive differences.
    pvalue : float
    n : int
        Pairs.
    n_ties : int
        Pairs without a difference, which are ranked by Pratt's method.
    """

    effect: float
    confidence_interval: ConfidenceInterval | None
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
    from scipy.stats import wilcoxon

    check.as_open_fraction(alpha, "alpha")
    as_alternative(alternative)
    a, b = as_pairs(values_a, values_b)
    if a.size < 2:
        raise TooFewObservationsError("values_a", f"has {a.size} entries; two pairs are needed")
    differences = b - a
    averages = _walsh_averages(differences) if a.size <= MOST_AVERAGES else differences
    if not differences.any():
        return Wilcoxon(effect=0.0, confidence_interval=None, statistic=0.0, pvalue=1.0, n=a.size, n_ties=a.size)
    # Of differences that are 0 there is no exact distribution; older versions of scipy warn of what they take instead.
    method = "auto" if differences.all() else "approx"
    ranks_up = wilcoxon(differences, zero_method="pratt", alternative="greater", method=method).statistic
    pvalue = wilcoxon(differences, zero_method="pratt", alternative=alternative, method=method).pvalue
    return Wilcoxon(
        effect=float(np.median(averages)),
        confidence_interval=_interval(averages, a.size, alpha, alternative) if a.size <= MOST_AVERAGES else None,
        statistic=float(ranks_up),
        pvalue=float(pvalue),
        n=a.size,
        n_ties=int(np.count_nonzero(differences == 0.0)),
    )


def _walsh_averages(differences: Floats) -> Floats:
    i, j = np.triu_indices(differences.size)
    averages: Floats = np.sort(0.5 * (differences[i] + differences[j]))
    return averages


def _interval(averages: Floats, n: int, alpha: float, alternative: Alternative) -> ConfidenceInterval:
    """The averages that the normal approximation of the rank sum leaves [2, equations 3.41 and 3.43]."""
    tail = alpha / 2.0 if alternative == "two-sided" else alpha
    reach = upper_quantile(tail, None) * np.sqrt(n * (n + 1.0) * (2.0 * n + 1.0) / 24.0)
    skipped = int(max(0.0, np.floor(n * (n + 1.0) / 4.0 - reach)))
    return ConfidenceInterval(
        low=-np.inf if alternative == "less" else float(averages[skipped]),
        high=np.inf if alternative == "greater" else float(averages[averages.size - 1 - skipped]),
    )
