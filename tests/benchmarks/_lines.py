"""What a benchmark reports: samples of ours, a rival and a limit, and the line of the table made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Literal

from attrs import frozen

Samples = Mapping[str, Sequence[float]]
"""Seconds by what was timed: "ours", "limit", "rival"; the i-th ones of all were taken side by side."""

HEADER = ("work", "ours", "rival", "limit", "ratio [quartiles]", "target", "met")


@frozen(kw_only=True)
class Target:
    """What the ratio is to be: of times (``<=``) or of speeds (``>=``), against "limit" or "rival"."""

    sense: Literal["<=", ">="]
    value: float
    against: str = "limit"

    def ratio(self, ours_s: float, other_s: float) -> float:
        return ours_s / other_s if self.sense == "<=" else other_s / ours_s

    def is_met(self, ratio: float) -> bool:
        return ratio <= self.value if self.sense == "<=" else ratio >= self.value

    def __str__(self) -> str:
        return f"{self.sense} {self.value:g} x {self.against}"


@frozen(kw_only=True)
class Line:
    """One row of the table.

    Parameters
    ----------
    units : mapping of str to float
        Units of work in one sample, by what was timed; empty = the samples are times and shown as such.
    unit : str
        Name of the unit of work.
    """

    work: str
    samples: Samples
    target: Target | None = None
    units: Mapping[str, float] = {}
    unit: str = ""

    def seconds(self, name: str) -> list[float]:
        """The samples, for one unit of work where units are counted."""
        return [sample / self.units.get(name, 1.0) for sample in self.samples[name]]

    @property
    def ratios(self) -> list[float]:
        """The ratio of each round; of medians where the other was not timed in every round."""
        if self.target is None:
            return []
        ours, other = self.seconds("ours"), self.seconds(self.target.against)
        if len(ours) != len(other):
            return [self.ratio]
        return [self.target.ratio(a, b) for a, b in zip(ours, other, strict=True)]

    @property
    def ratio(self) -> float:
        """The ratio of the medians."""
        assert self.target is not None
        return self.target.ratio(median(self.seconds("ours")), median(self.seconds(self.target.against)))

    def cells(self) -> tuple[str, ...]:
        figures = [self._figure(name) for name in ("ours", "rival", "limit")]
        if self.target is None:
            return (self.work, *figures, "", "", "")
        return (self.work, *figures, self._ratio_cell(), str(self.target), "yes" if self.is_met else "NO")

    @property
    def is_met(self) -> bool:
        return self.target is None or self.target.is_met(self.ratio)

    def _ratio_cell(self) -> str:
        ratios = self.ratios
        if len(ratios) < 4:
            return f"{self.ratio:.2f}"
        low, _, high = quantiles(ratios, n=4)
        return f"{self.ratio:.2f} [{low:.2f}, {high:.2f}]"

    def _figure(self, name: str) -> str:
        if name not in self.samples:
            return "-"
        seconds = median(self.seconds(name))
        return f"{1.0 / seconds:,.0f} {self.unit}/s" if self.units else _time(seconds)


def _time(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.0f} us"


def table(lines: Sequence[Line]) -> str:
    """The lines below each other, their cells aligned."""
    rows = [HEADER, *(line.cells() for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    rule = tuple("-" * width for width in widths)
    aligned = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in (*rows[:1], rule, *rows[1:])
    )
    return "\n".join(row.rstrip() for row in aligned)
