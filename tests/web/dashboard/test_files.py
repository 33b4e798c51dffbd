"""The page's files: vendored ones as published, all of them small, nothing from elsewhere."""

from __future__ import annotations

import gzip
import json
import re
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import httpx
import pytest

from model_perf import InvalidInputError
from model_perf.web import create_dashboard

STATIC = Path(str(files("model_perf.web").joinpath("static")))
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())


def test_vendored_files_are_those_of_the_manifest() -> None:
    """Each file of each package by its sha256, and no file beside them."""
    manifest = json.loads((STATIC / "vendor/manifest.json").read_bytes())
    listed = {f"{folder}/{name}": tag for folder, package in manifest.items() for name, tag in package["files"].items()}
    found = {
        str(path.relative_to(STATIC / "vendor")): sha256(path.read_bytes()).hexdigest()
        for path in FILES
        if path.parent.parent == STATIC / "vendor"
    }
    assert found == listed
    assert {package["licence"] for package in manifest.values()} == {"MIT"}


def test_all_files_are_small() -> None:
    """Below 200 kB as a browser gets them from a proxy that compresses."""
    assert sum(len(gzip.compress(path.read_bytes())) for path in FILES) < 200_000


def test_nothing_is_inline_or_from_elsewhere() -> None:
    """No address with a host, no style or handler in the markup, no text read as markup, in files of ours."""
    for path in FILES:
        if "vendor" not in path.parts:
            text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            wrong = r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|<style|\sstyle="
            assert re.findall(wrong, text) == [], path.name


async def test_headers_and_repeats() -> None:
    """Each file with its policy and kind; asked for again, 304; what is not there, 404; writing is refused."""
    transport = httpx.ASGITransport(create_dashboard())
    async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
        for path in FILES:
            name = path.relative_to(STATIC)
            answer = await client.get(f"/{name}")
            assert (answer.status_code, answer.headers["x-content-type-options"]) == (200, "nosniff"), name
            assert answer.headers["content-security-policy"].startswith("default-src 'self'"), name
            again = await client.get(f"/{name}", headers={"if-none-match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b""), name
        assert (await client.get("/none.js")).status_code == 404
        assert (await client.get("/../dashboard.py")).status_code == 404
        assert (await client.post("/")).status_code == 405


@pytest.mark.parametrize("api", ["https://elsewhere/api", "//elsewhere/api", "", " ", "../api?x=1", 3])
def test_another_origin_is_refused(api: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a path of this origin"):
        create_dashboard(api)
