"""Do the arms have the shares of the traffic that they were given?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from model_perf import _validation as check
from model_perf.errors import InvalidInputError

_LARGEST_LOG = 700.0  # exp(-700) is still a normal float, and p never 0
_LARGEST_COUNT = 10**12  # beyond it the logarithms of gamma have no digits left for the Bayes factor
_WEIGHTS = (1e-100, 1e100)


@frozen(kw_only=True)
class SampleRatio:
    """Whether counts have their planned shares.

    Attributes
    ----------
    statistic : float
        Chi-squared; of the sequential test the Bayes factor against the planned shares.
    pvalue : float
    shares : tuple of float
        Observed.
    """

    statistic: float
    pvalue: float
    shares: tuple[float, ...]


def sample_ratio_test(counts: Sequence[int], weights: Sequence[float]) -> SampleRatio:
    """Compare counts of independent units with their planned shares, once: chi-squared, of two arms exact.

    A wrong ratio says that something sorted the units (a redirect that fails in one arm, logs that get lost): no result
    of such a test can be trusted [1].

    Parameters
    ----------
    counts : sequence of int, shape (k,)
        Units in each arm, 10^12 at most.
    weights : sequence of float, shape (k,)
        Planned, in any unit. An arm of weight 0 takes no part; units in it are a mismatch for certain.

    Raises
    ------
    InvalidInputError
        Different lengths, fewer than two arms of positive weight, negative numbers, positive weights outside
        [1e-100, 1e100].

    References
    ----------
    [1] Fabijan, A., Gupchup, J., Gupta, S. et al. (2019). Diagnosing sample ratio mismatch in online controlled
        experiments. KDD '19, 2156-2164.

    Examples
    --------
    The example of [1], 50.2% instead of 50%:

    >>> round(sample_ratio_test([821_588, 815_482], [0.5, 0.5]).statistic, 2)
    22.77
    """
    from scipy.special import chdtrc

    numbers, kept, shares = _as_arms(counts, weights)
    n = sum(numbers)
    if n == 0 or sum(kept) < n:
        return _of(numbers, 0.0 if n == 0 else math.inf, 1.0 if n == 0 else 0.0)
    statistic = sum((count - n * share) ** 2 / (n * share) for count, share in zip(kept, shares, strict=True))
    if len(kept) > 2:
        return _of(numbers, statistic, float(chdtrc(len(kept) - 1, statistic)))
    return _of(numbers, statistic, _binomial_pvalue(kept[1], n, shares[1]))


def sequential_sample_ratio(
    counts: Sequence[int], weights: Sequence[float], *, concentration: float = 10_000.0
) -> SampleRatio:
    """The same, to be asked at every look [2]: the Bayes factor of any shares near the planned ones against these.

    With the planned shares the chance that the p-value ever falls to alpha is at most alpha, however often it is asked;
    the smallest p-value of all looks is one, too, and is the caller's to keep.

    Parameters
    ----------
    counts : sequence of int, shape (k,)
        Units in each arm so far.
    weights : sequence of float, shape (k,)
        As for `sample_ratio_test`.
    concentration : float, default 10000
        Of the Dirichlet prior around the planned shares: how near it looks for other ones. Large for small deviations.

    References
    ----------
    [2] Lindon, M. & Malek, A. (2022). Anytime-valid inference for multinomial count data. NeurIPS 35; arXiv 2011.03567,
        equation 9.

    Examples
    --------
    >>> sequential_sample_ratio([2370, 2630], [0.5, 0.5]).pvalue < 0.15
    True
    """
    from scipy.special import gammaln

    check.as_float(concentration, "concentration", low=1e-6, high=1e12)
    numbers, kept, shares = _as_arms(counts, weights)
    n = sum(numbers)
    if sum(kept) < n:
        return _of(numbers, math.inf, 0.0)
    log_factor = float(gammaln(concentration) - gammaln(concentration + n))
    for count, share in zip(kept, shares, strict=True):
        prior = concentration * share
        log_factor += float(gammaln(prior + count) - gammaln(prior)) - count * math.log(share)
    log_factor = min(log_factor, _LARGEST_LOG)
    return _of(numbers, math.exp(log_factor), min(1.0, math.exp(-log_factor)))


def _of(counts: list[int], statistic: float, pvalue: float) -> SampleRatio:
    n = sum(counts)
    return SampleRatio(statistic=statistic, pvalue=pvalue, shares=tuple(count / n if n else 0.0 for count in counts))


def _binomial_pvalue(k: int, n: int, share: float) -> float:
    from scipy.stats import binomtest

    return float(binomtest(k, n, share).pvalue)


def _as_arms(counts: Sequence[int], weights: Sequence[float]) -> tuple[list[int], list[int], list[float]]:
    """All counts, as Python's integers, which do not overflow; counts and shares of the arms that take part."""
    if len(counts) != len(weights):
        raise InvalidInputError("weights", f"has {len(weights)} entries and counts has {len(counts)}; give one per arm")
    numbers = [check.as_int(count, f"counts[{i}]", high=_LARGEST_COUNT) for i, count in enumerate(counts)]
    parts = [_as_weight(weight, f"weights[{i}]") for i, weight in enumerate(weights)]
    total = sum(parts)
    if sum(part > 0.0 for part in parts) < 2:
        raise InvalidInputError("weights", f"{list(weights)} give fewer than two arms a share")
    kept = [(number, part / total) for number, part in zip(numbers, parts, strict=True) if part > 0.0]
    return numbers, [number for number, _ in kept], [share for _, share in kept]


def _as_weight(weight: float, argument: str) -> float:
    smallest, largest = _WEIGHTS
    number = check.as_float(weight, argument, low=0.0, high=largest)
    if 0.0 < number < smallest:
        raise InvalidInputError(
            argument, f"{number:g} is a share that no count can show; give 0, or {smallest:g} and more"
        )
    return number
