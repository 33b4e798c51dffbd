"""Moments that merge: what is kept of many observations, between the database and the mathematics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from model_perf._floats import Floats, as_floats
from model_perf.errors import InvalidInputError, TooFewObservationsError

LARGEST_OBSERVATION = 1e90
"""Beyond it the third moment of many observations is no longer a 64-bit float."""

_MEND = "give a covariate with every observation, or with none"


@frozen
class Covariate:
    """Mean and m2 of a covariate y, and `cross`, the sum of the products of the deviations of x and y."""

    mean: float
    m2: float
    cross: float


@frozen(kw_only=True)
class Aggregates:
    """Count, mean and central moments of values x, and of a covariate y beside them.

    ``a + b`` are those of both samples together, from central moments as of Chan et al. [1] and Pébay [2]: sums of
    squares would lose the variance of values that are large beside their spread. Adding ``Aggregates()``, of no
    observation, changes nothing.

    Attributes
    ----------
    n : int
        Observations.
    mean : float
        Of x; 0.0 without observations.
    m2, m3 : float
        Sums of squared and cubed deviations of x from its mean.
    covariate : Covariate or None

    References
    ----------
    [1] Chan, T. F., Golub, G. H. & LeVeque, R. J. (1983). Algorithms for computing the sample variance. The American
        Statistician 37, 242-247, equation 2.1.
    [2] Pébay, P. (2008). Formulas for robust, one-pass parallel computation of covariances and arbitrary-order
        statistical moments. Sandia report SAND2008-6212, equations 2.1 and 3.2.

    Examples
    --------
    >>> a, b = Aggregates.from_values([1e9 + 4, 1e9 + 7]), Aggregates.from_values([1e9 + 13, 1e9 + 16])
    >>> (a + b).variance
    30.0
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    covariate: Covariate | None = None

    @classmethod
    def from_values(cls, x: ArrayLike, y: ArrayLike | None = None) -> Aggregates:
        """Those of a sample.

        Parameters
        ----------
        x : array of float, shape (n,)
            Finite, within +-1e90.
        y : array of float, shape (n,), optional
            The covariate, in any unit.
        """
        values, covariates = as_observations(x, y)
        return cls.from_groups(values, np.zeros(values.size, dtype=np.intp), covariates).get(0, cls())

    @classmethod
    def from_groups(cls, x: ArrayLike, groups: NDArray[np.intp], y: ArrayLike | None = None) -> dict[int, Aggregates]:
        """Those of each group of a sample, by its number, for the groups that occur.

        Parameters
        ----------
        x, y : array of float, shape (n,)
            As in `from_values`.
        groups : array of int, shape (n,)
            The group of each observation, >= 0; memory grows with the largest.
        """
        values, covariates = as_observations(x, y)
        if groups.size != values.size:
            raise InvalidInputError("groups", f"has {groups.size} entries and x has {values.size}; give one per value")
        if groups.size and (groups.dtype.kind not in "iu" or groups.min() < 0):
            raise InvalidInputError("groups", "holds other things than whole numbers from 0 on")
        counts = np.bincount(groups)
        means, deviations = _centred(values, groups, counts)
        columns = [means, *(np.bincount(groups, deviations**power) for power in (2, 3))]
        if covariates is not None:
            means_y, deviations_y = _centred(covariates, groups, counts)
            columns += [means_y, *(np.bincount(groups, deviations_y * other) for other in (deviations_y, deviations))]
        present = np.flatnonzero(counts)
        rows = zip(*(column[present].tolist() for column in (counts, *columns)), strict=True)
        return {group: _of_row(*row) for group, row in zip(present.tolist(), rows, strict=True)}

    @classmethod
    def merged(cls, parts: Iterable[Aggregates]) -> Aggregates:
        """Those of all *parts* together, summed without rounding in between."""
        some = [part for part in parts if part.n]
        if len(some) < 2:
            return some[0] if some else cls()
        n, origin = sum(part.n for part in some), some[0].mean
        mean = origin + math.fsum(part.n * (part.mean - origin) for part in some) / n
        moved = [(part, part.mean - mean) for part in some]
        return cls(
            n=n,
            mean=mean,
            m2=math.fsum(term for part, d in moved for term in (part.m2, part.n * d * d)),
            m3=math.fsum(term for part, d in moved for term in (part.m3, 3.0 * d * part.m2, part.n * d * d * d)),
            covariate=_merged_covariate(moved, n),
        )

    def __add__(self, other: Aggregates) -> Aggregates:
        return Aggregates.merged((self, other))

    @property
    def variance(self) -> float:
        """Of x, with n - 1; `TooFewObservationsError` below two observations."""
        return self.m2 / self._degrees_of_freedom()

    @property
    def covariance(self) -> float:
        """Of x and the covariate, with n - 1."""
        if self.covariate is None:
            raise InvalidInputError("aggregates", f"have no covariate; {_MEND}")
        return self.covariate.cross / self._degrees_of_freedom()

    @property
    def standard_error(self) -> float:
        """Of the mean of x, its observations taken for independent."""
        return math.sqrt(self.variance / self.n)

    @property
    def skewness(self) -> float:
        """Of x, m3 / n over the cube of the standard deviation (with n); 0.0 where all values are equal."""
        if self.m2 <= 0.0:
            return 0.0
        return math.sqrt(self.n) * (self.m3 / self.m2) / math.sqrt(self.m2)

    def _degrees_of_freedom(self) -> int:
        if self.n < 2:
            raise TooFewObservationsError("aggregates", f"have {self.n} observations; a variance needs two")
        return self.n - 1


def as_observations(x: ArrayLike, y: ArrayLike | None) -> tuple[Floats, Floats | None]:
    """Values and covariates as finite floats, one covariate per value."""
    values = as_floats(x, "x", largest=LARGEST_OBSERVATION)
    if y is None:
        return values, None
    covariates = as_floats(y, "y", largest=LARGEST_OBSERVATION)
    if covariates.size != values.size:
        raise InvalidInputError("y", f"has {covariates.size} entries and x has {values.size}; give one per value")
    return values, covariates


def _merged_covariate(moved: Sequence[tuple[Aggregates, float]], n: int) -> Covariate | None:
    """Of parts with the distance of each one's mean of x from the whole's."""
    given = [(part.n, part.covariate, d) for part, d in moved if part.covariate is not None]
    if not given:
        return None
    if len(given) < len(moved):
        raise InvalidInputError("aggregates", f"have a covariate on one side only; {_MEND}")
    origin = given[0][1].mean
    mean = origin + math.fsum(size * (y.mean - origin) for size, y, _ in given) / n
    return Covariate(
        mean=mean,
        m2=math.fsum(term for size, y, _ in given for term in (y.m2, size * (y.mean - mean) ** 2)),
        cross=math.fsum(term for size, y, d in given for term in (y.cross, size * d * (y.mean - mean))),
    )


def _centred(values: Floats, groups: NDArray[np.intp], counts: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """The mean of each group, and the deviations from it.

    Summed are the distances to a value among them: the sum of large values has no digits left for their spread.
    """
    if not values.size:
        return np.zeros(counts.size), values
    origin = values[0]
    distances = values - origin
    size = np.maximum(counts, 1)
    means = np.bincount(groups, distances) / size
    deviations = distances - means[groups]
    correction = np.bincount(groups, deviations) / size
    return origin + (means + correction), deviations - correction[groups]


def _of_row(n: int, mean: float, m2: float, m3: float, *of_y: float) -> Aggregates:
    return Aggregates(n=n, mean=mean, m2=m2, m3=m3, covariate=Covariate(*of_y) if of_y else None)
