"""Webhooks against a real server that behaves as badly as servers do."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.factories import START, Clock
from tests.notify.conftest import Telling, later, open_alerts, statuses
from tests.notify.receiver import (
    Answer,
    drip_body,
    drip_head,
    hang_up,
    nonsense,
    receiving,
    silence,
    slowly,
    status,
    until,
)
from tests.servers import free_port

from model_perf import DeliveryReport, ModelPerformanceTracker
from model_perf.notify import WebhookChannel, verify_signature
from model_perf.notify._webhook import read_retry_after

SECRET = "a secret of enough letters"


def webhook(url: str, **options: Any) -> WebhookChannel:
    given: dict[str, Any] = {"secret": SECRET, "timeout_s": 1.5, "backoff_s": 10.0}
    return WebhookChannel(url, **given | options)


async def test_a_receiver_gets_signed_json(telling: Telling) -> None:
    """It can verify the request, tell repeats by its key, and read what happened."""
    async with receiving() as receiver:
        tracker = telling(webhook(receiver.url, headers={"Authorization": "Bearer token-of-the-head"}))
        [alert] = await open_alerts(tracker)
        report = await tracker.deliver_notifications()
    assert report == DeliveryReport(n_routed=1, n_delivered=1)
    [request] = receiver.requests
    assert request.path == "/hooks/token-of-the-path?key=token-of-the-query"
    assert verify_signature(SECRET, request.headers, request.body)
    assert not verify_signature("another secret of ours", request.headers, request.body)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer token-of-the-head"
    [stored] = (await tracker.notifications.list_notifications()).items
    assert request.id == stored.id
    assert request.payload["id"] == str(stored.id)
    assert request.payload["alert"]["id"] == str(alert.id)
    assert (stored.status, stored.attempt, stored.delivered_at) == ("delivered", 1, START)


async def test_credentials_in_the_url_become_a_header(telling: Telling) -> None:
    """User and password go as RFC 7617 has it, and not into the request's target."""
    async with receiving() as receiver:
        tracker = telling(webhook(receiver.url.replace("://", "://ada:pass%20word@")))
        await open_alerts(tracker)
        await tracker.deliver_notifications()
    # python -c "import base64; print(base64.b64encode(b'ada:pass word'))"
    assert receiver.requests[0].headers["authorization"] == "Basic YWRhOnBhc3Mgd29yZA=="
    assert "ada" not in receiver.requests[0].path


async def test_a_repeat_has_the_same_key_and_body(telling: Telling, clock: Clock) -> None:
    """500, then nothing, then 200: three requests, one id, one body, and it is delivered."""
    async with receiving(status(500), silence, status(200)) as receiver:
        tracker = telling(webhook(receiver.url))
        await open_alerts(tracker)
        first = await tracker.deliver_notifications()
        assert (first.n_retried, first.errors) == (1, {"webhook": "HTTP 500 Internal Server Error"})
        assert (await tracker.deliver_notifications()).n_delivered == 0  # not due yet
        later(clock, seconds=10)
        assert (await tracker.deliver_notifications()).errors == {"webhook": "no answer within 1.5 s"}
        later(clock, seconds=20)
        assert await tracker.deliver_notifications() == DeliveryReport(n_delivered=1)
    assert len(receiver.requests) == 3
    assert len(set(receiver.ids)) == 1
    assert len({request.body for request in receiver.requests}) == 1
    assert [request.headers["model-perf-attempt"] for request in receiver.requests] == ["1", "2", "3"]


FAILURES: dict[str, tuple[Answer, str]] = {
    "times out": (silence, "no answer within 1.5 s"),
    "drips its head": (drip_head, "no answer within 1.5 s"),
    "500": (status(500), "HTTP 500 Internal Server Error"),
    "unknown status": (status(599), "HTTP 599"),
    "301": (
        status(301, "Location: http://127.0.0.1:1/token-of-the-path"),
        "HTTP 301 Moved Permanently: redirects are not followed; give the channel the URL itself",
    ),
    "408": (status(408), "HTTP 408 Request Timeout"),
    "429 without more": (status(429), "HTTP 429 Too Many Requests"),
    "hangs up": (hang_up, "RemoteProtocolError: Server disconnected without sending a response."),
    "no HTTP": (nonsense, "RemoteProtocolError: illegal status line: bytearray(b'220 mail.example.com ESMTP')"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_what_may_mend_itself_is_tried_again(telling: Telling, failure: str) -> None:
    """The notification is pending with the reason, later, and no further request is made meanwhile."""
    answer, reason = FAILURES[failure]
    async with receiving(answer) as receiver:
        tracker = telling(webhook(receiver.url))
        await open_alerts(tracker)
        report = await tracker.deliver_notifications()
        assert report == DeliveryReport(n_routed=1, n_retried=1, errors={"webhook": reason})
    assert len(receiver.requests) == 1
    [stored] = (await tracker.notifications.list_notifications()).items
    assert (stored.status, stored.attempt, stored.failures, stored.lease_until) == ("pending", 1, 1, None)
    assert stored.error_message == reason
    assert START <= stored.run_after <= START + timedelta(seconds=10)


@pytest.mark.parametrize("code", [400, 401, 404, 410, 422])
async def test_what_another_attempt_cannot_mend_is_dead_at_once(telling: Telling, clock: Clock, code: int) -> None:
    """A 4xx other than 408 and 429; a dead letter is delivered after all once somebody asks for it."""
    async with receiving(status(code), status(204)) as receiver:
        tracker = telling(webhook(receiver.url))
        await open_alerts(tracker)
        assert (await tracker.deliver_notifications()).n_dead == 1
        [stored] = (await tracker.notifications.list_notifications(status="dead")).items
        assert str(stored.error_message).startswith(f"HTTP {code} ")
        later(clock, days=3)
        assert await tracker.deliver_notifications() == DeliveryReport()
        await tracker.notifications.requeue(stored.id)
        assert await tracker.deliver_notifications() == DeliveryReport(n_delivered=1)
    assert receiver.ids == [stored.id] * 2


@pytest.mark.parametrize("answer", [status(200, body=b"x" * 10_000_000), drip_body], ids=["10 MB", "a slow drip"])
async def test_a_good_status_delivers_whatever_the_body_does(telling: Telling, answer: Answer) -> None:
    """Ten megabytes are not read, and a body without an end is waited for briefly."""
    async with receiving(answer) as receiver:
        tracker = telling(webhook(receiver.url))
        await open_alerts(tracker)
        async with asyncio.timeout(5):
            assert (await tracker.deliver_notifications()).n_delivered == 1
    assert len(receiver.requests) == 1


async def test_connection_refused(telling: Telling) -> None:
    """Nobody listens: tried again later."""
    tracker = telling(webhook(f"http://127.0.0.1:{free_port()}/token-of-the-path"))
    await open_alerts(tracker)
    report = await tracker.deliver_notifications()
    assert report.n_retried == 1
    assert report.errors["webhook"].startswith("ConnectError: ")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that no authority has signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, made = folder / "key.pem", folder / "cert.pem"
    name = ["-subj", "/CN=127.0.0.1", "-addext", f"subjectAltName=IP:{ipaddress.ip_address('127.0.0.1')}"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key)]
    subprocess.run([*command, "-out", str(made), *name], check=True, capture_output=True)
    return made, key


async def test_a_certificate_of_nobody_is_refused_and_one_of_ours_is_not(
    telling: Telling, clock: Clock, certificate: tuple[Path, Path]
) -> None:
    """Nothing is sent to a server that cannot prove its name; a host may bring its own authority."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*certificate)
    async with receiving(tls=served) as receiver:
        tracker = telling(webhook(receiver.url))
        await open_alerts(tracker)
        report = await tracker.deliver_notifications()
        assert report.n_retried == 1
        assert "CERTIFICATE_VERIFY_FAILED" in report.errors["webhook"]
        assert receiver.requests == []
        later(clock, seconds=10)
        own = telling(webhook(receiver.url, ssl_context=ssl.create_default_context(cafile=str(certificate[0]))))
        assert (await own.deliver_notifications()).n_delivered == 1


async def test_retry_after_is_obeyed_by_the_whole_channel(telling: Telling, clock: Clock) -> None:
    """After 429 nothing is sent on the channel until then, by any tracker, and the attempt is no failure."""
    async with receiving(status(429, "Retry-After: 120"), status(204)) as receiver:
        tracker = telling(webhook(receiver.url, concurrency=1))
        await open_alerts(tracker, 3)
        assert (await tracker.deliver_notifications()).n_retried == 1
        later(clock, seconds=119)
        another = telling(webhook(receiver.url, concurrency=1))
        assert await another.deliver_notifications() == DeliveryReport()
        assert len(receiver.requests) == 1
        later(clock, seconds=1)
        assert (await another.deliver_notifications()).n_delivered == 3
    stored = (await tracker.notifications.list_notifications()).items
    assert {(each.status, each.failures) for each in stored} == {("delivered", 0)}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Mon, 01 Jan 2024 00:02:00 GMT", 120.0),
        ("Sun, 31 Dec 2023 00:00:00 GMT", 0.0),
        ("99999999999999999999", 86_400.0),
        ("Mon, 01 Jan 2034 00:00:00 GMT", 86_400.0),
        ("-5", None),
        ("soon", None),
        ("१२", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    """As RFC 9110, 10.2.3 has it; a day at most, and nothing where it is neither."""
    assert read_retry_after(value, datetime(2024, 1, 1, tzinfo=UTC)) == seconds


async def test_after_its_last_attempt_a_notification_is_dead(telling: Telling, clock: Clock) -> None:
    """max_attempts failures, and no more requests."""
    async with receiving(status(503)) as receiver:
        tracker = telling(webhook(receiver.url, max_attempts=3))
        await open_alerts(tracker)
        for _ in range(5):
            await tracker.deliver_notifications()
            later(clock, seconds=60)
    assert len(receiver.requests) == 3
    assert await statuses(tracker) == [("webhook", "dead", 3)]


async def test_connections_are_used_again(telling: Telling) -> None:
    """100 messages go over as many connections as there are hands."""
    async with receiving(status(200, body=b"thanks")) as receiver:
        tracker = telling(webhook(receiver.url, concurrency=5))
        await open_alerts(tracker, 100)
        assert (await tracker.deliver_notifications()).n_delivered == 100
    assert receiver.connections <= 5
    assert receiver.most_open <= 5
    assert sorted(receiver.ids) == sorted(set(receiver.ids))


async def test_a_slow_channel_starves_no_other(telling: Telling) -> None:
    """While one receiver hangs, the other has been told everything."""
    async with receiving(silence) as hanging, receiving() as quick:
        slow, fast = webhook(hanging.url, name="slow", timeout_s=3.0), webhook(quick.url, name="fast")
        tracker = telling(slow, fast)
        await open_alerts(tracker, 50)
        delivery = asyncio.create_task(tracker.deliver_notifications())
        await until(lambda: len(quick.requests) == 50, 2.5)
        assert not delivery.done()
        report = await delivery
    # A receiver that has failed as often in a row as there are hands is left alone until the next call; before the last
    # of these failures the hands of the others may have begun again.
    assert (report.n_delivered, report.n_retried) == (50, len(hanging.requests))
    assert 4 <= report.n_retried <= 7


async def test_no_connection_is_held_while_a_receiver_thinks(
    telling: Telling, tracker: ModelPerformanceTracker
) -> None:
    """With all hands waiting for answers, the host's pool has every connection idle."""
    async with receiving(slowly(0.2, status(204))) as receiver:
        sender = telling(webhook(receiver.url, timeout_s=5.0, concurrency=20))
        await open_alerts(sender, 20)
        delivery = asyncio.create_task(sender.deliver_notifications())
        await until(lambda: receiver.open_now == 20)
        pool: Any = tracker.pool
        assert pool.get_size() == pool.get_idle_size()
        assert (await delivery).n_delivered == 20


async def test_a_proxy_that_is_given_is_used(telling: Telling) -> None:
    """The request goes there, with the proxy's own credentials, and the receiver's name is the proxy's to find."""
    async with receiving() as proxy:
        address = proxy.url.split("/hooks")[0].replace("://", "://ada:pass@")
        tracker = telling(webhook("http://receiver.invalid/hook", proxy=address))
        await open_alerts(tracker)
        assert (await tracker.deliver_notifications()).n_delivered == 1
    assert proxy.requests[0].path == "http://receiver.invalid/hook"
    # python -c "import base64; print(base64.b64encode(b'ada:pass'))"
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic YWRhOnBhc3M="


async def test_neither_environment_nor_redirect_leads_elsewhere(
    telling: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment is not used: it would be told every message."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with receiving() as receiver:
        tracker = telling(webhook(receiver.url))
        await open_alerts(tracker)
        assert (await tracker.deliver_notifications()).n_delivered == 1


@pytest.mark.parametrize(
    "answer", [status(204), status(500), status(404), status(301, "Location: /token-of-301"), hang_up]
)
async def test_secrets_are_in_no_log_and_no_table(
    telling: Telling, caplog: pytest.LogCaptureFixture, answer: Answer
) -> None:
    """With every logger at DEBUG, httpx's among them, and whatever the answer: neither URL, secret nor header."""
    caplog.set_level(logging.DEBUG)
    async with receiving(answer) as receiver:
        url = receiver.url.replace("://", "://ada:password-of-the-url@")
        channel = webhook(url, headers={"Authorization": "token-of-the-head"}, max_attempts=1)
        tracker = telling(channel)
        await open_alerts(tracker)
        report = await tracker.deliver_notifications()
    async with tracker.pool.acquire() as connection:
        rows = [
            *await connection.fetch(f"SELECT n::text FROM {tracker.schema}.model_notifications n"),
            *await connection.fetch(f"SELECT n::text FROM {tracker.schema}.model_notification_channels n"),
        ]
    told = "\n".join([caplog.text, repr(report), repr(channel), repr(vars(tracker)), *(row[0] for row in rows)])
    for secret in (SECRET, "token-of-the", "password-of", "YWRhOn"):
        assert secret not in told
