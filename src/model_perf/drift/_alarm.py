"""From verdicts on single windows to an alarm over time, which cries wolf once in so many windows at most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve, frozen

from model_perf import _validation as check
from model_perf.drift._data_report import DataDriftReport
from model_perf.drift._recovery import NOTHING as NO_ALARM
from model_perf.drift._recovery import Recovery
from model_perf.errors import InvalidInputError, SchemaError
from model_perf.policy import MonitoringPolicy

LARGEST = 1e12
"""Where the value is cut: far beyond any limit, and so that a long drift does not overflow."""

_VERSION = 1


@frozen(kw_only=True)
class DriftAlarm:
    """What windows have added up to since the alarm was last at zero.

    Attributes
    ----------
    value : float
        Shiryaev and Roberts' statistic; without a change it grows by 1 a window on average.
    n : int
        Windows counted.
    last_end : datetime or None
        End of the last of them; a window that begins before it says the same again, and is not counted.
    recovery : Recovery
        How far an open alert is from resolving itself.
    """

    value: float = 0.0
    n: int = 0
    last_end: datetime | None = None
    recovery: Recovery = NO_ALARM

    def is_raised(self, run_length: float) -> bool:
        """Whether the value has reached *run_length*: as many windows pass on average before a false alarm."""
        return self.value >= run_length

    def restart(self) -> DriftAlarm:
        """The same at zero, after somebody has dealt with it."""
        return evolve(self, value=0.0, n=0, recovery=self.recovery.settled())

    def to_dict(self) -> dict[str, object]:
        """The JSON object that `from_dict` reads."""
        end = None if self.last_end is None else self.last_end.isoformat()
        recovery = self.recovery.to_list()
        return {"v": _VERSION, "value": self.value, "n": self.n, "last_end": end, "recovery": recovery}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DriftAlarm:
        """The alarm that `to_dict` wrote; `SchemaError` where a newer version did."""
        if data.get("v") != _VERSION:
            raise SchemaError(f"an alarm of version {data.get('v')!r} is not one of this model_perf; upgrade it")
        end = data["last_end"]
        return cls(
            value=data["value"],
            n=data["n"],
            last_end=None if end is None else datetime.fromisoformat(end),
            recovery=Recovery.from_list(data.get("recovery", NO_ALARM.to_list())),
        )


def advance_alarm(
    alarm: DriftAlarm, report: DataDriftReport, *, window_start: datetime, window_end: datetime
) -> DriftAlarm:
    """Count the verdict on one more window.

    The report's p-value p becomes the evidence e = p^(-1/2) / 2, whose mean is 1 at most while nothing changes [1];
    the value R becomes (R + 1) e [2, 3]. A column that is absent or of another type is no matter of chance: R becomes
    as large as it can. A window of which nothing could be tested, or that overlaps the last one counted, changes
    nothing. While somebody looks after a raised alarm, do not advance it: it is to `restart`.

    Parameters
    ----------
    window_start, window_end : datetime
        Of the data that were judged, [start, end), with a time zone.

    References
    ----------
    [1] Vovk, V. & Wang, R. (2021). E-values: calibration, combination and applications. Annals of Statistics 49,
        1736-1754: the calibrator k p^(k-1) with k = 1/2.
    [2] Roberts, S. W. (1966). A comparison of some control chart procedures. Technometrics 8, 411-430.
    [3] Shin, J., Ramdas, A. & Rinaldo, A. (2024). E-detectors: a nonparametric framework for sequential change
        detection. New England Journal of Statistics in Data Science 2, 229-260: the mean run length is the limit at
        least.
    """
    begin, end = check.as_timestamp(window_start, "window_start"), check.as_timestamp(window_end, "window_end")
    if end <= begin:
        raise InvalidInputError("window_end", f"{end.isoformat()} is not after window_start {begin.isoformat()}")
    if alarm.last_end is not None and begin < alarm.last_end:
        return alarm
    if report.is_certain:
        return evolve(alarm, value=LARGEST, n=alarm.n + 1, last_end=end)
    if report.pvalue is None:
        return alarm
    value = min(LARGEST, (alarm.value + 1.0) * _evidence(report.pvalue))
    return evolve(alarm, value=value, n=alarm.n + 1, last_end=end)


def watch_recovery(
    alarm: DriftAlarm,
    report: DataDriftReport,
    *,
    window_start: datetime,
    window_end: datetime,
    policy: MonitoringPolicy,
) -> DriftAlarm:
    """Count the verdict on one more window while an alert is open; the value stands still until the alarm is over.

    A window is good that speaks against a change: no column has drifted, its evidence is below 1 (p > 1/4, not merely
    above alpha), and every column that raised the alarm was tested and is ok. After `recover_after` in a row the alarm
    is at zero and its `recovery` no longer open. A window that overlaps the last one, or of which too little is known,
    changes nothing.
    """
    recovery = alarm.recovery if alarm.recovery.is_open else alarm.recovery.alarmed((), window_end, policy)
    alarm = evolve(alarm, recovery=recovery)
    if alarm.last_end is not None and window_start < alarm.last_end:
        return alarm
    if report.drift_detected:
        return evolve(alarm, last_end=window_end, recovery=recovery.alarmed(report.drifted_columns, window_end, policy))
    is_good = _is_good(report, recovery.names)
    if is_good is None:
        return alarm
    recovery = recovery.counted(is_good=is_good)
    if recovery.is_over(policy):
        return DriftAlarm(last_end=window_end, recovery=recovery.ended(window_end))
    return evolve(alarm, last_end=window_end, recovery=recovery)


def _is_good(report: DataDriftReport, names: Sequence[str]) -> bool | None:
    """None where that cannot be said."""
    verdicts = [report.columns[name].verdict for name in names if name in report.columns] or [report.verdict]
    if report.pvalue is None or "insufficient_data" in verdicts or "not_judged" in verdicts:
        return None
    return _evidence(report.pvalue) < 1.0


def _evidence(pvalue: float) -> float:
    return 0.5 / math.sqrt(pvalue)
