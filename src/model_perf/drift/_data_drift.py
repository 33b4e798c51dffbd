"""Has the input changed? A window against its reference, with a bound on how often an unchanged one is flagged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen
from numpy.typing import ArrayLike

from model_perf._multiplicity import benjamini_hochberg
from model_perf.drift._answers import MIN_POWER, Answer, other_type
from model_perf.drift._column_checks import ask_categorical, ask_empty, ask_numeric
from model_perf.drift._data_report import ColumnCheck, ColumnDrift, DataDriftReport, worst
from model_perf.drift._detectable import detectable_change, finds_a_fall
from model_perf.drift._numeric_profile import NumericProfile
from model_perf.drift._profile import ColumnProfile, DatasetProfile, profile
from model_perf.errors import InvalidInputError
from model_perf.policy import MonitoringPolicy
from model_perf.records import Verdict

_DEFAULT = MonitoringPolicy()


@frozen(kw_only=True)
class _Column:
    """A column on its way to a verdict."""

    name: str
    profile: ColumnProfile
    answers: Sequence[Answer]

    @property
    def tested(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.pvalue is not None]


@frozen(kw_only=True)
class _Rule:
    """What decides: p-values up to the level, that of Benjamini and Hochberg for as many columns as they reject."""

    policy: MonitoringPolicy
    n_columns: int
    level: float


def check_data_drift(
    reference: DatasetProfile,
    current: DatasetProfile | Mapping[str, ArrayLike] | object,
    *,
    policy: MonitoringPolicy = _DEFAULT,
) -> DataDriftReport:
    """Judge a window of data against a reference.

    A change counts where it is both certain and large enough to matter: each check's p-value becomes 1 where its effect
    is below the policy's, a column's is the smallest times the number of its checks, and Benjamini-Hochberg over the
    columns keeps the share of unchanged windows with any column flagged at alpha at most. What too few rows could not
    have found is `insufficient_data` instead of `ok`; a drift that was found always stands.

    Parameters
    ----------
    reference : DatasetProfile
        Of the data that the model learned from, or a normal time after.
    current : DatasetProfile, or data as `profile` takes them
        The window; a profile must be counted with the same reference.
    policy : MonitoringPolicy, optional
        Its alpha and the effects that matter.

    Raises
    ------
    InvalidInputError
        *current* is a profile counted without this reference, or data that cannot be profiled.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> reference = profile({"load": rng.normal(4.6, 0.8, 5000), "site": rng.choice(["a", "b"], 5000)})
    >>> report = check_data_drift(reference, {"load": rng.normal(5.4, 0.8, 500), "site": rng.choice(["a", "b"], 500)})
    >>> report.headline, report.columns["load"].verdict, report.columns["site"].verdict
    ('1 of 2 columns have drifted', 'critical', 'ok')
    """
    window = current if isinstance(current, DatasetProfile) else profile(current, reference=reference)
    asked = [_ask(name, reference, window, policy) for name in reference.columns]
    tested = [column for column in asked if column.tested]
    raw = [_column_pvalue(column, policy) for column in tested]
    adjusted = benjamini_hochberg(raw)
    rejected = [p for p, q in zip(raw, adjusted, strict=True) if q <= policy.alpha]
    # Not only the p-values found: of a column that has drifted every check below the level has found something.
    level = max([policy.alpha * len(rejected) / len(tested), *rejected]) if rejected else 0.0
    rule = _Rule(policy=policy, n_columns=len(tested), level=level)
    found = {column.name: (p, q) for column, p, q in zip(tested, raw, adjusted, strict=True)}
    columns = [_judge(column, found.get(column.name, (None, None)), rule) for column in asked]
    columns.sort(key=lambda column: (-_excess(column), column.name))
    return DataDriftReport(
        verdict=worst(tuple(column.verdict for column in columns)),
        columns={column.name: column for column in columns},
        n_reference=reference.n_rows,
        n_current=window.n_rows,
        rows=reference.rows,
        pvalue=min(1.0, len(raw) * min(raw)) if raw else None,
        alpha=policy.alpha,
        added_columns=window.added,
    )


def _ask(name: str, whole: DatasetProfile, window: DatasetProfile, policy: MonitoringPolicy) -> _Column:
    reference, current = whole.columns[name], window.columns.get(name)
    if current is None:
        if name in window.added:
            raise InvalidInputError("current", f"was counted without {name!r}; profile it with this reference")
        said = "the window does not have the column"
        return _Column(name=name, profile=reference, answers=[Answer(name="absent", reason=said)])
    has_zone = current.has_zone if isinstance(current, NumericProfile) else None
    if said := other_type(reference, current.kind, has_zone=has_zone):
        return _Column(name=name, profile=reference, answers=[Answer(name="type", reason=said)])
    in_time_order = whole.rows == "time_ordered"
    if isinstance(reference, NumericProfile) and isinstance(current, NumericProfile):
        if not current.is_on(reference.knots):
            raise InvalidInputError("current", f"counts {name!r} on other edges; profile it with this reference")
        answers = ask_numeric(reference, current, policy.alpha, in_time_order=in_time_order)
    elif not isinstance(reference, NumericProfile) and not isinstance(current, NumericProfile):
        answers = ask_categorical(reference, current, policy.alpha, in_time_order=in_time_order)
    else:
        answers = ask_empty(reference, current, policy.alpha, in_time_order=in_time_order)
    return _Column(name=name, profile=reference, answers=answers)


def _column_pvalue(column: _Column, policy: MonitoringPolicy) -> float:
    tested = column.tested
    return _times(len(tested), min(_filtered(answer, policy) for answer in tested))


def _times(n_checks: int, pvalue: float) -> float:
    """Bonferroni over a column's checks."""
    return min(1.0, n_checks * pvalue)


def _filtered(answer: Answer, policy: MonitoringPolicy) -> float:
    """1 where the effect is too small to matter: however certain, nobody should be told."""
    assert answer.pvalue is not None
    return answer.pvalue if (answer.effect_size or 0.0) >= _threshold(answer, policy) else 1.0


def _threshold(answer: Answer, policy: MonitoringPolicy) -> float:
    return {
        "distribution": policy.drift_warning,
        "out_of_range": policy.min_range_change,
    }.get(answer.name, policy.min_share_change)


def _judge(column: _Column, pvalues: tuple[float | None, float | None], rule: _Rule) -> ColumnDrift:
    has_drifted = pvalues[1] is not None and pvalues[1] <= rule.policy.alpha
    own = rule if has_drifted else evolve(rule, level=0.0)
    checks = [_judge_check(answer, len(column.tested), own) for answer in column.answers]
    checks.sort(key=lambda check: (-_RANK[check.verdict], -check.excess))
    return ColumnDrift(
        name=column.name,
        kind=column.profile.kind,
        verdict=worst(tuple(check.verdict for check in checks)),
        pvalue=pvalues[0],
        adjusted_pvalue=pvalues[1],
        checks=tuple(checks),
        reason=f"{checks[0].name}: {checks[0].reason}",
    )


_RANK: Mapping[Verdict, int] = {"critical": 4, "warning": 3, "insufficient_data": 2, "ok": 1, "not_judged": 0}


def _judge_check(answer: Answer, n_checks: int, rule: _Rule) -> ColumnCheck:
    filtered = None if answer.pvalue is None else _filtered(answer, rule.policy)
    change, finds_nothing = _detectable(answer, n_checks, rule)
    verdict, reason = _verdict(answer, filtered, n_checks, rule)
    if verdict == "ok" and finds_nothing:
        verdict, reason = "insufficient_data", f"{reason}; so few rows show no change at all"
    return ColumnCheck(
        name=answer.name,
        verdict=verdict,
        statistic=answer.statistic,
        distance=answer.distance,
        pvalue=answer.pvalue,
        filtered_pvalue=filtered,
        effect_size=answer.effect_size,
        confidence_interval=answer.confidence_interval,
        threshold=None if answer.name in ("type", "absent") else _threshold(answer, rule.policy),
        detectable_change=change,
        n_reference=answer.n_reference,
        n_current=answer.n_current,
        reason=reason,
    )


def _detectable(answer: Answer, n_checks: int, rule: _Rule) -> tuple[float | None, bool]:
    """Of a share: the rise that would be found, and whether nothing would.

    By the level that the whole rule gives one check where nothing else has drifted.
    """
    if answer.pvalue is None or answer.name not in ("missing", "out_of_range"):
        return None, False
    level, threshold = rule.policy.alpha / (n_checks * rule.n_columns), _threshold(answer, rule.policy)
    change = detectable_change(answer, level, threshold)
    return change, change is None and not finds_a_fall(answer, level, threshold)


def _verdict(answer: Answer, filtered: float | None, n_checks: int, rule: _Rule) -> tuple[Verdict, str]:
    if answer.name in ("type", "absent"):
        return "critical", answer.reason
    if filtered is None:
        return ("insufficient_data" if answer.is_unknown else "not_judged"), answer.reason
    said, policy = f"{_effect(answer)}, p = {answer.pvalue:.2g}", rule.policy
    if _times(n_checks, filtered) <= rule.level:
        is_large = answer.name == "distribution" and (answer.effect_size or 0.0) >= policy.drift_critical
        return ("critical" if is_large else "warning"), said
    if answer.name == "distribution":
        power = _power(answer, n_checks, rule)
        if power < MIN_POWER:
            return (
                "insufficient_data",
                f"{said}; so few values show a change of {policy.drift_critical:g} in {power:.0%}",
            )
    return "ok", said


def _effect(answer: Answer) -> str:
    if answer.name == "distribution":
        return f"PSI {answer.statistic:.2g}, {answer.effect_size:.2g} beyond chance"
    return f"{answer.statistic:.2%} of the rows, {answer.effect_size:.2%} off the reference"


def _power(answer: Answer, n_checks: int, rule: _Rule) -> float:
    """With which probability the whole rule would have found a critical change, by the noncentral chi-squared."""
    from scipy.special import chdtri, chndtr

    freedom, n, policy = answer.n_cells - 1, answer.n_effective, rule.policy
    if freedom < 1:
        return 0.0
    certain = chdtri(freedom, policy.alpha / (answer.n_tests * n_checks * rule.n_columns))
    practical = freedom + policy.drift_warning * n
    return float(1.0 - chndtr(max(certain, practical), freedom, policy.drift_critical * n))


def _excess(column: ColumnDrift) -> float:
    """Drifted columns first, then by how far they are past their thresholds."""
    drifted = [check.excess for check in column.checks if check.verdict in ("warning", "critical")]
    return 1e6 + min(max(drifted), 1e6) if drifted else max((check.excess for check in column.checks), default=0.0)
