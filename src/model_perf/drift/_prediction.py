"""Does one more evaluation belong to the baseline? A one-sided t prediction interval, and Holm over the metrics."""

from __future__ import annotations

import math

from attrs import frozen

from model_perf.drift._student import normal_deviate, upper_tail


@frozen
class Baseline:
    """The evaluations that later ones are compared with, as moments of the logarithm of the loss.

    Attributes
    ----------
    n : int
    mean, m2 : float
        Mean and sum of squared deviations.
    n_known : int
        Those of known sample count.
    mean_inverse : float
        Their mean 1/sample_count: the variance of an evaluation is proportional to it.
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    n_known: int = 0
    mean_inverse: float = 0.0

    def add(self, value: float, sample_count: int | None) -> Baseline:
        n = self.n + 1
        distance = value - self.mean
        mean = self.mean + distance / n
        m2 = self.m2 + distance * (value - mean)
        if not sample_count:
            return Baseline(n, mean, m2, self.n_known, self.mean_inverse)
        n_known = self.n_known + 1
        return Baseline(n, mean, m2, n_known, self.mean_inverse + (1.0 / sample_count - self.mean_inverse) / n_known)

    def to_list(self) -> list[float]:
        return [self.n, self.mean, self.m2, self.n_known, self.mean_inverse]

    def weight(self, sample_count: int | None) -> float:
        """Variance of an evaluation of *sample_count* over the baseline's, 1 at least: a sample only widens."""
        if not sample_count or not self.n_known:
            return 1.0
        return max(1.0, 1.0 / (sample_count * self.mean_inverse))


@frozen
class Prediction:
    """Where one evaluation lies in the baseline's prediction distribution.

    Attributes
    ----------
    statistic, pvalue : float
        Student's t and the probability of one as large, when nothing has changed.
    df : int
    n_effective : float
        Independent evaluations that the baseline's n are worth.
    standard_error : float
        Of the difference between the evaluation and the baseline's mean.
    """

    statistic: float
    pvalue: float
    df: int
    n_effective: float
    standard_error: float


def predict(baseline: Baseline, value: float, phi: float, *, weight: float, floor: float) -> Prediction:
    """Test whether *value* lies above what *baseline* lets one expect.

    Parameters
    ----------
    baseline : Baseline
        Of 5 evaluations or more.
    value : float
        In the baseline's unit.
    phi : float
        Lag-1 autocorrelation of the evaluations, within [0, 1).
    weight : float
        Variance of this evaluation over the baseline's, at least 1.
    floor : float
        Smallest standard deviation believed, positive: a constant baseline has an answer too.

    References
    ----------
    [1] Hahn, G. J. & Meeker, W. Q. (1991). Statistical Intervals, section 4.8 (independent evaluations).
    [2] Thiebaux, H. J. & Zwiers, F. W. (1984). The interpretation and estimation of effective sample size. Journal
        of Climate and Applied Meteorology 23, 800-811: n (1 - phi)/(1 + phi) for an AR(1) series.
    """
    n_effective = baseline.n * (1.0 - phi) / (1.0 + phi)
    df = baseline.n - 1
    variance = max(baseline.m2 / df, floor * floor)
    standard_error = math.sqrt(variance * (weight + 1.0 / n_effective))
    statistic = (value - baseline.mean) / standard_error
    pvalue = upper_tail(normal_deviate(statistic, df))
    return Prediction(statistic, pvalue, df, n_effective, standard_error)
