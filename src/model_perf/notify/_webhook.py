"""Webhooks: a message as signed JSON to a URL, once per attempt, and no further than that URL."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import field, frozen

from model_perf import _validation as check
from model_perf.errors import InvalidInputError
from model_perf.notify._channel import LONGEST_WAIT_S, Channel, DeliveryError, Send
from model_perf.notify._message import Message
from model_perf.notify._redaction import secrets_of_url, shown_url
from model_perf.notify._signature import sign

if TYPE_CHECKING:
    import httpx

SHORTEST_SECRET = 16
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_READ_BYTES = 4096
_READ_S = 1.0
"""An answer is read so far only that its connection can be used again; what it says is not kept."""
_ASKS_TO_WAIT = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_PASSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
"""The only 4xx that another attempt can mend."""


@frozen
class WebhookChannel(Channel):
    """POSTs each message as JSON; a 2xx answer delivers it.

    Redirects are not followed. 4xx other than 408 and 429 is final, ``Retry-After`` of 429 and 503 is obeyed, and
    everything else is tried again. Neither environment variables nor the host's HTTP client settings are used.

    Parameters
    ----------
    url : str
        http or https. What it says beyond the host appears in no log, repr or table.
    secret : str, optional
        16 characters or more; signs the body, see `verify_signature`.
    name : str, default "webhook"
    headers : mapping of str, optional
        Sent along, as an Authorization; their values count as secrets.
    ssl_context : ssl.SSLContext, optional
        For authorities of your own; default: certifi's.
    proxy : str, optional
        URL of a proxy.
    **options
        As for `Channel`.
    """

    url: str = field(repr=shown_url)
    secret: str | None = field(default=None, kw_only=True, repr=False)
    name: str = field(default="webhook", kw_only=True)
    headers: Mapping[str, str] = field(factory=dict, kw_only=True, repr=False)
    ssl_context: ssl.SSLContext | None = field(default=None, kw_only=True, repr=False)
    proxy: str | None = field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        _check_url(self.url, "url")
        if self.proxy is not None:
            _check_url(self.proxy, "proxy")
        if self.secret is not None and not (isinstance(self.secret, str) and len(self.secret) >= SHORTEST_SECRET):
            raise InvalidInputError(
                "secret", f"is no text of {SHORTEST_SECRET} characters; use secrets.token_urlsafe()"
            )
        check.refuse_unstorable(self.secret or "", "secret")
        if not isinstance(self.ssl_context, ssl.SSLContext | None):
            raise InvalidInputError("ssl_context", f"is a {type(self.ssl_context).__name__}; give an ssl.SSLContext")
        _check_headers(self.headers)
        if find_spec("httpx") is None:
            raise ImportError("WebhookChannel needs httpx: pip install 'model-perf[notify]'")

    @property
    def secrets(self) -> tuple[str, ...]:
        proxied = [] if self.proxy is None else secrets_of_url(self.proxy)
        signing = () if self.secret is None else (self.secret,)
        return (*signing, *secrets_of_url(self.url), *proxied, *self.headers.values())

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        # The import and the certificates take a tenth of a second, which the loop shall not stand still for.
        transport = await asyncio.to_thread(self._make_transport)
        async with transport:

            async def send(message: Message) -> None:
                await self._post(transport, message)

            yield send

    def _make_transport(self) -> httpx.AsyncHTTPTransport:
        # The transport and not a client: a client logs every URL in full, follows environment variables, keeps cookies.
        import httpx

        return httpx.AsyncHTTPTransport(
            verify=True if self.ssl_context is None else self.ssl_context,
            proxy=None if self.proxy is None else httpx.Proxy(self.proxy),
            trust_env=False,
            limits=httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency),
        )

    async def _post(self, transport: httpx.AsyncHTTPTransport, message: Message) -> None:
        async with asyncio.timeout(self.timeout_s):
            response = await transport.handle_async_request(self._make_request(message))
        try:
            _judge(response.status_code, response.headers)
        finally:
            await _read_a_little(response)

    def _make_request(self, message: Message) -> httpx.Request:
        import httpx

        body = message.to_json()
        user, password, url = _split_credentials(httpx.URL(self.url))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "model-perf",
            "Idempotency-Key": str(message.id),
            "Model-Perf-Attempt": str(message.attempt),
            **self.headers,
            **({} if self.secret is None else sign(self.secret, body, int(time.time()))),
        }
        request = httpx.Request("POST", url, headers=headers, content=body)
        if user or password:
            request = next(httpx.BasicAuth(user, password).auth_flow(request))
        return request


def _judge(status: int, headers: Mapping[str, str]) -> None:
    if 200 <= status < 300:
        return
    with suppress(ValueError):
        status = HTTPStatus(status)
    named = f"HTTP {int(status)} {status.phrase}" if isinstance(status, HTTPStatus) else f"HTTP {status}"
    if 300 <= status < 400:
        raise DeliveryError(f"{named}: redirects are not followed; give the channel the URL itself")
    wait_s = read_retry_after(headers.get("retry-after"), datetime.now(UTC)) if status in _ASKS_TO_WAIT else None
    raise DeliveryError(named, is_final=400 <= status < 500 and status not in _PASSES, retry_after_s=wait_s)


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait, from seconds or a date [RFC 9110, 10.2.3]; None where it is neither."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        wait_s = float(value.strip()[:12])
    else:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        wait_s = (moment - now).total_seconds()
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)


async def _read_a_little(response: httpx.Response) -> None:
    """Whatever goes wrong with the answer's body: the status has said all, and a delivery is not undone by it."""
    with suppress(Exception):
        try:
            async with asyncio.timeout(_READ_S):
                size = 0
                async for part in response.aiter_raw():
                    size += len(part)
                    if size > _READ_BYTES:
                        break
        finally:
            await response.aclose()


def _split_credentials(url: httpx.URL) -> tuple[str, str, httpx.URL]:
    return url.username, url.password, url.copy_with(username=None, password=None)


def _check_headers(headers: Any) -> None:
    """Refuses what HTTP cannot carry [RFC 9110, 5.5 and 5.6.2], which would fail at each delivery."""
    pairs = headers.items() if isinstance(headers, Mapping) else [("", "")]
    if not all(_is_text(name) and _TOKEN.fullmatch(name) and _is_text(value) for name, value in pairs):
        raise InvalidInputError(
            "headers", "are no mapping of header names to values of printable ASCII without spaces around them"
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and value == value.strip()


def _check_url(url: Any, argument: str) -> None:
    """Refuses without repeating the value, which may be a secret."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not url.isprintable() or " " in url:
        raise InvalidInputError(argument, "is no URL such as https://example.com/hook")
