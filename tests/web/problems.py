"""What every error answer has to be: a problem in our own words that says what to mend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx

MEMBERS = {"type", "title", "status", "detail", "code"}

# Our own sentence about the names of metrics; the facade, which speaks to the host, says it as well.
_OURS = re.compile(r"contains a NUL character, which PostgreSQL cannot store")
_DRIVER = re.compile(
    r"asyncpg|postgres|pgcode|sqlstate|traceback|\.py\b|relation|column|constraint|violates|duplicate key|syntax error"
    r"|permission denied|canceling|terminat|query argument|byte sequence|connection (is|was)|pool is|errno|127\.0\.0"
    r"|exception",
    re.IGNORECASE,
)


def read_problem(response: httpx.Response) -> dict[str, Any]:
    """The members of the error answer, once it is found to be one, without a word of the driver."""
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    problem: dict[str, Any] = response.json()
    assert problem.keys() >= MEMBERS
    assert problem["status"] == response.status_code
    assert all(isinstance(problem[member], str) and problem[member] for member in MEMBERS - {"status"})
    assert_no_driver_words(response)
    return problem


def assert_no_driver_words(response: httpx.Response) -> None:
    """Neither body nor headers have a word that only asyncpg, PostgreSQL or Python would say."""
    told = _OURS.sub("", response.text) + " ".join(response.headers.values())
    assert _DRIVER.search(told) is None, told


def assert_refused(response: httpx.Response, parameter: str, status: int = 422) -> Mapping[str, Any]:
    """The answer is that status, and its detail and `parameters` name the parameter."""
    assert response.status_code == status, (response.request.url, response.text)
    problem = read_problem(response)
    assert problem["code"] == "invalid_input"
    assert parameter in problem["parameters"], (response.request.url, problem)
    assert f"{parameter}:" in problem["detail"] or problem["detail"].endswith("..."), problem
    return problem
