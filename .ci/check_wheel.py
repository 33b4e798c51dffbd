"""Refuse a wheel that is not pure Python, too large, or short of the files that the package reads."""

import sys
from pathlib import Path
from zipfile import ZipFile

LIMIT_BYTES = 1_000_000
NEEDED = [
    "py.typed",
    "sql/metrics.sql",
    "web/router.py",
    "web/static/index.html",
    "demo/victoria_demand_2014.csv.gz",
    "demo/DATA.md",
]


def faults(wheel: Path) -> list[str]:
    names = ZipFile(wheel).namelist()
    found = [f"{name} is compiled" for name in names if name.endswith((".so", ".pyd", ".dylib", ".dll"))]
    found += [f"{name} is missing" for name in NEEDED if f"model_perf/{name}" not in names]
    if not any(name.startswith("model_perf/sql/migrations/0001") for name in names):
        found.append("the first migration is missing")
    if not any(name.endswith("licenses/LICENSE") for name in names):
        found.append("the licence is missing")
    if not wheel.name.endswith("-py3-none-any.whl"):
        found.append(f"{wheel.name} is not for every platform")
    if wheel.stat().st_size >= LIMIT_BYTES:
        found.append(f"{wheel.stat().st_size} bytes; fewer than {LIMIT_BYTES} are promised")
    return found


if __name__ == "__main__":
    path = Path(sys.argv[1])
    print(f"{path.name}: {path.stat().st_size} bytes")
    if problems := faults(path):
        raise SystemExit("\n".join(problems))
