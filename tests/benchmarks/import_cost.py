"""Yardstick 1: what ``import model_perf`` costs a fresh process, beside the packages that it cannot do without."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec

from tests.benchmarks._lines import Line, Target
from tests.benchmarks._setting import Setting

LIMIT = "asyncpg, attrs, numpy"
RIVALS = ("mlflow", "evidently")
_SCRIPT = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"


async def measure(setting: Setting) -> list[Line]:
    modules = {"ours": "model_perf", "limit": LIMIT} | {name: name for name in RIVALS if find_spec(name)}
    samples: dict[str, list[float]] = {name: [] for name in modules}
    rounds = 7 if setting.quick else 15
    with tempfile.TemporaryDirectory() as bytecode:
        for i in range(-1, rounds):
            for name, module in modules.items():
                # A rival's import takes seconds: five of them say enough.
                if name in RIVALS and i >= 5:
                    continue
                seconds = cpu_seconds(module, bytecode)
                if i >= 0:
                    samples[name].append(seconds)
    ours = {name: samples[name] for name in ("ours", "limit")}
    lines = [Line(work="import, CPU", samples=ours, target=Target(sense="<=", value=1.3))]
    return lines + [
        Line(work=f"import, CPU; rival {name}", samples=ours | {"rival": samples[name]})
        for name in RIVALS
        if name in samples
    ]


def cpu_seconds(module: str, bytecode: str) -> float:
    """CPU seconds of an import in a fresh interpreter, over all its threads, without the interpreter's own start.

    All bytecode is kept in *bytecode*, as pip leaves it: else a source tree is compiled again by every import.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(module)],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"PYTHONPYCACHEPREFIX": bytecode},
    )
    return float(done.stdout.rsplit("\n", 2)[-2])
