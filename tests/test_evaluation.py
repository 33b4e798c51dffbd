"""Metrics from arrays: scikit-learn as oracle, and what is said where scikit-learn invents a number."""

from __future__ import annotations

import math
import subprocess
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn import metrics as sklearn_metrics

from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.evaluation import bootstrap_interval, classification_metrics, evaluate, regression_metrics


def _regression(n: int = 500, seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(50.0, 10.0, n)
    return truth, truth + rng.normal(0.5, 3.0, n)


def _binary(n: int = 500, seed: int = 2) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.3).astype(np.int64)
    score = np.clip(0.3 * truth + 0.8 * rng.random(n), 0.0, 1.0).round(2)  # rounded: ties, zeros and ones
    return truth, (score > 0.5).astype(np.int64), score


class Frame:
    """What numpy reads of a dataframe's column."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._values


@pytest.mark.parametrize("n", [2, 3, 500])
def test_regression_agrees_with_scikit_learn(n: int) -> None:
    """R², RMSE, MAE and MAPE are scikit-learn's."""
    truth, prediction = _regression(n)
    expected = {
        "rmse": sklearn_metrics.root_mean_squared_error(truth, prediction),
        "mae": sklearn_metrics.mean_absolute_error(truth, prediction),
        "mape": sklearn_metrics.mean_absolute_percentage_error(truth, prediction),
        "r_squared": sklearn_metrics.r2_score(truth, prediction),
    }
    assert regression_metrics(truth, prediction) == pytest.approx(expected, rel=1e-12)


def test_a_large_offset_costs_no_precision() -> None:
    """With 1e9 added to both, R² and RMSE are the same to 8 digits."""
    truth, prediction = _regression()
    small, large = regression_metrics(truth, prediction), regression_metrics(truth + 1e9, prediction + 1e9)
    assert large["r_squared"] == pytest.approx(small["r_squared"], rel=1e-8)
    assert large["rmse"] == pytest.approx(small["rmse"], rel=1e-8)


def test_a_poor_model_has_a_negative_r_squared() -> None:
    """R² is unbounded below and given as it is."""
    assert regression_metrics([1.0, 2.0, 3.0], [11.0, 12.0, 13.0])["r_squared"] == -149.0  # 1 - 300 / 2


@pytest.mark.parametrize("constant", [3.0, 0.1, 0.0])
def test_constant_truth_has_no_r_squared(constant: float) -> None:
    """Where all true values are equal R² is left out (scikit-learn: 0 or 1), even if their mean is rounded."""
    found = regression_metrics(np.full(10, constant), np.full(10, constant + 1.0))
    assert "r_squared" not in found
    assert found["rmse"] == pytest.approx(1.0)


def test_one_row_has_errors_and_no_r_squared() -> None:
    """A single row has an error, and nothing to relate it to."""
    assert regression_metrics([4.0], [5.0]) == {"rmse": 1.0, "mae": 1.0, "mape": 0.25}


def test_a_zero_leaves_mape_out() -> None:
    """A true value of 0 makes the percentage undefined (scikit-learn: 1e15)."""
    found = regression_metrics([0.0, 2.0, 4.0], [1.0, 2.0, 4.0])
    assert set(found) == {"rmse", "mae", "r_squared"}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.int16, np.uint8])
def test_number_types(dtype: type) -> None:
    """Every number type is computed as 64-bit floats: unsigned differences do not wrap, small floats not overflow."""
    rows: NDArray[Any] = np.array([[10, 200, 30], [20, 100, 30]], dtype=dtype)
    assert regression_metrics(*rows)["mae"] == pytest.approx(110 / 3)


def test_sequences_and_columns() -> None:
    """Lists, tuples, and whatever numpy can read are taken."""
    truth, prediction = _regression(20)
    expected = regression_metrics(truth, prediction)
    assert regression_metrics(truth.tolist(), tuple(prediction)) == expected
    assert regression_metrics(Frame(truth), Frame(prediction)) == expected
    assert regression_metrics(np.ma.array(truth), prediction) == expected
    assert regression_metrics(np.repeat(truth, 2)[::2], prediction) == expected


def test_the_input_is_not_changed() -> None:
    """The arrays that came in are as they were, and may be read-only."""
    truth, prediction = _regression(20)
    copies = truth.copy(), prediction.copy()
    truth.flags.writeable = prediction.flags.writeable = False
    regression_metrics(truth, prediction)
    bootstrap_interval(truth, prediction, "r_squared", n_resamples=100)
    assert np.array_equal(truth, copies[0])
    assert np.array_equal(prediction, copies[1])


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([1.0, 2.0], [1.0], "y_pred: has 1 rows and y_true has 2"),
        ([], [], "y_true: is empty"),
        ([1.0, math.nan], [1.0, 2.0], "y_true: holds nan at position 1"),
        ([1.0, 2.0], [-math.inf, 2.0], "y_pred: holds -inf at position 0"),
        ([1.0, 1e200], [1.0, 2.0], "y_true: holds 1e+200 at position 1"),
        ([True, False], [1.0, 2.0], "y_true: holds bool, not numbers"),
        (["1", "2"], [1.0, 2.0], "y_true: holds <U1, not numbers"),
        ([1.0, 2.0], [Decimal(1), Decimal(2)], "y_pred: holds object, not numbers"),
        ([1.0, 2.0], [1.0, None], "y_pred: holds object, not numbers"),
        ([1.0, 2.0], [1j, 2j], "y_pred: holds complex128, not numbers"),
        ([1.0, 2.0], [[1.0], [2.0]], "y_pred: has the shape (2, 1)"),
        ([1.0, 2.0], [[1.0], [2.0, 3.0]], "y_pred: is ragged"),
        (1.0, 1.0, "y_true: has the shape ()"),
        (np.ma.masked_equal([1.0, 2.0], 1.0), [1.0, 2.0], "y_true: has masked entries"),
    ],
)
def test_bad_numbers_are_refused_by_name(truth: Any, prediction: Any, message: str) -> None:
    """What are no finite numbers in rows is refused with the argument's name and the mend."""
    with pytest.raises(InvalidInputError) as refused:
        regression_metrics(truth, prediction)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("scale", [1e-200, 1e-150, 1e149])
def test_extreme_scales_give_no_nan(scale: float) -> None:
    """At any scale every metric that is given is finite."""
    found = regression_metrics(scale * np.array([1.0, 2.0, 3.0]), scale * np.array([1.5, 2.0, 2.0]))
    assert {"rmse", "mae"} <= set(found)
    assert all(math.isfinite(value) for value in found.values())


def test_binary_agrees_with_scikit_learn() -> None:
    """Precision to Brier score are scikit-learn's, with tied scores and probabilities of exactly 0 and 1."""
    truth, prediction, score = _binary()
    expected = {
        "precision": sklearn_metrics.precision_score(truth, prediction),
        "recall": sklearn_metrics.recall_score(truth, prediction),
        "f1_score": sklearn_metrics.f1_score(truth, prediction),
        "accuracy": sklearn_metrics.accuracy_score(truth, prediction),
        "roc_auc": sklearn_metrics.roc_auc_score(truth, score),
        "log_loss": sklearn_metrics.log_loss(truth, score),
        "brier_score": sklearn_metrics.brier_score_loss(truth, score),
    }
    assert {0.0, 1.0} <= set(score)
    assert classification_metrics(truth, prediction, y_score=score) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
@pytest.mark.parametrize("names", [None, ["ant", "bee", "cat", "dog"]])
def test_averages_agree_with_scikit_learn(average: Any, names: list[str] | None) -> None:
    """Averages over four classes, as numbers or names, are scikit-learn's."""
    rng = np.random.default_rng(3)
    truth: NDArray[Any] = rng.integers(0, 4, 300)
    prediction: NDArray[Any] = np.where(rng.random(300) < 0.6, truth, rng.integers(0, 4, 300))
    if names is not None:
        truth, prediction = np.array(names)[truth], np.array(names)[prediction]
    found = classification_metrics(truth, prediction, average=average)
    expected = sklearn_metrics.precision_recall_fscore_support(truth, prediction, average=average)[:3]
    assert (found["precision"], found["recall"], found["f1_score"]) == pytest.approx(expected, rel=1e-12)
    assert found["accuracy"] == sklearn_metrics.accuracy_score(truth, prediction)


@pytest.mark.parametrize(
    ("no", "yes", "positive"),
    [(0, 1, None), (-1, 1, None), (False, True, None), (0.0, 1.0, None), ("no", "yes", "yes"), (7, 5, 5), (2, 1, 1)],
)
def test_labels_may_be_numbers_booleans_or_text(no: Any, yes: Any, positive: Any) -> None:
    """The metrics do not depend on what the two classes are called."""
    truth, prediction, _ = _binary(100)
    names = np.array([no, yes])
    expected = classification_metrics(truth, prediction)
    assert classification_metrics(names[truth], names[prediction], positive=positive) == expected
    objects = [names[truth].astype(object), names[prediction].tolist()]
    if not isinstance(no, float):
        assert classification_metrics(*objects, positive=positive) == expected


def test_nothing_predicted_positive_has_no_precision() -> None:
    """Without a positive prediction precision is left out (scikit-learn: 0); recall and F1 are 0."""
    assert classification_metrics([0, 1, 1, 0], [0, 0, 0, 0]) == {"recall": 0.0, "f1_score": 0.0, "accuracy": 0.5}


def test_nothing_positive_has_no_recall() -> None:
    """Without a positive row recall is left out; precision and F1 are 0."""
    assert classification_metrics([0, 0, 0], [0, 1, 0]) == {"precision": 0.0, "f1_score": 0.0, "accuracy": 2 / 3}


def test_one_class_only_has_an_accuracy_and_a_log_loss() -> None:
    """A window of negatives only has no precision, recall, F1 or AUC; what it has is given."""
    found = classification_metrics([0, 0, 0], [0, 0, 0], y_score=[0.5, 0.5, 0.5])
    assert found == pytest.approx({"accuracy": 1.0, "log_loss": math.log(2), "brier_score": 0.25})


def test_scores_that_are_no_probabilities_have_an_auc_only() -> None:
    """Decision values outside [0, 1] rank the rows and are no probabilities."""
    found = classification_metrics([0, 1, 0, 1], [0, 1, 0, 1], y_score=[-2.0, 3.0, -0.5, 0.1])
    assert found["roc_auc"] == 1.0
    assert "log_loss" not in found
    assert "brier_score" not in found


def test_the_auc_depends_on_order_only() -> None:
    """A monotone function of the scores leaves the AUC; a decreasing one gives 1 - AUC; equal scores .5."""
    truth, prediction, score = _binary(200)
    auc = classification_metrics(truth, prediction, y_score=score)["roc_auc"]
    assert classification_metrics(truth, prediction, y_score=np.exp(3 * score))["roc_auc"] == auc
    assert classification_metrics(truth, prediction, y_score=-score)["roc_auc"] == pytest.approx(1 - auc, rel=1e-12)
    assert classification_metrics(truth, prediction, y_score=np.full(200, 0.3))["roc_auc"] == 0.5


def test_a_class_that_is_never_predicted_leaves_the_macro_precision_out() -> None:
    """The mean over classes is left out where one of them is undefined; a class without weight does not count."""
    truth, prediction = [0, 1, 2, 2], [0, 1, 1, 3]
    macro = classification_metrics(truth, prediction, average="macro")
    weighted = classification_metrics(truth, prediction, average="weighted")
    assert set(macro) == {"f1_score", "accuracy"}  # 2 is never predicted, 3 never true
    assert set(weighted) == {"recall", "f1_score", "accuracy"}
    assert weighted["recall"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y_true": [0, 1, 2], "y_pred": [0, 1, 2]}, "average: 'binary' is for two classes and there are 3"),
        ({"y_true": [0, 1], "y_pred": [0, 5]}, "average: 'binary' is for two classes and there are 3"),
        ({"y_true": ["a", "b"], "y_pred": ["a", "b"]}, "positive: cannot be guessed from the labels ['a', 'b']"),
        ({"y_true": [3, 3], "y_pred": [3, 3]}, "positive: cannot be guessed from the labels [3]"),
        ({"positive": 2}, "positive: 2 is none of the labels [0, 1]"),
        ({"positive": "1"}, "positive: '1' is of another kind"),
        ({"y_pred": ["0", "1"]}, "y_pred: holds labels of another kind"),
        ({"y_pred": [0.2, 0.9]}, "y_pred: holds 0.2, which is no class label; probabilities belong to y_score"),
        ({"y_true": [0.0, math.nan]}, "y_true: holds nan, which is no class label; leave out rows without a label"),
        ({"y_true": ["a", None]}, "y_true: holds None; give labels of one kind"),
        ({"y_true": np.array(["a", 1], dtype=object)}, "y_true: holds 'text and numbers together'"),
        ({"y_true": [2**63, 2**63 + 1]}, "y_true: holds labels of 2^63 and more"),
        ({"y_true": [2**70, 1]}, "y_true: holds object, not labels"),
        ({"y_true": [1j, 2j]}, "y_true: holds complex128, not labels"),
        ({"y_pred": [1]}, "y_pred: has 1 rows and y_true has 2"),
        ({"y_true": [], "y_pred": []}, "y_true: is empty"),
        ({"y_pred": [[0, 1]]}, "y_pred: has the shape (1, 2)"),
        ({"y_score": [0.5]}, "y_score: has 1 rows and y_true has 2"),
        ({"y_score": [0.5, math.nan]}, "y_score: holds nan at position 1"),
        ({"y_score": [[0.5, 0.5], [0.1, 0.9]]}, "y_score: has the shape (2, 2)"),
        ({"average": "macro", "y_score": [0.1, 0.9]}, "y_score: is for two classes"),
        ({"average": "macro", "positive": 1}, "positive: is for two classes"),
        ({"average": "samples"}, "average: 'samples' is none of"),
    ],
)
def test_bad_labels_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    """What are no labels, or cannot be read as two classes, is refused with the argument's name and the mend."""
    call: dict[str, Any] = {"y_true": [0, 1], "y_pred": [0, 1]} | arguments
    with pytest.raises(InvalidInputError) as refused:
        classification_metrics(**call)
    assert str(refused.value).startswith(message)


def test_evaluate_passes_on() -> None:
    """The task chooses the function."""
    truth, prediction = _regression(30)
    assert evaluate(truth, prediction) == regression_metrics(truth, prediction)
    labels, predicted, score = _binary(30)
    expected = classification_metrics(labels, predicted, y_score=score)
    assert evaluate(labels, predicted, "classification", y_score=score) == expected


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [({"task": "ranking"}, "task"), ({"y_score": [1.0]}, "y_score"), ({"positive": 1}, "positive")],
)
def test_evaluate_refuses_by_name(arguments: dict[str, Any], argument: str) -> None:
    """An unknown task, and a classification's argument in a regression, are refused by name."""
    with pytest.raises(InvalidInputError) as refused:
        evaluate([1.0], [1.0], **arguments)
    assert refused.value.argument == argument


def test_the_import_is_cheap() -> None:
    """The module needs neither scipy nor scikit-learn to run."""
    code = (
        "import sys; from model_perf.evaluation import evaluate; evaluate([1.0, 2.0], [1.0, 3.0]);"
        "sys.exit(any(name in sys.modules for name in ('scipy', 'sklearn', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("metric", ["r_squared", "rmse", "mae", "mape"])
def test_every_regression_metric_has_an_interval(metric: str) -> None:
    """The estimate is the metric itself and lies within its interval."""
    truth, prediction = _regression()
    interval = bootstrap_interval(truth, prediction, metric)
    assert interval.estimate == pytest.approx(regression_metrics(truth, prediction)[metric], rel=1e-12)
    assert interval.low < interval.estimate < interval.high


@pytest.mark.parametrize("metric", ["precision", "recall", "f1_score", "accuracy", "log_loss", "brier_score"])
def test_every_binary_metric_has_an_interval(metric: str) -> None:
    """The estimate is the metric itself and lies within its interval."""
    truth, prediction, score = _binary()
    interval = bootstrap_interval(truth, prediction, metric, task="classification", y_score=score)
    expected = classification_metrics(truth, prediction, y_score=score)[metric]
    assert interval.estimate == pytest.approx(expected, rel=1e-12)
    assert interval.low < interval.estimate < interval.high


def test_the_standard_error_is_that_of_a_mean() -> None:
    """The interval of MAE is the mean of the absolute errors +- 1.96 sd / sqrt(n), within a twentieth."""
    truth, prediction = _regression(2000)
    error = np.abs(truth - prediction)
    interval = bootstrap_interval(truth, prediction, "mae")
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error.std() / math.sqrt(2000), rel=0.05)


def test_the_seed_decides() -> None:
    """The same seed gives the same interval, another one another."""
    truth, prediction = _regression()
    first, again, other = (bootstrap_interval(truth, prediction, "rmse", seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_blocks_keep_what_neighbours_share() -> None:
    """Where errors come in runs of 20, blocks of 20 widen the interval by about sqrt(20)."""
    rng = np.random.default_rng(7)
    truth = np.arange(4000.0)
    error = np.abs(np.repeat(rng.standard_normal(200), 20))
    rows, blocks = (bootstrap_interval(truth, truth + error, "mae", block_length=length) for length in (1, 20))
    assert (blocks.high - blocks.low) / (rows.high - rows.low) == pytest.approx(math.sqrt(20), rel=0.15)


def test_long_windows_are_drawn_in_blocks() -> None:
    """Of 25,000 rows three are drawn together, so that no more than 10,000 are drawn at once."""
    truth, prediction = _regression(25_000)
    assert bootstrap_interval(truth, prediction, "rmse", n_resamples=100).block_length == 3


@pytest.mark.parametrize("metric", ["rmse", "r_squared"])
def test_coverage(metric: str) -> None:
    """The 95% interval on 100 rows misses the true value in at most 8%; binomial bound at .999 on 1,000 windows."""
    # Errors of sd 3 on values of sd 10, without bias: RMSE 3, R² 1 - 9/100.
    target = {"rmse": 3.0, "r_squared": 0.91}[metric]
    rng = np.random.default_rng(8)
    missed = 0
    for _ in range(1000):
        truth = rng.normal(50.0, 10.0, 100)
        interval = bootstrap_interval(truth, truth + rng.normal(0.0, 3.0, 100), metric, n_resamples=400)
        missed += not interval.low <= target <= interval.high
    assert missed <= binom.ppf(0.999, 1000, 0.08)


def test_too_few_blocks_have_no_interval() -> None:
    """Nineteen rows, or nineteen blocks, are refused."""
    truth, prediction = _regression(190)
    with pytest.raises(TooFewObservationsError, match="20 blocks are needed"):
        bootstrap_interval(truth[:19], prediction[:19], "rmse")
    with pytest.raises(TooFewObservationsError, match="19 blocks of 10"):
        bootstrap_interval(truth, prediction, "rmse", block_length=10)


def test_a_metric_undefined_on_many_resamples_has_no_interval() -> None:
    """With one positive prediction in 40 rows a third of the resamples have no precision: refused."""
    truth = np.array([1] * 10 + [0] * 30)
    prediction = np.array([1] + [0] * 39)
    with pytest.raises(TooFewObservationsError, match="precision is undefined on too many resamples"):
        bootstrap_interval(truth, prediction, "precision", task="classification")


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"metric": "roc_auc"}, "metric"),
        ({"metric": "precision"}, "metric"),
        ({"confidence_level": 1.0}, "confidence_level"),
        ({"n_resamples": 10}, "n_resamples"),
        ({"block_length": 0}, "block_length"),
        ({"seed": -1}, "seed"),
        ({"task": "ranking"}, "task"),
    ],
)
def test_a_bad_request_is_refused_by_name(arguments: dict[str, Any], argument: str) -> None:
    """An interval of what cannot be resampled is refused with the argument's name."""
    truth, prediction = _regression(50)
    with pytest.raises(InvalidInputError) as refused:
        bootstrap_interval(truth, prediction, **({"metric": "rmse"} | arguments))
    assert refused.value.argument == argument
