"""The message about one event of an alert: a title and a text for people, and the same as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from itertools import accumulate
from typing import Any
from uuid import UUID

from attrs import field, frozen

from model_perf.records import NO_MACHINE

EVENTS = ("opened", "escalated", "resolved")
_TITLE_LENGTH = 200
_DETAILS_LENGTH = 50_000
"""Many a receiver takes 100 kB at most, and refuses for good what is longer."""
_NAMES_LEFT_OUT = 20

_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_UUID = {"type": "string", "format": "uuid"}
_OPTIONAL_TEXT = {"type": ["string", "null"]}
_OPTIONAL_NUMBER = {"type": ["number", "null"]}
_OBJECT = {"type": "object"}


def _object(**properties: Mapping[str, object]) -> dict[str, object]:
    return {"type": "object", "required": list(properties), "properties": properties}


MESSAGE_SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A notification of model_perf, version 1",
    **_object(
        v={"const": 1},
        id=_UUID,
        title=_TEXT,
        text=_TEXT,
        event=_object(
            number={"type": "integer"},
            name={"enum": list(EVENTS)},
            occurred_at=_TIME,
            severity={"enum": ["info", "warning", "critical"]},
            actor=_OPTIONAL_TEXT,
            notes=_OPTIONAL_TEXT,
            details=_OBJECT,
        ),
        alert=_object(
            id=_UUID,
            type=_TEXT,
            message=_TEXT,
            opened_at=_TIME,
            occurrences={"type": "integer"},
            resolution=_OPTIONAL_TEXT,
            current_metric_value=_OPTIONAL_NUMBER,
            threshold_value=_OPTIONAL_NUMBER,
            baseline_metric_value=_OPTIONAL_NUMBER,
            details=_OBJECT,
            details_left_out={"type": "array", "items": _TEXT},
        ),
        model=_object(
            type=_TEXT,
            id={**_UUID, "type": ["string", "null"]},
            version={"type": ["integer", "null"]},
            machine_id={**_UUID, "type": ["string", "null"]},
            machine=_OPTIONAL_TEXT,
        ),
    ),
}
"""JSON schema of a message. Fields may be added to version 1; what changes meaning gets another ``v``."""


@frozen(kw_only=True)
class Message:
    """What is delivered.

    Attributes
    ----------
    id : UUID
        Of the notification; a repeat has the same.
    attempt : int
        1 for the first delivery.
    title : str
        One line.
    text : str
        A few lines of plain text.
    payload : mapping
        All of it, as `MESSAGE_SCHEMA` describes it.
    """

    id: UUID
    attempt: int
    title: str
    text: str
    payload: Mapping[str, Any] = field(repr=False)

    def to_json(self) -> bytes:
        """The payload in UTF-8, as webhooks carry it."""
        return json.dumps(self.payload, separators=(",", ":"), allow_nan=False).encode()


def make_message(
    *,
    id: UUID,  # noqa: A002 - the fields of a delivery, by their names
    attempt: int,
    event_id: int,
    event: str,
    occurred_at: datetime,
    severity: str,
    actor: str | None,
    notes: str | None,
    event_details: Mapping[str, Any],
    alert_id: UUID,
    alert_type: str,
    model_type: str,
    machine_id: UUID,
    model_id: UUID | None,
    model_version: int | None,
    alert_message: str,
    alert_timestamp: datetime,
    occurrences: int,
    alert_details: Mapping[str, Any],
    current_metric_value: float | None,
    threshold_value: float | None,
    baseline_metric_value: float | None,
    resolution: str | None,
    machine: str | None = None,
) -> Message:
    """The message about an event; *machine* is the name that people know, None = none."""
    told = {
        "number": event_id,
        "name": event,
        "occurred_at": occurred_at.isoformat(),
        "severity": severity,
        "actor": actor,
        "notes": notes,
        "details": dict(event_details),
    }
    details, left_out = _shortened(alert_details)
    alert = {
        "id": str(alert_id),
        "type": alert_type,
        "message": alert_message,
        "opened_at": alert_timestamp.isoformat(),
        "occurrences": occurrences,
        "resolution": resolution,
        "current_metric_value": current_metric_value,
        "threshold_value": threshold_value,
        "baseline_metric_value": baseline_metric_value,
        "details": details,
        "details_left_out": left_out,
    }
    model = {
        "type": model_type,
        "id": None if model_id is None else str(model_id),
        "version": model_version,
        "machine_id": None if machine_id == NO_MACHINE else str(machine_id),
        "machine": machine,
    }
    title, text = _title(told, alert, model), _text(told, alert)
    payload = {"v": 1, "id": str(id), "title": title, "text": text, "event": told, "alert": alert, "model": model}
    return Message(id=id, attempt=attempt, title=title, text=text, payload=payload)


def _shortened(details: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What of the details fits into a message, the shortest first, and the names of what does not."""
    lengths = {name: len(json.dumps({name: value})) for name, value in details.items()}
    if sum(lengths.values()) <= _DETAILS_LENGTH:
        return dict(details), []
    ends = accumulate(sorted(lengths.values()))
    kept = {
        name for name, end in zip(sorted(lengths, key=lengths.__getitem__), ends, strict=True) if end <= _DETAILS_LENGTH
    }
    left_out = [name for name in details if name not in kept]
    return {name: value for name, value in details.items() if name in kept}, left_out[:_NAMES_LEFT_OUT]


def _title(event: Mapping[str, Any], alert: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """As in "Critical: performance_degradation of forecast on press 7"."""
    word = "Resolved" if event["name"] == "resolved" else str(event["severity"]).capitalize()
    machine = model["machine"] or model["machine_id"]
    place = f" on {machine}" if machine else ""
    line = " ".join(f"{word}: {alert['type']} of {model['type']}{place}".split())
    return line if len(line) <= _TITLE_LENGTH else f"{line[: _TITLE_LENGTH - 1]}…"


def _text(event: Mapping[str, Any], alert: Mapping[str, Any]) -> str:
    moment = datetime.fromisoformat(event["occurred_at"]).strftime("%Y-%m-%d %H:%M UTC")
    by = f" by {event['actor']}" if event["actor"] else ""
    if event["name"] == "opened":
        return f"{event['notes'] or alert['message']}\nOpened at {moment}."
    if event["name"] == "escalated":
        before = event["details"].get("from", "a lower severity")
        return f"{event['notes'] or alert['message']}\nWas {before}, is {event['severity']} since {moment}."
    notes = f"\n{event['notes']}" if event["notes"] else ""
    return f"{alert['message']}\nResolved at {moment}{by}: {event['details'].get('resolution') or 'manual'}.{notes}"
