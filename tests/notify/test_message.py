"""What a message says, to people and to programs."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from tests.factories import START, make_id

from model_perf.notify import MESSAGE_SCHEMA, Message
from model_perf.notify._message import make_message
from model_perf.records import NO_MACHINE

FACTS: dict[str, Any] = {
    "id": make_id("notification"),
    "attempt": 1,
    "event_id": 7,
    "event": "opened",
    "occurred_at": START + timedelta(hours=3),
    "severity": "critical",
    "actor": None,
    "notes": "rmse rose by 40%",
    "event_details": {},
    "alert_id": make_id("alert"),
    "alert_type": "performance_degradation",
    "model_type": "forecast",
    "machine_id": make_id("press"),
    "model_id": make_id("model"),
    "model_version": 3,
    "alert_message": "rmse rose by 60%",
    "alert_timestamp": START,
    "occurrences": 2,
    "alert_details": {"metric": "rmse", "nested": {"a": [1, None]}},
    "current_metric_value": 30.0,
    "threshold_value": 0.2,
    "baseline_metric_value": None,
    "resolution": None,
    "machine": "press 7",
}
ESCALATED = {"event": "escalated", "event_details": {"from": "warning", "to": "critical"}}
RESOLVED = {"event": "resolved", "actor": "ada", "notes": "cable", "event_details": {"resolution": "recovered"}}
BARE = {"notes": None, "model_id": None, "model_version": None, "machine_id": NO_MACHINE, "machine": None}


def message(**changes: Any) -> Message:
    return make_message(**FACTS | changes)


@pytest.mark.parametrize("changes", [{}, ESCALATED, RESOLVED, BARE, {"actor": "☃ <b>"}, {"resolution": "manual"}])
def test_every_message_fits_the_schema(changes: dict[str, Any]) -> None:
    """What goes over the wire is of version 1 as it is published, formats included."""
    Draft202012Validator.check_schema(dict(MESSAGE_SCHEMA))
    payload = json.loads(message(**changes).to_json())
    Draft202012Validator(dict(MESSAGE_SCHEMA), format_checker=FormatChecker()).validate(payload)
    assert payload["v"] == 1


def test_the_schema_knows_every_field() -> None:
    """No field is sent that the schema does not describe, and none is left out."""

    def check(schema: Any, value: Any) -> None:
        if "properties" in schema:
            assert set(value) == set(schema["properties"]) == set(schema["required"])
            for name, part in schema["properties"].items():
                check(part, value[name])

    check(MESSAGE_SCHEMA, message().payload)


@pytest.mark.parametrize(
    ("changes", "title", "text"),
    [
        (
            {},
            "Critical: performance_degradation of forecast on press 7",
            "rmse rose by 40%\nOpened at 2024-01-01 03:00 UTC.",
        ),
        (
            ESCALATED,
            "Critical: performance_degradation of forecast on press 7",
            "rmse rose by 40%\nWas warning, is critical since 2024-01-01 03:00 UTC.",
        ),
        (
            RESOLVED,
            "Resolved: performance_degradation of forecast on press 7",
            "rmse rose by 60%\nResolved at 2024-01-01 03:00 UTC by ada: recovered.\ncable",
        ),
        (
            BARE | {"severity": "info"},
            "Info: performance_degradation of forecast",
            "rmse rose by 60%\nOpened at 2024-01-01 03:00 UTC.",
        ),
        (
            {"machine": None},
            f"Critical: performance_degradation of forecast on {make_id('press')}",
            "rmse rose by 40%\nOpened at 2024-01-01 03:00 UTC.",
        ),
    ],
)
def test_people_read_what_happened(changes: dict[str, Any], title: str, text: str) -> None:
    """Title and text of each event."""
    made = message(**changes)
    assert (made.title, made.text) == (title, text)
    assert (made.payload["title"], made.payload["text"]) == (title, text)


def test_a_title_is_one_short_line() -> None:
    """Line ends in a name would end a mail's subject, or begin another header."""
    made = message(machine="press\r\nBcc: all@example.com", model_type="x" * 300)
    assert "\n" not in made.title
    assert "\r" not in made.title
    assert len(made.title) == 200


def test_attempts_carry_the_same_message() -> None:
    """A repeat is equal to the byte."""
    assert message(attempt=1).to_json() == message(attempt=2).to_json()


def test_long_details_are_left_out() -> None:
    """A message stays shorter than what receivers refuse; what is short is told, and what is missing is named."""
    details = {"columns": [{"name": f"column {i}", "pvalue": 1e-9} for i in range(10_000)], "verdict": "critical"}
    made = message(alert_details=details)
    assert made.payload["alert"]["details"] == {"verdict": "critical"}
    assert made.payload["alert"]["details_left_out"] == ["columns"]
    many = message(alert_details={f"key {i}": "x" * 100 for i in range(100_000)})
    for each in (made, many):
        Draft202012Validator(dict(MESSAGE_SCHEMA)).validate(json.loads(each.to_json()))
        assert len(each.to_json()) < 60_000
    assert message().payload["alert"]["details_left_out"] == []
