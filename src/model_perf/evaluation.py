"""From arrays to metrics, as scikit-learn defines them, without scikit-learn.

One rule for all: a metric that the data do not define is left out of the mapping. It is never replaced by 0 or 1,
and never NaN. What is no data at all (other lengths, NaN, text as numbers) is refused by the argument's name.

Most metrics are a ratio of two sums over the rows. `_regression_terms` and `_binary_terms` hold what is summed; the
metrics take the sums of all rows, the bootstrap those of drawn blocks, which is why both stand in one file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from model_perf import _validation as check
from model_perf._predictions import Floats, Labels, as_floats, as_label_pair, check_lengths
from model_perf.errors import InvalidInputError, TooFewObservationsError

Task = Literal["regression", "classification"]
Average = Literal["binary", "macro", "weighted", "micro"]
Label: TypeAlias = int | float | str | bool

_Truth: TypeAlias = NDArray[np.bool_]
_Terms: TypeAlias = Mapping[str, tuple[NDArray[np.generic], ...]]

_EPSILON = float(np.finfo(np.float64).eps)
_MAX_BLOCKS = 10_000
_MIN_BLOCKS = 20
_MAX_DRAWS = 1 << 20
_MAX_UNDEFINED = 0.05


@frozen(kw_only=True)
class BootstrapInterval:
    """A metric's value on the data with the percentile interval of its resamples, from `low` to `high`."""

    estimate: float
    low: float
    high: float
    confidence_level: float
    n_resamples: int
    block_length: int


def evaluate(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    task: Task = "regression",
    *,
    y_score: ArrayLike | None = None,
    positive: Label | None = None,
    average: Average = "binary",
) -> dict[str, float]:
    """Metrics of one window of predictions.

    Parameters
    ----------
    y_true, y_pred : array, shape (n,)
        Numbers for a regression, labels for a classification.
    task : {"regression", "classification"}
    y_score, positive, average
        As for `classification_metrics`; of no use to a regression, and refused there.

    Raises
    ------
    InvalidInputError
        As `regression_metrics` and `classification_metrics`.

    Examples
    --------
    >>> evaluate([3.0, 5.0, 4.0], [2.5, 5.0, 4.5])["mae"]
    0.3333333333333333
    """
    check.as_choice(task, "task", ("regression", "classification"))
    if task == "classification":
        return classification_metrics(y_true, y_pred, y_score=y_score, positive=positive, average=average)
    given = {"y_score": y_score is not None, "positive": positive is not None, "average": average != "binary"}
    for argument in (name for name, is_given in given.items() if is_given):
        raise InvalidInputError(argument, "belongs to task='classification'; leave it out of a regression")
    return regression_metrics(y_true, y_pred)


def regression_metrics(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """R², root mean squared error, mean absolute error, mean absolute percentage error.

    Parameters
    ----------
    y_true, y_pred : array of float or int, shape (n,)
        Finite, in one unit, within +-1e150. Computed as 64-bit floats; not changed.

    Returns
    -------
    dict of str to float
        `rmse`, `mae` in that unit; `mape` as a fraction (0.1 = 10%), left out when a true value is 0;
        `r_squared`, left out when all true values are equal (and so when n = 1).

    Raises
    ------
    InvalidInputError
        Different lengths, none at all, more than one dimension, NaN or infinity, masked entries, booleans, text,
        objects.

    References
    ----------
    [1] scikit-learn user guide, section 3.4.6 Regression metrics.

    Examples
    --------
    From [1], where r2_score gives 0.948..., mean_absolute_error 0.5:

    >>> metrics = regression_metrics([3, -0.5, 2, 7], [2.5, 0.0, 2, 8])
    >>> round(metrics["r_squared"], 3), metrics["mae"]
    (0.949, 0.5)
    """
    return _metrics(_regression_terms(y_true, y_pred))


def classification_metrics(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    y_score: ArrayLike | None = None,
    positive: Label | None = None,
    average: Average = "binary",
) -> dict[str, float]:
    """Precision, recall, F1, accuracy; with scores also ROC AUC, log loss, Brier score.

    Parameters
    ----------
    y_true, y_pred : array of int, bool or str, shape (n,)
        Class labels; floats only where they are whole numbers. Probabilities belong to `y_score`.
    y_score : array of float, shape (n,), optional
        The score of the positive class, higher for more likely. Two classes only.
    positive : label, optional
        The class that precision and recall are about. Needed unless the labels are 0 and 1, -1 and 1, or booleans.
    average : {"binary", "macro", "weighted", "micro"}, default "binary"
        More than two classes need one of the last three. It is not chosen by the labels that occur, so that a
        window in which only two of five classes occur is not read as binary.

    Returns
    -------
    dict of str to float
        `accuracy` always. `precision` unless nothing was predicted positive, `recall` unless nothing was positive,
        `f1_score` unless neither was; for "macro" and "weighted" unless that holds for a class that counts (one
        with weight). `roc_auc` unless y_true holds one class only. `log_loss` and `brier_score` unless a score lies
        outside [0, 1], which makes it no probability.

    Raises
    ------
    InvalidInputError
        Different lengths, none at all, more than one dimension, NaN, missing labels, text in one and numbers in
        the other, more than two classes with "binary", a positive class that cannot be guessed.

    References
    ----------
    [1] scikit-learn user guide, section 3.4.4 Classification metrics. Where a metric is undefined, scikit-learn
        warns and gives 0.

    Examples
    --------
    >>> metrics = classification_metrics([0, 1, 1, 1], [0, 0, 1, 1])
    >>> metrics["precision"], round(metrics["recall"], 3), metrics["accuracy"]
    (1.0, 0.667, 0.75)
    """
    check.as_choice(average, "average", ("binary", "macro", "weighted", "micro"))
    truth, prediction = as_label_pair(y_true, y_pred)
    if average == "binary":
        is_true, is_predicted = _as_binary(truth, prediction, positive)
        score = None if y_score is None else _as_score(y_score, is_true)
        auc = {} if score is None else _roc_auc(is_true, score)
        return _metrics(_binary_terms(is_true, is_predicted, truth == prediction, score)) | auc
    for argument, given in (("y_score", y_score), ("positive", positive)):
        if given is not None:
            raise InvalidInputError(argument, f"is for two classes; leave it out with average={average!r}")
    return _averaged_metrics(truth, prediction, average)


def bootstrap_interval(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    metric: str,
    *,
    task: Task = "regression",
    y_score: ArrayLike | None = None,
    positive: Label | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 2000,
    block_length: int | None = None,
    seed: int = 0,
) -> BootstrapInterval:
    """How sure one metric of one window is, by resampling blocks of neighbouring rows.

    Percentile intervals are short on few rows: those of the RMSE of normal errors at 95% hold the true value in 87%
    of windows with 20 rows, 92% with 50, 94% with 500 (simulated).

    Parameters
    ----------
    y_true, y_pred, y_score, positive
        As for `regression_metrics` and, with two classes, `classification_metrics`.
    metric : str
        r_squared, rmse, mae, mape; precision, recall, f1_score, accuracy, log_loss, brier_score.
    task : {"regression", "classification"}
    confidence_level : float, default 0.95
    n_resamples : int, default 2000
    block_length : int, optional
        Rows that are drawn together. Rows of a time series depend on their neighbours: give as many as do (a day).
        None = 1, or n / 10,000 rounded up, so that a long window costs no more than 10,000 rows.
    seed : int, default 0
        The same seed gives the same interval.

    Returns
    -------
    BootstrapInterval

    Raises
    ------
    TooFewObservationsError
        Fewer than 20 blocks; or the metric is undefined on more than 5% of the resamples.
    InvalidInputError
        A metric that is none of those, and what `regression_metrics` or `classification_metrics` refuse.

    References
    ----------
    [1] Carlstein, E. (1986). The use of subseries values for estimating the variance of a general statistic from a
        stationary sequence. Annals of Statistics 14, 1171-1179: blocks that do not overlap.

    Examples
    --------
    >>> y_true = [float(i % 7) for i in range(70)]
    >>> y_pred = [y + (0.5 if i % 3 else -0.2) for i, y in enumerate(y_true)]
    >>> interval = bootstrap_interval(y_true, y_pred, "mae")
    >>> interval.low < interval.estimate < interval.high
    True
    """
    level = check.as_open_fraction(confidence_level, "confidence_level")
    check.as_int(n_resamples, "n_resamples", low=100, high=1_000_000)
    check.as_choice(task, "task", ("regression", "classification"))
    terms = (
        _regression_terms(y_true, y_pred)
        if task == "regression"
        else _classification_terms(y_true, y_pred, y_score, positive)
    )
    check.as_choice(metric, "metric", tuple(terms))
    blocks, length = _block_sums(terms[metric], block_length)
    estimate = _combine(metric, blocks.sum(axis=1, keepdims=True))
    resamples = np.concatenate([_combine(metric, sums) for sums in _resampled_sums(blocks, n_resamples, seed)])
    defined = resamples[np.isfinite(resamples)]
    if not np.isfinite(estimate[0]) or defined.size < (1.0 - _MAX_UNDEFINED) * n_resamples:
        raise TooFewObservationsError("metric", f"{metric} is undefined on too many resamples; give more rows")
    low, high = np.quantile(defined, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return BootstrapInterval(
        estimate=float(estimate[0]),
        low=float(low),
        high=float(high),
        confidence_level=level,
        n_resamples=n_resamples,
        block_length=length,
    )


def _classes(labels: Labels) -> NDArray[np.generic]:
    """The labels that occur; two are found without sorting."""
    if labels.dtype.kind != "U":
        ends = labels[[int(labels.argmin()), int(labels.argmax())]]
        if np.count_nonzero(labels == ends[0]) + np.count_nonzero(labels == ends[1]) >= labels.size:
            return ends if ends[0] != ends[1] else ends[:1]
    return np.unique(labels)


def _as_binary(truth: Labels, prediction: Labels, positive: Label | None) -> tuple[_Truth, _Truth]:
    classes = np.union1d(_classes(truth), _classes(prediction))
    if classes.size > 2:
        raise InvalidInputError(
            "average", f"'binary' is for two classes and there are {classes.size}; give 'macro', 'weighted' or 'micro'"
        )
    label = _positive(classes, positive)
    return truth == label, prediction == label


def _positive(classes: NDArray[np.generic], positive: Label | None) -> Label:
    names = classes.tolist()
    if positive is None:
        if set(names) <= {0, 1} or set(names) <= {-1, 1}:
            return 1
        raise InvalidInputError("positive", f"cannot be guessed from the labels {names}; name the positive class")
    if isinstance(positive, str) != (classes.dtype.kind == "U"):
        raise InvalidInputError("positive", f"{positive!r} is of another kind (text or number) than the labels {names}")
    if len(names) == 2 and positive not in names:
        raise InvalidInputError("positive", f"{positive!r} is none of the labels {names}")
    return positive


def _averaged_metrics(truth: Labels, prediction: Labels, average: Average) -> dict[str, float]:
    same = truth == prediction
    accuracy = float(np.count_nonzero(same)) / truth.size
    if average == "micro":  # every row has one label and one prediction, so all of them are the accuracy
        return dict.fromkeys(("precision", "recall", "f1_score", "accuracy"), accuracy)
    classes, codes = np.unique(np.concatenate((truth, prediction)), return_inverse=True)
    true_codes, predicted_codes = codes[: truth.size], codes[truth.size :]
    hits, true, predicted = (
        np.bincount(code, minlength=classes.size) for code in (true_codes[same], true_codes, predicted_codes)
    )
    weights = true if average == "weighted" else np.ones_like(true)
    ratios = {"precision": (hits, predicted), "recall": (hits, true), "f1_score": (2 * hits, predicted + true)}
    means = {name: _weighted_mean(a, b, weights) for name, (a, b) in ratios.items()}
    return {name: mean for name, mean in means.items() if mean is not None} | {"accuracy": accuracy}


def _weighted_mean(
    numerator: NDArray[np.intp], denominator: NDArray[np.intp], weights: NDArray[np.intp]
) -> float | None:
    counts = weights > 0
    if not denominator[counts].all():
        return None
    return float(np.average(numerator[counts] / denominator[counts], weights=weights[counts]))


def _as_score(y_score: ArrayLike, is_true: _Truth) -> Floats:
    score = as_floats(y_score, "y_score")
    check_lengths(is_true, score, "y_score")
    return score


def _roc_auc(is_true: _Truth, score: Floats) -> dict[str, float]:
    """Share of the pairs (positive, negative) that the score orders rightly; a tie counts half."""
    n_true = np.count_nonzero(is_true)
    n_false = is_true.size - n_true
    if not n_true or not n_false:
        return {}
    order = np.argsort(score)
    ascending = score[order]
    ends = np.append(np.flatnonzero(ascending[1:] != ascending[:-1]), score.size - 1)
    true_up_to = np.cumsum(is_true[order])[ends]
    false_up_to = ends + 1 - true_up_to
    true, false = np.diff(true_up_to, prepend=0), np.diff(false_up_to, prepend=0)
    right = float(np.sum(false * (n_true - true_up_to + 0.5 * true)))
    return {"roc_auc": right / (float(n_true) * float(n_false))}


def _regression_terms(y_true: ArrayLike, y_pred: ArrayLike) -> _Terms:
    truth, prediction = as_floats(y_true, "y_true"), as_floats(y_pred, "y_pred")
    check_lengths(truth, prediction, "y_pred")
    error = np.abs(truth - prediction)
    squared, one = error * error, np.ones(truth.size)
    terms: dict[str, tuple[Floats, ...]] = {"rmse": (squared, one), "mae": (error, one)}
    if truth.all():
        terms["mape"] = (error / np.maximum(np.abs(truth), _EPSILON), one)
    # Not by the variance: that of equal numbers is often not 0 after rounding.
    if truth.min() != truth.max():
        centred = truth - truth.mean()
        terms["r_squared"] = (squared, one, centred, centred * centred)
    return terms


def _binary_terms(is_true: _Truth, is_predicted: _Truth, is_correct: _Truth, score: Floats | None) -> _Terms:
    hit, one = is_true & is_predicted, np.ones(is_true.size)
    terms: dict[str, tuple[NDArray[np.generic], ...]] = {
        "precision": (hit, is_predicted),
        "recall": (hit, is_true),
        "f1_score": (2.0 * hit, np.add(is_true, is_predicted, dtype=np.int8)),
        "accuracy": (is_correct, one),
    }
    if score is not None and score.min() >= 0.0 and score.max() <= 1.0:
        likelihood = np.where(is_true, score, 1.0 - score)
        terms["log_loss"] = (-np.log(np.clip(likelihood, _EPSILON, 1.0 - _EPSILON)), one)
        terms["brier_score"] = ((1.0 - likelihood) ** 2, one)
    return terms


def _classification_terms(
    y_true: ArrayLike, y_pred: ArrayLike, y_score: ArrayLike | None, positive: Label | None
) -> _Terms:
    truth, prediction = as_label_pair(y_true, y_pred)
    is_true, is_predicted = _as_binary(truth, prediction, positive)
    score = None if y_score is None else _as_score(y_score, is_true)
    return _binary_terms(is_true, is_predicted, truth == prediction, score)


def _metrics(terms: _Terms) -> dict[str, float]:
    metrics = {
        name: float(_combine(name, np.array([[np.sum(rows, dtype=np.float64)] for rows in parts]))[0])
        for name, parts in terms.items()
    }
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _combine(metric: str, sums: Floats) -> Floats:
    """The metric from the sums of its terms, shape (terms, resamples); not finite where it is undefined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric == "r_squared":
            squared, n, centred, centred_squared = sums
            # At the rounding of its two parts the difference holds nothing.
            total = centred_squared - centred**2 / n
            return np.where(total > 1e-12 * centred_squared, 1.0 - squared / total, np.nan)
        ratio: Floats = sums[0] / sums[1]
        return np.sqrt(ratio) if metric == "rmse" else ratio


def _block_sums(terms: tuple[NDArray[np.generic], ...], block_length: int | None) -> tuple[Floats, int]:
    n = terms[0].size
    length = -(-n // _MAX_BLOCKS) if block_length is None else check.as_int(block_length, "block_length", low=1)
    starts = np.arange(0, n, length)
    if starts.size < _MIN_BLOCKS:
        raise TooFewObservationsError(
            "y_true", f"has {n} rows, {starts.size} blocks of {length}; {_MIN_BLOCKS} blocks are needed"
        )
    return np.stack([np.add.reduceat(term, starts, dtype=np.float64) for term in terms]), length


def _resampled_sums(blocks: Floats, n_resamples: int, seed: int) -> list[Floats]:
    rng = np.random.default_rng(check.as_int(seed, "seed"))
    n_blocks = blocks.shape[1]
    step = max(1, _MAX_DRAWS // n_blocks)
    sums = []
    for done in range(0, n_resamples, step):
        drawn = rng.integers(0, n_blocks, (min(step, n_resamples - done), n_blocks))
        sums.append(np.stack([term[drawn].sum(axis=1) for term in blocks]))
    return sums
