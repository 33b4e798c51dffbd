"""Errors as problem details (RFC 9457): what went wrong and how to mend it, never a driver's words or a traceback."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from pydantic_core import to_json

from model_perf import (
    ConflictError,
    InvalidInputError,
    ModelPerfError,
    NotFoundError,
    SchemaError,
    StorageError,
)
from model_perf.web.schemas import ModelPerfProblem

MEDIA_TYPE = "application/problem+json"
LONGEST_DETAIL = 1_000
LONGEST_VALUE = 100
RETRY_AFTER_S = 5

_LOG = logging.getLogger(__name__)

# What an argument of the facade is called in a URL.
_PARAMETERS = {
    "name": "test_name",
    "duration": "duration_hours",
    "model_a": "model_a_id",
    "model_b": "model_b_id",
    "since": "days",
}


class RequestRefusedError(Exception):
    """A request that is wrong in itself, before anything of it was looked at."""

    def __init__(self, status: HTTPStatus, parameter: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}")
        self.status = status
        self.parameter = parameter


class ProblemRoute(APIRoute):
    """Explains our own errors and refused parameters; a host's HTTPException, and the unexpected, stay the host's."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return _explain_parameters(error.errors())
            except RequestRefusedError as error:
                return problem(error.status, "invalid_input", str(error), parameters=[error.parameter])
            except ModelPerfError as error:
                return _explain(error)

        return handle_or_explain


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route answers with, for its ``responses``."""
    content = {MEDIA_TYPE: {"schema": TypeAdapter(ModelPerfProblem).json_schema()}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def _explain_parameters(errors: Sequence[Mapping[str, Any]]) -> Response:
    parameters, messages = [], []
    for error in errors:
        name = str(error["loc"][-1])
        message = str(error["msg"]).removeprefix("Value error, ")
        shown = "" if error["type"] == "missing" else f" (got {_shortened(repr(error['input']), LONGEST_VALUE)})"
        parameters.append(name)
        messages.append(f"{name}: {message}{shown}")
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input", "; ".join(messages), parameters=parameters)


def _explain(error: ModelPerfError) -> Response:
    if isinstance(error, InvalidInputError):
        name = _PARAMETERS.get(error.argument, error.argument)
        detail = name + str(error).removeprefix(error.argument)
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input", detail, parameters=[name])
    if isinstance(error, NotFoundError):
        return problem(HTTPStatus.NOT_FOUND, "not_found", str(error))
    if isinstance(error, ConflictError):
        return problem(HTTPStatus.CONFLICT, "conflict", str(error))
    return _explain_storage(error)


def _explain_storage(error: ModelPerfError) -> Response:
    """Our own words are told; what PostgreSQL or the driver said goes to the log only."""
    _LOG.error("a request failed in storage: %s", error, exc_info=error)
    is_ours = error.__cause__ is None
    if isinstance(error, SchemaError):
        text = str(error) if is_ours else "the tables do not fit; `model-perf status` says why"
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "schema", text)
    retry_safe = isinstance(error, StorageError) and error.retry_safe
    outcome_unknown = isinstance(error, StorageError) and error.outcome_unknown
    text = str(error) if is_ours else _storage_text(retry_safe, outcome_unknown)
    headers = {"retry-after": str(RETRY_AFTER_S)} if retry_safe else {}
    return problem(
        *(HTTPStatus.SERVICE_UNAVAILABLE, "storage", text),
        headers=headers,
        retry_safe=retry_safe,
        outcome_unknown=outcome_unknown,
    )


def _storage_text(retry_safe: bool, outcome_unknown: bool) -> str:
    outcome = "; whether the call took effect is unknown" if outcome_unknown else ""
    advice = "the same request may be sent again" if retry_safe else "do not just send it again"
    return f"the database did not answer as it should{outcome}; {advice}; the application's log says more"


def problem(
    status: HTTPStatus, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **extensions: object
) -> Response:
    """The answer; *detail* says what was wrong and how to mend it, *code* is for programs."""
    members = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": _shortened(detail, LONGEST_DETAIL),
        "code": code,
    }
    return Response(
        content=to_json(members | extensions),
        status_code=status.value,
        headers={"cache-control": "no-store", **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}..."
