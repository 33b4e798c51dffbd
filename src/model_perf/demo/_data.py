"""Half-hourly electricity demand of Victoria, Australia, in 2014 (sources: DATA.md beside this file)."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

DAY = timedelta(days=1)
ROWS_PER_DAY = 48


@frozen(kw_only=True, eq=False)
class Demand:
    """Consecutive half hours, shape (n,) each.

    Attributes
    ----------
    start : datetime
        Of the first half hour, in UTC; a day begins at midnight of market time (+10:00).
    demand_gw, temperature_c : array of float
    is_workday : array of bool
    """

    start: datetime
    demand_gw: NDArray[np.float64]
    temperature_c: NDArray[np.float64]
    is_workday: NDArray[np.bool_]

    @property
    def n_days(self) -> int:
        return len(self.demand_gw) // ROWS_PER_DAY

    def days(self, first: int, stop: int) -> Demand:
        """The days [first, stop), counted from the start."""
        rows = slice(first * ROWS_PER_DAY, stop * ROWS_PER_DAY)
        return Demand(
            start=self.start + first * DAY,
            demand_gw=self.demand_gw[rows],
            temperature_c=self.temperature_c[rows],
            is_workday=self.is_workday[rows],
        )


def load() -> Demand:
    """The year 2014: 365 days."""
    raw = files(__package__).joinpath("victoria_demand_2014.csv.gz").read_bytes()
    rows = list(csv.DictReader(gzip.decompress(raw).decode().splitlines()))
    return Demand(
        start=datetime.fromisoformat(rows[0]["interval_start"]).astimezone(UTC),
        demand_gw=np.array([float(row["demand_gw"]) for row in rows]),
        temperature_c=np.array([float(row["temperature_c"]) for row in rows]),
        is_workday=np.array([row["workday"] == "1" for row in rows]),
    )
