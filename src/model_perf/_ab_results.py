"""From a look at a test's observations to the answer, and to what is kept of it and read back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from model_perf._observations import Cells
from model_perf._sequential import Findings
from model_perf.aggregates import Aggregates, Covariate
from model_perf.records import ABTest, Look
from model_perf.repos.ab_tests import WINNERS
from model_perf.results import ABTestResult

_ADVICE = {
    "superior_a": "Keep model_a (version {a})",
    "superior_b": "Switch to model_b (version {b})",
    "equivalent": "Take whichever costs less: they differ by less than the margin",
    "invalid": "Trust none of it: mend what sorts the units, and start a new test",
}


def read_cells(rows: Sequence[Any]) -> Cells:
    """The moments of a test as its repository reads them."""
    return {(row["metric"], row["arm"], row["slot"]): _read_moments(row) for row in rows}


def _read_moments(row: Any) -> Aggregates:
    of_y = (row["covariate_mean"], row["covariate_m2"], row["covariate_cross"])
    return Aggregates(
        n=row["n"],
        mean=row["mean"],
        m2=row["m2"],
        m3=row["m3"],
        covariate=None if of_y[0] is None else Covariate(*of_y),
    )


def to_rows(cells: Cells) -> list[dict[str, object]]:
    """The same as they are written."""
    return [
        {
            "metric": metric,
            "arm": arm,
            "slot": slot,
            "n": moments.n,
            "mean": moments.mean,
            "m2": moments.m2,
            "m3": moments.m3,
            "covariate_mean": None if moments.covariate is None else moments.covariate.mean,
            "covariate_m2": None if moments.covariate is None else moments.covariate.m2,
            "covariate_cross": None if moments.covariate is None else moments.covariate.cross,
        }
        for (metric, arm, slot), moments in cells.items()
    ]


def to_stored(findings: Findings) -> dict[str, object]:
    """What is kept with the test beside its last look."""
    return {
        "source": "observations",
        "model_a": dict(findings.means_a),
        "model_b": dict(findings.means_b),
        "notes": list(findings.notes),
    }


def as_result(test: ABTest, metric: str | None, findings: Findings, looks: Sequence[Look]) -> ABTestResult:
    """The answer of a look; of a test that has ended that of its last one."""
    look = findings.look
    interval = None
    if look.confidence_low is not None and look.confidence_high is not None:
        from model_perf.stats import ConfidenceInterval

        interval = ConfidenceInterval(low=look.confidence_low, high=look.confidence_high)
    decision, reason = test.decision or look.decision, test.decision_reason or look.reason
    if test.test_status == "cancelled":
        decision, reason = "undecided", f"cancelled: {test.decision_reason or 'no reason given'}"
    return ABTestResult(
        test=test,
        metric=metric,
        decision=decision,
        winner=WINNERS.get(decision, "no_winner"),
        reason=reason,
        recommendation=_recommendation(test, decision, reason),
        confidence=0.0 if look.pvalue is None or decision in ("invalid", "insufficient_data") else 1.0 - look.pvalue,
        effect=look.effect,
        confidence_interval=interval,
        statistic=_statistic(look),
        pvalue=look.pvalue,
        standard_error=look.standard_error,
        source="observations",
        n_a=look.n_a,
        n_b=look.n_b,
        looks=tuple(looks),
        sample_ratio_pvalue=look.sample_ratio_pvalue,
        notes=findings.notes,
        model_a_metrics=findings.means_a,
        model_b_metrics=findings.means_b,
    )


def from_stored(test: ABTest, metric: str | None, looks: Sequence[Look]) -> ABTestResult | None:
    """The answer of a test that was concluded on observations; None of any other."""
    stored: Mapping[str, Any] = test.winner_metrics
    if stored.get("source") != "observations" or not looks:
        return None
    decisive = next((look for look in looks if look.look_at == test.decided_at), looks[-1])
    findings = Findings(
        look=decisive, means_a=stored["model_a"], means_b=stored["model_b"], notes=tuple(stored.get("notes", ()))
    )
    return as_result(test, metric, findings, looks)


def _statistic(look: Look) -> float | None:
    if look.effect is None or not look.standard_error or not math.isfinite(look.standard_error):
        return None
    return look.effect / look.standard_error


def _recommendation(test: ABTest, decision: str, reason: str) -> str:
    if decision in _ADVICE:
        advice = _ADVICE[decision].format(a=test.model_a.model_version, b=test.model_b.model_version)
    elif test.test_status == "running":
        advice = "Wait: nothing is decided yet"
    elif decision == "insufficient_data":
        advice = "Keep model_a: too little was observed to decide"
    else:
        advice = "Keep model_a: no difference was found"
    return f"{advice} ({reason})"
