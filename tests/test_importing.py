"""One old row, one new row: what goes where, what is filled in, what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.factories import make_id

from model_perf._copying import read_zone
from model_perf._importing import convert
from model_perf.errors import InvalidInputError
from model_perf.repos.earlier import exact_json

NOW = datetime(2024, 6, 1, tzinfo=UTC)
A, B = str(make_id("a")), str(make_id("b"))
EVALUATION: dict[str, Any] = {
    "id": A,
    "model_id": B,
    "model_type": "baseline",
    "evaluation_date": "2024-01-02T00:00:00+00:00",
    "rmse": Decimal("1.5"),
}
RUN: dict[str, Any] = {"id": A, "model_type": "baseline", "training_status": "completed", "trigger_type": "manual"}
TEST: dict[str, Any] = {
    "id": str(make_id("test")),
    "test_name": "t",
    "model_type": "baseline",
    "model_a_id": A,
    "model_b_id": B,
    "test_start": "2024-01-01T00:00:00Z",
    "test_end": "2024-01-02T00:00:00Z",
    "test_status": "completed",
    "traffic_split_b": Decimal("0.50"),
}
ALERT: dict[str, Any] = {
    "id": A,
    "alert_type": "drift",
    "severity": "warning",
    "model_type": "baseline",
    "alert_message": "m",
    "alert_timestamp": "2024-01-01T00:00:00+00:00",
    "is_resolved": True,
    "resolved_at": "2024-01-01T01:00:00+00:00",
}


def evaluation(**fields: Any) -> dict[str, Any]:
    return convert("model_performance_metrics", EVALUATION | fields, UTC, NOW)


def run(**fields: Any) -> dict[str, Any]:
    return convert("model_training_history", RUN | fields, UTC, NOW)


def ab_test(**fields: Any) -> dict[str, Any]:
    return convert("model_ab_tests", TEST | fields, UTC, NOW)


def alert(**fields: Any) -> dict[str, Any]:
    return convert("model_alerts", ALERT | fields, UTC, NOW)


def imported(new: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = new["metadata"]["imported"]
    return found


def test_a_missing_window_is_the_day_before_the_date() -> None:
    """What is assumed is named in filled_in."""
    new = evaluation()
    assert (new["evaluation_start"], new["evaluation_end"], new["model_version"]) == (
        *("2024-01-01T00:00:00+00:00", "2024-01-02T00:00:00+00:00"),
        1,
    )
    assert {"evaluation_start", "evaluation_end", "model_version"} <= set(imported(new)["filled_in"])


def test_half_a_window_is_completed() -> None:
    """A given end counts from itself."""
    new = evaluation(evaluation_end="2024-01-01T12:00:00+00:00")
    assert new["evaluation_start"] == "2023-12-31T12:00:00+00:00"


def test_old_flags_are_kept_and_not_taken_for_verdicts() -> None:
    """The verdict is not_judged; drift_detected and the rest are in metadata.imported."""
    new = evaluation(drift_detected=True, drift_score=Decimal("0.2"), drift_details={"a": 1})
    assert (new["verdict"], new.get("drift_detected"), new["drift_details"]) == ("not_judged", None, {})
    assert {name: imported(new)[name] for name in ("drift_detected", "drift_score", "drift_details")} == {
        "drift_detected": True,
        "drift_score": Decimal("0.2"),
        "drift_details": {"a": 1},
    }


def test_a_number_that_no_float_holds_is_kept_exactly() -> None:
    """More digits than a float gives back go to metadata.imported; fewer do not."""
    assert imported(evaluation(mae=Decimal("0.12345678901234567")))["mae"] == Decimal("0.12345678901234567")
    assert "mae" not in imported(evaluation(mae=Decimal("0.1234567890")))
    assert json.loads(exact_json({"a": [Decimal("1.10"), None, 'é"', True]})) == {"a": [1.1, None, 'é"', True]}
    assert exact_json(Decimal("0.10")) == "0.10"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"id": 5}, "id: 5 is not a UUID"),
        ({"model_id": "m"}, "model_id"),
        ({"evaluation_date": None}, "evaluation_date: is null"),
        ({"evaluation_date": "infinity"}, "evaluation_date: 'infinity'"),
        ({"evaluation_date": "0044-03-15T00:00:00 BC"}, "evaluation_date"),
        ({"r_squared": Decimal("1.0001")}, "r_squared"),
        ({"precision_score": Decimal("-0.1")}, "precision"),
        ({"rmse": "Infinity"}, "rmse: inf"),
        ({"rmse": "NaN"}, "rmse: nan"),
        ({"rmse": None}, "metrics: is empty"),
        ({"sample_count": -1}, "sample_count"),
        ({"sample_count": Decimal("1.5")}, "sample_count"),
        ({"data_completeness": Decimal(98)}, "data_completeness"),
        ({"model_type": ""}, "model_type"),
        ({"model_version": "v1"}, "model_version"),
    ],
)
def test_an_evaluation_that_ours_cannot_hold_is_refused(fields: dict[str, Any], told: str) -> None:
    """The reason begins with the column."""
    with pytest.raises(InvalidInputError) as refused:
        evaluation(**fields)
    assert told in str(refused.value)


def test_a_naive_time_is_read_in_the_zone_and_an_aware_one_is_not() -> None:
    """An hour that the clocks skipped keeps its text."""
    zone = ZoneInfo("Europe/Berlin")
    naive = {"evaluation_date": "2024-07-01T12:00:00", "created_at": "2024-03-31T02:30:00"}
    new = convert("model_performance_metrics", EVALUATION | naive, zone, NOW)
    assert new["evaluation_date"] == "2024-07-01T10:00:00+00:00"
    assert imported(new)["created_at"] == "2024-03-31T02:30:00"
    aware = {"evaluation_date": "2024-07-01T12:00:00+12:00"}
    new = convert("model_performance_metrics", EVALUATION | aware, zone, NOW)
    assert new["evaluation_date"] == "2024-07-01T00:00:00+00:00"


def test_metadata_that_is_no_object_or_has_our_key_is_kept_whole() -> None:
    """The host's own key `imported` is not overwritten: its metadata move inside."""
    assert imported(evaluation(metadata=[1]))["metadata"] == [1]
    own = {"imported": "by hand", "a": 1}
    assert evaluation(metadata=own)["metadata"] == {"imported": imported(evaluation(metadata=own))}
    assert imported(evaluation(metadata=own))["metadata"] == own


def test_open_runs_have_failed_and_started_ones_had_an_attempt() -> None:
    """Pending and running become failed; the trigger's longer words become ours, and are kept."""
    new = run(training_status="running", trigger_type="drift_detected", training_start="2024-01-01T00:00:00Z")
    assert (new["training_status"], new["trigger_type"], new["attempt"]) == ("failed", "drift", 1)
    assert new["error_message"] == "imported: was running when it was copied"
    assert imported(new)["trigger_type"] == "drift_detected"
    assert run(training_status="pending", error_message="stuck")["error_message"] == "stuck"
    assert run(training_status="pending")["attempt"] == 0


def test_a_runs_version_may_be_text() -> None:
    """A text that is no number stays in metadata.imported."""
    assert run(model_version="7")["model_version"] == 7
    assert run(model_version="2024.1")["model_version"] is None
    assert imported(run(model_version="2024.1"))["model_version"] == "2024.1"


@pytest.mark.parametrize(
    ("fields", "decision", "winner"),
    [
        ({"winner_model_id": A}, "superior_a", "model_a"),
        ({"winner_model_id": B.upper()}, "superior_b", "model_b"),
        ({"winner_model_id": str(make_id("c"))}, "undecided", "no_winner"),
        ({"winner_model_id": A, "model_b_id": A}, "undecided", "no_winner"),
        ({"decision": "equivalent"}, "equivalent", "no_winner"),
        ({"decision": "superior_a"}, "superior_a", "model_a"),
        ({"winner_model_id": A, "decision": "superior_b"}, "superior_a", "model_a"),
        ({"test_status": "running"}, "undecided", "no_winner"),
        ({"test_status": "running", "test_end": "2999-01-01T00:00:00Z", "winner_model_id": A}, "superior_a", "model_a"),
    ],
)
def test_the_finding_of_a_test_that_is_over(fields: dict[str, Any], decision: str, winner: str) -> None:
    """The declared winner, else a word of ours, else undecided; all of them concluded."""
    new = ab_test(**fields)
    assert (new["test_status"], new["decision"], new["winner_model"]) == ("completed", decision, winner)
    assert new["decision_reason"].startswith("imported: ")


def test_a_test_that_still_runs_has_no_finding() -> None:
    """Nothing is decided before its end."""
    new = ab_test(test_status="running", test_end="2999-01-01T00:00:00Z", decision="pending")
    assert (new["test_status"], new.get("decision"), new["winner_metrics"]) == ("running", None, {})
    assert imported(new)["decision"] == "pending"


def test_an_end_that_is_missing_is_when_it_was_decided() -> None:
    """Decided, else declared, else now."""
    assert ab_test(test_end=None, decided_at="2024-01-05T00:00:00Z")["test_end"] == "2024-01-05T00:00:00+00:00"
    assert ab_test(test_end=None, winner_declared_at="2024-01-06T00:00:00Z")["test_end"] == "2024-01-06T00:00:00+00:00"
    assert ab_test(test_end=None)["test_end"] == NOW.isoformat()


@pytest.mark.parametrize(
    ("action", "notes", "resolution", "joined"),
    [
        ("retrained", "well", "retrained", "well"),
        ("sensor replaced", None, "manual", "sensor replaced"),
        ("sensor replaced", "by me", "manual", "by me\nsensor replaced"),
        (None, "by me", None, "by me"),
    ],
)
def test_a_resolution_in_other_words_goes_to_the_notes(
    action: str | None, notes: str | None, resolution: str | None, joined: str
) -> None:
    """Our words stay; others are manual, and read in the notes."""
    new = alert(resolution_action=action, resolution_notes=notes)
    assert (new["resolution"], new["resolution_notes"]) == (resolution, joined)


def test_severity_normal_is_info_and_another_word_is_refused() -> None:
    """The enum's lowest word is our lowest."""
    assert alert(severity="normal")["severity"] == "info"
    with pytest.raises(InvalidInputError, match="severity"):
        alert(severity="fatal")


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "x" * 101])
def test_a_zone_that_is_not_known_is_refused(name: str) -> None:
    """By name, before anything is read."""
    with pytest.raises(InvalidInputError, match="time_zone"):
        read_zone(name)
