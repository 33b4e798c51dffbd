"""What users reach by ``import model_perf``, and that each piece of it says what it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import model_perf


def public_members(cls: type) -> Iterator[tuple[str, Any]]:
    """The methods and properties that a class of ours defines itself."""
    for name, member in vars(cls).items():
        kinds = (property, classmethod, staticmethod)
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, kinds)):
            yield f"{cls.__name__}.{name}", member


def public_things(module: ModuleType = model_perf, prefix: str = "") -> dict[str, Any]:
    """Every exported class and function, with the methods of the classes and what exported modules export."""
    things: dict[str, Any] = {}
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.ismodule(thing):
            things |= {name: thing, **public_things(thing, f"{name}.")}
        elif inspect.isclass(thing):
            things |= {prefix + name: thing} | {prefix + member: value for member, value in public_members(thing)}
        elif inspect.isfunction(thing):
            things[prefix + name] = thing
    return things


def as_function(thing: Any) -> Callable[..., Any] | None:
    if isinstance(thing, property):
        return thing.fget
    if isinstance(thing, classmethod | staticmethod):
        return thing.__func__
    return thing if inspect.isfunction(thing) else None


def test_all_is_what_users_can_reach() -> None:
    """`__all__` holds every public name of the package, each once, and of the modules only the package's own."""
    # ``from __future__ import annotations`` leaves a name behind.
    reachable = {name: thing for name, thing in vars(model_perf).items() if name[0] != "_" and name != "annotations"}
    exported = {name: thing for name, thing in reachable.items() if name in model_perf.__all__}
    assert len(model_perf.__all__) == len(set(model_perf.__all__))
    assert [name for name, thing in reachable.items() if not inspect.ismodule(thing) and name not in exported] == []
    modules = [thing.__name__ for thing in exported.values() if inspect.ismodule(thing)]
    assert [name for name in modules if not name.startswith("model_perf.")] == []


def test_a_star_import_works() -> None:
    """Every name of `__all__` exists."""
    namespace: dict[str, object] = {}
    exec("from model_perf import *", namespace)
    assert set(model_perf.__all__) <= set(namespace)


@pytest.mark.parametrize("name", sorted(public_things()))
def test_a_public_thing_has_a_docstring(name: str) -> None:
    """Modules, classes, functions, methods and properties say what they are."""
    doc = public_things()[name].__doc__
    assert doc is not None
    # attrs and dataclasses give none; a signature in place of a docstring is what enum and namedtuple give.
    assert len(doc.split()) >= 3, doc


@pytest.mark.parametrize("name", sorted(public_things()))
def test_a_public_signature_is_typed(name: str) -> None:
    """No parameter or result of a public function is untyped or a bare Any."""
    function = as_function(public_things()[name])
    if function is None:
        return
    signature = inspect.signature(function)
    parameters = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
    annotations = {each.name: each.annotation for each in parameters} | {"return": signature.return_annotation}
    assert {key: value for key, value in annotations.items() if value in ("Any", Any, inspect.Parameter.empty)} == {}
