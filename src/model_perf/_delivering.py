"""Deliveries from the outbox: each channel by itself, a few at a time, and no connection held meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from attrs import asdict, define, field, fields

from model_perf import _validation as check
from model_perf._notifications import Delivery
from model_perf.errors import InvalidInputError, ModelPerfError, StorageError
from model_perf.records import NO_MACHINE
from model_perf.repos import NotificationRepo
from model_perf.results import DeliveryReport

if TYPE_CHECKING:
    from model_perf.notify import Channel, DeliveryError, Message
    from model_perf.notify._channel import Send

_LOG = logging.getLogger("model_perf.notify")

LEASE_MARGIN = timedelta(seconds=30)
"""How long a lease outlives the channel's timeout: time to write down what came of it."""
HAND_BACK_S = 2.0
"""Longest wait, at a cancellation, to give back what is held; the lease ends anyway."""
SETTLE_WAITS_S = (0.2, 1.0, 5.0)
"""Waits between tries to write down a delivery, so that a short absence of the database costs no repeat of it."""

WAITS_PER_FAILURE = 10
"""Attempts per allowed failure after which a receiver that only asks to wait has asked often enough."""

T = TypeVar("T")
Names = Callable[[list[UUID]], Awaitable[Mapping[UUID, str]]]


def as_channels(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """Channels with names of their own."""
    from model_perf.notify import Channel

    if isinstance(channels, Channel) or not isinstance(channels, Sequence):
        raise InvalidInputError("channels", "is no sequence of channels; see model_perf.notify")
    for place, channel in enumerate(channels):
        if not isinstance(channel, Channel):
            raise InvalidInputError(f"channels[{place}]", f"is a {type(channel).__name__}; see model_perf.notify")
    names = [channel.name for channel in channels]
    if len(set(names)) < len(names):
        raise InvalidInputError("channels", f"share a name: {', '.join(sorted(names))}; give each its own name=")
    return tuple(channels)


@define
class Round:
    """One call of `deliver_notifications`: what all channels share."""

    repo: NotificationRepo
    names: Names
    clock: Callable[[], datetime]
    channels: Sequence[Channel]
    limit: int
    stop_after_s: float
    counts: Counter[str] = field(factory=Counter)
    errors: dict[str, str] = field(factory=dict)
    fatal: list[ModelPerfError] = field(factory=list)
    machines: dict[UUID, str] = field(factory=dict)

    async def run(self, max_age: timedelta) -> DeliveryReport:
        due = await self._find_due(max_age)
        async with asyncio.TaskGroup() as group:
            for channel in self.channels:
                if channel.name in due:
                    group.create_task(self._deliver_on(channel))
        if self.fatal:
            raise self.fatal[0]
        counts = {each.name: self.counts[each.name] for each in fields(DeliveryReport) if each.name != "errors"}
        return DeliveryReport(**counts, errors=self.errors)

    async def _find_due(self, max_age: timedelta) -> Mapping[str, datetime]:
        """The channels with something to deliver, after what is too old was dropped and what is new was routed."""
        now = self.clock()
        due = await self.repo.list_due(now)
        if due and min(due.values()) < now - max_age:
            reason = f"nobody delivered it within {max_age}"
            self.counts["n_dropped"] += await self.repo.drop_late(now - max_age, reason=reason)
        if "" not in due or not self.channels:
            return due
        while True:
            done = await self.repo.route([_routing(channel) for channel in self.channels], now=now)
            self.counts["n_routed"] += done.n_routed
            self.counts["n_dropped"] += done.n_dropped
            if not done.n_events:
                return await self.repo.list_due(now)

    async def _deliver_on(self, channel: Channel) -> None:
        try:
            async with channel.open() as send:
                ends = asyncio.get_running_loop().time() + self.stop_after_s
                hands = asyncio.Semaphore(channel.concurrency)
                await _Turn(self, channel, send, left=self.limit, ends=ends, hands=hands).run()
        except Exception as error:  # what opens a channel is the host's, or a library's: others shall not suffer
            self.note(channel, _describe(error, channel))

    def note(self, channel: Channel, text: str) -> None:
        self.errors[channel.name] = text
        _LOG.warning("channel %s: %s", channel.name, text)

    async def name_machines(self, held: Sequence[Delivery]) -> None:
        unknown = {each.machine_id for each in held if each.machine_id not in self.machines} - {NO_MACHINE}
        if unknown:
            self.machines.update(await self.names(list(unknown)))

    def make_message(self, held: Delivery) -> Message:
        from model_perf.notify._message import make_message

        name = self.machines.get(held.machine_id)
        facts = asdict(held, recurse=False, filter=lambda each, _: each.name not in ("channel", "failures", "is_dead"))
        return make_message(**facts, machine=None if name == str(held.machine_id) else name)


@define
class _Turn:
    """What one channel does in a round: as many deliveries at a time as it has hands, and as many in line."""

    of: Round
    channel: Channel
    send: Send
    left: int
    ends: float
    hands: asyncio.Semaphore
    running: dict[asyncio.Task[None], Delivery] = field(factory=dict)
    answered: set[UUID] = field(factory=set)
    """Of those, whose sending is over, and is being written down."""
    delivered: list[tuple[Delivery, asyncio.Future[bool]]] = field(factory=list)
    writer: asyncio.Task[None] | None = None
    unsent: list[Delivery] = field(factory=list)
    claiming: asyncio.Task[list[Delivery]] | None = None
    """A claim under way, or one whose deliveries are not begun yet."""
    failures_in_a_row: int = 0
    is_over: bool = False
    """Nothing more is claimed."""
    is_resting: bool = False
    """Nothing more is sent: the receiver is away, or has asked to be left alone."""

    async def run(self) -> None:
        try:
            await self._work()
        except BaseException as error:
            await self._give_back()
            if not isinstance(error, ModelPerfError):
                raise
            self._give_up(error)

    async def _work(self) -> None:
        most = 2 * self.channel.concurrency
        while True:
            self.is_over = self.is_over or self.is_resting or asyncio.get_running_loop().time() > self.ends
            if not self.is_over and 2 * len(self.running) <= most:
                await self._claim(min(most - len(self.running), self.left))
            if not self.running:
                break
            done, _ = await asyncio.wait(self.running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # before it is forgotten: what fails here is given back
                self.answered.discard(self.running.pop(task).id)
        left = [*await self._just_claimed(), *self.unsent]
        if left:
            await self.of.repo.hand_back(left, now=self.of.clock())

    async def _claim(self, wanted: int) -> None:
        try:
            self.claiming = asyncio.create_task(
                self.of.repo.claim(
                    self.channel.name,
                    # In line it may wait for as long as a delivery takes.
                    lease=2 * timedelta(seconds=self.channel.timeout_s) + LEASE_MARGIN,
                    limit=wanted,
                    max_attempts=self.channel.max_attempts,
                    allowance=None if self.channel.rate_limit is None else self.channel.allow,
                    now=self.of.clock(),
                )
            )
            held = await asyncio.shield(self.claiming)
            await self.of.name_machines(held)
        except ModelPerfError as error:
            self._give_up(error)
            return
        self.claiming = None
        self.left -= len(held)
        self.is_over = self.is_over or len(held) < wanted or not self.left
        for each in held:
            if each.is_dead:
                self._count_dead(each, "the delivering process stopped in the middle, each time")
            else:
                self.running[asyncio.create_task(self._deliver(each))] = each

    async def _deliver(self, held: Delivery) -> None:
        async with self.hands:
            if self.is_resting or asyncio.get_running_loop().time() > self.ends:
                self.unsent.append(held)
                return
            error = await self._send(held)
            self.answered.add(held.id)
            self._learn(error)
        try:
            await (self._write_down(held) if error is None else self._put_off(held, error))
        except ModelPerfError as lost:
            self._give_up(lost)

    async def _send(self, held: Delivery) -> DeliveryError | None:
        try:
            await self.send(self.of.make_message(held))
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return _failure(RuntimeError(f"the channel's function was cancelled {cancelled}".rstrip()), self.channel)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):  # the process or the loop ends, at this place by chance
            raise
        except BaseException as error:  # whatever a channel raises: the notification is kept, and the error told
            return _failure(error, self.channel)
        return None

    def _learn(self, error: DeliveryError | None) -> None:
        self.failures_in_a_row = 0 if error is None else self.failures_in_a_row + 1
        has_asked = error is not None and error.retry_after_s is not None
        self.is_resting = self.is_resting or has_asked or self.failures_in_a_row >= self.channel.concurrency

    async def _write_down(self, held: Delivery) -> None:
        """Together with all others that arrive while the ones before are written."""
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.delivered.append((held, written))
        if self.writer is None or self.writer.done():
            self.writer = asyncio.create_task(self._write_all())
        self.of.counts["n_delivered" if await written else "n_overtaken"] += 1

    async def _write_all(self) -> None:
        while self.delivered:
            batch, self.delivered = self.delivered, []
            held = [each for each, _ in batch]
            try:
                ours = await _insist(partial(self.of.repo.mark_delivered, held, now=self.of.clock()))
            except Exception as error:
                for _, written in _awaited(batch):
                    written.set_exception(error)
            else:
                for each, written in _awaited(batch):
                    written.set_result(each.id in ours)

    async def _put_off(self, held: Delivery, error: DeliveryError) -> None:
        repo, now = self.of.repo, self.of.clock()
        text, pause_s = str(error), error.retry_after_s
        if error.is_final or self._is_last(held, pause_s):
            if await _insist(lambda: repo.mark_dead(held.id, held.attempt, error_message=text)):
                self._count_dead(held, text)
            return
        wait_s = self.channel.wait_s(held.failures + 1) if pause_s is None else pause_s
        later = check.later(now, timedelta(seconds=wait_s), "retry_after_s")
        if pause_s is not None:
            await _insist(lambda: repo.rest(self.channel.name, later, now=now))
        if await _insist(
            lambda: repo.retry_later(
                held.id, held.attempt, run_after=later, error_message=text, is_failure=pause_s is None
            )
        ):
            self.of.counts["n_retried"] += 1
        self.of.note(self.channel, text)

    def _is_last(self, held: Delivery, pause_s: float | None) -> bool:
        most = self.channel.max_attempts
        return held.attempt >= WAITS_PER_FAILURE * most if pause_s is not None else held.failures + 1 >= most

    def _count_dead(self, held: Delivery, text: str) -> None:
        self.of.counts["n_dead"] += 1
        self.of.errors[self.channel.name] = text
        _LOG.error("channel %s: notification %s is given up: %s", self.channel.name, held.id, text)

    def _give_up(self, error: ModelPerfError) -> None:
        self.of.fatal.append(error)
        self.is_resting = True

    async def _give_back(self) -> None:
        """If cancelled or failed: stop what is being sent, finish what is being written down, return the rest."""
        for task, held in self.running.items():
            if held.id not in self.answered:
                task.cancel()
        if self.running:
            await asyncio.wait(self.running, timeout=HAND_BACK_S)
        left = [
            *await self._just_claimed(),
            *self.unsent,
            *(held for held in self.running.values() if held.id not in self.answered),
        ]
        with suppress(ModelPerfError, TimeoutError):  # the lease gives them back in any case
            if left:
                await asyncio.wait_for(self.of.repo.hand_back(left, now=self.of.clock()), HAND_BACK_S)

    async def _just_claimed(self) -> Sequence[Delivery]:
        """What a claim has got that was cancelled, or could not be begun, once the database has answered."""
        if self.claiming is None:
            return ()
        with suppress(Exception):  # it has got nothing, and said why
            return await asyncio.wait_for(self.claiming, HAND_BACK_S)
        return ()


def _routing(channel: Channel) -> dict[str, object]:
    return {
        "channel": channel.name,
        "events": channel.events,
        "severities": channel.severities,
        "model_types": channel.model_types,
        "alert_types": channel.alert_types,
    }


def _awaited(batch: list[tuple[Delivery, asyncio.Future[bool]]]) -> list[tuple[Delivery, asyncio.Future[bool]]]:
    return [each for each in batch if not each[1].done()]


async def _insist(work: Callable[[], Awaitable[T]]) -> T:
    for wait_s in SETTLE_WAITS_S:
        try:
            return await work()
        except StorageError as error:
            if not error.retry_safe:
                raise
        await asyncio.sleep(wait_s)
    return await work()


def _failure(error: BaseException, channel: Channel) -> DeliveryError:
    """The same as a `DeliveryError`, whose words hold nothing that the channel calls secret."""
    from model_perf.notify import DeliveryError

    text = _describe(error, channel)
    if isinstance(error, DeliveryError):
        with suppress(Exception):  # one whose fields the host has forgotten, or filled by itself
            return DeliveryError(text, is_final=error.is_final, retry_after_s=error.retry_after_s)
    return DeliveryError(text)


def _describe(error: BaseException, channel: Channel) -> str:
    """What is kept of an error: its kind and its words, without what the channel calls secret."""
    from model_perf.notify import DeliveryError
    from model_perf.notify._redaction import redact

    kind, words = type(error).__name__, ""
    with suppress(Exception):  # an error that cannot say what it is
        words = redact(str(error), channel.secrets).strip()
    if isinstance(error, TimeoutError) and not words:
        return f"no answer within {channel.timeout_s:g} s"
    return words if isinstance(error, DeliveryError) and words else f"{kind}: {words}" if words else kind
