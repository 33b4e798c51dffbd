"""Streams whose detector is kept: continued, replayed, raced for, restarted."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import asyncpg
import numpy as np
import pytest
from attrs import frozen
from tests.drift.detectors import DETECTORS, stream
from tests.factories import make_ref
from tests.slow_values import SlowValues

from model_perf import ConflictError, InvalidInputError, ModelPerformanceTracker, NotFoundError, SchemaError
from model_perf._streams import THREAD_VALUES
from model_perf.drift import Adwin, CusumDetector, Detector, EwmaDetector
from model_perf.repos.drift import DriftRepo

REF = make_ref()
CUSUM = CusumDetector(mean=0.4, sd=0.25, run_length=200_000)


async def version_of(pool: asyncpg.Pool, tracker: ModelPerformanceTracker) -> int:
    return int(await pool.fetchval(f"SELECT version FROM {tracker.schema}.model_drift_state"))


@pytest.mark.parametrize("detector", DETECTORS)
async def test_chunks_through_the_database_are_one_batch(tracker: ModelPerformanceTracker, detector: Detector) -> None:
    """Kept and read back between the chunks, the detector is that of one batch, to the last bit."""
    values = stream(9000, missing=0.01)
    for start in range(0, 9000, 1001):
        part = slice(start, start + 1001)
        update = await tracker.stream(REF, "error", detector=detector).update_many(values[part], range(9000)[part])
    assert update.detector == await tracker.stream(REF, "error").fetch() == detector.update_many(values, range(9000))
    assert update.drift_detected


async def test_an_alarm_is_new_once(tracker: ModelPerformanceTracker) -> None:
    """The update that raises it says so; later ones and repeats say that it stands, until the restart."""
    watched, values = tracker.stream(REF, "error", detector=CUSUM), stream(6000)
    quiet = await watched.update_many(values[:3000], range(3000))
    assert (quiet.drift_detected, quiet.is_new_alarm, quiet.n_new) == (False, False, 3000)
    loud = await watched.update_many(values[3000:], range(3000, 6000))
    assert (loud.drift_detected, loud.is_new_alarm, loud.n_new) == (True, True, 3000)
    again = await watched.update_many(values[3000:], range(3000, 6000))
    assert (again.detector, again.is_new_alarm, again.n_new) == (loud.detector, False, 0)
    restarted = await watched.restart()
    assert restarted == loud.detector.restart() == await watched.fetch()
    assert not (await watched.update(0.4, 6000)).drift_detected


async def test_a_repeat_writes_nothing(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """The row stays as it is, with its version."""
    watched = tracker.stream(REF, "error", detector=CUSUM)
    await watched.update_many([0.1, 0.2], [1, 2])
    await watched.update(0.2, 2)
    assert await version_of(pool, tracker) == 1
    assert (await watched.update(math.nan, 3)).detector.n_missing == 1
    assert await version_of(pool, tracker) == 2


async def test_a_smaller_number_is_a_repeat(tracker: ModelPerformanceTracker) -> None:
    """A value that comes after one with a larger number is left out, and n_new says so."""
    watched = tracker.stream(REF, "error", detector=CUSUM)
    await watched.update_many([0.1, 0.3], [0, 2])
    update = await watched.update_many([0.2, 0.4], [1, 3])
    assert update.n_new == 1
    assert update.detector == CUSUM.update_many([0.1, 0.3, 0.4], [0, 2, 3])


async def test_streams_are_apart(tracker: ModelPerformanceTracker) -> None:
    """Names, versions and machines have streams of their own, and the deployment is known from the first value on."""
    other = make_ref(version=2)
    for ref, name, value in ((REF, "error", 0.1), (REF, "load", 0.2), (other, "error", 0.3)):
        await tracker.stream(ref, name, detector=CUSUM).update(value)
    states = [
        await tracker.stream(ref, name).fetch() for ref, name in ((REF, "error"), (REF, "load"), (other, "error"))
    ]
    assert states == [CUSUM.update(value) for value in (0.1, 0.2, 0.3)]
    assert [model.ref for model in (await tracker.list_models()).items] == [REF, other]


async def test_streams_leave_the_verdicts_alone(tracker: ModelPerformanceTracker) -> None:
    """A stream called like another state of the deployment is not that state."""
    for name in ("data", "performance"):
        await tracker.stream(REF, name, detector=CUSUM).update(0.5)
    await tracker.set_reference(REF, {"load": np.arange(100.0)})
    await tracker.check_data_drift(REF, {"load": np.arange(100.0)})
    await tracker.rebuild_state(REF)
    for name in ("data", "performance"):
        assert await tracker.stream(REF, name).fetch() == CUSUM.update(0.5)


async def test_writers_without_ids_lose_no_value(tracker: ModelPerformanceTracker) -> None:
    """Of twelve updates at once each is in at the end: a loser begins again with the winner's state."""
    await asyncio.gather(*(tracker.stream(REF, "error", detector=CUSUM).update(0.01 * i) for i in range(12)))
    assert (await tracker.stream(REF, "error").fetch()).n == 12


async def test_a_crowd_of_writers_is_served(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Of a hundred updates at once, two of them large, none is turned away: who lost three times waits for its turn."""
    large = np.full(THREAD_VALUES + 1, 0.4)
    updates = [tracker.stream(REF, "error", detector=CUSUM).update(0.01 * i) for i in range(98)]
    updates += [tracker.stream(REF, "error", detector=CUSUM).update_many(large) for _ in range(2)]
    found = await asyncio.gather(*updates)
    n = 98 + 2 * large.size
    assert sum(each.n_new for each in found) == n
    assert len({each.detector.n for each in found}) == 100  # no two went on from the same state
    assert (await tracker.stream(REF, "error").fetch()).n == n
    assert await version_of(pool, tracker) == 100


async def test_a_turn_keeps_others_waiting(tracker: ModelPerformanceTracker) -> None:
    """What is read in a turn is still there when it is written: a writer from outside comes after it."""
    await tracker.stream(REF, "error", detector=CUSUM).update(0.1)
    began = asyncio.Event()

    async def slowly(repo: DriftRepo) -> bool:
        version, _ = await repo.fetch_stream(REF, "error")
        began.set()
        await asyncio.sleep(0.1)
        return await repo.save_stream(REF, "error", version, CUSUM.to_dict())

    turn = asyncio.create_task(tracker.drift.in_turn(REF, "error", slowly))
    await began.wait()
    late = await tracker.stream(REF, "error").update(0.2)
    assert await turn
    assert late.detector == CUSUM.update(0.2)


async def test_a_turn_that_fails_leaves_the_stream_free(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """What was written in it is gone with it, and the next writer need not wait."""
    await tracker.stream(REF, "error", detector=CUSUM).update(0.1, 1)

    async def fail(repo: DriftRepo) -> None:
        assert await repo.save_stream(REF, "error", 1, CUSUM.to_dict())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await tracker.drift.in_turn(REF, "error", fail)
    assert await version_of(pool, tracker) == 1
    async with asyncio.timeout(5):
        assert (await tracker.stream(REF, "error").update(0.2, 2)).detector.n == 2


async def test_the_hosts_rollback_takes_the_update_with_it(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """Bound to the host's transaction, the update is part of it."""
    await tracker.stream(REF, "error", detector=CUSUM).update(0.1, 1)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        bound = tracker.bind(connection).stream(REF, "error")
        assert (await bound.update(0.2, 2)).n_new == 1
        await transaction.rollback()
    assert (await tracker.stream(REF, "error").fetch()).last_id == 1


async def test_other_settings_are_refused(tracker: ModelPerformanceTracker) -> None:
    """A kept detector is not silently mixed with another; `replace` begins with the new one and remembers the ids."""
    await tracker.stream(REF, "error", detector=CUSUM).update_many([0.1, 0.2], [7, 8])
    with pytest.raises(ConflictError, match=r"has mean 0\.4, not 0\.5.*replace"):
        await tracker.stream(REF, "error", detector=CusumDetector(mean=0.5, sd=0.25, run_length=200_000)).update(0.1)
    with pytest.raises(ConflictError, match="a CusumDetector is kept, not a Adwin"):
        await tracker.stream(REF, "error", detector=Adwin()).update(0.1)
    assert (await tracker.stream(REF, "error").fetch()).n == 2
    replaced = await tracker.stream(REF, "error").replace(EwmaDetector(mean=0.5, sd=0.2))
    assert (replaced.n, replaced.last_id) == (0, 8)
    assert (await tracker.stream(REF, "error").update(0.1, 8)).n_new == 0
    assert (await tracker.stream(REF, "error", detector=EwmaDetector(mean=0.5, sd=0.2)).update(0.1, 9)).n_new == 1


async def test_nothing_kept(tracker: ModelPerformanceTracker) -> None:
    """Without a detector to begin with, nothing can be taken in, and nothing is there to look at."""
    unknown = tracker.stream(REF, "error")
    for call in (unknown.update(0.1), unknown.fetch(), unknown.restart()):
        with pytest.raises(NotFoundError, match="nothing is kept of the stream 'error'"):
            await call
    with pytest.raises(NotFoundError):
        await tracker.stream(REF, "error", detector=CUSUM).fetch()


async def test_a_newer_state_is_refused(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """What a newer library keeps is not misread, and stays as it is."""
    await tracker.stream(REF, "error", detector=CUSUM).update(0.1)
    table = f"{tracker.schema}.model_drift_state"
    await pool.execute(f"UPDATE {table} SET state = jsonb_set(state::text::jsonb, '{{v}}', '2')")
    with pytest.raises(SchemaError, match="upgrade model_perf"):
        await tracker.stream(REF, "error").update(0.1)
    await pool.execute(f"""UPDATE {table} SET state = jsonb_set(state, '{{detector}}', '"Kswin"')""")
    with pytest.raises(SchemaError, match="no detector 'Kswin'"):
        await tracker.stream(REF, "error").fetch()
    assert await version_of(pool, tracker) == 1


@pytest.mark.parametrize("state", ['{"v": 2, "last_id": 8}', '{"v": 1, "detector": "Kswin", "last_id": 8}'])
async def test_a_state_nobody_can_read_can_be_replaced(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, state: str
) -> None:
    """The mend that the error names works, and ids that were counted stay counted."""
    await tracker.stream(REF, "error", detector=CUSUM).update(0.1, 8)
    await pool.execute(f"UPDATE {tracker.schema}.model_drift_state SET state = $1::text::jsonb", state)
    with pytest.raises(SchemaError, match="replace"):
        await tracker.stream(REF, "error").update(0.1, 9)
    await tracker.stream(REF, "error").replace(CUSUM)
    assert [(await tracker.stream(REF, "error").update(0.1, i)).n_new for i in (8, 9)] == [0, 1]


@pytest.mark.parametrize(("own", "kept"), [(None, 8), (3, 8), (20, 20)])
async def test_no_id_counts_again_after_a_replacement(
    tracker: ModelPerformanceTracker, own: int | None, kept: int
) -> None:
    """The largest id goes on, whether the stream had it or the new detector, which may have learned by itself."""
    await tracker.stream(REF, "error", detector=CUSUM).update(0.1, 8)
    new = EwmaDetector(mean=0.5, sd=0.2).update(0.5, own)
    assert (await tracker.stream(REF, "error").replace(new)).last_id == kept
    assert (await tracker.stream(REF, "error").update(0.1, kept)).n_new == 0
    assert (await tracker.stream(REF, "error").fetch()).n == 1


async def test_a_stream_may_begin_by_a_replacement(tracker: ModelPerformanceTracker) -> None:
    """Where nothing is kept, the new detector is what is kept."""
    assert await tracker.stream(REF, "error").replace(CUSUM) == CUSUM == await tracker.stream(REF, "error").fetch()


async def test_a_replacement_among_writers_is_one_of_them(tracker: ModelPerformanceTracker) -> None:
    """Values come before it or after it; those after are all in the new detector."""
    await tracker.stream(REF, "error", detector=CUSUM).update(0.1)
    new = EwmaDetector(mean=0.5, sd=0.2)
    replacement = asyncio.create_task(tracker.stream(REF, "error").replace(new))
    found = await asyncio.gather(*(tracker.stream(REF, "error").update(0.1) for _ in range(40)))
    await replacement
    after = [each for each in found if isinstance(each.detector, EwmaDetector)]
    assert (await tracker.stream(REF, "error").fetch()).n == len(after)


@frozen(kw_only=True)
class HostsDetector(CusumDetector):
    """A class of the host's own, which the library could not make again."""


@pytest.mark.parametrize(
    "detector", [HostsDetector(mean=0.4, sd=0.25), Detector(), CusumDetector, "cusum", {"detector": "CusumDetector"}]
)
async def test_what_could_not_be_read_again_is_not_kept(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, detector: Any
) -> None:
    """Refused by name before anything is written, at the beginning and in a replacement."""
    with pytest.raises(InvalidInputError, match="cannot be kept") as beginning:
        tracker.stream(REF, "error", detector=detector)
    with pytest.raises(InvalidInputError, match="cannot be kept") as replacement:
        await tracker.stream(REF, "error").replace(detector)
    assert beginning.value.argument == replacement.value.argument == "detector"
    assert await pool.fetchval(f"SELECT count(*) FROM {tracker.schema}.model_drift_state") == 0


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"ref": "model"}, "ref"),
        ({"name": ""}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"name": "n" * 201}, "name"),
    ],
)
async def test_a_bad_argument_is_refused(
    tracker: ModelPerformanceTracker, arguments: dict[str, Any], argument: str
) -> None:
    """Before any I/O, by name."""
    given: dict[str, Any] = {"ref": REF, "name": "error", **arguments}
    with pytest.raises(InvalidInputError) as error:
        tracker.stream(**given)
    assert error.value.argument == argument


async def test_a_large_batch_is_read_in_a_thread(tracker: ModelPerformanceTracker) -> None:
    """A list of a million values takes 20 ms to become an array, which are not the loop's."""
    values = SlowValues([0.4] * (THREAD_VALUES + 1))
    assert (await tracker.stream(REF, "error", detector=CUSUM).update_many(values)).n_new == len(values)
    assert values.threads
    assert threading.get_ident() not in values.threads


@pytest.mark.parametrize(
    ("values", "ids", "argument"),
    [
        ([0.1, math.inf], None, "values"),
        ([[0.1]], None, "values"),
        ([[0.1], [0.1, 0.2]], None, "values"),
        ("a", None, "values"),
        (None, None, "values"),
        (np.array(0.1), None, "values"),
        (iter([0.1]), None, "values"),
        ([0.1], [1, 2], "ids"),
        ([0.1], [[1], [1, 2]], "ids"),
        ([0.1], [1.5], "ids"),
        ([0.1] * (THREAD_VALUES + 1), [1], "ids"),
    ],
)
async def test_bad_values_leave_nothing(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, values: Any, ids: Any, argument: str
) -> None:
    """What cannot be taken in is refused by name, in the thread too, and leaves no state."""
    with pytest.raises(InvalidInputError) as error:
        await tracker.stream(REF, "error", detector=CUSUM).update_many(values, ids)
    assert error.value.argument == argument
    assert await pool.fetchval(f"SELECT count(*) FROM {tracker.schema}.model_drift_state") == 0
