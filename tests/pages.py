"""The pages of the documentation, and what lies on them to be run."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parent.parent

_CHUNK = re.compile(
    r"^```(?P<language>\w+)\n(?P<code>.*?)^```$|^<!-- (?P<hidden>setup|check):\n(?P<script>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)


@frozen
class Chunk:
    """A fence of a page, or a hidden script (a comment that starts with ``setup:`` or ``check:``)."""

    language: str
    text: str
    line: int


def read_chunks(page: Path) -> list[Chunk]:
    text = page.read_text(encoding="utf-8")
    chunks = []
    for found in _CHUNK.finditer(text):
        language = "python" if found["hidden"] else found["language"]
        body, group = (found["script"], "script") if found["hidden"] else (found["code"], "code")
        chunks.append(Chunk(language, body, text.count("\n", 0, found.start(group)) + 1))
    return chunks
