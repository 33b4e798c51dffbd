"""What a channel takes, how its rate limit counts, how long it waits, and what it keeps to itself."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.factories import START

from model_perf import InvalidInputError, ModelPerformanceTracker
from model_perf.notify import AppriseChannel, CallableChannel, Channel, WebhookChannel
from model_perf.notify._redaction import redact, shown_url

URL = "https://user:password-of-the-url@example.com:8443/services/T0000/token-of-the-path?key=token-of-the-query"
SECRET = "a secret of enough letters"


def channel(**options: Any) -> CallableChannel:
    return CallableChannel(print, **options)


def test_a_channel_takes_everything_unless_told() -> None:
    """All events, severities, model types and alert types."""
    each = channel()
    assert (each.events, each.severities) == (("opened", "escalated", "resolved"), ("info", "warning", "critical"))
    assert (each.model_types, each.alert_types, each.rate_limit) == (None, None, None)
    assert channel(min_severity="warning").severities == ("warning", "critical")


@pytest.mark.parametrize(
    ("argument", "make"),
    [
        ("name", lambda: channel(name="")),
        ("min_severity", lambda: channel(min_severity="bad")),
        ("model_types", lambda: channel(model_types="baseline")),
        ("model_types", lambda: channel(model_types=[])),
        ("alert_types", lambda: channel(alert_types=[5])),
        ("events", lambda: channel(events=["acknowledged"])),
        ("rate_limit", lambda: channel(rate_limit=0)),
        ("rate_period", lambda: channel(rate_period=timedelta(0))),
        ("rate_period", lambda: channel(rate_period=timedelta(days=400))),
        ("timeout_s", lambda: channel(timeout_s=0)),
        ("max_attempts", lambda: channel(max_attempts=0)),
        ("backoff_s", lambda: channel(backoff_s=float("nan"))),
        ("concurrency", lambda: channel(concurrency=0)),
        ("function", lambda: CallableChannel(5)),  # type: ignore[arg-type]
        ("url", lambda: WebhookChannel("ftp://example.com/token-of-the-path")),
        ("url", lambda: WebhookChannel("https:///token-of-the-path")),
        ("url", lambda: WebhookChannel("https://example.com:99999/token-of-the-path")),
        ("url", lambda: WebhookChannel("https://example.com/\ntoken-of-the-path")),
        ("url", lambda: WebhookChannel(b"https://example.com/token-of-the-path")),  # type: ignore[arg-type]
        ("proxy", lambda: WebhookChannel(URL, proxy="socks://token-of-the-path")),
        ("secret", lambda: WebhookChannel(URL, secret="token-of-path")),
        ("secret", lambda: WebhookChannel(URL, secret=b"token-of-the-path-and-more")),  # type: ignore[arg-type]
        ("headers", lambda: WebhookChannel(URL, headers={"Authorization": "token-of-the-path\r\nX: y"})),
        ("headers", lambda: WebhookChannel(URL, headers={"Authorization": " token-of-the-path"})),
        ("headers", lambda: WebhookChannel(URL, headers={"Authorization": "token-of-the-päth"})),
        ("headers", lambda: WebhookChannel(URL, headers={"Authorization:": "token-of-the-path"})),
        ("headers", lambda: WebhookChannel(URL, headers={"": "token-of-the-path"})),
        ("headers", lambda: WebhookChannel(URL, headers=["token-of-the-path"])),  # type: ignore[arg-type]
        ("secret", lambda: WebhookChannel(URL, secret="token-of-the-path \ud800")),
        ("ssl_context", lambda: WebhookChannel(URL, ssl_context=True)),  # type: ignore[arg-type]
        ("urls", lambda: AppriseChannel(5)),  # type: ignore[arg-type]
        ("urls", lambda: AppriseChannel([])),
        ("urls", lambda: AppriseChannel([""])),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(argument: str, make: Callable[[], Channel]) -> None:
    """Each by its argument, and never with a value that may be a secret."""
    with pytest.raises(InvalidInputError) as refused:
        make()
    assert refused.value.argument == argument
    assert "token-of" not in str(refused.value)


@pytest.mark.parametrize("channels", [channel(), [channel(), channel()], ["ops"], 5])
def test_a_tracker_refuses_what_is_no_list_of_channels(channels: Any) -> None:
    """One channel, two of a name, a text: named by the argument."""
    with pytest.raises(InvalidInputError, match=r"^channels"):
        ModelPerformanceTracker(lambda: None, channels=channels)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    "make",
    [
        lambda: WebhookChannel(URL, secret=SECRET, headers={"Authorization": "Bearer token-of-the-head"}, proxy=URL),
        lambda: AppriseChannel([URL, "slack://token-of-the-path/token-of-the-query/x"]),
        lambda: CallableChannel(Secretive().tell),
    ],
)
def test_a_repr_holds_no_secret(make: Callable[[], Channel]) -> None:
    """Neither of the channel nor of anything that holds it."""
    shown = repr([make()])
    assert "Channel(" in shown
    for secret in (SECRET, "token-of", "password-of", "T0000"):
        assert secret not in shown


class Secretive:
    """Something with a method, whose repr would be shown with it."""

    def __repr__(self) -> str:
        return f"Secretive({SECRET!r})"

    def tell(self, message: object) -> None: ...


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"Client error for url '{URL}'", "Client error for url 'https://example.com:8443/***'"),
        ("no route to token-of-the-path", "no route to ***"),
        ("postgresql://me:pw@db/x refused", "postgresql://db/*** refused"),
        ("[2] http://[::1]:80/x", "[2] http://[::1]:80/***"),
        ("http://[::1/x", "***"),
        ("nul \x00 and \ud800", "nul  and ?"),
        ("x" * 600, "x" * 499 + "…"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_a_text_that_is_kept_holds_no_secret(text: str, kept: str) -> None:
    """What a channel calls secret is masked, and every URL, known or not, ends with its host."""
    assert redact(text, WebhookChannel(URL, secret=SECRET).secrets) == kept


def test_a_long_text_is_kept_at_once() -> None:
    """A megabyte without a URL takes no longer than one with many: with the square of its length, it took hours."""
    began = time.perf_counter()
    assert redact("x" * 1_000_000).endswith("…")
    assert time.perf_counter() - began < 2.0


def test_a_url_is_shown_by_its_host() -> None:
    """User, path and query can all hold tokens."""
    assert shown_url(URL) == "https://example.com:8443/***"


@pytest.mark.parametrize(("limit", "seconds"), [(1, 1.0), (7, 60.0), (3, 86_400.0), (1000, 1.0), (30, 60.0)])
def test_a_rate_limit_is_a_token_bucket(limit: int, seconds: float) -> None:
    """Against one that counts tokens: at every moment the same number is allowed, however they are asked for."""
    each = channel(rate_limit=limit, rate_period=timedelta(seconds=seconds))
    rng = random.Random(limit)
    now, spent_until, tokens = START, START, float(limit)
    for _ in range(2000):
        step = timedelta(seconds=rng.expovariate(1.2 * limit / seconds) * rng.choice([0.1, 1, 20]))
        now, tokens = now + step, min(float(limit), tokens + step.total_seconds() * limit / seconds)
        wanted = rng.randint(1, 2 * limit)
        allowed, after = each.allow(spent_until, now, wanted)
        # Within the rounding of an interval to microseconds.
        slack = 0.002 + 1e-6 * limit * limit / seconds
        assert min(wanted, int(tokens - slack)) <= allowed <= min(wanted, int(tokens + slack))
        taken = rng.randint(0, allowed)
        spent_until, tokens = after(taken), tokens - taken
        left = limit - max((spent_until - now).total_seconds(), 0.0) * limit / seconds
        assert left == pytest.approx(tokens, abs=slack)
        tokens = left


def test_a_clock_that_was_wrong_blocks_a_channel_for_a_period_at_most() -> None:
    """What a process with a clock of next year has left behind counts as an empty bucket, and no more."""
    each = channel(rate_limit=6, rate_period=timedelta(minutes=1))
    ahead: datetime = START + timedelta(days=365)
    allowed, after = each.allow(ahead, START, 5)
    assert allowed == 0
    assert each.allow(after(0), START + timedelta(seconds=30), 5)[0] == 3


def test_waits_grow_to_their_limit_and_are_spread_over_all_of_it() -> None:
    """The wait after n failures is uniform on [0, min(max_backoff_s, backoff_s * 2**(n - 1))]."""
    random.seed(20261125)
    each = channel(backoff_s=10.0, max_backoff_s=100.0)
    for failures, longest in ((1, 10.0), (2, 20.0), (4, 80.0), (5, 100.0), (5000, 100.0)):
        waits = [each.wait_s(failures) for _ in range(2000)]
        assert min(waits) >= 0.0
        assert max(waits) <= longest
        # The mean of 2,000 uniforms has a standard deviation of longest / sqrt(12 * 2000) = 0.0065 longest.
        assert sum(waits) / 2000 == pytest.approx(longest / 2, abs=5 * 0.0065 * longest)
