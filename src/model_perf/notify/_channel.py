"""A channel: who is told of what, how often, and how patiently."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import TypeAlias

from attrs import field, frozen

from model_perf import _validation as check
from model_perf.errors import InvalidInputError, ModelPerfError
from model_perf.notify._message import EVENTS, Message
from model_perf.records import SEVERITIES, Severity, as_severity

LONGEST_WAIT_S = 86_400.0
"""What a receiver's wish to be left alone is taken for at most."""

Send: TypeAlias = Callable[[Message], Awaitable[None]]


class DeliveryError(ModelPerfError):
    """A message was not delivered; a function of a `CallableChannel` may raise it to say what is to happen next.

    Attributes
    ----------
    is_final : bool
        Another attempt would fail as well: the notification is dead at once.
    retry_after_s : float or None
        The receiver asks to be left alone for so long, a day at most: the whole channel rests, and the attempt is no
        failure.
    """

    def __init__(self, message: str, *, is_final: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.is_final = is_final
        self.retry_after_s = None
        if retry_after_s is not None:
            self.retry_after_s = min(check.as_float(retry_after_s, "retry_after_s", low=0.0), LONGEST_WAIT_S)


def _as_words(value: Sequence[str] | None, argument: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise InvalidInputError(argument, f"{value!r} is not a sequence of texts; None = all")
    return tuple(check.as_text(each, argument, max_length=200) for each in value)


def _as_min_severity(value: str) -> Severity:
    return as_severity(value, "min_severity")


def _as_model_types(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return _as_words(value, "model_types")


def _as_alert_types(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return _as_words(value, "alert_types")


def _as_events(value: Sequence[str]) -> tuple[str, ...]:
    return tuple(check.as_choice(each, "events", EVENTS) for each in _as_words(value, "events") or EVENTS)


@frozen(kw_only=True)
class Channel:
    """What all channels have in common; use `WebhookChannel`, `CallableChannel` or `AppriseChannel`.

    Parameters
    ----------
    name : str
        Unique among the channels of a tracker, and the same in all processes: the outbox knows the channel by it.
    min_severity : {"info", "warning", "critical"}
        Of the event, which for an escalation is the new one.
    model_types, alert_types : sequence of str, optional
        None = all.
    events : sequence of str
        Of "opened", "escalated", "resolved".
    rate_limit, rate_period : int, timedelta
        So many deliveries in a burst, and on average per period, by all processes together. The excess waits.
    timeout_s : float
        For one delivery in all.
    max_attempts : int
        Failed deliveries after which a notification is dead.
    backoff_s, max_backoff_s : float
        The n-th failure is followed by a wait between 0 and backoff_s * 2**(n - 1), max_backoff_s at most.
    concurrency : int
        Deliveries that one process makes at a time.
    """

    name: str = field()
    min_severity: Severity = field(default="info", converter=_as_min_severity)
    model_types: tuple[str, ...] | None = field(default=None, converter=_as_model_types)
    alert_types: tuple[str, ...] | None = field(default=None, converter=_as_alert_types)
    events: tuple[str, ...] = field(default=EVENTS, converter=_as_events)
    rate_limit: int | None = None
    rate_period: timedelta = timedelta(minutes=1)
    timeout_s: float = 10.0
    max_attempts: int = 10
    backoff_s: float = 10.0
    max_backoff_s: float = 3600.0
    concurrency: int = 4

    def __attrs_post_init__(self) -> None:
        check.as_text(self.name, "name", max_length=200)
        if self.rate_limit is not None:
            check.as_int(self.rate_limit, "rate_limit", low=1, high=1_000_000)
        if not timedelta(seconds=1) <= check.as_duration(self.rate_period, "rate_period") <= timedelta(days=366):
            raise InvalidInputError("rate_period", f"{self.rate_period!r} is outside [1 second, 366 days]")
        check.as_float(self.timeout_s, "timeout_s", low=0.001, high=3600.0)
        check.as_int(self.max_attempts, "max_attempts", low=1, high=1000)
        check.as_float(self.backoff_s, "backoff_s", low=0.0, high=86_400.0)
        check.as_float(self.max_backoff_s, "max_backoff_s", low=0.0, high=86_400.0)
        check.as_int(self.concurrency, "concurrency", low=1, high=100)

    @property
    def severities(self) -> tuple[str, ...]:
        """From min_severity on."""
        return SEVERITIES[SEVERITIES.index(self.min_severity) :]

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not appear in anything that is stored or logged."""
        return ()

    def open(self) -> AbstractAsyncContextManager[Send]:
        """Something to send messages with, for a while; sending raises `DeliveryError` or anything else on failure."""
        raise NotImplementedError

    def wait_s(self, failures: int) -> float:
        """A random wait after so many failures: exponential backoff with full jitter."""
        longest = min(self.max_backoff_s, self.backoff_s * 2.0 ** min(failures - 1, 60))
        return random.uniform(0.0, longest)

    def allow(self, spent_until: datetime, now: datetime, wanted: int) -> tuple[int, Callable[[int], datetime]]:
        """How many of *wanted* deliveries the rate limit allows now, and where some of them leave it.

        A token bucket as one time, *spent_until*: when it is full again. A delivery moves it on by period / limit, and
        it may lie a period ahead; what lies further came from a clock that was wrong.

        References
        ----------
        [1] ITU-T I.371 (2004), A.1: the generic cell rate algorithm, virtual scheduling.
        """
        assert self.rate_limit is not None
        start = min(max(spent_until, now), now + self.rate_period)
        each = self.rate_period / self.rate_limit
        free = now + self.rate_period - start
        # An interval is rounded to microseconds; a full bucket shall hold rate_limit, and not one less for that.
        return min(wanted, int(free / each + 0.001)), lambda n: start + n * each
