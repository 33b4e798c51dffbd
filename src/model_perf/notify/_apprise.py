"""Mail, chat and whatever else apprise can reach."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING

from attrs import field, frozen

from model_perf.errors import InvalidInputError
from model_perf.notify._callable import in_thread
from model_perf.notify._channel import Channel, DeliveryError, Send
from model_perf.notify._message import Message
from model_perf.notify._redaction import MASK, secrets_of_url

if TYPE_CHECKING:
    from apprise import Apprise

_TALKATIVE = ("apprise", "urllib3.connectionpool", "urllib3.util.retry")
"""Loggers that apprise and what it uses write URLs and tokens to, from WARNING on down to DEBUG."""
_is_ours: ContextVar[bool] = ContextVar("model_perf_apprise", default=False)


def _hide_ours(record: logging.LogRecord) -> bool:
    return not _is_ours.get()


def _as_urls(value: str | Sequence[str]) -> tuple[str, ...]:
    urls = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else ()
    if not urls or not all(isinstance(url, str) and url.strip() for url in urls):
        raise InvalidInputError(
            "urls", "is no text and no sequence of texts, as ['mailtos://user:password@example.com']"
        )
    return urls


def _show_urls(urls: Sequence[str]) -> str:
    # Some services have a token where others have a host.
    return repr([f"{url.partition('://')[0]}://{MASK}" if "://" in url else MASK for url in urls])


@frozen
class AppriseChannel(Channel):
    """Sends title and text by apprise, in a thread.

    It is delivered once apprise says so for all URLs; else all of them get it again. For receivers that must not hear
    of the failure of others, make a channel each.

    Parameters
    ----------
    urls : str, or several of them
        As apprise reads them; each is a secret.
    name : str, default "apprise"
    **options
        As for `Channel`; timeout_s is 30 by default, since apprise paces itself.
    """

    urls: tuple[str, ...] = field(converter=_as_urls, repr=_show_urls)
    name: str = field(default="apprise", kw_only=True)
    timeout_s: float = field(default=30.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if find_spec("apprise") is None:
            raise ImportError("AppriseChannel needs apprise: pip install 'model-perf[notify]'")

    @property
    def secrets(self) -> tuple[str, ...]:
        hosts = (url.partition("://")[2].rpartition("@")[2].partition("/")[0] for url in self.urls)
        return (*hosts, *(secret for url in self.urls for secret in secrets_of_url(url)))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        # What others log by apprise stays as it is. The filters are not taken away: a thread may outlive the channel.
        for name in _TALKATIVE:
            logging.getLogger(name).addFilter(_hide_ours)
        services = await in_thread(lambda: [_make_service(url, place) for place, url in enumerate(self.urls)])

        async def send(message: Message) -> None:
            async with asyncio.timeout(self.timeout_s):
                failed = await in_thread(lambda: _notify(services, message))
            if failed:
                raise DeliveryError(f"apprise could not deliver to {' and '.join(failed)}")

        yield send


def _make_service(url: str, place: int) -> Apprise:
    """One for each URL: apprise would send to several by threads of its own."""
    import apprise

    _is_ours.set(True)  # in the context of this thread
    try:
        service = apprise.Apprise.instantiate(url, suppress_exceptions=False)
    except Exception as error:
        raise DeliveryError(f"urls[{place}]: apprise refuses it ({type(error).__name__})") from None
    if service is None:
        raise DeliveryError(f"urls[{place}]: apprise does not know how to reach it")
    made = apprise.Apprise()
    made.add(service)
    return made


def _notify(services: Sequence[Apprise], message: Message) -> list[str]:
    """The URLs, by their places, to which it could not be delivered."""
    _is_ours.set(True)
    done = [bool(each.notify(title=message.title, body=message.text, body_format="text")) for each in services]
    return [f"urls[{place}]" for place, is_delivered in enumerate(done) if not is_delivered]
