"""The tree of errors: what a host catches."""

from __future__ import annotations

import inspect
import pickle

import pytest

from model_perf import errors
from model_perf.errors import (
    ConflictError,
    InvalidInputError,
    ModelPerfError,
    NaiveTimestampError,
    NotFoundError,
    SchemaError,
    StorageError,
    TooFewObservationsError,
)

TREE = {
    InvalidInputError: (ModelPerfError, ValueError),
    NaiveTimestampError: (InvalidInputError,),
    TooFewObservationsError: (InvalidInputError,),
    NotFoundError: (ModelPerfError, LookupError),
    ConflictError: (ModelPerfError,),
    SchemaError: (ModelPerfError,),
    StorageError: (ModelPerfError,),
}


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_an_error_stands_where_the_tree_draws_it(error: type[Exception]) -> None:
    """Each error has the bases that the drawing gives it, and the drawing names it."""
    assert error.__bases__ == TREE[error]
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__


def test_the_tree_is_whole() -> None:
    """The module holds these errors and no other."""
    defined = {thing for _, thing in inspect.getmembers(errors, inspect.isclass) if thing.__module__ == errors.__name__}
    assert defined == {*TREE, ModelPerfError}


def test_an_input_error_names_its_argument() -> None:
    """The text starts with the argument's name, which is an attribute too."""
    error = InvalidInputError("rmse[3]", "nan cannot be stored")
    assert (str(error), error.argument) == ("rmse[3]: nan cannot be stored", "rmse[3]")


def test_a_conflict_carries_the_row_that_won() -> None:
    """`existing` is the stored record, or None where there is none."""
    assert ConflictError("no", 5).existing == 5
    assert ConflictError("no").existing is None


def test_a_storage_error_says_whether_to_retry() -> None:
    """Whether a repeat is safe must be said; that the outcome is unknown is the exception."""
    error = StorageError("gone", retry_safe=True, outcome_unknown=True)
    assert (error.retry_safe, error.outcome_unknown) == (True, True)
    assert StorageError("no", retry_safe=False).outcome_unknown is False


@pytest.mark.parametrize(
    "error",
    [
        InvalidInputError("rmse", "is bad"),
        NaiveTimestampError("since", "has no zone"),
        ConflictError("no", {"a": 1}),
        NotFoundError("no"),
        StorageError("gone", retry_safe=True, outcome_unknown=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_passes_between_processes(error: ModelPerfError) -> None:
    """A worker process hands its error back whole, as multiprocessing does by pickling it."""
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_a_refusal_shows_both_ends_of_what_was_given() -> None:
    """The argument, the value and the mend, of a value of megabytes too."""
    error = InvalidInputError("limit" * 1000, f"{'x' * 10_000_000} is not a whole number")
    assert error.argument == "limit" * 1000
    assert str(error).startswith("limitlimit")
    assert ": xxx" in str(error)
    assert str(error).endswith("x is not a whole number")
    assert len(str(error)) < 1500
