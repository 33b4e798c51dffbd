"""What the judge of a deployment remembers between evaluations: a small value with a versioned JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import evolve, field, frozen

from model_perf.drift._cusum import SelfStartingCusum
from model_perf.drift._prediction import Baseline
from model_perf.drift._recovery import NOTHING as NO_ALARM
from model_perf.drift._recovery import Recovery
from model_perf.drift._whitening import LagMoments
from model_perf.errors import SchemaError

_VERSION = 1
_NO_BASELINE = Baseline()
_NEW_CHART = SelfStartingCusum()


@frozen
class MetricState:
    """Baseline and chart of one metric.

    Attributes
    ----------
    baseline : Baseline
    start, end : datetime or None
        From the start of the baseline's first window to the end of its last.
    frozen : bool
        The baseline is complete.
    chart : SelfStartingCusum
    """

    baseline: Baseline = _NO_BASELINE
    start: datetime | None = None
    end: datetime | None = None
    frozen: bool = False
    chart: SelfStartingCusum = _NEW_CHART

    def to_dict(self) -> dict[str, object]:
        chart = self.chart
        return {
            "baseline": self.baseline.to_list(),
            "start": _text(self.start),
            "end": _text(self.end),
            "frozen": self.frozen,
            "learned": chart.learned.to_list(),
            "previous": chart.previous,
            "cusum": chart.value,
            "since": _text(chart.since),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MetricState:
        chart = SelfStartingCusum(
            LagMoments(*data["learned"]),
            data["previous"],
            data["cusum"],
            _time(data["since"]),
        )
        return cls(Baseline(*data["baseline"]), _time(data["start"]), _time(data["end"]), data["frozen"], chart)


@frozen(kw_only=True)
class PerformanceState:
    """Everything that `judge_performance` knows of a deployment's earlier evaluations; `EMPTY` before the first.

    Attributes
    ----------
    n : int
        Evaluations counted.
    last_start, last_end : datetime or None
        The window of the last one counted; whatever does not end after it comes late.
    restarted_after : datetime or None
        End of the last window before the charts were last restarted; a replay restarts them there again.
    metrics : mapping of str to MetricState
    recovery : Recovery
        Whether an alert may be open, and how far it is from resolving itself.
    """

    n: int = 0
    last_start: datetime | None = None
    last_end: datetime | None = None
    restarted_after: datetime | None = None
    metrics: Mapping[str, MetricState] = field(factory=dict)
    recovery: Recovery = NO_ALARM

    def to_dict(self) -> dict[str, object]:
        """The JSON object that `from_dict` reads."""
        return {
            "v": _VERSION,
            "n": self.n,
            "last": [_text(self.last_start), _text(self.last_end)],
            "restarted_after": _text(self.restarted_after),
            "metrics": {name: metric.to_dict() for name, metric in self.metrics.items()},
            "recovery": self.recovery.to_list(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PerformanceState:
        """The state that `to_dict` wrote; an empty mapping is the state before any evaluation.

        Raises
        ------
        SchemaError
            A newer version of model_perf wrote it.
        """
        if not data:
            return EMPTY
        if data["v"] != _VERSION:
            raise SchemaError(
                f"the drift state has version {data['v']} and this model_perf reads version {_VERSION}; "
                "upgrade model_perf, or let rebuild_state() compute the state again"
            )
        start, end = data["last"]
        return cls(
            n=data["n"],
            last_start=_time(start),
            last_end=_time(end),
            restarted_after=_time(data.get("restarted_after")),
            metrics={name: MetricState.from_dict(metric) for name, metric in data["metrics"].items()},
            recovery=Recovery.from_list(data.get("recovery")),
        )


EMPTY = PerformanceState()
"""The state before any evaluation."""


def restart_chart(state: PerformanceState) -> PerformanceState:
    """The state to go on with once somebody has dealt with an alarm: every chart at zero, all that was learnt kept.

    Until then the charts stay where the alarm left them (at twice their limit at most), so that a degradation which
    lasts is critical again at every evaluation and only counts as a repeat of the open alert. A degradation that goes
    on after the restart is found anew, against the same baseline.
    """
    return evolve(
        state,
        metrics=restarted_charts(state.metrics),
        restarted_after=state.last_end,
        recovery=state.recovery.settled(),
    )


def restarted_charts(metrics: Mapping[str, MetricState]) -> dict[str, MetricState]:
    """The metrics with every chart at zero."""
    return {name: evolve(metric, chart=metric.chart.restarted()) for name, metric in metrics.items()}


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is UTC else time.astimezone(UTC)
