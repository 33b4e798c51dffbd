"""The asymptotic confidence sequence: an interval of a difference that holds at every look."""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf._floats import Floats, as_floats
from model_perf.aggregates import Aggregates
from model_perf.errors import InvalidInputError
from model_perf.stats._confidence_interval import ConfidenceInterval
from model_perf.stats._mean_difference import Alternative, as_alternative

_LARGEST_EXPONENT = 700.0  # exp(-700) is still a normal float, and p never 0


@frozen(kw_only=True)
class ConfidenceSequence:
    """One look at a test that is looked at again and again.

    Attributes
    ----------
    effect, standard_error : float
        Mean of b minus that of a, in units of the values.
    confidence_interval : ConfidenceInterval
        That of all looks together covers the effect with probability 1 - alpha; an end may be infinite.
    pvalue : float
        Anytime-valid: the smallest of all looks so far is one, too.
    df : float or None
        Degrees of freedom of the standard error; None where it counts as known.
    n : int
        Observations of both models, or pairs.
    """

    effect: float
    standard_error: float
    confidence_interval: ConfidenceInterval
    pvalue: float
    df: float | None
    n: int


def asymptotic_confidence_sequence(
    a: Aggregates,
    b: Aggregates,
    *,
    planned_n: int,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> ConfidenceSequence:
    """Compare the means of two samples that grow, as often as anybody likes to look.

    The interval of a fixed sample is right once; of 100 looks at equal models, one of them finds a difference in 37 of
    100 tests [2]. This sequence is wider, by about 1.5 at the planned size, and is right at all looks at once. It is
    asymptotic: look first when both samples have some hundred observations, more if they are skewed.

    Parameters
    ----------
    a, b : Aggregates
        Of independent observations.
    planned_n : int
        Observations of both models together at which the sequence is narrowest; fixed before the first look.
    alpha : float, default 0.05
        Probability that any interval of the whole sequence misses the difference.
    alternative : {"two-sided", "less", "greater"}
        With one side, the sequence bounds the effect on that side only: "greater" gives its lower bound.

    Raises
    ------
    TooFewObservationsError
        Below two observations in a sample.

    References
    ----------
    [1] Waudby-Smith, I., Arbour, D., Sinha, R., Kennedy, E. H. & Ramdas, A. (2024). Time-uniform central limit theory
        and asymptotic confidence sequences. Annals of Statistics 52; arXiv 2103.06476v7: theorem 2.2, equation 134
        for one side, equation 161 for an expansion of the rho that is exact here.
    [2] Armitage, P., McPherson, C. K. & Rowe, B. C. (1969). Repeated significance tests on accumulating data. Journal
        of the Royal Statistical Society A 132, 235-244, table 2.

    Examples
    --------
    >>> a, b = Aggregates(n=12_000, mean=0.300, m2=2519.79), Aggregates(n=11_800, mean=0.318, m2=2559.20)
    >>> result = asymptotic_confidence_sequence(a, b, planned_n=20_000)
    >>> round(result.confidence_interval.low, 4), round(result.confidence_interval.high, 4), round(result.pvalue, 3)
    (-0.0002, 0.0362, 0.055)
    """
    return confidence_sequence(
        b.mean - a.mean,
        math.hypot(a.standard_error, b.standard_error),
        n=a.n + b.n,
        planned_n=planned_n,
        alpha=alpha,
        alternative=alternative,
    )


def confidence_sequence(
    effect: float,
    standard_error: float,
    *,
    n: int,
    planned_n: int,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    df: float | None = None,
) -> ConfidenceSequence:
    """The same of any mean with a standard error: of pairs, of units with several rows, of dependent time slots.

    Parameters
    ----------
    effect, standard_error : float
        Standard error >= 0.
    n, planned_n : int
        Observations behind *effect*, now and as planned.
    df : float, optional
        Degrees of freedom of the standard error. The normal deviate z of the sequence then becomes the t of the same
        tail, as for a fixed sample.
    """
    check.as_open_fraction(alpha, "alpha")
    as_alternative(alternative)
    check.as_float(effect, "effect")
    check.as_float(standard_error, "standard_error", low=0.0)
    check.as_int(n, "n", low=1)
    if df is not None and not df > 0.0:
        raise InvalidInputError("df", f"{df} is not positive; give None where the standard error is known")
    reach = float(sequence_multipliers([n], planned_n=planned_n, alpha=alpha, alternative=alternative, df=df)[0])
    reach = reach * standard_error if standard_error else 0.0
    return ConfidenceSequence(
        effect=effect,
        standard_error=standard_error,
        confidence_interval=ConfidenceInterval(
            low=-math.inf if alternative == "less" else effect - reach,
            high=math.inf if alternative == "greater" else effect + reach,
        ),
        pvalue=_pvalue(effect, standard_error, df, n * _rho_squared(planned_n, alpha, alternative), alternative),
        df=df,
        n=n,
    )


def sequence_multipliers(
    n: ArrayLike,
    *,
    planned_n: int,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    df: float | None = None,
) -> Floats:
    """What the standard errors of many looks are multiplied by, for the half-widths of the sequence.

    Parameters
    ----------
    n : array of int, shape (k,)
        Observations at each look.

    Returns
    -------
    array of float, shape (k,)
        Infinite where n is so far below *planned_n* that t has no such tail.
    """
    sizes = as_floats(n, "n")
    if sizes.size and not sizes.min() >= 1.0:
        raise InvalidInputError("n", f"holds {sizes.min():g}; each look has one observation at least")
    return multipliers(sizes * _rho_squared(planned_n, alpha, alternative), alpha, alternative, df)


def multipliers(growth: Floats, alpha: float, alternative: Alternative, df: float | None = None) -> Floats:
    """The same by *growth*, n rho^2."""
    one_sided = alternative != "two-sided"
    root = np.sqrt(growth + 1.0)
    log = np.log1p(root / (2.0 * alpha)) if one_sided else np.log(root / alpha)
    deviates: Floats = np.sqrt(2.0 * (growth + 1.0) / growth * log)
    return deviates if df is None else _as_t(deviates, df)


def _as_t(deviates: Floats, df: float) -> Floats:
    from scipy.special import ndtr, stdtrit

    tails: Floats = ndtr(-deviates)
    found: Floats = np.full(tails.shape, np.inf)
    found[tails > 0.0] = -stdtrit(df, tails[tails > 0.0])
    return found


def _rho_squared(planned_n: int, alpha: float, alternative: Alternative) -> float:
    """The one that makes the sequence narrowest at *planned_n*."""
    from scipy.special import lambertw

    size = check.as_int(planned_n, "planned_n", low=1)
    tail = alpha if alternative == "two-sided" else 2.0 * alpha
    # One-sided, the same with 2 alpha; a level above 1 has no sequence to optimise, and the square of a tiny one is 0.
    tail = min(max(tail, 1e-150), 0.999)
    return float(-lambertw(-tail * tail / math.e, -1).real - 1.0) / size


def _pvalue(effect: float, standard_error: float, df: float | None, growth: float, alternative: Alternative) -> float:
    """The level whose sequence has the effect 0 at its edge, rho being kept."""
    towards = -effect if alternative == "less" else abs(effect) if alternative == "two-sided" else effect
    if towards <= 0.0 or standard_error == 0.0:
        return 1.0
    deviate = towards / standard_error
    if df is not None:
        deviate = _as_normal(deviate, df)
    exponent = min(0.5 * deviate * deviate * growth / (growth + 1.0), _LARGEST_EXPONENT)
    root = math.sqrt(growth + 1.0)
    return min(1.0, root * math.exp(-exponent) if alternative == "two-sided" else 0.5 * root / math.expm1(exponent))


def _as_normal(deviate: float, df: float) -> float:
    from scipy.special import ndtri, stdtr

    return -float(ndtri(max(float(stdtr(df, -deviate)), np.finfo(np.float64).tiny)))
