"""Functions of the host that the command line names, as ``module:function``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from model_perf.errors import InvalidInputError

if TYPE_CHECKING:
    from model_perf.tracker import TrackerOptions


def load(path: str, option: str) -> Callable[..., object]:
    """The function that ``module:function`` names; modules are looked for in the working directory too."""
    name, _, attribute = path.partition(":")
    if not (all(map(str.isidentifier, name.split("."))) and attribute):
        raise InvalidInputError(option, f"{path!r} is not module:function, as in my_models.monitoring:{option}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    function: object = getattr(importlib.import_module(name), attribute, None)
    if not callable(function):
        raise InvalidInputError(option, f"module {name!r} has no function {attribute!r}")
    return function


def load_options(path: str | None) -> TrackerOptions:
    """What the named function says of the tracker: its policy, its channels, its directory."""
    if path is None:
        return {}
    found: Any = load(path, "options")()
    known = ("policy", "channels", "directory", "clock", "acquire_timeout_s")
    if not isinstance(found, dict) or not found.keys() <= set(known):
        # Not the values: a key that we do not know may be a password's.
        given = f"a dict of {', '.join(map(repr, found))}" if isinstance(found, dict) else f"a {type(found).__name__}"
        raise InvalidInputError("options", f"{path} gives {given}; give a dict of {', '.join(known)}")
    options: TrackerOptions = found  # type: ignore[assignment]
    return options
