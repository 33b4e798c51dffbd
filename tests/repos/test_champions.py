"""Which version serves: a stack of promotions, compared and set by number."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from tests.factories import START, make_id, make_ref

from model_perf import Champion, ConflictError, InvalidInputError, ModelPerformanceTracker
from model_perf.repos import ChampionRepo

PRESS = make_ref().machine_id


@pytest.fixture
def champions(bound: ModelPerformanceTracker) -> ChampionRepo:
    return bound.champions


async def promote(champions: ChampionRepo, version: int, replaces: int | None = None) -> Champion:
    champion, is_new = await champions.promote(make_ref(version=version), replaces=replaces)
    assert is_new
    return champion


async def numbers(champions: ChampionRepo) -> list[tuple[int, str, int]]:
    page = await champions.list_changes("baseline", PRESS)
    return [(each.number, each.action, each.ref.model_version) for each in reversed(page.items)]


async def test_a_promotion_keeps_every_field(champions: ChampionRepo) -> None:
    """Who, why, when, from which run and test."""
    run, test = make_id("run"), make_id("test")
    champion, is_new = await champions.promote(
        make_ref(version=2), reason="won ☃", by="ana", training_run_id=str(run), ab_test_id=test, now=START
    )
    expected = Champion(
        ref=make_ref(version=2),
        number=1,
        action="promotion",
        reason="won ☃",
        promoted_by="ana",
        promoted_at=START,
        training_run_id=run,
        ab_test_id=test,
    )
    assert (champion, is_new) == (expected, True)
    assert await champions.fetch("baseline", str(PRESS)) == expected


async def test_slots_have_their_own_champions(champions: ChampionRepo) -> None:
    """By machine and model type; where none was promoted there is none."""
    await promote(champions, 1)
    assert await champions.fetch("baseline") is None
    assert await champions.fetch("other", PRESS) is None
    other, _ = await champions.promote(make_ref("other", machine="lathe"))
    assert other.number == 1


async def test_a_repeat_writes_nothing(champions: ChampionRepo) -> None:
    """The version that serves is told as it is, even if the repeat names what it had replaced."""
    await promote(champions, 1)
    second = await promote(champions, 2, replaces=1)
    for replaces in (None, 1, 2):
        assert await champions.promote(make_ref(version=2), replaces=replaces) == (second, False)
    assert len(await numbers(champions)) == 2


@pytest.mark.parametrize("replaces", [0, 1, 3])
async def test_who_expected_another_champion_is_told_which_serves(champions: ChampionRepo, replaces: int) -> None:
    """Nothing is written, and no number is left out."""
    await promote(champions, 1, replaces=0)
    second = await promote(champions, 2, replaces=1)
    with pytest.raises(ConflictError) as conflict:
        await champions.promote(make_ref(version=3), replaces=replaces)
    assert conflict.value.existing == second
    with pytest.raises(ConflictError) as conflict:
        await champions.roll_back("baseline", PRESS, replaces=replaces)
    assert conflict.value.existing == second
    assert len(await numbers(champions)) == 2


async def test_rollbacks_go_down_the_stack(champions: ChampionRepo) -> None:
    """Two rollbacks in a row go back two, and do not swing between two versions."""
    for version in (1, 2, 3):
        await promote(champions, version)
    await champions.roll_back("baseline", PRESS, reason="errors", by="bo")
    await champions.roll_back("baseline", PRESS)
    with pytest.raises(ConflictError, match="no champion before number 5"):
        await champions.roll_back("baseline", PRESS)
    await promote(champions, 4)
    last = await champions.roll_back("baseline", PRESS)
    assert await numbers(champions) == [
        (1, "promotion", 1),
        (2, "promotion", 2),
        (3, "promotion", 3),
        (4, "rollback", 2),
        (5, "rollback", 1),
        (6, "promotion", 4),
        (7, "rollback", 1),
    ]
    assert (last.number, last.reason) == (7, None)
    with pytest.raises(ConflictError):
        await champions.roll_back("baseline", PRESS)


@pytest.mark.parametrize("seed", range(10))
async def test_any_history_is_that_of_a_stack(champions: ChampionRepo, seed: int) -> None:
    """Against a list in Python, on which promotions push and rollbacks pop."""
    rng, stack, served = random.Random(seed), list[int](), list[int]()
    for version in range(1, 30):
        if rng.random() < 0.5 or len(stack) < 2:
            await promote(champions, version)
            stack.append(version)
        else:
            await champions.roll_back("baseline", PRESS)
            stack.pop()
        served.append(stack[-1])
    assert [version for _, _, version in await numbers(champions)] == served


async def test_a_slot_without_a_champion_cannot_be_rolled_back(champions: ChampionRepo) -> None:
    """It says that none was promoted."""
    with pytest.raises(ConflictError, match="no version was promoted"):
        await champions.roll_back("baseline", PRESS)


async def test_the_history_comes_in_pages(champions: ChampionRepo) -> None:
    """Newest first, each once."""
    for version in range(1, 6):
        await promote(champions, version)
    seen: list[int] = []
    cursor: str | None = None
    while True:
        page = await champions.list_changes("baseline", PRESS, limit=2, cursor=cursor)
        seen += [champion.number for champion in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == [5, 4, 3, 2, 1]


async def test_of_twenty_promotions_at_once_one_wins_each_number(tracker: ModelPerformanceTracker) -> None:
    """Twenty hosts replace the same champion: one does, the others are told who; numbers have no gap."""
    champions = tracker.champions
    await champions.promote(make_ref(version=100), replaces=0)
    answers = await asyncio.gather(
        *(champions.promote(make_ref(version=version), replaces=1) for version in range(20)), return_exceptions=True
    )
    won = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(won) == 1
    lost = [answer for answer in answers if isinstance(answer, ConflictError)]
    assert len(lost) == 19
    assert {conflict.existing for conflict in lost} == {won[0][0]}
    await _check_numbers(champions, [1, 2])
    # With whichever serves as what is to be replaced, some may lose as well; nobody overwrites anybody unseen.
    many = await asyncio.gather(
        *(champions.promote(make_ref(version=version)) for version in range(200, 220)), return_exceptions=True
    )
    n = sum(not isinstance(answer, BaseException) for answer in many)
    assert n >= 1
    assert all(isinstance(answer, tuple | ConflictError) for answer in many)
    await _check_numbers(champions, range(1, n + 3))


async def _check_numbers(champions: ChampionRepo, expected: Sequence[int]) -> None:
    assert [number for number, _, _ in await numbers(champions)] == list(expected)


async def test_bad_arguments_are_refused_by_name(champions: ChampionRepo) -> None:
    """Before anything is written."""
    with pytest.raises(InvalidInputError, match="replaces"):
        await champions.promote(make_ref(), replaces=-1)
    with pytest.raises(InvalidInputError, match="ref"):
        await champions.promote("version 2")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="cursor"):
        await champions.list_changes("baseline", cursor="5")
