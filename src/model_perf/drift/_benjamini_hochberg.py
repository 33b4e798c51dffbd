"""Benjamini-Hochberg: which of many p-values to believe, when some of the believed may be false."""

from __future__ import annotations

from collections.abc import Sequence

from model_perf import _validation as check
from model_perf._multiplicity import benjamini_hochberg as adjusted


def benjamini_hochberg(pvalues: Sequence[float]) -> list[float]:
    """Adjust p-values for the false discovery rate.

    Of the hypotheses whose adjusted p-value is at most alpha a share of alpha at most is true, on average, when the
    p-values are independent or positively dependent.

    Parameters
    ----------
    pvalues : sequence of float
        Within [0, 1]; any order, none is an answer too.

    Returns
    -------
    list of float
        In the order given.

    Raises
    ------
    InvalidInputError
        A value outside [0, 1], NaN included.

    References
    ----------
    [1] Benjamini, Y. & Hochberg, Y. (1995). Controlling the false discovery rate. Journal of the Royal Statistical
        Society B 57, 289-300, section 3.2.

    Examples
    --------
    Of these 15 comparisons [1] four are significant at 5%, by Bonferroni's rule three:

    >>> myocardial = [.0001, .0004, .0019, .0095, .0201, .0278, .0298, .0344, .0459, .324, .4262, .5719, .6528, .759, 1]
    >>> sum(p <= 0.05 for p in benjamini_hochberg(myocardial)), sum(15 * p <= 0.05 for p in myocardial)
    (4, 3)
    """
    values = [check.as_float(p, f"pvalues[{i}]", low=0.0, high=1.0) for i, p in enumerate(pvalues)]
    return adjusted(values)
