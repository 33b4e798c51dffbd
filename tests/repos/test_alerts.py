"""Alerts: one open alert per condition, acknowledged and resolved once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.factories import START, make_id, make_ref

from model_perf import Alert, ConflictError, InvalidInputError, ModelPerformanceTracker, ModelRef, NotFoundError
from model_perf.repos import AlertRepo

RANK = {"info": 1, "warning": 2, "critical": 3}


@pytest.fixture
def alerts(bound: ModelPerformanceTracker) -> AlertRepo:
    return bound.alerts


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


async def raise_alert(
    alerts: AlertRepo, severity: str = "warning", minutes: float = 0, ref: ModelRef | None = None, **fields: Any
) -> Alert:
    given: dict[str, Any] = {
        "alert_type": "degradation",
        "severity": severity,
        "message": "rmse is up",
        "now": at(minutes),
    }
    return await alerts.open_or_repeat(make_ref() if ref is None else ref, **given | fields)


async def test_an_alert_keeps_every_field(alerts: AlertRepo) -> None:
    """An alert is read back as it was opened."""
    fields: dict[str, Any] = {
        "current_metric_value": 1.5,
        "threshold_value": 0.1,
        "baseline_metric_value": -2.5e-300,
        "metadata": {"who": "nachtschicht ☃"},
    }
    alert = await raise_alert(alerts, details={"metrics": [1, None, "x"]}, **fields)
    assert {name: getattr(alert, name) for name in fields} == fields
    assert (alert.alert_details, alert.occurrences) == ({"metrics": [1, None, "x"]}, 1)
    assert (alert.alert_timestamp, alert.last_seen_at, alert.is_resolved) == (at(0), at(0), False)
    assert await alerts.fetch(str(alert.id)) == alert


async def test_a_repeat_counts_and_is_no_second_alert(alerts: AlertRepo) -> None:
    """The same condition again counts one more occurrence, with its newest words and numbers."""
    first = await raise_alert(alerts, current_metric_value=1.0)
    again = await raise_alert(alerts, minutes=5, message="worse", current_metric_value=2.0)
    assert (again.id, again.occurrences) == (first.id, 2)
    assert (again.alert_timestamp, again.last_seen_at) == (at(0), at(5))
    assert (again.alert_message, again.current_metric_value) == ("worse", 2.0)


async def test_an_occurrence_that_comes_late_does_not_turn_the_clock_back(alerts: AlertRepo) -> None:
    """last_seen_at is the latest time seen, in whatever order the occurrences come."""
    await raise_alert(alerts, minutes=5)
    assert (await raise_alert(alerts, minutes=1)).last_seen_at == at(5)


async def test_the_severity_rises_and_never_falls(alerts: AlertRepo) -> None:
    """An open alert has the worst severity of its occurrences, by rank and not by spelling."""
    told = ["info", "warning", "info", "critical", "warning", "info"]
    shown = [(await raise_alert(alerts, severity)).severity for severity in told]
    assert shown == ["info", "warning", "warning", "critical", "critical", "critical"]


async def test_of_twenty_at_once_one_alert_is_open(tracker: ModelPerformanceTracker) -> None:
    """Twenty occurrences at once are one alert that counts twenty."""
    alerts = tracker.alerts
    found = await asyncio.gather(*(raise_alert(alerts, minutes=i) for i in range(20)))
    assert len({alert.id for alert in found}) == 1
    (alert,) = (await alerts.list_active()).items
    assert alert.occurrences == 20


async def test_what_makes_a_condition(alerts: AlertRepo) -> None:
    """Another type, model, version or machine is another alert."""
    refs = [make_ref(), make_ref("other"), make_ref(version=2), make_ref(machine="lathe")]
    opened = [await raise_alert(alerts, ref=ref) for ref in refs]
    opened.append(await raise_alert(alerts, alert_type="data_drift"))
    assert len({alert.id for alert in opened}) == 5
    assert all(alert.occurrences == 1 for alert in opened)


async def test_a_resolved_condition_opens_anew(alerts: AlertRepo) -> None:
    """After a resolve the next occurrence is a new alert that starts at one, with its own severity."""
    first = await raise_alert(alerts, "critical")
    resolved = await alerts.resolve(first.id, now=at(1), resolution="retrained", by="Ada", notes="version 2")
    assert (resolved.is_resolved, resolved.resolved_timestamp, resolved.resolution) == (True, at(1), "retrained")
    assert (resolved.resolved_by, resolved.resolution_notes) == ("Ada", "version 2")
    second = await raise_alert(alerts, "info", 2)
    assert second.id != first.id
    assert (second.occurrences, second.severity) == (1, "info")
    assert await alerts.fetch(first.id) == resolved
    await alerts.resolve(second.id, now=at(3))
    assert (await raise_alert(alerts, minutes=4)).id not in (first.id, second.id)


async def test_a_second_acknowledge_is_a_conflict(alerts: AlertRepo) -> None:
    """The first who looks after an alert is kept; the second is told who."""
    alert = await raise_alert(alerts)
    seen = await alerts.acknowledge(alert.id, by="Ada", now=at(1))
    assert (seen.acknowledged_by, seen.acknowledged_at) == ("Ada", at(1))
    with pytest.raises(ConflictError, match="Ada") as conflict:
        await alerts.acknowledge(alert.id, by="Bob", now=at(2))
    assert conflict.value.existing == seen


@pytest.mark.parametrize("is_acknowledged", [True, False])
async def test_a_resolved_alert_stays_as_it_is(alerts: AlertRepo, is_acknowledged: bool) -> None:
    """What is resolved can be neither resolved nor acknowledged again; the error carries the alert."""
    alert = await raise_alert(alerts)
    if is_acknowledged:
        await alerts.acknowledge(alert.id, by="Ada")
    resolved = await alerts.resolve(alert.id, resolution="false_positive")
    for again in (alerts.resolve(alert.id), alerts.acknowledge(alert.id, by="Bob")):
        with pytest.raises(ConflictError, match="resolved") as conflict:
            await again
        assert conflict.value.existing == resolved


async def test_of_eight_resolves_at_once_one_succeeds(tracker: ModelPerformanceTracker) -> None:
    """The others get a `ConflictError` with the resolution that won."""
    alerts = tracker.alerts
    alert = await raise_alert(alerts)
    found = await asyncio.gather(*(alerts.resolve(alert.id, by=f"w{i}") for i in range(8)), return_exceptions=True)
    (winner,) = [one for one in found if isinstance(one, Alert)]
    losers = [one for one in found if isinstance(one, ConflictError)]
    assert len(losers) == 7
    assert all(loser.existing == winner for loser in losers)


async def test_an_unknown_alert_is_not_found(alerts: AlertRepo) -> None:
    """Fetching, acknowledging or resolving an alert that never was is a `NotFoundError`."""
    for call in (alerts.fetch(uuid4()), alerts.acknowledge(uuid4(), by="Ada"), alerts.resolve(uuid4())):
        with pytest.raises(NotFoundError):
            await call


async def test_the_inbox_is_worst_and_newest_first(alerts: AlertRepo) -> None:
    """The order is rank, then time: critical before warning before info, which no spelling gives."""
    for i, severity in enumerate(["info", "critical", "warning", "critical", "info", "warning"]):
        await raise_alert(alerts, severity, minutes=i, ref=make_ref(f"m{i}"))
    await alerts.resolve((await raise_alert(alerts, "critical", 99, make_ref("gone"))).id)
    shown = [
        (a.severity, (a.alert_timestamp - START) // timedelta(minutes=1)) for a in (await alerts.list_active()).items
    ]
    assert shown == [("critical", 3), ("critical", 1), ("warning", 5), ("warning", 2), ("info", 4), ("info", 0)]


async def test_the_inbox_filters(alerts: AlertRepo) -> None:
    """Machine, model type and severity narrow the list, alone and together."""
    for i, (machine, kind, severity) in enumerate(
        [("press", "baseline", "info"), ("press", "other", "critical"), ("lathe", "baseline", "critical")]
    ):
        await raise_alert(alerts, severity, i, make_ref(f"m{i}", machine=machine, model_type=kind))
    press = make_id("machine press")
    filters: list[tuple[dict[str, Any], int]] = [
        ({}, 3),
        ({"machine_id": press}, 2),
        ({"machine_id": str(press)}, 2),
        ({"model_type": "baseline"}, 2),
        ({"severity": "critical"}, 2),
        ({"machine_id": press, "severity": "critical", "model_type": "other"}, 1),
        ({"machine_id": press, "severity": "warning"}, 0),
    ]
    for given, expected in filters:
        assert len((await alerts.list_active(**given)).items) == expected, given


@pytest.mark.parametrize(
    ("argument", "fields"),
    [
        ("alert_type", {"alert_type": " "}),
        ("alert_type", {"alert_type": "x" * 201}),
        ("severity", {"severity": "normal"}),
        ("severity", {"severity": 3}),
        ("message", {"message": "a\0"}),
        ("current_metric_value", {"current_metric_value": float("nan")}),
        ("threshold_value", {"threshold_value": float("inf")}),
        ("baseline_metric_value", {"baseline_metric_value": True}),
        ("details.x", {"details": {"x": float("-inf")}}),
        ("metadata", {"metadata": {1: 2}}),
        ("now", {"now": datetime(2024, 1, 1)}),  # noqa: DTZ001  (naive on purpose)
    ],
)
async def test_open_refuses_by_name(alerts: AlertRepo, argument: str, fields: dict[str, Any]) -> None:
    """What cannot be stored is refused by the argument's name, and no alert is opened."""
    with pytest.raises(InvalidInputError) as refused:
        await raise_alert(alerts, **fields)
    assert refused.value.argument == argument
    assert (await alerts.list_active()).items == ()


async def test_a_resolution_is_one_of_the_words(alerts: AlertRepo) -> None:
    """Another resolution is refused, and the alert stays open."""
    alert = await raise_alert(alerts)
    with pytest.raises(InvalidInputError, match="resolution"):
        await alerts.resolve(alert.id, resolution="gone")
    assert await alerts.fetch(alert.id) == alert
