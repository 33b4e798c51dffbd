"""apprise as a channel, against a real server that takes its JSON."""

from __future__ import annotations

import logging

import pytest
from tests.notify.conftest import Telling, open_alerts, statuses
from tests.notify.receiver import receiving, silence, status

from model_perf import DeliveryReport
from model_perf.notify import AppriseChannel

# What apprise imports is old in places.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def json_url(address: str) -> str:
    """The URL by which apprise posts JSON there, with what may be secrets in it."""
    host = address.split("//")[1].split("/")[0]
    return f"json://ada:password-of-the-url@{host}/token-of-the-path"


async def test_title_and_text_arrive(telling: Telling) -> None:
    """All URLs get the message, and no markup is made of it."""
    async with receiving() as one, receiving() as two:
        tracker = telling(AppriseChannel([json_url(one.url), json_url(two.url)]))
        await open_alerts(tracker)
        assert await tracker.deliver_notifications() == DeliveryReport(n_routed=1, n_delivered=1)
    for receiver in (one, two):
        [request] = receiver.requests
        assert request.payload["title"].startswith("Critical: performance_degradation of baseline on ")
        assert request.payload["message"].startswith("rmse of 0 is 30, expected 10\nOpened at 2024-01-01 00:00 UTC.")


async def test_one_url_that_fails_fails_the_attempt(telling: Telling) -> None:
    """It is delivered once all of them took it."""
    async with receiving() as one, receiving(status(500)) as two:
        tracker = telling(AppriseChannel([json_url(one.url), json_url(two.url)]))
        await open_alerts(tracker)
        report = await tracker.deliver_notifications()
    assert report.errors == {"apprise": "apprise could not deliver to urls[1]"}
    assert await statuses(tracker) == [("apprise", "pending", 1)]


async def test_a_service_that_hangs_is_left_to_itself(telling: Telling) -> None:
    """The call ends at the channel's timeout."""
    async with receiving(silence) as receiver:
        tracker = telling(AppriseChannel(json_url(receiver.url), timeout_s=0.5))
        await open_alerts(tracker)
        assert (await tracker.deliver_notifications()).errors == {"apprise": "no answer within 0.5 s"}


@pytest.mark.parametrize("url", ["nosuchservice://token-of-the-path", "slack://token-of-the-path", "token-of-the-path"])
async def test_a_url_that_apprise_refuses_is_named_by_its_place(
    telling: Telling, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    """The report says which, and no log says what it was."""
    caplog.set_level(logging.DEBUG)
    async with receiving() as receiver:
        tracker = telling(AppriseChannel([json_url(receiver.url), url]))
        await open_alerts(tracker)
        report = await tracker.deliver_notifications()
    assert report.errors["apprise"].startswith("urls[1]: apprise ")
    assert "token-of-the-path" not in caplog.text + str(report)
    assert receiver.requests == []


@pytest.mark.parametrize("code", [200, 500])
async def test_secrets_are_in_no_log(telling: Telling, caplog: pytest.LogCaptureFixture, code: int) -> None:
    """With every logger at DEBUG, that of urllib3 among them; what others log there is still logged."""
    caplog.set_level(logging.DEBUG)
    async with receiving(status(code)) as receiver:
        tracker = telling(AppriseChannel(json_url(receiver.url)))
        await open_alerts(tracker)
        report = await tracker.deliver_notifications()
    assert len(receiver.requests) == 1
    logging.getLogger("urllib3.connectionpool").debug("somebody else's request")
    assert "somebody else's request" in caplog.text
    for secret in ("token-of-the", "password-of"):
        assert secret not in caplog.text + repr(report) + repr(vars(tracker))
