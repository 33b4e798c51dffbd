"""What all detectors of streams have in common: batches, missing values, replays, restarts, JSON, bad input."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from tests.drift.detectors import DETECTORS, one_by_one, stream

from model_perf.drift._stream import Detector
from model_perf.errors import InvalidInputError, SchemaError

pytestmark = pytest.mark.parametrize("detector", DETECTORS)


def in_chunks(detector: Detector, values: np.ndarray[Any, Any], rng: np.random.Generator) -> Detector:
    start = 0
    while start < values.size:
        end = start + int(rng.choice([0, 1, 2, 7, 31, 32, 33, 500, 4095, 4096, 9000]))
        detector = detector.update_many(values[start:end])
        start = end
    return detector


@pytest.mark.parametrize("change", [0.0, 0.2, -0.3])
def test_many_at_once_equal_one_by_one(detector: Detector, change: float) -> None:
    """However a stream is cut into batches, the detector is the one of single updates, to the last bit."""
    rng = np.random.default_rng(3)
    for seed in range(3):
        values = stream(13_000, seed=seed, change=change, missing=0.01)
        expected = one_by_one(detector, values)
        assert detector.update_many(values) == expected
        assert in_chunks(detector, values, rng) == expected


def test_many_at_once_equal_one_by_one_after_a_restart(detector: Detector) -> None:
    """The same holds for detectors that were restarted in the middle of whatever they compute by."""
    alarmed = detector.update_many(stream(5003))
    assert alarmed.drift_detected
    restarted, values = alarmed.restart(), stream(9001, seed=2)
    assert restarted.update_many(values) == one_by_one(restarted, values)


def test_an_alarm_knows_its_value(detector: Detector) -> None:
    """The alarm belongs to the value at `detected_at`: without it there is none, and missing values count as places."""
    values = stream(6000, missing=0.05)
    at = detector.update_many(values).detected_at
    assert at is not None
    assert at >= 4000
    assert not detector.update_many(values[:at]).drift_detected
    assert detector.update_many(values[: at + 1]).detected_at == at


def test_the_direction_is_that_of_the_change(detector: Detector) -> None:
    """A level that rises is found upwards, one that falls downwards."""
    assert detector.update_many(stream(6000, change=0.2)).direction == "up"
    assert detector.update_many(stream(6000, change=-0.2)).direction == "down"


def test_missing_values_are_skipped_and_counted(detector: Detector) -> None:
    """Missing values change their count and no estimate."""
    values = stream(3000, change=0.0)
    with_missing = np.insert(values, [0, 5, 5, 2999], math.nan)
    after, expected = detector.update_many(with_missing), detector.update_many(values)
    assert (after.n, after.n_missing) == (3000, 4)
    assert evolve(after, n_missing=0) == expected
    assert detector.update(math.nan) == evolve(detector, n_missing=1)
    assert detector.update_many([math.nan] * 3) == evolve(detector, n_missing=3)


def test_a_replay_changes_nothing(detector: Detector) -> None:
    """A batch that is sent again, or overlaps the last one, leaves no second trace."""
    values, ids = stream(2000, missing=0.01), np.arange(100, 2100)
    once = detector.update_many(values, ids)
    assert once.last_id == 2099
    assert once.update_many(values, ids) == once
    assert once.update(values[7], 107) is once
    first = detector.update_many(values[:1500], ids[:1500])
    assert first.update_many(values[1000:], ids[1000:]) == once


def test_ids_one_by_one_equal_ids_at_once(detector: Detector) -> None:
    """Doubled ids and ids out of order are replays in a batch as they are in single updates."""
    rng = np.random.default_rng(4)
    values, ids = stream(3000, missing=0.01), np.arange(3000) // 2 + rng.integers(0, 3, 3000) - 50
    assert detector.update_many(values, ids) == one_by_one(detector, values, ids)


def test_the_alarm_stays_until_the_restart(detector: Detector) -> None:
    """Later values move no alarm; a restart ends it and keeps counts and settings, and the next one is found."""
    values = stream(6000)
    alarmed = detector.update_many(values)
    later = alarmed.update_many(stream(6000, change=-0.3))
    assert (later.detected_at, later.direction) == (alarmed.detected_at, "up")
    restarted = alarmed.restart()
    assert (restarted.drift_detected, restarted.direction, restarted.n) == (False, None, 6000)
    again = restarted.update_many(stream(6000, change=-0.3))
    assert again.drift_detected


def test_the_old_detector_is_left_as_it_is(detector: Detector) -> None:
    """An update gives a new value: the same one again gives the same."""
    values = stream(500)
    before = json.dumps(detector.to_dict())
    assert detector.update_many(values) == detector.update_many(values)
    assert json.dumps(detector.to_dict()) == before
    kept = values.copy()
    detector.update_many(values)
    assert np.array_equal(values, kept)


def test_the_state_survives_json_at_every_step(detector: Detector) -> None:
    """Written and read back after each value, a detector goes on as if nothing had happened."""
    values = stream(1200, missing=0.02)
    through_json = detector
    for i, value in enumerate(values.tolist()):
        text = json.dumps(through_json.update(value, i).to_dict(), allow_nan=False)
        through_json = type(detector).from_dict(json.loads(text))
    assert through_json == detector.update_many(values, range(1200))


def test_the_state_stays_small(detector: Detector) -> None:
    """A million values take less than 10,000 characters of JSON."""
    state = detector.update_many(stream(1_000_000, change=0.0))
    assert len(json.dumps(state.to_dict())) < 10_000


def test_a_newer_or_foreign_state_is_refused(detector: Detector) -> None:
    """A state of another version or of another detector is an error that names the mend."""
    data = detector.to_dict()
    with pytest.raises(SchemaError, match="upgrade model_perf"):
        type(detector).from_dict(data | {"v": 2})
    with pytest.raises(SchemaError, match=r"Other\.from_dict"):
        type(detector).from_dict(data | {"detector": "Other"})


@pytest.mark.parametrize("value", [math.inf, -math.inf, "1", None, 1j, 10**400])
def test_a_bad_value_is_refused(detector: Detector, value: Any) -> None:
    """What is no number, or no finite one, is refused by name."""
    with pytest.raises(InvalidInputError) as error:
        detector.update(value)
    assert error.value.argument == "value"


@pytest.mark.parametrize(
    "values",
    [
        [0.1, math.inf],
        [-math.inf, math.nan],
        ["a"],
        [[0.1]],
        0.1,
        [None],
        [[1], [1, 2]],
        np.ma.array([0.1], mask=[True]),
    ],
)
def test_bad_values_are_refused(detector: Detector, values: Any) -> None:
    """So are arrays with an infinite value and what is no array of one dimension."""
    with pytest.raises(InvalidInputError) as error:
        detector.update_many(values)
    assert error.value.argument == "values"


@pytest.mark.parametrize("ids", [[1], [1.0, 2.0], ["a", "b"], [1, 2**63], [[1, 2]], [True, False]])
def test_bad_ids_are_refused(detector: Detector, ids: Any) -> None:
    """Ids are whole numbers, one for each value."""
    with pytest.raises(InvalidInputError) as error:
        detector.update_many([0.1, 0.2], ids)
    assert error.value.argument == "ids"


@pytest.mark.parametrize("number", ["7", 1.5, True, 2**63])
def test_a_bad_id_is_refused(detector: Detector, number: Any) -> None:
    """So is a single one."""
    with pytest.raises(InvalidInputError) as error:
        detector.update(0.1, number)
    assert error.value.argument == "id"


def test_what_is_a_number_is_taken(detector: Detector) -> None:
    """Integers, truth values and floats of any width are values; no values change nothing."""
    for values in (
        [0, 1, 1],
        [False, True, True],
        np.array([0.0, 1.0, 1.0], np.float16),
        np.array([0, 1, 1], np.uint8),
    ):
        assert detector.update_many(values) == detector.update_many([0.0, 1.0, 1.0])
    ones: list[Any] = [True, 1, np.float32(1.0), np.float64(1.0), np.int8(1), np.bool_(True)]
    assert [detector.update(each) for each in ones] == [detector.update(1.0)] * len(ones)
    gaps: list[Any] = [np.float32("nan"), np.float64("nan")]
    assert [detector.update(each) for each in gaps] == [detector.update(math.nan)] * len(gaps)
    assert detector.update_many([]) == detector.update_many([], []) == detector
