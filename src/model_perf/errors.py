"""Every error that model_perf raises on purpose.

::

    ModelPerfError
    ├── InvalidInputError(ValueError)     names the argument, the value and the mend
    │   ├── NaiveTimestampError
    │   └── TooFewObservationsError
    ├── NotFoundError(LookupError)
    ├── ConflictError                     a state machine said no; carries the row that won
    ├── SchemaError                       not migrated, or migrated by a newer version
    └── StorageError                      the driver's error as __cause__; says whether to retry
"""

from __future__ import annotations


class ModelPerfError(Exception):
    """The base of them all; each can be pickled, to pass from a worker's process to its parent."""

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[ModelPerfError], args: tuple[object, ...], attributes: dict[str, object]) -> ModelPerfError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class InvalidInputError(ModelPerfError, ValueError):
    """An argument was refused before anything was written.

    Attributes
    ----------
    argument : str
        The name of the argument, as the caller wrote it.
    """

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(f"{_shortened(argument, 300)}: {_shortened(message, 1000)}")
        self.argument = argument


def _shortened(text: str, longest: int) -> str:
    """Both ends of *text*: what was given, which may be megabytes, and how to mend it."""
    return text if len(text) <= longest else f"{text[: longest // 2]} … {text[-longest // 2 :]}"


class NaiveTimestampError(InvalidInputError):
    """A datetime without a time zone: nobody can say which instant it means."""


class TooFewObservationsError(InvalidInputError):
    """The computation has no answer for so few observations."""


class NotFoundError(ModelPerfError, LookupError):
    """No row has that id."""


class ConflictError(ModelPerfError):
    """The request contradicts what is stored.

    Attributes
    ----------
    existing : object or None
        The record that won (an `Evaluation`, `TrainingRun`, `ABTest` or `Alert`), where there is one.
    """

    def __init__(self, message: str, existing: object | None = None) -> None:
        super().__init__(message)
        self.existing = existing


class SchemaError(ModelPerfError):
    """The tables are missing, foreign, or newer than this library; the message says which command mends it."""


class StorageError(ModelPerfError):
    """PostgreSQL or the connection failed; the driver's error is ``__cause__``.

    Attributes
    ----------
    retry_safe : bool
        Repeating the same call cannot write anything twice.
    outcome_unknown : bool
        The statement may have been committed although no answer came.
    """

    def __init__(self, message: str, *, retry_safe: bool, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.retry_safe = retry_safe
        self.outcome_unknown = outcome_unknown
