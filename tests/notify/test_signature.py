"""What a receiver accepts as ours."""

from __future__ import annotations

from http.client import HTTPMessage
from typing import Any

import pytest

from model_perf import InvalidInputError
from model_perf.notify import verify_signature
from model_perf.notify._signature import sign

SECRET = "a secret of enough letters"
BODY = b'{"v":1}'
NOW = 1_700_000_000


def signed(**changes: str) -> dict[str, str]:
    return sign(SECRET, BODY, NOW) | changes


def test_the_digest_is_hmac_sha256_of_timestamp_and_body() -> None:
    """As OpenSSL computes it: printf '1700000000.{"v":1}' | openssl dgst -sha256 -hmac "a secret of enough letters"."""
    digest = "1ad9c56fbf4a32669e7c208c128fb0ba7f2572144c951c17d573cb90533fe32c"
    assert signed() == {"Model-Perf-Timestamp": "1700000000", "Model-Perf-Signature": f"v1={digest}"}


def test_what_was_signed_is_accepted() -> None:
    """With the secret, with one of several, in any case of the headers, at either end of the tolerance."""
    assert verify_signature(SECRET, signed(), BODY, now=NOW)
    assert verify_signature(["another secret of ours", SECRET], signed(), BODY, now=NOW)
    assert verify_signature(SECRET, {name.upper(): value for name, value in signed().items()}, BODY, now=NOW)
    assert verify_signature(SECRET, signed(), BODY, 60.0, now=NOW + 60)
    assert verify_signature(SECRET, signed(), BODY, 60.0, now=NOW - 60)


@pytest.mark.parametrize(
    ("secret", "headers", "body", "now"),
    [
        pytest.param("another secret of ours", signed(), BODY, NOW, id="another secret"),
        pytest.param(SECRET, signed(), b'{"v":2}', NOW, id="another body"),
        pytest.param(SECRET, signed(), BODY, NOW + 301, id="too old"),
        pytest.param(SECRET, signed(), BODY, NOW - 301, id="from the future"),
        pytest.param(SECRET, signed(**{"Model-Perf-Timestamp": str(NOW + 1)}), BODY, NOW, id="another time"),
        pytest.param(SECRET, signed(**{"Model-Perf-Timestamp": f" {NOW}"}), BODY, NOW, id="a time with a blank"),
        pytest.param(SECRET, signed(**{"Model-Perf-Timestamp": "9" * 5000}), BODY, NOW, id="a long time"),
        pytest.param(SECRET, signed(**{"Model-Perf-Timestamp": "१७"}), BODY, NOW, id="digits of another script"),
        pytest.param(SECRET, signed(**{"Model-Perf-Signature": "v1="}), BODY, NOW, id="no digest"),
        pytest.param(SECRET, signed(**{"Model-Perf-Signature": "v1=\udce4"}), BODY, NOW, id="a surrogate"),
        pytest.param(SECRET, {}, BODY, NOW, id="no headers"),
    ],
)
def test_anything_else_is_refused(secret: str, headers: dict[str, str], body: bytes, now: int) -> None:
    """Another secret, body or time, and whatever is no signature."""
    assert not verify_signature(secret, headers, body, now=now)


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("secret", ("", signed(), BODY)),
        ("secret", ([], signed(), BODY)),
        ("secret", ([None], signed(), BODY)),
        ("body", (SECRET, signed(), "text")),
        ("tolerance_s", (SECRET, signed(), BODY, 0.0)),
        ("tolerance_s", (SECRET, signed(), BODY, float("inf"))),
        ("tolerance_s", (SECRET, signed(), BODY, float("nan"))),
        ("tolerance_s", (SECRET, signed(), BODY, "300")),
        ("secret", (None, signed(), BODY)),
        ("headers", (SECRET, None, BODY)),
    ],
)
def test_a_check_that_would_check_nothing_is_refused(argument: str, arguments: Any) -> None:
    """An empty secret, a body that was decoded and a tolerance without an end are mistakes of the receiver."""
    with pytest.raises(InvalidInputError) as refused:
        verify_signature(*arguments)
    assert refused.value.argument == argument


def test_a_time_that_is_none_is_refused() -> None:
    """Compared with it no signature would be too old."""
    with pytest.raises(InvalidInputError, match=r"^now"):
        verify_signature(SECRET, signed(), BODY, now=float("nan"))


def test_headers_that_are_no_mapping_are_read() -> None:
    """As those of http.server and of Flask, which have items all the same."""
    headers = HTTPMessage()
    for name, value in signed().items():
        headers[name] = value
    assert verify_signature(SECRET, headers, BODY, now=NOW)  # type: ignore[arg-type]
