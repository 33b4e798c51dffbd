"""Student's t by way of the normal distribution; importing scipy for it would hold up the event loop for 0.2 s."""

from __future__ import annotations

import math
from functools import lru_cache

MAX_DEVIATE = 35.0
"""Deviates are cut here: beyond it the tail of the normal distribution has left what a float can hold."""


def normal_deviate(t: float, df: float) -> float:
    """The normal deviate with the same tail probability as *t* with *df* degrees of freedom.

    Parameters
    ----------
    t : float
        Finite.
    df : float
        At least 4.

    Returns
    -------
    float
        Within +-35. For df >= 7 and probabilities above 1e-8 the probability is right to 1e-4 of itself; for df = 4
        and 1e-4 to 1e-3.

    References
    ----------
    [1] Hill, G. W. (1970). Algorithm 395: Student's t-distribution. Communications of the ACM 13, 617-619.

    Examples
    --------
    >>> round(normal_deviate(2.262, 9), 3)  # t of 9 degrees at 97.5%, any table
    1.96
    """
    # The square of a huge t overflows, the logarithm below would not.
    size = min(abs(t), 1e150)
    b = 48.0 * (df - 0.5) ** 2
    y = (df - 0.5) * math.log1p(size * size / df)
    tail = (((-0.4 * y - 3.3) * y - 24.0) * y - 85.5) / (0.8 * y * y + 100.0 + b)
    deviate = ((tail + y + 3.0) / b + 1.0) * math.sqrt(y)
    return math.copysign(min(deviate, MAX_DEVIATE), t)


def upper_tail(deviate: float) -> float:
    """P(Z > deviate) of a standard normal Z; never 0 for deviates up to `MAX_DEVIATE`."""
    return 0.5 * math.erfc(deviate / math.sqrt(2.0))


@lru_cache(maxsize=4096)
def t_quantile(tail: float, df: float) -> float:
    """The t that is exceeded with probability *tail*, within (0, 0.5): the inverse of `normal_deviate`."""
    low, high = 0.0, 1.0
    while upper_tail(normal_deviate(high, df)) > tail and high < 1e15:
        high *= 2.0
    while high - low > 1e-10 * high:
        middle = 0.5 * (low + high)
        if upper_tail(normal_deviate(middle, df)) > tail:
            low = middle
        else:
            high = middle
    return high
