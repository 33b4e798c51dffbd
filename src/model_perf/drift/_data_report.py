"""The verdict on a window of data: per column and for the whole, with its grounds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from attrs import asdict, field, frozen

from model_perf.drift._columns import Kind
from model_perf.drift._report import VERDICTS
from model_perf.records import Verdict
from model_perf.stats import ConfidenceInterval

CheckName = Literal["type", "absent", "distribution", "missing", "out_of_range", "unseen"]


@frozen(kw_only=True)
class ColumnCheck:
    """One question about a column, and its answer.

    Attributes
    ----------
    name : str
        "distribution", "missing" (values), "out_of_range" (beyond the reference's 0.1% and 99.9%), "unseen" (names),
        "type" (another kind of values) or "absent" (the column).
    verdict : str
        "ok", "warning", "critical"; "insufficient_data" or "not_judged" with the reason.
    statistic : float or None
        PSI of a distribution, in nats; the current share of the others.
    distance : float or None
        Kolmogorov-Smirnov's D of a numeric distribution whose rows are independent.
    pvalue : float or None
        Of no change; None where nothing was tested.
    filtered_pvalue : float or None
        The same, and 1 where the effect is too small to matter: what the verdict goes by.
    effect_size : float or None
        PSI beyond what samples of these sizes show by themselves, or the difference of the shares.
    confidence_interval : ConfidenceInterval or None
        Of the true PSI or of the difference of the shares.
    threshold : float or None
        The effect below which nothing is reported.
    detectable_change : float or None
        Of "missing" and "out_of_range": the smallest rise of the share that is found in four windows of five; None
        where no rise would be. A distribution's is in its verdict.
    n_reference, n_current : int
        Values (rows of "missing").
    reason : str
    """

    name: CheckName
    verdict: Verdict
    statistic: float | None = None
    distance: float | None = None
    pvalue: float | None = None
    filtered_pvalue: float | None = None
    effect_size: float | None = None
    confidence_interval: ConfidenceInterval | None = None
    threshold: float | None = None
    detectable_change: float | None = None
    n_reference: int = 0
    n_current: int = 0
    reason: str

    @property
    def excess(self) -> float:
        """The effect over its threshold: what rows are ranked by; infinite for what needs no test."""
        if self.is_certain:
            return float("inf")
        return self.effect_size / self.threshold if self.effect_size and self.threshold else 0.0

    @property
    def is_certain(self) -> bool:
        """A fact that needs no test: the column is absent, or of another type."""
        return self.name in ("type", "absent") and self.verdict == "critical"


@frozen(kw_only=True)
class ColumnDrift:
    """What was found in one column.

    Attributes
    ----------
    name : str
    kind : str or None
        The reference's: "numeric", "categorical", "boolean", "datetime"; None where it held nothing.
    verdict : str
    pvalue : float or None
        Of the whole column: the smallest filtered one times the number of checks.
    adjusted_pvalue : float or None
        After Benjamini-Hochberg over all columns; the column has drifted where it is <= alpha.
    checks : tuple of ColumnCheck
        The deciding one first.
    reason : str
    """

    name: str
    kind: Kind | None
    verdict: Verdict
    pvalue: float | None = None
    adjusted_pvalue: float | None = None
    checks: tuple[ColumnCheck, ...] = ()
    reason: str

    @property
    def has_drifted(self) -> bool:
        """The verdict is warning or critical."""
        return self.verdict in ("warning", "critical")


@frozen(kw_only=True)
class DataDriftReport:
    """The verdict on a window of data against its reference.

    Attributes
    ----------
    verdict : str
        The worst of the columns': "critical", "warning", "insufficient_data", "ok", "not_judged".
    columns : mapping of str to ColumnDrift
        The furthest past their thresholds first.
    n_reference, n_current : int
        Rows.
    rows : "independent" or "time_ordered"
        How the reference's rows depend on each other.
    pvalue : float or None
        That nothing has changed in any column; what an alarm over time adds up.
    alpha : float
        Of unchanged windows no larger share has any column flagged.
    added_columns : tuple of str
        Of the window; the reference does not have them.
    window_start, window_end : datetime or None
        The time of the data, where the tracker kept the report.
    alarm_value, alarm_limit : float or None
        What windows have added up to, and where that opens an alert; the tracker's, None of a single verdict.
    """

    verdict: Verdict
    columns: Mapping[str, ColumnDrift] = field(factory=dict)
    n_reference: int
    n_current: int
    rows: Literal["independent", "time_ordered"]
    pvalue: float | None
    alpha: float
    added_columns: tuple[str, ...] = ()
    window_start: datetime | None = None
    window_end: datetime | None = None
    alarm_value: float | None = None
    alarm_limit: float | None = None

    @property
    def drift_detected(self) -> bool | None:
        """Some column has drifted; None where nothing could be said."""
        if self.drifted_columns:
            return True
        return None if self.verdict in ("insufficient_data", "not_judged") else False

    @property
    def is_certain(self) -> bool:
        """Some column is absent, or of another type, which never is by chance."""
        return any(check.is_certain for column in self.columns.values() for check in column.checks)

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """Their names, the furthest past its threshold first."""
        return tuple(name for name, column in self.columns.items() if column.has_drifted)

    @property
    def headline(self) -> str:
        """The finding in one line."""
        text = f"{len(self.drifted_columns)} of {len(self.columns)} columns have drifted"
        unknown = {
            "insufficient_data": "of too few rows to say",
            "not_judged": "not judged",
        }
        for verdict, words in unknown.items():
            if n := sum(column.verdict == verdict for column in self.columns.values()):
                text += f"; {n} {words}"
        return text + (f"; {len(self.added_columns)} new" if self.added_columns else "")

    def to_dict(self) -> dict[str, object]:
        """The JSON object that `from_dict` reads."""
        return asdict(self) | {
            "columns": [_listed(column) for column in self.columns.values()],
            "added_columns": list(self.added_columns),
            "window_start": None if self.window_start is None else self.window_start.isoformat(),
            "window_end": None if self.window_end is None else self.window_end.isoformat(),
            "headline": self.headline,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DataDriftReport:
        """The report that `to_dict` wrote; keys of newer versions are passed over."""
        columns = [_column_from(column) for column in data["columns"]]
        plain = ("verdict", "n_reference", "n_current", "rows", "pvalue", "alpha", "alarm_value", "alarm_limit")
        known: dict[str, Any] = {name: data.get(name) for name in plain}
        known |= {name: _time(data.get(name)) for name in ("window_start", "window_end")}
        return cls(
            columns={column.name: column for column in columns}, added_columns=tuple(data["added_columns"]), **known
        )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def worst(verdicts: Mapping[str, Verdict] | tuple[Verdict, ...]) -> Verdict:
    """What is unknown is never shown as fine; what was not judged decides only where nothing was."""
    present = set(verdicts.values() if isinstance(verdicts, Mapping) else verdicts)
    return next((verdict for verdict in VERDICTS if verdict in present), "not_judged")


def _listed(column: ColumnDrift) -> dict[str, object]:
    return asdict(column) | {"checks": [asdict(check) for check in column.checks]}


def _column_from(data: Mapping[str, Any]) -> ColumnDrift:
    known = {name: data[name] for name in ("name", "kind", "verdict", "pvalue", "adjusted_pvalue", "reason")}
    return ColumnDrift(**known, checks=tuple(_check_from(check) for check in data["checks"]))


def _check_from(data: Mapping[str, Any]) -> ColumnCheck:
    names = ColumnCheck.__attrs_attrs__
    known = {each.name: data[each.name] for each in names if each.name in data}
    interval = known.get("confidence_interval")
    return ColumnCheck(**known | {"confidence_interval": None if interval is None else ConfidenceInterval(**interval)})
