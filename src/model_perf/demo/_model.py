"""The model that is monitored: least squares of demand on temperature and hour x working day."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from model_perf.demo._data import ROWS_PER_DAY, Demand

FEATURES = (
    "temperature",
    "temperature squared",
    *(f"hour {h}, {kind}" for kind in ("free", "work") for h in range(24)),
)


@frozen(kw_only=True, eq=False)
class DemandModel:
    """Coefficients, shape (50,), in GW per unit of each of `FEATURES`."""

    coefficients: NDArray[np.float64]

    def predict(self, data: Demand) -> NDArray[np.float64]:
        return _features(data) @ self.coefficients


def fit(data: Demand) -> DemandModel:
    """The coefficients of least squared error on *data*."""
    solution = np.linalg.lstsq(_features(data), data.demand_gw, rcond=None)
    return DemandModel(coefficients=np.asarray(solution[0], dtype=np.float64))


def _features(data: Demand) -> NDArray[np.float64]:
    n = len(data.demand_gw)
    hour = np.arange(n) % ROWS_PER_DAY // 2
    features = np.zeros((n, len(FEATURES)))
    features[:, 0] = data.temperature_c
    features[:, 1] = data.temperature_c**2
    features[np.arange(n), 2 + hour + 24 * data.is_workday] = 1.0
    return features
