"""Ids for teams that have names: the same name gives the same UUID, in every process and for ever."""

from __future__ import annotations

from uuid import UUID, uuid5

from model_perf import _validation as check
from model_perf.errors import InvalidInputError
from model_perf.records import NO_MACHINE, ModelRef

NAMESPACE = UUID("c0f5a1de-7a36-5d8c-9e53-3d8f5c1b7a42")
"""Of the ids derived from names (UUIDv5); it never changes."""


def name_slot(
    model_type: str, machine: str | None, machine_id: UUID | str | None, model_id: UUID | str | None, version: int
) -> tuple[ModelRef, str | None]:
    """The deployment that the names mean, and the machine's name."""
    if machine is not None and machine_id is not None:
        raise InvalidInputError("machine", "give a name or a machine_id, not both")
    kind = check.as_text(model_type, "model_type", max_length=200)
    name = check.as_optional_text(machine, "machine", max_length=200)
    if name is not None:
        place = uuid5(NAMESPACE, f"machine {name}")
    else:
        place = NO_MACHINE if machine_id is None else check.as_uuid(machine_id, "machine_id")
    number = uuid5(NAMESPACE, f"model {kind} {place}") if model_id is None else check.as_uuid(model_id, "model_id")
    return ModelRef(model_id=number, model_type=kind, model_version=version, machine_id=place), name
