"""MLflow as the rival of bulk ingestion: metric values into its own tables on the same server."""

from __future__ import annotations

import logging
import tempfile
import warnings
from importlib.util import find_spec
from typing import Any

from model_perf.records import METRIC_COLUMNS

BATCH = 994
"""Metrics of one `log_batch`: 142 steps of the seven metrics, just below MLflow's limit of 1,000.

The largest batch is its fastest, and so are few names with many steps: it keeps a row of the latest value per name.
"""

NEEDED = ("mlflow", "sqlalchemy", "alembic", "sqlparse", "psycopg2")


def missing() -> list[str]:
    """The packages that MLflow's database store needs and that are not installed."""
    return [name for name in NEEDED if find_spec(name) is None]


class MLflowStore:
    """MLflow's tracking store, with runs made beforehand: only `log_batch` is timed."""

    def __init__(self, dsn: str) -> None:
        warnings.simplefilter("ignore")
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        self._artifacts = tempfile.TemporaryDirectory()
        url = dsn.replace("postgresql://", "postgresql+psycopg2://", 1)
        self._store: Any = SqlAlchemyStore(url, self._artifacts.name)
        self._experiment = self._store.create_experiment("benchmark")
        self._runs: list[str] = []
        self._metrics = _metrics()

    def make_runs(self, n: int) -> None:
        self._runs = [
            self._store.create_run(self._experiment, "benchmark", 0, [], f"model {i}").info.run_id for i in range(n)
        ]

    def log(self) -> None:
        """A batch of `BATCH` values for each run."""
        for run in self._runs:
            self._store.log_batch(run, metrics=self._metrics, params=[], tags=[])

    def close(self) -> None:
        self._store.engine.dispose()
        self._artifacts.cleanup()


def _metrics() -> list[Any]:
    from mlflow.entities import Metric

    return [
        Metric(name, 0.1 + step / 1_000, 86_400_000 * step, step)
        for step in range(BATCH // len(METRIC_COLUMNS))
        for name in METRIC_COLUMNS
    ]
