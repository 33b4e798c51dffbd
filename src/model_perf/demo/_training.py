"""The host's side of the demo's retraining: where its versions lie, and how a new one is made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import numpy as np

from model_perf import ModelRef, TrainingContext, TrainingOutcome, TrainingRun
from model_perf.demo._data import DAY, Demand
from model_perf.demo._model import FEATURES, DemandModel, fit

RETRAINING_DAYS, VALIDATION_DAYS = 42, 7
"""A new version learns from six weeks, and is validated on the week after."""


class Studio:
    """Keeps each version by its number, and trains the next one as of the clock's day."""

    def __init__(self, data: Demand, clock: Callable[[], datetime], first: ModelRef, model: DemandModel) -> None:
        self.models = {first.model_version: model}
        self._data, self._clock, self._first = data, clock, first

    def train(self, run: TrainingRun, context: TrainingContext) -> TrainingOutcome:
        """What the worker calls, in a thread: both versions are measured on a week that neither has seen."""
        if run.machine_id != self._first.machine_id:
            raise LookupError("left by a demo that was interrupted")
        day = (self._clock() - self._data.start) // DAY
        seen = self._data.days(day - VALIDATION_DAYS - RETRAINING_DAYS, day - VALIDATION_DAYS)
        unseen = self._data.days(day - VALIDATION_DAYS, day)
        context.progress(0.1, "fitting")
        version, model = max(self.models) + 1, fit(seen)
        context.progress(0.9, "validating")
        previous, self.models[version] = self.models[version - 1], model
        return TrainingOutcome(
            model_id=self._first.model_id,
            model_version=version,
            validation_metrics={"rmse": _rmse(model, unseen)},
            previous_validation_metrics={"rmse": _rmse(previous, unseen)},
            training_metrics={"rmse": _rmse(model, seen)},
            sample_count=len(seen.demand_gw),
            feature_names=FEATURES,
            training_data_start=seen.start,
            training_data_end=seen.start + RETRAINING_DAYS * DAY,
        )


def _rmse(model: DemandModel, data: Demand) -> float:
    return float(np.sqrt(np.mean((data.demand_gw - model.predict(data)) ** 2)))
