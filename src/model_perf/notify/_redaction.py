"""What may be said of a secret: nothing, and of a URL: where it leads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

# A scheme of any length would take the square of the time on a long text without one.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s'\"<>\\]+")
_SHORTEST = 4
"""Letters from which a secret is looked for in texts; shorter ones would be found everywhere."""
MASK = "***"


def shown_url(url: str) -> str:
    """Scheme, host and port. User, path and query can all hold tokens."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        host = parts.hostname or ""
    except ValueError:
        return MASK
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}/{MASK}" if parts.scheme else MASK


def redact(text: str, secrets: Iterable[str] = (), max_length: int = 500) -> str:
    """*text* without these secrets and without what URLs say beyond their host."""
    text = _URL.sub(lambda found: shown_url(found.group()), text)
    known = {form for secret in secrets for form in (secret, unquote(secret)) if len(form) >= _SHORTEST}
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = text.replace("\x00", "").encode(errors="replace").decode()
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def secrets_of_url(url: str) -> list[str]:
    """The parts of a URL that can hold tokens: user, password, each part of its path, each value of its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return [url]
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    values = [pair.partition("=")[2] for pair in parts.query.split("&")]
    return [part for part in (url, parts.path, parts.query, user, password, *parts.path.split("/"), *values) if part]
