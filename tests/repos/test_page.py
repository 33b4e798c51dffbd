"""Keyset pages: all pages together are the list, whatever happens in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.factories import START, make_evaluation, make_id, make_ref

from model_perf import (
    ABTest,
    Alert,
    Evaluation,
    FleetEntry,
    InvalidInputError,
    Model,
    ModelPerformanceTracker,
    Page,
    TrainingRun,
)

N = 7
FOREVER = {"since": START - timedelta(days=999), "until": START + timedelta(days=999)}
Lister = Callable[..., Awaitable[Page[Any]]]


async def add_evaluation(t: ModelPerformanceTracker, i: int, minute: int) -> None:
    """One of a deployment, dated by the minute whatever its window is."""
    date = START + timedelta(minutes=minute)
    await t.record_many([make_evaluation(day=i, evaluation_date=date, id=make_id(f"evaluation {i}"))])


async def add_slot(t: ModelPerformanceTracker, i: int, minute: int) -> None:
    """A slot each; the minute becomes a second model type of the same machine."""
    ref = make_ref(machine=f"{minute}", model_type=f"kind {i}", name=f"{minute} {i}")
    await t.record_many([make_evaluation(ref)])


async def add_model(t: ModelPerformanceTracker, i: int, minute: int) -> None:
    await t.metrics.register_model(make_ref(name=f"{minute}", version=i), START)


async def add_run(t: ModelPerformanceTracker, i: int, minute: int) -> None:
    machine = make_id(f"machine {i}")
    await t.training.open_run(model_type="baseline", machine_id=machine, now=START + timedelta(minutes=minute))


async def add_test(t: ModelPerformanceTracker, i: int, minute: int) -> None:
    begin, ref = START + timedelta(minutes=minute), make_ref(machine=f"{i}")
    other = make_ref(machine=f"{i}", version=2)
    await t.ab_tests.start(name="n", model_a=ref, model_b=other, start=begin, duration=timedelta(days=1))


async def add_alert(t: ModelPerformanceTracker, i: int, minute: int) -> None:
    severity = ("info", "warning", "critical")[minute % 3]
    now, ref = START + timedelta(minutes=minute), make_ref(f"{i}")
    await t.alerts.open_or_repeat(ref, alert_type="x", severity=severity, message="m", now=now)


LISTS: dict[str, tuple[Callable[[ModelPerformanceTracker, int, int], Awaitable[None]], Callable[..., Lister]]] = {
    "list_evaluations": (
        add_evaluation,
        lambda t: lambda **page: t.metrics.list_evaluations(make_ref(), **FOREVER, **page),
    ),
    "list_latest": (add_slot, lambda t: t.metrics.list_latest),
    "list_fleet": (add_slot, lambda t: t.metrics.list_fleet),
    "list_models": (add_model, lambda t: t.metrics.list_models),
    "list_runs": (add_run, lambda t: t.training.list_runs),
    "list_tests": (add_test, lambda t: t.ab_tests.list_tests),
    "list_active_tests": (add_test, lambda t: t.ab_tests.list_active),
    "list_active_alerts": (add_alert, lambda t: t.alerts.list_active),
}


def key_of(item: Evaluation | Model | FleetEntry | TrainingRun | ABTest | Alert) -> object:
    if isinstance(item, FleetEntry):
        return item.machine_id, item.model_type
    return item.ref if isinstance(item, Model) else item.id


async def read_all(lister: Lister, limit: int, between: Callable[[], Awaitable[None]] | None = None) -> list[object]:
    """The keys of all pages, with something done after the first."""
    page = await lister(limit=limit)
    found = [*page.items]
    while page.next_cursor is not None:
        assert len(page.items) == limit
        if between is not None:
            await between()
            between = None
        page = await lister(limit=limit, cursor=page.next_cursor)
        found += page.items
    return [key_of(item) for item in found]


@pytest.mark.parametrize("name", sorted(LISTS))
@pytest.mark.parametrize("ties", [1, 3, N])
async def test_all_pages_together_are_the_list(bound: ModelPerformanceTracker, name: str, ties: int) -> None:
    """For every page size each row comes once and in the list's order, with any number of equal timestamps."""
    add, lister = LISTS[name]
    for i in range(N):
        await add(bound, i, i // ties)
    whole = [key_of(item) for item in (await lister(bound)(limit=1000)).items]
    assert len(whole) == len(set(whole)) == N
    for limit in (1, 2, 3, N - 1, N, N + 1):
        assert await read_all(lister(bound), limit) == whole, limit


@pytest.mark.parametrize("name", sorted(LISTS))
async def test_pages_are_stable_under_inserts(bound: ModelPerformanceTracker, name: str) -> None:
    """Rows that come in between neither hide nor repeat one that was there."""
    add, lister = LISTS[name]
    for i in range(N):
        await add(bound, i, 10)
    whole = [key_of(item) for item in (await lister(bound)(limit=1000)).items]

    async def insert_around() -> None:
        for i, minute in enumerate((0, 10, 10, 20), N):
            await add(bound, i, minute)

    seen = await read_all(lister(bound), 3, insert_around)
    assert len(seen) == len(set(seen))
    assert [key for key in seen if key in set(whole)] == whole


BAD_CURSORS = [
    *("", "~", "x", "a~b~c", "2024-01-01T00:00:00~1", "2024-01-01T00:00:00~00000000-0000-0000-0000-000000000000"),
    *("3~2024-01-01T00:00:00Z~5", "99999999999~2024-01-01T00:00:00Z~00000000-0000-0000-0000-000000000000"),
    "00000000-0000-0000-0000-000000000000~99999999999~00000000-0000-0000-0000-000000000000",
    *("00000000-0000-0000-0000-000000000000~a\0b", 5, b"x", ("a", "b")),
]


@pytest.mark.parametrize("name", sorted(LISTS))
async def test_a_bad_cursor_is_refused(bound: ModelPerformanceTracker, name: str) -> None:
    """A cursor that the list has not given out is refused by name, never an empty page or a driver's error."""
    wrong: list[tuple[object, Exception | None]] = []
    for cursor in BAD_CURSORS:
        try:
            await LISTS[name][1](bound)(cursor=cursor)
        except InvalidInputError as error:
            if error.argument != "cursor":
                wrong.append((cursor, error))
        except Exception as error:
            wrong.append((cursor, error))
        else:
            wrong.append((cursor, None))
    assert wrong == []


@pytest.mark.parametrize("name", sorted(LISTS))
@pytest.mark.parametrize("limit", [0, -1, 1001, True, 1.0, "1", None])
async def test_a_bad_limit_is_refused(bound: ModelPerformanceTracker, name: str, limit: Any) -> None:
    """A page holds 1 to 1,000 rows."""
    with pytest.raises(InvalidInputError) as refused:
        await LISTS[name][1](bound)(limit=limit)
    assert refused.value.argument == "limit"


@pytest.mark.parametrize("model_type", ["with~tilde", "with\nnewline", "Größe ☃", "~"])
async def test_a_model_type_may_hold_any_sign(bound: ModelPerformanceTracker, model_type: str) -> None:
    """A page can end at a model type of any characters."""
    for machine in ("1", "2", "3"):
        await bound.record_many([make_evaluation(make_ref(machine, model_type=model_type, machine=machine))])
    assert len(await read_all(bound.metrics.list_latest, 1)) == 3


async def test_slots_without_evaluations_do_not_end_the_list(bound: ModelPerformanceTracker) -> None:
    """Deployments that were registered and never evaluated hide nobody who comes after them."""
    machines = sorted(make_id(f"machine {i}") for i in range(10))
    by_id = {make_id(f"machine {i}"): f"{i}" for i in range(10)}
    for machine in machines[:-1]:
        await bound.metrics.register_model(make_ref(by_id[machine], machine=by_id[machine]), START)
    last = make_evaluation(make_ref("last", machine=by_id[machines[-1]]))
    await bound.record_many([last])
    assert await read_all_loosely(bound.metrics.list_latest, 2) == [last.id]


async def read_all_loosely(lister: Lister, limit: int) -> list[object]:
    """As `read_all`, where a page may be shorter than asked for."""
    found: list[object] = []
    cursor: str | None = None
    while True:
        page = await lister(limit=limit, cursor=cursor)
        found += [key_of(item) for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found
