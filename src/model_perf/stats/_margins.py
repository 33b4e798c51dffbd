"""Is b at most a margin worse, or within a margin of a? Non-inferiority and equivalence of means."""

from __future__ import annotations

from attrs import frozen
from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError
from model_perf.stats._mean_difference import Alternative, MeanDifference, pvalue_of
from model_perf.stats._proportions import non_inferior_pvalue, proportions_z_test
from model_perf.stats._welch import welch_t_test


@frozen(kw_only=True)
class Margin:
    """A difference held against a margin.

    Attributes
    ----------
    difference : MeanDifference
        b - a, its interval at 1 - 2 alpha: it lies within the margin just where pvalue < alpha.
        But of two samples that each say the same throughout, pvalue is 1: they have no spread to measure by.
    margin : float
    pvalue : float
        Of a difference as large as the margin.
    """

    difference: MeanDifference
    margin: float
    pvalue: float


def non_inferiority_test(
    a: Aggregates | ArrayLike,
    b: Aggregates | ArrayLike,
    *,
    margin: float,
    higher_is_better: bool,
    alpha: float = 0.05,
) -> Margin:
    """Test whether the mean of b is worse than that of a by less than *margin*, by Welch's t.

    Parameters
    ----------
    a, b : Aggregates, or array of float
        Independent observations.
    margin : float
        In their unit; positive.
    higher_is_better : bool

    Examples
    --------
    >>> a, b = Aggregates(n=400, mean=10.0, m2=1596.0), Aggregates(n=400, mean=10.1, m2=1596.0)
    >>> non_inferiority_test(a, b, margin=0.5, higher_is_better=False).pvalue < 0.01
    True
    """
    limit = _as_margin(margin)
    difference = welch_t_test(a, b, alpha=2.0 * _as_alpha(alpha))
    pvalue = _above(difference, -limit) if higher_is_better else _below(difference, limit)
    return Margin(difference=difference, margin=limit, pvalue=pvalue)


def non_inferior_proportion(
    successes_a: int,
    n_a: int,
    successes_b: int,
    n_b: int,
    *,
    margin: float,
    higher_is_better: bool = True,
    alpha: float = 0.05,
) -> Margin:
    """Test whether the proportion of b is worse than that of a by less than *margin*, by the score test [1].

    Its variance has Miettinen and Nurminen's factor N / (N - 1), so that it says what their interval says.

    Parameters
    ----------
    successes_a, n_a, successes_b, n_b : int
        Counts of independent observations, n >= 1; none and all of n are answered too.
    margin : float
        A difference of proportions; positive.
    higher_is_better : bool, default True
        False of a share of errors.

    References
    ----------
    [1] Farrington, C. P. & Manning, G. (1990). Test statistics and sample size formulae for comparative binomial trials
        with null hypothesis of non-zero risk difference or non-unity relative risk. Statistics in Medicine 9,
        1447-1454.

    Examples
    --------
    Chemotherapy helped 83 of 88 children, radiation 69 of 76 (Rodary, Com-Nougue & Tournade 1989, Statistics in
    Medicine 8, 593-598): chemotherapy is less than 10 points worse.

    >>> found = non_inferior_proportion(69, 76, 83, 88, margin=0.1)
    >>> round(found.difference.effect, 3), round(found.pvalue, 4)
    (0.035, 0.0016)
    """
    limit = _as_margin(margin)
    difference = proportions_z_test(successes_a, n_a, successes_b, n_b, alpha=2.0 * _as_alpha(alpha))
    lower, higher = (successes_a, n_a), (successes_b, n_b)
    counts = (*lower, *higher) if higher_is_better else (*higher, *lower)
    pvalue = non_inferior_pvalue(counts, limit)
    return Margin(difference=difference, margin=limit, pvalue=pvalue)


def equivalence_test(
    a: Aggregates | ArrayLike, b: Aggregates | ArrayLike, *, margin: float, alpha: float = 0.05
) -> Margin:
    """Test whether two means differ by less than *margin*, by two one-sided tests [2].

    References
    ----------
    [2] Schuirmann, D. J. (1987). A comparison of the two one-sided tests procedure and the power approach for assessing
        the equivalence of average bioavailability. Journal of Pharmacokinetics and Biopharmaceutics 15, 657-680.

    Examples
    --------
    >>> a, b = Aggregates(n=400, mean=10.0, m2=1596.0), Aggregates(n=400, mean=10.1, m2=1596.0)
    >>> round(equivalence_test(a, b, margin=0.5).pvalue, 4)
    0.0024
    """
    limit = _as_margin(margin)
    difference = welch_t_test(a, b, alpha=2.0 * _as_alpha(alpha))
    pvalue = max(_above(difference, -limit), _below(difference, limit))
    return Margin(difference=difference, margin=limit, pvalue=pvalue)


def _above(difference: MeanDifference, limit: float) -> float:
    return _pvalue(difference, limit, "greater")


def _below(difference: MeanDifference, limit: float) -> float:
    return _pvalue(difference, limit, "less")


def _pvalue(difference: MeanDifference, limit: float, alternative: Alternative) -> float:
    if difference.standard_error == 0.0:
        return 1.0
    return pvalue_of((difference.effect - limit) / difference.standard_error, difference.df, alternative)


def _as_margin(margin: float) -> float:
    number = check.as_float(margin, "margin")
    if not number > 0.0:
        raise InvalidInputError("margin", f"{number} is not positive")
    return number


def _as_alpha(alpha: float) -> float:
    check.as_open_fraction(alpha, "alpha")
    return check.as_float(alpha, "alpha", high=0.4999)
