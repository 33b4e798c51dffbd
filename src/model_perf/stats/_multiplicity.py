"""Many p-values: which of them to believe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from model_perf import _validation as check
from model_perf._multiplicity import benjamini_hochberg, holm

Method: TypeAlias = Literal["bonferroni", "holm", "fdr_bh", "fdr_by"]


def adjust_pvalues(pvalues: Sequence[float], method: Method = "holm") -> list[float]:
    """Adjust p-values: those at most alpha then are rejected.

    ========== ========================================================================================
    bonferroni any false rejection with probability alpha at most
    holm       the same, and never rejects less [1]
    fdr_bh     of the rejected a share of alpha at most is false, on average; independent or positively
               dependent p-values [2]
    fdr_by     the same whatever their dependence [3]
    ========== ========================================================================================

    Parameters
    ----------
    pvalues : sequence of float, shape (n,)
        Within [0, 1]; any order, none is an answer too.

    Returns
    -------
    list of float
        In the order given.

    References
    ----------
    [1] Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6,
        65-70.
    [2] Benjamini, Y. & Hochberg, Y. (1995). Controlling the false discovery rate. Journal of the Royal Statistical
        Society B 57, 289-300.
    [3] Benjamini, Y. & Yekutieli, D. (2001). The control of the false discovery rate in multiple testing under
        dependency. Annals of Statistics 29, 1165-1188.

    Examples
    --------
    >>> adjust_pvalues([0.01, 0.04, 0.03])  # R: p.adjust(c(.01, .04, .03), "holm")
    [0.03, 0.06, 0.06]
    """
    check.as_choice(method, "method", get_args(Method))
    values = [check.as_float(p, f"pvalues[{i}]", low=0.0, high=1.0) for i, p in enumerate(pvalues)]
    n = len(values)
    if method == "bonferroni":
        return [min(1.0, n * p) for p in values]
    if method == "holm":
        return holm(values)
    adjusted = benjamini_hochberg(values)
    harmonic = sum(1.0 / i for i in range(1, n + 1)) if method == "fdr_by" else 1.0
    return [min(1.0, harmonic * p) for p in adjusted]
