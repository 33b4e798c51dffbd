"""What a request may say: the parameters of the routes, each with its limits and its description."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from inspect import signature
from typing import Annotated, Any, Literal, NoReturn, TypedDict, cast
from urllib.parse import unquote_to_bytes
from uuid import UUID

from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from model_perf import InvalidInputError
from model_perf.web._problems import RequestRefusedError

MAX_BODY_BYTES = 256 * 1024
"""A thousand times the size of a usual metrics object."""

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_DATE_AND_TIME = re.compile(r"(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt _]")
_SPACED_OFFSET = re.compile(r"\S+[T ]\S+ \d\d:?\d\d")


def _as_written(value: object) -> object:
    """pydantic would take a number for seconds since 1970, and cannot know that a space was a plus."""
    if isinstance(value, str):
        if _SPACED_OFFSET.fullmatch(value):
            raise ValueError("a + in a URL stands for a space; write it as %2B, or give the time in UTC with a Z")
        if not _DATE_AND_TIME.match(value):
            raise ValueError("give ISO 8601 with a time zone, as in 2024-11-03T00:00:00Z")
    return value


def _storable(text: str) -> str:
    """Said under the parameter's own name; the facade knows `by` under several others."""
    if "\x00" in text:
        raise ValueError("contains a NUL character, which cannot be stored")
    if not text.strip():
        raise ValueError("is blank; give some text")
    return text


def _within_calendar(moment: datetime) -> datetime:
    """The ends of Python's calendar are infinity to the driver, and its edge has no time in UTC."""
    try:
        if datetime.min.replace(tzinfo=UTC) < moment.astimezone(UTC) < datetime.max.replace(tzinfo=UTC):
            return moment
    except OverflowError:
        pass
    raise ValueError("lies outside of the years 1 to 9999 in UTC")


Moment = Annotated[AwareDatetime, BeforeValidator(_as_written), AfterValidator(_within_calendar)]
Text = Annotated[str, AfterValidator(_storable)]

ModelId = Annotated[UUID, Query(description="Id of the model.")]
ModelType = Annotated[Text, Query(min_length=1, max_length=200, description="What kind of model it is.")]
MachineId = Annotated[
    UUID, Query(description="Id of the machine; the nil UUID for a model that serves no machine in particular.")
]
ModelVersion = Annotated[
    int | None,
    Query(
        ge=0, le=2**31 - 1, description="Default: the version in service as the host knows it, else the newest known."
    ),
]
Start = Annotated[Moment, Query(description="Start of the window, included; ISO 8601 with a time zone.")]
End = Annotated[Moment, Query(description="End of the window, excluded.")]
SampleCount = Annotated[int | None, Query(ge=0, le=2**63 - 1, description="Rows behind the metrics; absent = unknown.")]
Completeness = Annotated[
    float | None, Query(ge=0, le=1, description="Share of the expected rows that were there; absent = looked up.")
]
EvaluationId = Annotated[UUID | None, Query(description="Makes a repeat of the request harmless.")]
Days = Annotated[float, Query(ge=0.001, le=36_525, description="Length of the period that ends now.")]
Metric = Annotated[
    Text | None, Query(min_length=1, max_length=200, description="Default: the primary metric of those that are there.")
]
TriggerType = Annotated[
    Literal["manual", "scheduled", "drift", "degradation", "drift_detected", "performance_degradation"],
    Query(description="The last two are stored as drift and degradation."),
]
Reason = Annotated[Text | None, Query(min_length=1, max_length=10_000, description="Why, in words; kept.")]
Notes = Annotated[Text | None, Query(min_length=1, max_length=10_000, description="A comment; kept.")]
ABTestName = Annotated[Text, Query(min_length=1, max_length=200)]
DurationHours = Annotated[float, Query(ge=0.001, le=87_660)]
TrafficSplit = Annotated[float, Query(ge=1e-12, le=1 - 1e-12, description="Share of model_b.")]
FilterModelType = Annotated[Text | None, Query(min_length=1, max_length=200, description="Only of this model type.")]
FilterMachineId = Annotated[UUID | None, Query(description="Only of this machine.")]
FilterSeverity = Annotated[Literal["info", "warning", "critical"] | None, Query(description="Only of this severity.")]
Resolution = Annotated[Literal["recovered", "retrained", "false_positive", "manual"], Query()]
IncludeSnoozed = Annotated[bool, Query(description="Whether those are listed that somebody has put aside.")]
SnoozeHours = Annotated[float | None, Query(ge=0.001, le=87_660, description="From now; default 24. Or give until.")]
SnoozeUntil = Annotated[Moment | None, Query(description="A time to come; ISO 8601 with a time zone.")]
Enabled = Annotated[bool, Query(description="Whether the policy may act by itself.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Rows of a page; the Link header leads to the next one.")]
Cursor = Annotated[str | None, Query(max_length=2_000, description="From the Link header of the page before.")]
PathId = Annotated[UUID, Path()]


# None of the dependencies waits for anything; they are async all the same, since FastAPI would hand others to a thread.
async def _who(
    request: Request,
    by: Annotated[Text | None, Query(min_length=1, max_length=200, description="Who does it; kept.")] = None,
) -> str | None:
    known: str | None = getattr(request.state, "model_perf_user", None)
    if known is not None and by not in (None, known):
        raise RequestRefusedError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "by", f"{by!r} is not who is logged in; leave the parameter out"
        )
    return by if known is None else known


By = Annotated[str | None, Depends(_who)]


def remember_user(user: Callable[..., Any]) -> Callable[..., Any]:
    """A dependency that keeps what the host's dependency *user* says, for `By`."""

    async def remember(request: Request, name: str | None = Depends(user)) -> None:
        request.state.model_perf_user = None if name is None else str(name)

    return remember


async def refuse_garbled(request: Request) -> None:
    """Of what is no UTF-8 the text that was meant is lost: the server would put U+FFFD in its place, and we keep it."""
    for part in request.scope["query_string"].split(b"&"):
        name, _, value = part.partition(b"=")
        try:
            unquote_to_bytes(part).decode()
        except UnicodeDecodeError:
            mend = "is not UTF-8"
        else:
            if not _BROKEN_ESCAPE.search(value):
                continue
            mend = "has a % that begins no escape; write it as %25"
        shown = unquote_to_bytes(name).decode(errors="replace")
        raise RequestRefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, shown, mend)


def refuse_repeated(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """A dependency that takes each parameter of *endpoint* once: of one given twice nobody knows which is meant.

    What a host's own dependencies take is theirs.
    """
    ours = {*signature(endpoint).parameters, "by"}

    async def refuse(request: Request) -> None:
        names = Counter(name for name, _ in request.query_params.multi_items())
        for name, times in names.items():
            if times > 1 and name in ours:
                raise RequestRefusedError(
                    HTTPStatus.UNPROCESSABLE_ENTITY, name, f"is given {times} times; give it once"
                )

    return refuse


async def _read_object(request: Request, example: str) -> dict[str, Any]:
    """The body, a JSON object."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if not re.fullmatch(r"application/(.+\+)?json", kind):
        raise RequestRefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "body", f"is {kind!r}; send application/json, as in {example}"
        )
    body = await _read_limited(request)
    try:
        found = json.loads(
            body.decode("utf-8-sig"), object_pairs_hook=_without_repeats, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError("body", f"is not JSON in UTF-8; send an object, as in {example}") from None
    if not isinstance(found, dict):
        raise InvalidInputError("body", f"is a JSON {_KINDS[type(found)]}; send an object, as in {example}")
    return found


async def _read_metrics(request: Request) -> dict[str, float]:
    """Names and numbers, which are checked by `ModelPerformanceTracker.record`."""
    metrics = await _read_object(request, '{"rmse": 12.1}')
    for name, value in metrics.items():
        if type(value) not in (int, float):
            raise InvalidInputError(
                f"metrics[{name!r}]", f"is a JSON {_KINDS[type(value)]}; give a number or leave it out"
            )
    return metrics


class ObservationsBody(TypedDict):
    """Outcomes, a row each, as `ModelPerformanceTracker.observe_many` takes and checks them."""

    arms: list[str]
    values: list[float]
    units: list[str | int] | None
    covariates: list[float] | None


async def _read_observations(request: Request) -> ObservationsBody:
    found = await _read_object(request, '{"arms": ["a", "b"], "values": [1.2, 0.9]}')
    names = ObservationsBody.__annotations__
    if unknown := found.keys() - names.keys():
        raise InvalidInputError("body", f"has {min(unknown)!r}, which observations have not; give {', '.join(names)}")
    columns = {name: found.get(name) for name in names}
    for name, column in columns.items():
        if column is None and name in ("units", "covariates"):
            continue
        if not isinstance(column, list):
            said = "is missing" if column is None else f"is a JSON {_KINDS[type(column)]}"
            raise InvalidInputError(name, f"{said}; give an array with an entry per observation")
        for place, value in enumerate(column):
            if type(value) not in _ENTRIES[name]:
                raise InvalidInputError(name, f"holds a JSON {_KINDS[type(value)]} at position {place}")
    return cast(ObservationsBody, columns)


Metrics = Annotated[dict[str, float], Depends(_read_metrics)]

_ENTRIES: dict[str, tuple[type, ...]] = {
    "arms": (str,), "values": (int, float), "units": (str, int), "covariates": (int, float),
}  # fmt: skip

Observations = Annotated[ObservationsBody, Depends(_read_observations)]
BatchId = Annotated[UUID | None, Query(description="Makes a repeat of the request harmless.")]
PlannedN = Annotated[
    int | None, Query(ge=2, le=10**12, description="Observations of both models by which a decision is wanted.")
]
Margin = Annotated[float | None, Query(gt=0, le=1e90, description="A smaller difference is none.")]
BetterDirection = Annotated[
    Literal["lower", "higher"] | None, Query(description="Which is better; default as the policy knows the metric.")
]

OBSERVATIONS_BODY = {
    "requestBody": {
        "required": True,
        "description": "Outcomes, each of the model that served it: columns of equal lengths.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["arms", "values"],
                    "additionalProperties": False,
                    "properties": {
                        "arms": {"type": "array", "items": {"enum": ["a", "b"]}},
                        "values": {"type": "array", "items": {"type": "number"}},
                        "units": {"type": "array", "items": {"type": ["string", "integer"]}},
                        "covariates": {"type": "array", "items": {"type": "number"}},
                    },
                },
                "example": {"arms": ["a", "b"], "values": [1.2, 0.9], "units": ["press 7", "press 8"]},
            }
        },
    }
}

METRICS_BODY = {
    "requestBody": {
        "required": True,
        "description": "Metrics by name, at least one.",
        "content": {
            "application/json": {
                "schema": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number"}},
                "example": {"r_squared": 0.93, "rmse": 12.1},
            }
        },
    }
}

_KINDS = {
    dict: "object", list: "array", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null",
}  # fmt: skip


async def _read_limited(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise RequestRefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body", f"has more than {MAX_BODY_BYTES} bytes; send less at once"
            )
        chunks.append(chunk)
    return b"".join(chunks)


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(name, times)] = Counter(name for name, _ in pairs).most_common(1)
        raise InvalidInputError("body", f"has {name!r} {times} times; give it once")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidInputError("body", f"contains {name}; leave out what could not be computed")
