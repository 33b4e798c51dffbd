"""A confidence interval, with scipy's names for its ends."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class ConfidenceInterval:
    """From `low` to `high`, both part of it; the open end of a one-sided interval is infinite."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high
