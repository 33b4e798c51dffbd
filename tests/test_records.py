"""The values that go in and come out."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest
from tests.factories import START, make_evaluation, make_id, make_ref

from model_perf import NO_MACHINE, Evaluation, InvalidInputError, ModelRef
from model_perf.records import METRIC_COLUMNS, as_metrics, as_severity, as_trigger_type, new_id


def test_new_ids_are_version_7_in_the_order_of_time() -> None:
    """RFC 9562, 5.7: 48 bits of milliseconds, version 7, variant 10."""
    before = time.time_ns() // 1_000_000
    made = []
    for _ in range(5):
        made.append(new_id())
        time.sleep(0.002)
    after = time.time_ns() // 1_000_000
    assert made == sorted(made)
    for one in made:
        assert (one.version, one.int >> 62 & 0b11) == (7, 0b10)
        assert before <= one.int >> 80 <= after


def test_new_ids_do_not_repeat() -> None:
    """74 random bits: not one repeat in a hundred thousand of the same few milliseconds."""
    assert len({new_id() for _ in range(100_000)}) == 100_000


def test_a_ref_is_equal_by_content() -> None:
    """Text and UUID make the same deployment; no machine is the nil UUID; a ref is a dict's key."""
    model = uuid4()
    one = ModelRef(model_id=model, model_type="x", model_version=1)
    other = ModelRef(model_id=str(model), model_type="x", model_version=1, machine_id=None)
    assert one == other
    assert len({one, other}) == 1
    assert one.machine_id == NO_MACHINE == UUID(int=0)


def test_records_are_frozen() -> None:
    """A record cannot be changed, only made anew."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        make_ref().model_version = 2  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        make_evaluation().sample_count = 2  # type: ignore[misc]


def test_an_evaluations_metrics_cannot_be_changed() -> None:
    """What was checked when the record was made stays so, whatever happens to the mapping that was given."""
    given = {"rmse": 1.0}
    evaluation = make_evaluation(metrics=given)
    given["rmse"] = float("nan")
    assert evaluation.metrics == {"rmse": 1.0}


def test_the_date_is_the_end_unless_given() -> None:
    """evaluation_date orders the evaluations; not given, it is the end of the window."""
    assert make_evaluation().evaluation_date == START + timedelta(days=1)
    assert make_evaluation(evaluation_date=START).evaluation_date == START


def test_the_default_date_said_aloud_is_no_other_evaluation() -> None:
    """Evaluations that differ in nothing that is stored are equal, as a repeat of `record` answers them."""
    assert make_evaluation() == make_evaluation(evaluation_date=make_evaluation().evaluation_end)


def test_an_evaluation_can_be_evolved() -> None:
    """A copy with one field changed keeps the others, id and date among them."""
    changed = attrs.evolve(make_evaluation(), verdict="ok")
    assert changed.verdict == "ok"
    assert attrs.evolve(changed, verdict="not_judged") == make_evaluation()


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("ref", {"ref": "baseline"}),
    ("evaluation_end", {"evaluation_end": START}),
    ("metrics", {"metrics": {}}),
    ("metrics['rmse']", {"metrics": {"rmse": float("nan")}}),
    ("sample_count", {"sample_count": -1}),
    ("data_completeness", {"data_completeness": 1.5}),
    ("evaluation_id", {"id": "x"}),
    ("created_by", {"created_by": ""}),
    ("metadata.x", {"metadata": {"x": float("inf")}}),
]


@pytest.mark.parametrize(("argument", "fields"), REFUSED, ids=[name for name, _ in REFUSED])
def test_a_record_is_checked_when_it_is_made(argument: str, fields: dict[str, Any]) -> None:
    """What cannot be stored never becomes a record."""
    given: dict[str, Any] = {"ref": make_ref(), "evaluation_start": START, "metrics": {"rmse": 1.0}}
    with pytest.raises(InvalidInputError) as refused:
        Evaluation(**{"evaluation_end": START + timedelta(days=1)} | given | fields)
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("r_squared", [1.0, 0.0, -15.2, -1e308], [1.0000001]),
        *((name, [0.0, 1e308], [-5e-324]) for name in ("rmse", "mae", "mape")),
        *((name, [0.0, 1.0], [-5e-324, 1.0000001]) for name in ("precision", "recall", "f1_score")),
        ("own", [-1e308, 0.0, 1e308], [float("inf")]),
    ],
)
def test_the_range_of_a_metric(name: str, good: list[float], bad: list[float]) -> None:
    """An R² of -15.2 is legal, a precision of 1.1 is not; own metrics are any finite number."""
    for value in good:
        assert as_metrics({name: value}) == {name: value}
    for value in bad:
        with pytest.raises(InvalidInputError):
            as_metrics({name: value})


def test_the_contracts_words() -> None:
    """Severities and triggers are the contract's; two longer words of earlier clients are taken."""
    assert [as_severity(word) for word in ("info", "warning", "critical")] == ["info", "warning", "critical"]
    assert as_trigger_type("drift_detected") == "drift"
    assert as_trigger_type("performance_degradation") == "degradation"
    for word in ("normal", "INFO", "", None, 3):
        with pytest.raises(InvalidInputError):
            as_severity(word)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError):
            as_trigger_type(word)  # type: ignore[arg-type]
    assert METRIC_COLUMNS == ("r_squared", "rmse", "mae", "mape", "precision", "recall", "f1_score")


def test_what_is_known_of_an_evaluation_before_it_is_judged() -> None:
    """A new evaluation has an id of its own, no verdict and nothing found."""
    one, other = (make_evaluation(id=None) for _ in range(2))
    assert one.id != other.id
    assert (one.verdict, one.drift_detected, one.drift_score) == ("not_judged", None, None)
    assert isinstance(one, Evaluation)
    assert make_id("a") == make_id("a")
