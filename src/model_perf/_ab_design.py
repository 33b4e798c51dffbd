"""What is fixed when an A/B test starts: what is observed, what decides, and with which error."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeAlias, get_args

from attrs import asdict, field, frozen

from model_perf import _validation as check
from model_perf.errors import InvalidInputError
from model_perf.policy import MonitoringPolicy

Direction: TypeAlias = Literal["lower", "higher"]
Kind: TypeAlias = Literal["mean", "binary"]
Pairing: TypeAlias = Literal["routed", "shadow"]

DEFAULT_PLANNED_N = 10_000

NOT_OF_ONE_ITEM = {
    "r_squared": ("mse", "diebold_mariano"),
    "rmse": ("mse", "diebold_mariano"),
    "precision": ("accuracy", "mcnemar"),
    "recall": ("accuracy", "mcnemar"),
    "f1_score": ("accuracy", "mcnemar"),
    "auc": ("brier", "delong"),
}
"""Metrics of a whole sample, which no single observation has: what it has instead, and who answers on raw arrays."""


@frozen(kw_only=True)
class Guardrail:
    """A further metric that the better model may not harm by *margin* or more, in the metric's unit."""

    metric: str
    direction: Direction
    margin: float


@frozen(kw_only=True)
class ABDesign:
    """The design of a test, as its record keeps it.

    Attributes
    ----------
    metric : str or None
        What decides; None until the first evaluations say what there is.
    direction : {"lower", "higher"} or None
        Which is better; None where nobody has said.
    kind : {"mean", "binary"}
        Binary: each observation is 0 or 1.
    pairing : {"routed", "shadow"}
        Each unit is served by one model, or every item is scored by both.
    alpha : float
        Probability that equal models are ever told apart, at however many looks.
    planned_n : int
        Observations of both models (shadow: pairs) at which the interval is narrowest.
    planned_n_source : {"given", "expected traffic", "default"}
    margin : float or None
        Differences below it, in the metric's unit, are none: the models can be found equivalent.
    minimum_runtime_s : float
        Before it nothing is decided.
    guardrails : tuple of Guardrail
    covariate : str or None
        What is known of each observation before its assignment, by name; CUPED takes its part out of the variance.
    cap : float or None
        Observations beyond +-cap count as +-cap.
    salt : str
        Makes the assignment of units one of its own.
    """

    metric: str | None
    direction: Direction | None
    kind: Kind = "mean"
    pairing: Pairing = "routed"
    alpha: float
    planned_n: int
    planned_n_source: str = "given"
    margin: float | None = None
    minimum_runtime_s: float = 0.0
    guardrails: tuple[Guardrail, ...] = ()
    covariate: str | None = None
    cap: float | None = None
    salt: str = field(factory=lambda: secrets.token_hex(8))

    @property
    def sign(self) -> float:
        """1.0 where a positive effect is good for b, -1.0 where it is bad; 0.0 = nobody has said."""
        return {"higher": 1.0, "lower": -1.0, None: 0.0}[self.direction]

    @property
    def metrics(self) -> tuple[str, ...]:
        """All that may be observed: what decides, and the guardrails."""
        own = () if self.metric is None else (self.metric,)
        return own + tuple(each.metric for each in self.guardrails)

    def to_dict(self) -> dict[str, object]:
        """The JSON object that the record keeps."""
        return asdict(self, recurse=True) | {"guardrails": [asdict(each) for each in self.guardrails]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], policy: MonitoringPolicy) -> ABDesign:
        """The design that `to_dict` wrote; that of a test started before there were observations has defaults."""
        names = ("kind", "pairing", "margin", "minimum_runtime_s", "covariate", "cap", "salt", "planned_n_source")
        known = {name: stored[name] for name in names if name in stored}
        metric = stored.get("metric")
        return cls(
            metric=metric,
            direction=stored.get("direction") or direction_of(metric, policy),
            alpha=stored.get("alpha", policy.alpha),
            planned_n=stored.get("planned_n", DEFAULT_PLANNED_N),
            guardrails=tuple(Guardrail(**each) for each in stored.get("guardrails", ())),
            **({"salt": "", "planned_n_source": "default"} | known),
        )


def make_design(
    metric: str | None,
    policy: MonitoringPolicy,
    *,
    duration: timedelta,
    direction: str | None = None,
    kind: str = "mean",
    pairing: str = "routed",
    alpha: float | None = None,
    planned_n: int | None = None,
    expected_n: int | None = None,
    margin: float | None = None,
    minimum_runtime: timedelta = timedelta(0),
    guardrails: Sequence[Guardrail | Mapping[str, Any]] = (),
    covariate: str | None = None,
    cap: float | None = None,
) -> ABDesign:
    """A design from what a host gives, everything checked by name."""
    metric = check.as_optional_text(metric, "metric", max_length=200)
    if direction is None:
        direction = direction_of(metric, policy)
        if metric is not None and direction is None:
            raise InvalidInputError(
                "metric",
                f"nobody has said whether more of {metric!r} is better; give direction='lower' or 'higher', or add a "
                "MetricDefinition to the policy",
            )
    if not isinstance(minimum_runtime, timedelta) or not timedelta(0) <= minimum_runtime <= duration:
        raise InvalidInputError("minimum_runtime", f"{minimum_runtime!r} is no part of the duration {duration}")
    if not isinstance(guardrails, Sequence):
        raise InvalidInputError("guardrails", f"{guardrails!r} is no sequence; give a list of Guardrail, or none")
    if planned_n is not None:
        check.as_int(planned_n, "planned_n", low=2)
    design = ABDesign(
        metric=metric,
        direction=None if direction is None else check.as_choice(direction, "direction", get_args(Direction)),  # type: ignore[arg-type]
        kind=check.as_choice(kind, "kind", get_args(Kind)),  # type: ignore[arg-type]
        pairing=check.as_choice(pairing, "pairing", get_args(Pairing)),  # type: ignore[arg-type]
        alpha=policy.alpha if alpha is None else check.as_open_fraction(alpha, "alpha"),
        planned_n=planned_n or max(2, expected_n or DEFAULT_PLANNED_N),
        planned_n_source="given" if planned_n else "expected traffic" if expected_n else "default",
        margin=None if margin is None else _as_positive(margin, "margin"),
        minimum_runtime_s=minimum_runtime.total_seconds(),
        guardrails=tuple(_as_guardrail(each, policy) for each in guardrails),
        covariate=check.as_optional_text(covariate, "covariate", max_length=200),
        cap=None if cap is None else _as_positive(cap, "cap"),
    )
    if design.covariate is not None and design.pairing == "shadow":
        raise InvalidInputError("covariate", "is of routed tests; in the shadow both models score the same items")
    if len(set(design.metrics)) < len(design.metrics):
        raise InvalidInputError("guardrails", f"{', '.join(design.metrics)} name a metric twice")
    return design


def direction_of(metric: str | None, policy: MonitoringPolicy) -> Direction | None:
    definition = None if metric is None else policy.definition(metric)
    if definition is None:
        return None
    return "higher" if definition.higher_is_better else "lower"


def _as_guardrail(given: Guardrail | Mapping[str, Any], policy: MonitoringPolicy) -> Guardrail:
    fields = asdict(given) if isinstance(given, Guardrail) else dict(given) if isinstance(given, Mapping) else {}
    if not {"metric", "margin"} <= fields.keys() <= {"metric", "margin", "direction"}:
        raise InvalidInputError(
            "guardrails", f"{given!r} is no Guardrail; give metric, margin and, if need be, direction"
        )
    metric = check.as_text(fields["metric"], "guardrails.metric", max_length=200)
    if metric in NOT_OF_ONE_ITEM:
        instead, _ = NOT_OF_ONE_ITEM[metric]
        raise InvalidInputError(
            "guardrails.metric", f"{metric} is of a whole sample, and no single observation has one; take {instead!r}"
        )
    direction = fields.get("direction") or direction_of(metric, policy)
    if direction is None:
        raise InvalidInputError("guardrails.direction", f"nobody has said whether more of {metric!r} is better")
    return Guardrail(
        metric=metric,
        direction=check.as_choice(direction, "guardrails.direction", get_args(Direction)),  # type: ignore[arg-type]
        margin=_as_positive(fields["margin"], "guardrails.margin"),
    )


def _as_positive(value: float, argument: str) -> float:
    number = check.as_float(value, argument)
    if not number > 0.0:
        raise InvalidInputError(argument, f"{number} is not positive")
    return number
