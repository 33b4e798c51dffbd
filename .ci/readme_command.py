"""Print the README's shell block that makes an environment and holds the given words, so that CI runs just that."""

import re
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def command(word: str) -> str:
    blocks = re.findall(r"^```(?:sh|bash|shell|console)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    found = [block for block in blocks if "venv" in block and word in block]
    if len(found) != 1:
        raise SystemExit(f"README.md has {len(found)} shell blocks with 'venv' and {word!r}; exactly one is expected")
    return found[0]


if __name__ == "__main__":
    print(command(sys.argv[1]))
