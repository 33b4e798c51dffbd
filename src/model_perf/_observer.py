"""A buffer before the observations of an A/B test: merged in memory, written by time and by size."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeAlias
from uuid import UUID

import numpy as np

from model_perf import _validation as check
from model_perf._ab_design import ABDesign
from model_perf._assignment import Unit, as_unit
from model_perf._observations import Cells, as_metric, merge_cells, routed_cells
from model_perf.aggregates import LARGEST_OBSERVATION
from model_perf.errors import ConflictError, InvalidInputError, NotFoundError, StorageError
from model_perf.records import ABTest, new_id

_LOG = logging.getLogger(__name__)

LAST_ATTEMPTS = 5
"""Tries of the last flush, at the end."""

_LARGEST = LARGEST_OBSERVATION
_Key: TypeAlias = tuple[str | None, bool, bool]
"""Metric, whether there is no unit, whether there is no covariate."""
Send = Callable[[Cells, int, UUID], Awaitable[bool]]
Load = Callable[[], Awaitable[tuple[ABTest, ABDesign]]]


class Observer:
    """Takes single observations at the pace of a service; made by `ModelPerformanceTracker.observer`.

    Any thread may `observe`. Observations are merged into moments every *flush_at* of them, so that its memory is
    bounded while the database is away, and written every *flush_every_s*. A flush whose answer was lost is sent again
    under the same batch id and counts once. What a process has not flushed when it is killed is lost: that of
    *flush_every_s* at most, while the database answers.
    """

    def __init__(self, load: Load, send: Send, *, flush_every_s: float, flush_at: int) -> None:
        self._load, self._send = load, send
        self._flush_every_s = check.as_float(flush_every_s, "flush_every_s", low=0.01, high=3600.0)
        self._flush_at = check.as_int(flush_at, "flush_at", low=1, high=1_000_000)
        self._design: ABDesign | None = None
        self._is_open = False
        self._columns: dict[_Key, _Columns] = {}
        self._merged: Cells = {}
        self._n_merged = 0
        self._in_flight: tuple[Cells, int, UUID] | None = None
        self._lock = asyncio.Lock()
        # Endpoints that are plain functions observe in threads of their own.
        self._guard = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self.n_late = 0
        """Observations that came after the end of the test: refused, and counted there; of a deleted one: lost."""

    async def __aenter__(self) -> Self:
        _, self._design = await self._load()
        self._is_open = True
        self._task = asyncio.create_task(self._flush_again_and_again())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        with self._guard:
            self._merge_all()
            self._is_open = False
        self._task.cancel()
        await asyncio.wait([self._task])  # to await it would take a cancellation of the host for the task's own
        for attempt in range(1, LAST_ATTEMPTS + 1):
            try:
                await self.flush()
                return
            except StorageError:
                if attempt == LAST_ATTEMPTS:
                    raise
                await asyncio.sleep(0.1 * 3**attempt)

    def observe(
        self,
        arm: str,
        value: float,
        *,
        unit: Unit | None = None,
        covariate: float | None = None,
        metric: str | None = None,
    ) -> None:
        """Take one observation; nothing is written yet. Arguments as of `observe_many`.

        Raises
        ------
        InvalidInputError
            An unknown arm or metric, a value that is not finite, a covariate that the design does not have; an observer
            that is not open.
        """
        if not isinstance(arm, str) or (arm != "a" and arm != "b"):
            raise InvalidInputError("arm", f"{arm!r} is none; the arms are 'a' and 'b'")
        # What is wrong must be found here: in a merged batch nobody would know whose it was.
        if type(value) is not float or not -_LARGEST <= value <= _LARGEST:
            value = _as_number(float(value) if isinstance(value, bool | np.bool_) else value, "value")
        if covariate is not None:
            covariate = _as_number(covariate, "covariate")
        if metric is not None and not isinstance(metric, str):
            raise InvalidInputError("metric", f"{metric!r} is not text")
        if unit is not None and not (type(unit) is str and unit.isascii() and unit):
            unit = as_unit(unit).decode()
        key = (metric, unit is None, covariate is None)
        with self._guard:
            columns = self._columns.get(key) or self._begin(key)
            if columns.is_binary and value != 0.0 and value != 1.0:
                raise InvalidInputError("value", f"{value:g} is neither 0 nor 1, and the metric is binary")
            if unit is not None:
                columns.units.append(unit)
            if covariate is not None:
                columns.covariates.append(covariate)
            columns.arms.append(arm)
            columns.values.append(value)
            if len(columns.values) >= self._flush_at:
                self._merge(key)

    async def flush(self) -> None:
        """Write what was observed so far.

        Raises
        ------
        StorageError
            The database does not answer; nothing is lost, and the next flush sends the same.
        """
        async with self._lock:
            if self._in_flight is not None:
                await self._send_in_flight()
            self._take()
            if self._in_flight is not None:
                await self._send_in_flight()

    def _take(self) -> None:
        """Make what was observed so far the batch that is sent."""
        with self._guard:
            self._merge_all()
            if self._merged:
                self._in_flight = self._merged, self._n_merged, new_id()
                self._merged, self._n_merged = {}, 0

    async def _send_in_flight(self) -> None:
        assert self._in_flight is not None
        try:
            await self._send(*self._in_flight)
        except (ConflictError, NotFoundError) as late:
            self.n_late += self._in_flight[1]
            _LOG.warning("%s", late)
        self._in_flight = None

    def _begin(self, key: _Key) -> _Columns:
        """Columns for observations of one kind; with units or without, since both count in their own way."""
        metric, _, has_no_covariate = key
        if self._design is None or not self._is_open:
            raise InvalidInputError("observer", "is not open; use it as `async with tracker.observer(...)`")
        name = as_metric(self._design, metric)
        is_primary = name == self._design.metric
        if has_no_covariate == (is_primary and self._design.covariate is not None):
            raise InvalidInputError(
                "covariate", f"the design's is {self._design.covariate!r}; give it so, or leave it out"
            )
        columns = _Columns(is_binary=is_primary and self._design.kind == "binary")
        self._columns[key] = columns
        return columns

    def _merge_all(self) -> None:
        for key in list(self._columns):
            self._merge(key)

    def _merge(self, key: _Key) -> None:
        """What came so far into moments, whose number does not grow with it."""
        columns = self._columns.pop(key)
        assert self._design is not None
        cells = routed_cells(
            self._design,
            arms=columns.arms,
            values=columns.values,
            units=columns.units or None,
            covariates=columns.covariates or None,
            metric=key[0],
            spread=id(self) >> 6,
        )
        self._merged = merge_cells([self._merged, cells])
        self._n_merged += len(columns.values)

    async def _flush_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self._flush_every_s)
            try:
                await self.flush()
            except Exception as error:  # of the host's pool or clock as well: the next flush may find it mended
                _LOG.warning("observations wait: %r", error)


def _as_number(value: float, argument: str) -> float:
    return check.as_float(value, argument, low=-_LARGEST, high=_LARGEST)


class _Columns:
    """Observations of one kind as they come."""

    __slots__ = ("arms", "covariates", "is_binary", "units", "values")

    def __init__(self, *, is_binary: bool) -> None:
        self.is_binary = is_binary
        self.arms: list[str] = []
        self.values: list[float] = []
        self.units: list[Unit] = []
        self.covariates: list[float] = []
