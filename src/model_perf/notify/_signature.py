"""What proves to a receiver that a webhook is ours, recent and whole."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping, Sequence

from model_perf import _validation as check
from model_perf.errors import InvalidInputError

TIMESTAMP = "Model-Perf-Timestamp"
SIGNATURE = "Model-Perf-Signature"


def sign(secret: str, body: bytes, timestamp: int) -> dict[str, str]:
    """The headers that sign *body*: HMAC-SHA256 of ``timestamp.body``."""
    return {TIMESTAMP: str(timestamp), SIGNATURE: f"v1={_digest(secret, str(timestamp), body)}"}


def verify_signature(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    tolerance_s: float = 300.0,
    *,
    now: float | None = None,
) -> bool:
    """Whether a request that came in is signed with the secret and not older than the tolerance.

    Parameters
    ----------
    secret : str, or several of them
        Any of several may have signed: while a secret is changed, the old and the new one.
    headers : mapping of str
        Of the request, in any case.
    body : bytes
        As it came in, before anything parsed it.
    tolerance_s : float, default 300
        How far the signature's time may be from *now*, either way. It bounds replays; to tell repeats of a
        notification, keep the ids that were seen.
    now : float, optional
        Seconds since 1970; default: the clock.

    References
    ----------
    [1] RFC 2104, HMAC: Keyed-Hashing for Message Authentication.
    """
    secrets = [secret] if isinstance(secret, str) else list(secret) if isinstance(secret, Sequence) else []
    if not secrets or not all(isinstance(each, str) and each for each in secrets):
        raise InvalidInputError("secret", "is empty, or no text; give the secret that the channel has")
    if not isinstance(body, bytes | bytearray | memoryview):
        raise InvalidInputError("body", f"is {type(body).__name__}; give the bytes as they came in")
    if not callable(getattr(headers, "items", None)):  # those of some frameworks are no Mapping
        raise InvalidInputError("headers", f"are a {type(headers).__name__}; give a mapping of texts")
    moment = time.time() if now is None else check.as_float(now, "now")
    if check.as_float(tolerance_s, "tolerance_s") <= 0:
        raise InvalidInputError("tolerance_s", f"{tolerance_s} is not a positive number of seconds")
    given = {name.lower(): value for name, value in headers.items()}
    timestamp, signature = given.get(TIMESTAMP.lower(), ""), given.get(SIGNATURE.lower(), "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(moment - int(timestamp)) > tolerance_s:
        return False
    # Every secret is tried, so that the time taken does not tell which one fits.
    found = [
        hmac.compare_digest(
            f"v1={_digest(each, timestamp, bytes(body))}".encode(), signature.encode("utf-8", "replace")
        )
        for each in secrets
    ]
    return any(found)


def _digest(secret: str, timestamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, "sha256").hexdigest()
