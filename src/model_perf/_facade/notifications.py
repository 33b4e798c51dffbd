"""Who is told? Channels, and what is delivered to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from model_perf import _validation as check
from model_perf._facade.shared import Shared
from model_perf.errors import StorageError
from model_perf.results import DeliveryReport

if TYPE_CHECKING:
    from model_perf.notify import Channel


LONGEST_AGE = timedelta(days=366 * 100)
"""What a longer max_age is taken for: it would lead out of the calendar."""


class NotificationCalls(Shared):
    """What the facade does to tell people of alerts."""

    _channels: tuple[Channel, ...]
    machine_names: Callable[[Iterable[UUID]], Awaitable[Mapping[UUID, str]]]

    async def deliver_notifications(
        self, *, limit: int = 1000, max_age: timedelta = timedelta(days=1), stop_after_s: float = 60.0
    ) -> DeliveryReport:
        """Tell the tracker's channels what has happened to alerts; to be called again and again, by any process.

        At least once: a process that dies in the middle leaves a delivery to be repeated under the same id. No
        connection is held while a channel is at work, and each channel goes at its own pace.

        Parameters
        ----------
        limit : int
            Deliveries on each channel.
        max_age : timedelta
            What has been due for longer is dropped, such as what happened before there was anybody to tell.
        stop_after_s : float
            No further delivery begins after it.

        Raises
        ------
        StorageError
            The database went away. What was not written down is delivered again once its lease ends.
        """
        from model_perf._delivering import Round

        if self._executor.is_bound:
            raise StorageError(
                "deliver_notifications() would keep your transaction open while it talks to others; call it on the "
                "tracker itself, not on bind()",
                retry_safe=True,
            )
        turn = Round(
            repo=self.notifications,
            names=self.machine_names,
            clock=self._executor.moment,
            channels=self._channels,
            limit=check.as_int(limit, "limit", low=1),
            stop_after_s=check.as_float(stop_after_s, "stop_after_s", low=0.0, high=86_400.0),
        )
        return await turn.run(min(check.as_duration(max_age, "max_age"), LONGEST_AGE))


def as_channels(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """Checked, where there are any: whoever has none shall not pay for the modules."""
    if isinstance(channels, tuple) and not channels:
        return ()
    from model_perf import _delivering

    return _delivering.as_channels(channels)
