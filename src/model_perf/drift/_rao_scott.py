"""Rao and Scott's correction: counts of rows that depend on each other, as those of a time series do."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from model_perf.drift._chi_squared import chi_squared_of
from model_perf.drift._samples import Floats, as_count_matrix, as_counts
from model_perf.errors import InvalidInputError, TooFewObservationsError

_TINY = float(np.finfo(np.float64).tiny)


@frozen(kw_only=True)
class RaoScott:
    """Two rows of counts, tested against one distribution for both, whose rows depend on each other in time.

    Attributes
    ----------
    statistic, pvalue : float or None
        Pearson's chi-squared over (B - 1) dispersion. None where fewer than two bins hold rows.
    dispersion : float
        By how much dependence inflates the variance of a bin's share, averaged over the bins; >= 1.
    df : float
        Of the numerator, between 1 and B - 1: how many independent directions the shares vary in.
    df_denominator : float
        df (C - 1).
    n_bins, n_chunks : int
        Those that hold rows.
    n_reference, n_current : int
        Rows.
    """

    statistic: float | None
    pvalue: float | None
    dispersion: float
    df: float
    df_denominator: float
    n_bins: int
    n_chunks: int
    n_reference: int
    n_current: int


def rao_scott(chunks: ArrayLike, current: ArrayLike) -> RaoScott:
    """Compare a window with a reference of which the counts of windows as long are known.

    How much the shares of the reference's own chunks vary says what dependence does to a window's. With p_c the shares
    of chunk c of m_c rows and q those of all, S = sum m_c (p_c - q)(p_c - q)' / (C - 1) and D_ij = S_ij / sqrt(q_i q_j)
    give the dispersion max(1, tr D / (B - 1)) and the degrees of freedom (tr D)² / tr D²; Pearson's chi-squared over
    (B - 1) dispersion is then about F(df, df (C - 1)) [1, 2]. A bin that the reference leaves empty adds nothing to D.

    Parameters
    ----------
    chunks : array of int, shape (C, B)
        Rows of each chunk of the reference in each bin; chunks about as long as *current*. Of a dozen upwards the
        result is reliable. Chunks without rows are left out.
    current : array of int, shape (B,)
        Rows of the window on the same bins.

    Returns
    -------
    RaoScott

    Raises
    ------
    TooFewObservationsError
        Fewer than two chunks with rows, *current* counts no row.
    InvalidInputError
        Negative or fractional counts, different numbers of bins.

    References
    ----------
    [1] Rao, J. N. K. & Scott, A. J. (1981). The analysis of categorical data from complex sample surveys. JASA 76,
        221-230: the dispersion, a mean design effect.
    [2] Thomas, D. R. & Rao, J. N. K. (1987). Small-sample comparisons of level and power for simple goodness-of-fit
        statistics under cluster sampling. JASA 82, 630-636: F with the degrees of freedom of the eigenvalues.

    Examples
    --------
    Days are all of the one kind or all of the other; a day of the one kind is nothing new:

    >>> result = rao_scott([[24, 0], [0, 24]] * 10, [24, 0])
    >>> round(result.dispersion, 1), result.pvalue > 0.3
    (25.3, True)
    """
    matrix, row = as_count_matrix(chunks, "chunks"), as_count_matrix(current, "current")
    if matrix.ndim != 2:
        raise InvalidInputError("chunks", f"has {matrix.ndim} dimensions; give a row of counts for each chunk")
    matrix = matrix[matrix.any(axis=1)]
    if len(matrix) < 2:
        raise TooFewObservationsError("chunks", f"holds {len(matrix)} chunks with rows; give two at least")
    _, row = as_counts(matrix.sum(axis=0), row)
    return rao_scott_of(matrix, row)


def rao_scott_of(chunks: Floats, current: Floats) -> RaoScott:
    """The test on counts that have been checked: every chunk holds rows."""
    occupied = chunks.any(axis=0) | (current > 0.0)
    chunks, current = chunks[:, occupied], current[occupied]
    n_chunks, n_bins = chunks.shape
    dispersion, df = dispersion_of(chunks)
    pearson = chi_squared_of(chunks.sum(axis=0), current)
    statistic = pvalue = None
    if pearson.statistic is not None:
        from scipy.special import fdtrc

        statistic = pearson.statistic / ((n_bins - 1) * dispersion)
        pvalue = max(float(fdtrc(df, df * (n_chunks - 1), statistic)), _TINY)
    return RaoScott(
        statistic=statistic,
        pvalue=pvalue,
        dispersion=dispersion,
        df=df,
        df_denominator=df * (n_chunks - 1),
        n_bins=n_bins,
        n_chunks=n_chunks,
        n_reference=pearson.n_reference,
        n_current=pearson.n_current,
    )


def dispersion_of(chunks: Floats) -> tuple[float, float]:
    """Dispersion and degrees of freedom from counts of shape (C, B), C >= 2, each chunk with rows."""
    rows = chunks.sum(axis=1, keepdims=True)
    shares = chunks.sum(axis=0) / rows.sum()
    roots = np.sqrt(np.where(shares > 0.0, shares, 1.0))
    # D = deviations' deviations.
    deviations = np.sqrt(rows / (len(chunks) - 1)) * (chunks / rows - shares) / roots
    trace = float(np.sum(deviations**2))
    freedom = max(1, chunks.shape[1] - 1)
    if trace == 0.0:
        return 1.0, float(freedom)
    products = deviations @ deviations.T if len(chunks) < chunks.shape[1] else deviations.T @ deviations
    return max(1.0, trace / freedom), trace**2 / float(np.sum(products**2))
