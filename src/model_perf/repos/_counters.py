"""What a tracker's calls came to, counted in its process; no lock, no registry, no exporter."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from attrs import define, field


@define
class Counters:
    """Written by the executor and the repositories of one tracker and all that are bound from it.

    Adding to an int is not atomic between threads: a tracker that several threads share may miss a call now and then.
    """

    calls: int = 0
    retries: int = 0
    races_lost: int = 0
    evaluations_recorded: int = 0
    evaluations_repeated: int = 0
    last_recorded_at: datetime | None = None
    busy_s: float = 0.0
    slowest_s: float = 0.0
    errors: Counter[str] = field(factory=Counter)

    def ended(self, seconds: float) -> None:
        """One call has ended, well or not, after so long."""
        self.calls += 1
        self.busy_s += seconds
        if seconds > self.slowest_s:
            self.slowest_s = seconds

    def recorded(self, n_new: int, n_repeated: int, at: datetime | None) -> None:
        """Evaluations have been stored, or had been stored before."""
        self.evaluations_recorded += n_new
        self.evaluations_repeated += n_repeated
        if n_new:
            self.last_recorded_at = at
