"""When an alarm is over: after so many good evaluations in a row, and after more of them where it keeps coming back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from model_perf.policy import MonitoringPolicy

MAX_RELAPSES = 3
"""Each relapse doubles the evaluations that are needed, up to 8 times as many."""

MOST_NAMES = 50
"""Columns or metrics that are remembered of one alarm: those that moved most."""

_DAY = timedelta(days=1)


@frozen
class Recovery:
    """Where something that is watched stands between an alarm and its end.

    Attributes
    ----------
    n_good : int or None
        Good evaluations in a row since the alarm; None while there is none to recover from.
    names : tuple of str
        Metrics or columns that raised it: without them no evaluation is good. Empty where nobody knows.
    n_relapses : int
        Alarms that came within `flap_days` of a recovery, one after the other, 3 at most.
    recovered_at : datetime or None
        End of the window with which the last alarm was over.
    """

    n_good: int | None = None
    names: tuple[str, ...] = ()
    n_relapses: int = 0
    recovered_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether there may be an alert to resolve."""
        return self.n_good is not None

    def alarmed(self, names: Iterable[str], at: datetime, policy: MonitoringPolicy) -> Recovery:
        """After an alarm *at* a time, raised by *names*; whatever was good before does not count."""
        known = tuple(dict.fromkeys((*(self.names if self.is_open else ()), *names)))[:MOST_NAMES]
        if self.is_open:
            return evolve(self, n_good=0, names=known)
        flaps = self.recovered_at is not None and (at - self.recovered_at) / _DAY <= policy.flap_days
        return evolve(self, n_good=0, names=known, n_relapses=min(self.n_relapses + 1, MAX_RELAPSES) if flaps else 0)

    def counted(self, *, is_good: bool) -> Recovery:
        """After one more evaluation without an alarm."""
        return evolve(self, n_good=(self.n_good or 0) + 1 if is_good else 0)

    def needed(self, policy: MonitoringPolicy) -> int:
        """Good evaluations in a row that end the alarm."""
        return policy.recover_after << self.n_relapses

    def is_over(self, policy: MonitoringPolicy) -> bool:
        """Whether as many evaluations were good as are needed."""
        return self.n_good is not None and self.n_good >= self.needed(policy)

    def ended(self, at: datetime) -> Recovery:
        """After the recovery; where nobody knows whether there was an alarm, none is remembered."""
        return Recovery(None, (), self.n_relapses, at if self.names else self.recovered_at)

    def settled(self) -> Recovery:
        """After somebody has dealt with the alarm by hand."""
        return Recovery(None, (), self.n_relapses, self.recovered_at)

    def to_list(self) -> list[object]:
        """What `from_list` reads."""
        at = None if self.recovered_at is None else self.recovered_at.isoformat()
        return [self.n_good, list(self.names), self.n_relapses, at]

    @classmethod
    def from_list(cls, data: Sequence[Any] | None) -> Recovery:
        """What `to_list` wrote. The first states have none: an alert may be open, and is looked for."""
        if data is None:
            return UNKNOWN
        n_good, names, n_relapses, at = data
        return cls(n_good, tuple(names), n_relapses, None if at is None else datetime.fromisoformat(at).astimezone(UTC))


NOTHING = Recovery()
"""There was no alarm."""

UNKNOWN = Recovery(0)
"""An alert may be open: once the evaluations were good it is resolved, if there is one."""
